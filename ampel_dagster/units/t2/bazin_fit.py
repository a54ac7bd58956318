"""A function that rises and falls like a supernova, fitted to each band."""

from typing import Any

import numpy as np
from pydantic import ConfigDict, Field

from ampel_dagster.model.light_curve import Floats, LightCurve
from ampel_dagster.units.base import LightCurveUnit, Tied

_NAMES = ("amplitude_njy", "t0_jd", "rise_days", "fall_days", "baseline_njy")


class BazinFit(LightCurveUnit):
    """Fit f(t) = A exp(-(t-t0)/t_fall) / (1 + exp(-(t-t0)/t_rise)) + c to the fluxes of each band.

    Source: Bazin et al. 2009, A&A 499, 653, equation 1. All measured fluxes count, forced photometry included. The
    result has by band `amplitude_njy`, `t0_jd`, `rise_days`, `fall_days`, `baseline_njy` and their errors `…_err` (from
    the covariance at the minimum), `peak_jd`, `peak_flux_njy`, `chisq`, `ndof`, `n_points`, `success`. A band with
    fewer points than `min_points` has `n_points` and `success: false` alone.
    """

    model_config = ConfigDict(allow_inf_nan=False)

    min_points: int = Field(7, ge=6, description="smallest number of fluxes of a band")
    max_rise_days: float = Field(100.0, gt=0, description="longest time scale of the rise")
    max_fall_days: float = Field(500.0, gt=0, description="longest time scale of the fall")
    fit_baseline: bool = Field(True, description="fit the constant; false: it is 0")

    def fields(self) -> dict[str, str]:
        """Numbers by band."""
        names = (*_NAMES, *(f"{name}_err" for name in _NAMES), "peak_jd", "peak_flux_njy", "chisq", "ndof", "n_points")
        return {"*.success": "flag", **{f"*.{name}": "number" for name in names}}

    def process(self, light_curve: LightCurve, tied: Tied) -> dict[str, Any]:
        """Fits by band."""
        measured = light_curve.of_kind("detection", "forced")
        measured = measured.where(np.isfinite(measured.flux_njy) & (measured.flux_err_njy > 0))
        return {band: self._fit(measured.in_band(band)) for band in measured.bands}

    def _fit(self, points: LightCurve) -> dict[str, Any]:
        if len(points) < self.min_points:
            return {"n_points": len(points), "success": False}
        from scipy.optimize import least_squares  # takes a third of a second, and few commands fit anything

        zero = float(points.jd[0])
        t, flux, error = points.jd - zero, points.flux_njy, points.flux_err_njy
        scale = float(np.abs(flux).max()) or 1.0
        best = None
        for start in self._starts(t, flux / scale):
            found = least_squares(
                lambda p: (bazin(t, *self._whole(p)) - flux / scale) / (error / scale),
                start,
                bounds=self._bounds(t),
                x_scale="jac",
                max_nfev=2000,
            )
            if found.success and (best is None or found.cost < best.cost):
                best = found
        if best is None:
            return {"n_points": len(points), "success": False}
        return self._described(best, zero, scale, len(points))

    def _whole(self, parameters: Floats) -> tuple[float, ...]:
        amplitude, t0, log_rise, log_fall, *baseline = parameters.tolist()
        return amplitude, t0, float(np.exp(log_rise)), float(np.exp(log_fall)), *(baseline or [0.0])

    def _starts(self, t: Floats, flux: Floats) -> list[list[float]]:
        peak = float(t[int(np.argmax(flux))])
        height = max(float(flux.max()), 1e-3)
        baseline = [0.0] if self.fit_baseline else []
        return [
            [
                1.5 * height,
                peak,
                np.log(min(rise, self.max_rise_days)),
                np.log(min(fall, self.max_fall_days)),
                *baseline,
            ]
            for rise in (2.0, 8.0)
            for fall in (15.0, 60.0)
        ]

    def _bounds(self, t: Floats) -> tuple[list[float], list[float]]:
        low = [0.0, float(t.min()) - 50, np.log(0.05), np.log(0.5)]
        high = [1e3, float(t.max()) + 50, np.log(self.max_rise_days), np.log(self.max_fall_days)]
        return ([*low, -10.0], [*high, 10.0]) if self.fit_baseline else (low, high)

    def _described(self, best: Any, zero: float, scale: float, n_points: int) -> dict[str, Any]:
        amplitude, t0, rise, fall, baseline = self._whole(best.x)
        values = (amplitude * scale, t0 + zero, rise, fall, baseline * scale)
        errors = _errors(best.jac)
        # Of a fitted logarithm the error is a relative one.
        units = (scale, 1.0, rise, fall, scale)
        found: dict[str, Any] = dict(zip(_NAMES, values, strict=True))
        for n, (name, unit) in enumerate(zip(_NAMES, units, strict=True)):
            found[f"{name}_err"] = errors[n] * unit if errors is not None and n < len(errors) else None
        # Where the derivative is zero. None where the fall is faster than the rise: the function has no maximum then.
        peak = t0 + rise * np.log(fall / rise - 1) if fall > rise else None
        top = bazin(np.array([peak]), amplitude, t0, rise, fall, baseline)[0] * scale if peak is not None else None
        found |= {"peak_jd": peak + zero if peak is not None else None, "peak_flux_njy": top}
        return {
            **found,
            "chisq": float(2 * best.cost),
            "ndof": n_points - len(best.x),
            "n_points": n_points,
            "success": True,
        }


def bazin(t: Floats, amplitude: float, t0: float, rise: float, fall: float, baseline: float) -> Floats:
    """The function, at times in days; never overflowing."""
    x = t - t0
    # exp(-x/fall) / (1 + exp(-x/rise)), with the larger exponential taken out.
    exponent = -x / fall - np.logaddexp(0.0, -x / rise)
    value: Floats = amplitude * np.exp(np.clip(exponent, -700, 700)) + baseline
    return value


def _errors(jacobian: Floats) -> list[float] | None:
    try:
        covariance = np.linalg.inv(jacobian.T @ jacobian)
    except np.linalg.LinAlgError:
        return None
    diagonal = np.diag(covariance)
    return np.sqrt(diagonal).tolist() if (diagonal > 0).all() else None
