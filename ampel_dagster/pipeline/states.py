"""The states of an object over time, with what was left out of each and why."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ampel_dagster.storage.collections import Document
from ampel_dagster.storage.store import SurveyStore


class StateLine(NamedTuple):
    """One state, as it is listed."""

    link: int
    jd: float
    night: str
    dps: tuple[int, ...]
    #: How many datapoints of each kind it holds.
    kinds: Mapping[str, int]
    #: Ids of the alerts that led to it.
    alerts: tuple[int, ...]
    channel: tuple[str, ...]
    #: How many datapoints of its alerts' packets it does not hold, by reason.
    left_out: Mapping[str, int]
    #: What T1 units computed on it, by unit; of one that failed its message.
    values: Mapping[str, Any]
    run: str

    @property
    def n_points(self) -> int:
        """How many datapoints it holds."""
        return len(self.dps)


def states_of_stock(survey: SurveyStore, stock: int, channel: str | None = None) -> list[StateLine]:
    """States of a stock in the order of their time; with a channel those that it may see, and its alerts alone."""
    states = [d for d in survey.states.of_stock(stock) if channel is None or channel in d["channel"]]
    kinds = {row.id: row.kind for row in survey.points.rows_of_stocks([stock])}
    alerts = {d["_id"]: d for d in survey.ledger.of_stock(stock) if channel is None or channel in d["channel"]}
    return [
        StateLine(
            d["_id"],
            d["jd"],
            d["night"],
            tuple(d["dps"]),
            dict(sorted(Counter(kinds.get(id_, "missing") for id_ in d["dps"]).items())),
            tuple(id_ for id_ in d["alerts"] if id_ in alerts),
            tuple(d["channel"]) if channel is None else (channel,),
            _left_out(d["_id"], [alerts[id_] for id_ in d["alerts"] if id_ in alerts]),
            {v["unit"]: v["body"] if v["code"] >= 0 else v["error"]["message"] for v in d.get("computed", {}).values()},
            d["meta"]["run"],
        )
        for d in states
    ]


def _left_out(link: int, alerts: Sequence[Document]) -> dict[str, int]:
    ids: dict[str, set[int]] = {}
    for alert in alerts:
        for view, reasons in alert.get("left_out", {}).items():
            if alert["state"].get(view) == link:
                for reason, found in reasons.items():
                    ids.setdefault(reason, set()).update(found)
    return {reason: len(found) for reason, found in sorted(ids.items())}
