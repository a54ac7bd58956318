"""The whole database behind one object."""

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, TypeVar

from pymongo import MongoClient
from pymongo.errors import ConnectionFailure

from ampel_dagster.storage.activations import Activations
from ampel_dagster.storage.batches import Batches
from ampel_dagster.storage.catalogs import Catalogs
from ampel_dagster.storage.collections import DocumentDatabase, ensure_indexes
from ampel_dagster.storage.connect import connect
from ampel_dagster.storage.ledger import Ledger
from ampel_dagster.storage.offsets import Listeners, Offsets
from ampel_dagster.storage.outbox import Outbox
from ampel_dagster.storage.patience import Unbroken, steadily
from ampel_dagster.storage.points import Points
from ampel_dagster.storage.reactions import Reactions
from ampel_dagster.storage.records import Configs, Cutouts, Journal, Quarantine
from ampel_dagster.storage.results import Results
from ampel_dagster.storage.states import States
from ampel_dagster.storage.stocks import Stocks
from ampel_dagster.storage.tickets import Tickets, code_now

T = TypeVar("T")


class SurveyStore:
    """Collections of one survey, and the catalogues that all have in common."""

    def __init__(self, database: DocumentDatabase, survey: str, catalogs: Catalogs) -> None:
        self.survey = survey
        self.catalogs = catalogs
        self.ledger = Ledger(database[f"{survey}.alert"], database[f"{survey}.rejected"])
        self.stocks = Stocks(database[f"{survey}.stock"], survey)
        self.points = Points(database[f"{survey}.t0"])
        self.states = States(database[f"{survey}.t1"], survey)
        self.results = Results(database[f"{survey}.t2"])
        self.tickets = Tickets(database[f"{survey}.ticket"], self.results)
        self.cutouts = Cutouts(database[f"{survey}.cutout"])

    def t2_of_stock(self, stock: int) -> list[dict[str, Any]]:
        """T2 documents of a stock: its results, and the tickets that have none yet."""
        return sorted(self.t2_documents({"stock": stock}), key=lambda d: (d["product"], d["_id"]))

    def t2_documents(self, where: Mapping[str, Any], limit: int = 0) -> list[dict[str, Any]]:
        """Results, and tickets that have none yet; at most `limit`, where it is not 0."""
        found = list(self.results.collection.find(where).limit(limit))
        left = limit - len(found)
        if limit == 0 or left > 0:
            waiting = self.tickets.collection.find({**where, "again": None}).limit(max(0, left))
            found += [{**d, "code": code_now(d)} for d in waiting]
        return found


class Store:
    """One database: verbs by collection, shared by all threads of a process."""

    #: Seconds for which a step waits for a server that went away.
    patience_s = 120.0

    def __init__(
        self,
        client: MongoClient[dict[str, Any]],
        name: str,
        revive: Callable[[], None] = lambda: None,
        uri: str | None = None,
    ) -> None:
        self._client = client
        self._uri = uri
        self._revive = revive
        self.database: DocumentDatabase = client[name]
        self._surveys: dict[str, SurveyStore] = {}

    @classmethod
    def open(cls, uri: str, name: str, revive: Callable[[], None] = lambda: None) -> "Store":
        """Connect and look whether the server answers; `revive` may start one that crashed. Raises StorageError."""
        return cls(connect(uri), name, revive, uri)

    def steadily(self, step: Callable[[Unbroken], T]) -> T:
        """Do a step that may be repeated, again where the server went away meanwhile: see `patience`."""
        return steadily(lambda: self._client.admin.command("hello"), step, self.patience_s, self._revive)

    def patiently(self, read: Callable[[], T]) -> T:
        """What a read returns; where the server goes away, as soon as it is there again. Raises StorageError."""
        try:
            return read()
        except ConnectionFailure:
            return self.steadily(lambda _: read())

    def survey(self, survey: str) -> SurveyStore:
        """The collections of a survey."""
        if survey not in self._surveys:
            self._surveys[survey] = SurveyStore(self.database, survey, self.catalogs)
        return self._surveys[survey]

    @cached_property
    def catalogs(self) -> Catalogs:
        """Catalogues that were loaded, for units to match with."""
        return Catalogs(self.database, self._uri, self.patiently)

    @cached_property
    def batches(self) -> Batches:
        """Units of work."""
        return Batches(self.database["batch"], replicated="setName" in self.hello)

    @cached_property
    def offsets(self) -> Offsets:
        """The plan of streams that come over Kafka."""
        return Offsets(self.database["offsets"], replicated="setName" in self.hello)

    @cached_property
    def listeners(self) -> Listeners:
        """Which run listens to a survey."""
        return Listeners(self.database["listener"])

    @cached_property
    def journal(self) -> Journal:
        """What happened to which stock."""
        return Journal(self.database["journal"])

    @cached_property
    def quarantine(self) -> Quarantine:
        """Packets that could not be read."""
        return Quarantine(self.database["quarantine"])

    @cached_property
    def activations(self) -> Activations:
        """Which channels with a gate are live."""
        return Activations(self.database["activation"])

    @cached_property
    def outbox(self) -> Outbox:
        """What was sent where."""
        return Outbox(self.database["t3"])

    @cached_property
    def reactions(self) -> Reactions:
        """What runs of T3 did for whom."""
        return Reactions(self.database["reaction"])

    @cached_property
    def configs(self) -> Configs:
        """What configuration hashes stand for."""
        return Configs(self.database["config"])

    @cached_property
    def hello(self) -> Mapping[str, Any]:
        """The server's answer to `hello`: its kind and version limits."""
        found: Mapping[str, Any] = self._client.admin.command("hello")
        return found

    def prepare(self, surveys: tuple[str, ...]) -> None:
        """Create missing indexes; cheap when they are there."""
        ensure_indexes(self.database, surveys)

    def drop(self) -> None:
        """Remove the database with all that is in it."""
        self._client.drop_database(self.database.name)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()
