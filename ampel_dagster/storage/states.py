"""States (``t1``)."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pymongo import UpdateOne

from ampel_dagster.model.stock import State
from ampel_dagster.storage.collections import Document, DocumentCollection
from ampel_dagster.storage.writes import Additions, add_to_sets, insert_missing, update_each


class States:
    """Verbs on the states of one survey."""

    def __init__(self, collection: DocumentCollection, survey: str) -> None:
        self.collection = collection
        self._survey = survey

    def known(self, links: Iterable[int]) -> dict[int, tuple[frozenset[str], frozenset[int]]]:
        """(channels, alerts) of the states that are there, by link."""
        found = self.collection.find({"_id": {"$in": list(links)}}, {"channel": 1, "alerts": 1})
        return {d["_id"]: (frozenset(d["channel"]), frozenset(d["alerts"])) for d in found}

    def insert(self, documents: Sequence[Document]) -> set[int]:
        """Insert new states; return links that another worker was faster with."""
        return insert_missing(self.collection, documents)

    def add_channels(self, additions: Additions) -> int:
        """Let channels share states that are there."""
        return add_to_sets(self.collection, "channel", additions)

    def add_alerts(self, additions: Additions) -> int:
        """Say that further alerts led to states that are there."""
        return add_to_sets(self.collection, "alerts", additions)

    def value_versions(self, links: Iterable[int]) -> dict[int, dict[str, str]]:
        """Of the states that are there: the version of the unit that computed each of their values, by its key."""
        found = self.collection.find({"_id": {"$in": list(links)}}, {"computed": 1})
        return {d["_id"]: {key: v["version"] for key, v in d.get("computed", {}).items()} for d in found}

    def set_values(self, values: Mapping[int, Mapping[str, Any]]) -> int:
        """Keep values of states that are there."""
        return update_each(
            self.collection,
            [
                UpdateOne({"_id": link}, {"$set": {f"computed.{key}": value for key, value in found.items()}})
                for link, found in values.items()
            ],
        )

    def values(self, links: Iterable[int], channel: str, keys: Sequence[str]) -> dict[int, dict[str, Any]]:
        """Valid values of the states that a channel may see, by link and key."""
        query: Document = {"_id": {"$in": list(links)}, "channel": channel}
        found = self.collection.find(query, {f"computed.{key}": 1 for key in keys})
        return {d["_id"]: {key: v["body"] for key, v in d.get("computed", {}).items() if v["code"] >= 0} for d in found}

    def load(self, links: Iterable[int], channel: str | None = None) -> dict[int, State]:
        """States by link; with a channel those that it may see."""
        query: Document = {"_id": {"$in": list(links)}} | ({"channel": channel} if channel is not None else {})
        found = self.collection.find(query, {"stock": 1, "dps": 1, "night": 1})
        return {d["_id"]: State(self._survey, d["_id"], d["stock"], tuple(d["dps"]), d["night"]) for d in found}

    def of_stocks(self, stocks: Sequence[int], channel: str) -> dict[int, list[tuple[float, int]]]:
        """(jd of its alert, link) of all states of these stocks that a channel may see, oldest first."""
        found: dict[int, list[tuple[float, int]]] = {}
        query = {"stock": {"$in": list(stocks)}, "channel": channel}
        for d in self.collection.find(query, {"stock": 1, "jd": 1}):
            found.setdefault(d["stock"], []).append((d["jd"], d["_id"]))
        return {stock: sorted(states) for stock, states in found.items()}

    def of_stock(self, stock: int) -> list[Document]:
        """Documents of one stock's states, oldest first."""
        return list(self.collection.find({"stock": stock}).sort([("jd", 1), ("_id", 1)]))
