"""Smaller collections: journal, quarantine, stamps, configurations."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from bson.binary import Binary

from ampel_dagster.model.alert import MAX_ALERT_BYTES
from ampel_dagster.storage.collections import Document, DocumentCollection
from ampel_dagster.storage.writes import insert_missing


class Journal:
    """What happened to which stock in which run; only ever added to."""

    def __init__(self, collection: DocumentCollection) -> None:
        self.collection = collection

    def write(self, entries: Sequence[Document]) -> None:
        """Add entries; one that is there already (a repeated batch of the same run) stays."""
        insert_missing(self.collection, entries)

    def of_stock(self, survey: str, stock: int) -> list[Document]:
        """Entries of one stock, oldest first."""
        return list(self.collection.find({"survey": survey, "stock": stock}).sort([("ts", 1), ("_id", 1)]))


class Quarantine:
    """Packets that could not be read, with their bytes."""

    def __init__(self, collection: DocumentCollection) -> None:
        self.collection = collection

    def write(self, documents: Sequence[Document]) -> int:
        """Add records; return how many are new."""
        return len(documents) - len(insert_missing(self.collection, documents))

    def known(self, ids: Sequence[int]) -> set[int]:
        """Which of these are in quarantine already."""
        return {d["_id"] for d in self.collection.find({"_id": {"$in": list(ids)}}, {"_id": 1})}

    def count(self) -> int:
        """Number of records."""
        return self.collection.count_documents({})

    def find(self, **where: Any) -> list[Document]:
        """Records by id (`_id`), `survey`, `source` or `reason`, without their bytes; what is None does not matter."""
        query = {key: value for key, value in where.items() if value is not None}
        found = self.collection.find(query, {"raw": 0}).sort([("source", 1), ("offset", 1), ("_id", 1)])
        return [{**d, "replayable": is_replayable(d)} for d in found]

    def raw(self, id_: int) -> bytes:
        """The bytes that are kept of a record; none if there is no such record."""
        d = self.collection.find_one({"_id": id_}, {"raw": 1})
        return bytes(d["raw"]) if d else b""

    def renew(self, id_: int, reason: str, error: str) -> int:
        """A record that was read again is still bad, if perhaps for another reason; return whether anything changed."""
        changed = {"reason": reason, "error": error}
        return self.collection.update_one({"_id": id_}, {"$set": changed}).modified_count

    def remove(self, ids: Sequence[int]) -> int:
        """Forget records; return how many there were."""
        return self.collection.delete_many({"_id": {"$in": list(ids)}}).deleted_count

    def by_reason(self, survey: str) -> dict[str, Counter[str]]:
        """Number of a survey's records by source and reason."""
        match: Document = {"survey": survey}
        group: Document = {"_id": {"source": "$source", "reason": "$reason"}, "n": {"$sum": 1}}
        found: dict[str, Counter[str]] = {}
        for d in self.collection.aggregate([{"$match": match}, {"$group": group}]):
            found.setdefault(d["_id"]["source"], Counter())[d["_id"]["reason"]] = d["n"]
        return found


def is_replayable(record: Document) -> bool:
    """Whether all bytes of the packet are kept: not of what was too large, nor the rest of an archive."""
    return bool(record["reason"] != "TRUNCATED_ARCHIVE" and record["size_bytes"] <= MAX_ALERT_BYTES)


def quarantine_document(
    id_: int,
    survey: str,
    source: str,
    offset: int,
    member: str,
    raw: bytes,
    size_bytes: int,
    reason: str,
    message: str,
    meta: Mapping[str, Any],
) -> Document:
    """A quarantine record; of more bytes than MongoDB takes, the beginning is kept."""
    return {
        "_id": id_,
        "survey": survey,
        "source": source,
        "offset": offset,
        "member": member,
        "reason": reason,
        "error": message,
        "raw": Binary(raw[:MAX_ALERT_BYTES]),
        "size_bytes": size_bytes,
        "meta": dict(meta),
    }


class Cutouts:
    """Image stamps of accepted alerts."""

    def __init__(self, collection: DocumentCollection) -> None:
        self.collection = collection

    def write(
        self, stamps: Mapping[int, Mapping[str, bytes]], expire: datetime | None, meta: Mapping[str, Any]
    ) -> None:
        """Keep stamps by alert id until `expire` (None: for ever)."""
        documents: list[Document] = [
            {"_id": alert, "stamps": {k: Binary(v) for k, v in found.items()}, "meta": dict(meta)}
            | ({"expire": expire} if expire else {})
            for alert, found in stamps.items()
            if found
        ]
        insert_missing(self.collection, documents)

    def load(self, alert: int) -> dict[str, bytes]:
        """Stamps of one alert, empty if none are kept."""
        d = self.collection.find_one({"_id": alert})
        return {name: bytes(stamp) for name, stamp in d["stamps"].items()} if d else {}


class Configs:
    """The validated configurations that the hashes in `meta` stand for."""

    def __init__(self, collection: DocumentCollection) -> None:
        self.collection = collection

    def keep(self, id_: int, content: Mapping[str, Any], meta: Mapping[str, Any]) -> None:
        """Remember a configuration under its hash."""
        self.keep_all({id_: content}, meta)

    def keep_all(self, contents: Mapping[int, Mapping[str, Any]], meta: Mapping[str, Any]) -> None:
        """Remember configurations under their hashes."""
        insert_missing(
            self.collection, [{"_id": i, "content": dict(c), "meta": dict(meta)} for i, c in contents.items()]
        )
