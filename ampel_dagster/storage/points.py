"""Datapoints (``t0``)."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from pymongo import UpdateOne

from ampel_dagster.model.datapoint import DataPoint, Kind
from ampel_dagster.storage.collections import Document, DocumentCollection
from ampel_dagster.storage.point_codec import NewPoint, PointEncoder
from ampel_dagster.storage.point_replies import find_points, point_of
from ampel_dagster.storage.writes import Additions, add_to_sets, insert_ahead, update_each

_ROW = {
    **{"stock": 1, "channel": 1, "tag": 1, "kind": 1, "jd": 1, "sensor": 1, "rank": 1},
    **{"meta.batch": 1, "superseded_by": 1, "joined": 1},
}


class PointRow(NamedTuple):
    """What is needed of a stored datapoint to decide about states, without its body; begins as a `DataPoint` does."""

    id: int
    kind: Kind
    jd: float
    sensor: int
    tag: tuple[str, ...]
    rank: int
    stock: tuple[int, ...]
    channel: tuple[str, ...]
    #: Batch that brought the point.
    batch: int
    #: Points of the same exposure of which it is known that they replace it.
    superseded_by: tuple[int, ...] = ()
    #: Stocks that came to a point that was there (upper limits are shared), each with the batch that brought them.
    joined: tuple[tuple[int, int], ...] = ()

    def brought(self, stock: int) -> int:
        """Batch that brought the point to a stock."""
        return dict(self.joined).get(stock, self.batch) if self.joined else self.batch


class Points:
    """Verbs on the datapoints of one survey."""

    def __init__(self, collection: DocumentCollection) -> None:
        self.collection = collection

    def rows_of_stocks(self, stocks: Sequence[int]) -> list[PointRow]:
        """All stored points of these stocks."""
        return [_row(d) for d in self.collection.find({"stock": {"$in": list(stocks)}}, _ROW)]

    def rows_by_id(self, ids: Iterable[int]) -> list[PointRow]:
        """The stored points among these ids."""
        wanted = list(ids)
        return [_row(d) for d in self.collection.find({"_id": {"$in": wanted}}, _ROW)] if wanted else []

    def load(self, ids: Iterable[int], fields: Sequence[str] | None = None) -> dict[int, DataPoint]:
        """Points with their bodies, by id; `fields` restricts the body."""
        projection: dict[str, int] = {"kind": 1, "jd": 1, "sensor": 1, "tag": 1, "rank": 1}
        projection |= {"body": 1} if fields is None else {f"body.{field}": 1 for field in fields}
        found = self.collection.find({"_id": {"$in": list(ids)}}, projection, batch_size=5000)
        return {d["_id"]: point_of(d) for d in found}

    def of_stocks(
        self, ids: Collection[int], stocks: Iterable[int], channel: str | None = None
    ) -> dict[int, DataPoint]:
        """Points of these stocks among `ids`, whole, by id; with a channel those that it may see.

        All points of a stock are found by one look into an index, where as many by their ids take as many (measured:
        1.8 us a point of the server's time in place of 3). Where stocks have far more points than are asked for, which
        nobody knows before, the rest is asked for by id.
        """
        visible: Document = {} if channel is None else {"channel": channel}
        wanted = set(ids)
        if not wanted:
            return {}
        of_stocks = find_points(self.collection, {"stock": {"$in": list(stocks)}, **visible}, 2 * len(wanted))
        found = {point.id: point for point in of_stocks if point.id in wanted}
        missing = list(wanted.difference(found))
        if missing:
            found |= {p.id: p for p in find_points(self.collection, {"_id": {"$in": missing}, **visible})}
        return found

    def insert(
        self, new: Sequence[NewPoint], meta: Mapping[str, Any], meanwhile: Callable[[], None] = lambda: None
    ) -> set[int]:
        """Insert new points, and do something else meanwhile; return ids that another worker was faster with."""
        return insert_ahead(self.collection, new, PointEncoder(meta).encode, meanwhile)

    def add_channels(self, additions: Additions) -> int:
        """Let channels share points that are there."""
        return add_to_sets(self.collection, "channel", additions)

    def add_stock(self, stock: int, ids: Sequence[int], batch: int) -> int:
        """Say that points (upper limits) belong to one more stock, since this batch."""
        query = {"_id": {"$in": list(ids)}, "stock": {"$ne": stock}}
        change = {"$addToSet": {"stock": stock}, "$set": {f"joined.{stock}": batch}}
        return self.collection.update_many(query, change).modified_count

    def enrich(self, points: Iterable[DataPoint], meta: Mapping[str, Any]) -> int:
        """Replace bodies by ones of higher rank; a point that is as rich already stays."""
        return update_each(
            self.collection,
            [
                UpdateOne(
                    {"_id": p.id, "rank": {"$lt": p.rank}},
                    {"$set": {"body": p.body, "rank": p.rank, "enriched": meta}},
                )
                for p in points
            ],
        )

    def supersede(self, newer: Mapping[int, Sequence[int]]) -> int:
        """Mark points as superseded by others of the same exposure; for display and counts only."""
        return update_each(
            self.collection,
            [
                UpdateOne(
                    {"_id": id_},
                    {"$addToSet": {"tag": "SUPERSEDED", "superseded_by": {"$each": list(ids)}}},
                )
                for id_, ids in newer.items()
            ],
        )


def _row(d: Document) -> PointRow:
    return PointRow(
        d["_id"],
        d["kind"],
        d["jd"],
        d["sensor"],
        tuple(d["tag"]),
        d["rank"],
        tuple(d["stock"]),
        tuple(d["channel"]),
        d["meta"].get("batch", 0),
        tuple(d.get("superseded_by", ())),
        tuple((int(stock), batch) for stock, batch in d["joined"].items()) if "joined" in d else (),
    )
