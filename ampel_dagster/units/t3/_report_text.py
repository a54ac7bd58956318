"""Values as HTML. Everything from outside passes `esc` here; nothing else in the report may write it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from html import escape
from math import isfinite
from typing import Any
from urllib.parse import quote

import numpy as np

from ampel_dagster.model.night import JD_UNIX_EPOCH

#: Shown where there is no value.
NONE = '<span class="none">–</span>'
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LONGEST_TEXT = 300
_LONGEST_LIST = 12
_MAX_DEPTH = 8


def esc(value: object) -> str:
    """`value` as text that is safe in HTML, in attributes too."""
    return escape(str(value), quote=True)


def breakable(path: str) -> str:
    """A dotted path that may be broken into lines where a reader would break it."""
    return esc(path).replace(".", ".<wbr>").replace("_", "_<wbr>")


def number(value: float) -> str:
    """A float as one would write it down: six digits, more for what is large (dates, coordinates)."""
    if not isfinite(value):
        return "–" if value != value else ("∞" if value > 0 else "-∞")
    size = abs(value)
    if size >= 1e15 or 0 < size < 1e-4:
        return f"{value:.5g}"
    if size >= 100:
        return f"{value:.5f}".rstrip("0").rstrip(".")
    return f"{value:.6g}"


def magnitude(mag: float, err: float = float("nan")) -> str:
    """A magnitude with its error."""
    if not isfinite(mag):
        return "–"
    return f"{mag:.2f} ± {err:.2f}" if isfinite(err) else f"{mag:.2f}"


def days(value: float) -> str:
    """A time span in days."""
    if not isfinite(value):
        return "–"
    return f"{value:.2f} d" if abs(value) < 10 else f"{value:.1f} d"


def date(jd: float, pattern: str = "%Y-%m-%d") -> str:
    """UT date of a Julian date."""
    try:
        return (_EPOCH + timedelta(days=jd - JD_UNIX_EPOCH)).strftime(pattern)
    except (ValueError, OverflowError):
        return "–"


def timestamp(moment: datetime) -> str:
    """A time in UTC; without a zone it is taken for UTC, as MongoDB returns it."""
    aware = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return aware.strftime("%Y-%m-%d %H:%M:%S UTC")


def value_cell(value: Any) -> str:
    """Any value of a result as HTML; what was shortened is given in full as the title."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None:
        return NONE
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        short = number(value)
        return short if short == str(value) else f'<span title="{esc(value)}">{esc(short)}</span>'
    if isinstance(value, datetime):
        return timestamp(value)
    if isinstance(value, Mapping):
        return _shortened(", ".join(f"{key}: {item}" for key, item in value.items())) if value else "{}"
    if isinstance(value, list | tuple):
        return _list_cell(value)
    return _shortened(str(value))


def _list_cell(values: Sequence[Any]) -> str:
    if not values:
        return "[]"
    shown = [number(item) if isinstance(item, float) else str(item) for item in values[:_LONGEST_LIST]]
    rest = len(values) - len(shown)
    return _shortened(", ".join(shown) + (f" … and {rest} more" if rest else ""))


def _shortened(text: str) -> str:
    return esc(text if len(text) <= _LONGEST_TEXT else text[:_LONGEST_TEXT] + "…")


def flat(body: Any, prefix: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Leaves of nested dicts and lists of dicts by dotted path."""
    if isinstance(body, Mapping) and body and depth < _MAX_DEPTH:
        for key, value in body.items():
            yield from flat(value, f"{prefix}.{key}" if prefix else str(key), depth + 1)
    elif isinstance(body, list | tuple) and any(isinstance(item, Mapping) for item in body):
        for index, item in enumerate(body):
            yield from flat(item, f"{prefix}.{index}" if prefix else str(index), depth + 1)
    elif prefix:
        yield prefix, body


def sort_key(value: Any) -> str:
    """What the page's script sorts a cell by; empty: comes last."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or (isinstance(value, float) and not isfinite(value)):
        return ""
    if isinstance(value, bool):
        return str(int(value))
    return str(value)[:_LONGEST_TEXT]


def cell(content: str, sort: Any = None, css: str = "") -> str:
    """A table cell; `content` is HTML."""
    key = "" if sort is None else f' data-s="{esc(sort_key(sort))}"'
    return f"<td{_css(css)}{key}>{content}</td>"


def head_cell(content: str, attributes: str = "") -> str:
    """The head of a column; `content` is HTML."""
    return f'<th scope="col"{attributes}>{content}</th>'


def sort_button(name: str, attributes: str = "") -> str:
    """The head of a column that the table can be sorted by; `name` is HTML."""
    return head_cell(f'<button type="button">{name}</button>', attributes)


def table(head: Sequence[str], rows: Iterable[Sequence[str]], css: str = "", caption: str = "", label: str = "") -> str:
    """A table that scrolls sideways on a narrow screen; heads and cells are HTML, rows lack their tr.

    `label` names the scrolling region for screen readers, by default the caption does.
    """
    heads = "".join(title if title.startswith("<th") else head_cell(title) for title in head)
    body = "\n".join(f"<tr>{''.join(row)}</tr>" for row in rows)
    above = f"<caption>{caption}</caption>" if caption else ""
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{esc(label or caption or "Table")}">'
        f"<table{_css(css)}>{above}<thead><tr>{heads}</tr></thead>\n"
        f"<tbody>{body}</tbody></table></div>"
    )


def terms(pairs: Iterable[tuple[str, str]], css: str = "") -> str:
    """A list of terms with their values, both HTML."""
    items = "\n".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in pairs)
    return f"<dl{_css(css)}>{items}</dl>"


def outside_link(url: str, text: str) -> str:
    """A link that leaves the report."""
    return f'<a href="{esc(url)}" rel="noopener noreferrer">{esc(text)}</a>'


def run_link(run: str, ui_url: str, *, short: bool = False) -> str:
    """A run's id, as a link where the UI's address is known; `short` shows its first letters."""
    if not run:
        return NONE
    if not ui_url.startswith(("http://", "https://")):
        return f"<code>{esc(run)}</code>"
    code = f'<code title="{esc(run)}">{esc(run[:8] if short else run)}</code>'
    return f'<a href="{esc(ui_url.rstrip("/"))}/runs/{esc(quote(run, safe=""))}">{code}</a>'


def _css(names: str) -> str:
    return f' class="{names}"' if names else ""
