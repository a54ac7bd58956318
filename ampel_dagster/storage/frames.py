"""Documents of channels and nights as flat rows, for data frames; nothing of other channels is in them."""

from collections.abc import Iterator, Sequence
from typing import Any

from ampel_dagster.storage.store import SurveyStore
from ampel_dagster.storage.tickets import in_partitions


def alert_rows(survey: SurveyStore, channels: Sequence[str], nights: Sequence[str]) -> Iterator[dict[str, Any]]:
    """One row an accepted alert and channel."""
    for alert in survey.ledger.accepted(channels, nights):
        for channel in channels:
            if channel in alert.channel:
                yield {
                    "alert": alert.id,
                    "stock": alert.stock,
                    "jd": alert.jd,
                    "night": alert.night,
                    "channel": channel,
                    "code": alert.channel[channel],
                    "n_points": len(alert.dps),
                }


def state_rows(survey: SurveyStore, channels: Sequence[str], nights: Sequence[str]) -> Iterator[dict[str, Any]]:
    """One row a state and channel."""
    query = {"night": {"$in": list(nights)}, "channel": {"$in": list(channels)}}
    for d in survey.states.collection.find(query).sort([("stock", 1), ("jd", 1)]):
        for channel in channels:
            if channel in d["channel"]:
                row = {"link": d["_id"], "stock": d["stock"], "jd": d["jd"], "night": d["night"]}
                yield row | {"channel": channel, "n_points": len(d["dps"])}


def result_rows(
    survey: SurveyStore, product: str, channels: Sequence[str], nights: Sequence[str]
) -> Iterator[dict[str, Any]]:
    """One row a result and channel: who and what it is about, its code, and the result's fields with dots."""
    query = {"product": product, **in_partitions(channels, nights)}
    for d in survey.results.collection.find(query).sort([("stock", 1), ("_id", 1)]):
        for channel in channels:
            if channel in d["channel"]:
                row = {"t2": d["_id"], "stock": d["stock"], "input": d["input"], "channel": channel, "code": d["code"]}
                yield row | _flat(d.get("result") or {})


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        return {prefix: value}
    found: dict[str, Any] = {}
    for key, item in value.items():
        found |= _flat(item, f"{prefix}.{key}" if prefix else key)
    return found
