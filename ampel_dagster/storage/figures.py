"""Figures about what is stored: counts for people, digests that tell whether a partition changed."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from ampel_dagster.model.codes import DocumentCode
from ampel_dagster.model.ids import hash_ints
from ampel_dagster.model.run import utc_now
from ampel_dagster.storage.collections import Document
from ampel_dagster.storage.store import Store, SurveyStore
from ampel_dagster.storage.tickets import in_partitions

_MASK = (1 << 64) - 1


def counts(store: Store, surveys: Sequence[str], products: Mapping[int, str]) -> dict[str, Any]:
    """The object that ``ampel-dagster counts --json`` prints; `products` gives names to product ids."""
    found: dict[str, Any] = {survey: survey_counts(store.survey(survey), products) for survey in surveys}
    return {**found, "quarantine": store.quarantine.count(), "t3": store.outbox.count()}


def survey_counts(survey: SurveyStore, products: Mapping[int, str]) -> dict[str, Any]:
    """Counts of one survey."""
    t0 = survey.points.collection
    by_kind = {d["_id"]: d["n"] for d in t0.aggregate([{"$group": {"_id": "$kind", "n": {"$sum": 1}}}])}
    dps = list(
        survey.states.collection.aggregate(
            [{"$group": {"_id": None, "n": {"$sum": 1}, "dps": {"$sum": {"$size": "$dps"}}}}]
        )
    )
    return {
        "alert": survey.ledger.alert.count_documents({}),
        "rejected": survey.ledger.rejected.count_documents({}),
        "stock": survey.stocks.collection.count_documents({}),
        "t0": {
            "total": sum(by_kind.values()),
            "detections": by_kind.get("detection", 0),
            "upper_limits": by_kind.get("upper_limit", 0),
            "forced": by_kind.get("forced", 0),
            "superseded": t0.count_documents({"tag": "SUPERSEDED"}),
        },
        "t1": {"total": dps[0]["n"] if dps else 0, "dps": dps[0]["dps"] if dps else 0},
        "t2": _named(t2_codes(survey, {}, "product_id"), products),
        "cutout": survey.cutouts.collection.count_documents({}),
    }


def _named(by_id: Mapping[int, Mapping[int, int]], products: Mapping[int, str]) -> dict[str, dict[str, int]]:
    return {
        products.get(product, f"unknown:{product}"): {str(code): n for code, n in sorted(codes.items())}
        for product, codes in sorted(by_id.items(), key=lambda item: products.get(item[0], "~"))
    }


class Figures:
    """Number of documents of one partition, and a digest of their content that does not depend on their order."""

    def __init__(self) -> None:
        self.documents = 0
        self._sum = 0

    def add(self, *content: int) -> None:
        """Count one document: its id and what else of it matters."""
        self.documents += 1
        self._sum = (self._sum + (hash_ints(*content) & _MASK)) & _MASK

    def merge(self, other: "Figures") -> None:
        """Add what another has counted."""
        self.documents += other.documents
        self._sum = (self._sum + other._sum) & _MASK

    @property
    def content_digest(self) -> str:
        """Sixteen hexadecimal digits."""
        return f"{self._sum:016x}"


def alert_figures(survey: SurveyStore, channel: str, night: str) -> Figures:
    """Alerts that a channel accepted in a night, with their datapoints."""
    figures = Figures()
    query = {"night": night, "channel": channel}
    for d in survey.ledger.alert.find(query, {f"verdict.{channel}.code": 1, "dps": 1}):
        figures.add(d["_id"], d["verdict"][channel]["code"], *d["dps"])
    return figures


def state_figures(survey: SurveyStore, channel: str, night: str) -> Figures:
    """States of a channel and night."""
    figures = Figures()
    for d in survey.states.collection.find({"night": night, "channel": channel}, {"_id": 1}):
        figures.add(d["_id"])
    return figures


def result_figures(survey: SurveyStore, product_id: int, channel: str, night: str) -> Figures:
    """Results of a product for a channel and night: their codes and content, not when they were made."""
    figures = Figures()
    query = {"product_id": product_id, **in_partitions([channel], [night])}
    for d in survey.results.collection.find(query, {"code": 1, "digest": 1}):
        figures.add(d["_id"], d["code"], d["digest"])
    for d in survey.tickets.collection.find({**query, "again": None}, {"_id": 1}):
        figures.add(d["_id"], DocumentCode.NEW.value, 0)  # whatever it waits for: it has no result
    return figures


def codes_of(survey: SurveyStore, product_id: int, channels: Sequence[str], nights: Sequence[str]) -> dict[int, int]:
    """Number of documents by code, for a product's partitions."""
    where: Document = {"product_id": product_id, **in_partitions(channels, nights)}
    return t2_codes(survey, where, "product_id").get(product_id, {})


