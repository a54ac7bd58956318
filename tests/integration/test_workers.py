"""The job `augment` over workers in processes of their own, one of which is killed in the middle of its work."""

import os
import sys
from collections import Counter
from pathlib import Path

import dagster as dg
import pytest

from ampel_dagster.config.load import load
from ampel_dagster.model.alert import Packet
from ampel_dagster.model.run import RunInfo
from ampel_dagster.pipeline import tiers
from ampel_dagster.pipeline.t0_ingest import Ingestion
from ampel_dagster.storage.store import Store
from ampel_dagster.testing import encode_packet, make_alert
from tests.conftest import MakeInstance
from tests.integration.augment_job import augment

ALERTS = 40
#: A unit of somebody else's package: the first worker that comes to a ticket of one object dies of it.
UNIT = """
import os, signal
from pathlib import Path
from ampel_dagster.units.base import LightCurveUnit

class Fragile(LightCurveUnit):
    marker: str

    def process(self, light_curve, tied):
        try:
            Path(self.marker).touch(exist_ok=False)
        except FileExistsError:
            return {"n": len(light_curve)}
        os.kill(os.getpid(), signal.SIGKILL)
"""


def package(folder: Path) -> Path:
    """An installed package that offers the unit."""
    about = folder / "fragile-1.0.dist-info"
    about.mkdir(parents=True)
    (folder / "fragile.py").write_text(UNIT)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: fragile\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[ampel_dagster.units]\nFragile = fragile:Fragile\n")
    return folder


def test_worker_that_is_killed(
    make_instance: MakeInstance, mongo_uri: str, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another one takes its tickets over in the same run: nothing is lost, and nothing twice there."""
    pytest.importorskip("dagster_dask", reason="the extra dask is not installed")
    marker = tmp_path / "killed"
    monkeypatch.syspath_prepend(str(package(tmp_path / "package")))
    files = {
        "channels/A.yaml": {"channel": "A", "access": ["ZTF", "ZTF_PUB"], "ztf": {"t2": ["fragile"]}},
        "t2/fragile.yaml": {"unit": "Fragile", "config": {"marker": str(marker)}, "batch": 5},
        "t3/table.yaml": None,
        "workers.yaml": {"workers": 2, "executor": "dask", "config": {"cluster": {"local": {"n_workers": 1}}}},
    }
    folder = make_instance({}, files)
    ingest(store, folder)

    env = {"AMPEL_INSTANCE": str(folder), "AMPEL_MONGO_URI": mongo_uri, "AMPEL_DB": store.database.name}
    for name, value in {**env, "PYTHONPATH": os.pathsep.join(sys.path)}.items():
        monkeypatch.setenv(name, value)
    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    with dg.DagsterInstance.local_temp(str(folder)) as history:
        done = dg.execute_job(dg.reconstructable(augment), history, run_config=quiet)
    assert done.success
    assert marker.exists()
    results = list(store.database["ztf.t2"].find())
    assert Counter((d["code"], d["result"]["n"], len(d["body"])) for d in results) == {(0, 1, 1): ALERTS}
    assert store.survey("ztf").tickets.collection.count_documents({}) == 0
    entries = store.database["journal"].find({"action": "compute"})
    assert Counter(d["t2"] for d in entries) == Counter(d["_id"] for d in results)


def ingest(store: Store, folder: Path) -> None:
    """Alerts of so many objects, and a ticket for each."""
    config = load(folder)
    names = [f"ZTF18aaaaa{chr(97 + n // 26)}{chr(97 + n % 26)}" for n in range(ALERTS)]
    alerts = [make_alert(name=name, tblid=n + 1, cutouts=False) for n, name in enumerate(names)]
    packets = [Packet(encode_packet(alert), "night.tar", n) for n, alert in enumerate(alerts)]
    run = RunInfo("ingest", config.id)
    ingestion = Ingestion(store, config.instrument("ztf"), config.stream("ztf"), config.rules("ztf"), run)
    assert tiers.ingest(ingestion, packets).consume().counts["t2"] == ALERTS
