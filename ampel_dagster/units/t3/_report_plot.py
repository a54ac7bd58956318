"""The light curve as SVG that takes its colours from the page."""

import io
import re
from collections.abc import Mapping
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np

from ampel_dagster.model.light_curve import Floats, LightCurve
from ampel_dagster.units.t3._report_bands import Style, band_styles, themed
from ampel_dagster.units.t3._report_text import esc

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

#: Stand for the page's text colour and hairline while matplotlib draws.
_INK, _LINE = "#010203", "#040506"
_MJD = 2400000.5
#: AB magnitude of one nJy.
_AB_NJY = 31.4
#: From here on points are drawn as an image: thousands of SVG elements make a page slow and large.
_MOST_ELEMENTS = 2000
#: An error bar longer than this would flatten everything else.
_LONGEST_BAR_MAG = 1.0
_MICRO_FROM_NJY = 5e3
#: Where the names of the vertical axes stand: the page shows numbers larger on a small screen.
_LABEL_X = -0.138
_SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "ampel",
    "font.size": 8.0,
    "axes.linewidth": 0.7,
    "axes.formatter.useoffset": False,
    "path.simplify": True,
}
#: Settings belong to the whole process, and drawing holds the interpreter anyway.
_LOCK = Lock()


def light_curve_svg(curve: LightCurve, title: str) -> str:
    """Magnitudes, and below them fluxes where there are any; empty text where there is nothing to draw."""
    import matplotlib  # here: it belongs to an extra

    curve = curve.where(np.isfinite(curve.jd))
    if not _has_values(curve):
        return ""
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    with _LOCK, matplotlib.rc_context(_SETTINGS):
        buffer = io.StringIO()
        _figure(curve).savefig(buffer, format="svg", metadata=nothing)
    return _for_page(buffer.getvalue(), title)


def _has_values(curve: LightCurve) -> bool:
    limits = (curve.kind == "upper_limit") & np.isfinite(curve.mag_limit)
    return bool((np.isfinite(curve.mag) | np.isfinite(curve.flux_njy) | limits).any())


def _figure(curve: LightCurve) -> "Figure":
    from matplotlib.figure import Figure

    with_flux = bool(np.isfinite(curve.flux_njy).any())
    figure = Figure(figsize=(5.8, 4.5 if with_flux else 3.1), facecolor="none")
    figure.subplots_adjust(left=0.14, right=0.97, top=0.9 if with_flux else 0.85, hspace=0.07)
    figure.subplots_adjust(bottom=0.1 if with_flux else 0.15)
    rows = figure.subplots(2 if with_flux else 1, 1, sharex=True, squeeze=False, height_ratios=[3, 2][: 1 + with_flux])
    panels: list[Axes] = [row[0] for row in rows]
    styles = band_styles(curve.bands)
    _draw_magnitudes(panels[0], curve, styles)
    if with_flux:
        _draw_fluxes(panels[1], curve, styles)
    _time_axis(panels, curve)
    for panel in panels:
        _quiet(panel)
        panel.yaxis.set_label_coords(_LABEL_X, 0.5)
    return figure


def _draw_magnitudes(panel: "Axes", curve: LightCurve, styles: Mapping[str, Style]) -> None:
    for band, style in styles.items():
        mine = curve.in_band(band)
        limits = mine.upper_limits
        _limits(panel, limits.jd, limits.mag_limit, style, "limits")
        found = mine.detections
        _points(panel, mine.of_kind("forced"), "mag", style, "forced")
        _points(panel, found.where(~found.positive), "mag", style, "negative")
        _points(panel, found.where(found.positive), "mag", style, "detections")
    panel.set_ylim(*_magnitude_range(curve))
    panel.set_ylabel("difference magnitude [AB]")


def _draw_fluxes(panel: "Axes", curve: LightCurve, styles: Mapping[str, Style]) -> None:
    known = curve.flux_njy[np.isfinite(curve.flux_njy)]
    micro = float(np.abs(known).max()) >= _MICRO_FROM_NJY
    scale = 1e-3 if micro else 1.0
    panel.axhline(0, color=_INK, lw=0.7, alpha=0.6)
    limits = _limits_njy(curve)
    for band, style in styles.items():
        mine = curve.in_band(band)
        _limits(panel, mine.upper_limits.jd, _limits_njy(mine.upper_limits) * scale, style, "limits-flux")
        mine = mine.where(np.isfinite(mine.flux_njy))
        found = mine.detections
        _points(panel, mine.of_kind("forced"), "flux", style, "forced-flux", scale)
        _points(panel, found.where(~found.positive), "flux", style, "negative-flux", scale)
        _points(panel, found.where(found.positive), "flux", style, "flux", scale)
    panel.set_ylim(*(scale * end for end in _flux_range(curve, limits)))
    panel.set_ylabel(f"difference flux [{'µJy' if micro else 'nJy'}]")


