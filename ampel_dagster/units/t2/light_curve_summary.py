"""What a light curve says at a glance."""

from bisect import bisect_left
from collections.abc import Sequence
from itertools import pairwise
from math import hypot, isfinite
from operator import attrgetter
from typing import Any, ClassVar, NamedTuple

from pydantic import ConfigDict, Field

from ampel_dagster.model.light_curve import LightCurve
from ampel_dagster.units.base import LightCurveUnit, Tied
from ampel_dagster.units.t2._position import mean_position

#: Bands from blue to red: the order in which they are listed, and whose neighbours make a colour.
_SPECTRUM = "ugrizy"
#: Outside of this an error says nothing, and its inverse square cannot be a weight.
_USABLE_ERRORS_MAG = (1e-6, 1e3)


class _Detection(NamedTuple):
    jd: float
    band: str
    mag: float
    mag_err: float

    @property
    def measured(self) -> bool:
        """Whether there is a magnitude."""
        return isfinite(self.mag)


class LightCurveSummary(LightCurveUnit):
    """Summarize a light curve: counts, times, peak, slopes, colours, last limit before the first detection.

    All values are plain numbers under flat keys; what cannot be told is None. Always there:

    - `ndet`, `n_upper_limits`, `n_forced`: numbers of points;
    - `first_jd`, `last_jd`, `duration_days`: first and last detection, and the days between them;
    - `bands`: bands with a detection, from blue to red;
    - `peak_mag`, `peak_jd`, `peak_band`: the brightest detection of all;
    - `ra_deg`, `dec_deg`: mean position of the detections;
    - `last_significant_limit_jd`, `_mag`, `_band`: the last limit before the first detection that is deep enough to
      have shown what was then detected: an upper limit, or a forced measurement within three errors of zero.

    For each band with a detection (here g):

    - `ndet_g`; `first_jd_g`, `first_mag_g`, `first_mag_err_g`; the same with `last` and `peak`;
    - `rise_mag_per_day_g`, `decline_mag_per_day_g`: slope of a straight line through the detections up to the peak, and
      from it on (the peak counts for both), weighted with 1/`mag_err`². Magnitudes fall while a source brightens: a
      rise is negative. None unless there are detections at two times.

    For each two neighbours among u, g, r, i, z, y that both have a detection (here g and r):

    - `color_g_r`, `color_g_r_err`, `color_g_r_jd`: difference of the magnitudes of the two detections closest in time,
      and the middle of their times. None if they are further apart than `max_color_gap_days`.
    """

    version: ClassVar[str] = "2"
    model_config = ConfigDict(allow_inf_nan=False)

    only_positive: bool = Field(
        False, description="leave out detections that are fainter than the reference (a negative difference)"
    )
    max_color_gap_days: float = Field(
        1.0, ge=0, description="longest time between the two detections that make a colour"
    )
    min_limit_mag: float | None = Field(
        None,
        description="least depth of a significant upper limit; none: the first detection's magnitude. "
        "AMPEL's T2LightCurveSummary takes limits beyond 19.5",
    )

    def fields(self) -> dict[str, str]:
        """What a summary holds; the fields of bands and colours end with their names."""
        counts = ("ndet", "n_upper_limits", "n_forced", "ndet_*")
        times = ("first_jd", "last_jd", "duration_days", "peak_jd", "last_significant_limit_jd")
        bands = tuple(f"{which}_{what}_*" for which in ("first", "last", "peak") for what in ("jd", "mag", "mag_err"))
        others = ("peak_mag", "ra_deg", "dec_deg", "last_significant_limit_mag", "*_mag_per_day_*", "color_*")
        names = dict.fromkeys(("peak_band", "last_significant_limit_band"), "text")
        return {**names, "bands": "list", **dict.fromkeys((*counts, *times, *bands, *others), "number")}

    def process(self, light_curve: LightCurve, tied: Tied) -> dict[str, Any]:
        """The summary."""
        detections = self._detections(light_curve)
        kinds = light_curve.kind
        bands = sorted({point.band for point in detections}, key=_colour_order)
        by_band = {band: [point for point in detections if point.band == band] for band in bands}
        first, last = (detections[0], detections[-1]) if detections else (None, None)
        peak = _peak(detections)
        position = mean_position(light_curve) or (None, None)
        result: dict[str, Any] = {
            "ndet": len(detections),
            "n_upper_limits": int((kinds == "upper_limit").sum()),
            "n_forced": int((kinds == "forced").sum()),
            "first_jd": first.jd if first else None,
            "last_jd": last.jd if last else None,
            "duration_days": last.jd - first.jd if first and last else None,
            "bands": bands,
            "peak_mag": peak.mag if peak else None,
            "peak_jd": peak.jd if peak else None,
            "peak_band": peak.band if peak else None,
            "ra_deg": position[0],
            "dec_deg": position[1],
        }
        result |= self._last_limit(light_curve, first)
        for band, points in by_band.items():
            result |= _of_band(band, points)
        for blue, red in pairwise(_SPECTRUM):
            if blue in by_band and red in by_band:
                result |= self._color(f"color_{blue}_{red}", by_band[blue], by_band[red])
        return result

    def _detections(self, light_curve: LightCurve) -> list[_Detection]:
        chosen = light_curve.kind == "detection"
        if self.only_positive:
            chosen = chosen & light_curve.positive
        # Plain numbers from here on: for some ten points numpy's calls cost more than their work.
        columns = (light_curve.jd, light_curve.band, light_curve.mag, light_curve.mag_err)
        return [_Detection(*row) for row in zip(*(column[chosen].tolist() for column in columns), strict=True)]

    def _last_limit(self, light_curve: LightCurve, first: _Detection | None) -> dict[str, Any]:
        keys = ("last_significant_limit_jd", "last_significant_limit_mag", "last_significant_limit_band")
        nothing: dict[str, Any] = dict.fromkeys(keys)
        if first is None:
            return nothing
        depth = first.mag if self.min_limit_mag is None else self.min_limit_mag
        # A depth that is NaN, for want of a magnitude, is reached by no limit.
        found = light_curve.shows_nothing & (light_curve.jd < first.jd) & (light_curve.mag_limit >= depth)
        if not found.any():
            return nothing
        last = int(found.nonzero()[0][-1])
        values = float(light_curve.jd[last]), float(light_curve.mag_limit[last]), str(light_curve.band[last])
        return dict(zip(keys, values, strict=True))

    def _color(self, key: str, blue: Sequence[_Detection], red: Sequence[_Detection]) -> dict[str, Any]:
        pair = _closest([p for p in blue if p.measured], [p for p in red if p.measured])
        if pair is None or abs(pair[0].jd - pair[1].jd) > self.max_color_gap_days:
            return {key: None, f"{key}_err": None, f"{key}_jd": None}
        one, other = pair
        return {
            key: one.mag - other.mag,
            f"{key}_err": _number(hypot(one.mag_err, other.mag_err)),
            f"{key}_jd": one.jd + (other.jd - one.jd) / 2,
        }


