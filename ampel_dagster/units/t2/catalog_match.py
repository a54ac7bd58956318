"""What is known of the sky where an object is."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, StringConstraints, model_validator

from ampel_dagster.model.light_curve import LightCurve
from ampel_dagster.units.base import LightCurveUnit, Tied
from ampel_dagster.units.t2 import _catalog
from ampel_dagster.units.t2._position import mean_position

#: Part of a file's name and of dotted paths.
CatalogName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_]*$", max_length=80)]
_OWN_KEYS = ("n_matches", "distance_arcsec", "ra_deg", "dec_deg", "matches")


class CatalogSpec(BaseModel):
    """A catalogue and how to search it."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    radius_arcsec: float = Field(gt=0, le=180 * 3600, description="largest distance of a match")
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
        taken = sorted(set(self.columns) & set(_OWN_KEYS))
        if taken:
            raise ValueError(f"columns: {', '.join(taken)} is what the result has of its own")
        return self


class CatalogMatch(LightCurveUnit):
    """Match the object with catalogues that are files (Parquet, CSV, FITS tables).

    The position is the mean of the detections, or of all points with a position where no detection has one. The
    result has, by name of the catalogue, `n_matches` (how many lie within the radius) and the nearest match:
    `distance_arcsec`, `ra_deg`, `dec_deg` and the chosen `columns`; with ``match: all`` also `matches`, a list of the
    same, nearest first. Without a match `n_matches` is 0 and the rest is absent; without a position it is None.

    A file is read once by a process, and again when it changes.
    """

    catalogs: dict[CatalogName, CatalogSpec] = Field(min_length=1, description="catalogues by name")

    #: The instance's folder: no configuration, as it must not be part of the product's identity.
    _folder: Path = PrivateAttr(default=Path())

    def prepare(self, folder: Path) -> "CatalogMatch":
        """The unit that reads its files from `folder`, after a look at each file's columns and first rows."""
        prepared = self.model_copy()
        prepared._folder = folder
        for name in self.catalogs:
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

    def process(self, light_curve: LightCurve, tied: Tied) -> dict[str, Any]:
        """Matches by name of the catalogue."""
        position = mean_position(light_curve)
        if position is None:
            return {name: {"n_matches": None} for name in self.catalogs}
        return {name: self._match(name, position) for name in self.catalogs}

    def fields(self) -> dict[str, str]:
        """What is told of each catalogue; columns are of whatever type they have in the file."""
        found: dict[str, str] = {}
        for name, spec in self.catalogs.items():
            own = ("n_matches", "distance_arcsec", "ra_deg", "dec_deg")
            found |= {f"{name}.{key}": "number" for key in own} | {f"{name}.{key}": "" for key in spec.columns}
            found |= {f"{name}.matches": "list"} if spec.match == "all" else {}
        return found

    def data_versions(self) -> Mapping[str, str]:
        """Content hash of each catalogue's file, by name of the catalogue."""
        return {name: _catalog.content_hash(_catalog.FileVersion.of(self._path(name))) for name in self.catalogs}

    def _match(self, name: str, position: tuple[float, float]) -> dict[str, Any]:
        spec, path = self.catalogs[name], self._path(name)
        catalog = _catalog.load(_catalog.FileVersion.of(path), self._layout(name))
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
