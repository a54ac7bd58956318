"""Palomar Gattini-IR from bytes to views: a survey of one file goes the whole way; numbers are those of its packets."""

from pathlib import Path
from typing import Any

import pytest

PGIR_STREAM = {"streams/pgir.yaml": {"survey": "pgir", "start_date": "2021-01-01"}}
CHANNEL = {
    "channels/IR.yaml": {"channel": "IR", "pgir": {"t2": ["summary"], "compute": {"facts": {"unit": "StateFacts"}}}}
}


@pytest.fixture(scope="module")
def platform(make_platform: Any, data: Path) -> Any:
    """All packets that there are."""
    found = make_platform({}, {**PGIR_STREAM, **CHANNEL})
    found.ingest(data / "other_surveys" / "pgir", survey="pgir")
    found.pgir = found.store.survey("pgir")
    return found


def test_every_packet_is_there(platform: Any) -> None:
    assert platform.pgir.ledger.alert.count_documents({"night": "2021-06-29", "channel": "IR"}) == 17
    assert platform.pgir.stocks.collection.count_documents({}) == 15
    # 539 images without a source in them, shared by the objects that they show.
    assert platform.pgir.points.collection.count_documents({"kind": "upper_limit"}) == 539
    assert platform.store.quarantine.collection.count_documents({}) == 0


def test_values_and_results(platform: Any) -> None:
    alert = platform.pgir.ledger.alert.find_one({"_id": 114297926})
    (link,) = alert["state"].values()
    state = platform.pgir.states.collection.find_one({"_id": link})
    (facts,) = (value["body"] for value in state["computed"].values())
    assert facts["last_band"] == "J"
    # J = 10.176 (Vega) in the packet.
    assert facts["last_mag"] == pytest.approx(10.176 + 0.91, abs=1e-5)
    result = platform.pgir.results.collection.find_one({"link": link, "product": "summary"})["result"]
    assert (result["ndet"], result["bands"]) == (facts["n_detections"], ["J"])
    assert result["last_mag_J"] == pytest.approx(facts["last_mag"])
