"""The plan of a Kafka stream: every offset of every partition stands in exactly one document.

A partition's documents make a chain: each begins where the one before it ends. The id of a document is the hash of the
place where it begins, so that the insertion itself decides between two who plan at once, and a range can neither
overlap another nor leave a gap. What cannot be read any more is a link of the chain like any other, and has a name.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal, NamedTuple

from pymongo import WriteConcern
from pymongo.read_concern import ReadConcern

from ampel_dagster.model.ids import hash_json
from ampel_dagster.model.offsets import Lost, OffsetRange, Partition
from ampel_dagster.model.run import utc_now
from ampel_dagster.storage.collections import Document, DocumentCollection
from ampel_dagster.storage.writes import insert_missing

#: Who reads a group: a run that a sensor asks for, or the run that listens.
Owner = Literal["run", "listen"]


class Link(NamedTuple):
    """A document of the plan."""

    part: OffsetRange
    state: str
    cluster: str
    lost: Lost | None = None
    #: Ranges that are read together, always the same ones, so that a repetition makes the same batches.
    group: str = ""
    owner: Owner = "run"
    #: How often a run was asked for, and when for the last time.
    attempt: int = 0
    asked_ts: datetime | None = None


class Offsets:
    """Verbs on the plan. What is planned is on disk before it is read (on a majority where there is a replica set)."""

    def __init__(self, collection: DocumentCollection, *, replicated: bool) -> None:
        concern = WriteConcern(w="majority" if replicated else 1, j=True)
        reads = ReadConcern("majority" if replicated else "local")
        self.collection = collection.with_options(write_concern=concern, read_concern=reads)

    def head(self, survey: str, partition: Partition) -> Link | None:
        """The last link of a partition's chain, or None where there is none yet."""
        query = {"survey": survey, "topic": partition.topic, "partition": partition.number}
        d = self.collection.find_one(query, sort=[("epoch", -1), ("first", -1)])
        return _link(d) if d else None

    def add(self, survey: str, links: Sequence[Link], meta: Mapping[str, Any]) -> list[Link]:
        """Add links, at most one a partition; return those that nobody else added meanwhile."""
        documents = [_document(survey, link, meta) for link in links]
        taken = insert_missing(self.collection, documents)
        return [link for link, document in zip(links, documents, strict=True) if document["_id"] not in taken]

    def find(self, survey: str, parts: Iterable[OffsetRange]) -> dict[OffsetRange, Link]:
        """Links of exactly these ranges."""
        wanted = {_id(survey, part): part for part in parts}
        found = (_link(d) for d in self.collection.find({"_id": {"$in": list(wanted)}}))
        return {link.part: link for link in found if link.part in wanted.values()}

    def waiting(self, survey: str) -> dict[str, list[Link]]:
        """Ranges that are planned and not done, by group, the oldest first; in a group in order."""
        groups: dict[str, list[Link]] = {}
        for d in self.collection.find({"survey": survey, "state": "planned"}).sort([("meta.ts", 1), ("_id", 1)]):
            groups.setdefault(d["group"], []).append(_link(d))
        return {group: sorted(links, key=lambda link: link.part) for group, links in groups.items()}

    def ask(self, survey: str, group: str, attempt: int, owner: Owner) -> int:
        """Give what is left of a group to somebody, if the last attempt is the one that is known here.

        Returns how many ranges are left; none means that it is done, or that somebody else was faster.
        """
        query = {"survey": survey, "group": group, "state": "planned", "attempt": attempt}
        change = {"$set": {"owner": owner, "asked_ts": utc_now()}, "$inc": {"attempt": 1}}
        return self.collection.update_many(query, change).modified_count

    def done(self, survey: str, parts: Iterable[OffsetRange], run: str) -> None:
        """The packets of these ranges are stored."""
        query = {"_id": {"$in": [_id(survey, part) for part in parts]}, "state": "planned"}
        self.collection.update_many(query, {"$set": {"state": "done", "run": run, "done_ts": utc_now()}})

    def lose(self, survey: str, part: OffsetRange, lost: Lost) -> None:
        """Say that a part of a planned range cannot be read any more."""
        found = {"first": lost.first, "end": lost.end, "reason": lost.reason, "ts": utc_now()}
        self.collection.update_one({"_id": _id(survey, part), "state": "planned"}, {"$set": {"lost": found}})

    def positions(self, survey: str, partitions: Collection[Partition]) -> dict[Partition, int]:
        """Up to which offset each partition is done without a hole, in its present epoch."""
        heads = {partition: self.head(survey, partition) for partition in partitions}
        found = {partition: head.part.end for partition, head in heads.items() if head is not None}
        for links in self.waiting(survey).values():
            for part in (link.part for link in links):
                head = heads.get(part.partition)
                if head is not None and head.part.epoch == part.epoch:
                    found[part.partition] = min(found[part.partition], part.first)
        return found

    def merge(self, survey: str, run: str) -> None:
        """Make one document of the ranges that a run has done and that follow each other: `listen` does many.

        The first one grows before the others go: whoever looks meanwhile finds the chain's end where it was.
        """
        query = {"survey": survey, "run": run, "state": "done", "lost": {"$exists": False}}
        order = [("topic", 1), ("partition", 1), ("epoch", 1), ("first", 1)]
        row: list[Document] = []
        for d in [*self.collection.find(query).sort(order), None]:
            if row and d is not None and _follows(row, d):
                row.append(d)
                continue
            if len(row) > 1:
                end = max(other["end"] for other in row)
                self.collection.update_one({"_id": row[0]["_id"]}, {"$set": {"end": end}})
                self.collection.delete_many({"_id": {"$in": [other["_id"] for other in row[1:]]}})
            row = [d] if d is not None else []

    def lost(self, survey: str) -> list[Document]:
        """Offsets that cannot be read any more, the newest first: topic, partition, epoch, first, end, reason, ts."""
        fields = ("topic", "partition", "epoch")
        found = self.collection.find({"survey": survey, "lost.reason": {"$gt": ""}})
        rows = [{**{key: d[key] for key in fields}, **d["lost"]} for d in found]
        return sorted(rows, key=lambda row: (row["ts"], row["topic"], row["partition"]), reverse=True)


