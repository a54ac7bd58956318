"""Batches: the unit of work, of crash repair, and of "what is new" for reactions."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from pymongo import ReturnDocument, WriteConcern
from pymongo.read_concern import ReadConcern

from ampel_dagster.model.run import Mode, utc_now
from ampel_dagster.storage.collections import Document, DocumentCollection

Touched = Mapping[str, Sequence[int]]
#: Numbers of packets by source, as (first, last) of each row without a gap.
Holds = Mapping[str, Sequence[tuple[int, int]]]


class Batches:
    """Verbs on batches. The mark that a batch is done is journaled (majority where the server is a replica set)."""

    def __init__(self, collection: DocumentCollection, *, replicated: bool) -> None:
        self.collection = collection
        concern = WriteConcern(w="majority" if replicated else 1, j=True)
        self._durable = collection.with_options(write_concern=concern)
        self._read = collection.with_options(read_concern=ReadConcern("majority" if replicated else "local"))

    def states(self, ids: Iterable[int]) -> dict[int, str]:
        """'open', 'stored' (T0 finished, states still to come) or 'done', by id."""
        wanted = list(ids)
        if not wanted:
            return {}
        return {d["_id"]: d["state"] for d in self._read.find({"_id": {"$in": wanted}}, {"state": 1})}

    def open(
        self,
        id_: int,
        kind: str,
        survey: str,
        mode: Mode,
        meta: Mapping[str, Any],
        stocks: Sequence[int] = (),
        holds: Holds | None = None,
        channels: Sequence[str] = (),
    ) -> int:
        """Say that a run begins, or begins again, to work on a batch; it is nobody's news until it is done.

        `stocks` are those that it writes about, `holds` the packets that it is made of, `channels` those that judge
        them. Returns how often it has been overtaken so far.
        """
        change: Document = {"kind": kind, "survey": survey, "mode": mode, "state": "open", "meta": dict(meta)}
        slices = [{"source": s, "first": a, "last": b} for s, rows in (holds or {}).items() for a, b in rows]
        change |= {"stocks": list(stocks), "holds": slices, "channels": list(channels)}
        found = self.collection.find_one_and_update(
            {"_id": id_}, {"$set": change}, {"overtaken": 1}, upsert=True, return_document=ReturnDocument.AFTER
        )
        return found.get("overtaken", 0) if found else 0

    def overtake(self, id_: int, survey: str, stocks: Sequence[int]) -> None:
        """Tell all batches under way that this one has brought points to its stocks: they may not have seen them."""
        query = {"_id": {"$ne": id_}, "state": {"$in": ["open", "stored"]}, "survey": survey}
        self.collection.update_many({**query, "stocks": {"$in": list(stocks)}}, {"$inc": {"overtaken": 1}})

    def overtaken(self, ids: Iterable[int]) -> dict[int, tuple[int, list[int]]]:
        """How often these batches have been overtaken, and their stocks; those that never were are left out."""
        query = {"_id": {"$in": list(ids)}, "overtaken": {"$gt": 0}}
        found = self._read.find(query, {"overtaken": 1, "stocks": 1})
        return {d["_id"]: (d["overtaken"], d.get("stocks", [])) for d in found}

    def close(
        self,
        id_: int,
        state: str,
        counts: Mapping[str, int],
        sources: Mapping[str, Mapping[str, int]],
        nights: Sequence[str],
        touched: Touched,
        partitions: Sequence[str] = (),
        due: Sequence[str] = (),
        disabled: Sequence[Document] = (),
        overtaken: int = 0,
    ) -> bool:
        """Say that a batch is done (or 'stored'), and what it did; False where it has been overtaken once more.

        `partitions` are 'channel|night'; `due` are the reactions that are to hear of it, 'process|channel';
        `disabled` are filters that were left out; `overtaken` is how often the batch was overtaken, as far as the
        caller has dealt with it.
        """
        change: dict[str, Any] = {
            "state": state,
            "counts": dict(counts),
            "sources": [{"source": source, **dict(found)} for source, found in sources.items()],
            "nights": list(nights),
            "touched": {channel: list(stocks) for channel, stocks in touched.items()},
            "partitions": list(partitions),
            "due": list(due),
            "done_ts": utc_now(),
        }
        change |= {"disabled": list(disabled)} if disabled else {}
        unset = {"holds": "", "channels": ""} | ({"stocks": ""} if state == "done" else {})
        query = {"_id": id_, "overtaken": overtaken or None}  # None: the field is not there
        return self._durable.update_one(query, {"$set": change, "$unset": unset}).matched_count > 0

    def announce(
        self,
        id_: int,
        kind: str,
        survey: str,
        mode: Mode,
        nights: Sequence[str],
        touched: Touched,
        meta: Document,
        partitions: Sequence[str] = (),
        due: Sequence[str] = (),
    ) -> None:
        """Record a batch of results just before they are written: a crash in between costs a second look, no update."""
        document = {
            "_id": id_,
            "kind": kind,
            "survey": survey,
            "mode": mode,
            "state": "done",
            "nights": list(nights),
            "touched": {channel: list(stocks) for channel, stocks in touched.items()},
            "partitions": list(partitions),
            "due": list(due),
            "meta": dict(meta),
            "done_ts": meta["ts"],
        }
        self._durable.replace_one({"_id": id_}, document, upsert=True)

    def finish_stored(self, ids: Iterable[int], overtaken: int = 0) -> int:
        """The states of these batches are written: 'stored' becomes 'done', unless one was overtaken once more."""
        change = {"$set": {"state": "done", "done_ts": utc_now()}, "$unset": {"stocks": ""}}
        query = {"_id": {"$in": list(ids)}, "state": "stored", "overtaken": overtaken or None}
        return self._durable.update_many(query, change).modified_count

    def take_over(self, survey: str, covered: Holds, channels: Collection[str], run: str, since: datetime) -> int:
        """Close batches that others left open before `since`, all of whose packets this run has read; return how many.

        Their packets are accounted for in the batches of this run, so they count nothing themselves.
        """
        query = {"state": "open", "kind": "ingest", "survey": survey, "meta.ts": {"$lt": since}}
        query |= {"holds.source": {"$in": list(covered)}}
        mine = [
            d["_id"]
            for d in self._read.find(query, {"holds": 1, "channels": 1})
            if set(d["channels"]) <= set(channels) and all(_within(s, covered) for s in d["holds"])
        ]
        none: Document = {"counts": dict.fromkeys(LEDGER_KEYS, 0), "sources": [], "nights": [], "touched": {}}
        change = {"state": "done", "taken_over": run, "done_ts": utc_now(), "partitions": [], "due": [], **none}
        unset = {"stocks": "", "holds": "", "channels": ""}
        found = {"_id": {"$in": mine}, "state": "open"}
        return self._durable.update_many(found, {"$set": change, "$unset": unset}).modified_count if mine else 0

    def journaled(self) -> None:
        """Wait until all that was written before is in the server's journal."""
        self._durable.update_one({"_id": 0}, {"$set": {"state": "done"}})

    def stored(self, survey: str, channels: Sequence[str], nights: Sequence[str]) -> list[int]:
        """Batches of these channels and nights whose states are still to come."""
        if not channels:
            return []  # none of the run's channels asks for this survey
        touched = [{f"touched.{channel}": {"$exists": True}} for channel in channels]
        query = {"state": "stored", "survey": survey, "nights": {"$in": list(nights)}, "$or": touched}
        return [d["_id"] for d in self._read.find(query, {"_id": 1})]

    def unhandled(self, process: str, channel: str, survey: str) -> list[Document]:
        """Finished batches that touched the channel and that this process has still to handle for it, oldest first."""
        query = {"due": f"{process}|{channel}", "state": "done", "survey": survey}
        fields = {f"touched.{channel}": 1, "nights": 1, "mode": 1}
        return list(self._read.find(query, fields).sort([("done_ts", 1), ("_id", 1)]))

    def is_due(self, process: str, channel: str, survey: str) -> bool:
        """Whether there is such a batch."""
        query = {"due": f"{process}|{channel}", "state": "done", "survey": survey}
        return self._read.find_one(query, {"_id": 1}) is not None

    def live_stocks(self, survey: str, channel: str, night: str) -> set[int]:
        """Stocks of which live runs read alerts of a night that the channel accepted."""
        query = {
            "nights": night,
            "kind": "ingest",
            "survey": survey,
            "mode": "live",
            f"touched.{channel}": {"$exists": True},
        }
        found = self._read.find(query, {f"touched.{channel}": 1})
        return {stock for batch in found for stock in batch["touched"][channel]}

    def handled(self, ids: Sequence[int], process: str, channel: str) -> None:
        """A process has reacted to these batches for a channel."""
        self._durable.update_many({"_id": {"$in": list(ids)}}, {"$pull": {"due": f"{process}|{channel}"}})

    def ledger(self, survey: str, nights: Sequence[str]) -> list[Document]:
        """Per source: packets read, new, known, rejected, quarantined, in batches of these nights (none: all)."""
        match: Document = {"survey": survey, "kind": "ingest"} | ({"nights": {"$in": list(nights)}} if nights else {})
        stages: list[Document] = [
            {"$match": match},
            {"$unwind": "$sources"},
            {
                "$group": {
                    "_id": "$sources.source",
                    "open": {"$sum": {"$cond": [{"$eq": ["$state", "open"]}, 1, 0]}},
                    "nights": {"$addToSet": "$nights"},
                    **{key: {"$sum": f"$sources.{key}"} for key in LEDGER_KEYS},
                }
            },
            {"$sort": {"_id": 1}},
        ]
        return [{"source": d.pop("_id"), **d} for d in self._read.aggregate(stages)]

    def disabled(self, survey: str, nights: Sequence[str] = ()) -> list[Document]:
        """Filters that were left out, by channel and message: in batches of which nights (none: all), and runs."""
        match: Document = {"survey": survey, "kind": "ingest", "disabled": {"$exists": True}}
        match |= {"nights": {"$in": list(nights)}} if nights else {}
        found: dict[tuple[str, str], Document] = {}
        for batch in self._read.find(match, {"disabled": 1, "nights": 1, "meta.run": 1}):
            for d in batch["disabled"]:
                entry = found.setdefault((d["channel"], d["message"]), {**d, "nights": set(), "runs": set()})
                entry["nights"].update(batch["nights"])
                entry["runs"].add(batch["meta"]["run"])
        return list(found.values())

    def of_run(self, run: str, kind: str) -> list[Document]:
        """Finished batches of a run: what they touched, in which nights."""
        return list(self._read.find({"meta.run": run, "kind": kind, "state": {"$ne": "open"}}))

    def unfinished(self) -> frozenset[int]:
        """Ids of the batches that were begun and not finished."""
        return frozenset(d["_id"] for d in self._read.find({"state": "open"}, {"_id": 1}))

    def left_open(self) -> list[Document]:
        """Batches that were begun and not finished, oldest first."""
        return list(self._read.find({"state": "open"}).sort([("meta.ts", 1), ("_id", 1)]))


def _within(part: Document, covered: Holds) -> bool:
    """Whether a row of packets is part of what is covered."""
    return any(a <= part["first"] and part["last"] <= b for a, b in covered.get(part["source"], ()))


#: What the packets of a source were, in the order of the ledger: the first is the sum of the others.
LEDGER_KEYS = ("read", "new", "known", "rejected", "quarantined")
