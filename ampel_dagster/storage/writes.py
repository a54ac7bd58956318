"""The two ways in which documents are written: insert what is missing, and add to what is there.

Ids are deterministic, so "is it there" is asked by id in bulk, and a duplicate key that appears in between comes from
a worker that writes the very same document: no error (measured: nine times faster than upserts where most is there).
"""

from collections.abc import Callable, Collection, ItemsView, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

from bson import decode
from bson.errors import BSONError
from bson.raw_bson import RawBSONDocument
from pymongo import UpdateOne
from pymongo.errors import (
    AutoReconnect,
    BulkWriteError,
    DocumentTooLarge,
    DuplicateKeyError,
    OperationFailure,
    PyMongoError,
)

from ampel_dagster.model.errors import StorageError
from ampel_dagster.storage.collections import Document, DocumentCollection

T = TypeVar("T")
_DUPLICATE_KEY = 11000
#: Datapoints are below 1 kB, the largest documents (stamps) around 40 kB: well below the 16 MB of a command.
_DOCUMENTS_PER_COMMAND = 1000
_INSERTS_AT_ONCE = 2
#: The server's words for a document that is too deep or too large (in the command, grown, made by an upsert).
_UNFIT = frozenset({15, 10334, 17419, 17420})
#: Values to add, and the ids of the documents to add them to.
Additions = Mapping[tuple[str, ...], Collection[int]] | Mapping[tuple[int, ...], Collection[int]]


class Encoded(RawBSONDocument):
    """A document by its bytes, which are known to be one: the driver's own class looks through them once more."""

    __slots__ = ("raw",)
    raw: bytes

    def __init__(self, raw: bytes) -> None:  # the driver asks for nothing but `raw`
        self.raw = raw

    # What follows is for the driver's logs and errors, which show documents.

    def __getitem__(self, key: str) -> Any:
        return decode(self.raw)[key]

    def __iter__(self) -> Iterator[str]:
        return iter(decode(self.raw))

    def __len__(self) -> int:
        return len(decode(self.raw))

    def items(self) -> ItemsView[str, Any]:
        """Names and values."""
        return decode(self.raw).items()

    def __repr__(self) -> str:
        return repr(decode(self.raw))


#: Documents as dicts, or encoded.
Documents = Sequence[Document] | Sequence[Encoded]


@contextmanager
def storage_errors(doing: str) -> Iterator[None]:
    """Turn what the driver raises into a StorageError that says what was being done."""
    try:
        yield
    except PyMongoError as error:
        text = str(error).split(", full error")[0][:300]
        raise StorageError(f"the database failed while {doing}: {text}") from error


def insert_missing(collection: DocumentCollection, documents: Documents) -> set[Any]:
    """Insert documents that were not there a moment ago; return the ids that somebody else inserted meanwhile.

    Goes by the plain command and not by `insert_many`, which looks at every document in Python first (measured: a third
    of the time that it takes to insert datapoints).
    """
    taken: set[Any] = set()
    for begin in range(0, len(documents), _DOCUMENTS_PER_COMMAND):
        taken |= _insert(collection, documents[begin : begin + _DOCUMENTS_PER_COMMAND])
    return taken


def insert_ahead(
    collection: DocumentCollection,
    items: Sequence[T],
    encode: Callable[[Sequence[T]], Sequence[Encoded]],
    meanwhile: Callable[[], None] = lambda: None,
) -> set[Any]:
    """The same for documents that are still to be encoded: the next ones are, while the server writes those before.

    `meanwhile` is done while the server is still at it.
    """
    under_way: list[Future[set[Any]]] = []
    with ThreadPoolExecutor(_INSERTS_AT_ONCE, "insert") as pool:
        for begin in range(0, len(items), _DOCUMENTS_PER_COMMAND):
            documents = encode(items[begin : begin + _DOCUMENTS_PER_COMMAND])
            under_way.append(pool.submit(_insert, collection, documents))
        meanwhile()
    return set().union(*(done.result() for done in under_way))


