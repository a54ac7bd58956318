"""Features of light curves, as catalogues of variable objects have them."""

from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import ConfigDict, Field

from ampel_dagster.model.light_curve import LightCurve
from ampel_dagster.units.base import LightCurveUnit, Tied

_INSTALL = "pip install 'ampel-dagster[features]'"


class LightCurveFeatures(LightCurveUnit):
    """Compute features of each band by the package `light-curve` (Malanchev et al. 2021, MNRAS 502, 5147).

    The package is under the GPL and no part of a plain installation. Features are computed on the detections of a
    band: on magnitudes, or on fluxes in nJy (then with forced photometry). Magnitudes know no sign: those of detections
    that are fainter than the reference count only if `only_positive` is false. The result has for each band with enough
    points a dict of the features under the package's names, and `n_points`; others have `n_points` alone. A feature
    that cannot be computed is None.
    """

    model_config = ConfigDict(allow_inf_nan=False)
    version: ClassVar[str] = "2"

    features: tuple[str, ...] = Field(
        (
            *("Amplitude", "BeyondNStd", "EtaE", "InterPercentileRange", "Kurtosis", "LinearFit", "MaximumSlope"),
            *("Median", "PercentAmplitude", "ReducedChi2", "Skew", "StandardDeviation", "StetsonK", "WeightedMean"),
        ),
        min_length=1,
        description="extractors of the package, by the names of their classes",
    )
    domain: Literal["mag", "flux"] = Field("mag", description="magnitudes, or fluxes in nJy")
    only_positive: bool = Field(True, description="leave out magnitudes of detections fainter than the reference")
    min_points: int = Field(5, ge=4, description="smallest number of points of a band")

    def prepare(self, folder: Path) -> "LightCurveFeatures":
        """Check that the package is there and knows the features."""
        try:
            import light_curve
        except ImportError:
            raise ValueError(f"the package light-curve is not installed; {_INSTALL}") from None
        wrong = [name for name in self.features if not isinstance(getattr(light_curve, name, None), type)]
        if wrong:
            raise ValueError(f"the package light-curve has no feature {wrong[0]}; see its documentation")
        return self

    def fields(self) -> dict[str, str]:
        """Numbers by band and feature."""
        return {"*.*": "number"}

    def process(self, light_curve: LightCurve, tied: Tied) -> dict[str, Any]:
        """Features by band."""
        chosen = light_curve.detections if self.domain == "mag" else light_curve.of_kind("detection", "forced")
        if self.domain == "mag" and self.only_positive:
            chosen = chosen.where(chosen.positive)
        return {band: self._of_band(chosen.in_band(band)) for band in chosen.bands}

    def _of_band(self, points: LightCurve) -> dict[str, Any]:
        value, error = (points.mag, points.mag_err) if self.domain == "mag" else (points.flux_njy, points.flux_err_njy)
        good = np.isfinite(value) & (error > 0)
        # Two points of one moment are one to the extractors, which want time to go on.
        jd, first = np.unique(points.jd[good], return_index=True)
        if len(jd) < self.min_points:
            return {"n_points": len(jd)}
        extractor = _extractor(self.features)
        found = extractor(jd - jd[0], value[good][first], error[good][first], fill_value=np.nan, check=False)
        return {"n_points": len(jd), **dict(zip(extractor.names, found.tolist(), strict=True))}


@lru_cache(maxsize=16)
def _extractor(features: tuple[str, ...]) -> Any:
    import light_curve

    return light_curve.Extractor(*(getattr(light_curve, name)() for name in features))
