"""mongod is killed under a run: the run waits, repeats what it was at, and ends with the documents of a quiet one."""

import os
import shutil
import signal
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.monitoring import CommandFailedEvent, CommandListener, CommandStartedEvent, CommandSucceededEvent

from ampel_dagster.instruments.ztf import ZTF
from ampel_dagster.model.alert import Packet
from ampel_dagster.model.errors import StorageError
from ampel_dagster.model.run import RunInfo
from ampel_dagster.model.stream import Stream
from ampel_dagster.pipeline import tiers
from ampel_dagster.pipeline.t0_ingest import Ingestion
from ampel_dagster.pipeline.t2_augment import Augmentation
from ampel_dagster.storage.server import EmbeddedServer
from ampel_dagster.storage.store import Store
from ampel_dagster.testing import Survey
from ampel_dagster.units.bound import ChannelRules, Product, Request
from ampel_dagster.units.t1.simple import SimpleCombiner
from ampel_dagster.units.t2.light_curve_summary import LightCurveSummary
from tests.soundness import faults

PRODUCT = Product("summary", LightCurveSummary())
WRITES = frozenset({"insert", "update", "delete", "findAndModify"})
#: What two runs may differ in: who, when, how often, how long.
CIRCUMSTANCES = frozenset(
    {"meta", "ts", "done_ts", "expire", "duration_s", "attempts", "claimed", "body", "lease", "upd", "tied"}
)


class Killer(CommandListener):
    """Kills the server just before it is sent the n-th write; `at_once`: and has it running again before that."""

    def __init__(self, server: EmbeddedServer, number: int, *, at_once: bool) -> None:
        self.server, self.left, self.at_once = server, number, at_once

    def started(self, event: CommandStartedEvent) -> None:
        """Count the writes."""
        if event.command_name in WRITES:
            self.left -= 1
            if self.left == 0:
                kill(self.server)
                if self.at_once:
                    self.server.start()

    def succeeded(self, event: CommandSucceededEvent) -> None:
        """Nothing to do."""

    def failed(self, event: CommandFailedEvent) -> None:
        """Nothing to do."""


def kill(server: EmbeddedServer) -> None:
    pid = server.status().pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    """A mongod that may be killed."""
    server = EmbeddedServer(tmp_path_factory.mktemp("killed"), {**os.environ, "AMPEL_MONGOD_CACHE_GB": "0.25"})
    server.start()
    yield server
    server.stop()
    shutil.rmtree(server.folder, ignore_errors=True)


@pytest.fixture(scope="module")
def packets() -> list[Packet]:
    """Two nights of the same objects, and a packet that cannot be read."""
    survey = Survey(seed=3, n_objects=14)
    data = [a.to_bytes() for night in ("2018-08-19", "2018-08-20") for a in survey.night(night)]
    data.insert(5, data[0][:30_000])
    return [Packet(raw, "night.tar", n, f"{n}.avro") for n, raw in enumerate(data)]


def rules() -> list[ChannelRules]:
    access, requests = frozenset({"ZTF", "ZTF_PUB"}), (Request(PRODUCT),)
    more: dict[str, Any] = {"filter": None, "known_stocks": "filter", "combiner": SimpleCombiner()}
    return [ChannelRules.make("ALL", "ztf", access=access, requests=requests, **more)]


def work(store: Store, packets: list[Packet], *, apart: bool) -> None:
    """T0 to T2, T0 and T1 together or one after the other."""
    who, stream = RunInfo("run", 1), Stream(survey="ztf", start_date=date(2017, 11, 1), batch_size=8)
    tiers.ingest(Ingestion(store, ZTF(), stream, rules(), who, with_states=not apart), packets).consume()
    if apart:
        ledger = store.survey("ztf").ledger
        nights = ["2018-08-19", "2018-08-20"]
        tiers.combine(store, ZTF(), rules(), who, ledger.accepted(["ALL"], nights), nights).consume()
    augmentation = Augmentation(store, ZTF(), [PRODUCT], who, {})
    tiers.compute(augmentation).consume()
    # Claims and results that were lost with the server come back with their lease: as if that time had passed.
    held = {"lease": {"$exists": True}}
    augmentation.survey.tickets.collection.update_many(
        held, {"$set": {"lease.until": datetime(2018, 1, 1, tzinfo=UTC)}}
    )
    tiers.compute(augmentation).consume()


def content(store: Store) -> dict[str, Any]:
    """All documents without who and when; T2 batches and the journal are about runs."""
    names = ("quarantine", *(f"ztf.{kind}" for kind in ("alert", "rejected", "stock", "t0", "t1", "t2", "cutout")))
    return {name: {d["_id"]: plain(d) for d in store.database[name].find()} for name in names}


def plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items() if key not in CIRCUMSTANCES}
    return [plain(item) for item in value] if isinstance(value, list) else value


def opened(server: EmbeddedServer, name: str, *listeners: CommandListener, revive: bool = True) -> Store:
    """A store that notices soon when nobody answers."""
    uri = f"{server.uri}/?serverSelectionTimeoutMS=1000"
    client: MongoClient[dict[str, Any]] = MongoClient(uri, tz_aware=True, tzinfo=UTC, event_listeners=listeners)
    return Store(client, name, server.revive if revive else lambda: None)


@pytest.fixture(scope="module")
def expected(server: EmbeddedServer, packets: list[Packet]) -> dict[str, Any]:
    """Documents of a quiet run."""
    store = opened(server, "quiet")
    store.prepare(("ztf",))
    work(store, packets, apart=False)
    assert {d["code"] for d in store.database["ztf.t2"].find()} == {0}
    return content(store)


@pytest.mark.parametrize("at_once", [False, True], ids=["down for a while", "up again at once"])
@pytest.mark.parametrize(("number", "apart"), [(3, False), (5, True), (9, False), (20, False), (24, True), (28, False)])
def test_killed_in_the_middle(
    server: EmbeddedServer,
    packets: list[Packet],
    expected: dict[str, Any],
    number: int,
    apart: bool,
    at_once: bool,
) -> None:
    killer = Killer(server, number, at_once=at_once)
    store = opened(server, f"killed_{number}_{at_once}", killer)
    store.prepare(("ztf",))
    work(store, packets, apart=apart)
    assert killer.left < 0
    assert content(store) == expected
    assert list(faults(store, ZTF(), rules())) == []
    store.drop()
    store.close()


def test_a_server_that_stays_away_ends_the_run_with_one_line(
    server: EmbeddedServer, packets: list[Packet], expected: dict[str, Any]
) -> None:
    store = opened(server, "away", Killer(server, 12, at_once=False), revive=False)
    store.prepare(("ztf",))
    store.patience_s = 0.0
    with pytest.raises(StorageError, match="went away and did not come back") as caught:
        work(store, packets, apart=False)
    assert "\n" not in str(caught.value)
    assert "do the same again" in str(caught.value)
    store.close()
    server.start()
    again = opened(server, "away")
    assert content(again) != expected
    work(again, packets, apart=False)
    assert content(again) == expected
    assert list(faults(again, ZTF(), rules())) == []


def test_a_server_that_was_stopped_in_good_order_is_not_started_again(tmp_path: Path) -> None:
    server = EmbeddedServer(tmp_path)
    server.start()
    server.stop()
    server.revive()
    assert not server.status().running