class Listeners:
    """Which run listens to a survey: one at a time, and only as long as it gives a sign of life."""

    def __init__(self, collection: DocumentCollection) -> None:
        self.collection = collection

    def alive(self, survey: str) -> str | None:
        """The run that listens, or None."""
        found = self.until(survey)
        return found[0] if found and found[1] > utc_now() else None

    def until(self, survey: str) -> tuple[str, datetime] | None:
        """The run that listens or did, and how long its last sign of life is good."""
        d = self.collection.find_one({"_id": survey})
        return (d["run"], d["until"]) if d else None

    def beat(self, survey: str, run: str, lease_s: float) -> bool:
        """Say that a run listens, for `lease_s` seconds from now; False where another one does."""
        now = utc_now()
        free = {"_id": survey, "$or": [{"run": run}, {"until": {"$lte": now}}]}
        change = {"$set": {"run": run, "until": now + timedelta(seconds=lease_s)}}
        if self.collection.update_one(free, change).matched_count:
            return True
        document = {"_id": survey, "run": run, "until": now + timedelta(seconds=lease_s)}
        return not insert_missing(self.collection, [document])

    def leave(self, survey: str, run: str) -> None:
        """A run stops listening."""
        self.collection.delete_one({"_id": survey, "run": run})


def _follows(row: Sequence[Document], d: Document) -> bool:
    place = ("topic", "partition", "epoch")
    return all(d[key] == row[0][key] for key in place) and d["first"] <= max(other["end"] for other in row)


def _id(survey: str, part: OffsetRange) -> int:
    return hash_json([survey, part.partition.topic, part.partition.number, part.epoch, part.first])


def _document(survey: str, link: Link, meta: Mapping[str, Any]) -> Document:
    part = link.part
    document: Document = {
        "_id": _id(survey, part),
        "survey": survey,
        "topic": part.partition.topic,
        "partition": part.partition.number,
        "epoch": part.epoch,
        "first": part.first,
        "end": part.end,
        "cluster": link.cluster,
        "state": link.state,
        "meta": dict(meta),
    }
    if link.lost is not None:
        document["lost"] = {**link.lost._asdict(), "ts": meta["ts"]}
    else:
        document |= {"group": link.group, "owner": link.owner, "attempt": link.attempt, "asked_ts": meta["ts"]}
    return document


def _link(d: Document) -> Link:
    part = OffsetRange(Partition(d["topic"], d["partition"]), d["epoch"], d["first"], d["end"])
    lost = Lost(d["lost"]["first"], d["lost"]["end"], d["lost"]["reason"]) if "lost" in d else None
    more = (d["group"], d["owner"], d["attempt"], d["asked_ts"]) if "group" in d else ()
    return Link(part, d["state"], d["cluster"], lost, *more)
