"""Questions that an operator asks: is every packet accounted for, is every state honest."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ampel_dagster.model.codes import VerdictCode
from ampel_dagster.storage.batches import LEDGER_KEYS
from ampel_dagster.storage.collections import Document
from ampel_dagster.storage.store import Store, SurveyStore


@dataclass(frozen=True)
class LedgerReport:
    """Packets by source."""

    #: By source: packets, as LEDGER_KEYS name them, and `quarantine`, the records that are there now, by reason.
    rows: tuple[dict[str, Any], ...]
    #: Batches that are still open.
    open_batches: tuple[Document, ...]

    @property
    def open(self) -> int:
        """Number of batches that are still open."""
        return len(self.open_batches)

    @property
    def balanced(self) -> bool:
        """Whether each source's packets add up."""
        return all(row["read"] == sum(row[key] for key in LEDGER_KEYS[1:]) for row in self.rows)

    @property
    def total(self) -> dict[str, int]:
        """Packets of all sources."""
        return {key: sum(row[key] for row in self.rows) for key in LEDGER_KEYS}

    @property
    def quarantine(self) -> Counter[str]:
        """Records in quarantine now, by reason."""
        return sum((row["quarantine"] for row in self.rows), Counter())

    def short(self, most: int) -> tuple[dict[str, Any], ...]:
        """At most so many rows: those with bad packets and the largest; the others as the sum of them all."""
        if len(self.rows) <= most:
            return self.rows
        order = sorted(self.rows, key=lambda row: (not row["quarantined"], -row["read"], row["source"]))
        shown, rest = order[: most - 1], LedgerReport(tuple(order[most - 1 :]), ())
        return (*shown, {"source": f"{len(rest.rows)} others", **rest.total, "quarantine": rest.quarantine})


def reasons_text(reasons: Mapping[str, int]) -> str:
    """'2 TRUNCATED, 1 NOT_AVRO'."""
    return ", ".join(f"{n} {reason}" for reason, n in sorted(reasons.items(), key=lambda item: (-item[1], item[0])))


def ledger(store: Store, survey: str, nights: Sequence[str]) -> LedgerReport:
    """Packets that were read for these nights (none: for all), by source."""
    rows = store.batches.ledger(survey, nights)
    bad = store.quarantine.by_reason(survey)
    for row in rows:
        row["quarantine"] = bad.get(row["source"], Counter())
    still = tuple(batch for batch in store.batches.left_open() if batch["survey"] == survey)
    return LedgerReport(tuple(rows), still)


def left_out(store: Store, survey: str, channels: Sequence[str], nights: Sequence[str], run: str) -> list[Document]:
    """Filters that failed too often in this run, or whose alerts still wait to be judged by a later one.

    One row a channel and message: `channel`, `filter`, `message`, `failures` in a row, and the alerts that `wait`.
    """
    rows = []
    for d in store.batches.disabled(survey, nights):
        if d["channel"] in channels:
            seen = sorted(d["nights"].intersection(nights) if nights else d["nights"])
            waits = store.survey(survey).ledger.waiting(d["channel"], seen, VerdictCode.FILTER_DISABLED)
            if waits or run in d["runs"]:
                rows.append({key: d[key] for key in ("channel", "filter", "message", "failures")} | {"wait": waits})
    return rows


def future_points(survey: SurveyStore, channels: Sequence[str], nights: Sequence[str]) -> list[int]:
    """Links of states that hold a datapoint later than the alert that led to them."""
    match: Document = {"channel": {"$in": list(channels)}}
    if nights:
        match["night"] = {"$in": list(nights)}
    wrong: list[int] = []
    states = survey.states.collection.find(match, {"jd": 1, "dps": 1}, batch_size=1000)
    chunk: list[Document] = []
    for state in states:
        chunk.append(state)
        if len(chunk) == 1000:
            wrong += _from_the_future(survey, chunk)
            chunk = []
    return wrong + _from_the_future(survey, chunk)


def _from_the_future(survey: SurveyStore, states: Sequence[Document]) -> list[int]:
    ids = {id_ for state in states for id_ in state["dps"]}
    jd = {row.id: row.jd for row in survey.points.rows_by_id(ids)}
    return [state["_id"] for state in states if any(jd.get(i, 0.0) > state["jd"] for i in state["dps"])]
