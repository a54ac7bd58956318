"""What the platform asks of a survey: bytes in, alerts and datapoints out.

Everything that is peculiar to a survey (ids, names, bands, data rights, nights, photometric system) stands in one file
of this folder; the rest of the platform knows this interface only.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

from ampel_dagster.model.alert import Alert, Packet
from ampel_dagster.model.datapoint import DataPoint
from ampel_dagster.model.errors import AlertFormatError
from ampel_dagster.model.light_curve import LightCurve

T = TypeVar("T")


class Instrument(ABC):
    """One survey."""

    #: Name of the survey: prefix of its collections and assets.
    survey: ClassVar[str]
    #: Tags that are data rights; a channel may see a point if its `access` holds one of the point's.
    rights: ClassVar[frozenset[str]]
    #: Data rights of the public, for channels that name none.
    public_access: ClassVar[tuple[str, ...]]
    #: Tags that every stock of the survey carries.
    stock_tags: ClassVar[tuple[str, ...]]

    @classmethod
    def with_schemas(cls, folder: Path | None) -> Self:
        """The instrument as a stream wants it: `folder` holds schemas of packets that name theirs by a number.

        Surveys whose packets bring their schema along have no use for it.
        """
        del folder
        return cls()

    @abstractmethod
    def decode(self, packet: Packet) -> Iterator[Alert | AlertFormatError]:
        """Alerts of one packet, in order; what cannot be read comes as an error in its place, and is not raised."""

    @abstractmethod
    def stock_id(self, name: str) -> int:
        """Id of the stock that the survey calls `name`. Raises ValueError where that is no name of the survey."""

    @abstractmethod
    def stock_name(self, stock: int) -> str:
        """The survey's name for a stock."""

    @abstractmethod
    def light_curve(self, stock: int, points: Sequence[DataPoint]) -> LightCurve:
        """The points as photometry, sorted by time."""

    def light_curves(self, objects: Sequence[tuple[int, Sequence[DataPoint]]]) -> list[LightCurve]:
        """Light curves of many objects, each a stock and its points; a survey may have a faster way for many."""
        return [self.light_curve(stock, points) for stock, points in objects]

    @abstractmethod
    def position(self, candidate: Mapping[str, Any]) -> tuple[float, float]:
        """(ra, dec) of a candidate in degrees."""

    def covers(self, access: Collection[str], tag: Sequence[str]) -> bool:
        """Whether `access` gives a right to a datapoint of these tags."""
        return any(right in access for right in tag if right in self.rights)


def each(records: Iterable[T | AlertFormatError], make: Callable[[T], Alert]) -> Iterator[Alert | AlertFormatError]:
    """What is made of each record; one that cannot be read, or of which nothing can be made, stays an error."""
    for found in records:
        if isinstance(found, AlertFormatError):
            yield found
            continue
        try:
            yield make(found)
        except AlertFormatError as error:
            yield error


def changed(body: Mapping[str, Any], without: Collection[str], **others: str | int) -> Mapping[str, Any]:
    """A body without some of its fields, and with other values in others that it has; `body` stays as it is."""
    if isinstance(body, dict):
        return {key: others.get(key, value) for key, value in body.items() if key not in without}
    row: Any = body  # of `avro_rows`; it stays one that is read field by field
    found: Mapping[str, Any] = row.changed(without, **others)
    return found


def kept(body: Mapping[str, Any], names: tuple[str, ...], **others: str | int) -> Mapping[str, Any]:
    """These fields of a body only, in this order, some with other values; what it does not have is None."""
    if isinstance(body, dict):
        return {name: others.get(name, body.get(name)) for name in names}
    row: Any = body
    found: Mapping[str, Any] = row.kept(names, **others)
    return found


def picked(body: Mapping[str, Any], names: tuple[str, ...]) -> tuple[Any, ...]:
    """Several fields of a body, in the order of `names`; None for what is missing."""
    pick = getattr(body, "pick", None)
    if pick is None:
        return tuple(map(body.get, names))
    found: tuple[Any, ...] = pick(names)
    return found


def as_float(body: Mapping[str, Any], key: str) -> float:
    """A field as a float, NaN where it is missing."""
    value = body.get(key)
    return float("nan") if value is None else float(value)
