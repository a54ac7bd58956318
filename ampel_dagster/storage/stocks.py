"""Stocks: one document for every object that a channel took."""

from collections.abc import Collection, Iterator, Mapping, Sequence
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


class Seen(NamedTuple):
    """What is stored of a stock that a batch has to know."""

    #: Time and id of the latest alert.
    jd: float
    alert: int
    channel: frozenset[str]


class Stocks:
    """Verbs on the stocks of one survey."""

    def __init__(self, collection: DocumentCollection, survey: str) -> None:
        self.collection = collection
        self._survey = survey

    def seen(self, ids: Sequence[int]) -> dict[int, Seen]:
        """The stocks among these that are there."""
        fields = {"position.jd": 1, "position.alert": 1, "ts.channel": 1}
        return {
            d["_id"]: Seen(d["position"]["jd"], d["position"]["alert"], frozenset(t["channel"] for t in d["ts"]))
            for d in self.collection.find({"_id": {"$in": list(ids)}}, fields)
        }

    def see(self, sightings: Sequence[Sighting], seen: Mapping[int, Seen], meta: Document) -> int:
        """Make or update stocks; `seen` is what was there a moment ago. Return how many are new."""
        new = [_document(s, meta) for s in sightings if s.stock not in seen]
        duplicates = insert_missing(self.collection, new)
        plain = [s for s in sightings if s.stock in seen and _is_plain(s, seen[s.stock])]
        if plain:
            done = self.collection.bulk_write([_plain_update(s, meta) for s in plain], ordered=False)
            if done.matched_count < len(plain):
                plain = []  # somebody brought a later alert in between: all again, with a closer look
        finished = {s.stock for s in plain}
        rest = [s for s in sightings if s.stock not in finished and (s.stock in seen or s.stock in duplicates)]
        update_each(self.collection, [_update(s, meta) for s in rest])
        return len(new) - len(duplicates)

    def load(self, ids: Sequence[int], channel: str | None = None) -> dict[int, Stock]:
        """Stocks by id; with a channel those that it took, as it may see them: with its own tags, and no others'."""
        query: Document = {"_id": {"$in": list(ids)}} | ({"channel": channel} if channel is not None else {})
        return {d["_id"]: self._stock(d, channel) for d in self.collection.find(query)}

    def by_name(self, name: str) -> Stock | None:
        """The stock that a survey calls so."""
        d = self.collection.find_one({"name": name})
        return self._stock(d) if d else None

    def all_ids(self) -> Iterator[int]:
        """Ids of all stocks."""
        return (d["_id"] for d in self.collection.find({}, {"_id": 1}))

    def add_own_tags(self, tags: Mapping[int, Collection[str]], channel: str) -> None:
        """Tag stocks for one channel, which alone sees these tags."""
        update_each(
            self.collection,
            [
                UpdateOne(
                    {"_id": stock}, {"$addToSet": {"own_tag": {"$each": [f"{channel}|{t}" for t in sorted(new)]}}}
                )
                for stock, new in tags.items()
            ],
        )

    def add_names(self, names: Mapping[int, Collection[str]]) -> None:
        """Further names by which stocks are known, and can be found."""
        update_each(
            self.collection,
            [
                UpdateOne({"_id": stock}, {"$addToSet": {"name": {"$each": sorted(new)}}})
                for stock, new in names.items()
            ],
        )

    def _stock(self, d: Document, channel: str | None = None) -> Stock:
        where, own = d["position"], (tag.partition("|") for tag in d.get("own_tag", ()))
        return Stock(
            self._survey,
            d["_id"],
            d["name"][0],
            (*d["tag"], *(tag for owner, _, tag in own if owner == channel)),
            tuple(d["channel"]) if channel is None else (channel,),
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


def _is_plain(s: Sighting, seen: Seen) -> bool:
    """Whether nothing but times and position change: a later alert, taken by channels that have taken others before."""
    return s.jd > seen.jd and seen.channel.issuperset(s.channel)


def _plain_update(s: Sighting, meta: Document) -> UpdateOne:
    change = {"$set": {"position": _position(s), "ts.$[mine].upd": meta["ts"]}}
    mine: list[Mapping[str, Any]] = [{"mine.channel": {"$in": list(s.channel)}}]
    return UpdateOne({"_id": s.stock, "position.jd": {"$lt": s.jd}}, change, array_filters=mine)


def _update(s: Sighting, meta: Document) -> UpdateOne:
    """One update by aggregation: times of the channels are changed in place, the position only by a later one."""
    now, channels = meta["ts"], list(s.channel)
    kept = {"$filter": {"input": "$ts", "cond": {"$not": {"$in": ["$$this.channel", channels]}}}}
    touched = {
        "$map": {
            "input": {"$filter": {"input": "$ts", "cond": {"$in": ["$$this.channel", channels]}}},
            "in": {"$mergeObjects": ["$$this", {"upd": now}]},
        }
    }
    # Asked of the document as it is now: another run may have brought the same channel a moment ago.
    fresh = {
        "$filter": {
            "input": [{"channel": c, "tied": now, "upd": now} for c in channels],
            "cond": {"$not": {"$in": ["$$this.channel", "$ts.channel"]}},
        }
    }
    same_time = {"$and": [{"$eq": ["$position.jd", s.jd]}, {"$lt": ["$position.alert", s.alert]}]}
    later = {"$or": [{"$lt": ["$position.jd", s.jd]}, same_time]}
    change: dict[str, Any] = {
        "ts": {"$concatArrays": [kept, touched, fresh]},
        "channel": {"$setUnion": ["$channel", channels]},
        "position": {"$cond": [later, _position(s), "$position"]},
    }
    return UpdateOne({"_id": s.stock}, [{"$set": change}])
