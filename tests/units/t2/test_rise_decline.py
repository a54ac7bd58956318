"""Numbers of rise and decline, checked by hand."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ampel_dagster.units.t2.rise_decline import RiseDecline, fit_line
from tests.units.t2.supernova import FALL, LIMITS, RISE, SUPERNOVA
from tests.units.t2.test_light_curve_summary import detection, light_curve


def features(*points: dict[str, Any], **config: Any) -> dict[str, Any]:
    return RiseDecline(**config).process(light_curve(*points), {})


def test_a_supernova() -> None:
    found = features(*SUPERNOVA)
    assert (found["ndet"], found["ndet_g"], found["ndet_r"], found["n_bands"]) == (13, 10, 3, 2)
    assert (found["jd_det"], found["jd_last"], found["jd_max"], found["mag_peak"], found["band_peak"]) == (
        10.0,
        24.1,
        14.0,
        17.0,
        "g",
    )
    assert found["t_lc"] == pytest.approx(14.1)
    assert (found["t_predetect"], found["mag_ul"], found["band_ul"]) == (2.0, 20.6, "r")
    assert (found["t_rise"], found["t_fall"]) == (4.0, pytest.approx(10.1))
    assert found["slope_rise_g"] == pytest.approx(-0.5)
    assert found["slope_fall_g"] == pytest.approx(0.1)
    # Five points one day apart with errors of 0.1: 0.1 / sqrt(sum of (x - mean)^2) = 0.1 / sqrt(10).
    assert found["slope_rise_sig_g"] == pytest.approx(0.1 / 10**0.5)
    assert found["col_peak_g_r"] == pytest.approx(-0.5)
    assert found["col_det_g_r"] == pytest.approx(-0.4)
    assert found["col_peak_g_r_sig"] == pytest.approx(0.1 * 2**0.5)
    flags = ("bool_pure", "bool_peaked", "bool_rise", "bool_fall", "bool_norise", "bool_hasgaps")
    assert [found[flag] for flag in flags] == [True, True, True, True, False, False]
    assert found["col_det_r_i"] is None


def test_one_that_only_falls() -> None:
    found = features(*FALL)
    assert [found[flag] for flag in ("bool_peaked", "bool_rise", "bool_fall", "bool_norise")] == [
        False,
        False,
        True,
        True,
    ]
    assert found["slope_rise_g"] is None
    assert (found["t_predetect"], found["mag_ul"]) == (None, None)


def test_negative_detections_make_it_impure() -> None:
    found = features(*RISE, detection(12.5, "g", 15.0, positive=False))
    assert (found["bool_pure"], found["ndet"], found["mag_peak"]) == (False, 5, 17.0)


def test_gaps() -> None:
    assert features(*RISE, detection(45.0, "g", 18.0))["bool_hasgaps"] is True
    assert features(*RISE, detection(45.0, "g", 18.0), max_gap_days=40)["bool_hasgaps"] is False


def test_nothing_detected() -> None:
    assert features(*LIMITS) == {"ndet": 0, "bool_pure": True}


@given(st.floats(-5, 5), st.floats(-10, 10), st.lists(st.integers(0, 500), min_size=2, max_size=20, unique=True))
def test_a_line_is_found_again(slope: float, constant: float, days: list[int]) -> None:
    x = np.array(sorted(days), dtype=float)
    line = fit_line(x, constant + slope * x, np.full(len(x), 0.1))
    assert line is not None
    assert line.slope == pytest.approx(slope, abs=1e-6)
