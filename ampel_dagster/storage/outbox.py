"""The outbox (``t3``): what was sent where, so that nothing is sent twice.

A document is *reserved* before something is sent and *confirmed* after. One that stays reserved when its run is gone is
*unknown*: the thing may or may not have arrived.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from ampel_dagster.model.ids import hash_json
from ampel_dagster.storage.collections import Document, DocumentCollection
from ampel_dagster.storage.writes import insert_missing


def outbox_id(process: str, unit: str, channel: str, survey: str, stock: int, link: int) -> int:
    """Id of one effect: one process, unit, channel, object and state."""
    return hash_json([process, unit, channel, survey, stock, link])


class Outbox:
    """Verbs on the outbox."""

    def __init__(self, collection: DocumentCollection) -> None:
        self.collection = collection

    def reserve(self, documents: Sequence[Document]) -> set[int]:
        """Reserve effects; return the ids of those that are ours to do now."""
        for document in documents:
            document["state"] = "reserved"
        taken = insert_missing(self.collection, documents)
        return {document["_id"] for document in documents} - taken

    def states(self, ids: Sequence[int]) -> dict[int, Document]:
        """State and run of effects that are known, by id."""
        found = self.collection.find({"_id": {"$in": list(ids)}}, {"state": 1, "meta.run": 1})
        return {d["_id"]: d for d in found}

    def confirm(self, ids: Sequence[int], receipt: Mapping[str, Any]) -> None:
        """The effects are known to have happened."""
        if ids:
            change = {"$set": {"state": "confirmed", "receipt": dict(receipt)}, "$unset": {"error": ""}}
            self.collection.update_many({"_id": {"$in": list(ids)}}, change)

    def fail(self, id_: int, error: str) -> None:
        """Sending raised: it is not known whether it arrived."""
        self.collection.update_one({"_id": id_}, {"$set": {"state": "unknown", "error": error}})

    def mark_unknown(self, ids: Sequence[int]) -> int:
        """Reservations that a dead run left behind."""
        query = {"_id": {"$in": list(ids)}, "state": "reserved"}
        return self.collection.update_many(query, {"$set": {"state": "unknown"}}).modified_count

    def count(self) -> dict[str, int]:
        """Number of documents by process."""
        stages: list[Document] = [{"$group": {"_id": "$process", "n": {"$sum": 1}}}, {"$sort": {"_id": 1}}]
        return {d["_id"]: d["n"] for d in self.collection.aggregate(stages)}

    def count_by_state(self, process: str, channel: str) -> dict[str, int]:
        """Number of documents by state: reserved, confirmed, unknown."""
        stages: list[dict[str, Any]] = [
            {"$match": {"process": process, "channel": channel}},
            {"$group": {"_id": "$state", "n": {"$sum": 1}}},
        ]
        return {d["_id"]: d["n"] for d in self.collection.aggregate(stages)}

    def of_stock(self, survey: str, stock: int) -> list[Document]:
        """Effects that concern one stock."""
        return list(self.collection.find({"survey": survey, "stock": stock}).sort([("meta.ts", 1), ("_id", 1)]))

    def list(self, process: str | None = None, state: str | None = None) -> list[Document]:
        """Effects, newest first."""
        query = {key: value for key, value in (("process", process), ("state", state)) if value}
        return list(self.collection.find(query).sort([("meta.ts", -1)]))
