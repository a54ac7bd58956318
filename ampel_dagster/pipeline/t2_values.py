"""From what a unit returns to what can be stored."""

import json
from collections.abc import Mapping
from datetime import datetime
from math import isfinite
from typing import Any

import numpy as np

from ampel_dagster.model.ids import hash64

_INT64 = range(-(1 << 63), 1 << 63)


def storable(value: Any) -> Any:
    """A result as plain values: numpy becomes Python, tuples become lists, NaN and infinities become None.

    Raises TypeError for what cannot be stored (objects, integers beyond 64 bits, keys that are no text).
    """
    if value is None or isinstance(value, bool | str | bytes | datetime):
        return value
    if isinstance(value, np.generic):
        return storable(value.item())
    if isinstance(value, int):
        if value not in _INT64:
            raise TypeError(f"the integer {value} does not fit into 64 bits")
        return value
    if isinstance(value, float):
        return value if isfinite(value) else None
    if isinstance(value, np.ndarray):
        return [storable(item) for item in value.tolist()]
    if isinstance(value, Mapping):
        wrong = [key for key in value if not isinstance(key, str) or "\0" in key]
        if wrong:
            raise TypeError(f"the key {wrong[0]!r} is no text")
        return {key: storable(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [storable(item) for item in value]
    raise TypeError(f"a {type(value).__name__} cannot be stored; return numbers, text, lists and dicts")


def digest(code: int, result: Mapping[str, Any] | None) -> int:
    """Hash of a code and a storable result."""
    return hash64(json.dumps([code, result], sort_keys=True, default=str).encode())
