"""Stocks: one document for every object that a channel took."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from pymongo import UpdateOne

from ampel_dagster.model.stock import Stock
from ampel_dagster.storage.collections import Document, DocumentCollection
from ampel_dagster.storage.writes import insert_missing, update_each


class Sighting(NamedTuple):
    """What a batch has to say about a stock: who took it, and where it was at last."""

    stock: int
    name: str
    tag: tuple[str, ...]
    channel: tuple[str, ...]
    jd: float
    alert: int
    ra_deg: float
    dec_deg: float


class Stocks:
    """Verbs on the stocks of one survey."""

    def __init__(self, collection: DocumentCollection, survey: str) -> None:
        self.collection = collection
        self._survey = survey

    def see(self, sightings: Sequence[Sighting], meta: Document) -> int:
        """Make or update stocks; return how many are new."""
        known = {
            d["_id"]: d
            for d in self.collection.find({"_id": {"$in": [s.stock for s in sightings]}}, {"ts": 1, "position": 1})
        }
        new = [_document(s, meta) for s in sightings if s.stock not in known]
        duplicates = insert_missing(self.collection, new)
        updates = [_update(s, known.get(s.stock), meta) for s in sightings if s.stock in known or s.stock in duplicates]
        update_each(self.collection, updates)
        return len(new) - len(duplicates)

    def load(self, ids: Sequence[int]) -> dict[int, Stock]:
        """Stocks by id."""
        found = self.collection.find({"_id": {"$in": list(ids)}})
        return {d["_id"]: self._stock(d) for d in found}

    def by_name(self, name: str) -> Stock | None:
        """The stock that a survey calls so."""
        d = self.collection.find_one({"name": name})
        return self._stock(d) if d else None

    def all_ids(self) -> Iterator[int]:
        """Ids of all stocks."""
        return (d["_id"] for d in self.collection.find({}, {"_id": 1}))

    def add_tags(self, stock: int, tags: Sequence[str]) -> None:
        """Tag a stock; tags are not bound to a channel, and selections can ask for them."""
        self.collection.update_one({"_id": stock}, {"$addToSet": {"tag": {"$each": list(tags)}}})

    def _stock(self, d: Document) -> Stock:
        where = d["position"]
        return Stock(
            self._survey,
            d["_id"],
            d["name"][0],
            tuple(d["tag"]),
            tuple(d["channel"]),
            where["ra_deg"],
            where["dec_deg"],
        )


def _document(s: Sighting, meta: Document) -> Document:
    return {
        "_id": s.stock,
        "name": [s.name],
        "tag": list(s.tag),
        "channel": list(s.channel),
        "ts": [{"channel": c, "tied": meta["ts"], "upd": meta["ts"]} for c in s.channel],
        "position": _position(s),
        "meta": meta,
    }


def _position(s: Sighting) -> Document:
    return {"ra_deg": s.ra_deg, "dec_deg": s.dec_deg, "jd": s.jd, "alert": s.alert}


def _update(s: Sighting, known: Document | None, meta: Document) -> UpdateOne:
    """One update by aggregation: times of the channels are changed in place, the position only by a later one."""
    now, channels = meta["ts"], list(s.channel)
    kept = {"$filter": {"input": "$ts", "cond": {"$not": {"$in": ["$$this.channel", channels]}}}}
    touched = {
        "$map": {
            "input": {"$filter": {"input": "$ts", "cond": {"$in": ["$$this.channel", channels]}}},
            "in": {"$mergeObjects": ["$$this", {"upd": now}]},
        }
    }
    there = {entry["channel"] for entry in known["ts"]} if known else set()
    fresh = [{"channel": c, "tied": now, "upd": now} for c in channels if c not in there]
    same_time = {"$and": [{"$eq": ["$position.jd", s.jd]}, {"$lt": ["$position.alert", s.alert]}]}
    later = {"$or": [{"$lt": ["$position.jd", s.jd]}, same_time]}
    change: dict[str, Any] = {
        "ts": {"$concatArrays": [kept, touched, fresh]},
        "channel": {"$setUnion": ["$channel", channels]},
        "position": {"$cond": [later, _position(s), "$position"]},
    }
    return UpdateOne({"_id": s.stock}, [{"$set": change}])
