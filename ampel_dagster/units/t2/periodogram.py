"""Is it periodic?"""

from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field

from ampel_dagster.model.light_curve import Floats, LightCurve
from ampel_dagster.units.base import LightCurveUnit, Tied

#: A sine and a mean go through three points whatever the period: such a band would say that each is perfect.
_LEAST_IN_BAND = 5


class _Series(NamedTuple):
    """Brightness over time, in whichever unit."""

    jd: Floats
    band: NDArray[np.str_]
    value: Floats
    error: Floats

    def where(self, mask: NDArray[np.bool_]) -> "_Series":
        """The points for which `mask` holds."""
        return _Series(self.jd[mask], self.band[mask], self.value[mask], self.error[mask])


class Periodogram(LightCurveUnit):
    """Search a period in the brightness of all bands with five points or more at once.

    Source: the multi-band periodogram of VanderPlas & Ivezić 2015, ApJ 812, 18; astropy's code. Fluxes have their sign:
    a star that varies about its brightness in the reference image goes below zero. Magnitudes (``domain: mag``) have
    none, hence only detections brighter than the reference count there; forced photometry counts among fluxes.

    The result has `period_days` and `power` (0 to 1) of the highest peak, `false_alarm_probability` (of the band with
    most points by itself at this period: Baluev 2008, MNRAS 385, 1279, an upper bound), by band `amplitude_njy` or
    `amplitude_mag` (half of the range of the fitted sine), `n_points`, `n_bands`, and `peaks`: the `max_peaks` highest,
    each with period and power. With fewer points than `min_points` there is `n_points` alone.
    """

    model_config = ConfigDict(allow_inf_nan=False)
    version: ClassVar[str] = "2"

    domain: Literal["flux", "mag"] = Field("flux", description="difference fluxes in nJy, or their magnitudes")
    min_period_days: float = Field(0.1, gt=0, description="shortest period")
    max_period_days: float = Field(100.0, gt=0, description="longest period")
    samples_per_peak: int = Field(5, ge=2, description="frequencies over the width of a peak")
    min_points: int = Field(15, ge=6, description="smallest number of points in these bands")
    max_frequencies: int = Field(500_000, ge=100, description="more are not tried: min_period_days is raised instead")
    max_peaks: int = Field(3, ge=1, description="how many peaks are listed")

    def fields(self) -> dict[str, str]:
        """Numbers."""
        numbers = ("period_days", "power", "false_alarm_probability", f"{self._amplitude}.*", "n_points", "n_bands")
        return {"peaks": "list", **dict.fromkeys(numbers, "number")}

    def process(self, light_curve: LightCurve, tied: Tied) -> dict[str, Any]:
        """The search in one light curve."""
        seen = self._seen(light_curve)
        span_days = float(np.ptp(seen.jd)) if len(seen.jd) else 0.0
        if len(seen.jd) < self.min_points or span_days <= self.min_period_days:
            return {"n_points": len(seen.jd)}
        return self._search(seen, span_days)

    @property
    def _amplitude(self) -> str:
        return "amplitude_njy" if self.domain == "flux" else "amplitude_mag"

    def _seen(self, light_curve: LightCurve) -> _Series:
        if self.domain == "flux":
            points = light_curve.of_kind("detection", "forced")
            seen = _Series(points.jd, points.band, points.flux_njy, points.flux_err_njy)
        else:
            points = light_curve.detections
            points = points.where(points.positive)
            seen = _Series(points.jd, points.band, points.mag, points.mag_err)
        seen = seen.where(np.isfinite(seen.value) & (seen.error > 0))
        bands, number = np.unique(seen.band, return_counts=True)
        return seen.where(np.isin(seen.band, bands[number >= _LEAST_IN_BAND]))

    def _search(self, seen: _Series, span_days: float) -> dict[str, Any]:
        from astropy.timeseries import LombScargle, LombScargleMultiband

        low = 1 / min(self.max_period_days, span_days)
        step = 1 / (self.samples_per_peak * span_days)
        number = min(int((1 / self.min_period_days - low) / step) + 1, self.max_frequencies)
        frequency = low + step * np.arange(number)
        t = seen.jd - seen.jd[0]
        # By band, as the method "fast" has it; the mean of each band is its own.
        multi = LombScargleMultiband(t, seen.value, seen.band, seen.error)
        power = np.asarray(multi.power(frequency, method="fast", sb_method="auto"))
        peaks = _peaks(power, self.max_peaks)
        best = peaks[0]
        by_band = {str(band): seen.where(seen.band == band) for band in np.unique(seen.band)}
        one = max(by_band.values(), key=lambda series: (len(series.jd), str(series.band[0])))
        single = LombScargle(one.jd - seen.jd[0], one.value, one.error)
        height = float(single.power(frequency[best]))
        alarm = single.false_alarm_probability(height, method="baluev", maximum_frequency=float(frequency[-1]))
        return {
            "period_days": float(1 / frequency[best]),
            "power": float(power[best]),
            "false_alarm_probability": float(min(1.0, alarm)),
            self._amplitude: {band: _amplitude(one, seen.jd[0], frequency[best]) for band, one in by_band.items()},
            "n_points": len(seen.jd),
            "n_bands": len(by_band),
            "peaks": [{"period_days": float(1 / frequency[n]), "power": float(power[n])} for n in peaks],
        }


def _peaks(power: Any, number: int) -> list[int]:
    """Where the highest local maxima are, the highest first."""
    inner = np.flatnonzero((power[1:-1] >= power[:-2]) & (power[1:-1] > power[2:])) + 1
    candidates = np.unique([*inner, int(np.argmax(power))])
    return [int(n) for n in candidates[np.argsort(power[candidates])[::-1]][:number]]


def _amplitude(points: _Series, jd_zero: float, frequency: float) -> float:
    """Amplitude of the sine of a frequency that fits a band best."""
    phase = 2 * np.pi * frequency * (points.jd - jd_zero)
    design = np.column_stack([np.ones(len(phase)), np.sin(phase), np.cos(phase)]) / points.error[:, None]
    (_, sine, cosine), *_ = np.linalg.lstsq(design, points.value / points.error, rcond=None)
    return float(np.hypot(sine, cosine))
