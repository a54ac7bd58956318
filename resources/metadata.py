"""What the UI shows about runs and partitions."""

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from ampel_dagster.pipeline.tally import Tally
from ampel_dagster.pipeline.tier import PartitionFacts

#: Counts of a run that are shown, in this order.
_SHOWN = (
    *("read", "new", "known", "rejected", "quarantined"),
    *("t0", "stock", "alert", "combined", "t1", "t2", "computed", "failed", "waiting", "postponed"),
)
#: Columns of a preview: more do not fit on a page.
_COLUMNS = 9
#: Characters of a cell.
_WIDTH = 120
#: What could end a cell, or become markup, a link or an image that the reader's browser fetches.
_ESCAPED = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "`": "'", **{c: f"\\{c}" for c in "\\|[]"}}
#: Of other ids people rarely want to see the numbers.
_HIDDEN = ("stock", "channel", "night", "t2", "input", "link", "alert")


def run_metadata(tally: Tally, collection: str, seconds: float) -> dict[str, Any]:
    """Figures of a whole run: what it read and wrote, and how fast; marked as the run's, not the partition's."""
    counts = tally.counts
    done = counts["read"] or counts["combined"] or counts["computed"] + counts["failed"]
    found: dict[str, Any] = {f"run/{key}": counts[key] for key in _SHOWN if counts[key]}
    found |= {"run/rate_per_s": round(done / max(seconds, 1e-9), 1), "collection": collection}
    if counts["bytes"]:
        found["run/megabytes"] = round(counts["bytes"] / 1e6, 1)
    if tally.failures:
        found["failures"] = dg.MetadataValue.md(failure_table(tally.failures))
        (commonest, _), *_ = tally.failures.most_common(1)
        if commonest in tally.tracebacks:
            found["traceback"] = dg.MetadataValue.md(f"```text\n{tally.tracebacks[commonest].replace('```', '')}\n```")
    if tally.disabled:
        rows = [{"filter of": channel, "failed too often": what} for channel, what in sorted(tally.disabled.items())]
        found["disabled filters"] = dg.MetadataValue.md(markdown_table(rows))
    return found


def partition_metadata(facts: PartitionFacts, counts: Mapping[str, int], *, preview: bool = True) -> dict[str, Any]:
    """Figures of one partition: how much is stored, its digest, what this run did, and the first rows."""
    found: dict[str, Any] = {"dagster/row_count": facts.figures.documents, **dict(sorted(counts.items()))}
    found["content_digest"] = facts.figures.content_digest
    if preview and facts.preview:
        found["preview"] = dg.MetadataValue.md(markdown_table(facts.preview))
    return found


def failure_table(failures: Mapping[tuple[str, str], int], limit: int = 20) -> str:
    """Failures of units as a markdown table, the most frequent first."""
    rows = sorted(failures.items(), key=lambda item: -item[1])[:limit]
    return markdown_table([{"where": who, "message": text, "times": number} for (who, text), number in rows])


def markdown_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as a markdown table of the first columns; whatever comes from outside cannot break it."""
    names = [name for name in rows[0] if name not in _HIDDEN][:_COLUMNS]
    lines = [_line(names), "|---" * len(names) + "|", *(_line([row.get(name) for name in names]) for row in rows)]
    return "\n".join(lines)


def _line(values: Sequence[Any]) -> str:
    return "| " + " | ".join(map(escaped, values)) + " |"


def escaped(value: Any) -> str:
    """A value as text that is no markup, of limited length."""
    text = f"{value:.6g}" if isinstance(value, float) and abs(value) < 1e5 else str(value)
    text = " ".join(text.split())[:_WIDTH]
    return "".join(_ESCAPED.get(character, character) for character in text)
