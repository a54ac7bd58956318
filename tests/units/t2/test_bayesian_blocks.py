"""When the brightness changed."""

import numpy as np
import pytest

from ampel_dagster.units.t2.bayesian_blocks import BayesianBlocks
from tests.units.t2.curves import flux_curve

JD = 2458700.0


def test_blocks_find_the_flare() -> None:
    rng = np.random.default_rng(2)
    flux = np.where((np.arange(60) >= 30) & (np.arange(60) < 40), 10_000.0, 2_000.0) + rng.normal(0, 200, 60)
    found = BayesianBlocks().process(flux_curve(JD + np.arange(60.0), ["g"] * 60, flux, 200.0), {})["g"]
    assert (found["n_blocks"], found["n_in_block"]) == (3, [30, 10, 20])
    assert found["edges_jd"][1:3] == [pytest.approx(JD + 29.5), pytest.approx(JD + 39.5)]
    assert found["max_excess_njy"] == pytest.approx(8_000, abs=300)
    assert found["max_excess_sigma"] > 50
