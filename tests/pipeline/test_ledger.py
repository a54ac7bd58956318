"""Every packet is accounted for: new, known, rejected or in quarantine; and what a channel said of it is kept."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from ampel_dagster.model.alert import Alert, Packet
from ampel_dagster.model.codes import VerdictCode
from ampel_dagster.model.stock import State
from ampel_dagster.sources.files import BrokenSourceError, list_files, read_file
from ampel_dagster.storage.audit import ledger
from ampel_dagster.storage.batches import LEDGER_KEYS
from ampel_dagster.testing import make_alert, make_detection, make_limit
from ampel_dagster.units.base import AlertFilter, StateUnit, Tied
from ampel_dagster.units.bound import Product, Request

JD = 2458349.7
NIGHT = "2018-08-19"
PRIVATE = ("ZTF", "ZTF_PUB", "ZTF_PRIV")
#: Files of data/ztf that hold no sound packet, or one that is not of the survey's time.
TOO_EARLY = "single/v1.3_ipac_simulated_121540793515135002.avro"
BROKEN = {
    "bad/121540793515135009.avro": "UNREADABLE",
    "bad/516401801315010009.avro": "TRUNCATED",
    "bad/516434762915010006.avro": "UNREADABLE",
}
Real = Callable[..., list[Packet]]


class Brighter(AlertFilter):
    """Accepts what is brighter than a magnitude."""

    than: float

    def accept(self, alert: Alert) -> bool:
        return bool(alert.candidate["magpsf"] < self.than)


class Says(AlertFilter):
    """Gives the same answer to all alerts."""

    answer: bool | int | None

    def accept(self, alert: Alert) -> bool | int | None:
        return self.answer


class Raises(AlertFilter):
    """Raises at every other alert."""

    def accept(self, alert: Alert) -> bool:
        if alert.id % 2:
            raise ZeroDivisionError(f"odd: {alert.id}")
        return True


class HasLimits(AlertFilter):
    """Looks at the history."""

    def accept(self, alert: Alert) -> bool:
        return any(alert.upper_limits)


class Length(StateUnit):
    """A product of states."""

    needs = ()

    def process(self, state: State, points: Sequence[Any], tied: Tied) -> Mapping[str, Any]:
        return {"len": len(state.dps)}


def everything(data: Path) -> Iterator[Packet | BrokenSourceError]:
    """All files of data/ztf."""
    folder = data / "ztf"
    for path in list_files([folder]):
        yield from read_file(path, str(path.relative_to(folder)))


def counts(tally: Any) -> dict[str, int]:
    return {key: tally.counts[key] for key in LEDGER_KEYS}


def codes(lab: Any, channel: str, collection: str = "alert") -> dict[int, int]:
    """Codes of a channel's verdicts, by alert."""
    found = lab.content()[f"ztf.{collection}"]
    return {i: d["verdict"][channel]["code"] for i, d in found.items() if channel in d["verdict"]}


# --- the balance ---


@pytest.mark.parametrize("batch_size", [100, 3])
def test_all_real_packets_are_accounted_for(lab: Any, data: Path, batch_size: int) -> None:
    tally = lab.run(lab.rules("ALL"), everything(data), batch_size=batch_size)
    # 55 packets, of which one of the broken ones gives an alert and an error. ZTF18abxhyqv is not public; of the two
    # packets of one alert the second is known.
    assert counts(tally) == {"read": 56, "new": 47, "known": 1, "rejected": 4, "quarantined": 4}
    assert tally.balanced
    report = ledger(lab.store, "ztf", [])
    assert report.balanced
    assert report.open == 0
    assert report.total == counts(tally)
    rows = {row["source"]: tuple(row[key] for key in LEDGER_KEYS) for row in report.rows}
    assert rows == {source: tuple(found[key] for key in LEDGER_KEYS) for source, found in tally.sources.items()}
    assert rows["ztf_public_20180819_mod1000.tar.gz"] == (30, 30, 0, 0, 0)
    assert rows["ZTF18abxhyqv.tar.gz"] == (4, 0, 0, 4, 0)
    assert rows["single/v3.2_ztf_sample.avro"] == (1, 1, 0, 0, 0)
    assert rows["single/v3.3_472263571115115000.avro"] == (1, 0, 1, 0, 0)
    assert rows["bad/516401801315010009.avro"] == (2, 1, 0, 0, 1)
    assert rows["bad/121540793515135009.avro"] == (1, 0, 0, 0, 1)
    assert rows[TOO_EARLY] == (1, 0, 0, 0, 1)
    assert len(lab.content()["ztf.alert"]) == 47
    assert len(lab.content()["ztf.rejected"]) == 4


