"""The job `augment` over several workers: documents a second, and what the executor itself costs.

    python bench/fanout.py --alerts night.tar.gz --times 60 --executor dask --workers 2 --unit BazinFit

Packets are ingested with nothing to compute; then their tickets are computed by `dagster job execute`, with the
`workers.yaml` that is asked for, on an instance and a mongod of its own. `empty` is the same job once more, with
nothing left to do: what is left of its time is the executor's. Times are from the start of the run to its end, as
Dagster's history has them; the start of the process that runs it is left out.

Celery's messages and results go through that mongod, too, and its workers are started before the run.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from time import sleep
from typing import Any

import dagster as dg

sys.path.insert(0, str(Path(__file__).parent))
import packets as bench_packets

from ampel_dagster.config.instance import copy_demo
from ampel_dagster.config.load import load
from ampel_dagster.model.run import RunInfo
from ampel_dagster.pipeline import tiers
from ampel_dagster.pipeline.t0_ingest import Ingestion
from ampel_dagster.sources.files import read_file
from ampel_dagster.storage.server import EmbeddedServer
from ampel_dagster.storage.store import Store

SURVEY, PRODUCT = "ztf", "measured"
_BIN = Path(sys.executable).parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--alerts", type=Path, required=True, help="file with real packets")
    parser.add_argument("--times", type=int, default=20, help="copies of each packet")
    parser.add_argument("--unit", default="LightCurveSummary")
    parser.add_argument("--executor", default="in_process")
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-fanout-") as name:
        folder = Path(name)
        (folder / "mongod").mkdir()
        server = EmbeddedServer(folder / "mongod")
        uri = server.start()
        try:
            print(json.dumps(measure(options, folder, uri)))
        finally:
            server.stop()


def measure(options: argparse.Namespace, folder: Path, uri: str) -> dict[str, Any]:
    instance = folder / "instance"
    workers = workers_yaml(options, uri)
    prepare(instance, options.unit, workers)
    env = {**os.environ, "AMPEL_INSTANCE": str(instance), "AMPEL_MONGO_URI": uri, "AMPEL_DB": "fanout"}
    env |= {"DAGSTER_HOME": str(instance), "PATH": f"{_BIN}{os.pathsep}{os.environ['PATH']}"}
    store = Store.open(uri, "fanout")
    store.prepare((SURVEY,))
    made = ingest(store, instance, folder / "first.tar.gz", options)
    with celery_workers(options, env, folder, workers):
        full, empty = (run(env, folder / "log") for _ in range(2))
    found = list(store.database[f"{SURVEY}.t2"].find({}, {"code": 1, "body.version": 1}))
    store.close()
    assert len(found) == made
    assert all(d["code"] >= 0 and len(d["body"]) == 1 for d in found)
    return {
        "executor": options.executor,
        "workers": options.workers,
        "unit": options.unit,
        "documents": made,
        "run_s": round(full, 1),
        "empty_s": round(empty, 1),
        "documents_per_s": round(made / full),
        "documents_per_s_beside_overhead": round(made / max(full - empty, 1e-3)),
        "load1": round(os.getloadavg()[0], 2),
    }


def workers_yaml(options: argparse.Namespace, uri: str) -> dict[str, Any]:
    """What the instance's file says."""
    config: dict[str, Any] = {}
    if options.executor == "multiprocess":
        config = {"max_concurrent": options.workers}
    elif options.executor == "dask":
        config = {"cluster": {"local": {"n_workers": options.workers, "dashboard_address": None}}}
    elif options.executor == "celery":
        config = {"broker": f"{uri.rstrip('/')}/celery", "backend": f"{uri.rstrip('/')}/celery"}
    return {"workers": options.workers, "executor": options.executor, "config": config}


def prepare(instance: Path, unit: str, workers: Mapping[str, Any]) -> None:
    copy_demo(instance)
    for file in [*instance.glob("channels/*.yaml"), *instance.glob("t2/*.yaml"), *instance.glob("t3/*.yaml")]:
        file.unlink()
    files = {
        "channels/ALL.yaml": {"channel": "ALL", "access": ["ZTF", "ZTF_PUB"], SURVEY: {"t2": [PRODUCT]}},
        f"t2/{PRODUCT}.yaml": {"unit": unit},
        f"streams/{SURVEY}.yaml": {"survey": SURVEY, "start_date": "2017-11-01", "cutouts": "off"},
        "workers.yaml": workers,
    }
    for name, content in files.items():
        (instance / name).write_text(json.dumps(content))


def ingest(store: Store, instance: Path, file: Path, options: argparse.Namespace) -> int:
    """T0 and T1; return the number of tickets."""
    source = bench_packets.originals(bench_packets.real_packets(options.alerts))
    bench_packets.write_tar(file, bench_packets.copies(source, range(options.times), stamps=False))
    config = load(instance)
    run = RunInfo("bench", config.id)
    ingestion = Ingestion(store, config.instrument(SURVEY), config.stream(SURVEY), config.rules(SURVEY), run)
    tiers.ingest(ingestion, read_file(file)).consume()
    return store.survey(SURVEY).tickets.collection.count_documents({})


@contextmanager
def celery_workers(
    options: argparse.Namespace, env: dict[str, str], folder: Path, workers: Mapping[str, Any]
) -> Iterator[None]:
    if options.executor != "celery":
        yield
        return
    file = folder / "celery.yaml"
    file.write_text(json.dumps({"execution": {"config": workers["config"]}}))
    command = [str(_BIN / "dagster-celery"), "worker", "start", "-A", "dagster_celery.app", "-y", str(file)]
    with (folder / "celery.log").open("w") as log:
        more = ["--", "--concurrency", str(options.workers)]
        process = subprocess.Popen([*command, *more], env=env, stdout=log, stderr=log, start_new_session=True)
    try:
        while "ready." not in (folder / "celery.log").read_text():
            assert process.poll() is None, (folder / "celery.log").read_text()[-2000:]
            sleep(0.1)
        yield
    finally:
        os.killpg(process.pid, 9)
        process.wait()


def run(env: dict[str, str], log: Path) -> float:
    """Seconds that the job takes, from the start of the run to its end."""
    command = [str(_BIN / "dagster"), "job", "execute", "-m", "ampel_dagster.definitions", "-j", "augment"]
    with log.open("w") as file:
        done = subprocess.run(command, env=env, stdout=file, stderr=file)
    assert done.returncode == 0, log.read_text()[-3000:]
    os.environ["DAGSTER_HOME"] = env["DAGSTER_HOME"]
    with dg.DagsterInstance.get() as history:
        (record,) = history.get_run_records(limit=1)
        assert record.start_time is not None
        assert record.end_time is not None
        return record.end_time - record.start_time


if __name__ == "__main__":
    main()
