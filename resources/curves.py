"""Small light curves for the Dagster UI: a few hundred bytes of SVG each, as images that need no server."""

from base64 import b64encode
from collections.abc import Sequence

import numpy as np

from ampel_dagster.model.light_curve import Floats, LightCurve

WIDTH, HEIGHT, _PAD = 240, 90, 8
#: Points that are drawn, the newest ones: the event log keeps each image.
_MOST_POINTS = 80
#: Colours that also a colour-blind person can tell apart (Okabe and Ito), as in the report; of other bands: grey.
_COLORS = {"u": "#0072b2", "g": "#008f68", "r": "#d55e00", "i": "#b95f90", "z": "#a87400", "y": "#2e8bc0"}


def curve_image(curve: LightCurve) -> str:
    """Magnitudes against time as a markdown image: dots are detections, ticks upper limits; brighter is higher."""
    mag = np.where(curve.kind == "upper_limit", curve.mag_limit, curve.mag)
    shown = np.flatnonzero((curve.kind != "forced") & np.isfinite(mag))[-_MOST_POINTS:]
    if not len(shown):
        return "no points"
    x, y = _pixels(curve.jd[shown], WIDTH), _pixels(mag[shown], HEIGHT)
    paths = []
    for band in curve.bands:
        mine = curve.band[shown] == band
        limit = mine & (curve.kind[shown] == "upper_limit")
        color = _COLORS.get(band, "#777")
        paths += [
            _path(x[mine & ~limit], y[mine & ~limit], "h0", color, 6),
            _path(x[limit], y[limit], "v5", color, 1.5),
        ]
    days, low, high = float(np.ptp(curve.jd[shown])), float(mag[shown].min()), float(mag[shown].max())
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}">{"".join(paths)}</svg>'
    said = f"{len(shown)} points, {days:.1f} days, {low:.2f} to {high:.2f} mag"
    return f"![{said}](data:image/svg+xml;base64,{b64encode(svg.encode()).decode()}) {said}"


def _pixels(values: Floats, size: int) -> Floats:
    low, span = float(values.min()), float(np.ptp(values))
    scaled: Floats = np.full(len(values), size / 2) if span == 0 else _PAD + (values - low) / span * (size - 2 * _PAD)
    return scaled


def _path(x: Floats, y: Floats, stroke: str, color: str, width: float) -> str:
    if not len(x):
        return ""
    moves = "".join(f"M{a:.0f} {b:.0f}{stroke}" for a, b in zip(x.tolist(), y.tolist(), strict=True))
    return f'<path d="{moves}" stroke="{color}" stroke-width="{width}" stroke-linecap="round" fill="none"/>'


def curve_list(curves: Sequence[tuple[str, LightCurve]]) -> str:
    """Light curves, one a paragraph, under names that are plain text."""
    return "\n\n".join(f"{name}: {curve_image(curve)}" for name, curve in curves)
