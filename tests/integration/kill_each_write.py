"""Run an ingestion that is killed (SIGKILL) at its n-th write, for every n; then run it again, and compare.

A program of its own: it forks a process for each attempt before any connection is made, so that imports are paid for
once. Prints one JSON object: how many writes there were, and for which of them the documents differed.

    kill_each_write.py URI DATABASE DOOR

The doors are those of the platform: `job` (T0 and T1 together, batch by batch) and `assets` (one tier after the other).
"""

import json
import os
import sys
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime
from pathlib import Path
from signal import SIGKILL
from tempfile import TemporaryDirectory
from typing import Any

from pymongo.collection import Collection
from pymongo.database import Database

from ampel_dagster.instruments.ztf import ZTF
from ampel_dagster.model.alert import Packet
from ampel_dagster.model.run import RunInfo
from ampel_dagster.model.stream import Stream
from ampel_dagster.pipeline import tiers
from ampel_dagster.pipeline.ingest import SelectionWriter
from ampel_dagster.pipeline.t0_ingest import Ingestion, select
from ampel_dagster.pipeline.t2_augment import Augmentation, augment, write_results
from ampel_dagster.pipeline.write_ahead import write_ahead, write_overlapping
from ampel_dagster.storage.store import Store
from ampel_dagster.testing import Survey
from ampel_dagster.units.bound import ChannelRules, Product, Request
from ampel_dagster.units.filters.basic import BasicFilter
from ampel_dagster.units.t1.simple import SimpleCombiner
from ampel_dagster.units.t2.light_curve_summary import LightCurveSummary

WRITES = ("insert_many", "update_many", "update_one", "bulk_write", "delete_many", "replace_one")
#: What two runs over the same packets may differ in: who did it, when, how often, how long it took.
WHO_AND_WHEN = {"run", "ts", "tied", "upd", "done_ts", "expire", "duration_s", "attempts", "lease", "claimed"}
#: How often others brought points to the stocks of a batch that waits for its states, itself begun again among them.
HOW_OFTEN = {"overtaken"}
LONG_AGO = datetime(2018, 1, 1, tzinfo=UTC)
NIGHTS = ("2018-08-19", "2018-08-20")
PRODUCT = Product("summary", LightCurveSummary())


def packets() -> list[Packet]:
    """Two nights of the same objects, and a packet that cannot be read."""
    survey = Survey(seed=3, n_objects=14)
    data = [a.to_bytes() for night in NIGHTS for a in survey.night(night)]
    data.insert(5, data[0][:30_000])
    return [Packet(raw, "night.tar", n, f"{n}.avro") for n, raw in enumerate(data)]


def rules() -> list[ChannelRules]:
    """One channel that takes most, one that takes a part, and goes on with what it has taken."""
    common: dict[str, Any] = {
        "access": frozenset({"ZTF", "ZTF_PUB"}),
        "combiner": SimpleCombiner(),
        "requests": (Request(PRODUCT),),
        "reactions": ("report",),
    }

    def brighter_than(mag: float) -> BasicFilter:
        return BasicFilter.model_validate({"all_of": [{"attribute": "magpsf", "operator": "<", "value": mag}]})

    some, most = brighter_than(18.5), brighter_than(19.5)
    return [
        ChannelRules.make("MOST", "ztf", filter=most, known_stocks="filter", **common),
        ChannelRules.make("SOME", "ztf", filter=some, known_stocks="bypass", **common),
    ]


def run(store: Store, found: list[Packet], door: str) -> None:
    """T0 to T2."""
    stream = Stream(survey="ztf", start_date=date(2017, 11, 1), cutouts="accepted", batch_size=8)
    who = RunInfo("run", 1)
    ingestion = Ingestion(store, ZTF(), stream, rules(), who, with_states=door == "job")
    if door == "job":
        write_overlapping(select(ingestion, found), SelectionWriter(ingestion).write)
    else:
        tiers.ingest(ingestion, found).consume()
        channels = [rules.channel for rules in ingestion.rules]
        alerts = store.survey("ztf").ledger.accepted(channels, NIGHTS)
        tiers.combine(store, ZTF(), ingestion.rules, who, alerts, NIGHTS).consume()
    work = Augmentation(store, ZTF(), [PRODUCT], who, {}, {"MOST": ["report"]})
    write_ahead(augment(work), lambda results: write_results(work, results))


