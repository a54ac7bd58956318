"""Which galaxy, and where in it."""

from typing import Any, ClassVar

import numpy as np
import pytest

from ampel_dagster.units.t2.host_galaxy import HostGalaxy, light_radius_arcsec, offset_arcsec, position_angle_deg
from tests.units.t2.test_light_curve_summary import detection, light_curve


class TestHost:
    #: The object is at (10, 20), by the helper `detection`.
    EAST: ClassVar = {"ra_deg": 10.0 - 5 / 3600 / np.cos(np.radians(20)), "dec_deg": 20.0, "distance_arcsec": 5.0}
    SOUTH: ClassVar = {"ra_deg": 10.0, "dec_deg": 20.0 + 3 / 3600, "distance_arcsec": 3.0}

    def host(self, rows: list[dict[str, Any]], **config: Any) -> dict[str, Any]:
        columns = {"semi_major_arcsec": "a", "axis_ratio": "ba", "position_angle_deg": "pa", "z": "z", "name": "name"}
        match = {"n_matches": len(rows), **(rows[0] if rows else {}), "matches": rows}
        unit = HostGalaxy(catalogs={"galaxies": columns}, **config)
        return unit.process(light_curve(detection(1.0, "g", 18.0)), {"CatalogMatch": {"galaxies": match}})

    def test_large_galaxy_wins_over_a_small_one_that_is_nearer(self) -> None:
        """5" from the centre along a 10" axis is half a radius; 3" from a round one of 1" is three."""
        large = {**self.EAST, "a": 10.0, "ba": 0.5, "pa": 90.0, "z": 0.02, "name": "large"}
        small = {**self.SOUTH, "a": 1.0, "ba": 1.0, "pa": 0.0, "z": 0.5, "name": "small"}
        found = self.host([small, large])
        assert (found["name"], found["n_candidates"]) == ("large", 2)
        assert found["d_dlr"] == pytest.approx(0.5)
        assert found["d_dlr_ratio"] == pytest.approx(0.5 / 3)
        assert found["position_angle_deg"] == pytest.approx(90.0, abs=0.01)
        # 0.419 kpc/" at z = 0.02 in the Planck 2018 cosmology.
        assert found["offset_kpc"] == pytest.approx(5 * 0.419, abs=0.01)
        assert [c["name"] for c in found["candidates"]] == ["large", "small"]
        assert found["candidates"][1]["position_angle_deg"] == pytest.approx(180.0)

    def test_across_the_axis_it_is_further_out(self) -> None:
        found = self.host([{**self.EAST, "a": 10.0, "ba": 0.5, "pa": 0.0}])
        assert found["d_dlr"] == pytest.approx(1.0)

    def test_without_sizes_the_nearest_wins(self) -> None:
        found = self.host([{**self.EAST, "name": "far"}, {**self.SOUTH, "name": "near"}])
        assert (found["name"], found["d_dlr"], found["offset_kpc"]) == ("near", None, None)

    def test_none(self) -> None:
        assert self.host([])["n_candidates"] == 0
        assert self.host([{**self.EAST, "a": 1.0}], max_d_dlr=4)["catalog"] is None

    def test_geometry(self) -> None:
        assert light_radius_arcsec(10, 0.3, 40, 40) == pytest.approx(10)
        assert light_radius_arcsec(10, 0.3, 40, 130) == pytest.approx(3)
        assert light_radius_arcsec(10, 0.3, 40, 220) == pytest.approx(10)
        east, north = offset_arcsec((359.9999, 0.0), (0.0001, 0.0))
        assert (east, north) == (pytest.approx(0.72), 0.0)
        assert position_angle_deg(-1.0, 0.0) == 270.0
        assert position_angle_deg(0.0, 0.0) is None
