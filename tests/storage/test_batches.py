"""Batches: begun, done, due to reactions, and the ledger of packets."""

from datetime import UTC, datetime
from typing import Any

import pytest

from ampel_dagster.storage.batches import LEDGER_KEYS, Batches
from ampel_dagster.storage.store import Store

NIGHT, NEXT = "2018-08-19", "2018-08-20"


@pytest.fixture
def batches(store: Store) -> Batches:
    return store.batches


def begin(batches: Batches, id_: int, run: str = "run", mode: Any = "live") -> None:
    batches.open(id_, "ingest", "ztf", mode, {"run": run})


def close(batches: Batches, id_: int, state: str = "done", **more: Any) -> None:
    facts: dict[str, Any] = {
        "counts": {},
        "sources": {},
        "nights": [NIGHT],
        "touched": {"A": [1]},
        "due": ["p|A"],
        **more,
    }
    batches.close(id_, state, **facts)


def announce(batches: Batches, id_: int, touched: dict[str, list[int]], due: list[str], mode: Any = "live") -> None:
    meta = {"run": "t2", "ts": datetime(2018, 8, 19, tzinfo=UTC)}
    batches.announce(id_, "t2", "ztf", mode, [NIGHT], touched, meta, [], due)


def new(batches: Batches, process: str = "p", channel: str = "A", survey: str = "ztf") -> list[int]:
    return [batch["_id"] for batch in batches.unhandled(process, channel, survey)]


def test_batch_is_open_until_it_is_done(batches: Batches) -> None:
    begin(batches, 1)
    assert batches.states([1, 2]) == {1: "open"}
    assert [batch["_id"] for batch in batches.left_open()] == [1]
    assert batches.of_run("run", "ingest") == []
    close(batches, 1)
    assert batches.states([1]) == {1: "done"}
    assert batches.left_open() == []
    (batch,) = batches.of_run("run", "ingest")
    assert (batch["touched"], batch["nights"], batch["mode"]) == ({"A": [1]}, [NIGHT], "live")
    assert batches.of_run("run", "t2") == batches.of_run("another", "ingest") == []
    assert batches.states([]) == {}


def test_open_batch_is_nobodys_news(batches: Batches) -> None:
    begin(batches, 1)
    assert new(batches) == []
    close(batches, 1)
    assert new(batches) == [1]
    begin(batches, 1, run="again")
    assert new(batches) == []
    close(batches, 1)
    assert new(batches) == [1]


def test_batch_whose_states_are_to_come_is_nobodys_news(batches: Batches) -> None:
    for id_, nights, touched in ((1, [NIGHT], {"A": [1]}), (2, [NEXT], {"A": [1]}), (3, [NIGHT], {"B": [1]})):
        begin(batches, id_)
        close(batches, id_, "stored", nights=nights, touched=touched)
    assert new(batches) == []
    assert sorted(batches.stored("ztf", ["A"], [NIGHT, NEXT])) == [1, 2]
    assert sorted(batches.stored("ztf", ["A", "B"], [NIGHT])) == [1, 3]
    assert batches.stored("lsst", ["A"], [NIGHT]) == []
    assert batches.stored("ztf", [], [NIGHT]) == []
    assert batches.finish_stored([1, 99]) == 1
    assert new(batches) == [1]
    assert batches.finish_stored([1]) == 0


def test_batch_is_due_to_each_process_and_channel_until_that_has_handled_it(batches: Batches) -> None:
    begin(batches, 1)
    close(batches, 1, touched={"A": [1], "B": [2]}, due=["p|A", "q|A", "p|B"])
    announce(batches, 2, {"A": [1]}, ["p|A"])
    assert [new(batches, *who) for who in (("p", "A"), ("q", "A"), ("p", "B"), ("q", "B"))] == [[2, 1], [1], [1], []]
    assert new(batches, survey="lsst") == []
    batches.handled([1, 2], "p", "A")
    batches.handled([1], "p", "A")
    assert [new(batches, *who) for who in (("p", "A"), ("q", "A"), ("p", "B"))] == [[], [1], [1]]


def test_news_holds_the_stocks_of_its_channel_only(batches: Batches) -> None:
    announce(batches, 1, {"A": [1, 2], "SECRET": [3]}, ["p|A"])
    (batch,) = batches.unhandled("p", "A", "ztf")
    assert batch["touched"] == {"A": [1, 2]}
    assert "SECRET" not in repr(batch)


def test_news_comes_in_the_order_in_which_it_was_finished(batches: Batches) -> None:
    for id_ in (3, 1, 2):
        begin(batches, id_)
    for id_ in (2, 3, 1):
        close(batches, id_)
    stamps = {d["_id"]: d["done_ts"] for d in batches.collection.find()}
    assert new(batches) == sorted(stamps, key=lambda id_: (stamps[id_], id_))


def test_live_stocks_of_a_night(batches: Batches) -> None:
    for id_, mode, nights, touched in (
        (1, "live", [NIGHT], {"A": [1, 2], "B": [3]}),
        (2, "archive", [NIGHT], {"A": [4]}),
        (3, "live", [NEXT], {"A": [5]}),
        (4, "live", [NIGHT, NEXT], {"A": [6]}),
    ):
        begin(batches, id_, mode=mode)
        close(batches, id_, nights=nights, touched=touched)
    announce(batches, 5, {"A": [7]}, [])  # results are no alerts
    assert batches.live_stocks("ztf", "A", NIGHT) == {1, 2, 6}
    assert batches.live_stocks("ztf", "B", NIGHT) == {3}
    assert batches.live_stocks("lsst", "A", NIGHT) == set()


def test_ledger_adds_up_by_source(batches: Batches) -> None:
    def count(*numbers: int) -> dict[str, int]:
        return dict(zip(LEDGER_KEYS, numbers, strict=True))

    begin(batches, 1)
    close(batches, 1, sources={"a.tar": count(10, 4, 1, 3, 2), "b.tar": count(5, 5, 0, 0, 0)})
    begin(batches, 2)
    close(batches, 2, sources={"a.tar": count(7, 0, 7, 0, 0)}, nights=[NEXT])
    begin(batches, 3)
    announce(batches, 4, {"A": [1]}, [])
    rows = [{key: row[key] for key in ("source", *LEDGER_KEYS)} for row in batches.ledger("ztf", [])]
    assert rows == [{"source": "a.tar", **count(17, 4, 8, 3, 2)}, {"source": "b.tar", **count(5, 5, 0, 0, 0)}]
    assert [row["read"] for row in batches.ledger("ztf", [NEXT])] == [7]
    assert batches.ledger("lsst", []) == []
