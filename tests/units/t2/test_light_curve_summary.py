import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from ampel_dagster.model.light_curve import LightCurve
from ampel_dagster.units.t2.light_curve_summary import LightCurveSummary

NAN = float("nan")
ALWAYS = {
    *("ndet", "n_upper_limits", "n_forced", "first_jd", "last_jd", "duration_days", "bands", "peak_mag", "peak_jd"),
    *("peak_band", "ra_deg", "dec_deg", "last_significant_limit_jd", "last_significant_limit_mag"),
    "last_significant_limit_band",
}


def detection(jd: float, band: str, mag: float, mag_err: float = 0.1, **more: Any) -> dict[str, Any]:
    return {"kind": "detection", "jd": jd, "band": band, "mag": mag, "mag_err": mag_err, "ra": 10.0, "dec": 20.0} | more


def limit(jd: float, band: str, mag_limit: float) -> dict[str, Any]:
    return {"kind": "upper_limit", "jd": jd, "band": band, "mag_limit": mag_limit}


def light_curve(*points: dict[str, Any]) -> LightCurve:
    rows = sorted(points, key=lambda point: point["jd"])

    def column(key: str) -> Any:
        return np.array([row.get(key, NAN) for row in rows], dtype=np.float64)

    flux = 10 ** ((31.4 - column("mag")) / 2.5)
    return LightCurve(
        survey="ztf",
        stock=49361473,
        name="ZTF18aagtntk",
        id=np.arange(len(rows), dtype=np.int64),
        jd=column("jd"),
        kind=np.array([row["kind"] for row in rows], dtype="U11"),
        band=np.array([row["band"] for row in rows], dtype="U8"),
        mag=column("mag"),
        mag_err=column("mag_err"),
        mag_limit=column("mag_limit"),
        flux_njy=flux,
        flux_err_njy=flux * column("mag_err"),
        positive=np.array([row.get("positive", True) for row in rows], dtype=np.bool_),
        ra_deg=column("ra"),
        dec_deg=column("dec"),
    )


def summary(*points: dict[str, Any], **config: Any) -> dict[str, Any]:
    return LightCurveSummary(**config).process(light_curve(*points), {})


SUPERNOVA = (
    limit(2459990.0, "g", 20.5),
    limit(2459994.0, "r", 19.0),
    detection(2459996.0, "g", 20.0),
    detection(2459998.0, "g", 19.0),
    detection(2460000.0, "g", 18.0),
    detection(2460000.5, "r", 18.25, 0.05),
    detection(2460010.0, "g", 18.5),
    detection(2460020.0, "g", 19.0),
    detection(2460015.0, "r", 18.0, 0.05),
    {"kind": "forced", "jd": 2460021.0, "band": "r", "mag": 17.0, "mag_err": 0.1, "mag_limit": 20.0},
)


def test_counts_times_and_peak() -> None:
    found = summary(*SUPERNOVA)
    assert (found["ndet"], found["n_upper_limits"], found["n_forced"]) == (7, 2, 1)
    assert (found["first_jd"], found["last_jd"], found["duration_days"]) == (2459996.0, 2460020.0, 24.0)
    assert found["bands"] == ["g", "r"]
    # The first of two that are equally bright; forced photometry does not count.
    assert (found["peak_mag"], found["peak_jd"], found["peak_band"]) == (18.0, 2460000.0, "g")
    assert (found["ra_deg"], found["dec_deg"]) == pytest.approx((10.0, 20.0), abs=1e-12)


def test_each_band_has_its_own_first_last_and_peak() -> None:
    found = summary(*SUPERNOVA)
    assert (found["ndet_g"], found["ndet_r"]) == (5, 2)
    assert (found["first_jd_g"], found["first_mag_g"], found["first_mag_err_g"]) == (2459996.0, 20.0, 0.1)
    assert (found["last_jd_g"], found["last_mag_g"], found["last_mag_err_g"]) == (2460020.0, 19.0, 0.1)
    assert (found["peak_jd_g"], found["peak_mag_g"], found["peak_mag_err_g"]) == (2460000.0, 18.0, 0.1)
    assert (found["peak_jd_r"], found["peak_mag_r"], found["peak_mag_err_r"]) == (2460015.0, 18.0, 0.05)


