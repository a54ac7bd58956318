"""Ingests as told by lines of JSON, each in a process of its own, which may kill itself at one of its writes.

Started by test_crash.py. It imports everything once and forks for each line, before any connection is made.
"""

import json
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from pymongo import monitoring
from pymongo.collection import Collection
from pymongo.database import Database
from pymongo.monitoring import CommandFailedEvent, CommandListener, CommandStartedEvent, CommandSucceededEvent

from ampel_dagster.instruments.ztf import ZTF
from ampel_dagster.model.alert import Alert
from ampel_dagster.model.datapoint import DataPoint
from ampel_dagster.model.run import RunInfo
from ampel_dagster.model.stock import State, Stock
from ampel_dagster.model.stream import Stream
from ampel_dagster.pipeline import tiers
from ampel_dagster.pipeline.t0_ingest import Ingestion
from ampel_dagster.sources.files import read_file
from ampel_dagster.storage.store import Store
from ampel_dagster.units.base import AlertFilter, PointUnit, StateUnit, StockUnit, Tied
from ampel_dagster.units.bound import ChannelRules, Product, Request
from ampel_dagster.units.t1.simple import SimpleCombiner

WRITES = frozenset({"insert", "update", "delete", "findAndModify"})


class Bright(AlertFilter):
    """Takes some."""

    def accept(self, alert: Alert) -> bool:
        return bool(alert.candidate["magpsf"] < 18.4)


class OfState(StateUnit):
    """A product of states."""

    needs = ()

    def process(self, state: State, points: Sequence[DataPoint], tied: Tied) -> Mapping[str, Any]:
        return {}


class OfStock(StockUnit):
    """A product of stocks."""

    def process(self, stock: Stock, tied: Tied) -> Mapping[str, Any]:
        return {}


class OfPoint(PointUnit):
    """A product of points."""

    def process(self, point: DataPoint, tied: Tied) -> Mapping[str, Any]:
        return {}


def rules() -> dict[str, ChannelRules]:
    """A channel that takes all and wants much, and one that takes little."""
    products = (Product("state", OfState()), Product("stock", OfStock()), Product("point", OfPoint()))
    shared: dict[str, Any] = {"access": frozenset(("ZTF", "ZTF_PUB")), "combiner": SimpleCombiner()}
    requests = tuple(Request(product) for product in products)
    return {
        "ALL": ChannelRules.make("ALL", "ztf", filter=None, known_stocks="filter", requests=requests, **shared),
        "FEW": ChannelRules.make("FEW", "ztf", filter=Bright(), known_stocks="bypass", requests=(), **shared),
    }


class Deadly(CommandListener):
    """Kills this process just before it sends a write to the server; the first is number 1."""

    def __init__(self, number: int) -> None:
        self._left = number

    def started(self, event: CommandStartedEvent) -> None:
        """Count the writes."""
        if event.command_name in WRITES:
            self._left -= 1
            if not self._left:
                die()

    def succeeded(self, event: CommandSucceededEvent) -> None:
        """Nothing to do."""

    def failed(self, event: CommandFailedEvent) -> None:
        """Nothing to do."""


def die() -> None:
    """As by kill -9."""
    os.kill(os.getpid(), signal.SIGKILL)


def die_in_the_middle(number: int) -> None:
    """Kill this process when half of a write of many documents is done; the first such write is number 1."""
    left = [number]

    def halved(write: Callable[..., Any], cut: Callable[[Any], Any]) -> Callable[..., Any]:
        def call(self: Any, what: Any, *args: Any, **kwargs: Any) -> Any:
            half = cut(what)
            left[0] -= half is not None
            if half is None or left[0]:
                return write(self, what, *args, **kwargs)
            if half:
                write(self, half, *args, **kwargs)
            die()
            raise AssertionError("still alive")

        return call

    def half_of(many: Any) -> Any:
        return many[: len(many) // 2]

    def half_of_insert(command: Any) -> Any:
        many = command.get("documents") if isinstance(command, dict) else None
        return {**command, "documents": half_of(many)} if many and len(many) > 1 else None

    Collection.bulk_write = halved(Collection.bulk_write, half_of)  # type: ignore[method-assign]
    Collection.insert_many = halved(Collection.insert_many, half_of)  # type: ignore[method-assign]
    Database.command = halved(Database.command, half_of_insert)  # type: ignore[method-assign]


def ingest(order: dict[str, Any]) -> None:
    """Do what a line says."""
    if order["before"]:
        monitoring.register(Deadly(order["before"]))
    if order["within"]:
        die_in_the_middle(order["within"])
    store = Store.open(order["uri"], order["database"])
    stream = Stream(survey="ztf", start_date=date(2017, 11, 1), batch_size=order["batch_size"], cutouts="accepted")
    packets = [packet for path in order["paths"] for packet in read_file(Path(path))]
    asked = [rules()[channel] for channel in order["channels"]]
    run = RunInfo(order["run"], 1)
    ingestion = Ingestion(store, ZTF(), stream, asked, run, with_states=not order["apart"])
    tiers.ingest(ingestion, packets).consume()
    if order["apart"]:
        ledger = store.survey("ztf").ledger
        nights = sorted(ledger.alert.distinct("night"))
        tiers.combine(store, ZTF(), asked, run, ledger.accepted(order["channels"], nights), nights).consume()
    store.close()


def fork(order: dict[str, Any]) -> int:
    """Do it in a process of its own; return its number."""
    child = os.fork()
    if child:
        return child
    try:
        ingest(order)
        os._exit(0)
    finally:
        os._exit(1)  # an exception: its traceback was not wanted


def main() -> None:
    """A line holds orders that are carried out at the same time; the answer, how each of them ended."""
    for line in sys.stdin:
        children = [fork(order) for order in json.loads(line)]
        ends = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        sys.stdout.write(json.dumps(ends) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
