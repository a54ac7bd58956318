"""Periods that are there, and one that is not."""

import numpy as np
import pytest

from ampel_dagster.units.t2.periodogram import Periodogram
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
    found = Periodogram().process(light_curve(*points), {})
    assert found["period_days"] == pytest.approx(period, rel=1e-3)
    assert found["false_alarm_probability"] < 1e-6
    assert found["amplitude_mag"]["g"] == pytest.approx(0.5, abs=0.02)
    assert found["amplitude_mag"]["r"] == pytest.approx(0.3, abs=0.02)
    noise = [detection(t, b, 17 + rng.normal(0, 0.02), 0.02) for t, b in zip(jd, band, strict=True)]
    assert Periodogram().process(light_curve(*noise), {})["false_alarm_probability"] > 1e-3
    assert Periodogram().process(light_curve(*points[:10]), {}) == {"n_points": 10}
