"""The ledger: one document for each alert that was read, in ``alert`` where a channel took it, else ``rejected``."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from pymongo import UpdateOne

from ampel_dagster.storage.collections import Document, DocumentCollection
from ampel_dagster.storage.writes import insert_missing, update_each


class AlertRecord(NamedTuple):
    """An accepted alert as the ledger knows it."""

    id: int
    stock: int
    jd: float
    night: str
    #: Its datapoints, newest first.
    dps: tuple[int, ...]
    #: Code of each channel that accepted it: 0, or the number of a group.
    channel: Mapping[str, int]
    #: Link of its state by view (combiner and data rights).
    state: Mapping[str, int]
    #: Batches that gave these verdicts.
    batches: frozenset[int]


class Outcome(NamedTuple):
    """What T1 made of an alert, by view (combiner and data rights)."""

    #: Links of its states.
    state: Mapping[str, int]
    #: The datapoints of its packet that a state does not hold, by the reason; no view where there are none.
    left_out: Mapping[str, Mapping[str, Sequence[int]]] = {}


class Prior(NamedTuple):
    """What the ledger already says about an alert."""

    verdict: Mapping[str, Mapping[str, int]]
    channel: frozenset[str]
    state: Mapping[str, int]
    #: Rank of the packet that was stored; 0 for a rejected alert.
    rank: int
    #: Batch whose packet told more than the first one; 0 if there was none.
    enriched: int = 0
    #: Its object and time; None: the alert is not known.
    stock: int | None = None
    jd: float = 0.0


class Latest(NamedTuple):
    """The latest alert of a stock: what its packet told, who took it, and what became of it."""

    stock: int
    jd: float
    rank: int
    dps: frozenset[int]
    #: Hash of the configuration with which each channel took it.
    config: Mapping[str, int]
    state: Mapping[str, int]
    #: Batches that wrote about it.
    batches: frozenset[int]


class Ledger:
    """Verbs on the alerts of one survey."""

    def __init__(self, alert: DocumentCollection, rejected: DocumentCollection) -> None:
        self.alert = alert
        self.rejected = rejected

    def prior(self, ids: Sequence[int]) -> dict[int, Prior]:
        """What is known of these alerts, accepted or rejected."""
        query = {"_id": {"$in": list(ids)}}
        fields = {"verdict": 1, "stock": 1, "jd": 1}
        found = {
            d["_id"]: Prior(d["verdict"], frozenset(), {}, 0, stock=d["stock"], jd=d["jd"])
            for d in self.rejected.find(query, fields)
        }
        fields |= {"channel": 1, "state": 1, "rank": 1, "enriched.batch": 1}
        for d in self.alert.find(query, fields):
            known = found[d["_id"]].verdict if d["_id"] in found else {}
            verdict, enriched = {**known, **d["verdict"]}, d["enriched"]["batch"] if "enriched" in d else 0
            found[d["_id"]] = Prior(
                verdict, frozenset(d["channel"]), d.get("state", {}), d["rank"], enriched, d["stock"], d["jd"]
            )
        return found

    def latest(self, ids: Sequence[int]) -> dict[int, Latest]:
        """Accepted alerts by id, as what comes after them needs to know them."""
        fields = {"stock": 1, "jd": 1, "rank": 1, "dps": 1, "channel": 1, "verdict": 1, "state": 1, "enriched.batch": 1}
        return {d["_id"]: _latest(d) for d in self.alert.find({"_id": {"$in": list(ids)}}, fields)}

    def first_accepted(
        self, stocks: Sequence[int], channels: Sequence[str]
    ) -> dict[tuple[int, str], tuple[float, int]]:
        """(jd, id) of the first alert of each stock that each of these channels accepted."""
        query = {"stock": {"$in": list(stocks)}, "channel": {"$in": list(channels)}}
        first: dict[tuple[int, str], tuple[float, int]] = {}
        for d in self.alert.find(query, {"stock": 1, "jd": 1, "channel": 1}):
            for channel in d["channel"]:
                key = (d["stock"], channel)
                first[key] = min(first.get(key, (d["jd"], d["_id"])), (d["jd"], d["_id"]))
        return first

    def first_chosen(self, channel: str, nights: Sequence[str]) -> dict[int, tuple[float, int]]:
        """(jd, id) of the first alert that a channel took by itself, of stocks of which it did so in these nights."""
        own = {"channel": channel, f"verdict.{channel}.completed": {"$exists": False}}
        stocks = list({d["stock"] for d in self.alert.find({"night": {"$in": list(nights)}, **own}, {"stock": 1})})
        first: dict[int, tuple[float, int]] = {}
        for d in self.alert.find({"stock": {"$in": stocks}, **own}, {"stock": 1, "jd": 1}):
            moment = d["jd"], d["_id"]
            first[d["stock"]] = min(first.get(d["stock"], moment), moment)
        return first

    def later_alerts(self, from_jd: Mapping[int, float]) -> list[AlertRecord]:
        """Alerts with a state from a time on that is given for their stock: a late point of then concerns them."""
        query = {"$or": [{"stock": s, "jd": {"$gte": jd}, "state": {"$exists": True}} for s, jd in from_jd.items()]}
        return [_record(d) for d in self.alert.find(query)] if from_jd else []

    def accepted(
        self, channels: Sequence[str], nights: Sequence[str], *, without_state: Sequence[str] = ()
    ) -> Iterator[AlertRecord]:
        """Alerts that any of these channels accepted in these nights, sorted by stock and time.

        `without_state`: only those that lack the state of one of these views.
        """
        query: Document = {"night": {"$in": list(nights)}, "channel": {"$in": list(channels)}}
        if without_state:
            query["$or"] = [{f"state.{view}": {"$exists": False}} for view in without_state]
        found = self.alert.find(query, batch_size=2000, allow_disk_use=True)
        return map(_record, found.sort([("stock", 1), ("jd", 1), ("_id", 1)]))

    def find(self, id_: int) -> Document | None:
        """Ledger document of one alert, accepted or rejected."""
        return self.alert.find_one({"_id": id_}) or self.rejected.find_one({"_id": id_})

    def waiting(self, channel: str, nights: Sequence[str], code: int) -> int:
        """Alerts of these nights on which the channel's verdict has this code."""
        query = {"night": {"$in": list(nights)}, f"verdict.{channel}.code": code}
        return self.alert.count_documents(query) + self.rejected.count_documents(query)

    def of_stock(self, stock: int) -> list[Document]:
        """Ledger documents of one stock, oldest first."""
        return list(self.alert.find({"stock": stock}).sort([("jd", 1), ("_id", 1)]))

    def of_channel(self, stock: int, channel: str) -> list[AlertRecord]:
        """Alerts of one stock that a channel accepted, oldest first."""
        found = self.alert.find({"stock": stock, "channel": channel})
        return [_record(d) for d in found.sort([("jd", 1), ("_id", 1)])]

    def write_accepted(self, documents: Sequence[Document]) -> int:
        """Insert alerts that were accepted, or add their verdicts to those that are there; return how many are new."""
        duplicates = insert_missing(self.alert, documents)
        if duplicates:
            self.merge([d for d in documents if d["_id"] in duplicates])
        return len(documents) - len(duplicates)

    def merge(self, documents: Sequence[Document]) -> int:
        """Add verdicts, channels and states to alerts that are there; of an enriched one the datapoints too."""
        return update_each(self.alert, [UpdateOne({"_id": d["_id"]}, _merge(d)) for d in documents])

    def forget_rejected(self, ids: Sequence[int]) -> None:
        """Alerts that moved to `alert` leave `rejected`."""
        if ids:
            self.rejected.delete_many({"_id": {"$in": list(ids)}})

    def write_rejected(self, documents: Sequence[Document]) -> None:
        """Record verdicts on alerts that nobody took."""
        duplicates = insert_missing(self.rejected, documents)
        again = [d for d in documents if d["_id"] in duplicates]
        update_each(self.rejected, [UpdateOne({"_id": d["_id"]}, {"$set": _verdicts(d)}) for d in again])

    def add_verdicts(self, verdicts: Mapping[int, Document], *, accepted: bool) -> None:
        """Record later verdicts on alerts that are in `alert` (`accepted`) or in `rejected`."""
        collection = self.alert if accepted else self.rejected
        changes = {i: {f"verdict.{c}": v for c, v in found.items()} for i, found in verdicts.items()}
        update_each(collection, [UpdateOne({"_id": i}, {"$set": change}) for i, change in changes.items()])

    def set_states(self, outcomes: Mapping[int, Outcome]) -> int:
        """Say which state each alert led to, and what of its packet is not in it."""
        return update_each(
            self.alert,
            [UpdateOne({"_id": id_}, _outcome(found.state, found.left_out)) for id_, found in outcomes.items()],
        )

    def drop(self, ids: Iterable[int]) -> None:
        """Forget alerts altogether."""
        self.alert.delete_many({"_id": {"$in": list(ids)}})


