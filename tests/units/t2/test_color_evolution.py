"""Colours over time."""

import pytest

from ampel_dagster.units.t2.color_evolution import ColorEvolution
from tests.units.t2.test_light_curve_summary import detection, light_curve


def test_colours_over_time() -> None:
    """Half a magnitude bluer in g at peak, 0.1 mag/day towards the red from there."""
    points = [detection(10.0 + n, "g", 17.0 + 0.2 * n) for n in range(6)]
    points += [detection(10.1 + n, "r", 17.5 + 0.1 * n) for n in range(6)]
    found = ColorEvolution().process(light_curve(*points), {})["g_r"]
    assert (found["n"], found["first"], found["last"]) == (6, pytest.approx(-0.5), pytest.approx(0.0))
    assert found["slope_mag_per_day"] == pytest.approx(0.1)
    assert found["mean"] == pytest.approx(-0.25)
    assert found["slope_err"] == pytest.approx(0.1 * 2**0.5 / 17.5**0.5)
    assert ColorEvolution(max_gap_days=0.05).process(light_curve(*points), {}) == {}
