"""Dust of a made-up map."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ampel_dagster.units.t2.galactic_extinction import GalacticExtinction, galactic
from tests.units.t2.test_light_curve_summary import detection, light_curve, limit


class TestDust:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        """Maps of 64 x 64 pixels whose value is 0.001 for each pixel to the right of the first column."""
        from astropy.io import fits

        (tmp_path / "dust").mkdir()
        for name, pole in (("ngp", 1), ("sgp", -1)):
            values = np.tile(np.arange(64, dtype=np.float32) * 1e-3, (64, 1)) * (1 if pole > 0 else 10)
            header = fits.Header({"CRPIX1": 32.5, "CRPIX2": 32.5, "LAM_NSGP": pole, "LAM_SCAL": 32.0})
            fits.writeto(tmp_path / "dust" / f"SFD_dust_4096_{name}.fits", values, header)
        return tmp_path

    def read(self, folder: Path, ra_deg: float, dec_deg: float) -> dict[str, Any]:
        unit = GalacticExtinction().prepare(folder)
        assert isinstance(unit, GalacticExtinction)
        return unit.process(light_curve(detection(1.0, "g", 18.0, ra=ra_deg, dec=dec_deg)), {})

    def test_at_the_pole(self, folder: Path) -> None:
        """The pole lies in the middle, between pixels 31 and 32: 31.5 of them."""
        found = self.read(folder, 192.85948, 27.12825)
        assert found["b_deg"] == pytest.approx(90, abs=1e-3)
        assert found["ebv"] == pytest.approx(0.0315, abs=2e-5)
        assert found["ebv_sf11"] == pytest.approx(0.86 * 0.0315, abs=2e-5)
        assert found["a_mag"]["r"] == pytest.approx(2.271 * 0.0315, abs=1e-4)

    @pytest.mark.parametrize(
        ("l_deg", "b_deg"), [(0.0, 30.0), (180.0, 60.0), (90.0, 45.0), (30.0, -40.0), (180.0, -75.0)]
    )
    def test_elsewhere(self, folder: Path, l_deg: float, b_deg: float) -> None:
        """x = 31.5 + 32 sqrt(1 - |sin b|) cos l, in both hemispheres."""
        from astropy.coordinates import SkyCoord

        there = SkyCoord(l=l_deg, b=b_deg, unit="deg", frame="galactic").icrs
        found = self.read(folder, there.ra.deg, there.dec.deg)
        pixel = 31.5 + 32 * np.sqrt(1 - abs(np.sin(np.radians(b_deg)))) * np.cos(np.radians(l_deg))
        assert found["ebv"] == pytest.approx(pixel * (1e-3 if b_deg > 0 else 1e-2), rel=1e-3)
        assert galactic(there.ra.deg, there.dec.deg) == (pytest.approx(l_deg), pytest.approx(b_deg))

    def test_without_position(self, folder: Path) -> None:
        unit = GalacticExtinction().prepare(folder)
        assert unit.process(light_curve(limit(1.0, "g", 20.0)), {})["ebv"] is None  # type: ignore[attr-defined]

    def test_mistakes(self, folder: Path) -> None:
        with pytest.raises(ValueError, match="there is no file"):
            GalacticExtinction(north="no.fits").prepare(folder)
        turned = GalacticExtinction(north="dust/SFD_dust_4096_sgp.fits", south="dust/SFD_dust_4096_ngp.fits")
        with pytest.raises(ValueError, match="exchange north and south"):
            turned.prepare(folder)
        (folder / "text.fits").write_text("no map")
        with pytest.raises(ValueError, match="is no SFD map"):
            GalacticExtinction(north="text.fits").prepare(folder)
