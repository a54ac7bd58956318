"""Stars where the object is."""

from pathlib import Path
from typing import Any

import pytest

from ampel_dagster.instruments.ztf import ZTF
from ampel_dagster.model.alert import Alert, Packet
from ampel_dagster.sources.files import read_file
from ampel_dagster.units.t2.star_veto import StarVeto
from tests.units.t2.points import STATE, point


class TestStars:
    def veto(self, tied: dict[str, Any] | None = None, **body: Any) -> dict[str, Any]:
        unit = StarVeto(catalogs={"gaia": 2.0} if tied else {})
        return unit.process(STATE, [point(**{"sgscore1": 0.1, "distpsnr1": 5.0, **body})], tied or {})

    @pytest.mark.parametrize(
        ("body", "sign"),
        [
            ({"sgscore1": 0.9, "distpsnr1": 1.0}, "point_source"),
            ({"sgscore1": 0.9, "distpsnr1": 2.0}, None),
            ({"sgscore1": 0.5, "distpsnr1": 1.0}, None),
            ({"sgscore1": -999.0, "distpsnr1": -999.0}, None),
            ({"neargaiabright": 10.0, "maggaiabright": 12.0}, "bright_gaia"),
            ({"neargaiabright": 10.0, "maggaiabright": 15.0}, None),
            ({"neargaiabright": -999.0, "maggaiabright": -999.0}, None),
        ],
    )
    def test_signs(self, body: dict[str, Any], sign: str | None) -> None:
        found = self.veto(**body)
        assert [key for key in ("point_source", "bright_gaia", "in_catalog") if found[key]] == ([sign] if sign else [])
        assert found["is_star"] is (sign is not None)

    def test_catalogue(self) -> None:
        found = self.veto({"CatalogMatch": {"gaia": {"n_matches": 1, "distance_arcsec": 1.5}}})
        assert (found["in_catalog"], found["catalog"], found["catalog_distance_arcsec"]) == (True, "gaia", 1.5)
        assert self.veto({"CatalogMatch": {"gaia": {"n_matches": 1, "distance_arcsec": 2.5}}})["is_star"] is False

    def test_real_packets(self, data: Path) -> None:
        """Scores and distances as they stand in the packets."""
        ztf, unit = ZTF(), StarVeto()
        for packet in read_file(data / "ztf" / "ztf_public_20180819_mod1000.tar.gz"):
            assert isinstance(packet, Packet)
            (alert,) = ztf.decode(packet)
            assert isinstance(alert, Alert)
            found = unit.process(STATE, sorted(alert.points, key=lambda p: p.jd), {})
            score, distance = alert.candidate["sgscore1"], alert.candidate["distpsnr1"]
            assert found["point_source"] is bool(score > 0.76 and 0 <= distance <= 1.5)
