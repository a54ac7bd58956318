"""The last limits before an object was seen."""

from typing import Any, ClassVar

from pydantic import ConfigDict, Field

from ampel_dagster.model.light_curve import LightCurve
from ampel_dagster.units.base import LightCurveUnit, Tied


class LastLimit(LightCurveUnit):
    """Tell the last limit before the first detection, in any band and in each one.

    Limits are upper limits, and forced measurements within three errors of zero, with their depth of five sigma.

    The result has `jd`, `mag_limit`, `band`, `days_before` (the first detection) and `rise_mag` (limit minus the first
    detection's magnitude, if of the same band), and `bands`: by band the same. Without a limit all are None.
    """

    version: ClassVar[str] = "2"
    model_config = ConfigDict(allow_inf_nan=False)

    only_positive: bool = Field(True, description="detections that are fainter than the reference don't count")
    min_limit_mag: float | None = Field(None, description="limits that are less deep don't count")

    def fields(self) -> dict[str, str]:
        """Numbers and the band's name."""
        numbers = ("jd", "mag_limit", "days_before", "rise_mag", "first_jd")
        return {"band": "text", "bands.*": "", **dict.fromkeys(numbers, "number")}

    def process(self, light_curve: LightCurve, tied: Tied) -> dict[str, Any]:
        """The limits of one light curve."""
        seen = light_curve.detections
        if self.only_positive:
            seen = seen.where(seen.positive)
        if not len(seen):
            return {**_NOTHING, "first_jd": None, "bands": {}}
        first_jd = float(seen.jd[0])
        limits = light_curve.non_detections
        limits = limits.where(limits.jd < first_jd)
        if self.min_limit_mag is not None:
            limits = limits.where(limits.mag_limit >= self.min_limit_mag)
        bands = {band: _last(limits.in_band(band), seen, first_jd) for band in limits.bands}
        return {**_last(limits, seen, first_jd), "first_jd": first_jd, "bands": bands}


_NOTHING: dict[str, Any] = dict.fromkeys(("jd", "mag_limit", "band", "days_before", "rise_mag"))


def _last(limits: LightCurve, seen: LightCurve, first_jd: float) -> dict[str, Any]:
    if not len(limits):
        return dict(_NOTHING)
    jd, depth, band = float(limits.jd[-1]), float(limits.mag_limit[-1]), str(limits.band[-1])
    same = seen.in_band(band)
    rise_mag = depth - float(same.mag[0]) if len(same) else None
    return {"jd": jd, "mag_limit": depth, "band": band, "days_before": first_jd - jd, "rise_mag": rise_mag}
