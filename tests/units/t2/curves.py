"""Light curves made of fluxes, for units that fit them."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ampel_dagster.model.light_curve import LightCurve


def flux_curve(
    jd: Sequence[float],
    band: Sequence[str],
    flux_njy: Any,
    flux_err_njy: Any,
    *,
    survey: str = "ztf",
    kind: str = "forced",
) -> LightCurve:
    """Measured fluxes of one object, sorted by time."""
    order = np.argsort(np.asarray(jd), kind="stable")
    flux = np.asarray(flux_njy, dtype=float)[order]
    error = np.broadcast_to(np.asarray(flux_err_njy, dtype=float), flux.shape)[order]
    number = len(order)
    nan = np.full(number, np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        mag = np.where(flux > 0, 31.4 - 2.5 * np.log10(flux), np.nan)
        mag_err = np.where(flux > 0, 1.0857362 * error / flux, np.nan)
    return LightCurve(
        survey=survey,
        stock=1,
        name="made",
        id=np.arange(number, dtype=np.int64),
        jd=np.asarray(jd, dtype=float)[order],
        kind=np.array([kind] * number, dtype="U11"),
        band=np.asarray(band, dtype="U8")[order],
        mag=mag,
        mag_err=mag_err,
        mag_limit=nan,
        flux_njy=flux,
        flux_err_njy=error,
        positive=flux > 0,
        ra_deg=np.full(number, 150.0),
        dec_deg=np.full(number, 20.0),
    )
