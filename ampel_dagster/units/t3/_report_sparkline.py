"""The light curve in a table's row: some hundred bytes of SVG, no axes."""

from collections.abc import Sequence
from math import isfinite

import numpy as np

from ampel_dagster.model.light_curve import Floats, LightCurve
from ampel_dagster.units.t3._report_bands import band_styles
from ampel_dagster.units.t3._report_text import esc

WIDTH, HEIGHT = 150, 40
_PAD = 4
_MOST_POINTS = 120


def sparkline(curve: LightCurve) -> str:
    """Magnitudes against time: dots are detections, dashes negative ones, ticks upper limits."""
    mag = np.where(curve.kind == "upper_limit", curve.mag_limit, curve.mag)
    seen = (curve.kind != "forced") & np.isfinite(mag) & np.isfinite(curve.jd)
    curve, mag = curve.where(seen), mag[seen]
    step = -(-len(curve) // _MOST_POINTS)
    if step > 1:
        # Counted from the end, so that the newest point is always there.
        chosen = np.arange(len(curve))[::-1] % step == 0
        curve, mag = curve.where(chosen), mag[chosen]
    if not len(curve):
        return '<span class="none">no points</span>'
    x, y = _scaled(curve.jd, WIDTH), _scaled(mag, HEIGHT)
    paths = []
    for band, style in band_styles(curve.bands).items():
        mine = curve.band == band
        limit = mine & (curve.kind == "upper_limit")
        up, down = mine & ~limit & curve.positive, mine & ~limit & ~curve.positive
        color = f"var(--band-{style.number})"
        paths += [
            _path(x[limit], y[limit], "v4", f'class="limit" stroke="{color}"'),
            _path(x[down] - 2, y[down], "h4", f'class="dip" stroke="{color}"'),
            _path(x[up], y[up], "h0", f'class="dot" stroke="{color}"'),
        ]
    title = _describe(curve, mag)
    return (
        f'<svg class="spark" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img">'
        f"<title>{esc(title)}</title>{''.join(paths)}</svg>"
    )


def _scaled(values: Floats, size: int) -> Floats:
    """Pixels from small to large; of magnitudes the small ones are on top, as SVG counts downwards."""
    low, span = float(values.min()), float(np.ptp(values))
    if span == 0:
        return np.full(len(values), size / 2)
    scaled: Floats = _PAD + (values - low) / span * (size - 2 * _PAD)
    return scaled


def _path(x: Floats, y: Floats, stroke: str, attributes: str) -> str:
    if not len(x):
        return ""
    moves = "".join(f"M{_short(a)} {_short(b)}{stroke}" for a, b in zip(x.tolist(), y.tolist(), strict=True))
    return f'<path {attributes} d="{moves}"/>'


def _short(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _describe(curve: LightCurve, mag: Floats) -> str:
    found = curve.kind == "detection"
    if not found.any():
        return f"{len(curve)} upper limits, no detection"
    text = f"{int(found.sum())} detections in {_words(curve.where(found).bands)}"
    low, high = float(mag[found].min()), float(mag[found].max())
    return f"{text}, {low:.1f} to {high:.1f} mag" if isfinite(low) else text


def _words(names: Sequence[str]) -> str:
    return ", ".join(names)
