"""What T2 units return, and what is kept of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class UnitResult:
    """Result of a T2 unit that has more to say than a dict."""

    body: Mapping[str, Any] = field(default_factory=dict)
    #: 0 or above: the unit's own code for a valid result.
    code: int = 0
    #: Tags to add to the document.
    tags: tuple[str, ...] = ()
    #: Note for the stock's journal.
    journal: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class T2Result:
    """A stored T2 result as reactions see it, with where it came from."""

    product: str
    unit: str
    version: str
    code: int
    body: Mapping[str, Any]
    #: Id of the t2 document.
    id: int
    #: Link of the state, id of the datapoint or of the stock that it was computed from.
    input: int
    run: str
    config: int
    ts: datetime
