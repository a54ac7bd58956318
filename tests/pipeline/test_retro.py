"""RetroCombiner: a state for each detection, none from the future, and the same ones however often they are made."""

from typing import Any

from ampel_dagster.testing import make_alert, make_detection, make_limit
from ampel_dagster.units.t1.retro import RetroCombiner
from ampel_dagster.units.t1.simple import SimpleCombiner

JD = 2458349.7
#: A limit, then detections 6, 4 and 2 days before the alert.
HISTORY = [make_limit(jd=JD - 8), *(make_detection(jd=JD - days, mag=19.0) for days in (6, 4, 2))]


def states(world: Any) -> list[tuple[float, int]]:
    """(days before the alert, number of points) of all states, oldest first."""
    found = world.ztf.states.collection.find().sort("jd", 1)
    return [(round(d["jd"] - JD, 3), len(d["dps"])) for d in found]


def test_each_detection_has_its_state(world: Any) -> None:
    product = world.product(lambda state, *_: {"n": len(state.dps)})
    rules = world.rules("A", product, combiner=RetroCombiner())
    packet = make_alert(jd=JD, history=HISTORY, cutouts=False)
    world.ingest(rules, packet)
    own = round(world.ztf.ledger.alert.find_one()["jd"] - JD, 3)
    assert [n for _, n in states(world)] == [2, 3, 4, 5]
    assert states(world)[-1] == (own, 5)
    world.compute(product)
    assert sorted(d["result"]["n"] for d in world.t2(product)) == [2, 3, 4, 5]
    # None from the future: each holds the points up to its detection.
    jd = {d["_id"]: d["jd"] for d in world.ztf.points.collection.find()}
    assert all(jd[id_] <= d["jd"] for d in world.ztf.states.collection.find() for id_ in d["dps"])
    # The alert itself led to the newest.
    (alert,) = world.ztf.ledger.alert.find()
    (newest,) = world.ztf.states.collection.find({"_id": alert["state"][rules.view]})
    assert len(newest["dps"]) == 5


def test_replay_changes_nothing_and_the_next_alert_adds_one(world: Any) -> None:
    product = world.product(lambda *_: {})
    rules = world.rules("A", product, combiner=RetroCombiner())
    first = make_alert(jd=JD, history=HISTORY, cutouts=False)
    world.ingest(rules, first)
    before = states(world)
    world.ingest(rules, first)
    assert states(world) == before
    again = [*HISTORY, make_detection(jd=JD, mag=18.5, candid=first["candid"])]
    world.ingest(rules, make_alert(jd=JD + 2, history=again, cutouts=False))
    assert len(states(world)) == len(before) + 1


def test_product_that_is_asked_for_later_is_computed_for_all_of_them(world: Any) -> None:
    first, later = world.product(lambda *_: {}, "first"), world.product(lambda *_: {}, "later", version="2")
    later = type(later)("later", later.unit, (first,))
    packet = make_alert(jd=JD, history=HISTORY, cutouts=False)
    world.ingest(world.rules("A", first, combiner=RetroCombiner()), packet)
    world.ingest(world.rules("B", first, later, combiner=RetroCombiner()), packet)
    world.compute(first, later)
    assert len(world.t2(later)) == 4


def test_channels_with_different_combiners_share_points_and_no_states(world: Any) -> None:
    retro, simple = world.rules("A", combiner=RetroCombiner()), world.rules("B", combiner=SimpleCombiner())
    world.ingest([retro, simple], make_alert(jd=JD, history=HISTORY, cutouts=False))
    assert all(d["channel"] == ["A", "B"] for d in world.ztf.points.collection.find())
    assert sorted(d["channel"] for d in world.ztf.states.collection.find()) == [["A"]] * 4 + [["B"]]
