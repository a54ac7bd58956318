"""A report that people read: static HTML that opens from disk, without a server, without the network."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from pydantic import Field

from ampel_dagster.model.view import Artefact, ReactionContext, TransientView
from ampel_dagster.units.base import Report, Unit
from ampel_dagster.units.t3._columns import Paths
from ampel_dagster.units.t3._files import safe_stem, write_text
from ampel_dagster.units.t3._report_facts import Facts, facts_of
from ampel_dagster.units.t3._report_index import Entry, index_page
from ampel_dagster.units.t3._report_object import object_page

_OBJECTS = "objects"


class LightCurveReport(Report):
    """Write `index.html` for the channel and night, and a page an object.

    A page has the light curve, stamps, T2 results, and where each number comes from.
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

    def prepare(self, folder: Path) -> Unit:
        """Check that matplotlib is installed."""
        if find_spec("matplotlib") is None:
            raise ValueError("LightCurveReport needs matplotlib: pip install 'ampel-dagster[plot]'")
        return self

    def write(self, views: Sequence[TransientView], context: ReactionContext) -> Sequence[Artefact]:
        """Write the pages of the objects, then the index that links to them."""
        entries = self._entries(views)
        with_page = [entry for entry in entries if entry.file]
        pages = [self._write_object(position, with_page, context) for position in range(len(with_page))]
        index = context.folder / "index.html"
        write_text(index, index_page(entries, context, self.columns, self.title))
        _remove_others(context.folder / _OBJECTS, {artefact.path for artefact in pages})
        title = self.title or f"Light curves of {context.channel}, {context.night}"
        return [Artefact(index, title, len(entries)), *pages]

    def _entries(self, views: Sequence[TransientView]) -> list[Entry]:
        """Newest detection first; names of the pages are unique, also where file names know no case."""
        described = [(view, facts_of(view.light_curve)) for view in views]
        described.sort(key=_newest_first)
        entries: list[Entry] = []
        taken: set[str] = set()
        for view, facts in described:
            file = None
            if len(entries) < self.max_objects:
                stem = safe_stem(view.name, view.stock)
                while stem.lower() in taken:
                    stem += f"-{view.stock}"
                taken.add(stem.lower())
                file = f"{_OBJECTS}/{stem}.html"
            entries.append(Entry(view, facts, file))
        return entries

    def _write_object(self, position: int, entries: Sequence[Entry], context: ReactionContext) -> Artefact:
        entry = entries[position]
        path = context.folder / str(entry.file)
        neighbours = (
            _sibling(entries[position - 1]) if position else None,
            _sibling(entries[position + 1]) if position + 1 < len(entries) else None,
        )
        html = object_page(entry.view, entry.facts, context, self.columns, neighbours, cutouts=self.cutouts)
        write_text(path, html)
        return Artefact(path, entry.view.name, 1)


def _newest_first(described: tuple[TransientView, Facts]) -> tuple[float, str, int]:
    view, facts = described
    return (-facts.latest.jd if facts.latest else float("inf"), view.name, view.stock)


def _sibling(entry: Entry) -> str:
    """The page as another object's page links to it."""
    return str(entry.file).removeprefix(f"{_OBJECTS}/")


def _remove_others(folder: Path, kept: set[Path]) -> None:
    """Pages of an earlier run whose objects are no longer selected would look like part of this report."""
    for path in folder.glob("*.html"):
        if path not in kept:
            path.unlink(missing_ok=True)
