"""A small platform for the tests of the tiers: one real database, made-up ZTF packets, rules made on the spot."""

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock, Thread
from typing import Any, ClassVar

import pytest
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument

from ampel_dagster.instruments.ztf import ZTF
from ampel_dagster.model.alert import Packet
from ampel_dagster.model.datapoint import DataPoint
from ampel_dagster.model.run import Mode, RunInfo
from ampel_dagster.model.stock import State
from ampel_dagster.model.stream import Stream
from ampel_dagster.model.view import TransientView
from ampel_dagster.pipeline.ingest import SelectionWriter
from ampel_dagster.pipeline.t0_ingest import Ingestion, select
from ampel_dagster.pipeline.t2_augment import Augmentation, augment, write_results
from ampel_dagster.pipeline.t3_react import react_to_updates
from ampel_dagster.pipeline.t3_record import Reacted, Reaction
from ampel_dagster.pipeline.t3_views import load_views
from ampel_dagster.pipeline.tally import Tally
from ampel_dagster.pipeline.tiers import combine
from ampel_dagster.pipeline.write_ahead import write_ahead, write_overlapping
from ampel_dagster.sources.files import BrokenSourceError, read_file
from ampel_dagster.storage.store import Store
from ampel_dagster.storage.tickets import code_now
from ampel_dagster.testing import encode_packet, make_alert
from ampel_dagster.units.base import AlertFilter, StateUnit, T1Combiner, T2Return, Tied
from ampel_dagster.units.bound import ChannelRules, Process, Product, Request
from ampel_dagster.units.t1.simple import SimpleCombiner
from tests.soundness import faults

#: Start of an exposure in the night of 2018-08-19.
JD = 2458349.7
Answer = Callable[[State, Sequence[DataPoint], Tied], T2Return]


def _probe(answer: Answer, needs_: tuple[str, ...] | None, version_: str) -> StateUnit:
    class Probe(StateUnit):
        needs: ClassVar[tuple[str, ...] | None] = needs_
        version: ClassVar[str] = version_

        def process(self, state: State, points: Sequence[DataPoint], tied: Tied) -> T2Return:
            return answer(state, points, tied)

    return Probe()