def test_what_cannot_be_read_is_in_quarantine_with_its_bytes(lab: Any, data: Path) -> None:
    lab.run(lab.rules("ALL"), everything(data), run="the run")
    found = {d["source"]: d for d in lab.store.database["quarantine"].find()}
    assert {source: d["reason"] for source, d in found.items()} == {**BROKEN, TOO_EARLY: "NIGHT_OUT_OF_RANGE"}
    for source, d in found.items():
        assert d["raw"] == (data / "ztf" / source).read_bytes()
        assert (d["size_bytes"], d["meta"]["run"], d["survey"]) == (len(d["raw"]), "the run", "ztf")
        assert d["error"]
    assert "2016-09-01" in found[TOO_EARLY]["error"]
    # What could be read of a broken packet is an alert as any other.
    assert lab.content()["ztf.alert"][516401801315010009]["source"]["file"] == "bad/516401801315010009.avro"


def test_all_real_packets_again_change_nothing(lab: Any, data: Path) -> None:
    rules = [lab.rules("ALL"), lab.rules("PRIV", access=PRIVATE), lab.rules("FEW", filter=Brighter(than=17.0))]
    lab.run(rules, everything(data), run="first")
    before = lab.raw()
    tally = lab.run(rules, everything(data), run="second")
    assert lab.raw() == before
    assert counts(tally) == {"read": 56, "new": 0, "known": 52, "rejected": 0, "quarantined": 4}


def test_a_broken_archive_counts_what_was_read_and_one_more(lab: Any, data: Path, tmp_path: Path) -> None:
    whole = data / "ztf" / "ztf_public_20180819_mod1000.tar.gz"
    path = tmp_path / "night.tar.gz"
    path.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    tally = lab.run(lab.rules("ALL"), read_file(path))
    assert tally.counts["quarantined"] == 1
    assert 10 < tally.counts["new"] == tally.counts["read"] - 1 < 20
    (record,) = lab.content()["quarantine"].values()
    assert (record["reason"], record["source"], record["offset"]) == (
        "TRUNCATED_ARCHIVE",
        "night.tar.gz",
        tally.counts["new"],
    )
    # The file comes again, whole: what is missing is added.
    tally = lab.run(lab.rules("ALL"), read_file(whole, "night.tar.gz"))
    assert counts(tally)["new"] + len(lab.content()["quarantine"]) <= 30
    assert len(lab.content()["ztf.alert"]) == 30


def test_a_packet_whose_history_is_broken_costs_nobody_else_anything(lab: Any, real: Real) -> None:
    packets = real("ZTF18acruwxq.tar.gz", "single/v1.8_516171791415015025.avro")
    broken = packets[0]._replace(data=packets[0].data[:-400])
    tally = lab.run([lab.rules("A", filter=HasLimits()), lab.rules("B")], [broken, *packets[1:]])
    assert counts(tally) == {"read": 4, "new": 3, "known": 0, "rejected": 0, "quarantined": 1}
    assert set(lab.content()["ztf.alert"]) == {1391345455815015018, 1391345455815015017, 516171791415015025}


# --- nights ---


