"""Filters at work: what they raise, what they may read, what they say of one alert, and how much they take."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

from ampel_dagster.model.alert import Alert, Packet
from ampel_dagster.model.codes import VerdictCode
from ampel_dagster.model.cut import Cut, first_failure
from ampel_dagster.model.errors import UserError
from ampel_dagster.model.run import RunInfo
from ampel_dagster.pipeline.explain import explain, judge
from ampel_dagster.pipeline.filter_runs import compare, match_rates
from ampel_dagster.pipeline.gate import activate, is_live, split_live
from ampel_dagster.sources.files import read_file
from ampel_dagster.storage.audit import ledger, left_out
from ampel_dagster.testing import encode_packet, make_alert, make_detection, write_archive
from ampel_dagster.units.base import AlertFilter, Needs
from ampel_dagster.units.bound import ChannelRules, Gate
from ampel_dagster.units.filters.basic import BasicFilter
from ampel_dagster.units.filters.decent import DecentFilter

NIGHT = "2018-08-19"
Real = Callable[..., list[Packet]]


class Broken(AlertFilter):
    """Raises at stars fainter than a magnitude."""

    beyond_mag: float = 0.0
    broken: ClassVar[bool] = True

    def accept(self, alert: Alert) -> bool:
        if self.broken and alert.candidate["magpsf"] > self.beyond_mag:
            raise KeyError("drb2")
        return True


class Curious(AlertFilter):
    """Says that it needs no history, and looks at it."""

    needs: ClassVar[Needs] = "candidate"

    def accept(self, alert: Alert) -> bool:
        return len(alert.points) > 1


class Vain(AlertFilter):
    """Says that it needs no history, and looks at the stamps."""

    needs: ClassVar[Needs] = "candidate"

    def accept(self, alert: Alert) -> bool:
        return bool(alert.cutouts())


def alerts(lab: Any, number: int, **more: Any) -> list[Packet]:
    """Alerts of one object, from bright to faint in the order of time."""
    made = [make_alert(jd=lab.jd(0) + n / 1000, mag=17 + n / 100, cutouts=False, **more) for n in range(number)]
    return lab.packets(*made, source="night.tar")  # type: ignore[no-any-return]


def codes(lab: Any, channel: str) -> list[int]:
    """Verdicts of a channel, in the order of time."""
    content = lab.content()
    found = {**content.get("ztf.alert", {}), **content.get("ztf.rejected", {})}
    ordered = sorted(found.values(), key=lambda d: d["jd"])
    return [d["verdict"][channel]["code"] for d in ordered if channel in d["verdict"]]


def rules_with(lab: Any, filter_: AlertFilter, channel: str = "C", **more: Any) -> ChannelRules:
    return lab.rules(channel, filter=filter_, **more)  # type: ignore[no-any-return]


# --- a filter that raises


@pytest.fixture
def mended(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Mends the filter."""
    return lambda: monkeypatch.setattr(Broken, "broken", False)


def test_failures_in_a_row_disable_the_filter_for_the_run(lab: Any, mended: Callable[[], None]) -> None:
    rules = [rules_with(lab, Broken(), "BROKEN"), lab.rules("ALL")]
    packets = alerts(lab, 8)
    tally = lab.run(rules, packets, max_filter_failures=3, batch_size=2)
    assert codes(lab, "BROKEN") == [VerdictCode.EXCEPTION] * 3 + [VerdictCode.FILTER_DISABLED] * 5
    assert codes(lab, "ALL") == [0] * 8
    assert tally.failures == {("filter of BROKEN", "KeyError: 'drb2'"): 3}
    assert 'raise KeyError("drb2")' in tally.tracebacks["filter of BROKEN", "KeyError: 'drb2'"]
    assert tally.disabled == {"BROKEN": "Broken 1: KeyError: 'drb2'"}
    (entry,) = lab.store.journal.collection.find({"action": "disable"})
    assert (entry["channel"], entry["tier"]) == (["BROKEN"], 0)
    assert entry["note"] == "Broken 1 raised 3 times in a row: KeyError: 'drb2'"
    (row,) = left_out(lab.store, "ztf", ["BROKEN", "ALL"], [NIGHT], "run")
    assert row == {"channel": "BROKEN", "filter": "Broken 1", "message": "KeyError: 'drb2'", "failures": 3, "wait": 5}
    assert left_out(lab.store, "ztf", ["ALL"], [NIGHT], "run") == []
    # A later run judges what was left out; the others are known.
    mended()
    tally = lab.run(rules, packets, run="later", max_filter_failures=3)
    assert codes(lab, "BROKEN") == [VerdictCode.EXCEPTION] * 3 + [0] * 5
    assert (tally.counts["new"], tally.counts["known"]) == (5, 3)
    assert left_out(lab.store, "ztf", ["BROKEN"], [], "later") == []
    assert len(left_out(lab.store, "ztf", ["BROKEN"], [], "run")) == 1, "of the run itself it stays true"
    assert ledger(lab.store, "ztf", []).balanced


