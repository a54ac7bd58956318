"""What runs of T3 did: one document for each run, process, channel and night."""

from collections import Counter
from typing import Any

from ampel_dagster.model.ids import hash_json
from ampel_dagster.model.view import Session
from ampel_dagster.storage.collections import Document, DocumentCollection


class Reactions:
    """Verbs on what was done."""

    def __init__(self, collection: DocumentCollection) -> None:
        self.collection = collection

    def write(self, document: Document) -> None:
        """Keep what a run did; a step that is repeated in the same run replaces it."""
        names = ("run", "process", "channel", "survey", "night")
        id_ = hash_json([document[name] for name in names])
        self.collection.replace_one({"_id": id_}, {"_id": id_, **document}, upsert=True)

    def last(self, process: str, channel: str, survey: str, run: str) -> Session | None:
        """The run before `run` of a process for a channel, with the sum of what it did in all nights."""
        query: Document = {"process": process, "channel": channel, "survey": survey, "run": {"$ne": run}}
        newest = self.collection.find_one(query, {"run": 1, "ended": 1}, sort=[("ended", -1), ("_id", 1)])
        if newest is None:
            return None
        counts: Counter[str] = Counter()
        for d in self.collection.find({**query, "run": newest["run"]}, {"counts": 1}):
            counts.update(d["counts"])
        return Session(newest["run"], newest["ended"], dict(counts))

    def list(self, **where: Any) -> list[Document]:
        """What was done, newest first; `where` may name run, process, channel, survey, night."""
        query = {key: value for key, value in where.items() if value is not None}
        return list(self.collection.find(query).sort([("ended", -1), ("_id", 1)]))
