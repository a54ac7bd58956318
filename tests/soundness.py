"""What must hold for a database in which nothing is under way, whatever way its documents came there.

Worked out from the datapoints, alerts and rules alone: a second account of what the pipeline should have done.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ampel_dagster.instruments.base import Instrument
from ampel_dagster.storage.batches import LEDGER_KEYS
from ampel_dagster.storage.store import Store
from ampel_dagster.units.bound import ChannelRules

Documents = Mapping[int, Mapping[str, Any]]


def faults(
    store: Store, instrument: Instrument, rules: Sequence[ChannelRules], *, states: bool = True
) -> Iterator[str]:
    """Everything that is wrong, in words; without `states` what the channels' states hold is left out."""
    database = store.database

    def all_of(name: str) -> Documents:
        return {d["_id"]: d for d in database[name].find()}

    points, alerts = all_of("ztf.t0"), all_of("ztf.alert")
    stocks, tickets = all_of("ztf.stock"), [*database["ztf.t2"].find(), *database["ztf.ticket"].find()]
    by_stock: dict[int, list[Mapping[str, Any]]] = {}
    for point in points.values():
        for stock in point["stock"]:
            by_stock.setdefault(stock, []).append(point)
    yield from _states(instrument, rules if states else [], alerts, all_of("ztf.t1"), points, by_stock)
    yield from _tickets(rules if states else [], alerts, tickets)
    yield from _exposures(points, by_stock)
    yield from _stocks(alerts, stocks)
    rejected = all_of("ztf.rejected")
    for id_ in alerts.keys() | rejected.keys():
        verdicts = {**alerts.get(id_, {}).get("verdict", {}), **rejected.get(id_, {}).get("verdict", {})}
        if lacking := {r.channel for r in rules} - verdicts.keys():
            yield f"alert {id_} has no verdict of {sorted(lacking)}"
    for batch in database["batch"].find({"kind": "ingest"}):
        if batch["state"] != "done":
            yield f"batch {batch['_id']} is {batch['state']}"
        elif batch["counts"]["read"] != sum(batch["counts"][key] for key in LEDGER_KEYS[1:]):
            yield f"batch {batch['_id']} does not balance: {batch['counts']}"


def _states(
    instrument: Instrument,
    rules: Sequence[ChannelRules],
    alerts: Documents,
    states: Documents,
    points: Documents,
    by_stock: Mapping[int, list[Mapping[str, Any]]],
) -> Iterator[str]:
    """Each alert's state holds of each exposure before it the point of the largest id, and nothing else."""
    for alert in alerts.values():
        for r in rules:
            if r.channel not in alert["channel"]:
                continue
            best: dict[Any, int] = {}
            for p in by_stock.get(alert["stock"], []):
                rights = [tag for tag in p["tag"] if tag != "SUPERSEDED"]
                if p["jd"] <= alert["jd"] and instrument.covers(r.access, rights):
                    exposure = (p["jd"], p["sensor"], p["kind"] == "forced")
                    best[exposure] = max(best.get(exposure, p["_id"]), p["_id"])
            state = states.get(alert.get("state", {}).get(r.view))
            if state is None:
                yield f"alert {alert['_id']} has no state for {r.channel}"
            elif state["dps"] != sorted(best.values()):
                missing, more = set(best.values()) - set(state["dps"]), set(state["dps"]) - set(best.values())
                yield f"state of alert {alert['_id']} for {r.channel} lacks {missing}, has {more} for nothing"
            elif alert["_id"] not in state["alerts"] or r.channel not in state["channel"]:
                yield f"state {state['_id']} does not know alert {alert['_id']} of {r.channel}"
            elif any(r.channel not in points[id_]["channel"] for id_ in state["dps"]):
                yield f"{r.channel} may not see all of its state {state['_id']}"
    yield from _left_outs(instrument, rules, alerts, states, points)
    for state in states.values():
        jds = [points[id_]["jd"] if id_ in points else float("inf") for id_ in state["dps"]]
        if max(jds, default=0.0) > state["jd"]:
            yield f"state {state['_id']} knows the future, or a point that is not there"


