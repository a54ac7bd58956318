"""A function that is fitted: what was put in is found again."""

import numpy as np
import pytest

from ampel_dagster.units.t2.bazin_fit import BazinFit, bazin
from tests.units.t2.curves import flux_curve

JD = 2458700.0


def test_bazin_finds_its_parameters() -> None:
    rng = np.random.default_rng(1)
    jd = JD + np.arange(0, 80, 2.0)
    true = (50_000.0, 25.0, 4.0, 20.0, 1_000.0)
    flux = bazin(jd - JD, *true)
    found = BazinFit().process(flux_curve(jd, ["g"] * 40, flux + rng.normal(0, 300, 40), 300.0), {})["g"]
    names = ("amplitude_njy", "t0_jd", "rise_days", "fall_days", "baseline_njy")
    for name, value in zip(names, (true[0], JD + true[1], *true[2:]), strict=True):
        assert abs(found[name] - value) < 4 * found[f"{name}_err"], name
    # The maximum is where the derivative is zero: t0 + rise ln(fall/rise - 1).
    assert found["peak_jd"] == pytest.approx(JD + 25 + 4 * np.log(4), abs=0.3)
    assert found["chisq"] / found["ndof"] == pytest.approx(1, abs=0.6)


def test_bazin_needs_points() -> None:
    found = BazinFit().process(flux_curve(JD + np.arange(6.0), ["r"] * 6, np.ones(6), 1.0), {})
    assert found == {"r": {"n_points": 6, "success": False}}
