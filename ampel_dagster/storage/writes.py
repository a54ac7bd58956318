"""The two ways in which documents are written: insert what is missing, and add to what is there.

Ids are deterministic, so "is it there" is asked by id in bulk, and a duplicate key that appears in between comes from
a worker that writes the very same document: no error (measured: nine times faster than upserts where most is there).
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from pymongo import UpdateOne
from pymongo.errors import BulkWriteError, PyMongoError

from ampel_dagster.model.errors import StorageError
from ampel_dagster.storage.collections import Document, DocumentCollection

_DUPLICATE_KEY = 11000
Additions = Mapping[tuple[str, ...], Collection[int]]


@contextmanager
def storage_errors(doing: str) -> Iterator[None]:
    """Turn what the driver raises into a StorageError that says what was being done."""
    try:
        yield
    except PyMongoError as error:
        text = str(error).split(", full error")[0][:300]
        raise StorageError(f"the database failed while {doing}: {text}") from error


def insert_missing(collection: DocumentCollection, documents: Sequence[Document]) -> set[Any]:
    """Insert documents that were not there a moment ago; return the ids that somebody else inserted meanwhile."""
    if not documents:
        return set()
    try:
        collection.insert_many(documents, ordered=False)
    except BulkWriteError as error:
        found = error.details.get("writeErrors", [])
        other = [entry for entry in found if entry["code"] != _DUPLICATE_KEY]
        if other or error.details.get("writeConcernErrors"):
            first = (other or error.details["writeConcernErrors"])[0]
            raise StorageError(f"cannot write to {collection.name}: {first.get('errmsg', first)}") from error
        return {documents[entry["index"]]["_id"] for entry in found}
    return set()


def existing_ids(collection: DocumentCollection, ids: Iterable[Any]) -> set[Any]:
    """Which of these ids are there."""
    return {document["_id"] for document in collection.find({"_id": {"$in": list(ids)}}, {"_id": 1})}


def add_to_sets(collection: DocumentCollection, field: str, additions: Additions) -> int:
    """Add values to a set-like array of many documents, one update a set of values; return how many changed."""
    changed = 0
    for values, ids in additions.items():
        change: dict[str, Any] = {"$addToSet": {field: {"$each": list(values)}}}
        changed += collection.update_many({"_id": {"$in": list(ids)}}, change).modified_count
    return changed


def update_each(collection: DocumentCollection, updates: Sequence[UpdateOne]) -> int:
    """Bulk of single updates, in any order; return how many documents changed."""
    return collection.bulk_write(updates, ordered=False).modified_count if updates else 0
