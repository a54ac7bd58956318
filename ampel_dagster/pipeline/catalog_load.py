"""Catalogue files into the database."""

from collections.abc import Callable, Iterator
from pathlib import Path

from ampel_dagster.model.catalog import CatalogRows
from ampel_dagster.model.errors import UserError
from ampel_dagster.storage.catalogs import CatalogFacts, Catalogs
from ampel_dagster.units.t2._catalog import Layout
from ampel_dagster.units.t2._catalog_blocks import CatalogFile

#: Told of how many rows of how many are read.
Progress = Callable[[int, int], None]


def load_catalog(
    catalogs: Catalogs,
    path: Path,
    name: str,
    layout: Layout,
    *,
    every_column: bool = False,
    progress: Progress = lambda done, of: None,
) -> int | None:
    """Load a file as the version in force of catalogue `name`; return its number of rows, None if it was there already.

    Raises UserError where the file cannot be used; what is in force then stays.
    """
    try:
        file = CatalogFile.open(path, layout, every_column=every_column)
        current = catalogs.open(name)
        if current is not None and current.version == file.version:
            return None
        facts = CatalogFacts(name, file.version, file.layout.columns, file.rows, path.name)
        return catalogs.write(facts, _told(file, progress))
    except FileNotFoundError as error:
        raise UserError(f"there is no file {path}") from error
    except (OSError, ValueError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"{path}: {first}") from error


def _told(file: CatalogFile, progress: Progress) -> Iterator[CatalogRows]:
    done = 0
    for block in file.blocks():
        yield block
        done += len(block.ra_deg)
        progress(done, file.rows)
