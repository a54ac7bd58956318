"""A table of the selection, for spreadsheets, notebooks and other programs."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

import numpy as np
import pandas as pd
from pydantic import Field

from ampel_dagster.model.view import Artefact, ReactionContext, TransientView
from ampel_dagster.units.base import Report
from ampel_dagster.units.t3._columns import Path, Paths
from ampel_dagster.units.t3._files import write_whole

#: pandas' types that can hold a missing value without turning 64-bit ids into floats.
_DTYPES: tuple[tuple[type, str], ...] = (
    (bool, "boolean"),
    (int, "Int64"),
    (float, "float64"),
    (str, "string"),
)
_INT64 = range(-(2**63), 2**63)


class TransientTable(Report):
    """Write one row an object as `table.csv` and `table.parquet`; the columns are dotted paths.

    The same objects give the same CSV, byte by byte. Nested values become JSON text, missing ones stay empty.
    """

    #: One column each: a property of the object, or product.field of a result.
    columns: Paths = Field(min_length=1)
    #: Files to write: csv, parquet.
    formats: tuple[Literal["csv", "parquet"], ...] = Field(default=("csv", "parquet"), min_length=1)
    #: Path to sort by, which need not be a column; without it the order of the selection stays.
    sort_by: Path | None = None
    #: Largest first.
    descending: bool = False

    @property
    def paths(self) -> Sequence[str]:
        """The columns, and what they are sorted by."""
        return (*self.columns, self.sort_by) if self.sort_by else self.columns

    def write(self, views: Sequence[TransientView], context: ReactionContext) -> Sequence[Artefact]:
        """Write the table in each of the formats."""
        frame = self.frame(views)
        title = f"Table of {context.channel}, {context.night}"
        artefacts = []
        for kind in dict.fromkeys(self.formats):
            path = context.folder / f"table.{kind}"
            if kind == "csv":
                write_whole(path, lambda file: frame.to_csv(file, index=False, lineterminator="\n"))
            else:
                write_whole(path, lambda file: frame.to_parquet(file, index=False))
            artefacts.append(Artefact(path, f"{title} ({kind})", len(frame)))
        return artefacts

    def frame(self, views: Sequence[TransientView]) -> pd.DataFrame:
        """The table as a DataFrame; objects without a value to sort by come last."""
        data = {path: _column([view.value(path) for view in views]) for path in self.columns}
        frame = pd.DataFrame(data, columns=list(self.columns))
        if self.sort_by is None:
            return frame
        key = _column([view.value(self.sort_by) for view in views])
        order = key.sort_values(ascending=not self.descending, kind="stable", na_position="last").index
        return frame.loc[order].reset_index(drop=True)


def _column(raw: Sequence[Any]) -> "pd.Series[Any]":
    """Values as a column of one type; values of several types, which no file format takes, as text."""
    values = [_plain(value) for value in raw]
    types = {type(value) for value in values if value is not None}
    if types == {int, float}:
        types = {float}
    if len(types) > 1:
        return pd.Series([None if value is None else _text(value) for value in values], dtype="string")
    for python_type, dtype in _DTYPES:
        if types == {python_type}:
            return pd.Series(values, dtype=dtype)
    column = pd.Series(values, dtype=object)
    return pd.to_datetime(column, utc=True) if types else column  # of types, only time is left


def _plain(value: Any) -> bool | int | float | str | datetime | None:
    """One of the types that a column can have."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | float | str | datetime):
        return value
    if isinstance(value, int):
        number = int(value)  # of the database's own kind a range would be searched through
        return number if number in _INT64 else str(number)
    return json.dumps(value, sort_keys=True, ensure_ascii=False, default=_jsonable)


def _jsonable(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    return str(value)


def _text(value: bool | int | float | str | datetime) -> str:
    return value if isinstance(value, str) else str(value)
