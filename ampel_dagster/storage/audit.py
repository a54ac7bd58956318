"""Questions that an operator asks: is every packet accounted for, is every state honest."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ampel_dagster.storage.batches import LEDGER_KEYS
from ampel_dagster.storage.collections import Document
from ampel_dagster.storage.store import Store, SurveyStore


@dataclass(frozen=True)
class LedgerReport:
    """Packets by source."""

    rows: tuple[dict[str, Any], ...]
    #: Batches that are still open.
    open: int

    @property
    def balanced(self) -> bool:
        """Whether each source's packets add up."""
        return all(row["read"] == sum(row[key] for key in LEDGER_KEYS[1:]) for row in self.rows)

    @property
    def total(self) -> dict[str, int]:
        """Packets of all sources."""
        return {key: sum(row[key] for row in self.rows) for key in LEDGER_KEYS}


def ledger(store: Store, survey: str, nights: Sequence[str]) -> LedgerReport:
    """Packets that were read for these nights (none: for all), by source."""
    rows = tuple(store.batches.ledger(survey, nights))
    return LedgerReport(rows, sum(1 for batch in store.batches.left_open() if batch["survey"] == survey))


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
