"""Fixtures: one real mongod for the whole session, a fresh database and instance for each test."""

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from ampel_dagster.storage.server import EmbeddedServer
from ampel_dagster.storage.store import Store

REPO = Path(__file__).resolve().parents[1]
DATA = REPO.parent / "shared" / "data"
PEER = REPO.parent / "shared" / "peer_ampel"


@pytest.fixture(scope="session")
def data() -> Path:
    """Folder of real packets; tests that need it are skipped where it is absent."""
    if not DATA.is_dir():
        pytest.skip("the folder with real packets is not there (../shared/data)")
    return DATA


@pytest.fixture(scope="session")
def mongo_uri(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a mongod of this test session."""
    server = EmbeddedServer(tmp_path_factory.mktemp("mongo"), {**os.environ, "AMPEL_MONGOD_CACHE_GB": "0.5"})
    yield server.start()
    server.stop()


@pytest.fixture
def store(mongo_uri: str) -> Iterator[Store]:
    """An empty database with its indexes."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    store = Store.open(mongo_uri, name)
    store.prepare(("ztf",))
    yield store
    store.drop()
    store.close()
