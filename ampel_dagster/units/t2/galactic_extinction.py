"""Dust of the Milky Way in front of an object."""

from collections.abc import Mapping
from functools import lru_cache
from math import cos, floor, radians, sin, sqrt
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PrivateAttr

from ampel_dagster.model.light_curve import LightCurve
from ampel_dagster.units.base import LightCurveUnit, Tied
from ampel_dagster.units.t2._model_file import content_hash
from ampel_dagster.units.t2._position import mean_position

#: A_band over E(B-V) of the SFD map, R_V = 3.1. Source: Schlafly & Finkbeiner 2011, ApJ 737, 103, table 6; ZTF's bands
#: by those of Pan-STARRS, whose photometry they are calibrated to; PGIR's J by that of 2MASS.
COEFFICIENTS: Mapping[str, Mapping[str, float]] = {
    "ztf": {"g": 3.172, "r": 2.271, "i": 1.682},
    "lsst": {"u": 4.145, "g": 3.237, "r": 2.273, "i": 1.684, "z": 1.323, "y": 1.088},
    "pgir": {"J": 0.723},
}
#: By which the map's E(B-V) is too large. Source: the same, section 5.
_RECALIBRATION = 0.86


class GalacticExtinction(LightCurveUnit):
    """Read E(B-V) off the dust map of Schlegel, Finkbeiner & Davis (1998, ApJ 500, 525), and tell A of each band.

    The map's two files (SFD_dust_4096_ngp.fits and …_sgp.fits) are the user's; nothing is downloaded. Values between
    pixels are linear in both directions. The result has `ebv` (as in the map), `ebv_sf11` (0.86 of it, as Schlafly &
    Finkbeiner 2011 found), `a_mag` by band of the survey, and `l_deg`, `b_deg`. Without a position all are None.
    """

    north: str = Field("dust/SFD_dust_4096_ngp.fits", description="map of the northern galactic hemisphere")
    south: str = Field("dust/SFD_dust_4096_sgp.fits", description="map of the southern galactic hemisphere")

    _folder: Path = PrivateAttr(default=Path())

    def prepare(self, folder: Path) -> "GalacticExtinction":
        """The unit that reads its maps from `folder`, after a look at both."""
        prepared = self.model_copy()
        prepared._folder = folder
        for file, pole in ((self.north, 1), (self.south, -1)):
            path = folder / file
            if not path.is_file():
                raise ValueError(f"there is no file {path}; put the SFD map there")
            if load_map(path).pole != pole:
                raise ValueError(f"{path} is the map of the other hemisphere; exchange north and south")
        return prepared

    def data_versions(self) -> Mapping[str, str]:
        """Content hashes of the maps."""
        return {name: _hash(self._folder / file) for name, file in (("north", self.north), ("south", self.south))}

    def fields(self) -> dict[str, str]:
        """Numbers."""
        return dict.fromkeys(("ebv", "ebv_sf11", "l_deg", "b_deg", "a_mag.*"), "number")

    def process(self, light_curve: LightCurve, tied: Tied) -> dict[str, Any]:
        """Reddening and extinction of one object."""
        position = mean_position(light_curve)
        if position is None:
            return {**dict.fromkeys(("ebv", "ebv_sf11", "l_deg", "b_deg")), "a_mag": {}}
        l_deg, b_deg = galactic(*position)
        ebv = load_map(self._folder / (self.north if b_deg >= 0 else self.south)).at(l_deg, b_deg)
        bands = COEFFICIENTS.get(light_curve.survey, {})
        a_mag = {band: factor * ebv for band, factor in bands.items()}
        return {"ebv": ebv, "ebv_sf11": _RECALIBRATION * ebv, "a_mag": a_mag, "l_deg": l_deg, "b_deg": b_deg}


class DustMap(NamedTuple):
    """One hemisphere in Lambert's polar projection."""

    values: NDArray[np.float32]
    #: 1: north, -1: south.
    pole: int
    scale: float
    #: Pixel of the pole, counted from 0.
    x: float
    y: float

    def at(self, l_deg: float, b_deg: float) -> float:
        """E(B-V) at galactic coordinates. Source of the projection: Schlegel et al. 1998, appendix C."""
        radius = self.scale * sqrt(max(0.0, 1 - self.pole * sin(radians(b_deg))))
        x = self.x + radius * cos(radians(l_deg))
        y = self.y - self.pole * radius * sin(radians(l_deg))
        height, width = self.values.shape
        column, row = min(max(floor(x), 0), width - 2), min(max(floor(y), 0), height - 2)
        right, up = min(max(x - column, 0.0), 1.0), min(max(y - row, 0.0), 1.0)
        four = self.values[row : row + 2, column : column + 2].astype(np.float64)
        lower, upper = four[:, 0] * (1 - right) + four[:, 1] * right
        return float(lower * (1 - up) + upper * up)


@lru_cache(maxsize=4)
def load_map(path: Path) -> DustMap:
    """A map, whose pixels stay in the file. Raises ValueError where the file is no such map."""
    from astropy.io import fits

    try:
        with fits.open(path, memmap=True) as hdus:
            header, values = hdus[0].header, hdus[0].data
            x, y = float(header["CRPIX1"]) - 1, float(header["CRPIX2"]) - 1
            return DustMap(values, int(header["LAM_NSGP"]), float(header["LAM_SCAL"]), x, y)
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is no SFD map in polar projection ({error})") from None


def galactic(ra_deg: float, dec_deg: float) -> tuple[float, float]:
    """Galactic longitude and latitude of a position (ICRS), all in degrees."""
    from astropy.coordinates import SkyCoord

    there = SkyCoord(ra_deg, dec_deg, unit="deg", frame="icrs").galactic
    return float(there.l.deg), float(there.b.deg)


@lru_cache(maxsize=8)
def _hash(path: Path) -> str:
    return content_hash(path)
