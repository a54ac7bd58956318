"""What an astronomer asks first of a light curve: peak, age, last limit, colour."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import hypot, isfinite, nan

import numpy as np

from ampel_dagster.model.light_curve import LightCurve

#: Longest time between two exposures whose difference is called a colour.
COLOUR_WITHIN_DAYS = 1.0
_BLUE_TO_RED = "ugrizy"


@dataclass(frozen=True, slots=True)
class Measured:
    """One point of the light curve; `mag` is NaN where there is none, and the limit of an upper limit."""

    jd: float
    band: str
    mag: float
    err: float = nan
    #: False where the object is fainter than in the reference image.
    positive: bool = True


@dataclass(frozen=True, slots=True)
class Colour:
    """Difference of two magnitudes that were measured within a day."""

    bands: tuple[str, str]
    value: float
    err: float
    jd: float


@dataclass(frozen=True, slots=True)
class BandFacts:
    """Summary of one band."""

    band: str
    detections: int
    limits: int
    peak: Measured | None
    latest: Measured | None


@dataclass(frozen=True, slots=True)
class Facts:
    """Summary of a light curve."""

    detections: int
    #: Those of the detections that are fainter than the reference.
    negative: int
    limits: int
    forced: int
    first: Measured | None
    latest: Measured | None
    #: Brightest detection; the deepest dip where all are fainter than the reference.
    peak: Measured | None
    #: Last upper limit before the first detection.
    limit_before: Measured | None
    bands: tuple[BandFacts, ...]
    #: Latest colour of each pair of neighbouring bands, and that nearest to the peak.
    colours: tuple[tuple[Colour, Colour], ...]

    @property
    def age(self) -> float:
        """Days from the first detection to the latest; NaN without a detection."""
        return self.latest.jd - self.first.jd if self.first and self.latest else nan


def facts_of(curve: LightCurve) -> Facts:
    """Summarize a light curve, which may hold nothing at all."""
    found = _measured(curve.detections, curve.detections.mag)
    limits = _measured(curve.upper_limits, curve.upper_limits.mag_limit)
    first = found[0] if found else None
    before = [limit for limit in limits if first and limit.jd < first.jd and isfinite(limit.mag)]
    return Facts(
        detections=len(found),
        negative=sum(not point.positive for point in found),
        limits=len(limits),
        forced=len(curve.of_kind("forced")),
        first=first,
        latest=found[-1] if found else None,
        peak=_peak(found),
        limit_before=before[-1] if before else None,
        bands=tuple(_of_band(band, found, limits) for band in ordered_bands(curve.bands)),
        colours=_colours(found),
    )


def ordered_bands(bands: Sequence[str]) -> list[str]:
    """Bands from blue to red; those without a known place follow by name."""
    return sorted(set(bands), key=lambda band: (_place(band), band))


def _place(band: str) -> int:
    return _BLUE_TO_RED.index(band) if band and band in _BLUE_TO_RED else len(_BLUE_TO_RED)


def _measured(curve: LightCurve, mag: "np.ndarray[tuple[int], np.dtype[np.float64]]") -> list[Measured]:
    rows = zip(
        curve.jd.tolist(),
        curve.band.tolist(),
        mag.tolist(),
        curve.mag_err.tolist(),
        curve.positive.tolist(),
        strict=True,
    )
    return [Measured(*row) for row in rows]


def _peak(found: Sequence[Measured]) -> Measured | None:
    known = [point for point in found if isfinite(point.mag)]
    brighter = [point for point in known if point.positive]
    return min(brighter or known, key=lambda point: point.mag, default=None)


def _of_band(band: str, found: Sequence[Measured], limits: Sequence[Measured]) -> BandFacts:
    mine = [point for point in found if point.band == band]
    n_limits = sum(limit.band == band for limit in limits)
    return BandFacts(band, len(mine), n_limits, _peak(mine), mine[-1] if mine else None)


def _colours(found: Sequence[Measured]) -> tuple[tuple[Colour, Colour], ...]:
    bright = [point for point in found if point.positive and isfinite(point.mag)]
    peak = _peak(bright)
    colours = []
    for blue, red in pairwise(ordered_bands([point.band for point in bright])):
        known = _pairs(
            [point for point in bright if point.band == blue],
            [point for point in bright if point.band == red],
        )
        if known and peak:
            at_peak = peak.jd
            colours.append((known[-1], min(known, key=lambda colour: abs(colour.jd - at_peak))))
    return tuple(colours)


def _pairs(blue: Sequence[Measured], red: Sequence[Measured]) -> list[Colour]:
    """Each blue point with the red point nearest in time, if that is near enough; oldest first."""
    known = []
    for point in blue:
        nearest = int(np.argmin([abs(there.jd - point.jd) for there in red]))
        other = red[nearest]
        if abs(other.jd - point.jd) <= COLOUR_WITHIN_DAYS:
            bands, when = (point.band, other.band), max(point.jd, other.jd)
            known.append(Colour(bands, point.mag - other.mag, hypot(point.err, other.err), when))
    return known