def _insert(collection: DocumentCollection, documents: Documents) -> set[Any]:
    command = {
        "insert": collection.name,
        "documents": list(documents),
        "ordered": False,
        "writeConcern": collection.write_concern.document or {"w": 1},
    }
    try:
        answer = collection.database.command(command, check=False)
    except (DocumentTooLarge, AutoReconnect):
        # Too much for one command, or the connection broke: the driver cuts and repeats by itself.
        return _insert_many(collection, documents)
    errors = answer.get("writeErrors", [])
    if not answer.get("ok"):
        raise StorageError(f"cannot write to {collection.name}: {answer.get('errmsg', answer)}")
    return _duplicates(collection, documents, errors, answer.get("writeConcernError"))


def _insert_many(collection: DocumentCollection, documents: Documents) -> set[Any]:
    try:
        collection.insert_many(documents, ordered=False)
    except BulkWriteError as error:
        concern = error.details.get("writeConcernErrors")
        return _duplicates(collection, documents, error.details["writeErrors"], concern[0] if concern else None)
    return set()


def _duplicates(
    collection: DocumentCollection,
    documents: Documents,
    errors: Sequence[Document],
    concern: Any,
) -> set[Any]:
    other = [entry for entry in errors if entry["code"] != _DUPLICATE_KEY]
    if other or concern:
        first = other[0] if other else concern
        raise StorageError(f"cannot write to {collection.name}: {first.get('errmsg', first)}")
    return {documents[entry["index"]]["_id"] for entry in errors}


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


def update_acceptable(collection: DocumentCollection, updates: Sequence[UpdateOne]) -> dict[int, str]:
    """Bulk of single updates; return by index which of them the database refuses as they are, and why.

    Where there are any, all are done again one by one: each must do nothing when it was done already.
    """
    if not _refusal(collection, updates):
        return {}
    found = ((n, _refusal(collection, [update])) for n, update in enumerate(updates))
    return {n: why for n, why in found if why}


def insert_acceptable(collection: DocumentCollection, documents: Sequence[Document]) -> tuple[set[Any], dict[int, str]]:
    """Insert documents of which some may be unfit.

    Returns the ids of those that were there already, and by index which of them the database refuses as they are, and
    why. Where there are any, all are done again one by one, and those that the first attempt wrote count as there.
    """
    try:
        return insert_missing(collection, documents), {}
    except (StorageError, OperationFailure, BSONError, OverflowError, ValueError, DocumentTooLarge):
        pass  # which of them is it? What is wrong with the world is raised again
    there: set[Any] = set()
    refused: dict[int, str] = {}
    for n, document in enumerate(documents):
        try:
            collection.insert_one(document)
        except DuplicateKeyError:
            there.add(document["_id"])
        except OperationFailure as error:
            if error.code not in _UNFIT:
                raise
            refused[n] = _plain(error)
        except (BSONError, OverflowError, ValueError, DocumentTooLarge) as error:
            refused[n] = _plain(error)
    return there, refused


def _refusal(collection: DocumentCollection, updates: Sequence[UpdateOne]) -> str:
    """Why an update among these cannot be written: it cannot be encoded, or would make a document too large."""
    try:
        update_each(collection, updates)
    except OperationFailure as error:
        details = error.details or {}
        found = details.get("writeErrors") or [{"code": error.code, "errmsg": details.get("errmsg", str(error))}]
        if details.get("writeConcernErrors") or not all(entry["code"] in _UNFIT for entry in found):
            raise
        why = str(found[0]["errmsg"])
    except (BSONError, OverflowError, ValueError) as error:
        why = f"{type(error).__name__}: {error}"
    else:
        return ""
    return why.encode(errors="replace").decode()[:300]


def _plain(error: Exception) -> str:
    """What is wrong with a document, as text that can be stored."""
    text = str(error).split(", full error")[0]
    return f"{type(error).__name__}: {text}".encode(errors="replace").decode()[:300]
