"""The report's first page: the selection as a table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from math import inf, isfinite

from ampel_dagster.model.view import ReactionContext, TransientView
from ampel_dagster.units.t3._report_facts import Measured, facts_of
from ampel_dagster.units.t3._report_sparkline import sparkline
from ampel_dagster.units.t3._report_style import page
from ampel_dagster.units.t3._report_text import (
    NONE,
    breakable,
    cell,
    date,
    days,
    esc,
    magnitude,
    run_link,
    sort_button,
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
class Row:
    """What the index keeps of an object; its view need not stay in memory."""

    #: Which of the views it is.
    place: int
    name: str
    stock: int
    #: Time (Julian date) of its last detection; -inf without one.
    latest_jd: float
    #: Where it is, and the cells after its name, as HTML.
    position: str
    cells: str

    def newest_first(self) -> tuple[float, str, int]:
        """Key to sort by."""
        return (-self.latest_jd, self.name, self.stock)


def index_page(
    rows: Sequence[Row],
    files: Sequence[str],
    context: ReactionContext,
    columns: Sequence[str],
    title: str | None,
    depth: int = 0,
) -> str:
    """The page as HTML.

    `rows` are sorted by last detection, newest first; `files` are the pages of the first of them, relative to the
    index. `depth`: how many folders above there is the page of all nights; 0: there is none.
    """
    heading = title or f"Channel {context.channel}, night {context.night}"
    ui_run = run_link(context.run, context.ui_url)
    about = (
        f"Channel <b>{esc(context.channel)}</b> · night <b>{esc(context.night)}</b> · "
        f"process <b>{esc(context.process)}</b> · run {ui_run} · written {timestamp(context.now)}"
    )
    head = f'{_links(context, depth)}<h1>{breakable(heading)}</h1>\n<p class="muted">{about}</p>'
    head += _counts(len(rows), context.selection)
    return page(heading, f"<header>{head}</header>\n<main>{_table(rows, files, columns)}</main>")


def _links(context: ReactionContext, depth: int) -> str:
    if not depth:
        return ""
    up = "../" * depth
    nights = f'<a href="{up}index.html">All nights of {esc(context.channel)}</a>'
    channels = f'<a href="{up}../index.html">All channels of {esc(context.process)}</a>'
    return f'<nav aria-label="Reports">{nights}{channels}</nav>'


def _counts(objects: int, selection: Mapping[str, int]) -> str:
    pairs = [("objects in this report", f"{objects:,}")]
    pairs += [(esc(word.replace("_", " ")), f"{count:,}") for word, count in selection.items()]
    return terms(pairs, "facts")


def _table(rows: Sequence[Row], files: Sequence[str], columns: Sequence[str]) -> str:
    if not rows:
        return "<p>No object was selected.</p>"
    heads = [_head(name) for name in _HEADS] + [_head(path) for path in columns]
    lines = (_line(row, file) for row, file in zip_longest(rows, files))
    return _note(len(rows), len(files)) + table(heads, lines, "sortable", label="Objects")


def _line(row: Row, file: str | None) -> tuple[str, str]:
    name = f'<a href="{esc(file)}">{esc(row.name)}</a>' if file else esc(row.name)
    return cell(f"{name}{row.position}", row.name, "name"), row.cells


def _head(name: str) -> str:
    """A head to sort by; of a dotted path the last part is what one looks for."""
    *before, last = name.split(".") if name not in _HEADS else [name]
    above = f"<small>{breakable('.'.join(before))}.</small>" if before else ""
    sorted_now = ' aria-sort="descending"' if name == _SORTED_BY else ""
    return sort_button(f"{above}{esc(last)}", sorted_now)


def _note(objects: int, pages: int) -> str:
    without = (
        f"<p>Pages were made for the {pages:,} objects that were detected last; "
        f"the other {objects - pages:,} are listed without a page.</p>"
    )
    signs = (
        '<p class="muted small">Press the head of a column to sort by it. Dots are detections, dashes detections '
        "fainter than the reference, ticks upper limits; magnitudes are of the difference image.</p>"
    )
    return signs if pages == objects else without + signs


def row_of(place: int, view: TransientView, columns: Sequence[str]) -> Row:
    """What the index shows of an object."""
    facts = facts_of(view.light_curve)
    known = isfinite(view.ra_deg) and isfinite(view.dec_deg)
    position = f"<small>{view.ra_deg:.5f} {view.dec_deg:+.5f}</small>" if known else ""
    found = f"{facts.detections}" + (f"<small>{facts.negative} negative</small>" if facts.negative else "")
    cells = [
        cell(sparkline(view.light_curve), facts.peak.mag if facts.peak else ""),
        _when(facts.first),
        _when(facts.latest),
        cell(days(facts.age), facts.age, "num"),
        cell(found, facts.detections, "num"),
        _brightness(facts.latest),
        _brightness(facts.peak),
        *(_value(view, path) for path in columns),
    ]
    return Row(place, view.name, view.stock, facts.latest.jd if facts.latest else -inf, position, "".join(cells))


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
