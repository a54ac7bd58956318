"""Catalogues of positions: written once as cells of the sky, read around many positions at once.

A document holds the rows of one HEALPix cell (nested), its columns as arrays: some ten times fewer documents than
rows, and a position costs a look at the few cells that its circle touches. A cell may be in several documents, one
for each block in which the catalogue came, so that no more than a block is ever in memory.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from math import ceil, log
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pymongo import ASCENDING

from ampel_dagster.model.catalog import CatalogRows, Floats
from ampel_dagster.model.errors import StorageError, TryLaterError
from ampel_dagster.storage.collections import Document, DocumentCollection, DocumentDatabase
from ampel_dagster.storage.connect import connect
from ampel_dagster.storage.writes import storage_errors

#: Mean number of rows of a cell, were they spread evenly over the sky.
_ROWS_PER_CELL = 48
_MAX_DEPTH = 12
#: A document stays far below the 16 MB that it may have.
_ROWS_PER_DOCUMENT = 2000
_DOCUMENTS_PER_COMMAND = 1000
#: Runs of cells up to this length are asked for one by one.
_SHORT_RUN = 64
#: Widens circles by more than rounding can cost.
_MARGIN_ARCSEC = 0.01
#: Bits between cells of depth 29, as MOCs count, and those of depth 0.
_DEEPEST = 29


class CatalogFacts(NamedTuple):
    """What is known of a catalogue before its rows are read."""

    name: str
    #: Hash of all that decides about its rows.
    version: str
    columns: Sequence[str]
    rows: int
    #: Where it comes from, for people.
    source: str


class StoredCatalog:
    """One version of one catalogue."""

    def __init__(self, catalogs: "Catalogs", record: Mapping[str, Any]) -> None:
        self._catalogs = catalogs
        self.name: str = record["_id"]
        self.version: str = record["version"]
        self.columns: tuple[str, ...] = tuple(record["columns"])
        self._depth: int = record["depth"]

    def near(self, ra_deg: Floats, dec_deg: Floats, radius_arcsec: float, columns: Sequence[str]) -> CatalogRows:
        """See `LoadedCatalog`."""
        wanted = _cells(ra_deg, dec_deg, radius_arcsec, self._depth)
        fields = {"_id": 0, "ra_deg": 1, "dec_deg": 1} | {f"columns.{name}": 1 for name in columns}
        collection = self._catalogs.rows_of(self.name, self.version)
        found = self._catalogs.patiently(lambda: list(collection.find(wanted, fields)))
        if not found and self.version not in self._catalogs.versions(self.name):
            raise TryLaterError(f"catalogue {self.name} was replaced while it was in use", after_s=0)
        return CatalogRows(
            np.array([value for document in found for value in document["ra_deg"]], dtype=np.float64),
            np.array([value for document in found for value in document["dec_deg"]], dtype=np.float64),
            {name: [value for document in found for value in document["columns"][name]] for name in columns},
        )


class Catalogs:
    """All catalogues of a database; goes to another process as an address."""

    def __init__(
        self,
        database: DocumentDatabase,
        uri: str | None,
        patiently: Callable[[Callable[[], Any]], Any] = lambda read: read(),
    ) -> None:
        self._database = database
        self._uri = uri
        self.patiently = patiently

    def __reduce__(self) -> tuple[Any, ...]:
        if self._uri is None:
            raise StorageError("these catalogues cannot go to another process: open the database by its address")
        return _reopened, (self._uri, self._database.name)

    def open(self, name: str) -> StoredCatalog | None:
        """The version in force, None if nothing of this name was loaded."""
        record = self.patiently(lambda: self._records.find_one({"_id": name}))
        return None if record is None else StoredCatalog(self, record)

    def all(self) -> list[Document]:
        """Records of all catalogues, by name."""
        return list(self._records.find().sort("_id", ASCENDING))

    def versions(self, name: str) -> list[str]:
        """Versions whose rows are there: the one in force, and the one before it."""
        record = self.patiently(lambda: self._records.find_one({"_id": name})) or {}
        return [version for version in (record.get("version"), record.get("previous")) if version]

    def rows_of(self, name: str, version: str) -> DocumentCollection:
        """Where the rows of a version are."""
        return self._database[f"catalog.{name}.{version}"]

    def write(self, facts: CatalogFacts, blocks: Iterable[CatalogRows]) -> int:
        """Write a version, and put it in force when all of it is there; return its number of rows.

        The version before stays for those who are reading it, until the next one comes; older ones go, and so does
        what an interrupted load left. Raises StorageError.
        """
        depth = _depth(facts.rows)
        rows = self.rows_of(facts.name, facts.version)
        with storage_errors(f"loading catalogue {facts.name}"):
            rows.drop()
            written = 0
            number = 0
            for block in blocks:
                documents = list(_documents(block, depth, number))
                for begin in range(0, len(documents), _DOCUMENTS_PER_COMMAND):
                    rows.insert_many(documents[begin : begin + _DOCUMENTS_PER_COMMAND], ordered=False)
                number += len(documents)
                written += len(block.ra_deg)
            rows.create_index([("cell", ASCENDING)])
            before = self._records.find_one({"_id": facts.name}) or {}
            record = {
                "version": facts.version,
                "previous": before.get("version"),
                "depth": depth,
                "rows": written,
                "columns": list(facts.columns),
                "source": facts.source,
                "ts": datetime.now(UTC),
            }
            self._records.replace_one({"_id": facts.name}, record, upsert=True)
            self._clean(facts.name, {facts.version, before.get("version")})
        return written

    def drop(self, name: str) -> bool:
        """Remove a catalogue with all its versions; return whether there was one."""
        with storage_errors(f"dropping catalogue {name}"):
            there = self._records.delete_one({"_id": name}).deleted_count > 0
            self._clean(name, set())
        return there

    def _clean(self, name: str, keep: set[str | None]) -> None:
        prefix = f"catalog.{name}."
        for collection in self._database.list_collection_names():
            if collection.startswith(prefix) and collection.removeprefix(prefix) not in keep:
                self._database.drop_collection(collection)

    @property
    def _records(self) -> DocumentCollection:
        return self._database["catalog"]


def _reopened(uri: str, name: str) -> Catalogs:
    return Catalogs(connect(uri)[name], uri)


def _depth(rows: int) -> int:
    """HEALPix depth at which a cell holds some ten rows: 12 * 4^depth cells cover the sky."""
    return min(_MAX_DEPTH, max(0, ceil(log(max(rows, 1) / (12 * _ROWS_PER_CELL), 4)))) if rows else 0


def _documents(block: CatalogRows, depth: int, number: int) -> Iterator[Document]:
    """Rows of a block by cell; `number` is the first document's id."""
    from astropy.coordinates import Latitude, Longitude  # half a second, and few commands load catalogues
    from cdshealpix.nested import lonlat_to_healpix

    if not len(block.ra_deg):
        return
    lon, lat = Longitude(block.ra_deg, unit="deg"), Latitude(block.dec_deg, unit="deg")
    cells = lonlat_to_healpix(lon, lat, depth).astype(np.int64)
    order = np.argsort(cells, kind="stable")
    bounds = np.flatnonzero(np.diff(cells[order], prepend=-1))
    for begin, end in zip(bounds, [*bounds[1:], len(order)], strict=True):
        for first in range(begin, end, _ROWS_PER_DOCUMENT):
            rows = order[first : min(first + _ROWS_PER_DOCUMENT, end)]
            yield {
                "_id": number,
                "cell": int(cells[rows[0]]),
                "ra_deg": block.ra_deg[rows].tolist(),
                "dec_deg": block.dec_deg[rows].tolist(),
                "columns": {name: [values[row] for row in rows.tolist()] for name, values in block.columns.items()},
            }
            number += 1


