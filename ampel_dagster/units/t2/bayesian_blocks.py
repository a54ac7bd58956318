"""When did the brightness change?"""

from typing import Any

import numpy as np
from pydantic import ConfigDict, Field

from ampel_dagster.model.light_curve import LightCurve
from ampel_dagster.units.base import LightCurveUnit, Tied


class BayesianBlocks(LightCurveUnit):
    """Cut the fluxes of each band into blocks of constant brightness.

    Source: Scargle et al. 2013, ApJ 764, 167; astropy's code. The result has by band `n_points`, `n_blocks`, `edges_jd`
    (one more than blocks), `flux_njy` and `flux_err_njy` of the blocks (weighted means), `n_in_block`, and the excess:
    `baseline_njy` (the faintest block of at least `min_baseline_points`), `max_excess_njy` and `max_excess_sigma` of
    the brightest block over it. A band with fewer points than `min_points` has `n_points` alone.
    """

    model_config = ConfigDict(allow_inf_nan=False)

    p0: float = Field(0.01, gt=0, lt=1, description="probability of a false change")
    min_points: int = Field(5, ge=3, description="smallest number of fluxes of a band")
    min_baseline_points: int = Field(2, ge=1, description="points that a baseline rests on")

    def fields(self) -> dict[str, str]:
        """By band."""
        numbers = ("n_points", "n_blocks", "baseline_njy", "max_excess_njy", "max_excess_sigma")
        lists = ("edges_jd", "flux_njy", "flux_err_njy", "n_in_block")
        return {**{f"*.{name}": "number" for name in numbers}, **{f"*.{name}": "list" for name in lists}}

    def process(self, light_curve: LightCurve, tied: Tied) -> dict[str, Any]:
        """Blocks by band."""
        measured = light_curve.of_kind("detection", "forced")
        measured = measured.where(np.isfinite(measured.flux_njy) & (measured.flux_err_njy > 0))
        return {band: self._blocks(measured.in_band(band)) for band in measured.bands}

    def _blocks(self, points: LightCurve) -> dict[str, Any]:
        from astropy.stats import bayesian_blocks

        jd, first = np.unique(points.jd, return_index=True)
        if len(jd) < self.min_points:
            return {"n_points": len(jd)}
        flux, error = points.flux_njy[first], points.flux_err_njy[first]
        edges = bayesian_blocks(jd, flux, error, fitness="measures", p0=self.p0)
        owner = np.clip(np.searchsorted(edges, jd, side="right") - 1, 0, len(edges) - 2)
        weight = error**-2.0
        total = np.bincount(owner, weight, len(edges) - 1)
        number = np.bincount(owner, minlength=len(edges) - 1)
        mean = np.bincount(owner, weight * flux, len(edges) - 1) / total
        mean_err = total**-0.5
        steady = np.flatnonzero(number >= self.min_baseline_points)
        found: dict[str, Any] = {"baseline_njy": None, "max_excess_njy": None, "max_excess_sigma": None}
        if len(steady):
            low, high = steady[np.argmin(mean[steady])], int(np.argmax(mean))
            excess = float(mean[high] - mean[low])
            sigma = excess / float(np.hypot(mean_err[high], mean_err[low])) if high != low else 0.0
            found = {"baseline_njy": float(mean[low]), "max_excess_njy": excess, "max_excess_sigma": sigma}
        return {
            "n_points": len(jd),
            "n_blocks": len(edges) - 1,
            "edges_jd": edges.tolist(),
            "flux_njy": mean.tolist(),
            "flux_err_njy": mean_err.tolist(),
            "n_in_block": number.tolist(),
            **found,
        }
