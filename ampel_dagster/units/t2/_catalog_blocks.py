"""Catalogue files block by block, as they are loaded into a database."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from ampel_dagster.model.catalog import CatalogRows
from ampel_dagster.model.ids import hash_json
from ampel_dagster.units.t2._catalog import (
    FileVersion,
    Layout,
    content_hash,
    fits_frame,
    found_columns,
    plain,
    positions,
    table_of,
)

#: Rows that are in memory at a time: some 100 MB where they have a dozen columns.
BLOCK_ROWS = 200_000


class CatalogFile(NamedTuple):
    """A catalogue file that was looked at."""

    path: Path
    layout: Layout
    ra: str
    dec: str
    rows: int
    #: Types of a CSV file's columns, as all of its rows have them.
    types: dict[str, str]

    @classmethod
    def open(cls, path: Path, layout: Layout, *, every_column: bool = False) -> "CatalogFile":
        """Look at columns and number of rows; `every_column`: all but those of the position are handed out.

        Raises OSError or ValueError where the file cannot be read or used.
        """
        ra, dec, names = found_columns(path, layout)
        if every_column:
            layout = layout._replace(columns=tuple(name for name in names if name not in (ra, dec)))
        wanted = list(dict.fromkeys((ra, dec, *layout.columns)))
        rows, types = _size(path, wanted)
        return cls(path, layout, ra, dec, rows, types)

    @property
    def version(self) -> str:
        """Hash of the file's content and of what is taken from it, as 16 hexadecimal digits."""
        parts = [content_hash(FileVersion.of(self.path)), self.ra, self.dec, self.layout.unit, *self.layout.columns]
        return f"{hash_json(parts) & (1 << 64) - 1:016x}"

    def blocks(self, rows: int = BLOCK_ROWS) -> Iterator[CatalogRows]:
        """All rows that have a position, as plain values."""
        wanted = list(dict.fromkeys((self.ra, self.dec, *self.layout.columns)))
        for frame in self._frames(wanted, rows):
            ra_deg, dec_deg = positions(frame, self.ra, self.dec, self.layout.unit)
            known = np.flatnonzero(np.isfinite(ra_deg))
            columns = {name: _values(frame[name].array.take(known)) for name in self.layout.columns}
            yield CatalogRows(ra_deg[known] % 360.0, dec_deg[known], columns)

    def _frames(self, columns: list[str], rows: int) -> Iterator[pd.DataFrame]:
        if self.path.name.endswith(".csv"):
            with pd.read_csv(self.path, usecols=columns, chunksize=rows, dtype=self.types) as reader:
                yield from reader
        elif self.path.name.endswith(".parquet"):
            with pq.ParquetFile(self.path) as file:
                for batch in file.iter_batches(batch_size=rows, columns=columns):
                    yield batch.to_pandas(types_mapper=_NULLABLE.get)
        else:
            yield from _fits_frames(self.path, columns, rows)


def _fits_frames(path: Path, columns: list[str], rows: int) -> Iterator[pd.DataFrame]:
    from astropy.io import fits

    with fits.open(path) as hdus:
        data = table_of(hdus).data
        for begin in range(0, len(data), rows):
            yield fits_frame(data[begin : begin + rows], columns)


def _nullable() -> dict[Any, Any]:
    import pyarrow as pa

    return {
        pa.int8(): pd.Int8Dtype(),
        pa.int16(): pd.Int16Dtype(),
        pa.int32(): pd.Int32Dtype(),
        pa.int64(): pd.Int64Dtype(),
        pa.uint8(): pd.UInt8Dtype(),
        pa.uint16(): pd.UInt16Dtype(),
        pa.uint32(): pd.UInt32Dtype(),
        pa.uint64(): pd.UInt64Dtype(),
        pa.bool_(): pd.BooleanDtype(),
    }


#: Integers with gaps stay integers.
_NULLABLE = _nullable()


def _size(path: Path, columns: list[str]) -> tuple[int, dict[str, str]]:
    """Number of rows; of a CSV file also the types that hold each column's every value."""
    if path.name.endswith(".parquet"):
        return int(pq.read_metadata(path).num_rows), {}
    if not path.name.endswith(".csv"):
        from astropy.io import fits

        with fits.open(path) as hdus:
            return int(table_of(hdus).header["NAXIS2"]), {}
    rows = 0
    seen: dict[str, set[str]] = {name: set() for name in columns}
    with pd.read_csv(path, usecols=columns, chunksize=BLOCK_ROWS, dtype_backend="numpy_nullable") as reader:
        for frame in reader:
            rows += len(frame)
            for name in columns:
                if frame[name].notna().any():  # a block without any value says nothing of the type
                    seen[name].add(str(frame[name].dtype))
    return rows, {name: _widest(types) for name, types in seen.items()}


def _widest(types: set[str]) -> str:
    """The type of a column whose blocks have these."""
    if len(types) == 1:
        return next(iter(types))
    return "Float64" if types == {"Int64", "Float64"} else "string"


def _values(column: Sequence[Any]) -> list[Any]:
    return [plain(value) for value in column]
