"""One step of the pipeline in a process of its own; prints its figures as one line of JSON.

The clock covers the step only: neither the start of Python nor the reading of packets that are held in memory.
"""

import argparse
import gc
import json
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import date
from itertools import count
from pathlib import Path
from typing import Any

import packets as bench_packets
from meter import Meter
from stages import shares, staged
from units import T2_UNITS, CountViews, RejectAll, touch

from ampel_dagster.instruments.ztf import ZTF
from ampel_dagster.model.alert import Alert, Packet
from ampel_dagster.model.errors import AlertFormatError
from ampel_dagster.model.run import RunInfo
from ampel_dagster.model.stream import Stream
from ampel_dagster.pipeline.ingest import SelectionWriter
from ampel_dagster.pipeline.t0_ingest import Ingestion, select
from ampel_dagster.pipeline.t2_augment import Augmentation, augment, write_results
from ampel_dagster.pipeline.t3_react import react_to_night
from ampel_dagster.pipeline.t3_record import Reaction
from ampel_dagster.pipeline.t3_views import load_views
from ampel_dagster.pipeline.tally import Tally
from ampel_dagster.pipeline.write_ahead import write_ahead, write_overlapping
from ampel_dagster.sources.files import BrokenSourceError, read_file
from ampel_dagster.storage.figures import survey_counts
from ampel_dagster.storage.store import Store
from ampel_dagster.units.bound import ChannelRules, Process, Product, Request
from ampel_dagster.units.t1.simple import SimpleCombiner

SURVEY = "ztf"
_CHUNK = 1000
_STREAM = Stream(survey=SURVEY, start_date=date(2017, 11, 1))


class Predecoded(ZTF):
    """Hands out alerts that were decoded in full before the clock started."""

    def __init__(self, packets: Iterable[Packet]) -> None:
        super().__init__()
        self._alerts = {packet.offset: list(super(Predecoded, self).decode(packet)) for packet in packets}
        for alerts in self._alerts.values():
            for alert in alerts:
                if not isinstance(alert, Alert) or not alert.points:
                    raise SystemExit(f"a packet cannot be read: {alert}")

    def decode(self, packet: Packet) -> Iterator[Alert | AlertFormatError]:
        return iter(self._alerts[packet.offset])


