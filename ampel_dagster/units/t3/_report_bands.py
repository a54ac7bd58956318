"""How bands look: colours for all eyes (Okabe & Ito 2008), and a marker each besides."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from ampel_dagster.units.t3._report_facts import ordered_bands

_KNOWN = "ugrizy"


class Style(NamedTuple):
    """Look of one band: `number` names the page's CSS variable `--band-<number>`."""

    number: int
    color: str
    marker: str
    label: str


#: Colours by band index as the plot writes them; the page's variables override them for light and dark.
_COLORS = ("#0072b2", "#009e73", "#d55e00", "#cc79a7", "#e69f00", "#56b4e9", "#777777", "#f0e442")
_MARKERS = ("p", "o", "s", "D", "^", "P", "X", "h")
#: Outlines of matplotlib's markers.
_SHAPES = {
    "o": "M-3.6 0a3.6 3.6 0 1 0 7.2 0a3.6 3.6 0 1 0-7.2 0z",
    "s": "M-3.2-3.2h6.4v6.4h-6.4z",
    "D": "M0-4.2l4.2 4.2l-4.2 4.2l-4.2-4.2z",
    "^": "M0-3.8l3.9 7.2h-7.8z",
    "v": "M0 3.8l3.9-7.2h-7.8z",
    "p": "M0-4l3.8 2.8l-1.45 4.5h-4.7l-1.45-4.5z",
    "h": "M0-4l3.5 2v4l-3.5 2l-3.5-2v-4z",
    "P": "M-1.4-4h2.8v2.6h2.6v2.8h-2.6v2.6h-2.8v-2.6h-2.6v-2.8h2.6z",
    "X": "M0-1.6l2.2-2.2l1.8 1.8l-2.2 2.2l2.2 2.2l-1.8 1.8l-2.2-2.2l-2.2 2.2l-1.8-1.8l2.2-2.2l-2.2-2.2l1.8-1.8z",
}
#: Okabe-Ito where it has a contrast of 3:1 against the page, else the same hue darker or lighter.
LIGHT = ("#0072b2", "#008f68", "#d55e00", "#b95f90", "#a87400", "#2e8bc0", "#5b5b5b", "#8a8200")
DARK = ("#4aa3df", "#1fc196", "#f0803c", "#d98fb8", "#e69f00", "#8fd0f5", "#b9b9b9", "#f0e442")


def band_styles(bands: Sequence[str]) -> dict[str, Style]:
    """A style for each of the bands; the known ones look the same on every page."""
    styles, spare = {}, len(_KNOWN)
    for band in ordered_bands(bands):
        if len(band) == 1 and band in _KNOWN:
            index = _KNOWN.index(band)
        else:
            index, spare = spare % len(_COLORS), spare + 1
        styles[band] = Style(index, _COLORS[index], _MARKERS[index], _label(band))
    return styles


def marker_svg(style: Style | None = None, marker: str = "o", *, hollow: bool = False, small: bool = False) -> str:
    """The sign of a band as the plot draws it, for legends; without a band in the text's colour."""
    color = f"var(--band-{style.number})" if style else "currentColor"
    looks = f'stroke="{color}" fill="{"none" if hollow else color}"'
    shape = _SHAPES[style.marker if style else marker]
    turn = f' transform="scale({0.55 if small else 1})"'
    return f'<svg class="sign" viewBox="-5 -5 10 10" aria-hidden="true"><path {looks}{turn} d="{shape}"/></svg>'


def marker_path(style: Style) -> str:
    """Outline of a band's marker around (0, 0), some 8 units wide."""
    return _SHAPES[style.marker]


def variables(colors: Sequence[str]) -> str:
    """CSS variables of the band colours."""
    return ";".join(f"--band-{index}:{color}" for index, color in enumerate(colors))


def themed(svg: str) -> str:
    """An SVG with the fixed colours replaced by the page's variables."""
    for index, color in enumerate(_COLORS):
        svg = svg.replace(color, f"var(--band-{index})")
    return svg


def _label(band: str) -> str:
    """Names come from alerts; matplotlib reads formulas in labels and hides those with an underscore."""
    return re.sub(r"[^A-Za-z0-9'+.-]", "", band)[:12] or "?"
