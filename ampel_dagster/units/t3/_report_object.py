"""The page of one object: facts at a glance, light curve, stamps, results, and where all of it is from."""

from collections.abc import Sequence
from itertools import islice
from math import isfinite

from ampel_dagster.model.light_curve import LightCurve
from ampel_dagster.model.result import T2Result
from ampel_dagster.model.view import ReactionContext, TransientView
from ampel_dagster.units.t3._report_bands import Style, band_styles, marker_svg
from ampel_dagster.units.t3._report_cutouts import cutout_figures, finder_figure
from ampel_dagster.units.t3._report_facts import BandFacts, Colour, Facts
from ampel_dagster.units.t3._report_finder import position_map
from ampel_dagster.units.t3._report_plot import light_curve_svg
from ampel_dagster.units.t3._report_provenance import provenance
from ampel_dagster.units.t3._report_sky import galactic, sexagesimal, sky_links
from ampel_dagster.units.t3._report_style import page
from ampel_dagster.units.t3._report_text import (
    breakable,
    cell,
    date,
    days,
    esc,
    flat,
    magnitude,
    number,
    table,
    terms,
    value_cell,
)

_MOST_VALUES = 200
#: Values of a result that are seen without opening the rest.
_AT_ONCE = 16
_MOST_POINTS = 500
_MJD = 2400000.5


def object_page(
    view: TransientView,
    facts: Facts,
    context: ReactionContext,
    columns: Sequence[str],
    neighbours: tuple[str | None, str | None] | None,
    *,
    cutouts: bool,
) -> str:
    """The page as HTML; `neighbours` are the files of the objects before and after it, None: it stands alone."""
    curve = view.light_curve
    cards = terms(_fact_cards(facts), "facts") + _highlights(view, columns)
    aside = f"<aside>{_stamps(view, cutouts)}{_bands(facts)}</aside>"
    body = "\n".join(
        (
            _navigation(context, neighbours),
            f"<header>{_heading(view)}{cards}</header>",
            f'<main><div class="main">{_plot(view, curve)}{aside}</div>',
            _results(view),
            _photometry(curve),
            f"{provenance(view, context)}</main>",
        )
    )
    return page(f"{view.name}, {context.channel} {context.night}", body)


def _navigation(context: ReactionContext, neighbours: tuple[str | None, str | None] | None) -> str:
    if neighbours is None:
        return f'<p class="muted">As channel {esc(context.channel)} saw it in the night {esc(context.night)}</p>'
    links = [f'<a href="../index.html">All objects of {esc(context.channel)}, {esc(context.night)}</a>']
    for file, word in zip(neighbours, ("← previous", "next →"), strict=True):
        if file:
            links.append(f'<a href="{esc(file)}">{word}</a>')
    return f'<nav aria-label="Objects">{"".join(links)}</nav>'


def _heading(view: TransientView) -> str:
    ra, dec = view.ra_deg, view.dec_deg
    lines = [f"<h1>{esc(view.name)}</h1>"]
    if isfinite(ra) and isfinite(dec):
        longitude, latitude = galactic(ra, dec)
        lines.append(
            f"<p><b>{sexagesimal(ra, dec)}</b> · {ra:.6f} {dec:+.6f}° "
            f'<span class="muted">· galactic {longitude:.3f} {latitude:+.3f}°</span></p>'
        )
        lines.append(f'<p class="links small">{"".join(sky_links(ra, dec))}</p>')
    if view.tag:
        lines.append(f'<p class="muted small">Tags: {esc(", ".join(view.tag))}</p>')
    return "".join(lines)


