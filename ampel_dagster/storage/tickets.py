"""T2 tickets: what is to be computed. A ticket is made by T1 and vanishes when its result is written.

Claiming a batch marks it with a lease and leaves everything else as it is; finishing inserts the results and deletes
the tickets. (Measured: a third of what it costs to turn tickets into results in place, see `docs/decisions.md`.)
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from secrets import randbits

from pymongo import UpdateOne

from ampel_dagster.model.codes import CLAIMABLE, DocumentCode
from ampel_dagster.model.run import utc_now
from ampel_dagster.model.ticket import Outcome, Postponed, Ticket
from ampel_dagster.storage.collections import Document, DocumentCollection
from ampel_dagster.storage.results import Results
from ampel_dagster.storage.writes import Additions, add_to_sets, insert_missing, update_each

_CLAIMABLE = [code.value for code in CLAIMABLE]


class Tickets:
    """Verbs on the tickets of one survey."""

    def __init__(self, collection: DocumentCollection, results: Results) -> None:
        self.collection = collection
        self._results = results

    def known(self, ids: Iterable[int]) -> dict[int, tuple[frozenset[str], frozenset[str]]]:
        """(channels, members) of the tickets that are there, by id."""
        found = self.collection.find({"_id": {"$in": list(ids)}}, {"channel": 1, "member": 1})
        return {d["_id"]: (frozenset(d["channel"]), frozenset(d.get("member", ()))) for d in found}

    def insert(self, documents: Sequence[Document]) -> set[int]:
        """Insert new tickets; return ids that another worker was faster with."""
        return insert_missing(self.collection, documents)

    def add_channels(self, additions: Additions) -> int:
        """Let channels share tickets, or the results that they have become; the order matters, see `finish`."""
        return add_to_sets(self.collection, "channel", additions) + self._results.add_channels(additions)

    def add_members(self, additions: Additions) -> int:
        """Record for which channels and nights point and stock tickets count, or their results."""
        return add_to_sets(self.collection, "member", additions) + self._results.add_members(additions)

    def request_rerun(self, where: Document) -> int:
        """Make tickets of results; what is valid stays readable until the new result comes.

        Tickets that a worker holds are taken from it: it has read the input as it was before.
        """
        number = 0
        for documents in self._results.to_rerun(where):
            ids = [d["_id"] for d in documents]
            self._results.mark(ids, DocumentCode.RERUN_REQUESTED)
            held = insert_missing(self.collection, documents)
            if held:
                change = {"$set": {"attempts": 0, "again": True}, "$unset": {"lease": "", "due": ""}}
                self.collection.update_many({"_id": {"$in": list(held)}}, change)
            number += len(ids)
        return number

    def reset(self, where: Document) -> int:
        """Compute again what somebody names: results become tickets, and tickets begin anew, whoever has them."""
        fresh = {"code": DocumentCode.NEW.value, "attempts": 0}
        change = {"$set": fresh, "$unset": {"lease": "", "due": "", "error": ""}}
        waiting = self.collection.update_many({**where, "again": None}, change).matched_count
        return waiting + self.request_rerun(where)

    def take_back(self, ids: Sequence[int]) -> None:
        """Let tickets that workers hold be claimed anew: what they have read is no longer all that there is."""
        if ids:
            query = {"_id": {"$in": list(ids)}, "lease": {"$exists": True}}
            self.collection.update_many(query, {"$unset": {"lease": ""}})

    def leave(self, run: str, worker: str) -> int:
        """Let the tickets of a worker that died be claimed at once, whose name another one has now; return how many."""
        query = {"lease.run": run, "lease.worker": worker}
        return self.collection.update_many(query, {"$unset": {"lease": ""}}).modified_count

    def claim(
        self, product_id: int, run: str, size: int, lease_s: float, where: Document, worker: str = ""
    ) -> list[Ticket]:
        """Take up to `size` tickets of a product for `lease_s` seconds; also those whose lease has run out.

        `where` restricts to channels and nights. Two workers never hold one ticket: who marks it first has it. `worker`
        tells those of one run apart.
        """
        owner = {"run": run, "worker": worker} if worker else {"run": run}
        while True:
            wanted, held = self._claim(product_id, owner, size, lease_s, where)
            if held or not wanted:
                return held  # else others were faster with all of them, and there may be more

    def _claim(
        self, product_id: int, owner: Document, size: int, lease_s: float, where: Document
    ) -> tuple[list[Document], list[Ticket]]:
        """Tickets that were tried, and those that were got."""
        now = utc_now()
        free = {"product_id": product_id, "code": {"$in": _CLAIMABLE}, **where, **_due(now), **_free(now)}
        wanted = _cautiously(list(self.collection.find(free).limit(size)), size)
        if not wanted:
            return [], []
        token, ids = randbits(62), [d["_id"] for d in wanted]
        lease = {**owner, "until": now + timedelta(seconds=lease_s), "token": token}
        change = {"$set": {"lease": lease}, "$inc": {"attempts": 1}}
        got = self.collection.update_many({"_id": {"$in": ids}, **_free(now)}, change).modified_count
        held = wanted
        if got < len(ids):
            mine = {d["_id"] for d in self.collection.find({"_id": {"$in": ids}, "lease.token": token}, {"_id": 1})}
            held = [d for d in wanted if d["_id"] in mine]
        before = self._results.by_id([d["_id"] for d in held if d.get("again")], {"body.version": 1, "digest": 1})
        return wanted, [_ticket(d, before.get(d["_id"], {}), token, now) for d in held]

    def renew(self, tickets: Sequence[Ticket], lease_s: float) -> None:
        """Hold tickets that are still ours for longer."""
        until = utc_now() + timedelta(seconds=lease_s)
        self.collection.update_many(_ours(tickets), {"$set": {"lease.until": until}})

    def finish(self, outcomes: Sequence[Outcome], unit: Mapping[str, str], meta: Document) -> dict[int, str]:
        """Write outcomes as results, and delete their tickets.

        A ticket that was taken from us stays, to be computed by whoever has it now. Returns why the database refuses
        outcomes, by ticket: those stay claimed.

        Channels may come to a ticket while we hold it. They are added to ticket and result, in this order; we write
        results, look at the tickets once more, and delete them: whatever comes between is seen by one of the two.
        """
        refused = self._results.write(outcomes, unit, meta)
        done = [o.ticket for o in outcomes if o.ticket.id not in refused]
        if not done:
            return refused
        had = {ticket.id: ticket.document for ticket in done}
        channels: dict[tuple[str, ...], list[int]] = {}
        members: dict[tuple[str, ...], list[int]] = {}
        for d in self.collection.find(_ours(done), {"channel": 1, "member": 1}):
            for more, key in ((channels, "channel"), (members, "member")):
                new = tuple(sorted(set(d.get(key, ())).difference(had[d["_id"]].get(key, ()))))
                if new:
                    more.setdefault(new, []).append(d["_id"])
        self._results.add_channels(channels)
        self._results.add_members(members)
        self.collection.delete_many(_ours(done))
        return refused

    def release(self, tickets: Sequence[Ticket], code: DocumentCode) -> None:
        """Give tickets that are still ours back undone, with the code that says why; this was no attempt."""
        if tickets:
            change = {"$set": {"code": code.value}, "$unset": {"lease": ""}, "$inc": {"attempts": -1}}
            self.collection.update_many(_ours(tickets), change)

    def postpone(self, postponed: Sequence[Postponed]) -> None:
        """Give tickets that are still ours back, to be taken up later; this was an attempt."""
        update_each(
            self.collection,
            [
                UpdateOne(
                    {"_id": p.ticket.id, "lease.token": p.ticket.token},
                    {
                        "$set": {"code": p.code.value, "due": p.due, "error": {"message": p.message}},
                        "$unset": {"lease": ""},
                    },
                )
                for p in postponed
            ],
        )

    def wake(self, where: Document) -> int:
        """Let tickets that waited for a dependency be taken up; return how many."""
        query = {**where, "code": DocumentCode.PENDING_DEPENDENCY.value}
        return self.collection.update_many(query, {"$set": {"code": DocumentCode.NEW.value}}).modified_count

    def by_id(self, ids: Iterable[int], fields: Mapping[str, int] | None = None) -> dict[int, Document]:
        """Tickets by id."""
        return {d["_id"]: d for d in self.collection.find({"_id": {"$in": list(ids)}}, fields)}

    def stocks_with_open(self, stocks: Sequence[int], channel: str, products: Sequence[int]) -> set[int]:
        """Which of these stocks still wait for a result of these products that the channel asked for.

        (Tickets of products that are no longer asked for stay open for ever; nobody waits for them.)
        """
        query = {"stock": {"$in": list(stocks)}, "channel": channel, "product_id": {"$in": list(products)}}
        return {d["stock"] for d in self.collection.find(query, {"stock": 1})}

    def pending(self, products: Mapping[int, Sequence[int]]) -> dict[int, int]:
        """Number of tickets that could be taken up now, by product; `products` says what each one builds upon.

        Of tickets that wait for a result those count whose result nobody is to compute any more: who should have woken
        them died.
        """
        now = utc_now()
        query: Document = {"code": {"$in": _CLAIMABLE}, **_due(now), **_free(now)}
        counts = {id_: self.collection.count_documents({"product_id": id_, **query}) for id_ in products}
        for id_, required in products.items():
            if required and not self.collection.find_one({"product_id": {"$in": list(required)}}, {"_id": 1}):
                left = {"product_id": id_, "code": DocumentCode.PENDING_DEPENDENCY.value}
                counts[id_] += self.collection.count_documents(left)
        return counts


def in_partitions(channels: Sequence[str], nights: Sequence[str]) -> Document:
    """Condition for tickets or results of channels and nights: of states by their own night, else by membership."""
    members = [f"{channel}|{night}" for channel in channels for night in nights]
    state = {"channel": {"$in": list(channels)}, "night": {"$in": list(nights)}}
    return {"$and": [{"$or": [state, {"member": {"$in": members}}]}]}


def code_now(ticket: Document) -> int:
    """The code of a ticket as people are to see it: while somebody has it, it is running."""
    lease = ticket.get("lease")
    code: int = DocumentCode.RUNNING.value if lease and lease["until"] > utc_now() else ticket["code"]
    return code


def _due(now: datetime) -> Document:
    return {"due": {"$not": {"$gt": now}}}


def _free(now: datetime) -> Document:
    return {"$or": [{"lease": None}, {"lease.until": {"$lt": now}}]}


def _ours(tickets: Sequence[Ticket]) -> Document:
    tokens = list({ticket.token for ticket in tickets})
    return {"_id": {"$in": [ticket.id for ticket in tickets]}, "lease.token": {"$in": tokens}}


def _ticket(d: Document, before: Document, token: int, claimed: datetime) -> Ticket:
    members = d.get("member", ())
    return Ticket(
        id=d["_id"],
        stock=d["stock"],
        input=d["input"],
        link=d.get("link", 0),
        channel=tuple(d["channel"]),
        nights=tuple({m.split("|")[1] for m in members}) if members else (d["night"],),
        attempts=d.get("attempts", 0) + 1,
        versions=tuple(element["version"] for element in before.get("body", ())),
        digest=before.get("digest", 0),
        token=token,
        claimed=claimed,
        document=d,
    )


def _cautiously(found: Sequence[Document], size: int) -> list[Document]:
    """Which of these free tickets to take at once: few of those that workers died with, at last one at a time.

    One of them may be what the workers died of, and would drag the others with it until all are given up.
    """
    lowest = min((d.get("attempts", 0) for d in found), default=0)
    return [d for d in found if d.get("attempts", 0) == lowest][: max(1, size >> 3 * lowest)]
