"""A report that people read: static HTML that opens from disk, without a server, without the network."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from pydantic import Field

from ampel_dagster.model.view import Artefact, ReactionContext, TransientView
from ampel_dagster.units.base import Report
from ampel_dagster.units.t3._columns import Paths
from ampel_dagster.units.t3._files import safe_stem, write_text
from ampel_dagster.units.t3._report_facts import facts_of
from ampel_dagster.units.t3._report_index import Row, index_page, row_of
from ampel_dagster.units.t3._report_object import object_page
from ampel_dagster.units.t3._report_overview import depth_below_channel, write_overview

_OBJECTS = "objects"


class LightCurveReport(Report):
    """Write `index.html` for the channel and night, and a page an object.

    A page has the light curve, a finder, stamps, T2 results, the object's states, and where each number comes from.
    `index.html` of the channel lists its nights, that of the process its channels.
    """

    #: T2 results (product.field) to show in the table and on top of each object's page.
    columns: Paths = ()
    #: Pages are made for so many objects, those that were detected last; the table has all.
    max_objects: int = Field(default=500, ge=0)
    #: Show image stamps where the stream keeps them.
    cutouts: bool = True
    #: Heading of the index; none: channel and night.
    title: str | None = None

    @property
    def paths(self) -> Sequence[str]:
        """The columns."""
        return self.columns

    def prepare(self, folder: Path) -> "LightCurveReport":
        """Check that matplotlib is installed."""
        if find_spec("matplotlib") is None:
            raise ValueError("LightCurveReport needs matplotlib: pip install 'ampel-dagster[plot]'")
        return self

    def write(self, views: Sequence[TransientView], context: ReactionContext) -> Sequence[Artefact]:
        """Write the pages of the objects, then the index that links to them.

        The views may be more than memory holds: of each only its row is kept, and for its page it is asked for again.
        """
        rows = sorted((row_of(n, view, self.columns) for n, view in enumerate(views)), key=Row.newest_first)
        files = _file_names(rows[: self.max_objects])
        written: dict[int, Artefact] = {}
        # In the order in which the views are loaded.
        for n in sorted(range(len(files)), key=lambda n: rows[n].place):
            around = (files[n - 1] if n else None, files[n + 1] if n + 1 < len(files) else None)
            view, path = views[rows[n].place], context.folder / _OBJECTS / files[n]
            write_text(path, self._page(view, context, around))
            written[n] = Artefact(path, view.name, 1)
        index = context.folder / "index.html"
        linked = [f"{_OBJECTS}/{file}" for file in files]
        html = index_page(rows, linked, context, self.columns, self.title, depth_below_channel(context))
        write_text(index, html)
        _remove_others(context.folder / _OBJECTS, set(files))
        write_overview(context, len(rows), len(files))
        title = self.title or f"Light curves of {context.channel}, {context.night}"
        return [Artefact(index, title, len(rows)), *(written[n] for n in range(len(files)))]

    def write_page(self, view: TransientView, context: ReactionContext, path: Path | None = None) -> Path:
        """Write the page of one object alone, into the context's folder or as `path`; return where it is."""
        path = path or context.folder / f"{safe_stem(view.name, view.stock)}.html"
        write_text(path, self._page(view, context, None))
        return path

    def _page(self, view: TransientView, context: ReactionContext, around: tuple[str | None, str | None] | None) -> str:
        facts = facts_of(view.light_curve)
        return object_page(view, facts, context, self.columns, around, cutouts=self.cutouts)


def _file_names(rows: Sequence[Row]) -> list[str]:
    """Names of the pages; unique, also where file names know no case."""
    taken: dict[str, str] = {}
    for row in rows:
        stem = safe_stem(row.name, row.stock)
        while stem.lower() in taken:
            stem += f"-{row.stock}"
        taken[stem.lower()] = f"{stem}.html"
    return list(taken.values())


def _remove_others(folder: Path, kept: set[str]) -> None:
    """Pages of an earlier run whose objects are no longer selected would look like part of this report."""
    for path in folder.glob("*.html"):
        if path.name not in kept:
            path.unlink(missing_ok=True)
