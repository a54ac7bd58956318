"""Packet to T2 result: how long it takes at a given rate, with `ampel-dagster listen` in a process of its own.

    python bench/listen.py --rate 256 --seconds 60

Simulated packets with stamps go to a broker on loopback (the one that the Kafka library brings with it: it keeps some
5 MB a partition, hence several topics) at an even rate. A packet's latency is the time from the moment at which it is
handed to the producer to the time stamp of the last of its T2 results.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import quantiles
from struct import Struct
from time import monotonic, sleep, time
from typing import Any

import psutil
from confluent_kafka import Producer

from ampel_dagster.config.instance import copy_demo
from ampel_dagster.storage.server import EmbeddedServer
from ampel_dagster.storage.store import Store
from ampel_dagster.testing import simulate_night

NIGHT = "2026-11-01"
PARTITIONS = 4
_HEAD = Struct(">qI")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=256.0, help="packets a second")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--topics", type=int, default=8, help="topics of four partitions each")
    options = parser.parse_args()
    number = round(options.rate * options.seconds)
    with tempfile.TemporaryDirectory(prefix="bench-listen-") as name:
        folder = Path(name)
        file = folder / "packets"
        made = write_packets(file, number)
        print(f"{made} packets, {file.stat().st_size / made / 1e3:.0f} kB each", file=sys.stderr)
        server = EmbeddedServer(folder / "mongod")
        (folder / "mongod").mkdir()
        uri = server.start()
        try:
            found = measure(options, folder, file, uri)
        finally:
            server.stop()
    print(json.dumps(found, indent=2))


def write_packets(file: Path, number: int) -> int:
    """One simulated night of at least so many alerts, cut to their number: id, size, bytes of each."""
    with file.open("wb") as out:
        count = 0
        for alert in simulate_night(NIGHT, round(number * 1.1)):
            data = alert.to_bytes()
            out.write(_HEAD.pack(alert.packet["candid"], len(data)) + data)
            count += 1
            if count == number:
                break
    return count


def read_packets(file: Path) -> Iterator[tuple[int, bytes]]:
    with file.open("rb") as source:
        while head := source.read(_HEAD.size):
            candid, size = _HEAD.unpack(head)
            yield candid, source.read(size)


def measure(options: argparse.Namespace, folder: Path, file: Path, uri: str) -> dict[str, Any]:
    producer = Producer({"bootstrap.servers": "none", "test.mock.num.brokers": 1, "log_level": 0, "linger.ms": 5})
    topics = [f"alerts_{n}" for n in range(options.topics)]
    brokers = [f"{b.host}:{b.port}" for b in producer.list_topics(timeout=10).brokers.values()]
    for topic in topics:
        producer.list_topics(topic, timeout=10)
    instance = folder / "instance"
    copy_demo(instance)
    stream = {
        "survey": "ztf",
        "start_date": "2017-11-01",
        "kafka": {"brokers": brokers, "pattern": r"^alerts_\d+$"},
        "cutouts": "off",
    }
    (instance / "streams" / "ztf.yaml").write_text(json.dumps(stream))
    env = {**os.environ, "AMPEL_INSTANCE": str(instance), "AMPEL_MONGO_URI": uri, "AMPEL_DB": "listen"}
    store = Store.open(uri, "listen")
    command = [sys.executable, "-m", "ampel_dagster", "listen", "--report-every", "15"]
    with (folder / "log").open("w") as log:
        listener = subprocess.Popen(command, env=env, stdout=log, stderr=log)
    try:
        wait(lambda: store.listeners.alive("ztf") is not None, listener, folder / "log")
        process = psutil.Process(listener.pid)
        before, mongod = process.cpu_times(), mongod_cpu(uri)
        sent, late = produce(producer, topics, file, options.rate)
        wait(lambda: store.survey("ztf").ledger.alert.estimated_document_count() >= len(sent), listener, folder / "log")
        wait(lambda: store.survey("ztf").tickets.collection.count_documents({}) == 0, listener)
        after, mongod = process.cpu_times(), mongod_cpu(uri) - mongod
        rss = process.memory_info().rss
        lost = sum(row["end"] - row["first"] for row in store.offsets.lost("ztf"))
        found = latencies(store, sent)
    finally:
        listener.terminate()
        listener.wait(60)
        store.close()
    cpu = after.user + after.system - before.user - before.system
    return {
        "packets": len(sent),
        "rate_per_s": options.rate,
        "partitions": options.topics * PARTITIONS,
        "lost": lost,
        "without_result": len(sent) - len(found),
        **figures(found),
        "producer_late_s": round(late, 3),
        "listener_cpu_share": round(cpu / (len(sent) / options.rate), 2),
        "mongod_cpu_share": round(mongod / (len(sent) / options.rate), 2),
        "listener_rss_mb": round(rss / 1e6),
        "load1": round(os.getloadavg()[0], 2),
    }


def produce(producer: Producer, topics: list[str], file: Path, rate: float) -> tuple[dict[int, float], float]:
    """Send packets evenly; when each was handed over (seconds since 1970), and how late the last one was."""
    sent: dict[int, float] = {}
    begin, late = monotonic(), 0.0
    for n, (candid, data) in enumerate(read_packets(file)):
        due = begin + n / rate
        while (ahead := due - monotonic()) > 0:
            producer.poll(0)
            sleep(min(ahead, 0.002))
        late = max(late, -ahead)
        sent[candid] = time()
        producer.produce(topics[n // PARTITIONS % len(topics)], data, partition=n % PARTITIONS)
    assert producer.flush(10) == 0
    return sent, late


def latencies(store: Store, sent: dict[int, float]) -> list[float]:
    """Seconds from packet to the last of the results on its first state."""
    survey = store.survey("ztf")
    ready: dict[int, float] = {}
    for d in survey.results.collection.find({"link": {"$exists": True}}, {"link": 1, "body.ts": 1}):
        ready[d["link"]] = max(ready.get(d["link"], 0.0), d["body"][0]["ts"].timestamp())
    first: dict[int, float] = {}
    for d in survey.states.collection.find({}, {"alerts": 1}):
        for alert in d["alerts"]:
            if d["_id"] in ready:
                first[alert] = min(first.get(alert, float("inf")), ready[d["_id"]])
    return [first[alert] - moment for alert, moment in sent.items() if alert in first]


def figures(found: list[float]) -> dict[str, float]:
    cuts = quantiles(found, n=100)
    return {
        "p50_s": round(cuts[49], 3),
        "p90_s": round(cuts[89], 3),
        "p99_s": round(cuts[98], 3),
        "max_s": round(max(found), 3),
    }


def mongod_cpu(uri: str) -> float:
    """CPU seconds of the servers that listen at the port."""
    port = int(uri.rsplit(":", 1)[1].split("/")[0])
    for connection in psutil.net_connections("tcp"):
        if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port and connection.pid:
            times = psutil.Process(connection.pid).cpu_times()
            return times.user + times.system
    return 0.0


def wait(holds: Any, listener: subprocess.Popen[bytes], log: Path | None = None) -> None:
    """Wait until something holds, as long as the listener lives."""
    end = monotonic() + 180
    while not holds():
        if listener.poll() is not None or monotonic() > end:
            raise SystemExit("the listener has ended or is too slow: " + (log.read_text()[-2000:] if log else ""))
        sleep(0.05)


if __name__ == "__main__":
    main()
