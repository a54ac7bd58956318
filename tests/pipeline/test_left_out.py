"""What of a packet is not in the state that it led to is recorded with the reason, whatever way the packet came."""

from typing import Any

from ampel_dagster.pipeline.states import states_of_stock
from ampel_dagster.testing import make_alert, make_detection, make_limit
from ampel_dagster.units.t1.simple import SimpleCombiner

JD = 2458349.7
PUBLIC, PARTNER = ("ZTF", "ZTF_PUB"), ("ZTF", "ZTF_PUB", "ZTF_PRIV")
#: A limit, a partner's detection, and two candidates of one exposure.
HISTORY = [
    make_limit(jd=JD - 8),
    make_detection(jd=JD - 6, programid=2),
    make_detection(jd=JD - 4, tblid=1),
    make_detection(jd=JD - 4, tblid=2),
]


def packet(day: int = 0, history: Any = HISTORY) -> dict[str, Any]:
    """An alert of the object, some days after the first."""
    return make_alert(jd=JD + day, history=history, cutouts=False)


def left_out(world: Any, rules: Any) -> list[dict[str, int]]:
    """How many points each alert's state lacks, by reason; oldest alert first."""
    found = world.ztf.ledger.alert.find().sort("jd", 1)
    return [{why: len(ids) for why, ids in d.get("left_out", {}).get(rules.view, {}).items()} for d in found]


def test_data_rights_and_candidates_of_one_exposure(world: Any) -> None:
    public, partner = world.rules("A", access=PUBLIC), world.rules("B", access=PARTNER)
    first = packet()
    world.ingest([public, partner], first)
    assert left_out(world, public) == [{"data_rights": 1, "superseded": 1}]
    assert left_out(world, partner) == [{"superseded": 1}]
    (alert,) = world.ztf.ledger.alert.find()
    assert alert["left_out"][public.view]["data_rights"] == [HISTORY[1]["candid"]]
    # Of the two candidates the one with the smaller id.
    assert alert["left_out"][partner.view]["superseded"] == [min(HISTORY[2]["candid"], HISTORY[3]["candid"])]


def test_kinds_that_the_combiner_is_told_to_leave_out(world: Any) -> None:
    rules = world.rules("A", combiner=SimpleCombiner(upper_limits=False), access=PARTNER)
    world.ingest(rules, packet())
    assert left_out(world, rules) == [{"upper_limit": 1, "superseded": 1}]


def test_nothing_is_said_where_nothing_is_left_out(world: Any) -> None:
    rules = world.rules("A")
    world.ingest(rules, packet(history=[make_limit(jd=JD - 8)]))
    assert "left_out" not in world.ztf.ledger.alert.find_one()


def test_alert_that_adds_newer_points_says_the_same_as_one_that_comes_alone(lab: Any) -> None:
    """A packet that grows a state goes a shorter way than one of an object of which all points are read."""
    rules = lab.rules("A", access=PUBLIC)
    first, second = packet(), packet(1, [*HISTORY, make_detection(jd=JD, candid=packet()["candid"])])
    lab.ingest(rules, first)
    lab.ingest(rules, second)
    grown = {d["_id"]: d["left_out"] for d in lab.ztf.ledger.alert.find()}
    lab.wipe()
    lab.ingest(rules, second)
    lab.ingest(rules, first)
    assert {d["_id"]: d["left_out"] for d in lab.ztf.ledger.alert.find()} == grown
    assert left_out(lab, rules) == [{"data_rights": 1, "superseded": 1}] * 2
    lab.wipe()
    lab.run(rules, lab.packets(first, second), with_states=False)
    lab.combine([rules], ["2018-08-19", "2018-08-20"])
    assert {d["_id"]: d["left_out"] for d in lab.ztf.ledger.alert.find()} == grown


def test_states_are_listed_in_order_with_what_they_lack(world: Any) -> None:
    public, partner = world.rules("A", access=PUBLIC), world.rules("B", access=PARTNER)
    world.ingest([public, partner], packet())
    world.ingest([public, partner], packet(1, [*HISTORY, make_detection(jd=JD, candid=packet()["candid"])]))
    stock = world.ztf.ledger.alert.find_one()["stock"]
    found = states_of_stock(world.ztf, stock, "A")
    assert [(state.kinds, state.left_out) for state in found] == [
        ({"detection": 2, "upper_limit": 1}, {"data_rights": 1, "superseded": 1}),
        ({"detection": 3, "upper_limit": 1}, {"data_rights": 1, "superseded": 1}),
    ]
    both = states_of_stock(world.ztf, stock)
    assert len(both) == 4
    assert [state.jd for state in both] == sorted(state.jd for state in both)
    assert {state.channel for state in both} == {("A",), ("B",)}
