"""The IO manager between tiers: writes batches as they are made, hands on documents as they are asked for."""

from collections.abc import Callable, Iterator, Mapping
from time import perf_counter
from typing import Any

import dagster as dg
import pandas as pd

from ampel_dagster.pipeline.tally import Tally
from ampel_dagster.pipeline.tier import TierOutput
from ampel_dagster.storage.frames import alert_rows, result_rows, state_rows
from resources.mongo import MongoResource
from resources.partitions import partition_key, split_partitions

#: Counts that are shown for a run, in this order.
_SHOWN = (
    *("read", "new", "known", "rejected", "quarantined"),
    *("t0", "stock", "alert", "combined", "t1", "t2", "computed", "failed", "waiting"),
)


class Documents:
    """Documents of some channels and nights, read when they are iterated, as often as they are."""

    def __init__(self, read: Callable[[], Iterator[Any]]) -> None:
        self._read = read

    def __iter__(self) -> Iterator[Any]:
        return self._read()


class MongoIOManager(dg.ConfigurableIOManager):
    """Consumes a `TierOutput` with bounded memory; loads what a partition's channels may see.

    Downstream, a parameter annotated with `pandas.DataFrame` gets a frame, one annotated with `Documents` a lazy
    sequence of records.
    """

    mongo: dg.ResourceDependency[MongoResource]

    def handle_output(self, context: dg.OutputContext, obj: TierOutput) -> None:
        """Write all batches; say what was written, for the run and for each partition."""
        start = perf_counter()
        tally = obj.consume()
        seconds = perf_counter() - start
        context.add_output_metadata(run_metadata(tally, obj.collection, seconds))
        if not context.has_asset_partitions:
            return
        step = context.step_context
        for key in context.asset_partition_keys:
            channels, nights = split_partitions([key])
            counts = tally.partition(channels[0], nights[0])
            figures = obj.figures(channels[0], nights[0])
            step.add_asset_metadata(
                partition_metadata(counts, figures.documents, figures.content_digest),
                asset_key=context.asset_key,
                partition_key=partition_key(channels[0], nights[0]),
            )

    def load_input(self, context: dg.InputContext) -> Any:
        """Documents of the upstream asset for this run's channels and nights."""
        upstream = context.asset_key.path
        channels, nights = split_partitions(context.asset_partition_keys)
        survey = self.mongo.store.survey(upstream[0])
        if upstream[1] == "t0":
            frame_rows = alert_rows(survey, channels, nights)
            read: Callable[[], Iterator[Any]] = lambda: survey.ledger.accepted(channels, nights)  # noqa: E731
        elif upstream[1] == "t1":
            frame_rows = state_rows(survey, channels, nights)
            read = lambda: iter(state_rows(survey, channels, nights))  # noqa: E731
        else:
            frame_rows = result_rows(survey, upstream[2], channels, nights)
            read = lambda: iter(result_rows(survey, upstream[2], channels, nights))  # noqa: E731
        if context.dagster_type.typing_type is pd.DataFrame:
            return pd.DataFrame(list(frame_rows))
        return Documents(read)


def run_metadata(tally: Tally, collection: str, seconds: float) -> dict[str, Any]:
    """Figures of a whole run."""
    counts = tally.counts
    shown: dict[str, Any] = {key: counts[key] for key in _SHOWN if key in counts}
    done = counts["read"] or counts["combined"] or counts["computed"] + counts["failed"]
    shown |= {"collection": collection, "rate_per_s": round(done / max(seconds, 1e-9), 1)}
    if counts["bytes"]:
        shown["megabytes"] = round(counts["bytes"] / 1e6, 1)
    if tally.failures:
        shown["failures"] = dg.MetadataValue.md(failure_table(tally.failures))
    return shown


def partition_metadata(counts: Mapping[str, int], documents: int, content_digest: str) -> dict[str, Any]:
    """Figures of one partition: how much is stored, its digest, and what this run did."""
    return {
        "dagster/row_count": documents,
        "content_digest": content_digest,
        **{key: number for key, number in sorted(counts.items())},
    }


def failure_table(failures: Mapping[tuple[str, str], int], limit: int = 20) -> str:
    """Failures of units as a markdown table, the most frequent first."""
    rows = sorted(failures.items(), key=lambda item: -item[1])[:limit]
    lines = [f"| {who} | {_cell(message)} | {number} |" for (who, message), number in rows]
    return "\n".join(["| where | message | times |", "|---|---|---|", *lines])


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")[:200]
