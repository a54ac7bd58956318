"""Read a Kafka stream in turns, killed (SIGKILL) at its n-th write, for every second n; listen again, and compare.

Prints one JSON object: how many writes there were, and for which of them the documents differed.

    kill_each_read.py URI DATABASE BROKER
"""

import json
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path
from signal import SIGKILL
from tempfile import TemporaryDirectory
from typing import Any

import confluent_kafka  # noqa: F401  # for all processes at once, as the pipeline loads it when it is needed
from kill_each_write import LONG_AGO, PRODUCT, content, emptied, forked, kill_at, rules

from ampel_dagster.instruments.ztf import ZTF
from ampel_dagster.model.run import RunInfo
from ampel_dagster.model.stream import Kafka, Stream
from ampel_dagster.pipeline.listen import Listener, Listening
from ampel_dagster.pipeline.t0_ingest import Ingestion
from ampel_dagster.pipeline.t2_augment import Augmentation
from ampel_dagster.sources.kafka import KafkaSource
from ampel_dagster.storage.store import Store


def run(store: Store, broker: str, name: str) -> None:
    """Listen until nothing waits."""
    stream = Stream(survey="ztf", start_date=date(2017, 11, 1), cutouts="accepted", batch_size=8)
    who = RunInfo(name, 1)
    ingestion = Ingestion(store, ZTF(), stream, rules(), who)
    work = Augmentation(store, ZTF(), [PRODUCT], who, {}, {"MOST": ["report"]})
    with KafkaSource(Kafka(brokers=(broker,), topics=("alerts",)), Path()) as source:
        listener = Listener(Listening(ingestion, work, source, size=16))
        listener.begin(lambda group: True)
        while listener.turn() is not None:
            pass
        listener.end()


def everything(store: Store) -> dict[str, Any]:
    """All documents without who and when; of the plan what was read, as ranges of different runs are not made one."""
    found = content(store)
    read: dict[str, list[int]] = {}
    for d in store.database["offsets"].find({"state": "done"}).sort("first", 1):
        chain = read.setdefault(f"{d['topic']}/{d['partition']}", [0])
        assert d["first"] == chain[-1], d
        chain[-1] = d["end"]
    assert store.database["offsets"].count_documents({"state": {"$ne": "done"}}) == 0
    found["offsets"] = read
    found.pop("listener", None)
    return found


def main(uri: str, database: str, broker: str) -> None:
    """Kill at every second write."""
    with TemporaryDirectory() as folder:
        dump = Path(folder) / "content.json"

        def fresh(store: Store) -> None:
            store.drop()
            store.prepare(("ztf",))

        def whole(store: Store) -> None:
            # As if the time had passed for which a dead run holds its tickets, and the stream.
            store.survey("ztf").tickets.collection.update_many(
                {"lease": {"$exists": True}}, {"$set": {"lease.until": LONG_AGO}}
            )
            store.listeners.collection.update_many({}, {"$set": {"until": LONG_AGO}})
            run(store, broker, "again")
            dump.write_text(json.dumps(everything(store), sort_keys=True))

        def broken(number: int) -> Callable[[Store], None]:
            def work(store: Store) -> None:
                emptied(store)
                kill_at(number, half=False)
                run(store, broker, "killed")

            return work

        forked(fresh, uri, database)
        assert forked(whole, uri, database) == 0
        expected = dump.read_text()
        different, number = [], 1
        while True:
            ended = forked(broken(number), uri, database)
            if ended == 0:
                break
            assert ended == -SIGKILL, ended
            assert forked(whole, uri, database) == 0
            if dump.read_text() != expected:
                different.append(number)
            number += 2
        sizes = {name: len(documents) for name, documents in json.loads(expected).items()}
        sys.stdout.write(json.dumps({"writes": number - 1, "different": different, "sizes": sizes}))


if __name__ == "__main__":
    main(*sys.argv[1:])