def test_a_success_in_between_counts_anew(lab: Any) -> None:
    rules = rules_with(lab, Broken(beyond_mag=18.0))
    order = [18.5, 18.5, 17.0, 18.5, 18.5, 17.0]
    made = [make_alert(jd=lab.jd(0) + n / 1000, mag=mag, cutouts=False) for n, mag in enumerate(order)]
    lab.run(rules, lab.packets(*made), max_filter_failures=3)
    assert codes(lab, "C") == [VerdictCode.EXCEPTION, VerdictCode.EXCEPTION, 0] * 2


def test_a_packet_that_comes_twice_in_the_run_is_known(lab: Any) -> None:
    packets = alerts(lab, 4)
    tally = lab.run(rules_with(lab, Broken()), [*packets, *packets], max_filter_failures=2, batch_size=4)
    assert (tally.counts["rejected"], tally.counts["known"]) == (4, 4)


def test_what_is_left_out_again_in_the_next_run_still_waits(lab: Any) -> None:
    rules, packets = rules_with(lab, Broken()), alerts(lab, 4)
    for run in ("first", "second"):
        lab.run(rules, packets, run=run, max_filter_failures=1)
        (row,) = left_out(lab.store, "ztf", ["C"], [NIGHT], "another")
        assert row["wait"] == {"first": 3, "second": 2}[run], "one more was tried"


def test_known_stocks_go_on_without_the_filter(lab: Any) -> None:
    """Whoever takes further alerts of an object whatever the filter says does not miss it."""
    rules = rules_with(lab, Broken(beyond_mag=17.005), known_stocks="overrule")
    lab.run(rules, alerts(lab, 4), max_filter_failures=1)
    assert codes(lab, "C") == [0, 0, 0, 0]


@pytest.mark.parametrize(("filter_", "what"), [(Curious(), "alert.points"), (Vain(), "alert.cutouts()")])
def test_a_filter_reads_what_it_declares(lab: Any, filter_: AlertFilter, what: str) -> None:
    """Also where another channel's filter has read the history before."""
    looks = rules_with(lab, DecentFilter(min_ndet=1), "LOOKS")
    lab.run([looks, rules_with(lab, filter_, "C")], alerts(lab, 1, history=[make_detection(jd=lab.jd(-3))]))
    (alert,) = lab.content()["ztf.alert"].values()
    assert alert["verdict"]["LOOKS"]["code"] == 0
    verdict = alert["verdict"]["C"]
    assert verdict["code"] == VerdictCode.EXCEPTION
    assert what in verdict["error"]
    assert 'needs = "history"' in verdict["error"]


