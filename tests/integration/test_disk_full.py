"""A disk that gets full under a run: it ends with one line that says so, and the next run finds nothing missing."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from random import Random

import pytest

from ampel_dagster.instruments.ztf import ZTF
from ampel_dagster.model.alert import Packet
from ampel_dagster.model.errors import StorageError
from ampel_dagster.model.run import RunInfo
from ampel_dagster.model.stream import Stream
from ampel_dagster.pipeline import tiers
from ampel_dagster.pipeline.t0_ingest import Ingestion
from ampel_dagster.pipeline.tally import Tally
from ampel_dagster.storage.audit import ledger
from ampel_dagster.storage.server import EmbeddedServer
from ampel_dagster.storage.store import Store
from ampel_dagster.testing import encode_packet, make_alert, make_detection
from ampel_dagster.units.bound import ChannelRules
from ampel_dagster.units.t1.simple import SimpleCombiner

#: Bytes that are left when the run begins.
LEFT = 4_000_000
ALERTS = 280
#: Noise does not compress: what is written is more than the hundred MB that the journal has in store.
STAMP_BYTES = 450_000


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 450 MB: mongod takes some 260 for its journal and empty files."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=900m", "tmpfs", str(folder)], capture_output=True, text=True
    )
    if mounted.returncode != 0:
        pytest.skip(f"a file system of one's own cannot be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def packets() -> Iterator[Packet]:
    """Alerts of different objects, each with a history and a large stamp."""
    names = (f"ZTF18aaaa{chr(97 + n // 676)}{chr(97 + n // 26 % 26)}{chr(97 + n % 26)}" for n in range(ALERTS))
    jd = 2458349.7
    for n, name in enumerate(names):
        history = [make_detection(jd=jd - k) for k in range(1, 30)]
        alert = make_alert(name=name, jd=jd, tblid=n + 1, cutouts=False, history=history)
        alert["cutoutScience"] = {"fileName": "noise.fits.gz", "stampData": Random(n).randbytes(STAMP_BYTES)}
        yield Packet(encode_packet(alert), "night.tar", n, f"{n}.avro")


def test_run_ends_with_one_line_and_the_next_one_loses_nothing(small_disk: Path) -> None:
    server = EmbeddedServer(small_disk, {**os.environ, "AMPEL_MONGOD_CACHE_GB": "0.25"})
    store = Store.open(f"{server.start()}/?serverSelectionTimeoutMS=1000", "full", server.revive)
    store.patience_s = 1.0
    store.prepare(("ztf",))
    rules = ChannelRules.make(
        "ALL",
        "ztf",
        filter=None,
        known_stocks="filter",
        access=frozenset({"ZTF", "ZTF_PUB"}),
        combiner=SimpleCombiner(),
        requests=(),
    )

    def run(name: str) -> Tally:
        stream = Stream(survey="ztf", start_date=date(2017, 11, 1), batch_size=20, cutouts="accepted")
        return tiers.ingest(Ingestion(store, ZTF(), stream, [rules], RunInfo(name, 1)), packets()).consume()

    filler = small_disk / "filler"
    with filler.open("wb") as file:
        for _ in range((shutil.disk_usage(small_disk).free - LEFT) // 1_000_000):
            file.write(bytes(1_000_000))
    with pytest.raises(StorageError, match="the disk is full"):
        run("first")
    filler.unlink()
    server.start()
    counts = run("second").counts
    assert counts["read"] == ALERTS == counts["new"] + counts["known"]
    ztf = store.survey("ztf")
    assert ztf.ledger.alert.count_documents({}) == ztf.states.collection.count_documents({}) == ALERTS
    assert {len(d["dps"]) for d in ztf.states.collection.find()} == {30}
    report = ledger(store, "ztf", [])
    assert report.balanced
    assert report.open == 0
    assert run("third").counts["known"] == ALERTS
    store.close()
    server.stop()