@pytest.mark.parametrize(("start", "quarantined"), [("2017-11-01", 1), ("2016-09-02", 1), ("2016-09-01", 0)])
def test_nights_before_the_stream_began(lab: Any, real: Real, start: str, quarantined: int) -> None:
    tally = lab.run(lab.rules("ALL", access=PRIVATE), real(TOO_EARLY), start_date=start)
    assert counts(tally)["quarantined"] == quarantined
    assert counts(tally)["new"] == 1 - quarantined
    assert {d["reason"] for d in lab.content()["quarantine"].values()} == (
        {"NIGHT_OUT_OF_RANGE"} if quarantined else set()
    )


def test_nights_that_are_still_to_come(lab: Any) -> None:
    good, later = make_alert(tblid=1, cutouts=False), make_alert(tblid=2, cutouts=False)
    later["candidate"] |= {"jd": 2600000.5}
    tally = lab.run(lab.rules("ALL"), lab.packets(good, later))
    assert counts(tally) == {"read": 2, "new": 1, "known": 0, "rejected": 0, "quarantined": 1}


# --- rejected alerts ---


def faint_and_bright() -> list[dict[str, Any]]:
    return [
        make_alert(name="ZTF18aaaaaaa", tblid=1, mag=17.0, cutouts=False),
        make_alert(name="ZTF18aaaaaab", tblid=2, mag=19.0, cutouts=False),
    ]


def test_rejected_alerts_are_kept_with_the_reason_for_a_while(lab: Any) -> None:
    bright, faint = faint_and_bright()
    tally = lab.run(lab.rules("A", filter=Brighter(than=18)), lab.packets(bright, faint))
    assert counts(tally) == {"read": 2, "new": 1, "known": 0, "rejected": 1, "quarantined": 0}
    (rejected,) = lab.store.database["ztf.rejected"].find()
    assert rejected["_id"] == faint["candid"]
    assert rejected["verdict"]["A"]["code"] == VerdictCode.REJECTED
    assert rejected["expire"] == rejected["meta"]["ts"] + timedelta(days=30)
    assert (rejected["night"], rejected["jd"]) == (NIGHT, JD)
    found = lab.content()
    # Of a rejected alert nothing else is stored.
    assert {d["name"][0] for d in found["ztf.stock"].values()} == {"ZTF18aaaaaaa"}
    assert faint["candid"] not in found["ztf.t0"]


def test_rejected_alerts_need_not_be_kept(lab: Any) -> None:
    packets = lab.packets(*faint_and_bright())
    for _ in range(2):
        tally = lab.run(lab.rules("A", filter=Brighter(than=10)), packets, rejected_days=0)
        assert counts(tally) == {"read": 2, "new": 0, "known": 0, "rejected": 2, "quarantined": 0}
    assert lab.content()["ztf.rejected"] == {}


def test_an_alert_that_a_channel_takes_later_moves_to_the_accepted(lab: Any) -> None:
    packets = lab.packets(*faint_and_bright())
    few, all_ = lab.rules("FEW", filter=Brighter(than=18)), lab.rules("ALL")
    lab.run(few, packets)
    tally = lab.run(all_, packets)
    assert counts(tally)["new"] == 2
    assert lab.content()["ztf.rejected"] == {}
    assert sorted(codes(lab, "ALL").values()) == [0, 0]
    # What the first channel said is not forgotten.
    assert sorted(codes(lab, "FEW").values()) == [VerdictCode.REJECTED, 0]
    before = lab.raw()
    assert counts(lab.run([few, all_], packets))["known"] == 2
    assert lab.raw() == before


def test_an_alert_that_nobody_takes_collects_verdicts(lab: Any) -> None:
    packets = lab.packets(*faint_and_bright())
    lab.run(lab.rules("A", filter=Says(answer=-7)), packets)
    lab.run(lab.rules("B", filter=Says(answer=False)), packets)
    assert set(codes(lab, "A", "rejected").values()) == {-7}
    assert set(codes(lab, "B", "rejected").values()) == {VerdictCode.REJECTED}
    assert len(lab.content()["ztf.rejected"]) == 2


