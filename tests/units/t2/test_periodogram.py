"""Periods that are there, and one that is not."""

import numpy as np
import pytest

from ampel_dagster.units.t2.periodogram import Periodogram
from tests.units.t2.curves import flux_curve
from tests.units.t2.test_light_curve_summary import detection, light_curve

JD = 2458700.0


def test_period_is_found_in_two_bands() -> None:
    rng = np.random.default_rng(3)
    jd = JD + np.sort(rng.uniform(0, 90, 120))
    band = rng.choice(["g", "r"], 120)
    period, amplitude = 0.5473, {"g": 0.5, "r": 0.3}
    mag = [
        17 + 0.4 * (b == "r") + amplitude[b] * np.sin(2 * np.pi * t / period) + rng.normal(0, 0.02)
        for t, b in zip(jd, band, strict=True)
    ]
    points = [detection(t, b, m, 0.02) for t, b, m in zip(jd, band, mag, strict=True)]
    unit = Periodogram(domain="mag")
    found = unit.process(light_curve(*points), {})
    assert found["period_days"] == pytest.approx(period, rel=1e-3)
    assert found["false_alarm_probability"] < 1e-6
    assert found["amplitude_mag"]["g"] == pytest.approx(0.5, abs=0.02)
    assert found["amplitude_mag"]["r"] == pytest.approx(0.3, abs=0.02)
    noise = [detection(t, b, 17 + rng.normal(0, 0.02), 0.02) for t, b in zip(jd, band, strict=True)]
    assert unit.process(light_curve(*noise), {})["false_alarm_probability"] > 1e-3
    assert list(unit.process(light_curve(*points[:14]), {})) == ["n_points"]
    negative = [{**point, "positive": False} for point in points]
    assert unit.process(light_curve(*negative), {}) == {"n_points": 0}


@pytest.mark.parametrize("kind", ["detection", "forced"])
def test_a_star_that_varies_about_its_reference(kind: str) -> None:
    """The sign of the flux counts: without it the period would be half as long."""
    rng = np.random.default_rng(4)
    jd = JD + np.sort(rng.uniform(0, 60, 100))
    flux = 20_000 * np.sin(2 * np.pi * jd / 3.7) + rng.normal(0, 500, 100)
    found = Periodogram().process(flux_curve(jd, ["r"] * 100, flux, 500.0, kind=kind), {})
    # The frequencies that are tried are a fifth of 1/60 days apart.
    assert 1 / found["period_days"] == pytest.approx(1 / 3.7, abs=0.5 / 5 / 60)
    assert found["amplitude_njy"]["r"] == pytest.approx(20_000, rel=0.03)
    assert (found["n_points"], found["n_bands"]) == (100, 1)


def test_a_band_of_few_points_is_left_out() -> None:
    """Two points fit any sine, and four of them all but one."""
    jd = JD + np.arange(0, 40, 1.3)
    flux = 20_000 * np.sin(2 * np.pi * jd / 6.1)
    band = ["r"] * 25 + ["z", "i", "i", "i", "i", "z"]
    found = Periodogram(min_period_days=3.0).process(flux_curve(jd, band, flux, 500.0), {})
    assert (found["n_points"], found["n_bands"], list(found["amplitude_njy"])) == (25, 1, ["r"])
    assert 1 / found["period_days"] == pytest.approx(1 / 6.1, abs=0.5 / 5 / 31.2)
