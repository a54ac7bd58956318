"""Whole datapoints by query, by the shortest way from the server's reply to points.

By the compiled reader where there is one; by the driver's cursor and `point_reader` where not, or where the connection
breaks: the driver asks once more by itself, which a plain command does not.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from pymongo.errors import AutoReconnect

from ampel_dagster.model.datapoint import DataPoint
from ampel_dagster.storage.collections import DocumentCollection
from ampel_dagster.storage.point_reader import FIELDS, PointReader, point_of

try:
    from ampel_dagster.storage import point_rows
except ImportError:  # there was no C compiler when the project was installed
    point_rows = None  # type: ignore[assignment]

_BATCH = 5000
_RAW: CodecOptions[RawBSONDocument] = CodecOptions(document_class=RawBSONDocument)


def find_points(collection: DocumentCollection, query: Mapping[str, Any]) -> Iterator[DataPoint]:
    """The points that a query finds, in no order; their bodies are decoded on first use."""
    if point_rows is not None:
        try:
            yield from [point for points in _replies(collection, query) for point in points]
            return
        except AutoReconnect:
            pass
    batches: Any = collection.find_raw_batches(dict(query), FIELDS, batch_size=_BATCH)  # of bytes
    yield from PointReader().read(batches)


def _replies(collection: DocumentCollection, query: Mapping[str, Any]) -> Iterator[list[DataPoint]]:
    database, name = collection.database, collection.name
    reader = point_rows.ReplyReader(DataPoint, point_of)
    with database.client.start_session() as session:
        reply = database.command(
            {"find": name, "filter": query, "batchSize": _BATCH}, codec_options=_RAW, session=session
        )
        while True:
            points, cursor = reader.read(reply["cursor"].raw)
            yield points
            if not cursor:
                return
            more = {"getMore": cursor, "collection": name, "batchSize": _BATCH}
            reply = database.command(more, codec_options=_RAW, session=session)
