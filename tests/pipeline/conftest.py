"""A small platform for the tests of the tiers: one real database, made-up ZTF packets, rules made on the spot."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock, Thread
from typing import Any

import pytest

from ampel_dagster.instruments.ztf import ZTF
from ampel_dagster.model.alert import Packet
from ampel_dagster.model.run import Mode, RunInfo
from ampel_dagster.model.stream import Stream
from ampel_dagster.model.view import TransientView
from ampel_dagster.pipeline.ingest import SelectionWriter, write_ahead
from ampel_dagster.pipeline.t0_ingest import Ingestion, select
from ampel_dagster.pipeline.t2_augment import Augmentation, augment, write_results
from ampel_dagster.pipeline.t3_react import Reacted, Reaction, react_to_updates
from ampel_dagster.pipeline.t3_views import load_views
from ampel_dagster.pipeline.tally import Tally
from ampel_dagster.storage.store import Store
from ampel_dagster.testing import encode_packet
from ampel_dagster.units.base import AlertFilter, T1Combiner
from ampel_dagster.units.bound import ChannelRules, Process, Product, Request
from ampel_dagster.units.t1.simple import SimpleCombiner


class World:
    """Verbs of the four tiers, driven directly."""

    def __init__(self, store: Store, reports: Path) -> None:
        self.store = store
        self.ztf = store.survey("ztf")
        self.instrument = ZTF()
        self.stream = Stream(survey="ztf", start_date=date(2017, 11, 1))
        self.reports = reports
        self._files = 0

    def rules(
        self,
        channel: str,
        *products: Product,
        access: Iterable[str] = ("ZTF", "ZTF_PUB"),
        filter: AlertFilter | None = None,
        known_stocks: str = "filter",
        combiner: T1Combiner | None = None,
    ) -> ChannelRules:
        """What a channel wants: all alerts, unless a filter is given, and these products."""
        return ChannelRules.make(
            channel,
            "ztf",
            filter=filter,
            known_stocks=known_stocks,
            access=frozenset(access),
            combiner=combiner or SimpleCombiner(),
            requests=tuple(Request(product) for product in products),
        )

    def ingestion(
        self, rules: ChannelRules | Sequence[ChannelRules], *, run: str = "ingest", mode: Mode = "live"
    ) -> Ingestion:
        """An ingestion of T0 and T1 together."""
        all_rules = [rules] if isinstance(rules, ChannelRules) else list(rules)
        return Ingestion(self.store, self.instrument, self.stream, all_rules, RunInfo(run, 1, mode))

    def packets(self, *alerts: Mapping[str, Any], source: str = "") -> list[Packet]:
        """Alerts as the packets of one file, by default of a new name."""
        self._files += 1
        source = source or f"file{self._files}.tar"
        return [Packet(encode_packet(alert), source, n, f"{n}.avro") for n, alert in enumerate(alerts)]

    def ingest(
        self,
        rules: ChannelRules | Sequence[ChannelRules],
        *alerts: Mapping[str, Any],
        run: str = "ingest",
        mode: Mode = "live",
        source: str = "",
    ) -> Tally:
        """T0 and T1 over alerts, which come as one file."""
        ingestion = self.ingestion(rules, run=run, mode=mode)
        found = select(ingestion, self.packets(*alerts, source=source))
        return write_ahead(found, SelectionWriter(ingestion).write)

    def augmentation(self, *products: Product, run: str = "t2", mode: Mode = "live", **more: Any) -> Augmentation:
        """A T2 run over all tickets of some products."""
        return Augmentation(self.store, self.instrument, products, RunInfo(run, 1, mode), {}, **more)

    def compute(self, *products: Product, run: str = "t2", mode: Mode = "live", **more: Any) -> Tally:
        """Compute and write."""
        work = self.augmentation(*products, run=run, mode=mode, **more)
        return write_ahead(augment(work), lambda results: write_results(work, results))

    def t2(self, product: Product) -> list[dict[str, Any]]:
        """Documents of a product, in the order of what they were computed from."""
        return list(self.ztf.tickets.collection.find({"product_id": product.id}).sort([("stock", 1), ("input", 1)]))

    def reaction(self, process: Process, rules: ChannelRules, *, run: str = "t3") -> Reaction:
        """What a process is to do for a channel."""
        return Reaction(self.store, self.instrument, process, rules, RunInfo(run, 1), self.reports)

    def react(self, process: Process, rules: ChannelRules, *, run: str = "t3") -> list[Reacted]:
        """React to all that is new."""
        return react_to_updates(self.reaction(process, rules, run=run))

    def views(self, rules: ChannelRules, night: str) -> list[TransientView]:
        """What a channel gets to see of a night."""
        return list(load_views(self.ztf, self.instrument, rules, night))

    def batches(self, kind: str) -> list[dict[str, Any]]:
        """Batches of a kind ('ingest' or 't2')."""
        return list(self.store.database["batch"].find({"kind": kind}))


@pytest.fixture
def world(store: Store, tmp_path: Path) -> World:
    """An empty platform."""
    return World(store, tmp_path / "reports")


class Receiver:
    """Somebody outside who is told things by HTTP, and counts them."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.lock = Lock()
        self.messages: list[dict[str, Any]] = []

    def names(self) -> list[str]:
        """Names of the objects that we were told about, in order of arrival."""
        with self.lock:
            return [message["name"] for message in self.messages]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A server on loopback."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with found.lock:
                found.messages.append(message)
                answer = f"number {len(found.messages)}".encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found = Receiver(f"http://127.0.0.1:{server.server_port}/")
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield found
    server.shutdown()
    thread.join()
    server.server_close()
