"""What a light curve says, there at once with the state."""

from collections.abc import Mapping
from math import isfinite
from typing import Any

from ampel_dagster.model.light_curve import LightCurve
from ampel_dagster.units.base import T1Compute


class StateFacts(T1Compute):
    """Count the points of a state, and tell since when the object is seen.

    For selections and reactions that should not wait for T2; `LightCurveSummary` says much more.

    - `n_detections`, `n_negative` (of these fainter than the reference), `n_upper_limits`, `n_forced`, `n_bands` (with
      a detection);
    - `first_jd`, `last_jd`: first and last detection (Julian date); `last_mag`, `last_band` of the last one, and
      `peak_mag` of the brightest;
    - `age_days`: from the first detection to the last;
    - `last_limit_jd`, `last_limit_mag`: the last limit before the first detection (an upper limit, or a forced
      measurement within three errors of zero), and `days_from_limit`: how long before
      it was. An object whose first detection follows closely upon a deep limit is young.

    What cannot be told is None.
    """

    def fields(self) -> Mapping[str, str]:
        """All values are numbers, but for the band."""
        return _FIELDS

    def compute(self, light_curve: LightCurve) -> dict[str, Any]:
        """The facts of one state."""
        found, limits = light_curve.detections, light_curve.upper_limits
        facts: dict[str, Any] = dict.fromkeys(_FIELDS) | {
            "n_detections": len(found),
            "n_negative": int((~found.positive).sum()),
            "n_upper_limits": len(limits),
            "n_forced": int((light_curve.kind == "forced").sum()),
            "n_bands": len(found.bands),
        }
        if not len(found):
            return facts
        first_jd, last_jd = float(found.jd[0]), float(found.jd[-1])
        measured = [float(mag) for mag in found.mag if isfinite(mag)]
        facts |= {
            "first_jd": first_jd,
            "last_jd": last_jd,
            "age_days": last_jd - first_jd,
            "last_mag": float(found.mag[-1]) if isfinite(found.mag[-1]) else None,
            "last_band": str(found.band[-1]),
            "peak_mag": min(measured, default=None),
        }
        unseen = light_curve.non_detections
        before = unseen.where(unseen.jd < first_jd)
        if len(before):
            limit_jd = float(before.jd[-1])
            limit_mag = float(before.mag_limit[-1])
            facts |= {
                "last_limit_jd": limit_jd,
                "last_limit_mag": limit_mag if isfinite(limit_mag) else None,
                "days_from_limit": first_jd - limit_jd,
            }
        return facts


_FIELDS: Mapping[str, str] = {
    **dict.fromkeys(("n_detections", "n_negative", "n_upper_limits", "n_forced", "n_bands"), "number"),
    **dict.fromkeys(("first_jd", "last_jd", "age_days", "last_mag", "peak_mag"), "number"),
    "last_band": "text",
    **dict.fromkeys(("last_limit_jd", "last_limit_mag", "days_from_limit"), "number"),
}
