"""New datapoints as BSON.

A packet brings some twenty-five datapoints, and of each document only ids, time and body are its own: rights, channels,
and who wrote it are the same for a whole batch. Those parts are encoded once, and put together with the point's own by
compiled code: 1.9 us a point in place of 6.6 us for the document as a dict, which is what is done where there is none.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from bson import encode
from bson.raw_bson import RawBSONDocument

from ampel_dagster.model.datapoint import DataPoint

_Shared = tuple[str, tuple[str, ...], tuple[str, ...]]
try:
    from ampel_dagster.storage import point_rows
except ImportError:  # there was no C compiler when the project was installed
    point_rows = None  # type: ignore[assignment]

_BODY = b"\x03body\0"


class NewPoint(NamedTuple):
    """A datapoint that shall be there."""

    point: DataPoint
    stocks: tuple[int, ...]
    channels: tuple[str, ...]
    #: Points of the same exposure that replace it.
    superseded_by: Sequence[int] = ()


class PointEncoder:
    """Encodes the points of one batch."""

    def __init__(self, meta: Mapping[str, Any]) -> None:
        self._meta = meta
        self._meta_bytes = encode({"meta": meta})[4:]  # with the zero that ends the document
        self._shared: dict[_Shared, bytes] = {}

    def encode(self, new: NewPoint) -> RawBSONDocument:
        """The document of a new point."""
        point, stocks, channels, superseded_by = new
        id_, kind, jd, sensor, tag, rank, body = point
        if point_rows is None or len(stocks) > 1 or superseded_by:
            return RawBSONDocument(encode(self.document(new)))
        key = (kind, channels, tag)
        shared = self._shared.get(key)
        if shared is None:
            fields = {"kind": kind, "channel": sorted(channels), "tag": list(tag)}
            shared = self._shared[key] = encode(fields)[4:-1] + _BODY
        # A body that comes from a compiled reader has its bytes at hand.
        own = getattr(body, "to_bson", None)
        raw = encode(body) if own is None else own()
        try:
            return RawBSONDocument(
                point_rows.point_document(id_, stocks[0], jd, sensor, rank, shared, raw, self._meta_bytes)
            )
        except OverflowError:
            return RawBSONDocument(encode(self.document(new)))

    def document(self, new: NewPoint) -> dict[str, Any]:
        """The same as a dict."""
        point = new.point
        document: dict[str, Any] = {
            "_id": point.id,
            "stock": sorted(new.stocks),
            "jd": point.jd,
            "sensor": point.sensor,
            "rank": point.rank,
            "kind": point.kind,
            "channel": sorted(new.channels),
            "tag": list(point.tag),
            "body": point.body,
            "meta": self._meta,
        }
        if new.superseded_by:
            document["tag"].append("SUPERSEDED")
            document["superseded_by"] = list(new.superseded_by)
        return document
