"""Two runs over the same objects at once: wherever one of them is overtaken by the other, nothing is lost or doubled.

One run is halted just before each of its commands to the database in turn, the other one runs from beginning to end,
and the first goes on. Whatever two runs can do to each other by one overtaking is thereby tried, and the same every
time. Real processes that start together are in `test_crash.py`.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC
from itertools import count
from threading import Event
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.monitoring import CommandFailedEvent, CommandListener, CommandStartedEvent, CommandSucceededEvent

from ampel_dagster.model.alert import Alert, Packet
from ampel_dagster.model.datapoint import DataPoint
from ampel_dagster.model.run import RunInfo
from ampel_dagster.model.stock import State
from ampel_dagster.pipeline.ingest import SelectionWriter
from ampel_dagster.pipeline.t0_ingest import Ingestion, select
from ampel_dagster.pipeline.tiers import combine
from ampel_dagster.pipeline.write_ahead import write_overlapping
from ampel_dagster.storage.store import Store
from ampel_dagster.testing import encode_packet, make_alert, make_detection, make_limit
from ampel_dagster.units.base import AlertFilter, StateUnit, Tied
from ampel_dagster.units.bound import Product

JD = 2458349.7
#: Commands that read or write documents.
COMMANDS = frozenset({"find", "insert", "update", "delete", "aggregate", "findAndModify", "count", "distinct"})


class Halt(CommandListener):
    """Stops whoever sends the n-th command from now on, until it is let go."""

    def __init__(self) -> None:
        self.at(0)

    def at(self, number: int) -> None:
        """Count anew; at 0 nobody is stopped."""
        self._left = number
        self.halted, self.go_on = Event(), Event()

    def started(self, event: CommandStartedEvent) -> None:
        """Count, and wait."""
        if event.command_name in COMMANDS:
            self._left -= 1
            if self._left == 0:
                self.halted.set()
                self.go_on.wait()

    def succeeded(self, event: CommandSucceededEvent) -> None:
        """Nothing to do."""

    def failed(self, event: CommandFailedEvent) -> None:
        """Nothing to do."""


class Bright(AlertFilter):
    """Takes some."""

    def accept(self, alert: Alert) -> bool:
        return bool(alert.candidate["magpsf"] < 18.2)


class OfState(StateUnit):
    """A product of states."""

    needs = ()

    def process(self, state: State, points: Sequence[DataPoint], tied: Tied) -> dict[str, Any]:
        return {}


PRODUCT = Product("state", OfState())


def packets() -> list[Packet]:
    """One object over four days, and its neighbour: late limits, an exposure with two candidates, a shared limit."""
    limits = [make_limit(jd=JD + day - 0.5, maglim=20 + day / 10) for day in range(4)]
    two = [make_detection(jd=JD + 1, tblid=tblid, mag=18.1) for tblid in (1, 2)]
    alerts = [
        make_alert(jd=JD, mag=18.4, cutouts=False),
        make_alert(jd=JD + 1, tblid=1, mag=18.1, history=[limits[0]], cutouts=False),
        make_alert(jd=JD + 1, tblid=2, mag=18.1, cutouts=False),
        make_alert(name="ZTF18aaaaaab", jd=JD + 1, tblid=7, mag=18.0, history=[limits[1]], cutouts=False),
        make_alert(jd=JD + 2, mag=18.3, history=[limits[2], *two], cutouts=False),
        make_alert(jd=JD + 3, mag=18.0, history=limits, cutouts=False),
    ]
    return [Packet(encode_packet(alert), "made.tar", n, f"{n}.avro") for n, alert in enumerate(alerts)]


@contextmanager
def connected(lab: Any, uri: str, *listeners: CommandListener) -> Iterator[Store]:
    """A store with a connection of its own."""
    client: MongoClient[dict[str, Any]] = MongoClient(uri, tz_aware=True, tzinfo=UTC, event_listeners=listeners)
    store = Store(client, lab.store.database.name)
    try:
        yield store
    finally:
        store.close()


def ingest(
    lab: Any, store: Store, rules: Sequence[Any], beside: Sequence[Any], found: Sequence[Packet], size: int, run: str
) -> None:
    stream = lab.stream.model_copy(update={"batch_size": size})
    ingestion = Ingestion(store, lab.instrument, stream, rules, RunInfo(run, 1), neighbours=beside)
    write_overlapping(select(ingestion, found), SelectionWriter(ingestion).write)


def ingest_apart(
    lab: Any, store: Store, rules: Sequence[Any], beside: Sequence[Any], found: Sequence[Packet], size: int, run: str
) -> None:
    """As the assets do it."""
    stream = lab.stream.model_copy(update={"batch_size": size})
    who = RunInfo(run, 1)
    ingestion = Ingestion(store, lab.instrument, stream, rules, who, with_states=False)
    write_overlapping(select(ingestion, found), SelectionWriter(ingestion).write)
    ledger = store.survey("ztf").ledger
    nights = sorted(ledger.alert.distinct("night"))
    accepted = ledger.accepted([r.channel for r in rules], nights)
    combine(store, lab.instrument, rules, who, accepted, nights, beside).consume()


def lasting(lab: Any) -> dict[str, Any]:
    """Alerts, stocks and datapoints, but for how they came."""
    found = lab.content("source", "joined", "ts", "state")
    for name in ("alert", "rejected"):
        for alert in found[f"ztf.{name}"].values():
            for verdict in alert["verdict"].values():
                del verdict["batch"]
    return {name: found[f"ztf.{name}"] for name in ("alert", "rejected", "stock", "t0")}


Pick = Callable[[list[Packet]], list[Packet]]


def some(*numbers: int) -> Pick:
    return lambda found: [found[n] for n in numbers]


PAIRS: dict[str, tuple[Pick, int, Pick, int]] = {
    "the same packets in another cut": (some(*range(6)), 2, some(*range(6)), 100),
    "the same packets in the same cut": (some(*range(6)), 2, some(*range(6)), 2),
    "late points come to later alerts": (some(4, 5), 100, some(0, 1, 2, 3), 100),
    "later alerts come to late points": (some(0, 1, 2, 3), 100, some(4, 5), 100),
    "one packet each": (some(0, 2, 4), 1, some(1, 3, 5), 1),
    "two candidates of one exposure": (some(1), 1, some(2), 1),
}


CASES = [(pair, "same", apart) for pair in PAIRS for apart in (False, True)]
CASES += [(pair, "other", apart) for pair in list(PAIRS)[:2] for apart in (False, True)]


@pytest.mark.parametrize(("pair", "channels", "apart"), CASES)
def test_overtaken_at_any_command(lab: Any, mongo_uri: str, pair: str, channels: str, apart: bool) -> None:
    mine, my_size, others, their_size = PAIRS[pair]
    found = packets()
    every, few = lab.rules("ALL", PRODUCT), lab.rules("FEW", PRODUCT, filter=Bright())
    rules, their_rules = ([every, few], [every, few]) if channels == "same" else ([every], [few])
    beside, beside_them = ([], []) if channels == "same" else ([few], [every])
    work = ingest_apart if apart else ingest
    wrong: list[str] = []
    halt = Halt()
    with connected(lab, mongo_uri, halt) as store, ThreadPoolExecutor(1) as pool:
        for number in count(1):
            lab.wipe()
            halt.at(number)
            under_way = pool.submit(work, lab, store, rules, beside, mine(found), my_size, "mine")
            under_way.add_done_callback(lambda _, halted=halt.halted: halted.set())
            halt.halted.wait()
            over = under_way.done()
            try:
                if not over:
                    ingest(lab, lab.store, their_rules, beside_them, others(found), their_size, "theirs")
            finally:
                halt.go_on.set()
            under_way.result()
            if over:
                break
            wrong += [f"{number}: {what}" for what in lab.unsound([every, few])]
            if any(len(d["channel"]) != len(set(d["channel"])) for d in lab.store.database["ztf.t0"].find()):
                wrong.append(f"{number}: a channel stands twice")
    assert wrong == []
    assert number > 10
