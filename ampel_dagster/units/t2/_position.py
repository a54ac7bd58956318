"""Where an object is."""

import numpy as np

from ampel_dagster.model.light_curve import LightCurve


def mean_position(light_curve: LightCurve) -> tuple[float, float] | None:
    """(ra, dec) in degrees: the mean of the detections, or of all points where no detection has a position.

    None if nothing has a position. The mean is taken over unit vectors, so that it is right at ra 0 and at the poles.
    """
    known = np.isfinite(light_curve.ra_deg) & np.isfinite(light_curve.dec_deg)
    detected = known & (light_curve.kind == "detection")
    use = detected if detected.any() else known
    if not use.any():
        return None
    ra, dec = np.radians(light_curve.ra_deg[use]), np.radians(light_curve.dec_deg[use])
    x, y = (np.cos(dec) * np.cos(ra)).mean(), (np.cos(dec) * np.sin(ra)).mean()
    z = np.sin(dec).mean()
    # The outer modulo: a tiny negative angle modulo 360 is rounded to 360 itself.
    ra_deg = float(np.degrees(np.arctan2(y, x))) % 360.0 % 360.0
    return ra_deg, float(np.degrees(np.arctan2(z, np.hypot(x, y))))
