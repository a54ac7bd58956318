"""States (``t1``)."""

from collections.abc import Iterable, Sequence

from ampel_dagster.model.stock import State
from ampel_dagster.storage.collections import Document, DocumentCollection
from ampel_dagster.storage.writes import Additions, add_to_sets, insert_missing


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
