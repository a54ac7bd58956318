"""How colours change with time."""

from itertools import pairwise
from typing import Any

import numpy as np
from pydantic import ConfigDict, Field

from ampel_dagster.model.light_curve import Floats, LightCurve
from ampel_dagster.units.base import LightCurveUnit, Tied
from ampel_dagster.units.t2.rise_decline import fit_line

_SPECTRUM = "ugrizy"


class ColorEvolution(LightCurveUnit):
    """Tell the colours of an object over time, and whether it becomes redder.

    A colour is made of each detection in the blue band and the detection in the red one that is nearest in time, at
    most `max_gap_days` away. For each pair of neighbouring bands (here g and r) the result has `g_r`: `n`, `first`,
    `last`, `mean` (weighted with 1/error²), `jd`, `color`, `color_err` (lists), and `slope_mag_per_day`, `slope_err`:
    positive where the object becomes redder (None without two times).
    """

    model_config = ConfigDict(allow_inf_nan=False)

    max_gap_days: float = Field(1.0, ge=0, description="longest time between the two detections of a colour")
    only_positive: bool = Field(True, description="detections that are fainter than the reference don't count")

    def fields(self) -> dict[str, str]:
        """By pair of bands."""
        numbers = ("n", "first", "last", "mean", "slope_mag_per_day", "slope_err")
        lists = {f"*.{name}": "list" for name in ("jd", "color", "color_err")}
        return {**{f"*.{name}": "number" for name in numbers}, **lists}

    def process(self, light_curve: LightCurve, tied: Tied) -> dict[str, Any]:
        """Colours by pair of bands."""
        seen = light_curve.detections
        good = np.isfinite(seen.mag) & (seen.mag_err > 0)
        seen = seen.where(good & seen.positive if self.only_positive else good)
        bands = [band for band in _SPECTRUM if band in seen.bands]
        found = {}
        for blue, red in pairwise(bands):
            jd, color, color_err = self._pairs(seen.in_band(blue), seen.in_band(red))
            if len(jd):
                found[f"{blue}_{red}"] = _described(jd, color, color_err)
        return found

    def _pairs(self, blue: LightCurve, red: LightCurve) -> tuple[Floats, Floats, Floats]:
        """Times, colours and errors."""
        nearest = np.abs(red.jd[None, :] - blue.jd[:, None]).argmin(axis=1)
        close = np.abs(red.jd[nearest] - blue.jd) <= self.max_gap_days
        nearest = nearest[close]
        jd = (blue.jd[close] + red.jd[nearest]) / 2
        return jd, blue.mag[close] - red.mag[nearest], np.hypot(blue.mag_err[close], red.mag_err[nearest])


def _described(jd: Floats, color: Floats, color_err: Floats) -> dict[str, Any]:
    line = fit_line(jd, color, color_err)
    return {
        "n": len(jd),
        "first": float(color[0]),
        "last": float(color[-1]),
        "mean": float(np.average(color, weights=color_err**-2.0)),
        "slope_mag_per_day": line.slope if line else None,
        "slope_err": line.slope_err if line else None,
        "jd": jd.tolist(),
        "color": color.tolist(),
        "color_err": color_err.tolist(),
    }