def test_slopes_are_those_of_straight_lines_before_and_after_the_peak() -> None:
    found = summary(*SUPERNOVA)
    # 20, 19, 18 within 4 days; 18, 18.5, 19 within 20 days.
    assert found["rise_mag_per_day_g"] == pytest.approx(-0.5)
    assert found["decline_mag_per_day_g"] == pytest.approx(0.05)
    # 18.25 to 18.0 within 14.5 days, and nothing after it.
    assert found["rise_mag_per_day_r"] == pytest.approx(-0.25 / 14.5)
    assert found["decline_mag_per_day_r"] is None


def test_a_slope_weighs_by_the_errors() -> None:
    times, mags, errors = [0.0, 1.0, 2.0, 4.0], [17.0, 17.3, 17.3, 18.5], [0.05, 0.1, 0.2, 0.4]
    rows = zip(times, mags, errors, strict=True)
    found = summary(*(detection(2460000 + time, "r", mag, error) for time, mag, error in rows))
    expected = np.polyfit(times, mags, 1, w=1 / np.array(errors))[0]
    assert found["decline_mag_per_day_r"] == pytest.approx(expected)
    assert expected != pytest.approx(np.polyfit(times, mags, 1)[0])


@pytest.mark.parametrize("error", [NAN, 0.0, -999.0, math.inf, 1e-300])
def test_an_unknown_error_makes_all_weigh_the_same(error: float) -> None:
    times, mags = [0.0, 1.0, 2.0, 4.0], [17.0, 17.3, 17.3, 18.5]
    found = summary(
        *(detection(2460000 + t, "r", m, error if t == 2.0 else 0.1) for t, m in zip(times, mags, strict=True))
    )
    assert found["decline_mag_per_day_r"] == pytest.approx(np.polyfit(times, mags, 1)[0])


def test_no_slope_from_one_moment() -> None:
    found = summary(detection(2460000.0, "g", 18.0), detection(2460000.0, "g", 17.5))
    assert found["rise_mag_per_day_g"] is None
    assert found["decline_mag_per_day_g"] is None


def test_a_colour_is_of_the_two_detections_closest_in_time() -> None:
    found = summary(*SUPERNOVA)
    # g 18.0 and r 18.25, half a day apart.
    assert found["color_g_r"] == pytest.approx(-0.25)
    assert found["color_g_r_err"] == pytest.approx(math.sqrt(0.1**2 + 0.05**2))
    assert found["color_g_r_jd"] == 2460000.25
    assert "color_r_i" not in found


@pytest.mark.parametrize(("before", "after", "expected"), [(0.125, 0.25, 1.0), (0.25, 0.125, 2.0), (0.125, 0.125, 1.0)])
def test_the_closest_may_come_before_or_after(before: float, after: float, expected: float) -> None:
    red = detection(2460000.0 - before, "r", 17.0), detection(2460000.0 + after, "r", 16.0)
    far = detection(2459990.0, "r", 15.0), detection(2460010.0, "r", 14.0)
    found = summary(detection(2460000.0, "g", 18.0), *red, *far)
    assert found["color_g_r"] == pytest.approx(expected)


def test_no_colour_beyond_the_longest_gap() -> None:
    points = detection(2460000.0, "g", 18.0), detection(2460001.0, "r", 17.0)
    assert summary(*points)["color_g_r"] == pytest.approx(1.0)
    assert summary(*points, max_color_gap_days=0.9)["color_g_r"] is None
    assert summary(*points, max_color_gap_days=0.9)["color_g_r_jd"] is None


def test_colours_are_of_neighbours_in_the_spectrum_only() -> None:
    points = [detection(2460000.0 + at / 100, band, 18.0 + at) for at, band in enumerate(("i", "r", "J", "z", "g"))]
    found = summary(*points)
    assert found["bands"] == ["g", "r", "i", "z", "J"]
    assert {key for key in found if key.startswith("color") and key.count("_") == 2} == {
        "color_g_r",
        "color_r_i",
        "color_i_z",
    }


def test_the_last_limit_that_would_have_shown_the_first_detection() -> None:
    first = detection(2460000.0, "g", 19.5)
    limits = [limit(2459990.0, "r", 20.5), limit(2459995.0, "g", 19.5), limit(2459998.0, "g", 19.4)]
    after = limit(2460000.0, "g", 21.0), limit(2460003.0, "g", 21.0)
    keys = "last_significant_limit_jd", "last_significant_limit_mag", "last_significant_limit_band"
    found = summary(first, *limits, *after)
    assert [found[key] for key in keys] == [2459995.0, 19.5, "g"]
    deeper = summary(first, *limits, *after, min_limit_mag=20.0)
    assert [deeper[key] for key in keys] == [2459990.0, 20.5, "r"]
    none = summary(first, limits[2], *after)
    assert [none[key] for key in keys] == [None, None, None]