def test_a_new_version_of_a_filter_judges_again(lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    packets = alerts(lab, 1)
    lab.run(rules_with(lab, Broken()), packets)
    monkeypatch.setattr(Broken, "broken", False)
    assert lab.run(rules_with(lab, Broken()), packets).counts["known"] == 1
    monkeypatch.setattr(Broken, "version", "2")
    rules = rules_with(lab, Broken())
    assert lab.run(rules, packets).counts["new"] == 1
    # What the hash in the verdict stands for can be looked up.
    (alert,) = lab.content()["ztf.alert"].values()
    kept = lab.store.configs.collection.find_one({"_id": alert["verdict"]["C"]["config"]})
    assert kept["content"]["filter"] == {"unit": "Broken", "version": "2", "config": {}}


# --- explain


def test_first_failure() -> None:
    inside = (Cut("a", 1, 2, True), Cut("b", 1, 2, False))
    assert first_failure([Cut("c", 0, 0, True), Cut("group", 1, 2, False, inside)]) == inside[1]
    assert first_failure([Cut("c", 0, 0, True)]) is None


def test_accepted_alerts_are_explained_from_what_is_stored(lab: Any, real: Real) -> None:
    """The same cuts as of the packet itself, for all alerts of a real night."""
    filter_ = DecentFilter(min_rb=0.5, min_ndet=2, max_tspan_days=20, ps1_sgveto_rad_arcsec=1, ps1_sgveto_th=0.8)
    rules, everything = rules_with(lab, filter_, "C"), lab.rules("ALL")
    packets = real("ztf_public_20180819_mod1000.tar.gz")
    lab.run([rules, everything], packets)
    for packet in packets:
        (alert,) = lab.instrument.decode(packet)
        found = explain(lab.ztf, lab.instrument, rules, alert.id, [])
        assert found.origin == "stored datapoints"
        assert found.judgement == judge(lab.instrument, rules, alert)
        assert found.stored["code"] == found.judgement.code
        assert found.is_current
        assert (found.alert.name, found.alert.tag, found.alert.night) == (alert.name, alert.tag, alert.night)


def test_rejected_alerts_are_explained_from_their_file(lab: Any, tmp_path: Path) -> None:
    made = [make_alert(tblid=n + 1, mag=17.5 + n, cutouts=False) for n in range(3)]
    write_archive(tmp_path / "night.tar.gz", made)
    rules = rules_with(lab, BasicFilter(all_of=({"attribute": "magpsf", "operator": "<", "value": 17.0},)))
    lab.run(rules, read_file(tmp_path / "night.tar.gz"))
    id_ = made[2]["candid"]
    found = explain(lab.ztf, lab.instrument, rules, id_, [tmp_path / "elsewhere", tmp_path])
    assert found.origin == str(tmp_path / "night.tar.gz")
    assert first_failure(found.judgement.cuts) == Cut("magpsf", pytest.approx(19.5), "< 17.0", False)
    with pytest.raises(UserError, match=r"packet 2 of night.tar.gz.*--from PATH"):
        explain(lab.ztf, lab.instrument, rules, id_, [tmp_path / "elsewhere"])
    with pytest.raises(UserError, match=r"knows no alert 1;.*--from PATH"):
        explain(lab.ztf, lab.instrument, rules, 1, [tmp_path])
    (tmp_path / "night.tar.gz").rename(tmp_path / "moved.tar.gz")
    found = explain(lab.ztf, lab.instrument, rules, id_, [], tmp_path / "moved.tar.gz")
    assert (found.judgement.code, found.stored["code"]) == (-1, -1)
    with pytest.raises(UserError, match="holds no alert 1"):
        explain(lab.ztf, lab.instrument, rules, 1, [], tmp_path / "moved.tar.gz")


def test_a_verdict_of_another_configuration_is_told_apart(lab: Any) -> None:
    lab.run(rules_with(lab, DecentFilter(min_rb=0.1)), packets := alerts(lab, 1))
    (alert,) = lab.instrument.decode(packets[0])
    found = explain(lab.ztf, lab.instrument, rules_with(lab, DecentFilter(min_rb=0.999)), alert.id, [])
    assert (found.stored["code"], found.judgement.code, found.is_current) == (0, -6, False)


def test_what_a_channel_may_not_see(lab: Any) -> None:
    (packet,) = alerts(lab, 1, programid=2)
    (alert,) = lab.instrument.decode(packet)
    judgement = judge(lab.instrument, rules_with(lab, Broken()), alert)
    assert judgement == (VerdictCode.NO_ACCESS, (Cut("access", ["ZTF_PRIV"], ["ZTF", "ZTF_PUB"], False),), None)


def test_a_filter_that_raises_is_explained_by_what_it_raised(lab: Any) -> None:
    (alert,) = lab.instrument.decode(alerts(lab, 1)[0])
    judgement = judge(lab.instrument, rules_with(lab, Broken()), alert)
    assert (judgement.code, judgement.accepted) == (VerdictCode.EXCEPTION, False)
    assert first_failure(judgement.cuts) == Cut("raised", "KeyError: 'drb2'", None, False)
    assert judgement.failure is not None


# --- rates, differences, the gate


def test_match_rate_is_of_what_the_channel_may_see(lab: Any) -> None:
    bright = BasicFilter(all_of=({"attribute": "magpsf", "operator": "<", "value": 17.015},))
    packets = [*alerts(lab, 4), *alerts(lab, 3, programid=2, name="ZTF18aaaaaab"), Packet(b"bad", "x", 0)]
    chosen = [rules_with(lab, bright, "BRIGHT"), rules_with(lab, Broken(), "BROKEN"), lab.rules("ALL")]
    rates = match_rates(lab.instrument, chosen, packets)
    assert [(r.total, r.passed, r.failures.total()) for r in rates] == [(4, 2, 0), (4, 0, 4), (4, 4, 0)]
    assert rates[0].share == 0.5
    assert rates[2].names == ["ZTF18aaaaaaa"]
    assert lab.content().get("ztf.alert", {}) == {}


def test_match_rates_of_a_real_night(lab: Any, real: Real) -> None:
    """Of the 30 candidates 9 are of filter r and 14 negative, as is known of this archive."""
    in_r = BasicFilter(all_of=({"attribute": "fid", "operator": "==", "value": 2},))
    chosen = [rules_with(lab, in_r, "R"), rules_with(lab, DecentFilter(), "POSITIVE")]
    rates = match_rates(lab.instrument, chosen, real("ztf_public_20180819_mod1000.tar.gz"))
    assert [(r.passed, r.total) for r in rates] == [(9, 30), (16, 30)]


def test_compare(lab: Any) -> None:
    """Magnitudes 17.00 to 17.09: one filter takes the brighter half, the other leaves out the first two."""
    one = rules_with(lab, BasicFilter(all_of=({"attribute": "magpsf", "operator": "<", "value": 17.045},)), "A")
    other = rules_with(lab, BasicFilter(all_of=({"attribute": "magpsf", "operator": ">", "value": 17.015},)), "B")
    found = compare(lab.instrument, one, other, alerts(lab, 10), most=4)
    assert found.counts == {"both": 3, "a": 2, "b": 5}
    assert len(found.differences) == 4
    first, last = found.differences[0], found.differences[-1]
    assert (first.codes, first.cut, first.limit) == ((0, -1), "magpsf", "> 17.015")
    assert first.value == pytest.approx(17.0)
    assert (last.codes, last.cut, last.limit) == ((-1, 0), "magpsf", "< 17.045")


def test_compare_with_a_filter_that_raises(lab: Any) -> None:
    found = compare(lab.instrument, lab.rules("ALL"), rules_with(lab, Broken()), alerts(lab, 1), most=1)
    (difference,) = found.differences
    assert (difference.codes, difference.cut, difference.value) == ((0, -1004), "raised", "KeyError: 'drb2'")


def gated(lab: Any, filter_: AlertFilter, max_share: float = 0.05) -> ChannelRules:
    return replace(rules_with(lab, filter_, "GATED"), gate=Gate(NIGHT, max_share))


def try_to_activate(lab: Any, rules: ChannelRules, packets: list[Packet], *, force: bool = False) -> None:
    (rate,) = match_rates(lab.instrument, [rules], packets)
    assert rules.gate is not None
    activate(lab.store, rules, rate, NIGHT, rules.gate.max_share, RunInfo("test", 1), force=force)


def test_the_gate(lab: Any) -> None:
    bright = BasicFilter(all_of=({"attribute": "magpsf", "operator": "<", "value": 17.015},))
    rules, packets = gated(lab, bright), alerts(lab, 20)
    everything = lab.rules("ALL")
    with pytest.raises(UserError, match=r"accepts 2 of 20 alerts of 2018-08-19 \(10.0%\), more than 5.0%"):
        try_to_activate(lab, rules, packets)
    assert not is_live(lab.store, rules)
    assert split_live(lab.store, [rules, everything], "live") == ([everything], ["GATED"])
    assert split_live(lab.store, [rules, everything], "archive") == ([rules, everything], [])
    allowed = gated(lab, bright, max_share=0.1)
    try_to_activate(lab, allowed, packets)
    assert is_live(lab.store, allowed)
    # It was this filter that was let through, not the channel.
    assert not is_live(lab.store, gated(lab, DecentFilter()))
    assert lab.store.activations.remove("GATED", "ztf") == 1
    assert not is_live(lab.store, allowed)


def test_what_else_speaks_against_a_channel(lab: Any) -> None:
    with pytest.raises(UserError, match="raised at 3 of 3 alerts"):
        try_to_activate(lab, gated(lab, Broken()), alerts(lab, 3))
    with pytest.raises(UserError, match="there is no alert of 2018-08-19"):
        try_to_activate(lab, gated(lab, DecentFilter()), [])
    try_to_activate(lab, gated(lab, Broken()), alerts(lab, 3), force=True)
    (stored,) = lab.store.activations.collection.find()
    assert (stored["forced"], stored["total"], stored["passed"]) == (True, 3, 0)


def test_an_unreadable_history_counts_for_nobody(lab: Any) -> None:
    packet = encode_packet(make_alert(history=[make_detection(jd=lab.jd(-3))], cutouts=False))
    broken = Packet(packet.replace(packet[-60:-16], bytes([255]) * 44), "x", 0)
    rules = rules_with(lab, DecentFilter(min_ndet=1))
    (rate,) = match_rates(lab.instrument, [rules], [broken])
    assert rate.total == 0
    assert compare(lab.instrument, rules, rules, [broken], most=1).counts.total() == 0
