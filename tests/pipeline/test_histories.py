"""Histories of real and made-up objects that come in pieces: what is there at the end is what one run would make.

Pieces are files, batches and runs, in any order and more than once. `test_order.py` is about one run and one channel;
here several channels with rules of their own look on, and objects come back to a base that knows most of their points.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ampel_dagster.model.alert import Alert, Packet
from ampel_dagster.model.datapoint import DataPoint
from ampel_dagster.model.stock import State, Stock
from ampel_dagster.testing import Survey, encode_packet, make_alert, make_detection, make_limit
from ampel_dagster.units.base import AlertFilter, PointUnit, StateUnit, StockUnit, Tied
from ampel_dagster.units.bound import Product

JD = 2458349.7
PRIVATE = ("ZTF", "ZTF_PUB", "ZTF_PRIV")
FILES = ("ZTF18acruwxq.tar.gz", "ZTF18abxhyqv.tar.gz")
TWINS = ("single/v3.2_ztf_sample.avro", "single/v3.3_472263571115115000.avro")
FORCED = tuple(
    f"fp_v4/2475433850{rest}.avro"
    for rest in ("015010009", "015015010", "215010007", "215015020", "315015008", "315015012", "415015004", "415015007")
)
few = settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
Real = Callable[..., list[Packet]]


class Bright(AlertFilter):
    """Takes what is brighter than a magnitude."""

    than: float = 18.6

    def accept(self, alert: Alert) -> bool:
        return bool(alert.candidate["magpsf"] < self.than)


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


def channels(lab: Any) -> list[Any]:
    """All that is public; all that a partner may see; what is bright, and from then on all of the object."""
    return [
        lab.rules("PUBLIC", *PRODUCTS),
        lab.rules("PARTNER", PRODUCTS[0], access=PRIVATE),
        lab.rules("FOLLOW", PRODUCTS[0], filter=Bright(), known_stocks="bypass"),
        lab.rules("BRIGHT", filter=Bright(than=18.0), access=PRIVATE),
    ]


def plain(lab: Any, *without: str) -> dict[str, Any]:
    """All documents, but for how they came: batches, times, and the file that an alert was first read in."""
    found = lab.content("source", "joined", *without)
    found.pop("batch", None)
    for name in ("alert", "rejected"):
        for alert in found[f"ztf.{name}"].values():
            for verdict in alert["verdict"].values():
                del verdict["batch"]
    return dict(found)


def lasting(lab: Any) -> dict[str, Any]:
    """Alerts, stocks and datapoints."""
    return {name: plain(lab, "state")[f"ztf.{name}"] for name in ("alert", "stock", "t0")}


def in_time(lab: Any, packets: Iterable[Packet]) -> list[Packet]:
    alerts = [alert for packet in packets for alert in lab.instrument.decode(packet)]
    return [alert.packet for alert in sorted(alerts, key=lambda alert: (alert.jd, alert.id, alert.rank))]


def by_night(lab: Any, packets: Iterable[Packet]) -> list[list[Packet]]:
    nights: dict[str, list[Packet]] = {}
    for packet in packets:
        (alert,) = lab.instrument.decode(packet)
        nights.setdefault(alert.night, []).append(packet)
    return [nights[night] for night in sorted(nights)]


# --- any order, any pieces ---


@st.composite
def pieces(draw: st.DrawFn, n: int) -> list[tuple[list[int], int]]:
    """Numbers of packets in any order, some more than once, cut into runs; each with the size of its batches."""
    again = draw(st.lists(st.integers(0, n - 1), max_size=4))
    order = draw(st.permutations([*range(n), *again]))
    cuts = sorted(draw(st.sets(st.integers(1, n - 1), max_size=3)))
    sizes = draw(st.lists(st.sampled_from([1, 2, 5, 100]), min_size=len(cuts) + 1, max_size=len(cuts) + 1))
    parts = [order[a:b] for a, b in zip([0, *cuts], [*cuts, None], strict=True)]
    return list(zip(parts, sizes, strict=True))


def feed(lab: Any, rules: Any, packets: Sequence[Packet], parts: Sequence[tuple[list[int], int]]) -> list[Any]:
    """Each part as a run over a file of its own."""
    return [
        lab.run(
            rules,
            [packets[i]._replace(source=f"part{n}.tar", offset=k) for k, i in enumerate(part)],
            run=f"part {n}",
            batch_size=size,
        )
        for n, (part, size) in enumerate(parts)
    ]


@few
@given(data=st.data())
@pytest.mark.parametrize("names", [(*FILES, *TWINS), FORCED], ids=["histories and twins", "forced photometry"])
def test_real_histories_in_any_pieces(lab: Any, real: Real, names: Sequence[str], data: st.DataObject) -> None:
    packets = in_time(lab, real(*names))
    # Rules that look at nothing but the alert, so that no verdict depends on what came before.
    rules = [lab.rules("PARTNER", *PRODUCTS, access=PRIVATE), lab.rules("BRIGHT", filter=Bright(than=19.2))]
    lab.wipe()
    lab.run(rules, packets)
    expected = lasting(lab)
    assert lab.unsound(rules) == []
    lab.wipe()
    parts = data.draw(pieces(len(packets)), label="pieces")
    tallies = feed(lab, rules, packets, parts)
    assert all(tally.balanced for tally in tallies)
    assert sum(tally.counts["read"] for tally in tallies) == sum(len(part) for part, _ in parts)
    assert sum(tally.counts["new"] for tally in tallies) == len(expected["alert"])
    assert lasting(lab) == expected
    assert lab.unsound(rules) == []
    # All of it again, as it came and in order of time.
    before = lab.raw()
    again = [*feed(lab, rules, packets, parts), lab.run(rules, packets, run="again")]
    assert lab.raw() == before
    assert all(tally.counts["known"] == tally.counts["read"] for tally in again)


@few
@given(data=st.data(), seed=st.integers(0, 2**20))
def test_a_survey_in_any_pieces(lab: Any, seed: int, data: st.DataObject) -> None:
    packets = observed(seed)
    rules = [r for r in channels(lab) if r.channel != "FOLLOW"]
    lab.wipe()
    lab.run(rules, packets)
    expected = lasting(lab)
    assert lab.unsound(rules) == []
    lab.wipe()
    tallies = feed(lab, rules, packets, data.draw(pieces(len(packets)), label="pieces"))
    assert all(tally.balanced for tally in tallies)
    assert lasting(lab) == expected
    assert lab.unsound(rules) == []


# --- objects that come back ---


def observed(seed: int, n_objects: int = 9, days: Iterable[int] = (1, 2, 4, 5)) -> list[Packet]:
    """Nights of a simulated survey with forced photometry, in order of time."""
    survey = Survey(seed, n_objects, forced=True)
    alerts = [alert for day in days for alert in survey.night(f"2018-04-{day:02}")]
    return [Packet(alert.to_bytes(), "survey.tar", n) for n, alert in enumerate(alerts)]


def crowded() -> list[Packet]:
    """Two objects on one read-out channel over six nights: shared limits, two candidates of an exposure, points that
    are told late, private points, and packets that come again with more in them."""
    limits = {day: make_limit(jd=JD + day - 0.5, maglim=20 + day / 10) for day in range(6)}
    secret = make_detection(jd=JD + 1.25, tblid=9, programid=2)
    seen: dict[int, list[dict[str, Any]]] = {1: [], 2: []}
    alerts = []
    for day in range(6):
        for star, tblids in ((1, (1, 2) if day == 3 else (1,)), (2, (5,))):
            for tblid in tblids:
                if star == 2 and day == 1:
                    continue
                sight: dict[str, Any] = {"jd": JD + day, "tblid": tblid, "mag": 18.7 - day / 5, "rb": 0.5}
                # The limit of the night before is told by every second packet only, and then by all later ones.
                told = [limits[d] for d in range(day + 1 - (day + star) % 2)]
                rows = [*seen[star], *told, *([secret] if star == 1 and day >= 2 else [])]
                name = f"ZTF18aaaaaa{'_ab'[star]}"
                alerts.append(make_alert(name=name, history=rows, cutouts=False, **sight))
                if tblid == tblids[-1]:
                    seen[star] += [make_detection(**{**sight, "tblid": t}) for t in tblids]
    # Photometry that was done anew: the same ids in packets of a newer schema.
    for n in (2, 5):
        alerts.append({**alerts[n], "schemavsn": "9.0", "candidate": {**alerts[n]["candidate"], "rb": 0.9}})
    return [Packet(encode_packet(alert), "crowded.tar", n, f"{n}.avro") for n, alert in enumerate(alerts)]


def runs_of(lab: Any, name: str) -> list[list[Packet]]:
    """Packets by run: night by night, and what comes again in a run of its own."""
    if name == "crowded":
        packets = crowded()
        return [*by_night(lab, packets[:-2]), packets[-2:]]
    return by_night(lab, observed(int(name)))


@pytest.mark.parametrize("batch_size", [1, 4, 100])
@pytest.mark.parametrize("name", ["crowded", "1", "2", "5"])
def test_night_by_night_ends_as_in_one_go(lab: Any, name: str, batch_size: int) -> None:
    """Each night finds a base that knows most points; every document is that of one run into an empty base."""
    runs, rules = runs_of(lab, name), channels(lab)
    lab.run(rules, [packet for run in runs for packet in run])
    expected = plain(lab)
    assert lab.unsound(rules) == []
    assert {len(d["channel"]) for d in expected["ztf.alert"].values()} >= {2, 3}
    lab.wipe()
    for n, packets in enumerate(runs):
        tally = lab.run(rules, packets, run=f"night {n}", batch_size=batch_size)
        assert tally.balanced
    assert plain(lab) == expected
    assert lab.unsound(rules) == []


@pytest.mark.parametrize("name", ["crowded", "2"])
def test_one_tier_after_the_other_night_by_night(lab: Any, name: str) -> None:
    """As the assets do it: alerts of a night, then their states."""
    runs, rules = runs_of(lab, name), channels(lab)
    for packets in runs:
        lab.run(rules, packets)
    expected = plain(lab)
    lab.wipe()
    for packets in runs:
        lab.run(rules, packets, with_states=False)
        lab.combine(rules, sorted({alert.night for p in packets for alert in lab.instrument.decode(p)}))
    assert plain(lab) == expected
    assert lab.unsound(rules) == []


@pytest.mark.parametrize("name", ["crowded", "2", "5"])
def test_channels_that_come_one_after_the_other(lab: Any, name: str) -> None:
    """Each channel reads all nights by itself, into the documents of those before it."""
    runs, rules = runs_of(lab, name), channels(lab)
    packets = [packet for run in (runs[:-1] if name == "crowded" else runs) for packet in run]
    lab.run(rules, packets)
    expected = plain(lab)
    lab.wipe()
    for r in rules:
        assert lab.run(r, packets, run=r.channel).balanced
    found = plain(lab)
    for kind in ("alert", "rejected", "stock", "t0"):
        assert found[f"ztf.{kind}"] == expected[f"ztf.{kind}"]
    assert lab.unsound(rules) == []


def test_a_point_that_comes_late_after_many_nights(lab: Any) -> None:
    """A warm base: all nights are known, then a packet of the third tells of a limit that nobody knew."""
    rules = lab.rules("PUBLIC", *PRODUCTS)
    alerts = [make_alert(jd=JD + day, cutouts=False) for day in range(6)]
    for alert in alerts:
        lab.run(rules, lab.packets(alert), run=str(alert["candid"]))
    states = {d["_id"]: d["dps"] for d in lab.store.database["ztf.t1"].find()}
    first = {d["_id"]: d["state"][rules.view] for d in lab.store.database["ztf.alert"].find()}
    late = make_limit(jd=JD + 0.5, maglim=19.0)
    twin = {**make_alert(jd=JD + 2, history=[late], cutouts=False), "schemavsn": "9.0"}
    lab.run(rules, lab.packets(twin), run="late")
    assert lab.unsound(rules) == []
    after = {d["_id"]: d["state"][rules.view] for d in lab.store.database["ztf.alert"].find()}
    # The alert before the limit keeps its state; the five after it have one more, and the old ones are still there.
    changed = {id_ for id_ in first if first[id_] != after[id_]}
    assert changed == {alert["candid"] for alert in alerts[1:]}
    now = {d["_id"]: d["dps"] for d in lab.store.database["ztf.t1"].find()}
    assert len(now) == len(states) + 5
    assert {link: now[link] for link in states} == states
    assert lab.store.database["ztf.ticket"].count_documents({"product_id": PRODUCTS[0].id}) == 11


def test_new_points_only_are_all_that_a_warm_night_writes(lab: Any) -> None:
    """Of a packet with a history of 20 known points and one new detection, one point, one state, one alert are new."""
    rules = lab.rules("PUBLIC", PRODUCTS[0])
    rows = [make_detection(jd=JD - day) for day in range(1, 11)] + [make_limit(jd=JD - day) for day in range(11, 21)]
    lab.run(rules, lab.packets(make_alert(jd=JD, history=rows, cutouts=False)), run="first")
    before = lab.raw()
    rows.append(make_detection(jd=JD))
    tally = lab.run(rules, lab.packets(make_alert(jd=JD + 1, history=rows, cutouts=False)), run="second")
    counts = {key: tally.counts[key] for key in ("t0", "t1", "t2", "alert", "stock")}
    assert counts == {"t0": 1, "t1": 1, "t2": 1, "alert": 1, "stock": 0}
    after = lab.raw()
    for name in ("ztf.t0", "ztf.t1", "ztf.ticket", "ztf.alert"):
        assert {id_: after[name][id_] for id_ in before[name]} == before[name]
        assert len(after[name]) == len(before[name]) + 1
    assert lab.unsound(rules) == []
