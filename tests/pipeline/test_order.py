"""Packets come in any order, twice, and cut into batches anyhow: what is stored does not depend on it."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ampel_dagster.model.alert import Alert, Packet
from ampel_dagster.model.datapoint import DataPoint
from ampel_dagster.model.stock import State, Stock
from ampel_dagster.storage.audit import future_points
from ampel_dagster.testing import Survey, encode_packet, make_alert, make_detection, make_limit
from ampel_dagster.units.base import AlertFilter, PointUnit, StateUnit, StockUnit, Tied
from ampel_dagster.units.bound import Product

JD = 2458349.7
ACCESS = ("ZTF", "ZTF_PUB", "ZTF_PRIV")
#: Three alerts of one exposure; four alerts of a season; one alert in two versions of the schema.
FILES = (
    "ZTF18acruwxq.tar.gz",
    "ZTF18abxhyqv.tar.gz",
    "single/v3.2_ztf_sample.avro",
    "single/v3.3_472263571115115000.avro",
)
TWIN = 472263571115115000
#: Each example empties the database by itself.
few = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
batch_sizes = st.sampled_from([1, 2, 3, 100])
Real = Callable[..., list[Packet]]


class Nothing(AlertFilter):
    """Rejects all."""

    def accept(self, alert: Alert) -> bool:
        return False


class OfState(StateUnit):
    """A product of states."""

    needs = ()

    def process(self, state: State, points: Sequence[DataPoint], tied: Tied) -> dict[str, Any]:
        return {}


class OfStock(StockUnit):
    """A product of stocks."""

    def process(self, stock: Stock, tied: Tied) -> dict[str, Any]:
        return {}


class OfPoint(PointUnit):
    """A product of points."""

    def process(self, point: DataPoint, tied: Tied) -> dict[str, Any]:
        return {}


PRODUCTS = (Product("state", OfState()), Product("stock", OfStock()), Product("point", OfPoint()))


def everything(lab: Any, name: str = "ALL") -> Any:
    return lab.rules(name, *PRODUCTS, access=ACCESS)


def ingest(lab: Any, packets: Sequence[Packet], batch_size: int = 1) -> None:
    """Ingest into an empty database."""
    lab.wipe()
    lab.run(everything(lab), packets, batch_size=batch_size)


def lasting(lab: Any) -> dict[str, Any]:
    """What must not depend on the order: alerts, stocks and datapoints, without what tells of their arrival."""
    found = lab.content("joined")
    for alert in found["ztf.alert"].values():
        del alert["source"], alert["state"]
        for verdict in alert["verdict"].values():
            del verdict["batch"]
    return {name: found[f"ztf.{name}"] for name in ("alert", "rejected", "stock", "t0")}


def states(lab: Any) -> tuple[dict[int, list[int]], dict[int, Any]]:
    """Datapoints of all states by link, and the states of all alerts."""
    found = lab.content()
    return {i: d["dps"] for i, d in found["ztf.t1"].items()}, {i: d["state"] for i, d in found["ztf.alert"].items()}


def states_and_tickets(lab: Any) -> dict[str, Any]:
    """All of states and tickets, and the states of all alerts."""
    found = lab.content()
    return {name: found[name] for name in ("ztf.t1", "ztf.t2")} | {"alert": states(lab)[1]}


def honest(lab: Any) -> bool:
    """No state knows the future."""
    return future_points(lab.ztf, ["ALL"], []) == []


def in_time(lab: Any, packets: Sequence[Packet]) -> list[Packet]:
    alerts = [alert for packet in packets for alert in lab.instrument.decode(packet)]
    return [alert.packet for alert in sorted(alerts, key=lambda alert: (alert.jd, alert.id, alert.rank))]


# --- histories to order ---


class Exposure(NamedTuple):
    """What an exposure showed of an object."""

    #: How many candidates; none: an upper limit.
    seen: int
    #: Which of the exposures before it (from 0) the packets about it tell of.
    tells: tuple[int, ...]


#: An exposure of an object may show it once, twice (of two candidates the second counts) or not at all. A packet knows
#: of some of the exposures before it only, so that a point may come to be known long after its time.
exposures = st.builds(Exposure, st.sampled_from([1, 1, 2, 0]), st.lists(st.integers(0, 4), max_size=5).map(tuple))
histories = st.lists(st.lists(exposures, min_size=1, max_size=5), min_size=1, max_size=2)
History = list[list[Exposure]]


def packets_of(history: History) -> list[Packet]:
    """Packets about these objects, in order of time."""
    alerts = []
    for number, object_ in enumerate(history):
        rows: list[list[dict[str, Any]]] = []
        for n, exposure in enumerate(object_):
            jd = JD + n * 0.75
            known = [row for before in sorted(set(exposure.tells)) if before < n for row in rows[before]]
            sights = [{"jd": jd, "tblid": 10 * number + k, "mag": 18.0 + n / 10} for k in range(exposure.seen)]
            rows.append([make_detection(**sight) for sight in sights] or [make_limit(jd=jd, maglim=20.0 + n / 10)])
            name = f"ZTF18aaaaaa{'ab'[number]}"
            alerts += [make_alert(name=name, history=known, cutouts=False, **sight) for sight in sights]
    alerts.sort(key=lambda alert: (alert["candidate"]["jd"], alert["candid"]))
    return [Packet(encode_packet(alert), "night.tar", n, f"{n}.avro") for n, alert in enumerate(alerts)]


def shuffled(packets: Sequence[Packet], data: st.DataObject, *, twice: int = 0) -> list[Packet]:
    """The packets in another order, some of them more than once."""
    numbers = range(len(packets))
    again = data.draw(st.lists(st.sampled_from(numbers), max_size=twice), label="again") if packets else []
    return [packets[n] for n in data.draw(st.permutations([*numbers, *again]), label="order")]


def observed(seed: int) -> list[Packet]:
    """Some nights of a simulated survey, in order of time."""
    survey = Survey(seed, 10, forced=True)
    alerts = [alert for day in (1, 2, 4) for alert in survey.night(f"2018-04-{day:02}")]
    return [Packet(alert.to_bytes(), "survey.tar", n) for n, alert in enumerate(alerts)]


# --- any order ---


@few
@given(data=st.data(), batch_size=batch_sizes)
def test_real_packets_in_any_order_and_twice(lab: Any, real: Real, data: st.DataObject, batch_size: int) -> None:
    packets = real(*FILES)
    ingest(lab, in_time(lab, packets))
    expected = lasting(lab)
    ingest(lab, shuffled(packets, data, twice=4), batch_size)
    assert lasting(lab) == expected
    assert honest(lab)


@few
@given(history=histories, data=st.data(), batch_size=batch_sizes)
def test_any_history_in_any_order_and_twice(lab: Any, history: History, data: st.DataObject, batch_size: int) -> None:
    packets = packets_of(history)
    ingest(lab, packets)
    expected, (_, last) = lasting(lab), states(lab)
    ingest(lab, shuffled(packets, data, twice=3), batch_size)
    assert lasting(lab) == expected
    # Where all has arrived, each alert leads to the state that it always leads to.
    assert states(lab)[1] == last
    assert honest(lab)


@settings(few, max_examples=6)
@given(seed=st.integers(0, 2**30), data=st.data(), batch_size=batch_sizes)
def test_nights_of_a_survey_in_any_order(lab: Any, seed: int, data: st.DataObject, batch_size: int) -> None:
    packets = observed(seed)
    ingest(lab, packets, 100)
    expected, (_, last) = lasting(lab), states(lab)
    ingest(lab, shuffled(packets, data), batch_size)
    assert lasting(lab) == expected
    assert states(lab)[1] == last
    assert honest(lab)


@few
@given(history=histories, data=st.data())
def test_packets_over_several_runs(lab: Any, history: History, data: st.DataObject) -> None:
    packets = packets_of(history)
    ingest(lab, packets)
    expected, (_, last) = lasting(lab), states(lab)
    lab.wipe()
    for packet in shuffled(packets, data, twice=2):
        lab.run(everything(lab), [packet], run=f"run {packet.offset}")
    assert lasting(lab) == expected
    assert states(lab)[1] == last
    assert honest(lab)


# --- states ---


@few
@given(history=histories, batch_size=st.integers(2, 12))
def test_in_order_of_time_the_size_of_a_batch_does_not_matter(lab: Any, history: History, batch_size: int) -> None:
    packets = packets_of(history)
    ingest(lab, packets, 1)
    expected = states_and_tickets(lab)
    ingest(lab, packets, batch_size)
    assert states_and_tickets(lab) == expected
    assert honest(lab)


@pytest.mark.parametrize("batch_size", [2, 3, 100])
@pytest.mark.parametrize("seed", [1, 2])
def test_the_same_for_nights_of_a_survey(lab: Any, seed: int, batch_size: int) -> None:
    packets = observed(seed)
    ingest(lab, packets, 1)
    expected = states_and_tickets(lab)
    assert len(expected["ztf.t1"]) >= len(packets) > 10
    ingest(lab, packets, batch_size)
    assert states_and_tickets(lab) == expected


@pytest.mark.parametrize("batch_size", [2, 3, 100])
def test_the_same_for_real_packets(lab: Any, real: Real, batch_size: int) -> None:
    packets = in_time(lab, real(*FILES))
    ingest(lab, packets, 1)
    expected = states_and_tickets(lab)
    ingest(lab, packets, batch_size)
    assert states_and_tickets(lab) == expected


@few
@given(history=histories, batch_size=batch_sizes)
def test_one_tier_after_the_other_makes_the_same_states(lab: Any, history: History, batch_size: int) -> None:
    packets, rules = packets_of(history), everything(lab)
    ingest(lab, packets)
    expected = states_and_tickets(lab)
    lab.wipe()
    lab.run(rules, packets, with_states=False, batch_size=batch_size)
    lab.combine([rules], sorted({d["night"] for d in lab.content()["ztf.alert"].values()}))
    assert states_and_tickets(lab) == expected


def test_a_state_holds_what_was_known_when_its_alert_came(lab: Any) -> None:
    limit, first, late = make_limit(jd=JD - 3), make_detection(jd=JD), make_limit(jd=JD - 2)
    one = make_alert(jd=JD, history=[limit], cutouts=False)
    two = make_alert(jd=JD + 1, history=[limit, late, first], cutouts=False)
    lab.run(everything(lab), lab.packets(one, two))
    links, of_alerts = states(lab)
    limits = {d["jd"]: i for i, d in lab.content()["ztf.t0"].items() if d["kind"] == "upper_limit"}
    before = sorted([limits[JD - 3], one["candid"]])
    after = sorted([limits[JD - 3], limits[JD - 2], one["candid"]])
    last = sorted([*after, two["candid"]])
    # The limit that came late gives the first alert a second state; the state of then stays.
    assert sorted(links.values()) == sorted([before, after, last])
    assert [links[link] for link in of_alerts[one["candid"]].values()] == [after]
    assert [links[link] for link in of_alerts[two["candid"]].values()] == [last]


def test_an_alert_that_comes_late_does_not_see_what_came_after_its_time(lab: Any) -> None:
    early = make_alert(jd=JD, cutouts=False)
    late = make_alert(jd=JD + 1, cutouts=False)
    lab.run(everything(lab), lab.packets(late))
    lab.run(everything(lab), lab.packets(early))
    links, of_alerts = states(lab)
    assert [links[link] for link in of_alerts[early["candid"]].values()] == [[early["candid"]]]
    assert [links[link] for link in of_alerts[late["candid"]].values()] == [sorted([early["candid"], late["candid"]])]
    assert honest(lab)


def test_a_limit_that_two_objects_share_comes_to_each_in_its_own_time(lab: Any) -> None:
    """The second object has it first; to the first one it is news when its own packet tells of it."""
    limit = make_limit(jd=JD - 1)
    first, last = make_alert(jd=JD, cutouts=False), make_alert(jd=JD + 2, history=[limit], cutouts=False)
    other = make_alert(name="ZTF18aaaaaab", jd=JD + 1, tblid=7, history=[limit], cutouts=False)
    lab.run(everything(lab), lab.packets(first, other, last), batch_size=1)
    links, of_alerts = states(lab)
    (shared,) = (i for i, d in lab.content()["ztf.t0"].items() if d["kind"] == "upper_limit")
    (link,) = of_alerts[first["candid"]].values()
    assert links[link] == [shared, first["candid"]]
    assert [first["candid"]] in links.values()


# --- bodies ---


@pytest.mark.parametrize("order", [(0, 1), (1, 0), (0, 1, 0), (1, 0, 1)])
@pytest.mark.parametrize("batch_size", [1, 100])
def test_of_two_packets_of_an_alert_the_newer_schema_wins(
    lab: Any, real: Real, order: Sequence[int], batch_size: int
) -> None:
    twins = real(*FILES[2:])
    (newer,) = lab.instrument.decode(twins[1])
    lab.run(everything(lab), [twins[n] for n in order], batch_size=batch_size)
    found = lab.content()
    assert found["ztf.t0"][TWIN]["body"] == newer.points[0].body
    assert "drb" in found["ztf.t0"][TWIN]["body"]
    assert found["ztf.alert"][TWIN]["rank"] == 330
    # That is settled now, and changes no more.
    before = lab.raw()
    lab.run(everything(lab), [twins[n] for n in order], batch_size=batch_size, run="again")
    assert lab.raw() == before


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
@pytest.mark.parametrize("batch_size", [1, 100])
def test_a_candidate_wins_over_a_row_of_a_history(lab: Any, order: Sequence[int], batch_size: int) -> None:
    first = make_alert(jd=JD, drb=0.75, cutouts=False)
    second = make_alert(jd=JD + 1, history=[make_detection(jd=JD)], cutouts=False)
    lab.run(everything(lab), lab.packets(*((first, second)[n] for n in order)), batch_size=batch_size)
    for alert in (first, second):
        point = lab.content()["ztf.t0"][alert["candid"]]
        assert "drb" in point["body"]
        assert point["body"]["ndethist"] == alert["candidate"]["ndethist"]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
@pytest.mark.parametrize("batch_size", [1, 100])
def test_of_two_packets_of_an_alert_the_richer_says_what_its_datapoints_are(
    lab: Any, order: Sequence[int], batch_size: int
) -> None:
    limits = [make_limit(jd=JD - n, maglim=20.0 + n / 10) for n in (1, 2, 3)]
    poorer = make_alert(jd=JD, history=limits[:2], cutouts=False)
    richer = {**make_alert(jd=JD, history=limits, cutouts=False), "schemavsn": "9.0"}
    lab.run(everything(lab), lab.packets(*((poorer, richer)[n] for n in order)), batch_size=batch_size)
    (alert,) = lab.content()["ztf.alert"].values()
    jds = {i: d["jd"] for i, d in lab.content()["ztf.t0"].items()}
    assert [jds[id_] for id_ in alert["dps"]] == [JD, JD - 1, JD - 2, JD - 3]
    (link,) = alert["state"].values()
    assert states(lab)[0][link] == sorted(jds)


@pytest.mark.parametrize("joins", [None, "nobody"])
def test_a_richer_body_comes_to_all_though_others_are_asked(lab: Any, real: Real, joins: str | None) -> None:
    """The second packet is read in a run for another channel, which takes it or not."""
    older, newer = real(*FILES[2:])
    lab.run(everything(lab), [older])
    assert "drb" not in lab.content()["ztf.t0"][TWIN]["body"]
    lab.run(lab.rules("OTHER", access=ACCESS, filter=Nothing() if joins else None), [newer])
    assert "drb" in lab.content()["ztf.t0"][TWIN]["body"]
    names = ["ALL"] if joins else ["ALL", "OTHER"]
    for name in ("alert", "stock", "t0", "t1"):
        assert {tuple(d["channel"]) for d in lab.content()[f"ztf.{name}"].values()} == {tuple(names)}


def test_a_richer_body_of_private_points_stays_private(lab: Any) -> None:
    private = make_detection(jd=JD - 1, tblid=5, programid=2)
    alert = make_alert(jd=JD, history=[private], cutouts=False)
    newer = {**alert, "schemavsn": "9.0"}
    lab.run(everything(lab, "PARTNER"), lab.packets(alert))
    lab.run(lab.rules("PUBLIC"), lab.packets(newer))
    point = lab.content()["ztf.t0"][private["candid"]]
    assert (point["channel"], point["rank"]) == (["PARTNER"], 900)


# --- points of one exposure ---


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
@pytest.mark.parametrize("batch_size", [1, 100])
def test_the_larger_id_of_an_exposure_supersedes_whatever_comes_first(
    lab: Any, order: Sequence[int], batch_size: int
) -> None:
    """The second packet has both points of the exposure in its history."""
    old, new = (make_detection(jd=JD, tblid=tblid) for tblid in (1, 2))
    first = make_alert(jd=JD, tblid=1, cutouts=False)
    second = make_alert(jd=JD + 1, history=[old, new], cutouts=False)
    lab.run(everything(lab), lab.packets(*((first, second)[n] for n in order)), batch_size=batch_size)
    points = lab.content()["ztf.t0"]
    assert points[old["candid"]]["superseded_by"] == [new["candid"]]
    assert {i for i, d in points.items() if "SUPERSEDED" in d["tag"]} == {old["candid"]}
    links, of_alerts = states(lab)
    (link,) = of_alerts[second["candid"]].values()
    assert links[link] == sorted([new["candid"], second["candid"]])


@pytest.mark.parametrize("batch_size", [1, 2, 100])
def test_three_candidates_of_one_real_exposure(lab: Any, real: Real, batch_size: int) -> None:
    ingest(lab, real("ZTF18acruwxq.tar.gz"), batch_size)
    points = lab.content()["ztf.t0"]
    a, b, c = 1391345455815015017, 1391345455815015018, 1391345455815015019
    assert [points[i].get("superseded_by") for i in (a, b, c)] == [[b, c], [c], None]
    links, of_alerts = states(lab)
    last = {link for state in of_alerts.values() for link in state.values()}
    assert len(last) == 1
    assert not {a, b} & set(links[last.pop()])
