"""T2 results: one document an input of a product, with the newest valid result and those of earlier versions."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from pymongo import UpdateOne

from ampel_dagster.model.codes import DocumentCode
from ampel_dagster.model.ticket import Outcome
from ampel_dagster.storage.collections import Document, DocumentCollection
from ampel_dagster.storage.writes import Additions, add_to_sets, insert_acceptable, update_acceptable

#: What a result takes over from its ticket.
_OF_TICKET = ("_id", "product", "product_id", "stock", "input", "link", "night", "channel", "member", "attempts")
#: What a ticket takes over from the result that is to be computed again.
_OF_RESULT = {key: 1 for key in _OF_TICKET if key != "attempts"}
_CHUNK = 1000


class Results:
    """Verbs on the T2 results of one survey."""

    def __init__(self, collection: DocumentCollection) -> None:
        self.collection = collection

    def known(self, ids: Iterable[int]) -> dict[int, tuple[frozenset[str], frozenset[str]]]:
        """(channels, members) of the results that are there, by id."""
        found = self.collection.find({"_id": {"$in": list(ids)}}, {"channel": 1, "member": 1})
        return {d["_id"]: (frozenset(d["channel"]), frozenset(d.get("member", ()))) for d in found}

    def add_channels(self, additions: Additions) -> int:
        """Let channels share results that are there."""
        return add_to_sets(self.collection, "channel", additions)

    def add_members(self, additions: Additions) -> int:
        """Record for which channels and nights point and stock results count."""
        return add_to_sets(self.collection, "member", additions)

    def write(self, outcomes: Sequence[Outcome], unit: Mapping[str, str], meta: Document) -> dict[int, str]:
        """Write outcomes; a valid result becomes the newest, an earlier one of the same version gives way to it.

        Of two outcomes of one ticket that of the later claim stays. Returns why the database refuses outcomes, by
        ticket.
        """
        fresh = [o for o in outcomes if not o.ticket.document.get("again")]
        there, refused = insert_acceptable(self.collection, [_document(o, unit, meta) for o in fresh])
        why = {fresh[n].ticket.id: reason for n, reason in refused.items()}
        again = [o for o in outcomes if o.ticket.document.get("again") or o.ticket.id in there]
        if again:
            before = self.by_id([o.ticket.id for o in again if o.ticket.id in there], {"body.version": 1})
            known = {id_: tuple(e["version"] for e in d.get("body", ())) for id_, d in before.items()}
            updates = [_update(o, known.get(o.ticket.id, o.ticket.versions), unit, meta) for o in again]
            refused = update_acceptable(self.collection, updates)
            why |= {again[n].ticket.id: reason for n, reason in refused.items()}
        return why

    def to_rerun(self, where: Document) -> Iterator[list[Document]]:
        """Tickets, in chunks, for computing results again."""
        ids = [d["_id"] for d in self.collection.find(where, {"_id": 1})]
        for begin in range(0, len(ids), _CHUNK):
            found = self.collection.find({"_id": {"$in": ids[begin : begin + _CHUNK]}}, {**_OF_RESULT, "meta": 1})
            code = DocumentCode.RERUN_REQUESTED.value
            yield [{**d, "code": code, "attempts": 0, "again": True} for d in found]

    def mark(self, ids: Sequence[int], code: DocumentCode) -> None:
        """Set the code of results."""
        self.collection.update_many({"_id": {"$in": list(ids)}}, {"$set": {"code": code.value}})

    def by_id(
        self, ids: Sequence[int], fields: Mapping[str, int] | None = None, channel: str | None = None
    ) -> dict[int, Document]:
        """Results by id; with a channel those that it asked for."""
        if not ids:
            return {}
        query: Document = {"_id": {"$in": list(ids)}} | ({"channel": channel} if channel is not None else {})
        return {d["_id"]: d for d in self.collection.find(query, fields)}


def _document(o: Outcome, unit: Mapping[str, str], meta: Document) -> Document:
    """A result that is new."""
    ticket = o.ticket.document
    document: Document = {key: ticket[key] for key in _OF_TICKET if key in ticket}
    document |= {
        **unit,
        "code": o.code,
        "digest": o.digest,
        "claimed": o.ticket.claimed,
        "attempts": o.ticket.attempts,
        "meta": meta,
    }
    if o.error is not None:
        document["error"] = dict(o.error)
    if o.tags:
        document["tag"] = list(o.tags)
    document["body"] = []
    if o.result is not None and o.code >= 0:
        document |= {"result": o.result, "duration_s": o.duration_s, "body": [_element(o, unit, meta)]}
    return document


def _element(o: Outcome, unit: Mapping[str, str], meta: Document) -> Document:
    return {"version": unit["version"], "code": o.code, "result": o.result, "meta": meta, "ts": meta["ts"]}


def _update(o: Outcome, versions: Sequence[str], unit: Mapping[str, str], meta: Document) -> UpdateOne:
    """A result for what has a document already."""
    ticket = o.ticket.document
    change: dict[str, Any] = {"code": o.code, "meta": meta, "digest": o.digest, "claimed": o.ticket.claimed}
    change["attempts"] = o.ticket.attempts
    update: dict[str, Any] = {"$set": change}
    if o.error is None:
        update["$unset"] = {"error": ""}
    else:
        change["error"] = dict(o.error)
    if o.result is not None and o.code >= 0:
        change |= {"result": o.result, **unit, "duration_s": o.duration_s}
        if unit["version"] in versions:
            change[f"body.{versions.index(unit['version'])}"] = _element(o, unit, meta)
        else:
            update["$push"] = {"body": _element(o, unit, meta)}
    sets = {key: {"$each": list(ticket[key])} for key in ("channel", "member") if key in ticket}
    update["$addToSet"] = sets | ({"tag": {"$each": list(o.tags)}} if o.tags else {})
    return UpdateOne({"_id": o.ticket.id, "claimed": {"$not": {"$gt": o.ticket.claimed}}}, update)