def _cells(ra_deg: Floats, dec_deg: Floats, radius_arcsec: float, depth: int) -> Document:
    """The query for all cells that are touched by circles around these positions."""
    runs = _runs(ra_deg, dec_deg, radius_arcsec, depth)
    short = runs[:, 1] - runs[:, 0] <= _SHORT_RUN
    one_by_one = [cell for low, high in runs[short].tolist() for cell in range(low, high)]
    alternatives: list[Document] = [{"cell": {"$in": one_by_one}}] if one_by_one or short.all() else []
    alternatives += [{"cell": {"$gte": low, "$lt": high}} for low, high in runs[~short].tolist()]
    return alternatives[0] if len(alternatives) == 1 else {"$or": alternatives}


def _runs(ra_deg: Floats, dec_deg: Floats, radius_arcsec: float, depth: int) -> NDArray[np.int64]:
    """First cells, and those after the last, of unbroken runs of cells."""
    from astropy import units as u
    from astropy.coordinates import Latitude, Longitude
    from mocpy import MOC

    if not len(ra_deg):
        return np.empty((0, 2), dtype=np.int64)
    radius_deg = (radius_arcsec + _MARGIN_ARCSEC) / 3600
    if radius_deg >= 90:
        return np.array([[0, 12 << 2 * depth]])  # more than half the sky: all of it
    moc = MOC.from_cones(
        Longitude(ra_deg, unit=u.deg),
        Latitude(dec_deg, unit=u.deg),
        radius=radius_deg * u.deg,
        max_depth=depth,
        union_strategy="small_cones",
        n_threads=1,
    )
    shift = 2 * (_DEEPEST - depth)
    runs: NDArray[np.int64] = moc.to_depth29_ranges.astype(np.int64) >> shift
    return runs