def _fact_cards(facts: Facts) -> list[tuple[str, str]]:
    """Peak, latest, age, limit, colour, counts."""
    if facts.first is None or facts.latest is None:
        return [("Detections", f"none<small>{facts.limits} upper limits, {facts.forced} forced</small>")]
    cards = []
    if facts.peak:
        before = facts.latest.jd - facts.peak.jd
        when = f"{days(before)} before the latest" if before > 0 else "at the latest detection"
        name = "Peak" if facts.peak.positive else "Deepest dip (all negative)"
        peak = f"{magnitude(facts.peak.mag, facts.peak.err)} {esc(facts.peak.band)}"
        cards.append((name, f"{peak}<small>{date(facts.peak.jd)}, {when}</small>"))
    sign = "" if facts.latest.positive else ", negative"
    latest = f"{magnitude(facts.latest.mag, facts.latest.err)} {esc(facts.latest.band)}"
    cards.append(("Latest", f"{latest}<small>{date(facts.latest.jd, '%Y-%m-%d %H:%M')} UT{sign}</small>"))
    cards.append(("Age", f"{days(facts.age)}<small>since {date(facts.first.jd, '%Y-%m-%d %H:%M')} UT</small>"))
    if limit := facts.limit_before:
        gap = days(facts.first.jd - limit.jd)
        cards.append(
            (
                "Last limit before",
                f"&gt; {limit.mag:.2f} {esc(limit.band)}<small>{gap} before the first detection</small>",
            )
        )
    cards += [_colour_card(*colours) for colours in facts.colours[:2]]
    cards.append(("Detections", f"{facts.detections}<small>{_counts(facts)}</small>"))
    return cards


def _colour_card(latest: Colour, at_peak: Colour) -> tuple[str, str]:
    name = " − ".join(esc(band) for band in latest.bands)
    value = f"{magnitude(latest.value, latest.err)}<small>{date(latest.jd)}"
    if at_peak is not latest:
        value += f"; near peak {magnitude(at_peak.value, at_peak.err)}"
    return f"Colour {name}", f"{value}</small>"


def _counts(facts: Facts) -> str:
    parts = [f"{esc(band.band)} {band.detections}" for band in facts.bands if band.detections]
    if facts.negative:
        parts.append(f"{facts.negative} negative")
    parts.append(f"{facts.limits} limits")
    if facts.forced:
        parts.append(f"{facts.forced} forced")
    return ", ".join(parts)


def _highlights(view: TransientView, columns: Sequence[str]) -> str:
    """The results that the user asked to see in the table, on top here as well."""
    pairs = [(breakable(path), value_cell(view.value(path))) for path in columns if "." in path]
    return terms(pairs, "facts") if pairs else ""


def _plot(view: TransientView, curve: LightCurve) -> str:
    svg = light_curve_svg(curve, f"Light curve of {view.name}: {len(curve)} points")
    if not svg:
        return "<p>There is no photometry to draw.</p>"
    return f'<figure><p class="legend small">{_legend(curve)}</p>{svg}</figure>'


def _legend(curve: LightCurve) -> str:
    """The bands, and what the other signs mean that are in use."""
    entries = [f"{marker_svg(style)}{esc(band)}" for band, style in band_styles(curve.bands).items()]
    if len(curve.upper_limits):
        entries.append(f"{marker_svg(marker='v', hollow=True)}upper limit (5 sigma)")
    if not curve.detections.positive.all():
        entries.append(f"{marker_svg(hollow=True)}fainter than the reference")
    if len(curve.of_kind("forced")):
        entries.append(f"{marker_svg(small=True)}forced photometry")
    return "".join(f"<span>{entry}</span>" for entry in entries)


def _stamps(view: TransientView, wanted: bool) -> str:
    stamps = view.cutouts if wanted and view.alerts else {}
    finder = finder_figure(stamps["science"], view) if "science" in stamps else ""
    known = position_map(view.light_curve, view.ra_deg, view.dec_deg)
    where = f'<div class="place">{finder}{known}</div>' if finder or known else ""
    return (cutout_figures(stamps) if stamps else "") + where


def _bands(facts: Facts) -> str:
    if not facts.bands:
        return ""
    styles = band_styles([band.band for band in facts.bands])
    rows = [_band_row(band, styles[band.band]) for band in facts.bands]
    return table(("Band", "Det.", "Limits", "Peak", "Latest", "Since<br>peak"), rows, caption="By band")


