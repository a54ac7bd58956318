"""Where an object is."""

from itertools import pairwise

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ampel_dagster.model.light_curve import LightCurve


def mean_position(light_curve: LightCurve) -> tuple[float, float] | None:
    """(ra, dec) in degrees: the mean of the detections, or of all points where no detection has a position.

    None if nothing has a position. The mean is taken over unit vectors, so that it is right at ra 0 and at the poles.
    """
    return mean_of(light_curve.ra_deg, light_curve.dec_deg, light_curve.kind == "detection")


def mean_positions(points: pd.DataFrame, curves: int) -> list[tuple[float, float] | None]:
    """The same of each of many light curves, as `process_batch` gets them."""
    bounds = np.searchsorted(points["curve"].to_numpy(), np.arange(curves + 1))
    ra_deg, dec_deg = points["ra_deg"].to_numpy(), points["dec_deg"].to_numpy()
    detection = (points["kind"] == "detection").to_numpy()
    return [mean_of(ra_deg[low:high], dec_deg[low:high], detection[low:high]) for low, high in pairwise(bounds)]


def mean_of(
    ra_deg: NDArray[np.float64], dec_deg: NDArray[np.float64], detection: NDArray[np.bool_]
) -> tuple[float, float] | None:
    """The mean position of points."""
    known = np.isfinite(ra_deg) & np.isfinite(dec_deg)
    detected = known & detection
    use = detected if detected.any() else known
    if not use.any():
        return None
    ra, dec = np.radians(ra_deg[use]), np.radians(dec_deg[use])
    x, y = (np.cos(dec) * np.cos(ra)).mean(), (np.cos(dec) * np.sin(ra)).mean()
    z = np.sin(dec).mean()
    # The outer modulo: a tiny negative angle modulo 360 is rounded to 360 itself.
    return float(np.degrees(np.arctan2(y, x))) % 360.0 % 360.0, float(np.degrees(np.arctan2(z, np.hypot(x, y))))
