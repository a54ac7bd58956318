"""Fixtures: one real mongod for the whole session, an empty database and a fresh instance for each test."""

import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ampel_dagster.config.load import Config, load
from ampel_dagster.storage import figures
from ampel_dagster.storage.server import EmbeddedServer
from ampel_dagster.storage.store import Store
from ampel_dagster.testing import FrameWriter

if TYPE_CHECKING:
    import dagster as dg

REPO = Path(__file__).resolve().parents[1]
DATA = REPO.parent / "shared" / "data"
PEER = REPO.parent / "shared" / "peer_ampel"


@pytest.fixture(scope="session")
def data() -> Path:
    """Folder of real packets; tests that need it are skipped where it is absent."""
    if not DATA.is_dir():
        pytest.skip("the folder with real packets is not there (../shared/data)")
    return DATA


class Rubin:
    """A real alert of Rubin's, the official made-up ones, and the schemas."""

    def __init__(self, folder: Path) -> None:
        self.schemas = folder / "schema"
        self.file = folder / "alert_169641461369274412.json"
        #: The real alert as JSON.
        self.json = self.file.read_bytes()
        #: Containers of one and the same alert, by version of their schema.
        self.fakes = {
            version: (self.schemas / version.replace(".", "/") / "sample_data" / "fakeAlert.avro").read_bytes()
            for version in ("7.4", "9.0", "10.0", "11.0")
        }

    @property
    def alert(self) -> dict[str, Any]:
        """The real alert, as its schema has it: without a key that a broker added."""
        return {key: value for key, value in json.loads(self.json).items() if key != "_hpx"}

    def frame(self, packet: Mapping[str, Any] | None = None, version: str = "9.0") -> bytes:
        """A packet, by default the real alert, as Rubin's stream carries it."""
        return FrameWriter(self.schemas, version).encode(self.alert if packet is None else packet)


@pytest.fixture(scope="session")
def rubin(data: Path) -> Rubin:
    """Packets of Rubin."""
    return Rubin(data / "lsst")