def test_another_filter_judges_anew(lab: Any) -> None:
    packets = lab.packets(*faint_and_bright())
    lab.run(lab.rules("A", filter=Brighter(than=10)), packets)
    tally = lab.run(lab.rules("A", filter=Brighter(than=18)), packets)
    assert counts(tally) == {"read": 2, "new": 1, "known": 0, "rejected": 1, "quarantined": 0}
    assert len(lab.content()["ztf.alert"]) == len(lab.content()["ztf.rejected"]) == 1


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (True, 0),
        (1, 1),
        (3, 3),
        (False, VerdictCode.REJECTED),
        (None, VerdictCode.REJECTED),
        (-5, -5),
        (-255, -255),
        # What a filter may not say is a plain rejection, and never one of the system's codes.
        (0, VerdictCode.REJECTED),
        (-256, VerdictCode.REJECTED),
        (-1001, VerdictCode.REJECTED),
    ],
)
def test_answers_of_a_filter(lab: Any, answer: bool | int | None, code: int) -> None:
    tally = lab.run(lab.rules("A", filter=Says(answer=answer)), lab.packets(make_alert(cutouts=False)))
    assert counts(tally)["new"] == (code >= 0)
    assert set(codes(lab, "A", "alert" if code >= 0 else "rejected").values()) == {code}


# --- failures and rights ---


def test_a_filter_that_raises_rejects_and_the_others_go_on(lab: Any) -> None:
    packets = lab.packets(*(make_alert(candid=n, tblid=n, cutouts=False) for n in range(1, 7)))
    tally = lab.run([lab.rules("BAD", filter=Raises()), lab.rules("GOOD")], packets)
    assert counts(tally)["new"] == 6
    assert codes(lab, "BAD") == {n: (VerdictCode.EXCEPTION if n % 2 else 0) for n in range(1, 7)}
    assert set(codes(lab, "GOOD").values()) == {0}
    assert {d["_id"]: d["channel"] for d in lab.store.database["ztf.alert"].find()} == {
        n: ["GOOD"] if n % 2 else ["BAD", "GOOD"] for n in range(1, 7)
    }
    verdict = lab.content()["ztf.alert"][1]["verdict"]["BAD"]
    assert verdict["error"] == "ZeroDivisionError: odd: 1"
    assert sum(tally.failures.values()) == 3


def test_a_channel_without_the_right_does_not_even_see_an_alert(lab: Any, real: Real) -> None:
    packets = real("ZTF18abxhyqv.tar.gz")
    tally = lab.run([lab.rules("PUBLIC", filter=Raises()), lab.rules("PARTNER", access=PRIVATE)], packets)
    assert counts(tally)["new"] == 4
    assert not tally.failures
    assert set(codes(lab, "PUBLIC").values()) == {VerdictCode.NO_ACCESS}
    found = lab.content()
    for name in ("alert", "stock", "t0", "t1"):
        assert {tuple(d["channel"]) for d in found[f"ztf.{name}"].values()} == {("PARTNER",)}
    lab.wipe()
    assert counts(lab.run(lab.rules("PUBLIC"), packets))["rejected"] == 4
    assert set(codes(lab, "PUBLIC", "rejected").values()) == {VerdictCode.NO_ACCESS}


def test_points_of_others_are_neither_stored_for_a_channel_nor_in_its_states(lab: Any) -> None:
    private = [make_detection(jd=JD - 1, tblid=5, programid=2), make_limit(jd=JD - 2, programid=2)]
    packets = lab.packets(make_alert(jd=JD, history=[*private, make_limit(jd=JD - 3)], cutouts=False))
    public, partner = lab.rules("PUBLIC"), lab.rules("PARTNER", access=PRIVATE)
    lab.run([public], packets)
    assert len(lab.content()["ztf.t0"]) == 2
    lab.run([partner], packets)
    found = lab.content()
    assert sorted(len(d["channel"]) for d in found["ztf.t0"].values()) == [1, 1, 2, 2]
    (alert,) = found["ztf.alert"].values()
    sizes = {view: len(found["ztf.t1"][link]["dps"]) for view, link in alert["state"].items()}
    assert sizes == {public.view: 2, partner.view: 4}
    assert {len(d["dps"]): d["channel"] for d in found["ztf.t1"].values()} == {2: ["PUBLIC"], 4: ["PARTNER"]}