def _verdicts(document: Document) -> Document:
    return {f"verdict.{channel}": verdict for channel, verdict in document["verdict"].items()}


def _by_view(field: str, found: Mapping[str, Any]) -> Document:
    return {f"{field}.{view}": value for view, value in found.items()}


def _outcome(state: Mapping[str, int], left_out: Mapping[str, Any]) -> dict[str, Document]:
    """Change of an alert's states. Two runs at once may have thought for a moment that something is left out."""
    change = {"$set": _by_view("state", state) | _by_view("left_out", left_out)}
    nothing = {f"left_out.{view}": "" for view in state if view not in left_out}
    return change | ({"$unset": nothing} if nothing else {})


def _merge(document: Document) -> dict[str, Any]:
    outcome = _outcome(document.get("state", {}), document.get("left_out", {}))
    richer = {key: document[key] for key in ("dps", "enriched")} if "enriched" in document else {}
    return {
        **outcome,
        "$set": _verdicts(document) | outcome["$set"] | richer,
        "$addToSet": {"channel": {"$each": document["channel"]}},
        "$max": {"rank": document["rank"]},
    }


def _latest(d: Document) -> Latest:
    verdict = d["verdict"]
    batches = {found["batch"] for found in verdict.values()}
    if "enriched" in d:
        batches.add(d["enriched"]["batch"])
    config = {channel: verdict[channel]["config"] for channel in d["channel"]}
    state = d.get("state", {})
    return Latest(d["stock"], d["jd"], d["rank"], frozenset(d["dps"]), config, state, frozenset(batches))


def _record(d: Document) -> AlertRecord:
    verdict = d["verdict"]
    codes = {c: verdict[c]["code"] if verdict[c]["code"] > 0 else 0 for c in d["channel"]}
    batches = frozenset(verdict[c]["batch"] for c in d["channel"])
    return AlertRecord(d["_id"], d["stock"], d["jd"], d["night"], tuple(d["dps"]), codes, d.get("state", {}), batches)