@pytest.fixture(scope="session")
def mongo_uri(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a mongod of this test session."""
    server = EmbeddedServer(tmp_path_factory.mktemp("mongo"), {**os.environ, "AMPEL_MONGOD_CACHE_GB": "0.5"})
    yield server.start()
    server.stop()
    shutil.rmtree(server.folder, ignore_errors=True)  # pytest would keep it, with some 200 MB of journal


class Databases:
    """Databases that are lent to one user after the other, each of whom finds an empty one with its indexes.

    To make a database and to drop it costs the server a quarter of a second, which is longer than most tests take.
    """

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._free: dict[tuple[str, ...], list[str]] = {}
        #: The collections of a database for some surveys, and how many indexes there are.
        self._shapes: dict[tuple[str, ...], tuple[set[str], int]] = {}

    @contextmanager
    def lent(self, surveys: tuple[str, ...] = ("ztf",)) -> Iterator[Store]:
        """A database for as long as the block lasts; what is left there then is for nobody to see."""
        free = self._free.setdefault(surveys, [])
        store = Store.open(self._uri, free.pop() if free else f"test_{uuid.uuid4().hex[:12]}")
        try:
            self._empty(store, surveys)
            yield store
        finally:
            free.append(store.database.name)
            store.close()

    def _empty(self, store: Store, surveys: tuple[str, ...]) -> None:
        """Remove all documents and the collections that a user made; mend what was done to the indexes."""
        kept, _ = self._shapes.get(surveys, (set(), 0))
        for name in store.database.list_collection_names():
            if name in kept:
                store.database[name].delete_many({})
            else:
                store.database.drop_collection(name)
        store.prepare(surveys)
        found = _shape(store)
        if self._shapes.setdefault(surveys, found) != found:  # there is an index that should not be
            store.drop()
            store.prepare(surveys)


def _shape(store: Store) -> tuple[set[str], int]:
    return set(store.database.list_collection_names()), store.database.command("dbStats")["indexes"]


@pytest.fixture(scope="session")
def databases(mongo_uri: str) -> Databases:
    """Empty databases to be had by the tests of this process; they vanish with the server."""
    return Databases(mongo_uri)


@pytest.fixture
def store(databases: Databases) -> Iterator[Store]:
    """An empty database with its indexes."""
    with databases.lent() as store:
        yield store


#: A small instance: one stream, one product, one process, no channel. Of a file, JSON is YAML too.
SMALL_INSTANCE: Mapping[str, Any] = {
    "dagster.yaml": {"telemetry": {"enabled": False}},
    "streams/ztf.yaml": {
        "survey": "ztf",
        "start_date": "2017-11-01",
        "archive": {"folder": "archive", "pattern": "ztf_public_{night:%Y%m%d}.tar.gz"},
        "landing": {"folder": "landing"},
    },
    "t2/summary.yaml": {"unit": "LightCurveSummary"},
    "t3/table.yaml": {
        "units": [{"unit": "TransientTable", "config": {"columns": ["name", "summary.ndet"]}}],
        "trigger": {"on": "t2"},
    },
}


def write_instance(folder: Path, channels: Mapping[str, Mapping[str, Any]], files: Mapping[str, Any]) -> Path:
    """The small instance with these channels and files; a file that is None is left out.

    A channel accepts all, sees all, and asks for everything that there is; what is given changes its block `ztf`.
    """
    for kind in ("channels", "t2", "t3", "streams", "archive", "landing"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    written = {**SMALL_INSTANCE, **files}
    for name, changes in channels.items():
        block = {"t2": ["summary"], **changes}
        channel = {"channel": name, "access": ["ZTF", "ZTF_PUB"], "ztf": block, "t3": ["table"]}
        written.setdefault(f"channels/{name}.yaml", channel)
    for name, content in written.items():
        if content is not None:
            (folder / name).write_text(json.dumps(content))
    return folder


class Platform:
    """An instance with a database and a Dagster history of its own."""

    def __init__(
        self, folder: Path, uri: str, databases: Databases, change: Callable[[Config], Config] = lambda config: config
    ) -> None:
        import dagster as dg

        from ampel_dagster.definitions import build

        self.folder = folder
        self.config = change(load(folder))
        self.defs = build(self.config)
        self._lent = ExitStack()
        self.store = self._lent.enter_context(databases.lent(tuple(sorted({"ztf", *self.config.surveys}))))
        self.database = self.store.database.name
        self.env = {"AMPEL_INSTANCE": str(folder), "AMPEL_MONGO_URI": uri, "AMPEL_DB": self.database}
        self.history = dg.DagsterInstance.ephemeral()
        self.ztf = self.store.survey("ztf")

    @contextmanager
    def entered(self) -> Iterator[None]:
        """The environment says that this platform is in force."""
        with pytest.MonkeyPatch.context() as patch:
            for name, value in self.env.items():
                patch.setenv(name, value)
            yield

    def run(
        self, job: str, config: Mapping[str, Any] | None = None, partition: str = "", **more: Any
    ) -> "dg.ExecuteInProcessResult":
        """Run a job to its end; `partition` is 'channel|night'."""
        quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
        options = {"partition_key": partition or None, "instance": self.history, **more}
        with self.entered():
            return self.defs.resolve_job_def(job).execute_in_process(run_config={**quiet, **(config or {})}, **options)

    def ingest(
        self, *paths: Path, channels: tuple[str, ...] = (), survey: str = "ztf", **more: Any
    ) -> "dg.ExecuteInProcessResult":
        """Run the job `ingest` over files."""
        config = {"survey": survey, "paths": [str(path) for path in paths], "channels": list(channels)}
        return self.run("ingest", {"ops": {"ingest_packets": {"config": config}}}, **more)

    def materialized(self, *key: str) -> list[tuple[str, dict[str, Any]]]:
        """(partition, metadata) of all materializations of an asset, oldest first."""
        import dagster as dg

        found = self.history.fetch_materializations(dg.AssetKey(list(key)), limit=1000, ascending=True).records
        events = [record.asset_materialization for record in found]
        return [(str(e.partition), {k: v.value for k, v in e.metadata.items()}) for e in events if e is not None]

    def counts(self) -> dict[str, Any]:
        """What is stored."""
        return figures.counts(self.store, self.config.surveys, self.config.product_names)

    def content(self) -> dict[str, dict[Any, Any]]:
        """Every document of the database, by collection and id."""
        database = self.store.database
        return {name: {d["_id"]: d for d in database[name].find()} for name in database.list_collection_names()}

    def close(self) -> None:
        """Give the database back."""
        self._lent.close()
        self.history.dispose()


MakeInstance = Callable[..., Path]
MakePlatform = Callable[..., Platform]


@pytest.fixture(scope="session")
def make_instance(tmp_path_factory: pytest.TempPathFactory) -> MakeInstance:
    """Writes instance folders: `make_instance({"A": {"filter": ...}}, files={"t3/table.yaml": None})`."""

    def make(channels: Mapping[str, Mapping[str, Any]] = {}, files: Mapping[str, Any] = {}) -> Path:
        return write_instance(tmp_path_factory.mktemp("instance"), channels, files)

    return make


@pytest.fixture(scope="module")
def make_platform(mongo_uri: str, databases: Databases, make_instance: MakeInstance) -> Iterator[MakePlatform]:
    """Makes platforms, as `make_instance` does folders; they live as long as the module's tests."""
    with ExitStack() as made:

        def make(
            channels: Mapping[str, Mapping[str, Any]] = {},
            files: Mapping[str, Any] = {},
            change: Callable[[Config], Config] = lambda config: config,
        ) -> Platform:
            platform = Platform(make_instance(channels, files), mongo_uri, databases, change)
            made.callback(platform.close)
            return platform

        yield make