def t2_codes(survey: SurveyStore, where: Document, by: str) -> dict[Any, dict[int, int]]:
    """Number of T2 documents by a field and code: results, and tickets that have none yet.

    A ticket that a worker has counts as RUNNING; a result that is to be computed again has the code that says so.
    """
    held = {"$cond": [{"$gt": ["$lease.until", utc_now()]}, DocumentCode.RUNNING.value, "$code"]}
    found: dict[Any, dict[int, int]] = {}
    for collection, more, code in (
        (survey.results.collection, {}, "$code"),
        (survey.tickets.collection, {"again": None}, held),
    ):
        group = {"_id": {"by": f"${by}", "code": code}, "n": {"$sum": 1}}
        for d in collection.aggregate([{"$match": {**where, **more}}, {"$group": group}]):
            codes = found.setdefault(d["_id"]["by"], {})
            codes[d["_id"]["code"]] = codes.get(d["_id"]["code"], 0) + d["n"]
    return found


def t2_ages(survey: SurveyStore, since: datetime) -> dict[tuple[int, int], tuple[datetime, int]]:
    """By product id and code: when the oldest document was written, and how many since a time."""
    found: dict[tuple[int, int], tuple[datetime, int]] = {}
    late = {"$sum": {"$cond": [{"$gte": ["$meta.ts", since]}, 1, 0]}}
    held = {"$cond": [{"$gt": ["$lease.until", utc_now()]}, DocumentCode.RUNNING.value, "$code"]}
    for collection, more, code in (
        (survey.results.collection, {}, "$code"),
        (survey.tickets.collection, {"again": None}, held),
    ):
        group = {"_id": {"p": "$product_id", "c": code}, "oldest": {"$min": "$meta.ts"}, "late": late}
        for d in collection.aggregate([{"$match": more}, {"$group": group}]):
            key = d["_id"]["p"], d["_id"]["c"]
            oldest, number = found.get(key, (d["oldest"], 0))
            found[key] = min(oldest, d["oldest"]), number + d["late"]
    return found


def channel_counts(store: Store, survey: SurveyStore, channel: str) -> dict[str, Any]:
    """Documents that a channel has, by collection; T2 by product and code."""
    own = {"channel": channel}
    return {
        "alert": survey.ledger.alert.count_documents(own),
        "stock": survey.stocks.collection.count_documents(own),
        "t1": survey.states.collection.count_documents(own),
        "t2": t2_codes(survey, own, "product"),
        "t3": store.outbox.collection.count_documents({**own, "survey": survey.survey}),
    }


def alerts_by_night(survey: SurveyStore, channels: Sequence[str], first: str, last: str) -> dict[str, int]:
    """Number of alerts that any of these channels accepted, by night, oldest first."""
    stages: list[Document] = [
        {"$match": {"night": {"$gte": first, "$lte": last}, "channel": {"$in": list(channels)}}},
        {"$group": {"_id": "$night", "n": {"$sum": 1}}},
        {"$sort": {"_id": 1}},
    ]
    return {d["_id"]: d["n"] for d in survey.ledger.alert.aggregate(stages)}
