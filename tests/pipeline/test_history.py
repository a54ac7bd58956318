"""Objects that a channel took late get the alerts of the time before from the archive, and never know their future."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from ampel_dagster.model.alert import Alert, Packet
from ampel_dagster.pipeline.history import history_nights, late_objects
from ampel_dagster.pipeline.ingest import SelectionWriter
from ampel_dagster.pipeline.t0_ingest import select
from ampel_dagster.pipeline.write_ahead import write_overlapping
from ampel_dagster.sources.files import read_file
from ampel_dagster.testing import make_detection
from ampel_dagster.units.base import AlertFilter
from tests.soundness import faults

#: The last of five nights, in which the object was bright enough.
NIGHT = "2018-08-23"


class Bright(AlertFilter):
    """Takes what is brighter than a magnitude."""

    than: float = 18.0

    def accept(self, alert: Alert) -> bool:
        return bool(alert.candidate["magpsf"] < self.than)


class Late(AlertFilter):
    """Takes nothing before a time."""

    from_jd: float

    def accept(self, alert: Alert) -> bool:
        return alert.jd >= self.from_jd


@pytest.fixture
def packets(world) -> list[Packet]:
    """A rising object in five nights, whose packets tell of the night before only, and one that stays faint."""
    sent = []
    for day in range(5):
        before = [make_detection(jd=world.jd(day - 1), mag=20.5 - (day - 1) * 0.7)] if day else []
        sent.append(world.star(0, jd=world.jd(day), mag=20.5 - day * 0.7, history=before))
        sent.append(world.star(1, jd=world.jd(day), mag=20.0))
    return world.packets(*sent)


def completed(world, rules, packets: Sequence[Packet], nights: Sequence[str] = (NIGHT,), run: str = "complete"):
    late = late_objects(world.ztf, [rules], nights)
    ingestion = replace(world.ingestion(rules, run=run, mode="archive"), late=late)
    writer = SelectionWriter(ingestion)
    tally = write_overlapping(select(ingestion, packets), writer.write)
    writer.finish()
    return tally


def ingested(world, rules, packets: Sequence[Packet]):
    ingestion = world.ingestion(rules)
    return write_overlapping(select(ingestion, packets), SelectionWriter(ingestion).write)


def states(world) -> dict[int, tuple[float, list[int]]]:
    """Time, and datapoints of the state, of each alert that was accepted."""
    by_link = {d["_id"]: d["dps"] for d in world.ztf.states.collection.find()}
    return {d["_id"]: (d["jd"], by_link[next(iter(d["state"].values()))]) for d in world.ztf.ledger.alert.find()}


def content(world) -> dict[str, Any]:
    """What is stored, but for who stored it when, and for states on the way to those that are there at the end."""
    found: dict[str, Any] = {"states": states(world)}
    for name in ("alert", "stock", "t0"):
        documents = {d["_id"]: d for d in world.store.database[f"ztf.{name}"].find()}
        for d in documents.values():
            for key in ("meta", "joined", "enriched", "ts", "source"):
                d.pop(key, None)
            for verdict in d.get("verdict", {}).values():
                del verdict["batch"]
        found[name] = documents
    return found


def test_states_are_those_of_a_channel_that_took_the_object_from_the_beginning(world, packets):
    everything = world.rules("EVERYTHING")
    ingested(world, everything, packets)
    (object_,) = {d["stock"] for d in world.ztf.ledger.alert.find({"night": NIGHT, "jd": world.jd(4)})} - {
        d["_id"] for d in world.ztf.stocks.collection.find({"name": "ZTF18aaaaaab"})
    }
    mine = {d["_id"] for d in world.ztf.ledger.alert.find({"stock": object_})}
    expected = {id_: found for id_, found in states(world).items() if id_ in mine}
    assert [len(dps) for _, dps in sorted(expected.values())] == [1, 2, 3, 4, 5]

    world.store.drop()
    world.store.prepare(("ztf",))
    rules = replace(world.rules("LATE", filter=Bright()), history_days=30)
    ingested(world, rules, packets)
    assert [len(dps) for _, dps in states(world).values()] == [2]  # the last packet, and the night before
    tally = completed(world, rules, packets)
    assert (tally.counts["read"], tally.counts["new"]) == (4, 4)
    assert states(world) == expected
    assert list(faults(world.store, world.instrument, [rules])) == []


def test_no_state_holds_a_point_of_its_future(world, packets):
    rules = replace(world.rules("LATE", filter=Bright()), history_days=30)
    ingested(world, rules, packets)
    completed(world, rules, packets)
    jd = {d["_id"]: d["jd"] for d in world.ztf.points.collection.find()}
    found = states(world)
    assert len(found) == 5
    for alert_jd, dps in found.values():
        assert max(jd[id_] for id_ in dps) == alert_jd
    # The states that were there before the history came are kept, too, and as true.
    for state in world.ztf.states.collection.find():
        assert max(jd[id_] for id_ in state["dps"]) <= state["jd"]


def test_others_are_passed_over_and_what_was_rejected_stays(world, packets):
    rules = replace(world.rules("LATE", filter=Bright()), history_days=30)
    ingested(world, rules, packets[-2:])
    completed(world, rules, packets)
    faint = world.instrument.stock_id("ZTF18aaaaaab")
    assert world.ztf.ledger.alert.count_documents({"stock": faint}) == 0
    assert world.ztf.ledger.rejected.count_documents({}) == 1  # of the night that was ingested
    verdicts = [d["verdict"]["LATE"] for d in world.ztf.ledger.alert.find(sort=[("jd", 1)])]
    assert [verdict.get("completed", False) for verdict in verdicts] == [True, True, True, True, False]


def test_doing_it_again_or_in_pieces_changes_nothing(world, packets):
    rules = replace(world.rules("LATE", filter=Bright()), history_days=30)
    ingested(world, rules, packets)
    completed(world, rules, packets)
    once = content(world)
    assert completed(world, rules, packets, run="again").counts["new"] == 0
    assert content(world) == once

    world.store.drop()
    world.store.prepare(("ztf",))
    ingested(world, rules, packets)
    completed(world, rules, packets[4:6])  # as far as a run came that was killed between two batches
    completed(world, rules, packets, run="again")
    assert content(world) == once


def test_a_replay_of_all_finds_all_known(world, packets):
    rules = replace(world.rules("LATE", filter=Bright()), history_days=30)
    ingested(world, rules, packets)
    completed(world, rules, packets)
    once = content(world)
    assert ingested(world, rules, packets).counts["known"] == len(packets)
    assert content(world) == once


@pytest.mark.parametrize(("days", "taken"), [(0, 0), (1, 1), (2, 2), (30, 4)])
def test_how_far_back(world, packets, days, taken):
    rules = replace(world.rules("LATE", filter=Bright()), history_days=days)
    ingested(world, rules, packets)
    if days:
        assert completed(world, rules, packets).counts["new"] == taken
    else:
        assert late_objects(world.ztf, [rules], [NIGHT]) == {}


def test_a_channel_sees_no_more_than_its_rights(world):
    sent = [world.star(0, jd=world.jd(day), mag=20.5 - day, programid=2 if day == 1 else 1) for day in range(4)]
    packets = world.packets(*sent)
    rules = replace(world.rules("LATE", filter=Bright()), history_days=30)
    ingested(world, rules, packets)
    completed(world, rules, packets, nights=["2018-08-22"])
    # What it may not see has been judged for good.
    again = completed(world, rules, packets, nights=["2018-08-22"], run="again")
    assert (again.counts["known"], again.counts["read"]) == (3, 3)
    tags = [tag for d in world.ztf.points.collection.find() for tag in d["tag"]]
    assert "ZTF_PRIV" not in tags
    assert world.ztf.ledger.alert.count_documents({}) == 3


def test_nights_to_read():
    class Rules:
        history_days = 2

    assert history_nights([Rules()], ["2018-08-20", "2018-08-19"]) == [
        "2018-08-16",
        "2018-08-17",
        "2018-08-18",
        "2018-08-19",
        "2018-08-20",
    ]
    assert history_nights([], ["2018-08-19"]) == []


@pytest.mark.parametrize("name", ["ZTF18abxhyqv.tar.gz", "ZTF18acruwxq.tar.gz"])
def test_a_real_object(world, data, name):
    """Taken at its last alert; then known as if from the beginning."""
    packets = [p for p in read_file(data / "ztf" / name) if isinstance(p, Packet)]
    rights = ("ZTF", "ZTF_PUB", "ZTF_PRIV")
    ingested(world, world.rules("EVERYTHING", access=rights), packets)
    expected = states(world)
    last = max(jd for jd, _ in expected.values())
    world.store.drop()
    world.store.prepare(("ztf",))
    rules = replace(world.rules("LATE", filter=Late(from_jd=last), access=rights), history_days=3650)
    ingested(world, rules, packets)
    assert {jd for jd, _ in states(world).values()} == {last}
    completed(world, rules, packets, [world.ztf.ledger.alert.find_one()["night"]])
    assert states(world) == expected
    jd = {d["_id"]: d["jd"] for d in world.ztf.points.collection.find()}
    assert len(expected) > 2
    assert all(jd[id_] <= until for until, dps in expected.values() for id_ in dps)
