"""The same thirty real alerts as AMPEL: the same stocks, datapoints, states and tickets, document by document."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from ampel_dagster.model.alert import Packet
from ampel_dagster.model.datapoint import DataPoint
from ampel_dagster.model.stock import State
from ampel_dagster.units.base import StateUnit, Tied
from ampel_dagster.units.bound import ChannelRules, Product

NIGHT = "2018-08-19"
#: What DESIGN and AMPEL's output say of the archive.
STOCKS, POINTS, STATES, TICKETS = 30, 771, 30, 30
Expected = dict[str, list[dict[str, Any]]]


class Length(StateUnit):
    """Stands for AMPEL's trivial unit."""

    needs = ()

    def process(self, state: State, points: Sequence[DataPoint], tied: Tied) -> Mapping[str, Any]:
        return {"len": len(state.dps)}


PRODUCT = Product("length", Length())


@pytest.fixture(scope="module")
def expected(data: Path) -> Expected:
    """AMPEL's own documents by collection."""
    path = data.parent / "peer_ampel" / "expected_mod1000.jsonl"
    if not path.is_file():
        pytest.skip("AMPEL's own output is not there (../shared/peer_ampel)")
    found: Expected = {}
    for line in path.read_text().splitlines():
        document = json.loads(line)
        found.setdefault(document["col"], []).append(document)
    assert {name: len(documents) for name, documents in found.items()} == {
        "stock": STOCKS,
        "t0": POINTS,
        "t1": STATES,
        "t2": TICKETS,
    }
    return found


@pytest.fixture
def night(real: Callable[..., list[Packet]]) -> list[Packet]:
    return real("ztf_public_20180819_mod1000.tar.gz")


def channels(lab: Any, count: int) -> list[ChannelRules]:
    return [lab.rules(f"CHAN{n}", PRODUCT) for n in range(count)]


def assert_like_ampel(lab: Any, expected: Expected, names: list[str]) -> None:
    """Every document is AMPEL's, for all of these channels."""
    found = lab.content()
    assert {i: (d["name"], d["tag"], d["channel"]) for i, d in found["ztf.stock"].items()} == {
        d["stock"]: (d["name"], d["tag"], names) for d in expected["stock"]
    }
    # AMPEL keeps the id of a detection beside its body, and so do we; bodies have the same number of fields.
    assert {
        i: (d["stock"], d["tag"], d["channel"], d["jd"], len(d["body"]), d.get("superseded_by", []))
        for i, d in found["ztf.t0"].items()
    } == {
        d["id"]: (sorted(d["stock"]), sorted(d["tag"]), names, d["jd"], d["nkeys"], d["newids"]) for d in expected["t0"]
    }
    states = found["ztf.t1"].values()
    assert {d["stock"]: d["dps"] for d in states} == {d["stock"]: d["dps"] for d in expected["t1"]}
    assert len(states) == STATES
    assert all(d["channel"] == names for d in states)
    # AMPEL's tickets are results without a body.
    assert sorted((d["stock"], d["code"]) for d in found["ztf.ticket"].values()) == sorted(
        (d["stock"], d["code"]) for d in expected["t2"]
    )
    for ticket in found["ztf.ticket"].values():
        assert ticket["channel"] == names
        assert found["ztf.t1"][ticket["link"]]["stock"] == ticket["stock"]


def test_every_document_is_ampels(lab: Any, night: list[Packet], expected: Expected) -> None:
    tally = lab.run(channels(lab, 1), night)
    assert_like_ampel(lab, expected, ["CHAN0"])
    assert {key: tally.counts[key] for key in ("read", "new", "stock", "t0", "t1", "t2", "alert")} == {
        **{"read": 30, "new": 30, "alert": 30},
        **{"stock": STOCKS, "t0": POINTS, "t1": STATES, "t2": TICKETS},
    }
    content = lab.content()
    points = content["ztf.t0"].values()
    assert sum(len(d["dps"]) for d in content["ztf.t1"].values()) == 754
    assert sum("SUPERSEDED" in d["tag"] for d in points) == 19
    assert sum(d["kind"] == "detection" for d in points) == 304


