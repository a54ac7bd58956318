"""The outbox (``t3``): what was sent where, so that nothing is sent twice.

A document is *reserved* before something is sent and *confirmed* after. A reservation is good for some time; one that
is still there when this is over was left by a run that died, and becomes *unknown*: the thing may or may not have
arrived. What is known not to have arrived is *waiting* to be sent again, or *refused* for good.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from ampel_dagster.model.ids import hash_json
from ampel_dagster.model.run import utc_now
from ampel_dagster.storage.collections import Document, DocumentCollection
from ampel_dagster.storage.writes import insert_missing

#: States that an effect can be in.
STATES = ("reserved", "confirmed", "unknown", "waiting", "refused")


def outbox_id(process: str, unit: str, channel: str, survey: str, stock: int, link: int) -> int:
    """Id of one effect: one process, unit, channel, object and state (link 0: whatever its state)."""
    return hash_json([process, unit, channel, survey, stock, link])


class Outbox:
    """Verbs on the outbox."""

    def __init__(self, collection: DocumentCollection) -> None:
        self.collection = collection

    def reserve(self, documents: Sequence[Document], until: datetime | None = None) -> set[int]:
        """Reserve effects; return the ids of those that are ours to do now: new ones, and those that were waiting."""
        for document in documents:
            document |= {"state": "reserved"} | ({"until": until} if until else {})
        taken = insert_missing(self.collection, documents)
        mine = {document["_id"] for document in documents} - taken
        waiting = {"_id": {"$in": list(taken)}, "state": "waiting"}
        again = {d["_id"] for d in self.collection.find(waiting, {"_id": 1})} if taken else set()
        return mine | {
            document["_id"]
            for document in documents
            if document["_id"] in again and self.claim(document["_id"], ("waiting",), document["meta"], until)
        }

    def claim(self, id_: int, states: Sequence[str], meta: Document, until: datetime | None) -> bool:
        """Reserve an effect that is there, in one of these states; of several who try one has it.

        Of those that are reserved only one whose time is over is given.
        """
        query: Document = {"_id": id_, "$or": [{"state": {"$in": [s for s in states if s != "reserved"]}}]}
        if "reserved" in states:
            query["$or"].append(_left_behind())
        change: Document = {"state": "reserved", "meta": dict(meta)} | ({"until": until} if until else {})
        return self.collection.update_one(query, {"$set": change}).modified_count > 0

    def renew(self, ids: Sequence[int], until: datetime) -> None:
        """Our reservations are good for longer."""
        self.collection.update_many({"_id": {"$in": list(ids)}, "state": "reserved"}, {"$set": {"until": until}})

    def states(self, ids: Sequence[int]) -> dict[int, Document]:
        """State and run of effects that are known, by id."""
        found = self.collection.find({"_id": {"$in": list(ids)}}, {"state": 1, "meta.run": 1})
        return {d["_id"]: d for d in found}

    def confirm(self, ids: Sequence[int], receipt: Mapping[str, Any]) -> None:
        """The effects are known to have happened."""
        if ids:
            change = {"$set": {"state": "confirmed", "receipt": dict(receipt)}, "$unset": {"error": "", "until": ""}}
            self.collection.update_many({"_id": {"$in": list(ids)}}, change)

    def fail(self, id_: int, error: str, state: str = "unknown", *, unsettle: bool = False) -> None:
        """Sending failed: it is 'unknown' whether it arrived, the receiver 'refused' it, or it is 'waiting'.

        `unsettle`: no try can have arrived, so that the next one may settle another message.
        """
        change = {
            "$set": {"state": state, "error": error},
            "$unset": {"until": "", **({"message": ""} if unsettle else {})},
        }
        self.collection.update_one({"_id": id_}, change)

    def message(self, id_: int) -> Document | None:
        """What is settled about the message of an effect; None: nothing yet."""
        found = self.collection.find_one({"_id": id_}, {"message": 1})
        return found.get("message") if found else None

    def settle(self, id_: int, message: Mapping[str, Any]) -> None:
        """Keep what the message of an effect is."""
        self.collection.update_one({"_id": id_}, {"$set": {"message": dict(message)}})

    def keys_told(self, process: str, unit: str, channel: str, survey: str, stock: int) -> dict[int, str]:
        """Keys of the messages on one stock that are known to have arrived, by the link of the state told of.

        Of two on one state, as where `once_per` was changed, the later one counts.
        """
        query = {"survey": survey, "stock": stock, "process": process, "unit": unit, "channel": channel}
        query |= {"state": "confirmed", "message.key": {"$exists": True}}
        found = self.collection.find(query, {"link": 1, "message.key": 1}).sort([("meta.ts", 1), ("_id", 1)])
        return {d["link"]: d["message"]["key"] for d in found}

    def mark_unknown(self, ids: Sequence[int]) -> int:
        """Reservations that a dead run left behind: those whose time is over."""
        query = {"_id": {"$in": list(ids)}, **_left_behind()}
        change = {"$set": {"state": "unknown"}, "$unset": {"until": ""}}
        return self.collection.update_many(query, change).modified_count

    def resend(self, ids: Sequence[int]) -> int:
        """Effects that shall be sent again, whatever is known of them; a live reservation stays its owner's."""
        settled = {"state": {"$in": [state for state in STATES if state not in ("reserved", "waiting")]}}
        query = {"_id": {"$in": list(ids)}, "$or": [settled, _left_behind()]}
        change = {"$set": {"state": "waiting"}, "$unset": {"until": ""}}
        return self.collection.update_many(query, change).modified_count

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

    def list(
        self,
        process: str | None = None,
        state: str | None = None,
        since: datetime | None = None,
        **where: Any,
    ) -> list[Document]:
        """Effects, newest first; `where` may name channel, unit, survey, stock, night. What is None does not matter."""
        named = {"process": process, "state": state, **where}
        query: Document = {key: value for key, value in named.items() if value is not None}
        query |= {"meta.ts": {"$gte": since}} if since else {}
        return list(self.collection.find(query).sort([("meta.ts", -1), ("_id", 1)]))


def _left_behind() -> Document:
    """Reservations whose time is over (or that have none)."""
    return {"state": "reserved", "until": {"$not": {"$gte": utc_now()}}}
