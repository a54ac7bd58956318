"""The survey: ids and times are of the form of the real ones, and objects go on from night to night."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from math import cos, hypot, radians
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ampel_dagster.instruments.ztf import ZTF
from ampel_dagster.model.night import ut_night
from ampel_dagster.simulation.exposures import Frame, frames
from ampel_dagster.simulation.objects import ztf_name
from ampel_dagster.testing import SimulatedAlert, Survey, host_catalog, simulate_night, survey_of

NIGHTS = [f"2018-04-{day:02d}" for day in range(2, 12)]
seeds = st.integers(min_value=0, max_value=2**40)


@pytest.fixture(scope="module")
def season() -> list[SimulatedAlert]:
    survey = Survey(seed=7, n_objects=150)
    return [alert for night in NIGHTS for alert in survey.night(night)]


def of_kind(alerts: list[SimulatedAlert], kind: str) -> list[SimulatedAlert]:
    found = [alert for alert in alerts if alert.kind == kind]
    assert len(found) > 20
    return found


def history(alert: SimulatedAlert) -> list[dict[str, Any]]:
    return alert.packet["prv_candidates"] or []


def limits(alert: SimulatedAlert) -> list[dict[str, Any]]:
    return [row for row in history(alert) if row["candid"] is None]


# --- ids, times, numbers ---


def test_candid_follows_the_survey() -> None:
    # A real alert: jd, read-out channel, sign and number of its source in the frame.
    assert Frame(2458349.6476273, 1, 427, 49, 19.0).candid(False, 1) == 595147624915010001


def test_ids_are_unique_and_times_in_the_night() -> None:
    survey = survey_of(200, seed=3)
    seen = Counter()
    for night in NIGHTS[:4]:
        alerts = list(survey.night(night))
        assert [a.jd for a in alerts] == sorted(a.jd for a in alerts)
        assert all(ut_night(alert.jd) == night for alert in alerts)
        assert all(3 <= (alert.jd + 0.5) % 1 * 24 <= 12.5 for alert in alerts)
        seen.update(alert.candid for alert in alerts)
    assert max(seen.values()) == 1
    assert len(seen) > 600


@settings(max_examples=50, deadline=None)
@given(
    seeds,
    st.lists(st.tuples(st.integers(0, 10**6), st.integers(304, 5843)), min_size=2, max_size=2, unique=True),
)
def test_names_are_unique(seed: int, objects: list[tuple[int, int]]) -> None:
    first, second = (ztf_name(seed, number, nid) for number, nid in objects)
    assert first != second
    assert ZTF().stock_name(ZTF().stock_id(first)) == first


@pytest.mark.parametrize("seed", [1, 2])
def test_numbers_are_about_as_asked_for(seed: int) -> None:
    survey = survey_of(250, seed)
    alerts = [alert for night in NIGHTS[:5] for alert in survey.night(night)]
    kinds = Counter(alert.kind for alert in alerts)
    assert 1000 < len(alerts) < 1500
    assert 0.45 < kinds["variable"] / len(alerts) < 0.65
    assert all(0.08 < kinds[kind] / len(alerts) < 0.22 for kind in ("supernova", "asteroid", "bogus"))


def test_every_night_has_alerts() -> None:
    assert all(100 < len(list(simulate_night(night))) < 300 for night in ("2017-11-01", "2032-12-31"))


@pytest.mark.parametrize("night", ["2017-10-31", "2033-01-01", "yesterday"])
def test_nights_outside_of_the_survey_are_refused(night: str) -> None:
    with pytest.raises(ValueError, match=r"outside|isoformat"):
        simulate_night(night)


def test_frames_begin_with_the_survey() -> None:
    assert all(frames(1, field, 0, 303) == () for field in range(30))
    assert any(frames(1, field, 0, 304) for field in range(30))


# --- histories ---


def by_object(alerts: list[SimulatedAlert]) -> Iterator[list[SimulatedAlert]]:
    groups = defaultdict(list)
    for alert in alerts:
        groups[alert.name].append(alert)
    return iter(groups.values())


@settings(max_examples=10, deadline=None)
@given(seed=seeds)
def test_alerts_of_one_night_are_in_the_histories_of_the_next(seed: int) -> None:
    survey = Survey(seed, 25)
    alerts = [alert for night in NIGHTS[:5] for alert in survey.night(night)]
    for group in by_object(alerts):
        for number, later in enumerate(group):
            told = {row["candid"]: row for row in history(later) if row["candid"] is not None}
            for earlier in group[:number]:
                row, body = told[earlier.candid], earlier.packet["candidate"]
                same = set(row) - {"ssdistnr", "ssmagnr", "ssnamenr"}
                assert {name: row[name] for name in same} == {name: body[name] for name in same}
            # Nothing between two alerts was kept back.
            recent = [row for row in told.values() if row["jd"] >= group[0].jd]
            assert len(recent) == number


def test_the_same_night_looks_the_same_in_a_larger_survey() -> None:
    small = {a.candid: a for a in Survey(5, 40).night(NIGHTS[0])}
    large = {a.candid: a for a in Survey(5, 80).night(NIGHTS[0])}
    assert small.keys() < large.keys()
    assert all(large[candid].packet == alert.packet for candid, alert in small.items())


def test_histories_are_sorted_and_end_before_the_alert(season: list[SimulatedAlert]) -> None:
    for alert in season:
        times = [row["jd"] for row in history(alert)]
        assert times == sorted(times)
        assert all(alert.jd - 30 < jd < alert.jd for jd in times)


def test_limits_are_shared_by_objects_of_one_frame() -> None:
    found = defaultdict(set)
    for alert in Survey(1, 1000).night(NIGHTS[0]):
        for row in limits(alert):
            found[row["jd"], row["rcid"]].add(row["diffmaglim"])
    assert all(len(depths) == 1 for depths in found.values())


def test_objects_stay_where_they_are(season: list[SimulatedAlert]) -> None:
    for group in by_object(season):
        ra, dec = (group[0].packet["candidate"][name] for name in ("ra", "dec"))
        for alert in group:
            for row in (alert.packet["candidate"], *history(alert)):
                if row["candid"] is not None:
                    assert hypot((row["ra"] - ra) * cos(radians(dec)), row["dec"] - dec) * 3600 < 1


def test_counts_go_with_the_history(season: list[SimulatedAlert]) -> None:
    for alert in season:
        body = alert.packet["candidate"]
        detections = [row["jd"] for row in history(alert) if row["candid"] is not None]
        assert len(detections) < body["ndethist"] <= body["ncovhist"]
        assert body["jdstarthist"] <= min([alert.jd, *detections])
        assert body["jdendhist"] == alert.jd


def test_forced_photometry_comes_on_request() -> None:
    for alert in Survey(2, 30, forced=True).night(NIGHTS[0]):
        rows = alert.packet["fp_hists"] or []
        assert [row["jd"] for row in rows] == [row["jd"] for row in history(alert)]
        for forced, row in zip(rows, history(alert), strict=True):
            significant = abs(forced["forcediffimflux"]) >= 5 * forced["forcediffimfluxunc"]
            assert significant == (row["candid"] is not None)
    assert all(alert.packet["fp_hists"] is None for alert in Survey(2, 10).night(NIGHTS[0]))


# --- kinds ---


def test_supernovae_are_seen_after_they_explode(season: list[SimulatedAlert]) -> None:
    for alert in of_kind(season, "supernova"):
        explosion = alert.truth["explosion_jd"]
        rows = [alert.packet["candidate"], *history(alert)]
        assert all(row["jd"] > explosion for row in rows if row["candid"] is not None)
        assert all(row["isdiffpos"] == "t" for row in rows if row["candid"] is not None)
        assert alert.packet["candidate"]["magpsf"] > alert.truth["peak_mag"] - 0.2
        assert alert.packet["candidate"]["sgscore1"] < 0.3


def test_some_supernovae_are_young_and_have_limits_before() -> None:
    survey = Survey(seed=7, n_objects=150)
    alerts = [a for night in NIGHTS for a in survey.night(night) if a.kind == "supernova"]
    young = [alert for alert in alerts if alert.jd - alert.truth["explosion_jd"] < 12]
    assert len(young) > 3
    for alert in young:
        before = [row for row in history(alert) if row["jd"] < alert.truth["explosion_jd"]]
        assert before
        assert all(row["candid"] is None and 18 < row["diffmaglim"] < 22 for row in before)


def test_supernovae_rise_and_decline() -> None:
    survey = Survey(seed=4, n_objects=42)
    days = pd.date_range("2018-03-01", "2018-07-15").strftime("%Y-%m-%d")
    alerts = [alert for day in days for alert in survey.night(day) if alert.kind == "supernova"]
    whole = [group for group in by_object(alerts) if len(group) > 15]
    assert whole
    checked = 0
    for group in whole:
        peak = group[0].truth["peak_jd"]
        mags = [(alert.jd - peak, alert.packet["candidate"]["magpsf"]) for alert in group]
        near = [mag for day, mag in mags if abs(day) < 6]
        far = [mag for day, mag in mags if not -9 < day < 30]
        if near and far:
            assert min(near) < min(far)
            checked += 1
    assert checked >= 2


def test_variables_are_stars_that_go_both_ways(season: list[SimulatedAlert]) -> None:
    alerts = of_kind(season, "variable")
    for alert in alerts:
        body = alert.packet["candidate"]
        assert body["sgscore1"] > 0.9
        assert body["distpsnr1"] < 1
        assert alert.truth["period_days"] > 0
    share = sum(alert.packet["candidate"]["isdiffpos"] == "t" for alert in alerts) / len(alerts)
    assert 0.2 < share < 0.8


def test_asteroids_come_once_and_are_known(season: list[SimulatedAlert]) -> None:
    alerts = of_kind(season, "asteroid")
    assert len({alert.name for alert in alerts}) == len(alerts)
    for alert in alerts:
        body = alert.packet["candidate"]
        assert 0 <= body["ssdistnr"] < 3
        assert abs(body["ssmagnr"] - body["magpsf"]) < 1
        assert body["ssnamenr"] == str(alert.truth["designation"])
        assert not [row for row in history(alert) if row["candid"] is not None]


def test_bogus_looks_like_it(season: list[SimulatedAlert]) -> None:
    for alert in of_kind(season, "bogus"):
        body = alert.packet["candidate"]
        assert body["rb"] < 0.35
        assert body["drb"] < 0.25
        assert body["fwhm"] > 5
        assert body["elong"] > 1.5
        assert body["nbad"] > 0


def test_only_asteroids_have_a_solar_system_match(season: list[SimulatedAlert]) -> None:
    for alert in season:
        if alert.kind != "asteroid":
            body = alert.packet["candidate"]
            assert (body["ssdistnr"], body["ssnamenr"]) == (-999, "null")


# --- hosts ---


def test_hosts_are_where_the_supernovae_are(season: list[SimulatedAlert]) -> None:
    catalog = host_catalog(seed=7, n_objects=150).set_index("name")
    for alert in of_kind(season, "supernova"):
        host, body = catalog.loc[alert.truth["host"]], alert.packet["candidate"]
        east = (body["ra"] - host.ra_deg) * cos(radians(body["dec"]))
        distance = hypot(east, body["dec"] - host.dec_deg) * 3600
        assert distance == pytest.approx(alert.truth["host_offset_arcsec"], abs=0.5)
        assert distance < 10
        assert host.z == pytest.approx(alert.truth["redshift"], abs=1e-5)