def test_every_accepted_alert_is_in_the_ledger_with_its_state(lab: Any, night: list[Packet]) -> None:
    (rules,) = channels(lab, 1)
    lab.run(rules, night)
    content = lab.content()
    alerts = content["ztf.alert"]
    assert {d["source"]["offset"]: d["source"]["member"] for d in alerts.values()} == {
        p.offset: p.member for p in night
    }
    for id_, alert in alerts.items():
        state = content["ztf.t1"][alert["state"][rules.view]]
        assert state["alerts"] == [id_]
        assert (state["stock"], state["night"], state["jd"]) == (alert["stock"], NIGHT, alert["jd"])
        assert set(state["dps"]) <= set(alert["dps"])
        assert alert["dps"][0] == id_
        assert alert["verdict"]["CHAN0"]["code"] == 0


def test_five_channels_share_every_document(lab: Any, night: list[Packet], expected: Expected) -> None:
    lab.run(channels(lab, 5), night)
    assert_like_ampel(lab, expected, [f"CHAN{n}" for n in range(5)])


@pytest.mark.parametrize("count", [1, 5])
def test_the_same_packets_again_change_not_one_byte(lab: Any, night: list[Packet], count: int) -> None:
    lab.run(channels(lab, count), night, run="first")
    before = lab.raw()
    tally = lab.run(channels(lab, count), night, run="second")
    assert lab.raw() == before
    assert tally.counts["known"] == tally.counts["read"] == 30


def test_a_smaller_batch_makes_the_same_documents(lab: Any, night: list[Packet], expected: Expected) -> None:
    lab.run(channels(lab, 1), night, batch_size=7)
    assert_like_ampel(lab, expected, ["CHAN0"])


def test_a_further_channel_adds_itself_and_nothing_else(lab: Any, night: list[Packet], expected: Expected) -> None:
    names = [f"CHAN{n}" for n in range(6)]
    rules = channels(lab, 6)
    lab.run(rules[:5], night)
    before = lab.content()
    tally = lab.run(rules[5:], night)
    assert_like_ampel(lab, expected, names)
    assert {key: tally.counts[key] for key in ("new", "t0", "stock", "t1", "t2", "alert")} == {
        **{"new": 30, "t0": 0, "stock": 0, "t1": 0, "t2": 0, "alert": 0}
    }
    after = lab.content()
    # Besides its own batch, all that is new is its name and its verdicts.
    assert before.pop("batch").items() <= after.pop("batch").items()
    for documents in after.values():
        for document in documents.values():
            if "channel" in document:
                assert "CHAN5" in document["channel"]
                document["channel"].remove("CHAN5")
            document.get("verdict", {}).pop("CHAN5", None)
    assert after == before


def test_who_wrote_a_document_stays_though_a_channel_joins(lab: Any, night: list[Packet]) -> None:
    lab.run(channels(lab, 1), night, run="first")
    lab.run(channels(lab, 2)[1:], night, run="second")
    for name in ("alert", "stock", "t0", "t1", "ticket"):
        assert {d["meta"]["run"] for d in lab.store.database[f"ztf.{name}"].find()} == {"first"}
    assert {d["run"] for d in lab.store.database["journal"].find()} == {"first", "second"}


def test_one_tier_after_the_other_makes_what_both_at_once_make(lab: Any, night: list[Packet]) -> None:
    rules = channels(lab, 2)
    lab.run(rules, night)
    at_once = lab.content()
    lab.wipe()
    lab.run(rules, night, with_states=False)
    assert lab.content()["ztf.t1"] == {}
    assert {d["state"] for d in lab.content()["batch"].values()} == {"stored"}
    lab.combine(rules, [NIGHT])
    assert lab.content() == at_once
    before = lab.raw()
    lab.combine(rules, [NIGHT])
    assert lab.raw() == before
