"""Where the object is: marked in its science stamp, and its detections against each other."""

import warnings
from math import cos, hypot, isfinite, radians, sqrt
from typing import Any, NamedTuple

import numpy as np

from ampel_dagster.model.light_curve import Floats, LightCurve
from ampel_dagster.units.t3._report_bands import band_styles, marker_path
from ampel_dagster.units.t3._report_text import esc

#: Of surveys whose stamps do not say it: arcseconds a pixel (ZTF: Dekany et al. 2020, PASP 132, 038001).
_SCALE_ARCSEC = {"ztf": 1.01}
#: Lengths of the bar, and half widths of the map, in arcseconds.
_NICE = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600)
_MAP = 100
#: Newest detections that are drawn.
_MOST_POINTS = 150
_ARCSEC = 3600.0
#: What a position loses in floating point shall not double the map.
_TOLERANCE = 1.001


class Place(NamedTuple):
    """What is marked in a stamp, in its pixels (counted from 0 at the lower left one's centre)."""

    x: float
    y: float
    #: Arcseconds a pixel; None where nobody says.
    scale_arcsec: float | None
    #: Pixels towards north and east, of length one; None where the stamp does not say.
    north: tuple[float, float] | None = None
    east: tuple[float, float] | None = None


def place_of(header: Any, shape: tuple[int, int], ra_deg: float, dec_deg: float, survey: str) -> Place | None:
    """Where the object is in a stamp with this FITS header; None where it is cut off and cannot be told."""
    from astropy.wcs import WCS  # here: with stamps only

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wcs = WCS(header)
        if wcs.has_celestial:
            step = 1 / _ARCSEC
            sky = [(ra_deg, dec_deg), (ra_deg, dec_deg + step), (ra_deg + step / cos(radians(dec_deg)), dec_deg)]
            (x, y), up, left = (tuple(map(float, pair)) for pair in wcs.celestial.all_world2pix(sky, 0))
            north, n = _unit(up[0] - x, up[1] - y)
            east, _ = _unit(left[0] - x, left[1] - y)
            return Place(x, y, 1 / n, north, east) if n else None
    height, width = shape
    # A stamp at the edge of the image has lost some rows: what is in its middle is not the object.
    return Place((width - 1) / 2, (height - 1) / 2, _SCALE_ARCSEC.get(survey)) if width == height else None


def _unit(x: float, y: float) -> tuple[tuple[float, float], float]:
    length = hypot(x, y)
    return ((x / length, y / length) if length else (0.0, 0.0)), length


def finder_svg(image: str, shape: tuple[int, int], place: Place, name: str) -> str:
    """A stamp (base64 of a PNG, first row on top) with the object marked, a bar, and north and east if known."""
    height, width = shape
    x, y = place.x + 0.5, height - place.y - 0.5
    marks = [f"M{x + 3:.1f} {y:.1f}h6", f"M{x:.1f} {y - 3:.1f}v-6"]
    words, said = [], f"Science stamp of {name}, its position marked"
    if place.scale_arcsec:
        bar = _nice_below(width * place.scale_arcsec / 3)
        marks.append(f"M3 {height - 3}h{bar / place.scale_arcsec:.1f}")
        words.append(_word(3, height - 5, f"{bar:g}″"))
        said += f", {width * place.scale_arcsec:.0f} arcseconds wide"
    if place.north and place.east:
        long = width / 7
        from_x, from_y = width - 1.6 * long, height - 1.6 * long
        for letter, (dx, dy) in (("N", place.north), ("E", place.east)):
            # Rows of a stamp are counted upwards, those of the drawing downwards.
            marks.append(f"M{from_x:.1f} {from_y:.1f}l{dx * long:.1f} {-dy * long:.1f}")
            words.append(_word(from_x + dx * long * 1.3 - 1, from_y - dy * long * 1.3 + 1, letter))
    path = "".join(marks)
    return (
        f'<svg class="finder" viewBox="0 0 {width} {height}" role="img" aria-label="{esc(said)}">'
        f'<image href="data:image/png;base64,{image}" width="{width}" height="{height}"/>'
        f'<path class="under" d="{path}"/><path class="over" d="{path}"/>{"".join(words)}</svg>'
    )


def _word(x: float, y: float, text: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}">{text}</text>'


def _nice_below(arcsec: float) -> float:
    return max((length for length in _NICE if length <= arcsec), default=_NICE[0])


def position_map(curve: LightCurve, ra_deg: float, dec_deg: float) -> str:
    """The detections around the object's position, north up and east to the left; empty where there is none."""
    found = curve.detections
    found = found.where(np.isfinite(found.ra_deg) & np.isfinite(found.dec_deg))
    if not len(found) or not (isfinite(ra_deg) and isfinite(dec_deg)):
        return ""
    east = ((found.ra_deg - ra_deg + 180) % 360 - 180) * cos(radians(dec_deg)) * _ARCSEC
    north = (found.dec_deg - dec_deg) * _ARCSEC
    rms = sqrt(float(np.mean((east - east.mean()) ** 2 + (north - north.mean()) ** 2)))
    farthest = float(np.hypot(east, north).max())
    half = next((size for size in _NICE[2:] if size * _TOLERANCE >= farthest), farthest)
    scale = 0.9 * _MAP / half
    dots = [
        f'<defs><path id="at-{style.number}" d="{marker_path(style)}"/></defs>'
        f'<g fill="var(--band-{style.number})">{_dots(east, north, found.band == band, scale, style.number)}</g>'
        for band, style in band_styles(found.bands).items()
    ]
    number = f"{len(found)} detection{'s' if len(found) > 1 else ''}"
    said = f"{number} within {farthest:.2g} arcseconds of the position, scatter {rms:.2f} arcseconds"
    axes = f"M{-_MAP} 0H{_MAP}M0 {-_MAP}V{_MAP}"
    words = '<text x="3" y="-90">N</text><text x="-99" y="-4">E</text>'
    words += f'<text x="97" y="97" text-anchor="end">{half:g}″ circle</text>'
    svg = (
        f'<svg class="map" viewBox="{-_MAP} {-_MAP} {2 * _MAP} {2 * _MAP}" role="img" aria-label="{esc(said)}">'
        f'<path class="axes" d="{axes}"/><circle r="{0.9 * _MAP:g}"/><circle r="{0.45 * _MAP:g}"/>{words}'
        f"{''.join(dots)}</svg>"
    )
    caption = f"{number}, scatter {rms:.2f}″ (rms); the centre is the position above"
    return f"<figure>{svg}<figcaption>{caption}</figcaption></figure>"


def _dots(east: Floats, north: Floats, mine: Any, scale: float, number: int) -> str:
    places = list(zip(east[mine].tolist(), north[mine].tolist(), strict=True))
    return "".join(
        f'<use href="#at-{number}" x="{-e * scale:.1f}" y="{-n * scale:.1f}"/>' for e, n in places[-_MOST_POINTS:]
    )
