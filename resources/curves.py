"""Small light curves for the Dagster UI: a few hundred bytes of SVG each, as images that need no server."""

from base64 import b64encode

import numpy as np

from ampel_dagster.model.light_curve import Floats, LightCurve

WIDTH, HEIGHT, _PAD = 240, 90, 8
#: The UI shows markdown that is shorter than this; of longer one only a link that opens it.
SHOWN_AT_ONCE = 1000
#: How many points are drawn: the largest number for which there is room.
_NUMBERS = (80, 60, 50, 40, 30, 20, 10)
#: Colours that also a colour-blind person can tell apart (Okabe and Ito), as in the report; of other bands: grey.
_COLORS = {"u": "#0072b2", "g": "#008f68", "r": "#d55e00", "i": "#b95f90", "z": "#a87400", "y": "#2e8bc0"}


def curve_image(curve: LightCurve, most_characters: int = SHOWN_AT_ONCE) -> str:
    """Magnitudes against time as a markdown image: dots are detections, ticks upper limits; brighter is higher.

    Of the points the newest are drawn, as many as there is room for.
    """
    mag = np.where(curve.kind == "upper_limit", curve.mag_limit, curve.mag)
    shown = np.flatnonzero((curve.kind != "forced") & np.isfinite(mag))
    image = "no points"
    for number in _NUMBERS:
        newest = shown[-number:]
        image = _image(curve.where(np.isin(np.arange(len(curve)), newest)), mag[newest]) if len(newest) else image
        if len(image) < most_characters:
            break
    return image


def _image(curve: LightCurve, mag: Floats) -> str:
    x, y = _pixels(curve.jd, WIDTH), _pixels(mag, HEIGHT)
    limit, paths = curve.kind == "upper_limit", []
    for band in curve.bands:
        mine, color = curve.band == band, _COLORS.get(band, "#777")
        for what, stroke, width in ((mine & ~limit, "h0", 6), (mine & limit, "v5", 1.5)):
            paths.append(_path(x[what], y[what], stroke, color, width))
    days, low, high = float(np.ptp(curve.jd)), float(mag.min()), float(mag.max())
    size = f'width="{WIDTH}" height="{HEIGHT}"'
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" {size} stroke-linecap="round">{"".join(paths)}</svg>'
    said = f"{len(curve)} points, {days:.1f} days, {low:.2f} to {high:.2f} mag"
    return f"![light curve](data:image/svg+xml;base64,{b64encode(svg.encode()).decode()}) {said}"


def _pixels(values: Floats, size: int) -> Floats:
    low, span = float(values.min()), float(np.ptp(values))
    scaled: Floats = np.full(len(values), size / 2) if span == 0 else _PAD + (values - low) / span * (size - 2 * _PAD)
    return scaled


def _path(x: Floats, y: Floats, stroke: str, color: str, width: float) -> str:
    if not len(x):
        return ""
    moves = "".join(f"M{a:.0f} {b:.0f}{stroke}" for a, b in zip(x.tolist(), y.tolist(), strict=True))
    return f'<path d="{moves}" stroke="{color}" stroke-width="{width:g}"/>'
