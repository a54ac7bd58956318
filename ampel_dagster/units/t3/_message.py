"""What messages say about objects."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

from ampel_dagster.model.view import ReactionContext, TransientView


def values(view: TransientView, columns: Sequence[str]) -> dict[str, Any]:
    """Values of an object by path, as JSON has them: what is no number becomes null."""
    return {path: plain(view.value(path)) for path in columns}


def plain(value: Any) -> Any:
    """A value that JSON can hold."""
    if isinstance(value, float):
        return value if isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value if value is None or isinstance(value, bool | int | str) else str(value)


def record(view: TransientView, context: ReactionContext, columns: Sequence[str]) -> dict[str, Any]:
    """An object as a JSON object: who it is, why we tell of it, and the chosen values."""
    return {
        "process": context.process,
        "channel": context.channel,
        "night": view.night,
        "run": context.run,
        "survey": view.survey,
        "name": view.name,
        "stock": view.stock,
        "link": view.link,
        "ra_deg": plain(view.ra_deg),
        "dec_deg": plain(view.dec_deg),
        "values": values(view, columns),
    }


def light_curve_rows(view: TransientView) -> list[dict[str, Any]]:
    """The light curve, one JSON object a point."""
    return [plain(row) for row in view.light_curve.to_pandas().to_dict("records")]


def short(value: Any) -> str:
    """A value for people."""
    if isinstance(value, float):
        return f"{value:.6g}" if abs(value) < 1e5 else f"{value:.5f}"
    if isinstance(value, dict | list):
        return json.dumps(value)[:60]
    return "–" if value is None else str(value)


def as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as CSV, with a head."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def as_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as a table of text, columns below each other."""
    names = list(rows[0]) if rows else []
    cells = [names, *([short(row[name]) for name in names] for row in rows)]
    widths = [max(len(line[n]) for line in cells) for n in range(len(names))]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip() for line in cells)


def picture(view: TransientView) -> bytes:
    """The light curve as PNG; nothing where matplotlib is not installed, or there is nothing to draw."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        return b""
    curve = view.light_curve
    seen, limits = curve.where(curve.mag == curve.mag), curve.upper_limits
    if not len(seen) and not len(limits):
        return b""
    figure = Figure(figsize=(6, 3.5), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for band, color, marker in zip(curve.bands, _COLORS * 3, _MARKERS * 3, strict=False):
        points, deep = seen.in_band(band), limits.in_band(band)
        axes.errorbar(points.jd - _MJD, points.mag, points.mag_err, fmt=marker, color=color, label=band, capsize=2)
        axes.plot(deep.jd - _MJD, deep.mag_limit, "v", color=color, alpha=0.35, markersize=4)
    axes.invert_yaxis()
    axes.set(xlabel="MJD", ylabel="AB mag", title=view.name)
    axes.legend()
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()


_MJD = 2400000.5
#: Told apart by people who see colours differently (Okabe & Ito), and by their shape.
_COLORS = ("#009E73", "#D55E00", "#CC79A7", "#0072B2", "#E69F00", "#56B4E9")
_MARKERS = ("o", "s", "D", "^", "P", "X")