def _colour_order(band: str) -> tuple[int, str]:
    return (_SPECTRUM.index(band) if len(band) == 1 and band in _SPECTRUM else len(_SPECTRUM), band)


def _number(value: float) -> float | None:
    return value if isfinite(value) else None


def _peak(points: Sequence[_Detection]) -> _Detection | None:
    """The brightest detection, the first of several."""
    return min((point for point in points if point.measured), key=attrgetter("mag"), default=None)


def _of_band(band: str, points: Sequence[_Detection]) -> dict[str, Any]:
    peak = _peak(points)
    result: dict[str, Any] = {f"ndet_{band}": len(points)}
    for name, point in (("first", points[0]), ("last", points[-1]), ("peak", peak)):
        result[f"{name}_jd_{band}"] = point.jd if point else None
        result[f"{name}_mag_{band}"] = _number(point.mag) if point else None
        result[f"{name}_mag_err_{band}"] = _number(point.mag_err) if point else None
    measured = [point for point in points if point.measured]
    rise = [point for point in measured if peak and point.jd <= peak.jd]
    decline = [point for point in measured if peak and point.jd >= peak.jd]
    result[f"rise_mag_per_day_{band}"] = _slope(rise)
    result[f"decline_mag_per_day_{band}"] = _slope(decline)
    return result


def _slope(points: Sequence[_Detection]) -> float | None:
    """Slope in mag/day of the weighted least-squares line; where an error is unknown all weigh the same."""
    if len(points) < 2:
        return None
    errors = [point.mag_err for point in points]
    least, most = _USABLE_ERRORS_MAG
    usable = all(least < error < most for error in errors)
    weights = [error**-2 if usable else 1.0 for error in errors]
    total = sum(weights)
    # Times from the first point: Julian dates are large, and their squares would cancel.
    times = [point.jd - points[0].jd for point in points]
    mean_time = sum(w * t for w, t in zip(weights, times, strict=True)) / total
    mean_mag = sum(w * p.mag for w, p in zip(weights, points, strict=True)) / total
    spread = sum(w * (t - mean_time) ** 2 for w, t in zip(weights, times, strict=True))
    if not spread > 0:
        return None
    rows = zip(weights, times, points, strict=True)
    return _number(sum(w * (t - mean_time) * (p.mag - mean_mag) for w, t, p in rows) / spread)


def _closest(blue: Sequence[_Detection], red: Sequence[_Detection]) -> tuple[_Detection, _Detection] | None:
    """The pair closest in time, the first of several; both sequences are sorted by time."""
    times = [point.jd for point in red]
    best: tuple[_Detection, _Detection] | None = None
    for one in blue:
        at = bisect_left(times, one.jd)
        for other in red[max(at - 1, 0) : at + 1]:
            if best is None or abs(one.jd - other.jd) < abs(best[0].jd - best[1].jd):
                best = one, other
    return best