def _points(panel: "Axes", curve: LightCurve, quantity: str, style: Style, what: str, scale: float = 1.0) -> None:
    """Points with error bars: hollow where fainter than the reference, small where forced."""
    if not len(curve):
        return
    values, errors = (
        (curve.mag, curve.mag_err) if quantity == "mag" else (curve.flux_njy * scale, curve.flux_err_njy * scale)
    )
    forced, hollow = what.startswith("forced"), what.startswith("negative")
    bars = panel.errorbar(
        curve.jd - _MJD,
        values,
        # An error that is negative, which matplotlib refuses, or infinite says no more than a missing one.
        yerr=np.where((errors > 0) & np.isfinite(errors), errors, np.nan),
        fmt=style.marker,
        ms=2.6 if forced else 5,
        color=style.color,
        mfc="none" if hollow else style.color,
        mew=0.9,
        elinewidth=0.8,
        alpha=0.6 if forced else 1,
        rasterized=len(curve) > _MOST_ELEMENTS,
    )
    bars.lines[0].set_gid(f"{what}-{style.number}")


def _limits(panel: "Axes", jd: Floats, values: Floats, style: Style, what: str) -> None:
    """Upper limits: hollow triangles that point down, also where brighter is higher."""
    panel.plot(
        jd - _MJD,
        values,
        ls="none",
        marker="v",
        ms=4.5,
        mfc="none",
        mec=style.color,
        mew=0.8,
        alpha=0.75,
        gid=f"{what}-{style.number}",
        rasterized=len(jd) > _MOST_ELEMENTS,
    )


def _limits_njy(curve: LightCurve) -> Floats:
    """Upper limits as fluxes (AB, nJy); NaN at other points."""
    limit = np.where(curve.kind == "upper_limit", curve.mag_limit, np.nan)
    flux: Floats = 10 ** (np.clip((_AB_NJY - limit) / 2.5, -30, 30))
    return flux


def _flux_range(curve: LightCurve, limits: Floats) -> tuple[float, float]:
    """What was measured, zero, and the deep half of the limits: a cloudy night would flatten all else."""
    bar = np.where(np.isfinite(curve.flux_err_njy), np.abs(curve.flux_err_njy), 0)
    bar = np.minimum(bar, np.abs(curve.flux_njy))
    known = limits[np.isfinite(limits)]
    ends = np.concatenate(
        (curve.flux_njy - bar, curve.flux_njy + bar, [0.0, *([np.median(known)] if len(known) else [])])
    )
    ends = ends[np.isfinite(ends)]
    low, high = float(ends.min()), float(ends.max())
    margin = 0.06 * (high - low) or 1.0
    return low - margin, high + margin


def _magnitude_range(curve: LightCurve) -> tuple[float, float]:
    """Faint end first: magnitudes grow downwards."""
    bar: Floats = np.clip(np.nan_to_num(curve.mag_err), 0, _LONGEST_BAR_MAG)
    limits = np.where(curve.kind == "upper_limit", curve.mag_limit, np.nan)
    ends = np.concatenate((curve.mag - bar, curve.mag + bar, limits))
    ends = ends[np.isfinite(ends)]
    if not len(ends):
        return 22.0, 16.0
    low, high = float(ends.min()), float(ends.max())
    margin = max(0.06 * (high - low), 0.1)
    return high + margin, low - margin


def _time_axis(panels: "list[Axes]", curve: LightCurve) -> None:
    """MJD below, days since the first detection above."""
    first, last = float(curve.jd.min()) - _MJD, float(curve.jd.max()) - _MJD
    margin = max(0.03 * (last - first), 0.5)
    panels[0].set_xlim(first - margin, last + margin)
    panels[-1].set_xlabel("MJD")
    panels[-1].xaxis.set_major_locator(_locator())
    found = curve.detections.jd
    if not len(found):
        return
    zero = float(found[0]) - _MJD
    above = panels[0].secondary_xaxis(
        "top", functions=(lambda mjd: np.subtract(mjd, zero), lambda day: np.add(day, zero))
    )
    above.xaxis.set_major_locator(_locator())
    above.set_xlabel("days since first detection")
    above.tick_params(colors=_INK, length=3, width=0.7)
    above.xaxis.label.set_color(_INK)
    above.spines["top"].set_visible(False)


def _locator() -> "MaxNLocator":
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(6, steps=[1, 2, 2.5, 5, 10])


def _quiet(panel: "Axes") -> None:
    """Thin lines in the page's colours."""
    panel.set_facecolor("none")
    panel.grid(color=_LINE, lw=0.6)
    panel.set_axisbelow(True)
    panel.tick_params(colors=_INK, length=3, width=0.7)
    for spine in panel.spines.values():
        spine.set_color(_LINE)
    for axis in (panel.xaxis, panel.yaxis):
        axis.label.set_color(_INK)


def _for_page(svg: str, title: str) -> str:
    """Only the element itself, named for screen readers, in the page's colours and font, of any width."""
    svg = svg[svg.index("<svg") :]
    # A style element of an inline SVG would count for the whole page; ours says so for the plot alone.
    svg = re.sub(r"<style.*?</style>", "", svg, count=1, flags=re.DOTALL)
    svg = re.sub(r"font-family: [^;\"]*;? ?", "", svg)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*" height="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r"\n *", "\n", svg)
    head = '<svg class="light-curve" role="img" aria-labelledby="light-curve-title"'
    name = f'<title id="light-curve-title">{esc(title)}</title>'
    opened = svg.index(">") + 1
    svg = head + svg[len("<svg") : opened] + name + svg[opened:]
    return themed(svg.replace(_INK, "currentColor").replace(_LINE, "var(--line)")).rstrip()
