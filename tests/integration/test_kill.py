"""A run that is killed at any of its writes, and started again, leaves the documents of an undisturbed run."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ampel_dagster.storage.store import Store
from ampel_dagster.testing import Survey
from tests.kafka_broker import Broker


@pytest.mark.parametrize("door", ["job", "assets"])
def test_killed_at_each_write(mongo_uri: str, store: Store, door: str) -> None:
    program = Path(__file__).with_name("kill_each_write.py")
    name = store.database.name
    done = subprocess.run([sys.executable, str(program), mongo_uri, name, door], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout)
    assert found["replayed"]
    assert found["different"] == []
    # Each kind of document was at stake, and the run was killed at every write of several batches.
    assert all(found["sizes"][f"ztf.{kind}"] for kind in ("alert", "rejected", "stock", "t0", "t1", "t2", "cutout"))
    assert found["sizes"]["quarantine"] == 1
    assert found["writes"] > 30


def test_stream_that_is_killed_at_every_second_write(mongo_uri: str, store: Store) -> None:
    """Whoever listens may die: what it had planned is read as it was planned, and nothing is lost or twice there."""
    broker = Broker()
    survey = Survey(seed=3, n_objects=14)
    broker.send(alert.to_bytes() for night in ("2018-08-19", "2018-08-20") for alert in survey.night(night))
    program = Path(__file__).with_name("kill_each_read.py")
    call = [sys.executable, str(program), mongo_uri, store.database.name, broker.brokers[0]]
    done = subprocess.run(call, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout)
    assert found["different"] == []
    assert found["sizes"]["offsets"] == 4
    assert found["sizes"]["ztf.t2"]
    assert found["writes"] > 30