def test_negative_differences_count_unless_left_out() -> None:
    points = (
        detection(2460000.0, "g", 16.0, positive=False),
        detection(2460001.0, "g", 18.0),
        detection(2460002.0, "r", 17.0, positive=False),
    )
    both = summary(*points)
    assert (both["ndet"], both["peak_mag"], both["bands"]) == (3, 16.0, ["g", "r"])
    positive = summary(*points, only_positive=True)
    assert (positive["ndet"], positive["peak_mag"], positive["bands"]) == (1, 18.0, ["g"])
    assert positive["first_jd"] == 2460001.0


@pytest.mark.parametrize("points", [(), (limit(2460000.0, "g", 20.0),)], ids=["nothing", "limits"])
def test_without_a_detection(points: tuple[dict[str, Any], ...]) -> None:
    found = summary(*points)
    assert set(found) == ALWAYS
    assert {key for key, value in found.items() if value is not None} == {"ndet", "n_upper_limits", "n_forced", "bands"}
    assert (found["ndet"], found["n_upper_limits"], found["bands"]) == (0, len(points), [])


def test_a_detection_without_a_magnitude_counts_and_is_no_peak() -> None:
    found = summary(detection(2460000.0, "g", NAN, NAN), detection(2460001.0, "g", 18.0), limit(2459999.0, "g", 21.0))
    assert (found["ndet"], found["first_jd"], found["peak_jd"]) == (2, 2460000.0, 2460001.0)
    assert (found["first_mag_g"], found["first_mag_err_g"]) == (None, None)
    # What the limit should have shown is not known.
    assert found["last_significant_limit_jd"] is None


@pytest.mark.parametrize(
    ("ras", "expected"), [([359.9, 0.1], 0.0), ([359.8, 359.9, 0.0], 359.9), ([0.1, 0.3], 0.2), ([180.0], 180.0)]
)
def test_the_mean_position_minds_the_turn_of_right_ascension(ras: list[float], expected: float) -> None:
    found = summary(*(detection(2460000.0 + at, "g", 18.0, ra=ra, dec=0.0) for at, ra in enumerate(ras)))
    assert 0 <= found["ra_deg"] < 360
    assert math.remainder(found["ra_deg"] - expected, 360) == pytest.approx(0, abs=1e-9)
    assert found["dec_deg"] == pytest.approx(0, abs=1e-9)


def test_the_mean_position_beside_the_pole() -> None:
    found = summary(*(detection(2460000.0 + ra, "g", 18.0, ra=ra, dec=89.9) for ra in (0.0, 90.0, 180.0, 270.0)))
    assert found["dec_deg"] == pytest.approx(90.0, abs=1e-9)


NUMBERS = st.floats(10, 25) | st.just(NAN)
POINTS = st.fixed_dictionaries(
    {
        "kind": st.sampled_from(["detection", "upper_limit", "forced"]),
        "jd": st.floats(2458000, 2462000),
        "band": st.sampled_from(["g", "r", "i", "J"]),
        "mag": NUMBERS,
        "mag_err": st.floats(-1, 2) | st.just(NAN),
        "mag_limit": NUMBERS,
        "positive": st.booleans(),
        "ra": st.floats(0, 360) | st.just(NAN),
        "dec": st.floats(-90, 90) | st.just(NAN),
    }
)


@given(st.lists(POINTS, max_size=12), st.booleans())
def test_the_result_is_plain_and_whole_for_every_light_curve(points: list[dict[str, Any]], only_positive: bool) -> None:
    found = summary(*points, only_positive=only_positive)
    assert set(found) >= ALWAYS
    # Plain JSON without NaN or infinity, and no numpy type in it.
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    per_band = [found[f"ndet_{band}"] for band in found["bands"]]
    assert sum(per_band) == found["ndet"]
    peaks = [found[f"peak_mag_{band}"] for band in found["bands"]]
    assert found["peak_mag"] == min((peak for peak in peaks if peak is not None), default=None)
    for band in found["bands"]:
        if found[f"peak_jd_{band}"] is not None:
            assert found[f"first_jd_{band}"] <= found[f"peak_jd_{band}"] <= found[f"last_jd_{band}"]


def test_a_mistake_is_told_at_once() -> None:
    with pytest.raises(ValidationError, match="greater than or equal to 0"):
        LightCurveSummary(max_color_gap_days=-1)
    with pytest.raises(ValidationError, match="Extra inputs"):
        LightCurveSummary(max_colour_gap_days=1)  # type: ignore[call-arg]
