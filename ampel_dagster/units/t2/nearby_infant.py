"""Is this a young transient in a galaxy nearby?"""

from typing import Any, ClassVar

import numpy as np
from pydantic import ConfigDict, Field

from ampel_dagster.model.light_curve import LightCurve
from ampel_dagster.model.result import UnitResult
from ampel_dagster.units.base import LightCurveUnit, Tied
from ampel_dagster.units.t2._cosmology import distance_modulus, kpc_per_arcsec

_Cut = tuple[str, float | None, float | None, float | None]


class NearbyInfant(LightCurveUnit):
    """Judge whether an object is young and near: close to a galaxy of small redshift, and not seen for long.

    The questions are those of AMPEL's `T2InfantCatalogEval`. Redshift and distance to the galaxy come from a
    `RedshiftDigest`; the cosmology is Planck 2018. The result has what was found (`z`, `distance_arcsec`,
    `distance_kpc`, `abs_mag_peak`, `abs_mag_first`, `age_days`, `ndet`, `days_since_limit`, `color`), `passed`,
    and `failed`: names of the cuts that were not passed. A cut whose value is unknown is not passed. The limit is an
    upper limit, or a forced measurement within three errors of zero. An object that passes has code 1 and the tag
    INFANT.
    """

    version: ClassVar[str] = "2"
    model_config = ConfigDict(allow_inf_nan=False)
    requires: ClassVar[tuple[str, ...]] = ("RedshiftDigest",)

    min_z: float = Field(0.001, description="smallest redshift")
    max_z: float = Field(0.05, description="largest redshift")
    max_distance_arcsec: float = Field(30.0, gt=0, description="largest distance from the galaxy on the sky")
    max_distance_kpc: float | None = Field(None, gt=0, description="the same in kpc at the galaxy's redshift")
    max_age_days: float = Field(3.0, ge=0, description="longest time from first to last detection")
    max_days_since_limit: float | None = Field(
        None, gt=0, description="longest time from the last limit before the first detection to that detection"
    )
    min_ndet: int = Field(1, ge=1, description="smallest number of positive detections")
    max_ndet: int | None = Field(None, ge=1, description="largest number of positive detections")
    max_abs_mag: float | None = Field(-12.0, description="faintest absolute magnitude at peak")
    min_abs_mag: float | None = Field(-17.0, description="brightest absolute magnitude at peak")
    color_bands: tuple[str, str] = Field(("g", "r"), description="bands of the colour, blue minus red")
    min_color: float | None = Field(None, description="bluest colour")
    max_color: float | None = Field(None, description="reddest colour")

    def fields(self) -> dict[str, str]:
        """Numbers, a flag, and the names of cuts."""
        numbers = ("z", "distance_arcsec", "distance_kpc", "abs_mag_peak", "abs_mag_first", "age_days", "ndet")
        more = ("days_since_limit", "color")
        return {"passed": "flag", "failed": "list", **dict.fromkeys((*numbers, *more), "number")}

    def process(self, light_curve: LightCurve, tied: Tied) -> UnitResult:
        """The judgement on one state of an object."""
        digest = tied["RedshiftDigest"]
        z, distance_arcsec = digest.get("z"), digest.get("distance_arcsec")
        seen = light_curve.where(
            (light_curve.kind == "detection") & light_curve.positive & np.isfinite(light_curve.mag)
        )
        found: dict[str, Any] = {"z": z, "distance_arcsec": distance_arcsec, "ndet": len(seen)}
        near = z is not None and z > 0
        found["distance_kpc"] = distance_arcsec * kpc_per_arcsec(z) if near and distance_arcsec is not None else None
        modulus = distance_modulus(z) if near else None
        found["abs_mag_peak"] = float(seen.mag.min()) - modulus if modulus is not None and len(seen) else None
        found["abs_mag_first"] = float(seen.mag[0]) - modulus if modulus is not None and len(seen) else None
        found["age_days"] = float(seen.jd[-1] - seen.jd[0]) if len(seen) else None
        found["days_since_limit"] = _days_since_limit(light_curve, seen)
        found["color"] = self._color(seen)
        failed = [name for name, value, low, high in self._cuts(found) if not _within(value, low, high)]
        result = {**found, "passed": not failed, "failed": failed}
        return UnitResult(result) if failed else UnitResult(result, code=1, tags=("INFANT",))

    def _cuts(self, found: dict[str, Any]) -> list[_Cut]:
        cuts: list[_Cut] = [
            ("z", found["z"], self.min_z, self.max_z),
            ("distance_arcsec", found["distance_arcsec"], None, self.max_distance_arcsec),
            ("age_days", found["age_days"], None, self.max_age_days),
            ("ndet", found["ndet"], self.min_ndet, self.max_ndet),
        ]
        optional: list[_Cut] = [
            ("distance_kpc", found["distance_kpc"], None, self.max_distance_kpc),
            ("days_since_limit", found["days_since_limit"], None, self.max_days_since_limit),
            ("abs_mag_peak", found["abs_mag_peak"], self.min_abs_mag, self.max_abs_mag),
            ("color", found["color"], self.min_color, self.max_color),
        ]
        return cuts + [cut for cut in optional if cut[2] is not None or cut[3] is not None]

    def _color(self, seen: LightCurve) -> float | None:
        """Latest blue minus latest red magnitude."""
        blue, red = (seen.in_band(band) for band in self.color_bands)
        return float(blue.mag[-1] - red.mag[-1]) if len(blue) and len(red) else None


def _within(value: float | None, low: float | None, high: float | None) -> bool:
    if value is None:
        return False
    return (low is None or value >= low) and (high is None or value <= high)


def _days_since_limit(light_curve: LightCurve, seen: LightCurve) -> float | None:
    """Days from the last limit before the first detection to that detection."""
    if not len(seen):
        return None
    before = light_curve.jd[light_curve.shows_nothing & (light_curve.jd < seen.jd[0])]
    return float(seen.jd[0] - before[-1]) if len(before) else None
