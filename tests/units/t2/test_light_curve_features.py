"""Features as textbooks define them."""

from pathlib import Path

import numpy as np
import pytest

from ampel_dagster.units.t2.light_curve_features import LightCurveFeatures
from tests.units.t2.test_light_curve_summary import detection, light_curve


def test_features_are_those_of_the_textbook() -> None:
    """Amplitude: half of the range; median; standard deviation with n - 1; a slope of 0.1 mag/day."""
    pytest.importorskip("light_curve")
    mags = [18.0 + 0.1 * n for n in range(11)]
    points = [detection(100.0 + n, "g", mag, 0.05) for n, mag in enumerate(mags)] + [detection(100.0, "r", 17.0)]
    unit = LightCurveFeatures(features=("Amplitude", "Median", "StandardDeviation", "LinearFit")).prepare(Path())
    found = unit.process(light_curve(*points), {})
    assert found["r"] == {"n_points": 1}
    assert (found["g"]["n_points"], found["g"]["amplitude"], found["g"]["median"]) == (
        11,
        pytest.approx(0.5),
        pytest.approx(18.5),
    )
    assert found["g"]["standard_deviation"] == pytest.approx(np.std(mags, ddof=1))
    assert found["g"]["linear_fit_slope"] == pytest.approx(0.1)
    with pytest.raises(ValueError, match="has no feature Amplitud;"):
        LightCurveFeatures(features=("Amplitud",)).prepare(Path())


def test_fainter_than_the_reference() -> None:
    """Five of ten magnitudes are of a source that lost light; they say nothing about the others'."""
    pytest.importorskip("light_curve")
    points = [detection(100.0 + n, "g", 18.0 + n % 2, 0.05, positive=n % 2 == 0) for n in range(10)]
    unit = LightCurveFeatures(features=("Amplitude",)).prepare(Path())
    assert unit.process(light_curve(*points), {}) == {"g": {"n_points": 5, "amplitude": pytest.approx(0.0)}}
    both = LightCurveFeatures(features=("Amplitude",), only_positive=False).prepare(Path())
    assert both.process(light_curve(*points), {}) == {"g": {"n_points": 10, "amplitude": pytest.approx(0.5)}}