# --- known stocks ---


def history(*mags: float) -> list[dict[str, Any]]:
    """Alerts of one object, a day apart."""
    return [make_alert(jd=JD + n, mag=mag, cutouts=False) for n, mag in enumerate(mags)]


@pytest.mark.parametrize("batch_size", [1, 2, 100])
@pytest.mark.parametrize(
    ("policy", "expected"),
    # The filter takes the second and the fourth of five.
    [
        ("filter", [-1, 0, -1, 0, -1]),
        ("bypass", [-1, 0, 0, 0, 0]),
        ("overrule", [-1, 0, 0, 0, 0]),
        ("silent_overrule", [-1, 0, 0, 0, 0]),
    ],
)
def test_known_stocks(lab: Any, policy: str, expected: list[int], batch_size: int) -> None:
    alerts = history(19, 17, 19, 17, 19)
    rules = lab.rules("A", filter=Brighter(than=18), known_stocks=policy)
    lab.run(rules, lab.packets(*alerts), batch_size=batch_size)
    verdicts = {i: d["verdict"]["A"] for name in ("alert", "rejected") for i, d in lab.content()[f"ztf.{name}"].items()}
    found = [verdicts[alert["candid"]] for alert in alerts]
    assert [verdict["code"] for verdict in found] == expected
    overruled = [-1 if policy == "overrule" and n in (2, 4) else None for n in range(5)]
    assert [verdict.get("overruled") for verdict in found] == overruled


def test_bypass_does_not_ask_the_filter(lab: Any) -> None:
    first, second = (make_alert(jd=JD + n, candid=n, cutouts=False) for n in (2, 3))
    tally = lab.run(lab.rules("A", filter=Raises(), known_stocks="bypass"), lab.packets(first, second))
    assert counts(tally)["new"] == 2
    assert not tally.failures


def test_only_what_came_earlier_makes_a_stock_known(lab: Any) -> None:
    """The order in which the packets of one batch stand in a file does not matter, nor that they come again."""
    early, late = history(19, 17)
    rules = lab.rules("A", filter=Brighter(than=18), known_stocks="bypass")
    for packets in (lab.packets(late, early), lab.packets(early, late)):
        lab.run(rules, packets)
        assert codes(lab, "A") == {late["candid"]: 0}
        assert codes(lab, "A", "rejected") == {early["candid"]: -1}


def test_a_stock_is_known_to_the_channel_that_took_it_and_to_no_other(lab: Any) -> None:
    alerts = history(17, 19)
    taker = lab.rules("TAKER", filter=Brighter(than=18), known_stocks="bypass")
    other = lab.rules("OTHER", filter=Brighter(than=16), known_stocks="bypass")
    lab.run([taker, other], lab.packets(*alerts), batch_size=1)
    assert set(codes(lab, "TAKER").values()) == {0}
    assert set(codes(lab, "OTHER").values()) == {VerdictCode.REJECTED}


# --- groups ---


def test_products_for_some_groups_only(lab: Any) -> None:
    product = Product("length", Length())
    alerts = [make_alert(name=f"ZTF18aaaaaa{c}", tblid=n, cutouts=False) for n, c in enumerate("abc")]
    for group, alert in enumerate(alerts, 1):
        rules = lab.rules("A", filter=Says(answer=group))
        lab.run(replace(rules, requests=(Request(product, (2, 3)),)), lab.packets(alert))
    assert codes(lab, "A") == {alert["candid"]: group for group, alert in enumerate(alerts, 1)}
    stocks = {lab.instrument.stock_id(alert["objectId"]) for alert in alerts[1:]}
    assert {d["stock"] for d in lab.t2(product)} == stocks
    # All groups have their states.
    assert len(lab.content()["ztf.t1"]) == 3
