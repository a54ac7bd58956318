"""Two batches are under way at once, and each document says the same as if they came one after the other."""

from typing import Any

import pytest

from ampel_dagster.model.run import RunInfo
from ampel_dagster.pipeline.ingest import SelectionWriter
from ampel_dagster.pipeline.t0_ingest import Ingestion, select
from ampel_dagster.pipeline.write_ahead import write_ahead, write_overlapping
from ampel_dagster.testing import make_alert, make_limit

NIGHTS = 3
OBJECTS = 12


@pytest.fixture(scope="module")
def alerts() -> list[dict[str, Any]]:
    """Twelve objects of one read-out channel, which have their upper limits in common, each seen in three nights."""
    found = []
    for night in range(NIGHTS):
        limits = [make_limit(jd=2458330.7 + n, maglim=20.25) for n in range(3 + night)]
        for number in range(OBJECTS):
            name = f"ZTF18aaaaaa{chr(97 + number)}"
            found.append({"name": name, "jd": 2458349.7 + night, "tblid": number + 1, "history": limits})
    return found


def stored(lab: Any, alerts: list[dict[str, Any]], *, overlapping: bool) -> dict[str, list[dict[str, Any]]]:
    """All that two channels keep of the alerts, but for the time of writing."""
    lab.wipe()
    stream = lab.stream.model_copy(update={"batch_size": 2})
    packets = lab.packets(*(make_alert(cutouts=False, **alert) for alert in alerts), source="night.tar")
    rules = [lab.rules("A", lab.product(lambda *_: {})), lab.rules("B")]
    ingestion = Ingestion(lab.store, lab.instrument, stream, rules, RunInfo("run", 1))
    writer = SelectionWriter(ingestion)
    selections = select(ingestion, packets)
    write = write_overlapping(selections, writer.write) if overlapping else write_ahead(selections, writer.write)
    assert write.counts["new"] == len(alerts)
    found = {}
    for name in lab.store.database.list_collection_names():
        documents = list(lab.store.database[name].find(sort=[("_id", 1)]))
        for document in documents:
            document.pop("done_ts", None)
            document.pop("ts", None)
            document.get("meta", {}).pop("ts", None)
        found[name] = documents
    return found


def test_as_if_in_turn(lab: Any, alerts: list[dict[str, Any]]) -> None:
    """Which batch brought a limit, and which object came to it when, would differ if the points of two were mixed."""
    in_turn = stored(lab, alerts, overlapping=False)
    assert len(in_turn["ztf.alert"]) == NIGHTS * OBJECTS
    assert len(in_turn["batch"]) == NIGHTS * OBJECTS // 2
    shared = [point for point in in_turn["ztf.t0"] if len(point["stock"]) == OBJECTS]
    assert len(shared) == 2 + NIGHTS, "all limits are shared by all"
    assert all(len(point["joined"]) == OBJECTS - 2 for point in shared)
    for _ in range(3):
        assert stored(lab, alerts, overlapping=True) == in_turn
