"""What is known of the sky where an object is."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, StringConstraints, model_validator

from ampel_dagster.model.catalog import CatalogReader, LoadedCatalog
from ampel_dagster.model.errors import TryLaterError
from ampel_dagster.model.light_curve import LightCurve
from ampel_dagster.units.base import LightCurveUnit, Tied
from ampel_dagster.units.t2 import _catalog
from ampel_dagster.units.t2._position import mean_position, mean_positions

#: Part of a file's name and of dotted paths.
CatalogName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_]*$", max_length=80)]
_Position = tuple[float, float]
_OWN_KEYS = ("n_matches", "distance_arcsec", "ra_deg", "dec_deg", "matches")


class CatalogSpec(BaseModel):
    """A catalogue and how to search it."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    radius_arcsec: float = Field(gt=0, le=180 * 3600, description="largest distance of a match")
    stored: bool = Field(
        False, description="it is in the database, put there by `ampel-dagster catalog load`, and no file"
    )
    path: str | None = Field(
        None, description="file, relative to the instance; none: catalogs/NAME.parquet, .csv, .fits or .fits.gz"
    )
    ra: str | None = Field(None, description="column of right ascension; none: found by the usual names")
    dec: str | None = Field(None, description="column of declination; none: found by the usual names")
    ra_dec_unit: Literal["deg", "rad"] = Field("deg", description="unit of both")
    match: Literal["nearest", "all"] = Field("nearest", description="all: list the other matches too")
    max_matches: int = Field(100, ge=1, description="most matches that are listed, the nearest ones")
    columns: tuple[str, ...] = Field((), description="columns to copy into the result")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if (self.ra is None) != (self.dec is None):
            raise ValueError("ra and dec belong together: give both or neither")
        if self.stored and {"path", "ra", "dec", "ra_dec_unit"} & self.model_fields_set:
            raise ValueError(
                "stored: path, ra, dec and ra_dec_unit are said when the catalogue is loaded; leave them out"
            )
        taken = sorted(set(self.columns) & set(_OWN_KEYS))
        if taken:
            raise ValueError(f"columns: {', '.join(taken)} is what the result has of its own")
        return self


