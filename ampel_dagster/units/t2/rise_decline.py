"""How a transient rises and declines, in numbers that classifiers are trained on."""

from collections.abc import Sequence
from math import isfinite, sqrt
from typing import Any, ClassVar, NamedTuple

import numpy as np
from pydantic import ConfigDict, Field

from ampel_dagster.model.light_curve import Floats, LightCurve
from ampel_dagster.units.base import LightCurveUnit, Tied


class _Line(NamedTuple):
    slope: float
    slope_err: float


class RiseDecline(LightCurveUnit):
    """Describe a light curve by the features of SNguess: when, how bright, how fast up and down, which colours.

    Names and meaning follow AMPEL's `T2RiseDeclineStat` and its tabulated successor; source: Miranda et al. 2022, A&A
    665, A99 (SNguess), table 1. Positive detections count; magnitudes fall while a source brightens, so that a rise has
    a negative slope. What cannot be told is None.

    - `ndet`, `n_bands`; `bool_pure`: no detection is negative; `jd_det`, `jd_last`, `t_lc` (days between them);
      `mag_det`, `band_det`, `mag_last`, `band_last`;
    - `t_predetect`: days from the last limit before the first detection to it, `mag_ul` and `band_ul` of that limit: an
      upper limit, or a forced measurement within three errors of zero;
    - `jd_max`, `mag_peak`, `band_peak`: the brightest point (of the band with most detections, if `peak_in_main_band`);
      `bool_peaked`: it is neither the first nor the last night; `bool_rise`, `bool_fall`: brighter than the first
      night, or fainter at last than at peak, by more than `significance` sigma; `bool_norise`: never brighter than at
      first;
    - `bool_hasgaps`: a pause of more than `max_gap_days` between two nights with detections;
    - `t_rise`, `t_fall`: days from first detection to peak, and from there to the last;
    - for each band (here g): `ndet_g`, `slope_rise_g`, `slope_rise_sig_g`, `slope_fall_g`, `slope_fall_sig_g`: slope of
      a line through the detections up to the peak (and from it on), weighted with 1/error², and its error; mag/day;
    - for each pair of `colors` (here g-r): `col_det_g_r`, `col_peak_g_r`, `col_last_g_r` and their errors `…_sig`: at
      the first detection, the peak and the last one, from the detections of each band nearest in time, at most
      `max_color_gap_days` away.
    """

    version: ClassVar[str] = "2"
    model_config = ConfigDict(allow_inf_nan=False)

    max_gap_days: float = Field(30.0, gt=0, description="longest pause that is no gap")
    significance: float = Field(1.0, ge=0, description="sigma from which a change of brightness counts")
    max_color_gap_days: float = Field(
        2.0, ge=0, description="longest time between a colour's detections and its moment"
    )
    colors: tuple[tuple[str, str], ...] = Field((("g", "r"), ("r", "i")), description="pairs of bands, blue and red")
    peak_in_main_band: bool = Field(False, description="take the peak of the band that has most detections")

    def fields(self) -> dict[str, str]:
        """Numbers and flags; those of bands and colours end with their names."""
        flags = dict.fromkeys(
            ("bool_pure", "bool_peaked", "bool_rise", "bool_fall", "bool_norise", "bool_hasgaps"), "flag"
        )
        times = ("jd_det", "jd_last", "jd_max", "t_lc", "t_predetect", "t_rise", "t_fall", "ndet", "n_bands")
        mags = ("mag_det", "mag_last", "mag_peak", "mag_ul", "ndet_*", "slope_*", "col_*")
        texts = dict.fromkeys(("band_det", "band_last", "band_peak", "band_ul"), "text")
        return {**flags, **texts, **dict.fromkeys((*times, *mags), "number")}

    def process(self, light_curve: LightCurve, tied: Tied) -> dict[str, Any]:
        """Features of one light curve."""
        detected = light_curve.detections
        seen = detected.where(detected.positive & np.isfinite(detected.mag) & (detected.mag_err > 0))
        if not len(seen):
            return {"ndet": 0, "bool_pure": bool(detected.positive.all())}
        found: dict[str, Any] = {
            "ndet": len(seen),
            "n_bands": len(seen.bands),
            "bool_pure": bool(detected.positive.all()),
            "jd_det": float(seen.jd[0]),
            "jd_last": float(seen.jd[-1]),
            "t_lc": float(seen.jd[-1] - seen.jd[0]),
            "mag_det": float(seen.mag[0]),
            "band_det": str(seen.band[0]),
            "mag_last": float(seen.mag[-1]),
            "band_last": str(seen.band[-1]),
            "bool_hasgaps": bool((np.diff(seen.jd) > self.max_gap_days).any()),
        }
        found |= _predetection(light_curve, float(seen.jd[0]))
        found |= self._peak(seen)
        for band in seen.bands:
            found |= _slopes(band, seen.in_band(band), found["jd_max"])
        for blue, red in self.colors:
            for moment, jd in (("det", found["jd_det"]), ("peak", found["jd_max"]), ("last", found["jd_last"])):
                found |= self._color(f"col_{moment}_{blue}_{red}", seen.in_band(blue), seen.in_band(red), jd)
        return found

    def _peak(self, seen: LightCurve) -> dict[str, Any]:
        bands = seen.bands
        main = max(bands, key=lambda band: (int((seen.band == band).sum()), band)) if self.peak_in_main_band else None
        among = seen if main is None else seen.in_band(main)
        at = int(np.argmin(among.mag))
        jd_max, band = float(among.jd[at]), str(among.band[at])
        # Brightness of different bands is not compared.
        same = seen.in_band(band)
        first, last = _point(same, 0), _point(same, -1)
        peak = float(among.mag[at]), float(among.mag_err[at])
        rise, fall = _sigma(first, peak), _sigma(last, peak)
        return {
            "jd_max": jd_max,
            "mag_peak": peak[0],
            "band_peak": band,
            "t_rise": jd_max - float(seen.jd[0]),
            "t_fall": float(seen.jd[-1]) - jd_max,
            "bool_peaked": bool(seen.jd[0] < jd_max - 0.5 and jd_max + 0.5 < seen.jd[-1]),
            "bool_rise": bool(jd_max > same.jd[0] and rise > self.significance),
            "bool_fall": bool(jd_max < same.jd[-1] and fall > self.significance),
            "bool_norise": bool(rise <= self.significance),
        }

    def _color(self, name: str, blue: LightCurve, red: LightCurve, jd: float) -> dict[str, float | None]:
        nearest = [_nearest(points, jd, self.max_color_gap_days) for points in (blue, red)]
        if nearest[0] is None or nearest[1] is None:
            return {name: None, f"{name}_sig": None}
        (mag_blue, err_blue), (mag_red, err_red) = nearest[0], nearest[1]
        return {name: mag_blue - mag_red, f"{name}_sig": sqrt(err_blue**2 + err_red**2)}


