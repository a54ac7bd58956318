"""Young and near, or not."""

from typing import Any

import pytest

from ampel_dagster.model.result import UnitResult
from ampel_dagster.units.t2.nearby_infant import NearbyInfant
from tests.units.t2.test_light_curve_summary import detection, light_curve, limit

#: At z = 0.02 the distance modulus of Planck 2018 is 34.77, and an arcsecond is 0.419 kpc.
NEAR = {"z": 0.02, "distance_arcsec": 10.0}
YOUNG = (limit(0.0, "g", 20.5), detection(2.0, "g", 19.0), detection(3.0, "r", 19.2), detection(4.0, "g", 18.5))


def judged(*points: dict[str, Any], digest: dict[str, Any] = NEAR, **config: Any) -> UnitResult:
    return NearbyInfant(**config).process(light_curve(*points), {"RedshiftDigest": digest})


def test_a_young_and_near_one() -> None:
    found = judged(*YOUNG, max_distance_kpc=5.0, max_days_since_limit=2.5)
    assert (found.code, found.tags, found.body["passed"], found.body["failed"]) == (1, ("INFANT",), True, [])
    assert found.body["abs_mag_peak"] == pytest.approx(18.5 - 34.77, abs=0.02)
    assert found.body["abs_mag_first"] == pytest.approx(19.0 - 34.77, abs=0.02)
    assert found.body["distance_kpc"] == pytest.approx(4.19, abs=0.02)
    assert (found.body["age_days"], found.body["days_since_limit"], found.body["ndet"]) == (2.0, 2.0, 3)
    assert found.body["color"] == pytest.approx(-0.7)


@pytest.mark.parametrize(
    ("config", "cut"),
    [
        ({"max_age_days": 1.9}, "age_days"),
        ({"max_z": 0.019}, "z"),
        ({"min_z": 0.021}, "z"),
        ({"max_distance_arcsec": 9.9}, "distance_arcsec"),
        ({"max_distance_kpc": 4.1}, "distance_kpc"),
        ({"min_ndet": 4}, "ndet"),
        ({"max_ndet": 2}, "ndet"),
        ({"min_abs_mag": -16.0}, "abs_mag_peak"),
        ({"max_abs_mag": -16.5}, "abs_mag_peak"),
        ({"max_days_since_limit": 1.9}, "days_since_limit"),
        ({"min_color": -0.6}, "color"),
    ],
)
def test_each_cut_by_itself(config: dict[str, Any], cut: str) -> None:
    found = judged(*YOUNG, **config)
    assert (found.code, found.tags, found.body["failed"]) == (0, (), [cut])


def test_what_is_unknown_does_not_pass() -> None:
    found = judged(*YOUNG, digest={"z": None, "distance_arcsec": None})
    assert found.body["failed"] == ["z", "distance_arcsec", "abs_mag_peak"]
    nothing = judged(limit(0.0, "g", 20.5))
    assert nothing.body["failed"] == ["age_days", "ndet", "abs_mag_peak"]
    assert judged(*YOUNG[1:], max_days_since_limit=5.0).body["failed"] == ["days_since_limit"]
