"""Catalogues of positions as files: reading them, and searching around a position."""

import os
from collections.abc import Mapping, Sequence
from functools import lru_cache
from hashlib import blake2b, file_digest
from itertools import islice
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ampel_dagster.model.catalog import Floats

SUFFIXES = (".parquet", ".csv", ".fits", ".fits.gz")
#: Names under which positions are found without being told, in lower case: the habits of surveys and of VizieR.
_POSITION_COLUMNS = (
    ("ra", "dec"),
    ("ra_deg", "dec_deg"),
    ("radeg", "dedeg"),
    ("raj2000", "dej2000"),
    ("_raj2000", "_dej2000"),
    ("ra_icrs", "de_icrs"),
    ("_ra_icrs", "_de_icrs"),
    ("_ra", "_de"),
    ("ramean", "decmean"),
    ("alpha_j2000", "delta_j2000"),
)
_NAMES_TO_SHOW = 12
#: Widens the window of declinations by more than rounding can cost; the distance itself decides.
_MARGIN_DEG = 1e-9


class FileVersion(NamedTuple):
    """A file as it is now; another content has another time or size."""

    path: str
    size: int
    mtime_ns: int

    @classmethod
    def of(cls, path: Path) -> "FileVersion":
        """The version that is there now."""
        status = os.stat(path)
        return cls(str(path), status.st_size, status.st_mtime_ns)


class Layout(NamedTuple):
    """Which columns of a file to use."""

    #: Without them, the usual names are looked for.
    ra: str | None
    dec: str | None
    unit: Literal["deg", "rad"]
    #: Columns to hand out.
    columns: tuple[str, ...]


class Catalog:
    """Positions sorted by declination, with the columns to hand out.

    `columns` have one value a row, in the order of the positions; rows without a position (NaN) are left out.
    """

    def __init__(self, ra_deg: Floats, dec_deg: Floats, columns: Mapping[str, Any]) -> None:
        known = np.isfinite(ra_deg) & np.isfinite(dec_deg)
        self._order = np.flatnonzero(known)[np.argsort(dec_deg[known], kind="stable")]
        self._ra_deg, self._dec_deg = ra_deg[self._order] % 360.0, dec_deg[self._order]
        # By column, each of its own type: a row of a frame would turn integers into floats.
        self._columns = columns

    def __len__(self) -> int:
        return len(self._dec_deg)

    def around(
        self, ra_deg: float, dec_deg: float, radius_arcsec: float
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Rows within a radius and their distances in arcsec, nearest first."""
        reach = radius_arcsec / 3600 + _MARGIN_DEG
        low, high = np.searchsorted(self._dec_deg, (dec_deg - reach, dec_deg + reach))
        distance = _separation_arcsec(ra_deg, dec_deg, self._ra_deg[low:high], self._dec_deg[low:high])
        found = np.flatnonzero(distance <= radius_arcsec)
        found = found[np.argsort(distance[found], kind="stable")]
        return found + low, distance[found]

    def row(self, at: int, distance_arcsec: float) -> dict[str, Any]:
        """One row as plain values; what is missing is None."""
        values = {name: plain(column[self._order[at]]) for name, column in self._columns.items()}
        where = {"ra_deg": float(self._ra_deg[at]), "dec_deg": float(self._dec_deg[at])}
        return {"distance_arcsec": float(distance_arcsec), **where, **values}


@lru_cache(maxsize=32)
def load(version: FileVersion, layout: Layout) -> Catalog:
    """A catalogue, read once by a process as long as its file does not change."""
    return _open(Path(version.path), layout)


@lru_cache(maxsize=256)
def content_hash(version: FileVersion) -> str:
    """64 bits of BLAKE2b of a file's content, as 16 hexadecimal digits."""
    with open(version.path, "rb") as file:
        return file_digest(file, lambda: blake2b(digest_size=8)).hexdigest()


def check(path: Path, layout: Layout) -> None:
    """Try a file's columns and first rows.

    Raises OSError or ValueError where they cannot be read or used.
    """
    _open(path, layout, rows=100)


def found_columns(path: Path, layout: Layout) -> tuple[str, str, list[str]]:
    """Columns of right ascension and declination, and all that a file has.

    Raises OSError or ValueError where it cannot be read, or lacks one that the layout names.
    """
    if not path.name.endswith(SUFFIXES):
        raise ValueError(f"a catalogue's name ends with {', '.join(SUFFIXES)}")
    names = _column_names(path)
    ra, dec = (layout.ra, layout.dec) if layout.ra and layout.dec else _position_columns(names)
    missing = [name for name in (ra, dec, *layout.columns) if name not in names]
    if missing:
        raise ValueError(f"there is no column {missing[0]!r}; set it to one of: {_some(names)}")
    return ra, dec, names


def _open(path: Path, layout: Layout, rows: int | None = None) -> Catalog:
    ra, dec, _ = found_columns(path, layout)
    wanted = list(dict.fromkeys((ra, dec, *layout.columns)))
    frame = _read(path, wanted, rows)
    return Catalog(*positions(frame, ra, dec, layout.unit), {name: frame[name].array for name in layout.columns})


def positions(frame: pd.DataFrame, ra: str, dec: str, unit: Literal["deg", "rad"]) -> tuple[Floats, Floats]:
    """Two columns as degrees, NaN where one of both is missing.

    Raises ValueError, in words that follow the name of a file, where they are no positions.
    """
    ra_deg, dec_deg = _numbers(frame, ra), _numbers(frame, dec)
    if unit == "rad":
        ra_deg, dec_deg = np.degrees(ra_deg), np.degrees(dec_deg)
    known = np.isfinite(ra_deg) & np.isfinite(dec_deg)
    if (np.abs(dec_deg[known]) > 90).any():
        raise ValueError(f"column {dec!r} goes beyond 90 degrees: set ra, dec or ra_dec_unit")
    return np.where(known, ra_deg, np.nan), np.where(known, dec_deg, np.nan)


def _position_columns(names: Sequence[str]) -> tuple[str, str]:
    """The columns of right ascension and declination, by the names that are usual."""
    by_lower = {name.lower(): name for name in reversed(names)}
    for ra, dec in _POSITION_COLUMNS:
        if ra in by_lower and dec in by_lower:
            return by_lower[ra], by_lower[dec]
    raise ValueError(f"no columns are called as positions usually are; set ra and dec to two of: {_some(names)}")


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMES_TO_SHOW]) + (" …" if len(names) > _NAMES_TO_SHOW else "")


