"""Which collections there are, and every index with the query that it serves."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from pymongo import ASCENDING, IndexModel
from pymongo.collection import Collection
from pymongo.database import Database

Document = dict[str, Any]
DocumentCollection = Collection[Document]
DocumentDatabase = Database[Document]

#: Collections that each survey has under its own name: ``ztf.alert`` …
SURVEY_COLLECTIONS = ("alert", "rejected", "stock", "t0", "t1", "ticket", "t2", "cutout")
#: Collections across surveys.
COMMON_COLLECTIONS = (
    "batch",
    "offsets",
    "listener",
    "journal",
    "quarantine",
    "activation",
    "t3",
    "reaction",
    "config",
    "catalog",
)


class Index(NamedTuple):
    """One index: where, on which fields, and why it is worth its upkeep."""

    collection: str
    keys: tuple[str, ...]
    serves: str
    #: Documents vanish at the date in this (the only) field.
    expires: bool = False


#: Nothing is indexed per channel name, so a new channel costs no index.
INDEXES = (
    Index("alert", ("stock", "jd"), "alerts of a stock: known stocks, late points, provenance"),
    Index("alert", ("night", "channel"), "what a channel accepted in a night: T1, T3, digests"),
    Index("rejected", ("night",), "ledger of a night"),
    Index("rejected", ("expire",), "verdicts on rejected alerts are kept for a while only", expires=True),
    Index("t0", ("stock",), "datapoints of a stock, for its states"),
    Index("t1", ("stock",), "history of states of a stock"),
    Index("t1", ("night", "channel"), "states of a night, for frames and digests"),
    Index("ticket", ("product_id", "code", "night"), "tickets to claim, counts by code"),
    Index("ticket", ("stock",), "what a stock still waits for: reactions, provenance"),
    Index("t2", ("product_id", "code"), "counts by code, results to compute again"),
    Index("t2", ("stock",), "results of a stock: views, provenance"),
    Index("t2", ("night", "channel"), "results of a night, for frames and digests"),
    Index("t2", ("member",), "point and stock results of a channel and night"),
    Index("cutout", ("expire",), "stamps are kept for a while only", expires=True),
    Index("batch", ("state", "kind"), "batches left open by a crash"),
    Index("batch", ("nights",), "ledger of a night"),
    Index("batch", ("due",), "what a reaction has still to handle"),
    Index("batch", ("meta.run",), "partitions that a run touched"),
    Index("offsets", ("survey", "topic", "partition", "epoch", "first"), "the last range of a partition"),
    Index("offsets", ("survey", "state"), "ranges that are to be read"),
    Index("offsets", ("run",), "ranges that a run has done, to be made one"),
    Index("offsets", ("lost.reason",), "offsets that nobody can read any more"),
    Index("journal", ("stock",), "story of a stock"),
    Index("journal", ("run",), "what a run did"),
    Index("quarantine", ("source",), "bad packets of a file"),
    Index("t3", ("process", "channel"), "what a process sent"),
    Index("t3", ("stock",), "reactions to a stock"),
    Index("reaction", ("process", "channel", "ended"), "the last run of a process"),
)


def ensure_indexes(database: DocumentDatabase, surveys: tuple[str, ...]) -> None:
    """Create what is missing; existing indexes are left as they are."""
    wanted: dict[str, list[IndexModel]] = {}
    for index in INDEXES:
        options = {"expireAfterSeconds": 0} if index.expires else {}
        model = IndexModel([(key, ASCENDING) for key in index.keys], **options)
        for name in _places(index.collection, surveys):
            wanted.setdefault(name, []).append(model)
    for name, models in wanted.items():
        database[name].create_indexes(models)


def _places(collection: str, surveys: tuple[str, ...]) -> Iterator[str]:
    if collection in SURVEY_COLLECTIONS:
        yield from (f"{survey}.{collection}" for survey in surveys)
    else:
        yield collection
