"""The ways in which documents are written: again and again, by several at once, and too large."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from bson import encode
from pymongo import UpdateOne
from pymongo.errors import OperationFailure, ServerSelectionTimeoutError

from ampel_dagster.model.errors import StorageError
from ampel_dagster.storage.collections import DocumentCollection
from ampel_dagster.storage.store import Store
from ampel_dagster.storage.writes import (
    Encoded,
    add_to_sets,
    existing_ids,
    insert_ahead,
    insert_missing,
    storage_errors,
    update_acceptable,
    update_each,
)


@pytest.fixture
def collection(store: Store) -> DocumentCollection:
    return store.database["things"]


def content(collection: DocumentCollection) -> dict[Any, Any]:
    return {d.pop("_id"): d for d in collection.find()}


# --- insert


def encoded_ahead(collection: DocumentCollection, documents: Sequence[dict[str, Any]]) -> set[Any]:
    return insert_ahead(collection, documents, lambda chunk: [Encoded(encode(document)) for document in chunk])


Insert = Callable[[DocumentCollection, Sequence[dict[str, Any]]], set[Any]]
EACH_WAY = pytest.mark.parametrize("insert", [insert_missing, encoded_ahead])


@EACH_WAY
def test_what_is_there_stays_and_is_told(collection: DocumentCollection, insert: Insert) -> None:
    assert insert(collection, [{"_id": 1, "by": "first"}, {"_id": 2, "by": "first"}]) == set()
    again = [{"_id": 2, "by": "second"}, {"_id": 3, "by": "second"}, {"_id": 1, "by": "second"}]
    assert insert(collection, again) == {1, 2}
    assert content(collection) == {1: {"by": "first"}, 2: {"by": "first"}, 3: {"by": "second"}}
    assert insert(collection, []) == set()


@EACH_WAY
def test_many_are_all_written(collection: DocumentCollection, insert: Insert) -> None:
    """More than go into one command; of each thousand some are there."""
    there = {0, 999, 1000, 1001, 2499}
    insert(collection, [{"_id": n, "old": True} for n in there])
    assert insert(collection, [{"_id": n} for n in range(2500)]) == there
    assert collection.count_documents({}) == 2500
    assert collection.count_documents({"old": True}) == len(there)


@EACH_WAY
def test_large_documents_are_written_together(collection: DocumentCollection, insert: Insert) -> None:
    """Each goes into a message of 16 MB, all together do not."""
    documents = [{"_id": n, "raw": bytes([n]) * 6_000_000} for n in range(3)]
    assert insert(collection, documents) == set()
    assert insert(collection, documents) == {0, 1, 2}
    found = collection.aggregate([{"$project": {"size": {"$bsonSize": "$$ROOT"}}}, {"$match": {"size": {"$gt": 6e6}}}])
    assert len(list(found)) == 3


def test_what_goes_over_the_wire_can_be_logged(
    collection: DocumentCollection, caplog: pytest.LogCaptureFixture
) -> None:
    """The driver writes documents into its log where somebody asks for all of it."""
    document = {"_id": 1, "name": "ZTF18abxhyqv", "tag": ["ZTF"]}
    encoded = Encoded(encode(document))
    assert (dict(encoded), dict(encoded.items()), len(encoded)) == (document, document, 3)
    assert repr(encoded) == repr(document)
    with caplog.at_level("DEBUG", "pymongo.command"):
        encoded_ahead(collection, [document])
    assert any("ZTF18abxhyqv" in record.getMessage() for record in caplog.records)
    assert content(collection) == {1: {"name": "ZTF18abxhyqv", "tag": ["ZTF"]}}


def test_refusal_for_another_reason_is_an_error(store: Store) -> None:
    picky = store.database.create_collection("picky", validator={"n": {"$gt": 0}})
    with pytest.raises(StorageError, match=r"cannot write to picky: .*validation"):
        insert_missing(picky, [{"_id": 1, "n": 1}, {"_id": 2, "n": -1}, {"_id": 3, "n": 3}])
    assert set(content(picky)) == {1, 3}


def test_two_that_write_the_same_end_with_the_same(collection: DocumentCollection) -> None:
    start = Barrier(4)

    def write(who: int) -> int:
        start.wait()
        return sum(
            50 - len(insert_missing(collection, [{"_id": n} for n in range(b, b + 50)])) for b in range(0, 500, 50)
        )

    with ThreadPoolExecutor(4) as pool:
        new = list(pool.map(write, range(4)))
    assert sum(new) == collection.count_documents({}) == 500


def test_existing_ids(collection: DocumentCollection) -> None:
    insert_missing(collection, [{"_id": n} for n in (1, 2, 3)])
    assert existing_ids(collection, [2, 3, 4]) == {2, 3}
    assert existing_ids(collection, []) == set()


# --- update


def deep(levels: int) -> Any:
    """MongoDB takes 180 levels."""
    return {"a": deep(levels - 1)} if levels else 0


def test_values_are_added_to_sets(collection: DocumentCollection) -> None:
    insert_missing(collection, [{"_id": n, "channel": ["A"]} for n in range(4)])
    assert add_to_sets(collection, "channel", {("A", "B"): [0, 1], ("C",): [1, 2], ("A",): [3]}) == 4
    assert [d["channel"] for d in collection.find().sort("_id")] == [["A", "B"], ["A", "B", "C"], ["A", "C"], ["A"]]
    assert add_to_sets(collection, "channel", {("A", "B"): [0, 1]}) == 0
    assert add_to_sets(collection, "channel", {}) == 0


def test_updates_in_bulk(collection: DocumentCollection) -> None:
    insert_missing(collection, [{"_id": 1}, {"_id": 2, "n": 2}])
    assert update_each(collection, [UpdateOne({"_id": n}, {"$set": {"n": 2}}) for n in (1, 2, 3)]) == 1
    assert update_each(collection, []) == 0
    assert content(collection) == {1: {"n": 2}, 2: {"n": 2}}


@pytest.mark.parametrize(
    "value",
    ["x" * 17_000_000, ["x" * 9_000_000] * 2, deep(181), deep(250), "\ud800", 1 << 63, object()],
    ids=["long", "both", "deep", "deeper", "text", "integer", "object"],
)
def test_update_that_the_database_refuses_is_told_and_the_others_are_written(
    collection: DocumentCollection, value: Any
) -> None:
    insert_missing(collection, [{"_id": n, "done": 0} for n in range(5)])
    values = [0, 1, value, 3, 4]
    updates = [UpdateOne({"_id": n, "done": 0}, {"$set": {"v": v}, "$inc": {"done": 1}}) for n, v in enumerate(values)]
    refused = update_acceptable(collection, updates)
    assert list(refused) == [2]
    assert refused[2]
    assert len(refused[2]) <= 300
    del values[2]
    assert [d.get("v") for d in collection.find({"done": 1}).sort("_id")] == values
    assert collection.count_documents({"done": 0}) == 1


def test_growth_beyond_what_a_document_may_be_is_told(collection: DocumentCollection) -> None:
    insert_missing(collection, [{"_id": 1, "body": ["x" * 9_000_000]}])
    refused = update_acceptable(collection, [UpdateOne({"_id": 1}, {"$push": {"body": "x" * 9_000_000}})])
    assert list(refused) == [0]


def test_updates_that_are_fine_refuse_nothing(collection: DocumentCollection) -> None:
    insert_missing(collection, [{"_id": 1}])
    assert update_acceptable(collection, [UpdateOne({"_id": 1}, {"$set": {"n": 1}})]) == {}
    assert update_acceptable(collection, []) == {}


def test_wrong_update_is_an_error_and_no_refusal(store: Store) -> None:
    """A mistake of ours must not be taken for a result that cannot be stored."""
    closed = store.database["closed"]
    store.database.create_collection("closed", viewOn="things", pipeline=[])
    with pytest.raises(OperationFailure):
        update_acceptable(closed, [UpdateOne({"_id": 1}, {"$set": {"n": 1}})])


def test_driver_errors_say_what_was_being_done() -> None:
    with (
        pytest.raises(StorageError, match=r"^the database failed while writing t0: no primary$"),
        storage_errors("writing t0"),
    ):
        raise ServerSelectionTimeoutError("no primary, full error: {'a': 1}")
    with pytest.raises(ZeroDivisionError), storage_errors("writing t0"):
        _ = 1 / 0
