"""Many objects as one table: one row each, for notebooks, files and units."""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd

from ampel_dagster.model.view import CURVE, CURVE_FACTS, STATE_VALUES, VIEW_FIELDS, TransientView

#: pandas' types that can hold a missing value without turning 64-bit ids into floats.
_DTYPES: tuple[tuple[type, str], ...] = (
    (bool, "boolean"),
    (int, "Int64"),
    (float, "float64"),
    (str, "string"),
)
_INT64 = range(-(2**63), 2**63)


def to_pandas(views: Iterable[TransientView], columns: Sequence[str] | None = None) -> pd.DataFrame:
    """One row an object, in the order of `views`; a column each for dotted paths as `TransientView.value` takes them.

    Without `columns`: all there is. Properties of the object (name, position, night, age …), its `tag` with commas
    between, facts of the light curve (``light_curve.peak_mag`` …), values of its state (``t1.name.field``), and every
    field of its T2 results (``product.field.sub``). Values that are lists become JSON text, missing ones are empty.
    Views are gone through once, and only these values are kept of them.
    """
    if columns is not None:
        rows = [tuple(view.value(path) for path in columns) for view in views]
        values = list(zip(*rows, strict=True)) or [()] * len(columns)
        return pd.DataFrame({path: column(found) for path, found in zip(columns, values, strict=True)})
    found: list[dict[str, Any]] = [_row(view) for view in views]
    names = dict.fromkeys(_FIXED)
    for row in found:
        names.update(dict.fromkeys(row))
    fixed, others = list(_FIXED), sorted(name for name in names if name not in _FIXED)
    return pd.DataFrame({name: column([row.get(name) for row in found]) for name in (*fixed, *others)})


#: Columns that every table has, first.
_FIXED = (
    *("name", "stock", "ra_deg", "dec_deg", "night", "jd", "first_jd", "age_days", "is_new", "tag"),
    *("survey", "channel", "link", "run", "source"),
    *(f"{CURVE}.{name}" for name in CURVE_FACTS),
)


def _row(view: TransientView) -> dict[str, Any]:
    row: dict[str, Any] = {name: view.value(name) for name in VIEW_FIELDS}
    row["tag"] = ",".join(view.tag)
    row |= {f"{CURVE}.{name}": value for name, value in view.facts.items()}
    for name, value in view.t1.items():
        row |= _flat(value, f"{STATE_VALUES}.{name}")
    for product, result in view.t2.items():
        row |= _flat(result.body, product)
    return row


def _flat(value: Any, prefix: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        return {prefix: value}
    found: dict[str, Any] = {}
    for key, item in value.items():
        found |= _flat(item, f"{prefix}.{key}")
    return found


def column(raw: Sequence[Any]) -> "pd.Series[Any]":
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
