"""Several processes at the same tickets, killed again and again: each result is there, once, and nothing is stuck."""

import subprocess
import sys
from pathlib import Path
from random import Random
from typing import Any

from ampel_dagster.instruments.ztf import ZTF
from ampel_dagster.model.alert import Packet
from ampel_dagster.model.run import RunInfo
from ampel_dagster.model.stream import Stream
from ampel_dagster.pipeline.ingest import SelectionWriter
from ampel_dagster.pipeline.t0_ingest import Ingestion, select
from ampel_dagster.pipeline.write_ahead import write_overlapping
from ampel_dagster.storage.store import Store
from ampel_dagster.testing import encode_packet, make_alert
from ampel_dagster.units.bound import ChannelRules, Request
from ampel_dagster.units.t1.simple import SimpleCombiner
from tests.integration.t2_worker import TWICE

WORKER = Path(__file__).with_name("t2_worker.py")
ALERTS, WORKERS, KILLS = 300, 3, 9


def ingest(store: Store) -> None:
    rules = ChannelRules.make(
        "A",
        "ztf",
        filter=None,
        known_stocks="filter",
        access=frozenset({"ZTF", "ZTF_PUB"}),
        combiner=SimpleCombiner(),
        requests=(Request(TWICE),),
    )
    names = [f"ZTF18aaaaa{chr(97 + n // 26)}{chr(97 + n % 26)}" for n in range(ALERTS)]
    packets = [
        Packet(encode_packet(make_alert(name=name, tblid=n + 1, cutouts=False)), "night.tar", n)
        for n, name in enumerate(names)
    ]
    stream = Stream(survey="ztf", start_date="2017-11-01")  # type: ignore[arg-type]  # pydantic reads dates
    ingestion = Ingestion(store, ZTF(), stream, [rules], RunInfo("ingest", 1))
    write_overlapping(select(ingestion, packets), SelectionWriter(ingestion).write)


def test_every_ticket_is_computed_whoever_dies(store: Store, mongo_uri: str) -> None:
    ingest(store)
    chance, started = Random(1), 0

    def start() -> "subprocess.Popen[bytes]":
        nonlocal started
        started += 1
        command = [sys.executable, str(WORKER), mongo_uri, store.database.name, f"worker {started}"]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def left() -> int:
        return store.survey("ztf").tickets.collection.count_documents({})

    workers, kills, before = [start() for _ in range(WORKERS)], 0, left()
    while kills < KILLS and left():
        # Some of the work is done between two kills, so that each comes in the middle of it.
        if before - left() >= chance.randrange(5, 40):
            victim = chance.choice(workers)
            victim.kill()
            victim.communicate()
            workers.remove(victim)
            workers.append(start())
            kills, before = kills + 1, left()
        workers = [w if w.poll() is None else start() for w in workers]
    for worker in workers:
        said, _ = worker.communicate(timeout=120)
        assert worker.returncode == 0, said.decode()
    assert kills == KILLS
    while left():  # tickets of the last that was killed, when their lease is over
        assert start().wait(timeout=120) == 0
    results = list(store.database["ztf.t2"].find())
    check(results)


def check(results: list[dict[str, Any]]) -> None:
    assert len(results) == 2 * ALERTS
    assert {d["code"] for d in results} == {0}
    assert all(len(d["body"]) == 1 for d in results)
    assert {d["result"]["n"] for d in results if d["product"] == "length"} == {1}
    assert {d["result"]["twice"] for d in results if d["product"] == "twice"} == {2}
    assert len({d["meta"]["run"] for d in results}) > 1
