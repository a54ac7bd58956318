"""Which redshift is the best."""

from typing import Any

import pytest
from pydantic import ValidationError

from ampel_dagster.units.t2.redshift_digest import RedshiftDigest, redshift_at
from tests.units.t2.test_light_curve_summary import detection, light_curve

SPEC = {"catalog": "spec", "z": "z", "z_err": "dz", "group": 1, "max_distance_arcsec": 3}
PHOTO = {"catalog": "photo", "z": "zphot", "group": 4, "precision": 0.03}
MANGROVE = {"catalog": "mangrove", "luminosity_distance_mpc": "lum_dist", "group": 2}


def row(distance_arcsec: float, **columns: Any) -> dict[str, Any]:
    return {"distance_arcsec": distance_arcsec, "ra_deg": 0.0, "dec_deg": 0.0, **columns}


def matched(*rows: dict[str, Any]) -> dict[str, Any]:
    return {"n_matches": len(rows), **(rows[0] if rows else {}), "matches": list(rows)}


def digest(match: dict[str, Any], *sources: dict[str, Any], **config: Any) -> dict[str, Any]:
    unit = RedshiftDigest(sources=sources or (SPEC, PHOTO, MANGROVE), **config)
    return unit.process(light_curve(detection(1.0, "g", 18.0)), {"CatalogMatch": match})


def test_best_group_wins_over_the_nearest_match() -> None:
    found = digest({"photo": matched(row(0.1, zphot=0.2)), "spec": matched(row(2.0, z=0.05, dz=0.001))})
    assert (found["z"], found["z_err"], found["group"], found["catalog"], found["distance_arcsec"]) == (
        0.05,
        0.001,
        1,
        "spec",
        2.0,
    )
    assert found["groups"]["4"]["z"] == 0.2
    assert found["groups"]["4"]["z_err"] == 0.03


def test_matches_that_are_too_far_or_have_no_redshift_do_not_count() -> None:
    far = matched(row(3.5, z=0.05, dz=0.001), row(4.0, z=0.06, dz=0.001))
    found = digest({"spec": far, "photo": matched(row(1.0, zphot=None), row(2.0, zphot=-0.1), row(5.0, zphot=0.3))})
    assert (found["z"], found["group"], found["n_in_group"]) == (0.3, 4, 1)


def test_nothing_found() -> None:
    found = digest({"spec": {"n_matches": 0}, "photo": {"n_matches": None}})
    assert (found["z"], found["group"], found["n_in_group"], found["groups"]) == (None, None, 0, {})


def test_mean_is_weighted_by_the_errors() -> None:
    """0.10 ± 0.01 and 0.13 ± 0.02: weights 4 to 1, mean 0.106, error 0.01 · sqrt(4/5)."""
    rows = matched(row(1.0, z=0.10, dz=0.01), row(2.0, z=0.13, dz=0.02))
    found = digest({"spec": rows}, choose="mean")
    assert found["z"] == pytest.approx(0.106)
    assert found["z_err"] == pytest.approx(0.01 * 0.8**0.5)
    assert found["z_spread"] == pytest.approx(0.03)
    assert digest({"spec": rows})["z"] == 0.10


def test_redshift_of_a_distance() -> None:
    """Planck 2018 (H0 67.66, Om 0.30966): 445.6 Mpc is z = 0.0959, and 0 is 0."""
    from astropy.cosmology import Planck18

    assert redshift_at(0.0) == 0.0
    for z in (0.0017, 0.01, 0.1, 1.0, 5.0):
        assert redshift_at(Planck18.luminosity_distance(z).value) == pytest.approx(z, rel=1e-5)
    assert redshift_at(1e9) is None
    found = digest({"mangrove": matched(row(20.0, lum_dist=100.0))})
    assert found["z"] == pytest.approx(0.0222, abs=2e-4)


@pytest.mark.parametrize("wrong", [{}, {"z": "z", "luminosity_distance_mpc": "d"}])
def test_source_says_one_of_both(wrong: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match="one of both"):
        RedshiftDigest(sources=({"catalog": "a", "group": 1, **wrong},))