def _point(points: LightCurve, at: int) -> tuple[float, float]:
    return float(points.mag[at]), float(points.mag_err[at])


def _sigma(fainter: Sequence[float], brighter: Sequence[float]) -> float:
    """By how many sigma one is fainter than the other."""
    return (fainter[0] - brighter[0]) / sqrt(fainter[1] ** 2 + brighter[1] ** 2)


def _nearest(points: LightCurve, jd: float, max_gap_days: float) -> tuple[float, float] | None:
    if not len(points):
        return None
    at = int(np.argmin(np.abs(points.jd - jd)))
    return _point(points, at) if abs(float(points.jd[at]) - jd) <= max_gap_days else None


def _predetection(light_curve: LightCurve, jd_det: float) -> dict[str, Any]:
    limits = light_curve.where(light_curve.shows_nothing & (light_curve.jd < jd_det))
    if not len(limits):
        return {"t_predetect": None, "mag_ul": None, "band_ul": None}
    mag = float(limits.mag_limit[-1])
    return {
        "t_predetect": jd_det - float(limits.jd[-1]),
        "mag_ul": mag if isfinite(mag) else None,
        "band_ul": str(limits.band[-1]),
    }


def _slopes(band: str, points: LightCurve, jd_max: float) -> dict[str, Any]:
    found: dict[str, Any] = {f"ndet_{band}": len(points)}
    for name, chosen in (("rise", points.jd <= jd_max), ("fall", points.jd >= jd_max)):
        line = fit_line(points.jd[chosen], points.mag[chosen], points.mag_err[chosen])
        found[f"slope_{name}_{band}"] = line.slope if line else None
        found[f"slope_{name}_sig_{band}"] = line.slope_err if line else None
    return found


def fit_line(x: Floats, y: Floats, y_err: Floats) -> _Line | None:
    """Slope of a straight line by least squares weighted with 1/error², and its error; None without two times.

    Source: Bevington & Robinson, Data Reduction and Error Analysis, 3rd edition, section 6.3.
    """
    if len(x) < 2 or np.ptp(x) <= 0:
        return None
    weight = y_err**-2.0
    total = weight.sum()
    x_mean, y_mean = (weight * x).sum() / total, (weight * y).sum() / total
    spread = (weight * (x - x_mean) ** 2).sum()
    return _Line(float((weight * (x - x_mean) * (y - y_mean)).sum() / spread), float(spread**-0.5))
