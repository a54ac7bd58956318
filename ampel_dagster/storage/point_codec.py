"""New datapoints as BSON.

A packet brings some twenty-five datapoints, and of each document only ids, time and body are its own: rights, channels,
and who wrote it are the same for a whole batch. Those parts are encoded once; the rest is one call of `struct` and one
of the driver's encoder for the body. Measured: 3.4 us a point in place of 6.6 us for the document as a dict.

The layout is that of https://bsonspec.org/spec.html.
"""

import struct
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from bson import encode
from bson.raw_bson import RawBSONDocument

from ampel_dagster.model.datapoint import DataPoint

_Shared = tuple[str, tuple[str, ...], tuple[str, ...]]
#: size; _id; stock: an array of one; jd; sensor; rank. The driver writes small integers in four bytes, others in eight.
_HEAD = struct.Struct("<i5sq14sq5sd8si6si")
_HEAD_SMALL = struct.Struct("<i5sq14si5sd8si6si")
_ID, _JD = b"\x12_id\0", b"\0\x01jd\0"
_STOCK, _STOCK_SMALL = b"\x04stock\0\x10\0\0\0\x120\0", b"\x04stock\0\x0c\0\0\0\x100\0"
_SENSOR, _RANK, _BODY, _END = b"\x10sensor\0", b"\x10rank\0", b"\x03body\0", b"\0"
_INT32 = range(-(1 << 31), 1 << 31)


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
        stock = stocks[0]
        # Ids of datapoints are large but for those of made-up packets; those of stocks are often small.
        if len(stocks) > 1 or superseded_by or id_ in _INT32:
            return RawBSONDocument(encode(self.document(new)))
        key = (kind, channels, tag)
        shared = self._shared.get(key)
        if shared is None:
            fields = {"kind": kind, "channel": sorted(channels), "tag": list(tag)}
            shared = self._shared[key] = encode(fields)[4:-1] + _BODY
        # A body that comes from a compiled reader has its bytes at hand.
        own = getattr(body, "to_bson", None)
        rest = shared + (encode(body) if own is None else own()) + self._meta_bytes
        form, field = (_HEAD_SMALL, _STOCK_SMALL) if stock in _INT32 else (_HEAD, _STOCK)
        head = form.pack(form.size + len(rest), _ID, id_, field, stock, _JD, jd, _SENSOR, sensor, _RANK, rank)
        return RawBSONDocument(head + rest)

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
