"""Which channels with a gate are live."""

from collections.abc import Mapping
from typing import Any

from ampel_dagster.model.ids import hash_json
from ampel_dagster.storage.collections import Document, DocumentCollection
from ampel_dagster.storage.writes import insert_missing


class Activations:
    """One document for each channel, survey and configuration of its filter that was let through."""

    def __init__(self, collection: DocumentCollection) -> None:
        self.collection = collection

    def find(self, channel: str, survey: str, config: int) -> Document | None:
        """The activation of a channel as it is configured, if there is one."""
        return self.collection.find_one({"_id": _id(channel, survey, config)})

    def add(self, channel: str, survey: str, config: int, facts: Mapping[str, Any], meta: Mapping[str, Any]) -> None:
        """Make a channel live; `facts` are what was measured."""
        names = {"channel": channel, "survey": survey, "config": config}
        insert_missing(self.collection, [{"_id": _id(channel, survey, config), **names, **facts, "meta": dict(meta)}])

    def remove(self, channel: str, survey: str) -> int:
        """A channel is not live any more, however it is configured; return how many activations there were."""
        return self.collection.delete_many({"channel": channel, "survey": survey}).deleted_count


def _id(channel: str, survey: str, config: int) -> int:
    return hash_json(["activation", channel, survey, config])
