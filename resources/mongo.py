"""The database as a Dagster resource."""

import os
from typing import Any

import dagster as dg
from pydantic import PrivateAttr

from ampel_dagster.config.instance import locate
from ampel_dagster.storage.access import open_store
from ampel_dagster.storage.store import Store


class MongoResource(dg.ConfigurableResource[Any]):
    """Opens the instance's database when it is first used, and closes it with the run.

    Where it is, the environment says (`AMPEL_MONGO_URI`, `AMPEL_DB`, `AMPEL_INSTANCE`) at run time: a URI may hold a
    password, and is no part of configuration, logs or metadata.
    """

    #: Surveys whose indexes are looked after.
    surveys: list[str] = []  # noqa: RUF012  # pydantic copies defaults

    _store: Store | None = PrivateAttr(default=None)

    @property
    def store(self) -> Store:
        """The open database, with its indexes."""
        if self._store is None:
            self._store = open_store(locate(os.environ).folder)
            self._store.prepare(tuple(self.surveys))
        return self._store

    def teardown_after_execution(self, context: dg.InitResourceContext) -> None:
        """Close the connections."""
        if self._store is not None:
            self._store.close()
            self._store = None
