"""Whole datapoints by query, by the shortest way from the server's reply to points.

By the compiled reader where there is one, which leaves bodies to be decoded on first use; by the driver's cursor where
not, or where the connection breaks: the driver asks once more by itself, which a plain command does not.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from pymongo.errors import AutoReconnect

from ampel_dagster.model.datapoint import DataPoint
from ampel_dagster.storage.collections import DocumentCollection

try:
    from ampel_dagster.storage import point_rows
except ImportError:  # there was no C compiler when the project was installed
    point_rows = None  # type: ignore[assignment]

#: What is asked of a document where the driver decodes it.
_FIELDS = {"jd": 1, "sensor": 1, "rank": 1, "kind": 1, "tag": 1, "body": 1}
_BATCH = 5000
_RAW: CodecOptions[RawBSONDocument] = CodecOptions(document_class=RawBSONDocument)


def find_points(collection: DocumentCollection, query: Mapping[str, Any], limit: int = 0) -> Iterator[DataPoint]:
    """The points that a query finds, in no order; with a `limit` not more than that."""
    if point_rows is not None:
        try:
            yield from [point for points in _replies(collection, query, limit) for point in points]
            return
        except AutoReconnect:
            pass
    yield from map(point_of, collection.find(query, _FIELDS, batch_size=_BATCH, limit=limit))


def point_of(d: Mapping[str, Any]) -> DataPoint:
    """A point of a document as the driver decodes it."""
    return DataPoint(d["_id"], d["kind"], d["jd"], d["sensor"], tuple(d["tag"]), d["rank"], d.get("body", {}))


def _replies(collection: DocumentCollection, query: Mapping[str, Any], limit: int) -> Iterator[list[DataPoint]]:
    database, name = collection.database, collection.name
    reader = point_rows.ReplyReader(DataPoint, point_of)
    with database.client.start_session() as session:
        reply = database.command(
            {"find": name, "filter": query, "batchSize": _BATCH, "limit": limit}, codec_options=_RAW, session=session
        )
        while True:
            points, cursor = reader.read(reply["cursor"].raw)
            yield points
            if not cursor:
                return
            more = {"getMore": cursor, "collection": name, "batchSize": _BATCH}
            reply = database.command(more, codec_options=_RAW, session=session)
