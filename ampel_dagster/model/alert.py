"""An alert: one packet of a survey about one stock, decoded only as far as it is looked at."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from ampel_dagster.model.datapoint import DataPoint
from ampel_dagster.model.errors import UndeclaredReadError

#: Bytes that one alert may have, packed or unpacked. Real ones have less than 1 MB; a document of MongoDB holds 16 MB.
MAX_ALERT_BYTES = 15_000_000
_UNDECLARED = 'the filter declares needs = "candidate", but reads {}; let it declare needs = "history"'


class Packet(NamedTuple):
    """Raw bytes and where they come from."""

    data: bytes
    #: Path of the file (relative to what was asked for, where that is a folder), or 'topic/partition'.
    source: str
    #: Place inside the source: number of the packet, from 0.
    offset: int
    #: Name inside an archive, for people.
    member: str = ""
    #: Where the packet came over Kafka: its topic and partition.
    topic: str = ""
    partition: int = -1

    @property
    def place(self) -> dict[str, Any]:
        """Where the packet was read, as documents of the ledger have it."""
        if self.topic:
            return {"topic": self.topic, "partition": self.partition, "offset": self.offset}
        return {"file": self.source, "offset": self.offset, "member": self.member}


def place_name(place: Mapping[str, Any]) -> str:
    """What people call the place of a packet: its file, or 'topic/partition'."""
    return f"{place['topic']}/{place['partition']}" if "topic" in place else str(place["file"])


class Alert:
    """One alert, as filters see it.

    `candidate` (the detection that triggered the alert, in the survey's own field names) is there at once. `points`,
    the candidate and its history, newest first, are decoded when first asked for: a filter that needs the candidate
    alone costs a tenth of one that looks at the history.

    Raises AlertFormatError from `points` and `cutouts` where the rest of the packet cannot be read.
    """

    __slots__ = (
        "_points",
        "_read_cutouts",
        "_read_points",
        "_sealed",
        "candidate",
        "id",
        "jd",
        "name",
        "night",
        "packet",
        "rank",
        "stock",
        "tag",
    )

    def __init__(
        self,
        *,
        id: int,
        stock: int,
        name: str,
        jd: float,
        night: str,
        tag: tuple[str, ...],
        rank: int,
        candidate: Mapping[str, Any],
        packet: Packet,
        read_points: Callable[[], tuple[DataPoint, ...]],
        read_cutouts: Callable[[], Mapping[str, bytes]] = dict,
    ) -> None:
        self.id = id
        self.stock = stock
        self.name = name
        self.jd = jd
        self.night = night
        #: AMPEL's tags of the candidate: survey, data rights, band.
        self.tag = tag
        #: Version of the packet's schema as a number: of two packets of one alert the higher tells more.
        self.rank = rank
        self.candidate = candidate
        self.packet = packet
        self._read_points = read_points
        self._read_cutouts = read_cutouts
        self._points: tuple[DataPoint, ...] | None = None
        self._sealed = False

    def seal(self, sealed: bool) -> None:
        """Refuse (or give again) what lies behind the candidate: to a filter that says that it needs no more."""
        self._sealed = sealed

    @property
    def points(self) -> tuple[DataPoint, ...]:
        """Candidate first, then its history from new to old."""
        if self._sealed:
            raise UndeclaredReadError(_UNDECLARED.format("alert.points"))
        if self._points is None:
            self._points = self._read_points()
        return self._points

    @property
    def detections(self) -> Iterator[DataPoint]:
        """The detections among the points, newest first."""
        return (point for point in self.points if point.kind == "detection")

    @property
    def upper_limits(self) -> Iterator[DataPoint]:
        """The upper limits among the points, newest first."""
        return (point for point in self.points if point.kind == "upper_limit")

    def cutouts(self) -> Mapping[str, bytes]:
        """Image stamps by name ('science', 'template', 'difference') as gzipped FITS; empty if there are none."""
        if self._sealed:
            raise UndeclaredReadError(_UNDECLARED.format("alert.cutouts()"))
        return self._read_cutouts()

    def __repr__(self) -> str:
        return f"Alert(id={self.id}, name={self.name!r}, jd={self.jd})"
