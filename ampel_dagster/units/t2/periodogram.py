"""Is it periodic?"""

from typing import Any

import numpy as np
from pydantic import ConfigDict, Field

from ampel_dagster.model.light_curve import LightCurve
from ampel_dagster.units.base import LightCurveUnit, Tied


class Periodogram(LightCurveUnit):
    """Search a period in the magnitudes of all bands at once.

    Source: the multi-band periodogram of VanderPlas & Ivezić 2015, ApJ 812, 18; astropy's code. The result has
    `period_days` and `power` (0 to 1) of the highest peak, `false_alarm_probability` (of the band with most points by
    itself at this period: Baluev 2008, MNRAS 385, 1279, an upper bound), `amplitude_mag` by band (half of the range of
    the fitted sine), `n_points`, `n_bands`, and `peaks`: the `max_peaks` highest, each with period and power. With
    fewer points than `min_points` there is `n_points` alone.
    """

    model_config = ConfigDict(allow_inf_nan=False)

    min_period_days: float = Field(0.1, gt=0, description="shortest period")
    max_period_days: float = Field(100.0, gt=0, description="longest period")
    samples_per_peak: int = Field(5, ge=2, description="frequencies over the width of a peak")
    min_points: int = Field(15, ge=6, description="smallest number of detections in all bands")
    max_frequencies: int = Field(500_000, ge=100, description="more are not tried: min_period_days is raised instead")
    max_peaks: int = Field(3, ge=1, description="how many peaks are listed")

    def fields(self) -> dict[str, str]:
        """Numbers."""
        numbers = ("period_days", "power", "false_alarm_probability", "amplitude_mag.*", "n_points", "n_bands")
        return {"peaks": "list", **dict.fromkeys(numbers, "number")}

    def process(self, light_curve: LightCurve, tied: Tied) -> dict[str, Any]:
        """The search in one light curve."""
        seen = light_curve.detections
        seen = seen.where(np.isfinite(seen.mag) & (seen.mag_err > 0))
        span_days = float(np.ptp(seen.jd)) if len(seen) else 0.0
        if len(seen) < self.min_points or span_days <= self.min_period_days:
            return {"n_points": len(seen)}
        return self._search(seen, span_days)

    def _search(self, seen: LightCurve, span_days: float) -> dict[str, Any]:
        from astropy.timeseries import LombScargle, LombScargleMultiband

        low = 1 / min(self.max_period_days, span_days)
        step = 1 / (self.samples_per_peak * span_days)
        number = min(int((1 / self.min_period_days - low) / step) + 1, self.max_frequencies)
        frequency = low + step * np.arange(number)
        t = seen.jd - seen.jd[0]
        # By band, as the method "fast" has it; the mean of each band is its own.
        multi = LombScargleMultiband(t, seen.mag, seen.band, seen.mag_err)
        power = np.asarray(multi.power(frequency, method="fast", sb_method="auto"))
        peaks = _peaks(power, self.max_peaks)
        best = peaks[0]
        main = max(seen.bands, key=lambda band: (int((seen.band == band).sum()), band))
        one = seen.in_band(main)
        single = LombScargle(one.jd - seen.jd[0], one.mag, one.mag_err)
        height = float(single.power(frequency[best]))
        alarm = single.false_alarm_probability(height, method="baluev", maximum_frequency=float(frequency[-1]))
        return {
            "period_days": float(1 / frequency[best]),
            "power": float(power[best]),
            "false_alarm_probability": float(min(1.0, alarm)),
            "amplitude_mag": {band: _amplitude(seen.in_band(band), seen.jd[0], frequency[best]) for band in seen.bands},
            "n_points": len(seen),
            "n_bands": len(seen.bands),
            "peaks": [{"period_days": float(1 / frequency[n]), "power": float(power[n])} for n in peaks],
        }


def _peaks(power: Any, number: int) -> list[int]:
    """Where the highest local maxima are, the highest first."""
    inner = np.flatnonzero((power[1:-1] >= power[:-2]) & (power[1:-1] > power[2:])) + 1
    candidates = np.unique([*inner, int(np.argmax(power))])
    return [int(n) for n in candidates[np.argsort(power[candidates])[::-1]][:number]]


def _amplitude(points: LightCurve, jd_zero: float, frequency: float) -> float | None:
    """Amplitude of the sine of a frequency that fits a band best; None with too few points."""
    if len(points) < 4:
        return None
    phase = 2 * np.pi * frequency * (points.jd - jd_zero)
    design = np.column_stack([np.ones(len(points)), np.sin(phase), np.cos(phase)]) / points.mag_err[:, None]
    (_, sine, cosine), *_ = np.linalg.lstsq(design, points.mag / points.mag_err, rcond=None)
    return float(np.hypot(sine, cosine))
