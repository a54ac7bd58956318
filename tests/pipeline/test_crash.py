"""Processes that are killed at any write, and processes that work at the same: the documents are always the same."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from ampel_dagster.storage.batches import LEDGER_KEYS
from ampel_dagster.testing import encode_packet, make_alert, make_detection, make_limit, write_archive

JD = 2458349.7
KILLED = -signal.SIGKILL
ALL_AND_FEW = ("ALL", "FEW")
Ingest = Callable[..., list[int]]


@pytest.fixture(scope="module")
def worker() -> Iterator["subprocess.Popen[str]"]:
    """The process that forks."""
    script = Path(__file__).with_name("crash_worker.py")
    with subprocess.Popen([sys.executable, script], stdin=-1, stdout=-1, text=True) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()


@pytest.fixture
def ingest(lab: Any, mongo_uri: str, worker: "subprocess.Popen[str]") -> Ingest:
    """Ingest in other processes, all at the same time; how each of them ended (0: well)."""

    def run(*orders: dict[str, Any]) -> list[int]:
        shared = {
            "uri": mongo_uri,
            "database": lab.store.database.name,
            "batch_size": 3,
            "before": 0,
            "within": 0,
            "apart": False,
        }
        assert worker.stdin is not None
        assert worker.stdout is not None
        worker.stdin.write(json.dumps([{**shared, **order} for order in orders]) + "\n")
        worker.stdin.flush()
        ends: list[int] = json.loads(worker.stdout.readline())
        return ends

    return run


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Packets with everything that can happen to a document."""
    folder = tmp_path_factory.mktemp("packets")
    limit, late = make_limit(jd=JD - 3), make_limit(jd=JD - 2)
    two = [make_detection(jd=JD + 1, tblid=tblid) for tblid in (1, 2)]
    bright = {"mag": 17.0, "cutouts": False}
    newer = {**make_alert(jd=JD, history=[limit], **bright), "schemavsn": "9.0"}
    alerts = [
        make_alert(jd=JD, history=[limit], **bright),
        make_alert(jd=JD + 1, tblid=1, history=[limit], cutouts=False),
        # A point that comes late, and another candidate of an exposure that is known.
        make_alert(jd=JD + 2, history=[limit, late, *two], cutouts=True),
        # An upper limit of two objects.
        make_alert(name="ZTF18aaaaaab", jd=JD + 1, tblid=7, history=[late], cutouts=False),
        make_alert(name="ZTF18aaaaaac", jd=JD + 1, tblid=8, programid=2, cutouts=False),
        # A richer packet of the first alert, and the same packet again.
        newer,
        make_alert(jd=JD + 1, tblid=1, history=[limit], cutouts=False),
    ]
    write_archive(folder / "made.tar.gz", alerts)
    (folder / "broken.avro").write_bytes(encode_packet(newer)[:-100])
    return [str(folder / "made.tar.gz"), str(folder / "broken.avro")]


def content(lab: Any) -> dict[str, Any]:
    """All documents; of the journal what it says, not who said it."""
    fields = ("stock", "channel", "alert", "batch", "action")
    told = {json.dumps([entry[field] for field in fields]) for entry in lab.store.database["journal"].find()}
    return {**lab.content(), "journal": sorted(told)}


def balance(lab: Any) -> list[dict[str, int]]:
    return sorted((d["counts"] for d in lab.content()["batch"].values()), key=str)


@pytest.mark.parametrize("how", ["before", "within"])
@pytest.mark.parametrize(
    ("earlier", "apart"),
    [(False, False), (True, False), (False, True)],
    ids=["at first", "after a channel that took little", "one tier after the other"],
)
def test_killed_at_any_write_and_started_again(
    lab: Any, ingest: Ingest, files: list[str], earlier: bool, apart: bool, how: str
) -> None:
    few = {"paths": files, "channels": ["FEW"], "run": "earlier"}
    order = {"paths": files, "channels": ALL_AND_FEW, "apart": apart}

    def begin() -> None:
        lab.wipe()
        assert not earlier or ingest(few) == [0]

    begin()
    assert ingest({**order, "run": "undisturbed"}) == [0]
    expected = content(lab)
    kinds = ("alert", "rejected", "stock", "t0", "t1", "ticket", "cutout")
    assert min(len(expected[f"ztf.{kind}"]) for kind in kinds) > 0
    for number in count(1):
        begin()
        (end,) = ingest({**order, "run": "killed", how: number})
        if end == 0:
            break
        assert end == KILLED
        assert ingest({**order, "run": "again"}) == [0]
        assert content(lab) == expected, f"killed {how} write {number}"
    assert content(lab) == expected
    assert number > 5


