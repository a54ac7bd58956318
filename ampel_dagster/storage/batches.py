"""Batches: the unit of work, of crash repair, and of "what is new" for reactions."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pymongo import WriteConcern
from pymongo.read_concern import ReadConcern

from ampel_dagster.model.run import Mode, utc_now
from ampel_dagster.storage.collections import Document, DocumentCollection

Touched = Mapping[str, Sequence[int]]


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

    def open(self, id_: int, kind: str, survey: str, mode: Mode, meta: Mapping[str, Any]) -> None:
        """Say that a run begins, or begins again, to work on a batch; it is nobody's news until it is done."""
        change = {"kind": kind, "survey": survey, "mode": mode, "state": "open", "meta": dict(meta)}
        self.collection.update_one({"_id": id_}, {"$set": change}, upsert=True)

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
    ) -> None:
        """Say that a batch is done (or 'stored'), and what it did.

        `partitions` are 'channel|night'; `due` are the reactions that are to hear of it, 'process|channel';
        `disabled` are filters that were left out.
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
        self._durable.update_one({"_id": id_}, {"$set": change})

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

    def finish_stored(self, ids: Iterable[int]) -> int:
        """The states of these batches are written: 'stored' becomes 'done'."""
        change = {"$set": {"state": "done", "done_ts": utc_now()}}
        query = {"_id": {"$in": list(ids)}, "state": "stored"}
        return self._durable.update_many(query, change).modified_count

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


#: What the packets of a source were, in the order of the ledger: the first is the sum of the others.
LEDGER_KEYS = ("read", "new", "known", "rejected", "quarantined")
