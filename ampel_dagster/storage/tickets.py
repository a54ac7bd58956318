"""T2 documents: tickets that wait, and the results that they become."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from secrets import randbits
from typing import Any, NamedTuple

from pymongo import UpdateOne

from ampel_dagster.model.codes import CLAIMABLE, OPEN, DocumentCode
from ampel_dagster.model.run import utc_now
from ampel_dagster.storage.collections import Document, DocumentCollection
from ampel_dagster.storage.writes import Additions, add_to_sets, insert_missing, update_acceptable

_CLAIMED = {
    "stock": 1,
    "input": 1,
    "channel": 1,
    "night": 1,
    "member": 1,
    "attempts": 1,
    "body.version": 1,
    "link": 1,
    "digest": 1,
    "lease.token": 1,
}
#: Codes that a new alert of the stock changes nothing about: it waits already, or keeps killing workers.
_NOT_TO_RENEW = [code.value for code in (*CLAIMABLE, DocumentCode.TOO_MANY_TRIALS)]


class Ticket(NamedTuple):
    """A ticket that this worker holds."""

    id: int
    stock: int
    #: Link of a state, id of a datapoint, or the stock itself.
    input: int
    #: State in whose course the ticket was made; 0 for stock products.
    link: int
    channel: tuple[str, ...]
    nights: tuple[str, ...]
    attempts: int
    #: Versions of the unit for which results are kept.
    versions: tuple[str, ...]
    #: Digest of what is stored, 0 if nothing is.
    digest: int
    #: Names the claim; what is written without it any more comes from a worker that was thought dead.
    token: int


class Outcome(NamedTuple):
    """How one ticket fared."""

    ticket: Ticket
    code: int
    #: The result, None where there is none.
    result: Mapping[str, Any] | None
    #: Hash of code and result.
    digest: int
    #: Message and traceback of what went wrong.
    error: Mapping[str, str] | None
    tags: tuple[str, ...]
    #: Note for the journal.
    note: Any
    duration_s: float


class Tickets:
    """Verbs on the T2 documents of one survey."""

    def __init__(self, collection: DocumentCollection) -> None:
        self.collection = collection

    def known(self, ids: Iterable[int]) -> dict[int, tuple[frozenset[str], frozenset[str]]]:
        """(channels, members) of the tickets that are there, by id."""
        found = self.collection.find({"_id": {"$in": list(ids)}}, {"channel": 1, "member": 1})
        return {d["_id"]: (frozenset(d["channel"]), frozenset(d.get("member", ()))) for d in found}

    def insert(self, documents: Sequence[Document]) -> set[int]:
        """Insert new tickets; return ids that another worker was faster with."""
        return insert_missing(self.collection, documents)

    def add_channels(self, additions: Additions) -> int:
        """Let channels share tickets that are there."""
        return add_to_sets(self.collection, "channel", additions)

    def add_members(self, additions: Additions) -> int:
        """Record for which channels and nights point and stock tickets count."""
        return add_to_sets(self.collection, "member", additions)

    def request_rerun(self, ids: Sequence[int]) -> int:
        """Queue tickets again (stock products after a new alert); the last valid result stays readable.

        Also those that a worker holds: it has read the stock as it was before, and loses its claim.
        """
        if not ids:
            return 0
        query = {"_id": {"$in": list(ids)}, "code": {"$nin": _NOT_TO_RENEW}}
        change = {"$set": {"code": DocumentCode.RERUN_REQUESTED.value, "attempts": 0}, "$unset": {"lease": ""}}
        return self.collection.update_many(query, change).modified_count

    def claim(self, product_id: int, run: str, size: int, lease_s: float, where: Document) -> list[Ticket]:
        """Take up to `size` tickets of a product for `lease_s` seconds; also those whose lease has run out.

        `where` restricts to channels and nights. Two workers never hold one ticket: who marks it first has it.
        """
        while True:
            wanted, held = self._claim(product_id, run, size, lease_s, where)
            if held or not wanted:
                return held  # else others were faster with all of them, and there may be more

    def _claim(
        self, product_id: int, run: str, size: int, lease_s: float, where: Document
    ) -> tuple[list[int], list[Ticket]]:
        """Ids of the tickets that were tried, and those that were got."""
        now = utc_now()
        free = {
            "product_id": product_id,
            **where,
            "$or": [
                {"code": {"$in": [DocumentCode.NEW.value, DocumentCode.RERUN_REQUESTED.value]}},
                {"code": DocumentCode.RUNNING.value, "lease.until": {"$lt": now}},
            ],
        }
        ids = _cautiously(list(self.collection.find(free, {"attempts": 1}).limit(size)), size)
        if not ids:
            return [], []
        token = randbits(62)
        lease = {"run": run, "until": now + timedelta(seconds=lease_s), "token": token}
        self.collection.update_many(
            {"_id": {"$in": ids}, "$or": free["$or"]},
            {"$set": {"code": DocumentCode.RUNNING.value, "lease": lease}, "$inc": {"attempts": 1}},
        )
        held = {"_id": {"$in": ids}, "lease.token": token}
        return ids, [_ticket(d) for d in self.collection.find(held, _CLAIMED, batch_size=size)]

    def finish(self, outcomes: Sequence[Outcome], unit: Mapping[str, str], meta: Document) -> dict[int, str]:
        """Write outcomes; a valid result becomes the newest, an earlier one of the same version gives way to it.

        An outcome whose ticket was claimed by another worker meanwhile is dropped. Returns why the database refuses
        outcomes, by ticket: those stay claimed.
        """
        refused = update_acceptable(self.collection, [_finish(o, unit, meta) for o in outcomes])
        return {outcomes[n].ticket.id: why for n, why in refused.items()}

    def release(self, tickets: Sequence[Ticket], code: DocumentCode) -> None:
        """Give tickets that are still ours back undone, with the code that says why; this was no attempt."""
        query = {
            "_id": {"$in": [ticket.id for ticket in tickets]},
            "lease.token": {"$in": list({ticket.token for ticket in tickets})},
        }
        change = {"$set": {"code": code.value}, "$unset": {"lease": ""}, "$inc": {"attempts": -1}}
        self.collection.update_many(query, change)

    def wake(self, product_id: int) -> int:
        """Let tickets that waited for a dependency be taken up again; return how many."""
        query = {"product_id": product_id, "code": DocumentCode.PENDING_DEPENDENCY.value}
        return self.collection.update_many(query, {"$set": {"code": DocumentCode.NEW.value}}).modified_count

    def results(self, product_ids: Sequence[int], inputs: Iterable[int]) -> dict[tuple[int, int], Document]:
        """Documents of products by (product id, input), as a tied unit needs them."""
        query = {"product_id": {"$in": list(product_ids)}, "input": {"$in": list(inputs)}}
        fields = {"product_id": 1, "input": 1, "code": 1, "result": 1}
        return {(d["product_id"], d["input"]): d for d in self.collection.find(query, fields)}

    def by_id(self, ids: Iterable[int], fields: Mapping[str, int] | None = None) -> dict[int, Document]:
        """Documents by id."""
        return {d["_id"]: d for d in self.collection.find({"_id": {"$in": list(ids)}}, fields)}

    def stocks_with_open(self, stocks: Sequence[int], channel: str, products: Sequence[int]) -> set[int]:
        """Which of these stocks still wait for a result of these products that the channel asked for.

        (Tickets of products that are no longer asked for stay open for ever; nobody waits for them.)
        """
        query = {
            "stock": {"$in": list(stocks)},
            "channel": channel,
            "product_id": {"$in": list(products)},
            "code": {"$in": [code.value for code in OPEN]},
        }
        return {d["stock"] for d in self.collection.find(query, {"stock": 1})}

    def pending(self, products: Mapping[int, str]) -> dict[str, int]:
        """Number of tickets that could be taken up now, by product."""
        now = utc_now()
        counts = {}
        for product_id, name in products.items():
            query: Document = {"product_id": product_id, "code": {"$in": [code.value for code in CLAIMABLE]}}
            expired = {
                "product_id": product_id,
                "code": DocumentCode.RUNNING.value,
                "lease.until": {"$lt": now},
            }
            counts[name] = self.collection.count_documents(query) + self.collection.count_documents(expired)
        return counts

    def count_by_code(self, where: Document | None = None) -> dict[int, dict[int, int]]:
        """{product id: {code: number}}."""
        stages = [
            {"$match": where or {}},
            {"$group": {"_id": {"p": "$product_id", "c": "$code"}, "n": {"$sum": 1}}},
        ]
        counts: dict[int, dict[int, int]] = {}
        for d in self.collection.aggregate(stages):
            counts.setdefault(d["_id"]["p"], {})[d["_id"]["c"]] = d["n"]
        return counts

    def reset(self, where: Document) -> int:
        """Make documents tickets again; results that are there stay readable until the new one comes."""
        change = {
            "$set": {"code": DocumentCode.NEW.value, "attempts": 0},
            "$unset": {"lease": "", "error": ""},
        }
        return self.collection.update_many(where, change).modified_count

    def of_stock(self, stock: int) -> list[Document]:
        """All T2 documents of one stock."""
        return list(self.collection.find({"stock": stock}).sort([("product", 1), ("_id", 1)]))


def in_partitions(channels: Sequence[str], nights: Sequence[str]) -> Document:
    """Condition for the tickets of channels and nights: states by their own night, points and stocks by membership."""
    members = [f"{channel}|{night}" for channel in channels for night in nights]
    state = {"channel": {"$in": list(channels)}, "night": {"$in": list(nights)}}
    return {"$and": [{"$or": [state, {"member": {"$in": members}}]}]}


def _ticket(d: Document) -> Ticket:
    members = d.get("member", ())
    nights = tuple({m.split("|")[1] for m in members}) if members else (d["night"],)
    return Ticket(
        d["_id"],
        d["stock"],
        d["input"],
        d.get("link", 0),
        tuple(d["channel"]),
        nights,
        d.get("attempts", 0),
        tuple(element["version"] for element in d.get("body", ())),
        d.get("digest", 0),
        d["lease"]["token"],
    )


def _cautiously(found: Sequence[Document], size: int) -> list[int]:
    """Which of these free tickets to take at once: few of those that workers died with, at last one at a time.

    One of them may be what the workers died of, and would drag the others with it until all are given up.
    """
    lowest = min((d.get("attempts", 0) for d in found), default=0)
    return [d["_id"] for d in found if d.get("attempts", 0) == lowest][: max(1, size >> 3 * lowest)]


def _finish(o: Outcome, unit: Mapping[str, str], meta: Document) -> UpdateOne:
    now: datetime = meta["ts"]
    change: dict[str, Any] = {"code": o.code, "meta": meta, "digest": o.digest}
    unset = {"lease": ""}
    if o.error is None:
        unset["error"] = ""
    else:
        change["error"] = dict(o.error)
    update: dict[str, Any] = {"$set": change, "$unset": unset}
    if o.result is not None and o.code >= 0:
        change |= {
            "result": o.result,
            "unit": unit["unit"],
            "version": unit["version"],
            "duration_s": o.duration_s,
        }
        element = {"version": unit["version"], "code": o.code, "result": o.result, "meta": meta, "ts": now}
        if unit["version"] in o.ticket.versions:
            change[f"body.{o.ticket.versions.index(unit['version'])}"] = element
        else:
            update["$push"] = {"body": element}
    if o.tags:
        update["$addToSet"] = {"tag": {"$each": list(o.tags)}}
    return UpdateOne({"_id": o.ticket.id, "lease.token": o.ticket.token}, update)
