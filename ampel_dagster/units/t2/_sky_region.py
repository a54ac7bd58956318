"""Regions of the sky in files: coverage maps (MOC), and maps of probability whose pixels have many sizes."""

from math import pi
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

#: The finest order of HEALPix; a pixel of order o covers 4**(29 - o) of its pixels, one after the other (nested).
_FINEST = 29
#: UNIQ of the first pixel of each order.
_FIRST_UNIQ = 4 ** np.arange(1, _FINEST + 2, dtype=np.int64)
_GZIP = b"\x1f\x8b"
_SQUARE_DEGREES = (180 / pi) ** 2


class Coverage:
    """A region that a position is in or not: a MOC (IVOA recommendation MOC 2.0, 2022)."""

    def __init__(self, moc: Any) -> None:
        self._moc = moc

    @property
    def sky_fraction(self) -> float:
        """Share of the sky that is covered."""
        return float(self._moc.sky_fraction)

    def contains(self, ra_deg: Floats, dec_deg: Floats) -> NDArray[np.bool_]:
        """Whether positions (ICRS) are in it."""
        found: NDArray[np.bool_] = self._moc.contains_lonlat(*_angles(ra_deg, dec_deg))
        return found


class ProbabilityMap(NamedTuple):
    """Where a source may be: probability by pixel, the pixels in the order of the sky (nested, without overlap)."""

    #: First pixel of the finest order that a pixel covers, and the first one after it.
    begin: NDArray[np.int64]
    end: NDArray[np.int64]
    #: Probability per steradian.
    density: Floats
    #: Probability of all pixels that are as dense or denser: the smallest credible level that takes this one in.
    level: Floats

    def look_up(self, ra_deg: Floats, dec_deg: Floats) -> tuple[Floats, Floats]:
        """Credible level and probability per square degree at positions (ICRS); 1 and 0 where the map has no pixel."""
        from cdshealpix.nested import lonlat_to_healpix

        finest = lonlat_to_healpix(*_angles(ra_deg, dec_deg), _FINEST).astype(np.int64)
        row = np.searchsorted(self.begin, finest, side="right") - 1
        known = (row >= 0) & (finest < self.end[row])
        return np.where(known, self.level[row], 1.0), np.where(known, self.density[row] / _SQUARE_DEGREES, 0.0)


def read_region(path: Path) -> Coverage | ProbabilityMap:
    """The region in a file, whichever it is. Raises ValueError where the file holds none."""
    columns = _columns(path)
    if "PROBDENSITY" in columns:
        return _probability_map(path)
    if {"PROB", "PROBABILITY"} & columns:
        raise ValueError(
            f"{path} is a map whose pixels are all of one size; make it multi-order, as by ligo-skymap-unflatten"
        )
    return read_coverage(path)


def read_coverage(path: Path) -> Coverage:
    """The MOC in a file: FITS, JSON or text, told apart by how it begins. Raises ValueError where it is none."""
    from mocpy import MOC

    with path.open("rb") as file:
        head = file.read(80).lstrip()
    if head.startswith(_GZIP):
        raise ValueError(f"{path} is packed; unpack it")
    form = "fits" if head.startswith(b"SIMPLE") else "json" if head.startswith(b"{") else "ascii"
    try:
        return Coverage(MOC.load(str(path), form))
    except Exception as error:  # the library raises what its own parts raise
        said = " ".join(str(error).split())[:200]
        raise ValueError(f"{path} is no MOC in FITS, JSON or text ({said}); write it with mocpy or Aladin") from error


def _columns(path: Path) -> set[str]:
    """Names of the columns of a FITS file's first table, in capitals; none where it is no such file."""
    from astropy.io import fits

    with path.open("rb") as file:
        head = file.read(6)
    if head != b"SIMPLE" and not head.startswith(_GZIP):
        return set()
    try:
        with fits.open(path) as hdus:
            return {name.upper() for name in hdus[1].columns.names}
    except (OSError, IndexError, AttributeError, TypeError):
        return set()


def _probability_map(path: Path) -> ProbabilityMap:
    """A map with columns UNIQ (4 * 4**order + pixel) and PROBDENSITY (per steradian), as LIGO and Virgo publish them.

    Source: LIGO/Virgo/KAGRA Public Alerts User Guide, "Working with Multi-Resolution Sky Maps"; UNIQ is that of MOC.
    """
    from astropy.io import fits

    try:
        with fits.open(path) as hdus:
            table = hdus[1].data
            uniq, density = np.array(table["UNIQ"], dtype=np.int64), np.array(table["PROBDENSITY"], dtype=np.float64)
    except (OSError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is no map of probability: it lacks UNIQ ({error})") from None
    order = np.searchsorted(_FIRST_UNIQ, uniq, side="right") - 1
    if len(order) == 0 or order.min() < 0 or (uniq >= 4 * _FIRST_UNIQ[-1]).any():
        raise ValueError(f"{path} is no map of probability: it has no pixels, or UNIQ names none")
    shift = 2 * (_FINEST - order)
    begin = (uniq - (np.int64(4) << (2 * order))) << shift
    end = begin + (np.int64(1) << shift)
    place = np.argsort(begin, kind="stable")
    begin, end, density, order = begin[place], end[place], density[place], order[place]
    probability = density * (4 * pi / 12) / 4.0**order
    if not (np.isfinite(density).all() and (density >= 0).all() and probability.sum() > 0):
        raise ValueError(f"{path} is no map of probability: PROBDENSITY is negative, not a number, or nothing but 0")
    if (begin[1:] < end[:-1]).any():
        raise ValueError(f"{path} is no map of probability: its pixels overlap")
    return ProbabilityMap(begin, end, density, _levels(density, probability))


def _levels(density: Floats, probability: Floats) -> Floats:
    """Share of the probability in pixels that are at least as dense; equally dense ones come in together."""
    descending = np.argsort(-density, kind="stable")
    total = np.cumsum(probability[descending])
    last_of_its_kind = np.searchsorted(-density[descending], -density, side="right") - 1
    levels: Floats = total[last_of_its_kind] / total[-1]
    return levels


def _angles(ra_deg: Floats, dec_deg: Floats) -> tuple[Any, Any]:
    from astropy.coordinates import Latitude, Longitude

    return Longitude(ra_deg, unit="deg"), Latitude(dec_deg, unit="deg")