def _column_names(path: Path) -> list[str]:
    """Names of a file's columns, from its head alone."""
    if path.name.endswith(".parquet"):
        return list(pq.read_schema(path).names)
    if path.name.endswith(".csv"):
        return [str(name) for name in pd.read_csv(path, nrows=0).columns]
    from astropy.io import fits  # takes half a second, and most catalogues are of another kind

    with fits.open(path) as hdus:
        return [str(name) for name in table_of(hdus).columns.names]


def _read(path: Path, columns: list[str], rows: int | None) -> pd.DataFrame:
    # Nullable types: an integer column with gaps stays one of integers.
    if path.name.endswith(".csv"):
        return pd.read_csv(path, usecols=columns, nrows=rows, dtype_backend="numpy_nullable")
    if path.name.endswith(".parquet") and rows is None:
        return pd.read_parquet(path, columns=columns, dtype_backend="numpy_nullable")
    frame: pd.DataFrame
    if path.name.endswith(".parquet"):
        with pq.ParquetFile(path) as file:
            batches = list(islice(file.iter_batches(batch_size=rows, columns=columns), 1))
            empty = file.schema_arrow.empty_table().select(columns)
        frame = (batches[0] if batches else empty).to_pandas()
    else:
        frame = _read_fits(path, columns, rows)
    return frame


def _read_fits(path: Path, columns: list[str], rows: int | None) -> pd.DataFrame:
    from astropy.io import fits

    with fits.open(path) as hdus:
        return fits_frame(table_of(hdus).data[slice(rows)], columns)


def fits_frame(rows: Any, columns: list[str]) -> pd.DataFrame:
    """Rows of a FITS table, of the chosen columns."""
    from astropy.io import fits
    from astropy.table import Table

    table = Table.read(fits.BinTableHDU(rows), unit_parse_strict="silent")[columns]
    frame: pd.DataFrame = table.to_pandas(index=False)
    return frame


def table_of(hdus: Any) -> Any:
    """The first table of an open FITS file."""
    from astropy.io import fits

    for hdu in hdus:
        if isinstance(hdu, fits.BinTableHDU | fits.TableHDU):
            return hdu
    raise ValueError("it holds no table")


def _numbers(frame: pd.DataFrame, column: str) -> NDArray[np.float64]:
    try:
        return np.asarray(pd.to_numeric(frame[column]).to_numpy(dtype=np.float64, na_value=np.nan))
    except (ValueError, TypeError) as error:
        raise ValueError(f"column {column!r} does not hold numbers") from error


def _separation_arcsec(
    ra_deg: float, dec_deg: float, ra_degs: NDArray[np.float64], dec_degs: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Distances on the sphere by the haversine formula, exact for small angles, at ra 0 and at the poles."""
    dec, decs = np.radians(dec_deg), np.radians(dec_degs)
    across = np.sin(np.radians(ra_degs - ra_deg) / 2)
    along = np.sin((decs - dec) / 2)
    half = along**2 + np.cos(dec) * np.cos(decs) * across**2
    distance: NDArray[np.float64] = np.degrees(2 * np.arcsin(np.sqrt(np.minimum(half, 1.0)))) * 3600
    return distance


def plain(value: Any) -> Any:
    """An entry of a catalogue as a value that can be stored; what is missing is None."""
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, list):
        return [plain(part) for part in value]
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace").strip()
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    return None if value is None or value is pd.NA or value is pd.NaT else str(value)