def kill_at(number: int, *, half: bool) -> None:
    """Make this process kill itself at its n-th write; `half`: after half of the documents, where there are several."""
    count = 0

    def wrapped(original: Callable[..., Any], documents: Callable[..., list[Any] | None]) -> Callable[..., Any]:
        def call(self: Any, *args: Any, **kwargs: Any) -> Any:
            nonlocal count
            found = documents(*args)
            if found is None:
                return original(self, *args, **kwargs)
            count += 1
            if count == number:
                if half and len(found) > 1:
                    del found[len(found) // 2 :]
                    original(self, *args, **kwargs)
                os.kill(os.getpid(), SIGKILL)
            return original(self, *args, **kwargs)

        return call

    for name in WRITES:
        setattr(
            Collection,
            name,
            wrapped(getattr(Collection, name), lambda *args: args[0] if args and isinstance(args[0], list) else []),
        )

    def inserted(*args: Any) -> list[Any] | None:
        return args[0]["documents"] if args and isinstance(args[0], dict) and "insert" in args[0] else None

    Database.command = wrapped(Database.command, inserted)  # type: ignore[method-assign]


def content(store: Store, without: Iterable[str] = ()) -> dict[str, Any]:
    """All documents without who and when; T2 batches and the journal are about runs, and left out."""
    found: dict[str, Any] = {}
    for name in sorted(store.database.list_collection_names()):
        if name == "journal":
            continue
        query = {"kind": "ingest"} if name == "batch" else {}
        drop = WHO_AND_WHEN | set(without) | ({"batch"} if name == "ztf.t2" else set())
        found[name] = {str(d["_id"]): _plain(d, drop) for d in store.database[name].find(query)}
    return found


def emptied(store: Store) -> None:
    """Remove all documents. Indexes stay: making them takes longer than the run."""
    for name in store.database.list_collection_names():
        store.database[name].delete_many({})


def _plain(value: Any, drop: set[str]) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item, drop) for key, item in value.items() if key not in drop}
    if isinstance(value, list):
        return sorted((_plain(item, drop) for item in value), key=str)
    return value if isinstance(value, int | float | str | bool | None) else repr(value)


def forked(work: Callable[[Store], None], uri: str, database: str) -> int:
    """Do something in a process of its own; return its exit code, negative for a signal."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    code = 1
    try:
        store = Store.open(uri, database)
        work(store)
        code = 0
    finally:
        os._exit(code)


def main(uri: str, database: str, door: str) -> None:
    """Kill at each write in turn."""
    found = packets()
    with TemporaryDirectory() as folder:
        dump = Path(folder) / "content.json"

        def fresh(store: Store) -> None:
            store.drop()
            store.prepare(("ztf",))

        def whole(store: Store) -> None:
            # As if the time had passed for which a dead run holds its tickets.
            store.survey("ztf").tickets.collection.update_many(
                {"lease": {"$exists": True}}, {"$set": {"lease.until": LONG_AGO}}
            )
            run(store, found, door)
            dump.write_text(json.dumps(content(store, HOW_OFTEN if door == "assets" else ()), sort_keys=True))

        def broken(number: int, half: bool) -> Callable[[Store], None]:
            def work(store: Store) -> None:
                emptied(store)
                kill_at(number, half=half)
                run(store, found, door)

            return work

        forked(fresh, uri, database)
        assert forked(whole, uri, database) == 0
        expected = dump.read_text()
        assert forked(whole, uri, database) == 0
        replayed = dump.read_text() == expected
        different, number, half = [], 0, False
        while True:
            number += 1
            ended = forked(broken(number, half), uri, database)
            if ended == 0:
                break
            assert ended == -SIGKILL, ended
            assert forked(whole, uri, database) == 0
            if dump.read_text() != expected:
                different.append([number, half, _differences(json.loads(expected), json.loads(dump.read_text()))])
            half = not half
        sizes = {name: len(documents) for name, documents in json.loads(expected).items()}
        found_out = {"writes": number - 1, "replayed": replayed, "different": different, "sizes": sizes}
        sys.stdout.write(json.dumps(found_out))


def _differences(expected: dict[str, Any], found: dict[str, Any]) -> list[str]:
    names = []
    for name in sorted({*expected, *found}):
        a, b = expected.get(name, {}), found.get(name, {})
        keys = [key for key in sorted({*a, *b}) if a.get(key) != b.get(key)]
        names += [f"{name} {key}: {str(a.get(key))[:900]} != {str(b.get(key))[:900]}" for key in keys]
    return names[:3]


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3])
