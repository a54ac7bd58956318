"""The report's first page: the selection as a table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite

from ampel_dagster.model.view import ReactionContext, TransientView
from ampel_dagster.units.t3._report_facts import Facts, Measured
from ampel_dagster.units.t3._report_sparkline import sparkline
from ampel_dagster.units.t3._report_style import page
from ampel_dagster.units.t3._report_text import (
    NONE,
    breakable,
    cell,
    date,
    days,
    esc,
    head_cell,
    magnitude,
    run_link,
    table,
    terms,
    timestamp,
    value_cell,
)

_HEADS = (
    "Object",
    "Light curve",
    "First detection",
    "Last detection",
    "Age",
    "Det.",
    "Latest mag",
    "Peak mag",
)
_SORTED_BY = "Last detection"


@dataclass(frozen=True, slots=True)
class Entry:
    """One object of the report."""

    view: TransientView
    facts: Facts
    #: Its page, relative to the index; None where no page is made.
    file: str | None


def index_page(entries: Sequence[Entry], context: ReactionContext, columns: Sequence[str], title: str | None) -> str:
    """The page as HTML; `entries` are sorted by last detection, newest first."""
    heading = title or f"Channel {context.channel}, night {context.night}"
    ui_run = run_link(context.run, context.ui_url)
    about = (
        f"Channel <b>{esc(context.channel)}</b> · night <b>{esc(context.night)}</b> · "
        f"process <b>{esc(context.process)}</b> · run {ui_run} · written {timestamp(context.now)}"
    )
    head = f'<h1>{esc(heading)}</h1>\n<p class="muted">{about}</p>{_counts(entries, context.selection)}'
    return page(heading, f"<header>{head}</header>\n<main>{_table(entries, columns)}</main>")


def _counts(entries: Sequence[Entry], selection: Mapping[str, int]) -> str:
    pairs = [("objects in this report", f"{len(entries):,}")]
    pairs += [(esc(word.replace("_", " ")), f"{count:,}") for word, count in selection.items()]
    return terms(pairs, "facts")


def _table(entries: Sequence[Entry], columns: Sequence[str]) -> str:
    if not entries:
        return "<p>No object was selected.</p>"
    heads = [_head(name) for name in _HEADS] + [_head(path) for path in columns]
    rows = [_row(entry, columns) for entry in entries]
    return _note(entries) + table(heads, rows, "sortable")


def _head(name: str) -> str:
    """A head to sort by; of a dotted path the last part is what one looks for."""
    *before, last = name.split(".") if name not in _HEADS else [name]
    above = f"<small>{breakable('.'.join(before))}.</small>" if before else ""
    sorted_now = ' aria-sort="descending"' if name == _SORTED_BY else ""
    return head_cell(f'<button type="button">{above}{esc(last)}</button>', sorted_now)


def _note(entries: Sequence[Entry]) -> str:
    pages = sum(entry.file is not None for entry in entries)
    without = (
        f"<p>Pages were made for the {pages:,} objects that were detected last; "
        f"the other {len(entries) - pages:,} are listed without a page.</p>"
    )
    signs = (
        '<p class="muted small">Click on a head to sort. Dots are detections, dashes detections fainter than the '
        "reference, ticks upper limits; magnitudes are of the difference image.</p>"
    )
    return signs if pages == len(entries) else without + signs


def _row(entry: Entry, columns: Sequence[str]) -> list[str]:
    view, facts = entry.view, entry.facts
    name = esc(view.name)
    if entry.file:
        name = f'<a href="{esc(entry.file)}">{name}</a>'
    known = isfinite(view.ra_deg) and isfinite(view.dec_deg)
    place = f"<small>{view.ra_deg:.5f} {view.dec_deg:+.5f}</small>" if known else ""
    found = f"{facts.detections}" + (f"<small>{facts.negative} negative</small>" if facts.negative else "")
    return [
        cell(f"{name}{place}", view.name, "name"),
        cell(sparkline(view.light_curve), facts.peak.mag if facts.peak else ""),
        _when(facts.first),
        _when(facts.latest),
        cell(days(facts.age), facts.age, "num"),
        cell(found, facts.detections, "num"),
        _brightness(facts.latest),
        _brightness(facts.peak),
        *(_value(view, path) for path in columns),
    ]


def _when(point: Measured | None) -> str:
    if point is None:
        return cell(NONE, "")
    return cell(f"{date(point.jd)}<small>{date(point.jd, '%H:%M')} UT</small>", point.jd, "num")


def _brightness(point: Measured | None) -> str:
    if point is None or not isfinite(point.mag):
        return cell(NONE, "")
    sign = "" if point.positive else "<small>negative</small>"
    return cell(f"{magnitude(point.mag, point.err)} {esc(point.band)}{sign}", point.mag, "num")


def _value(view: TransientView, path: str) -> str:
    value = view.value(path)
    shown = value_cell(value)
    return cell(shown, "" if value is None else value, "long" if len(shown) > 40 else "num")