class CatalogMatch(LightCurveUnit):
    """Match the object with catalogues: files (Parquet, CSV, FITS tables), or tables loaded into the database.

    The position is the mean of the detections, or of all points with a position where no detection has one. The
    result has, by name of the catalogue, `n_matches` (how many lie within the radius) and the nearest match:
    `distance_arcsec`, `ra_deg`, `dec_deg` and the chosen `columns`; with ``match: all`` also `matches`, a list of the
    same, nearest first. Without a match `n_matches` is 0 and the rest is absent; without a position it is None.

    A file is read once by a process, and again when it changes; it stays in memory. Large catalogues are better
    `stored`: ``ampel-dagster catalog load`` puts them into the database, where they are indexed by HEALPix cell and
    read around the positions of a batch of objects at once. As long as one is not there, its objects wait for it.
    """

    catalogs: dict[CatalogName, CatalogSpec] = Field(min_length=1, description="catalogues by name")

    #: The instance's folder: no configuration, as it must not be part of the product's identity.
    _folder: Path = PrivateAttr(default=Path())
    #: Versions of the stored catalogues, fixed at the begin of a run; without those that are not there.
    _loaded: Mapping[str, LoadedCatalog] | None = PrivateAttr(default=None)

    def prepare(self, folder: Path) -> "CatalogMatch":
        """The unit that reads its files from `folder`, after a look at each file's columns and first rows."""
        prepared = self.model_copy()
        prepared._folder = folder
        for name in self._files:
            path = prepared._path(name)
            try:
                _catalog.check(path, self._layout(name))
            except FileNotFoundError as error:
                or_else = "" if self.catalogs[name].path else f" (or {', '.join(_catalog.SUFFIXES[1:])})"
                raise ValueError(
                    f"catalogue {name}: there is no {path}{or_else}; put the file there, or set path"
                ) from error
            except (OSError, ValueError) as error:
                raise ValueError(f"catalogue {name}: {path}: {_first_line(error)}") from error
        return prepared

    def bind(self, catalogs: CatalogReader) -> "CatalogMatch":
        """The unit that matches with the stored catalogues that are in force now."""
        bound = self.model_copy()
        found = {name: catalogs.open(name) for name in self.stored}
        bound._loaded = {name: catalog for name, catalog in found.items() if catalog is not None}
        return bound

    @property
    def stored(self) -> list[str]:
        """Names of the catalogues that are read from the database."""
        return [name for name, spec in self.catalogs.items() if spec.stored]

    @property
    def takes_batches(self) -> bool:
        """Stored catalogues are read once a batch; for files there is nothing to gain."""
        return bool(self.stored)

    def process(self, light_curve: LightCurve, tied: Tied) -> dict[str, Any]:
        """Matches by name of the catalogue. Raises TryLaterError as long as a stored catalogue is not loaded."""
        return self._matches([mean_position(light_curve)])[0]

    def process_batch(self, points: pd.DataFrame, tied: Sequence[Tied]) -> list[dict[str, Any]]:
        """The same of many objects, with one read of each stored catalogue."""
        return self._matches(mean_positions(points, len(tied)))

    def fields(self) -> dict[str, str]:
        """What is told of each catalogue; columns are of whatever type they have in the file."""
        found: dict[str, str] = {}
        for name, spec in self.catalogs.items():
            own = ("n_matches", "distance_arcsec", "ra_deg", "dec_deg")
            found |= {f"{name}.{key}": "number" for key in own} | {f"{name}.{key}": "" for key in spec.columns}
            found |= {f"{name}.matches": "list"} if spec.match == "all" else {}
        return found

    def data_versions(self) -> Mapping[str, str]:
        """Hash of each catalogue's content, by name of the catalogue."""
        files = {name: _catalog.content_hash(_catalog.FileVersion.of(self._path(name))) for name in self._files}
        return {**files, **{name: catalog.version for name, catalog in (self._loaded or {}).items()}}

    @property
    def _files(self) -> list[str]:
        return [name for name, spec in self.catalogs.items() if not spec.stored]

    def _matches(self, positions: Sequence[_Position | None]) -> list[dict[str, Any]]:
        known = [position for position in positions if position is not None]
        results: list[dict[str, Any]] = [{} for _ in positions]
        for name in self.catalogs:
            catalog = self._around(name, known) if known else None
            for position, result in zip(positions, results, strict=True):
                if catalog is None or position is None:
                    result[name] = {"n_matches": None}
                else:
                    result[name] = self._match(name, catalog, position)
        return results

    def _around(self, name: str, positions: Sequence[_Position]) -> _catalog.Catalog:
        """The catalogue, or of a stored one what lies around these positions."""
        spec = self.catalogs[name]
        if not spec.stored:
            return _catalog.load(_catalog.FileVersion.of(self._path(name)), self._layout(name))
        if self._loaded is None:
            raise ValueError(f"catalogue {name} is in a database: say which by bind, as in unit.bind(base.catalogs)")
        loaded = self._loaded.get(name)
        if loaded is None:
            raise TryLaterError(f"catalogue {name} is not loaded: ampel-dagster catalog load FILE --name {name}")
        missing = sorted(set(spec.columns) - set(loaded.columns))
        if missing:
            there = ", ".join(loaded.columns) or "none"
            raise ValueError(f"catalogue {name} was loaded without column {missing[0]!r}; there are: {there}")
        ra_deg, dec_deg = np.array(positions).T
        return _catalog.Catalog(*loaded.near(ra_deg, dec_deg, spec.radius_arcsec, spec.columns))

    def _match(self, name: str, catalog: _catalog.Catalog, position: _Position) -> dict[str, Any]:
        spec = self.catalogs[name]
        rows, distances = catalog.around(*position, spec.radius_arcsec)
        result: dict[str, Any] = {"n_matches": len(rows)}
        listed = spec.max_matches if spec.match == "all" else 1
        matches = [
            catalog.row(*match) for match in zip(rows[:listed].tolist(), distances[:listed].tolist(), strict=True)
        ]
        if matches:
            result |= matches[0]
        return result | {"matches": matches} if spec.match == "all" else result

    def _layout(self, name: str) -> _catalog.Layout:
        spec = self.catalogs[name]
        return _catalog.Layout(spec.ra, spec.dec, spec.ra_dec_unit, spec.columns)

    def _path(self, name: str) -> Path:
        """The catalogue's file; where no name was given and none is there, the first that it could have."""
        given = self.catalogs[name].path
        if given is not None:
            return self._folder / Path(given).expanduser()
        usual = [self._folder / "catalogs" / f"{name}{suffix}" for suffix in _catalog.SUFFIXES]
        return next((path for path in usual if path.exists()), usual[0])


def _first_line(error: Exception) -> str:
    """What a library says may go on for pages."""
    return (str(error).splitlines() or [type(error).__name__])[0]
