"""One object on the sky, and the states through which it was seen."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Stock:
    """An object as stored: its id, the survey's names for it, tags, channels that took it, latest position."""

    survey: str
    id: int
    name: str
    tag: tuple[str, ...]
    channel: tuple[str, ...]
    ra_deg: float
    dec_deg: float


@dataclass(frozen=True, slots=True)
class State:
    """A set of datapoints of one stock, as known when an alert came; `link` names it."""

    survey: str
    link: int
    stock: int
    #: Ids of the datapoints, sorted.
    dps: tuple[int, ...]
    night: str
