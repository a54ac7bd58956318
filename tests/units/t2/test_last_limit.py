"""The last limit before the first detection."""

import pytest

from ampel_dagster.units.t2.last_limit import LastLimit
from tests.units.t2.supernova import LIMITS, SUPERNOVA
from tests.units.t2.test_light_curve_summary import light_curve


def test_last_limits() -> None:
    found = LastLimit().process(light_curve(*SUPERNOVA), {})
    assert (found["jd"], found["mag_limit"], found["band"], found["days_before"]) == (8.0, 20.6, "r", 2.0)
    assert found["rise_mag"] == pytest.approx(20.6 - 19.4)
    assert (found["bands"]["g"]["jd"], found["bands"]["g"]["rise_mag"]) == (4.0, pytest.approx(1.0))
    assert LastLimit(min_limit_mag=20.7).process(light_curve(*SUPERNOVA), {})["jd"] is None
    assert LastLimit().process(light_curve(*LIMITS), {})["first_jd"] is None