def _left_outs(
    instrument: Instrument, rules: Sequence[ChannelRules], alerts: Documents, states: Documents, points: Documents
) -> Iterator[str]:
    """Each alert says what of its packet is not in its state."""
    for alert in alerts.values():
        for r in rules:
            state = states.get(alert.get("state", {}).get(r.view))
            if r.channel not in alert["channel"] or state is None:
                continue
            told, should = alert.get("left_out", {}).get(r.view, {}), _left_out(instrument, r, alert, state, points)
            if told != should:
                yield f"alert {alert['_id']} says that {r.channel} lacks {told}, and it lacks {should}"


def _left_out(
    instrument: Instrument, r: ChannelRules, alert: Mapping[str, Any], state: Mapping[str, Any], points: Documents
) -> Mapping[str, list[int]]:
    """Why points of a packet are not in its state: by the channel's rights, or for another of their exposure."""
    found: dict[str, list[int]] = {}
    for id_ in sorted(set(alert["dps"]) - set(state["dps"])):
        rights = [tag for tag in points.get(id_, {}).get("tag", ()) if tag != "SUPERSEDED"]
        hidden = id_ not in points or not instrument.covers(r.access, rights)
        found.setdefault("data_rights" if hidden else "superseded", []).append(id_)
    return found


def _tickets(rules: Sequence[ChannelRules], alerts: Documents, tickets: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Each state product that a channel asks for has a ticket for each alert's state."""
    there = {(t["product_id"], t["input"]): t["channel"] for t in tickets}
    for r in rules:
        for product in (request.product for request in r.requests if request.product.of_state):
            for alert in alerts.values():
                key = (product.id, alert.get("state", {}).get(r.view))
                if r.channel in alert["channel"] and r.channel not in there.get(key, ()):
                    yield f"no ticket of {product.name} for the state of alert {alert['_id']} of {r.channel}"


def _exposures(points: Documents, by_stock: Mapping[int, list[Mapping[str, Any]]]) -> Iterator[str]:
    """Points of one exposure know all of the larger ids."""
    larger: dict[int, set[int]] = {id_: set() for id_ in points}
    for mine in by_stock.values():
        exposures: dict[Any, list[int]] = {}
        for p in mine:
            exposures.setdefault((p["jd"], p["sensor"], p["kind"] == "forced"), []).append(p["_id"])
        for ids in exposures.values():
            for id_ in ids:
                larger[id_].update(other for other in ids if other > id_)
    for id_, ids in larger.items():
        if set(points[id_].get("superseded_by", ())) != ids or ("SUPERSEDED" in points[id_]["tag"]) != bool(ids):
            yield f"point {id_} is superseded by {sorted(ids)}, and says {points[id_].get('superseded_by')}"


def _stocks(alerts: Documents, stocks: Documents) -> Iterator[str]:
    """A stock knows its channels, once each, and where it was at last."""
    for id_ in {alert["stock"] for alert in alerts.values()} | set(stocks):
        stock, mine = stocks.get(id_), [alert for alert in alerts.values() if alert["stock"] == id_]
        if stock is None or not mine:
            yield f"stock {id_} is not there, or has no alert"
            continue
        channels = sorted({channel for alert in mine for channel in alert["channel"]})
        if sorted(stock["channel"]) != channels or sorted(entry["channel"] for entry in stock["ts"]) != channels:
            yield f"stock {id_} is of {channels}, and says {stock['channel']} and {stock['ts']}"
        last = max((alert["jd"], alert["_id"]) for alert in mine)
        if (stock["position"]["jd"], stock["position"]["alert"]) != last:
            yield f"stock {id_} was last seen in alert {last}, and says {stock['position']}"