def test_killed_over_and_over(lab: Any, ingest: Ingest, files: list[str]) -> None:
    """Each attempt comes a little further than the one before."""
    order = {"paths": files, "channels": ALL_AND_FEW}
    assert ingest({**order, "run": "undisturbed"}) == [0]
    expected = content(lab)
    lab.wipe()
    for number in count(1):
        (end,) = ingest({**order, "run": f"attempt {number}", "before": 3 + number // 2})
        if end == 0:
            break
    assert number > 5
    assert content(lab) == expected


@pytest.mark.parametrize("number", [6, 7, 10, 13, 15, 18, 20])
@pytest.mark.parametrize("size", [1, 100])
def test_killed_and_started_again_with_other_batches(
    lab: Any, ingest: Ingest, files: list[str], number: int, size: int
) -> None:
    """The packets come again, but in other company: with fewer files, or of a stream that was changed."""
    order = {"paths": files, "channels": ALL_AND_FEW}
    assert ingest({**order, "run": "undisturbed", "batch_size": size}) == [0]
    expected = without_batches(lab)
    lab.wipe()
    assert ingest({**order, "run": "killed", "before": number}) == [KILLED]
    assert ingest({**order, "run": "again", "batch_size": size}) == [0]
    found = without_batches(lab)
    # In smaller batches the first alerts see points that the killed run left: no state is made of those without them.
    names = set(expected) - ({"ztf.t1", "ztf.ticket"} if size == 1 else set())
    assert {name: found[name] for name in names} == {name: expected[name] for name in names}
    assert {link for alert in found["ztf.alert"].values() for link in alert["state"].values()} <= set(found["ztf.t1"])
    # It is settled now: the packets are known.
    before = lab.raw()
    assert ingest({**order, "run": "once more", "batch_size": size}) == [0]
    assert lab.raw() == before
    # What the first run left open is closed: its packets are accounted for in the batches of the second.
    batches = lab.content()["batch"].values()
    assert {d["state"] for d in batches} == {"done"}
    assert [d["taken_over"] for d in batches if "taken_over" in d] == ["again"]
    assert sum(d["counts"]["new"] for d in batches) == len(found["ztf.alert"])
    assert all(d["counts"]["read"] == sum(d["counts"][key] for key in LEDGER_KEYS[1:]) for d in batches)


def test_a_batch_left_open_stays_so_until_all_of_it_was_read_by_its_channels(
    lab: Any, ingest: Ingest, files: list[str]
) -> None:
    order = {"paths": files, "channels": ALL_AND_FEW}
    assert ingest({**order, "run": "killed", "before": 12, "batch_size": 100}) == [KILLED]
    (left,) = lab.store.batches.left_open()
    assert sorted((s["source"], s["first"], s["last"]) for s in left["holds"]) == [
        ("broken.avro", 0, 0),
        ("made.tar.gz", 0, 6),
    ]
    # One channel alone, and one file alone.
    assert ingest({**order, "channels": ["ALL"], "run": "one channel"}) == [0]
    assert ingest({**order, "paths": files[:1], "run": "one file"}) == [0]
    assert [d["_id"] for d in lab.store.batches.left_open()] == [left["_id"]]
    assert ingest({**order, "run": "all", "batch_size": 1}) == [0]
    assert lab.store.batches.left_open() == []
    assert lab.content()["batch"][left["_id"]]["taken_over"] == "all"


def test_two_processes_at_once_end_with_the_documents_of_one(lab: Any, ingest: Ingest, data: Path) -> None:
    night, one, other = (
        str(data / "ztf" / name)
        for name in ("ztf_public_20180819_mod1000.tar.gz", "ZTF18acruwxq.tar.gz", "ZTF18abxhyqv.tar.gz")
    )
    shared = {"channels": ALL_AND_FEW, "batch_size": 5}
    assert ingest({**shared, "paths": [night, one, other], "run": "one"}) == [0]
    expected = without_batches(lab)
    for _ in range(3):
        lab.wipe()
        ends = ingest(
            {**shared, "paths": [night, one], "run": "a"},
            {**shared, "paths": [night, other], "run": "b"},
            {**shared, "paths": [night], "run": "c"},
        )
        assert ends == [0, 0, 0]
        assert without_batches(lab) == expected
        for counts in balance(lab):
            assert counts["read"] == sum(counts[key] for key in ("new", "known", "rejected", "quarantined"))


def without_batches(lab: Any) -> dict[str, Any]:
    """All documents, but for how the packets were cut into batches, and for which of several came first."""
    found = lab.content("source", "joined")
    del found["batch"]
    for name in ("alert", "rejected"):
        for alert in found[f"ztf.{name}"].values():
            for verdict in alert["verdict"].values():
                del verdict["batch"]
    return dict(found)