class Bench:
    """The steps, over one database."""

    def __init__(self, args: argparse.Namespace) -> None:
        self._args = args
        self._meter = Meter(args.mongod_pid, args.profile)
        self._store = Store.open(args.uri, args.database)
        self._run = RunInfo(f"bench-{args.step}", 1)
        self._product = Product(args.unit, T2_UNITS[args.unit]())
        self._rules = [self._channel(number) for number in range(args.channels)]

    def run(self) -> Any:
        """Do the step; return its figures."""
        if self._args.fresh:
            self._store.drop()
        self._store.prepare((SURVEY,))
        steps: dict[str, Callable[[], Any]] = {
            "ingest": self._ingest,
            "growth": self._growth,
            "t2": self._t2,
            "t3": self._t3,
            "react": self._react,
        }
        figures = steps[self._args.step]()
        if isinstance(figures, dict):
            found = survey_counts(self._store.survey(SURVEY), {self._product.id: self._product.name})
            figures["documents"] = {
                "stock": found["stock"],
                "t0": found["t0"]["total"],
                "t1": found["t1"]["total"],
                "t2": sum(sum(codes.values()) for codes in found["t2"].values()),
            }
        self._store.close()
        return figures

    def _channel(self, number: int) -> ChannelRules:
        return ChannelRules.make(
            f"CHAN{number}",
            SURVEY,
            filter=RejectAll() if self._args.reject else None,
            known_stocks="filter",
            access=frozenset(("ZTF", "ZTF_PUB")),
            combiner=SimpleCombiner(),
            requests=(Request(self._product),),
        )

    def _ingest(self) -> dict[str, Any]:
        instrument, source = ZTF(), self._source()
        if self._args.source == "objects":
            packets = [Packet(b"", packet.source, packet.offset, packet.member) for packet in source]
            instrument, source = Predecoded(source), packets
        if not self._args.stages:
            return self._meter.measure(lambda: self._ingest_packets(instrument, source))
        with staged() as found:
            figures = self._meter.measure(lambda: self._ingest_packets(instrument, source))
        by_stage = shares(found, figures["cpu_py_s"], figures["cpu_mongod_s"], figures["n"])
        return {**figures, "stages": by_stage}

    def _source(self) -> Any:
        """Packets in memory, or a lazy way through the file."""
        if self._args.source == "tar":
            return read_file(self._args.tar)
        found = bench_packets.load(self._args.tar)
        if self._args.times > 1:
            first = bench_packets.originals(packet.data for packet in found)
            # Far enough from each other that copies of what are copies already differ.
            more = bench_packets.copies(first, range(1001, 1001 * self._args.times, 1001))
            found += [Packet(data, "copies.tar.gz", n) for n, data in enumerate(more)]
        return found

    def _ingest_packets(self, instrument: ZTF, packets: Iterable[Packet | BrokenSourceError]) -> int:
        ingestion = Ingestion(self._store, instrument, _STREAM, self._rules, self._run)
        done = _checked(write_overlapping(select(ingestion, packets), SelectionWriter(ingestion).write))
        if done["read"] != done[self._args.expect]:
            raise SystemExit(f"these packets should all be {self._args.expect}: {dict(done)}")
        return done["read"]

    def _growth(self) -> list[dict[str, Any]]:
        """Cost of the last thousand alerts before each size; stamps are left out, to spare memory and disk."""
        first = bench_packets.originals(packet.data for packet in bench_packets.load(self._args.tar))
        sizes = sorted(self._args.sizes)
        endless = bench_packets.copies(first, count(), stamps=False)
        instrument, done, figures = ZTF(), 0, []
        while done < sizes[-1]:
            chunk = [Packet(next(endless), "growth.tar.gz", done + n) for n in range(min(_CHUNK, sizes[-1] - done))]
            found = self._meter.measure(lambda chunk=chunk: self._ingest_packets(instrument, chunk))  # type: ignore[misc]
            done += found["n"]
            if done in sizes:
                figures.append({"alerts": done, **found})
            del chunk
            gc.collect()
        return figures

    def _t2(self) -> dict[str, Any]:
        work = Augmentation(self._store, ZTF(), [self._product], self._run, {})
        return self._meter.measure(
            lambda: _checked(write_ahead(augment(work), lambda results: write_results(work, results)))["computed"]
        )

    def _nights(self) -> list[str]:
        """The night of the packets. Copies are of other nights, thirty objects each: here they become one's, as AMPEL
        takes a thousand stocks at a time whenever they were seen, and as a real night has thousands.
        """
        alert = self._store.survey(SURVEY).ledger.alert
        night = min(alert.distinct("night"))
        alert.update_many({"night": {"$ne": night}}, {"$set": {"night": night}})
        return [night]

    def _t3(self) -> dict[str, Any]:
        survey, instrument, nights, seen = self._store.survey(SURVEY), ZTF(), self._nights(), {}

        def views() -> int:
            for night in nights:
                for view in load_views(survey, instrument, self._rules[0], night):
                    for key, number in touch([view]).items():
                        seen[key] = seen.get(key, 0) + number
            return seen["views"]

        return {**self._meter.measure(views), "seen": seen}

    def _react(self) -> dict[str, Any]:
        nights = self._nights()
        process = Process("count", (CountViews(),))
        with tempfile.TemporaryDirectory() as folder:
            reaction = Reaction(self._store, ZTF(), process, self._rules[0], self._run, Path(folder))
            return self._meter.measure(lambda: sum(react_to_night(reaction, n).counts["reacted"] for n in nights))


def _checked(tally: Tally) -> Counter[str]:
    """Numbers of items that were done; what went wrong is no benchmark."""
    if tally.failures or not tally.balanced or tally.counts["failed"] or tally.counts["quarantined"]:
        raise SystemExit(f"not all went well: {dict(tally.counts)}, {dict(tally.failures)}")
    return tally.counts


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("step", choices=("ingest", "growth", "t2", "t3", "react"))
    parser.add_argument("--uri", required=True)
    parser.add_argument("--database", required=True)
    parser.add_argument("--mongod-pid", type=int, required=True)
    parser.add_argument("--fresh", action="store_true", help="empty the database first")
    parser.add_argument("--tar", type=Path, help="packets, for ingest and growth")
    parser.add_argument("--source", choices=("tar", "bytes", "objects"), default="bytes")
    parser.add_argument("--times", type=int, default=1, help="multiply the packets in memory")
    parser.add_argument("--channels", type=int, default=1)
    parser.add_argument("--reject", action="store_true", help="every channel rejects everything")
    parser.add_argument("--expect", choices=("new", "known", "rejected"), default="new", help="what all packets are")
    parser.add_argument("--unit", choices=tuple(T2_UNITS), default="ids", help="the product that is asked for")
    parser.add_argument("--sizes", type=int, nargs="+", help="numbers of alerts, for growth")
    parser.add_argument("--stages", action="store_true", help="where the ingester's time goes, for ingest")
    parser.add_argument("--profile", type=Path, help="write what cProfile finds to this file")
    return parser


if __name__ == "__main__":
    print(json.dumps(Bench(_parser().parse_args()).run()))
