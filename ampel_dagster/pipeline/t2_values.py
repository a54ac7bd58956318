"""From what a unit returns to what can be stored."""

import json
from collections.abc import Mapping
from datetime import datetime
from math import isfinite
from typing import Any, NamedTuple

import numpy as np

from ampel_dagster.model.codes import DocumentCode
from ampel_dagster.model.ids import hash64
from ampel_dagster.model.result import UnitResult

_LOWEST, _HIGHEST = -(1 << 63), (1 << 63) - 1
#: A note for the journal is a note; what is long belongs into the result.
_NOTE_BYTES = 100_000


class Answer(NamedTuple):
    """What a unit returned, as it can be stored."""

    code: int
    body: dict[str, Any]
    tags: tuple[str, ...]
    #: For the journal.
    note: Any


def checked(returned: Any) -> Answer:
    """What a unit returned, if it keeps to its contract. Raises TypeError with one line that says what is wrong."""
    if isinstance(returned, DocumentCode):
        raise TypeError(f"returned the system's code {returned.name}; a unit raises, or returns a result")
    result = returned if isinstance(returned, UnitResult) else UnitResult(returned)
    if not isinstance(result.body, Mapping):
        raise TypeError(f"a unit returns a dict or a UnitResult, not {type(result.body).__name__}")
    code: Any = result.code.item() if isinstance(result.code, np.generic) else result.code
    if isinstance(code, bool) or not isinstance(code, int) or not 0 <= code <= _HIGHEST:
        raise TypeError(f"returned the code {code!r}; units may use whole numbers, 0 and above")
    tags: Any = result.tags
    if not isinstance(tags, tuple | list) or not all(isinstance(tag, str) for tag in tags):
        raise TypeError(f"tags are a tuple of texts, not {tags!r:.100}")
    try:
        return Answer(int(code), storable(result.body), tuple(tags), _note(result.journal))
    except RecursionError:
        raise TypeError("the result holds itself, or is too deep") from None


def _note(note: Any) -> Any:
    found = storable(note)
    try:
        size = len(json.dumps(found, default=str, ensure_ascii=False).encode())
    except UnicodeError as error:
        raise TypeError(f"the note for the journal is no text ({error})") from None
    if size > _NOTE_BYTES:
        raise TypeError(f"the note for the journal has {size} bytes; keep it short, or put it into the result")
    return found


def storable(value: Any) -> Any:
    """A result as plain values: numpy becomes Python, tuples become lists, NaN, NaT and infinities become None.

    Raises TypeError for what cannot be stored (objects, integers beyond 64 bits, keys that are no text).
    """
    if isinstance(value, Mapping):
        wrong = [key for key in value if not isinstance(key, str) or "\0" in key]
        if wrong:
            raise TypeError(f"the key {wrong[0]!r} is no text")
        return {key: storable(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return [storable(item) for item in value.tolist()]
    if isinstance(value, list | tuple | set | frozenset):
        return [storable(item) for item in value]
    return _plain(value)


def _plain(value: Any) -> Any:
    """The same for a single value."""
    if isinstance(value, np.generic):
        # There are numpy floats of which `item` is no Python float.
        value = float(value) if isinstance(value, np.floating) else value.item()
    if value is None or isinstance(value, bool | str | bytes):
        return value
    if isinstance(value, datetime):
        return value if value == value else None  # NaT is a datetime, and not itself
    if isinstance(value, float):
        return float(value) if isfinite(value) else None
    if isinstance(value, int):
        if not _LOWEST <= value <= _HIGHEST:
            raise TypeError(f"the integer {value} does not fit into 64 bits")
        return int(value)  # the database has integers of its own kind
    raise TypeError(f"a {type(value).__name__} cannot be stored; return numbers, text, lists and dicts")


def digest(code: int, result: Mapping[str, Any] | None) -> int:
    """Hash of a code and a storable result."""
    return hash64(json.dumps([code, result], sort_keys=True, default=str).encode())