def _band_row(band: BandFacts, style: Style) -> list[str]:
    peak, latest = band.peak, band.latest
    change = latest.mag - peak.mag if peak and latest else float("nan")
    return [
        cell(f"{marker_svg(style)}{esc(band.band)}", css="num"),
        cell(str(band.detections)),
        cell(str(band.limits)),
        cell(f"{magnitude(peak.mag)}<small>{date(peak.jd, '%m-%d')}</small>" if peak else "–"),
        cell(f"{magnitude(latest.mag)}<small>{date(latest.jd, '%m-%d')}</small>" if latest else "–"),
        cell(f"{change:+.2f}" if isfinite(change) else "–"),
    ]


def _results(view: TransientView) -> str:
    if not view.t2:
        return "<section><h2>T2 results</h2><p>No result so far.</p></section>"
    cards = "\n".join(_result(number, name, result) for number, (name, result) in enumerate(sorted(view.t2.items())))
    return f'<section><h2>T2 results</h2><div class="products">{cards}</div></section>'


def _result(order: int, name: str, result: T2Result) -> str:
    values = list(islice(flat(result.body), _MOST_VALUES + 1))
    rows = [
        f'<tr><th scope="row">{breakable(key)}</th><td>{value_cell(value)}</td></tr>'
        for key, value in values[:_MOST_VALUES]
    ]
    more = f"<p>Only the first {_MOST_VALUES} values are shown.</p>" if len(values) > _MOST_VALUES else ""
    listing = _values(rows[:_AT_ONCE]) if rows else "<p>The result is empty.</p>"
    if rows[_AT_ONCE:]:
        listing += f"<details><summary>{len(rows) - _AT_ONCE} more values</summary>{_values(rows[_AT_ONCE:])}</details>"
    return (
        f'<article class="product" id="t2-{order}"><h3>{esc(name)}</h3>'
        f'<p class="muted small">{esc(result.unit)}, version {esc(result.version)} · '
        f'<a href="#provenance">where from</a></p>{listing}{more}</article>'
    )


def _values(rows: Sequence[str]) -> str:
    return "<table><tbody>" + "\n".join(rows) + "</tbody></table>"


def _photometry(curve: LightCurve) -> str:
    """Every point with the id of its datapoint, newest first."""
    if not len(curve):
        return ""
    rows = [_point_row(curve, index) for index in range(len(curve))[::-1][:_MOST_POINTS]]
    heads = ("UTC", "MJD", "Band", "Kind", "Mag", "Limit", "Flux [nJy]", "Datapoint")
    shown = f", the newest {_MOST_POINTS}" if len(curve) > _MOST_POINTS else ""
    return (
        f"<section><h2>Photometry</h2><details><summary>{len(curve)} points{shown}</summary>"
        f"{table(heads, rows)}</details></section>"
    )


def _point_row(curve: LightCurve, index: int) -> list[str]:
    jd, kind = float(curve.jd[index]), str(curve.kind[index]).replace("_", " ")
    return [
        cell(date(jd, "%Y-%m-%d %H:%M:%S"), css="num"),
        cell(f"{jd - _MJD:.5f}"),
        cell(esc(curve.band[index])),
        cell(esc(kind if curve.positive[index] else f"negative {kind}"), css="num"),
        cell(magnitude(float(curve.mag[index]), float(curve.mag_err[index])), css="num"),
        cell(magnitude(float(curve.mag_limit[index]))),
        cell(_flux(float(curve.flux_njy[index]), float(curve.flux_err_njy[index])), css="num"),
        cell(f"<code>{curve.id[index]}</code>"),
    ]


def _flux(flux: float, err: float) -> str:
    if not isfinite(flux):
        return "–"
    return f"{flux:.0f} ± {err:.0f}" if isfinite(err) else number(flux)
