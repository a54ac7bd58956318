"""Find the database of an instance: by URI, or the embedded server in the instance's folder."""

import os
from collections.abc import Mapping
from pathlib import Path

from ampel_dagster.storage.server import EmbeddedServer
from ampel_dagster.storage.store import Store


def database_uri(folder: Path, env: Mapping[str, str] = os.environ) -> str:
    """`AMPEL_MONGO_URI`, else the address of the embedded server, which is started if it does not run.

    Raises StorageError with the three ways to get a server where there is none.
    """
    return env.get("AMPEL_MONGO_URI") or EmbeddedServer(folder).start()


def database_name(env: Mapping[str, str] = os.environ) -> str:
    """`AMPEL_DB`, else 'ampel'."""
    return env.get("AMPEL_DB") or "ampel"


def open_store(folder: Path, env: Mapping[str, str] = os.environ) -> Store:
    """The store of the instance in `folder`. Raises StorageError."""
    uri, name = env.get("AMPEL_MONGO_URI"), database_name(env)
    if uri:
        return Store.open(uri, name)
    server = EmbeddedServer(folder)
    return Store.open(server.start(), name, server.revive)