class World:
    """Verbs of the four tiers, driven directly."""

    def __init__(self, store: Store, reports: Path) -> None:
        self.store = store
        self.ztf = store.survey("ztf")
        self.instrument = ZTF()
        self.stream = Stream(survey="ztf", start_date=date(2017, 11, 1))
        self.reports = reports
        #: Names of processes by channel.
        self.reactions: dict[str, tuple[str, ...]] = {}
        #: Seconds for which publishers would have waited.
        self.pauses: list[float] = []
        self._files = 0

    @staticmethod
    def star(number: int, jd: float = JD, **more: Any) -> dict[str, Any]:
        """An alert of one of 26 objects, ZTF18aaaaaaa and so on, which all are seen in one exposure."""
        return make_alert(name=f"ZTF18aaaaaa{chr(97 + number)}", jd=jd, tblid=number + 1, **{"cutouts": False, **more})

    @staticmethod
    def jd(day: int) -> float:
        """Start of an exposure so many nights after the first."""
        return JD + day

    @staticmethod
    def product(
        answer: Answer, name: str = "probe", *, needs: tuple[str, ...] | None = (), version: str = "1"
    ) -> Product:
        """A product whose results are the answers of a function; by default it is given no datapoints."""
        return Product(name, _probe(answer, needs, version))

    def rules(
        self,
        channel: str,
        *products: Product,
        access: Iterable[str] = ("ZTF", "ZTF_PUB"),
        filter: AlertFilter | None = None,
        known_stocks: str = "filter",
        combiner: T1Combiner | None = None,
        reactions: Iterable[str] = (),
    ) -> ChannelRules:
        """What a channel wants: all alerts, unless a filter is given, these products, and reactions by name."""
        self.reactions[channel] = tuple(reactions)
        return ChannelRules.make(
            channel,
            "ztf",
            filter=filter,
            known_stocks=known_stocks,
            access=frozenset(access),
            combiner=combiner or SimpleCombiner(),
            requests=tuple(Request(product) for product in products),
            reactions=self.reactions[channel],
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
        return write_overlapping(found, SelectionWriter(ingestion).write)

    def augmentation(self, *products: Product, run: str = "t2", mode: Mode = "live", **more: Any) -> Augmentation:
        """A T2 run over all tickets of some products."""
        return Augmentation(self.store, self.instrument, products, RunInfo(run, 1, mode), {}, self.reactions, **more)

    def compute(self, *products: Product, run: str = "t2", mode: Mode = "live", **more: Any) -> Tally:
        """Compute and write."""
        work = self.augmentation(*products, run=run, mode=mode, **more)
        return write_ahead(augment(work), lambda results: write_results(work, results))

    def t2(self, product: Product) -> list[dict[str, Any]]:
        """Documents of a product, in the order of what they were computed from."""
        query = {"product_id": product.id}
        found = {d["_id"]: d for d in self.ztf.results.collection.find(query)}
        for d in self.ztf.tickets.collection.find(query):
            found[d["_id"]] = {
                **found.get(d["_id"], {}),
                **d,
                "code": code_now(d),
            }
        return sorted(found.values(), key=lambda d: (d["stock"], d["input"]))

    def reaction(self, process: Process, rules: ChannelRules, *, run: str = "t3", **more: Any) -> Reaction:
        """What a process is to do for a channel; nobody waits for a receiver, but `pauses` says for how long."""
        more = {"pause": self.pauses.append, **more}
        return Reaction(self.store, self.instrument, process, rules, RunInfo(run, 1), self.reports, **more)

    def react(self, process: Process, rules: ChannelRules, *, run: str = "t3", **more: Any) -> list[Reacted]:
        """React to all that is new."""
        return react_to_updates(self.reaction(process, rules, run=run, **more))

    def let_reservations_end(self) -> None:
        """As if the time were over for which runs that died have reserved what they were to send."""
        past = {"$set": {"until": datetime(2018, 8, 19, tzinfo=UTC)}}
        self.store.outbox.collection.update_many({"state": "reserved"}, past)

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


#: What differs from run to run: who wrote a document, and when; and beside how many others.
CIRCUMSTANCES = frozenset({"meta", "ts", "done_ts", "expire", "enriched", "overtaken", "claimed"})
#: Arrays that are sets.
SETS = frozenset({"channel", "tag", "stock", "superseded_by", "member", "alerts"})
Content = dict[str, dict[Any, dict[str, Any]]]


class Lab(World):
    """The platform fed with packets as they come, to be looked at as a whole."""

    def run(
        self,
        rules: ChannelRules | Sequence[ChannelRules],
        packets: Iterable[Packet | BrokenSourceError],
        *,
        run: str = "run",
        with_states: bool = True,
        **stream: Any,
    ) -> Tally:
        """Ingest packets; `stream` says what differs from the usual stream (batch_size, start_date …)."""
        rules = [rules] if isinstance(rules, ChannelRules) else list(rules)
        changed = Stream.model_validate(self.stream.model_dump() | stream)
        ingestion = Ingestion(self.store, self.instrument, changed, rules, RunInfo(run, 1), with_states)
        return write_overlapping(select(ingestion, packets), SelectionWriter(ingestion).write)

    def combine(self, rules: Sequence[ChannelRules], nights: Sequence[str], *, run: str = "combine") -> Tally:
        """T1 by itself, over all that these channels accepted in these nights."""
        alerts = self.ztf.ledger.accepted([r.channel for r in rules], nights)
        return combine(self.store, self.instrument, rules, RunInfo(run, 1), alerts, nights).consume()

    def raw(self) -> dict[str, dict[Any, bytes]]:
        """Every document, byte by byte."""
        options: CodecOptions[Any] = CodecOptions(document_class=RawBSONDocument)
        database = self.store.database.with_options(codec_options=options)
        names = self.store.database.list_collection_names()
        return {name: {d["_id"]: d.raw for d in database[name].find()} for name in names}

    def content(self, *without: str) -> Content:
        """Every document by collection and id, without its circumstances and the fields `without`; no journal."""
        left_out = CIRCUMSTANCES.union(without)
        names = set(self.store.database.list_collection_names()) - {"journal"}
        return {
            name: {d["_id"]: _plain(d, left_out) for d in self.store.database[name].find()} for name in sorted(names)
        }

    def unsound(self, rules: ChannelRules | Sequence[ChannelRules], **more: bool) -> list[str]:
        """What is wrong with the documents by themselves, whatever way they came: see `soundness.py`."""
        return list(faults(self.store, self.instrument, [rules] if isinstance(rules, ChannelRules) else rules, **more))

    def wipe(self) -> None:
        """Remove all documents; collections and indexes stay."""
        for name in self.store.database.list_collection_names():
            self.store.database[name].delete_many({})


def _plain(document: Mapping[str, Any], left_out: Collection[str]) -> dict[str, Any]:
    found = {key: value for key, value in document.items() if key not in left_out}
    if not found.get("left_out", True):
        del found["left_out"]  # an empty one says what none says
    for key, value in found.items():
        if key in SETS and isinstance(value, list):
            found[key] = sorted(value)
        elif key == "body" and isinstance(value, dict):
            # NaN is not equal to itself.
            found[key] = {field: "NaN" if number != number else number for field, number in value.items()}
    return found


@pytest.fixture(scope="module")
def lab_store(databases: Any) -> Iterator[Store]:
    """A database for the tests of one file."""
    with databases.lent() as store:
        yield store


@pytest.fixture
def lab(lab_store: Store, tmp_path: Path) -> Lab:
    """An empty platform."""
    lab = Lab(lab_store, tmp_path / "reports")
    lab.wipe()
    return lab


Real = Callable[..., list[Packet]]


@pytest.fixture(scope="session")
def real(data: Path) -> Real:
    """Real packets by the names of their files below data/ztf: `real("ZTF18acruwxq.tar.gz", ...)`."""

    def read(*names: str) -> list[Packet]:
        return [p for name in names for p in read_file(data / "ztf" / name, name) if isinstance(p, Packet)]

    return read
