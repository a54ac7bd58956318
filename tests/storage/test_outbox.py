"""The outbox: an effect is reserved by one, and what is known of it is said."""

from datetime import UTC, datetime
from typing import Any

import pytest

from ampel_dagster.storage.outbox import Outbox, outbox_id
from ampel_dagster.storage.store import Store

PAST, FUTURE = datetime(2018, 8, 19, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)


@pytest.fixture
def outbox(store: Store) -> Outbox:
    return store.outbox


def effect(id_: int, process: str = "p", channel: str = "A", second: int = 0, run: str = "run") -> dict[str, Any]:
    ts = datetime(2018, 8, 19, 0, 0, second, tzinfo=UTC)
    where = {"survey": "ztf", "stock": id_ % 2, "link": id_}
    return {"_id": id_, "process": process, "channel": channel, "unit": "Post", **where, "meta": {"run": run, "ts": ts}}


def test_effect_is_named_by_who_does_what_to_which_object_in_which_state() -> None:
    base: tuple[Any, ...] = ("p", "Post", "A", "ztf", 1, 2)
    changed = [("q", "Post", "A", "ztf", 1, 2), ("p", "Mail", "A", "ztf", 1, 2), ("p", "Post", "B", "ztf", 1, 2)]
    changed += [("p", "Post", "A", "lsst", 1, 2), ("p", "Post", "A", "ztf", 2, 2), ("p", "Post", "A", "ztf", 1, 3)]
    assert outbox_id(*base) == outbox_id(*base)
    assert len({outbox_id(*base), *(outbox_id(*other) for other in changed)}) == 7


def test_who_reserves_first_has_it(outbox: Outbox) -> None:
    assert outbox.reserve([effect(1), effect(2)]) == {1, 2}
    assert outbox.reserve([effect(2, run="later"), effect(3)]) == {3}
    assert outbox.reserve([]) == set()
    found = outbox.states([1, 2, 3, 4])
    assert {id_: (d["state"], d["meta"]["run"]) for id_, d in found.items()} == {
        1: ("reserved", "run"),
        2: ("reserved", "run"),
        3: ("reserved", "run"),
    }


def test_confirmed_stays_confirmed(outbox: Outbox) -> None:
    outbox.reserve([effect(1), effect(2)])
    outbox.confirm([1], {"answer": "thanks"})
    outbox.confirm([], {"answer": "nobody"})
    assert outbox.reserve([effect(1)]) == set()
    assert outbox.mark_unknown([1, 2]) == 1
    assert {id_: d["state"] for id_, d in outbox.states([1, 2]).items()} == {1: "confirmed", 2: "unknown"}
    assert outbox.list(state="confirmed")[0]["receipt"] == {"answer": "thanks"}


def test_failure_is_unknown_with_its_reason_until_it_is_confirmed(outbox: Outbox) -> None:
    outbox.reserve([effect(1)])
    outbox.fail(1, "TimeoutError: no answer")
    (document,) = outbox.list("p", "unknown")
    assert document["error"] == "TimeoutError: no answer"
    outbox.confirm([1], {"answer": "here"})
    (document,) = outbox.list()
    assert (document["state"], "error" in document) == ("confirmed", False)


def test_counts_and_lists(outbox: Outbox) -> None:
    outbox.reserve([effect(1, second=1), effect(2, second=3), effect(3, "q", second=2), effect(4, channel="B")])
    outbox.confirm([2], {})
    assert outbox.count() == {"p": 3, "q": 1}
    assert outbox.count_by_state("p", "A") == {"reserved": 1, "confirmed": 1}
    assert outbox.count_by_state("r", "A") == {}
    assert [d["_id"] for d in outbox.list()] == [2, 3, 1, 4]
    assert [d["_id"] for d in outbox.list("p", "reserved")] == [1, 4]
    assert [d["_id"] for d in outbox.of_stock("ztf", 1)] == [1, 3]
    assert outbox.of_stock("lsst", 1) == []


# --- reservations that end, effects that are sent again


def test_a_reservation_is_its_runs_until_its_time_is_over(outbox: Outbox) -> None:
    outbox.reserve([effect(1), effect(2)], FUTURE)
    outbox.reserve([effect(3)], PAST)
    assert outbox.mark_unknown([1, 2, 3]) == 1
    outbox.renew([1], PAST)
    assert outbox.claim(1, ("unknown", "reserved"), {"run": "later"}, FUTURE)
    assert not outbox.claim(1, ("unknown", "reserved"), {"run": "even later"}, FUTURE)
    assert not outbox.claim(2, ("unknown", "reserved"), {"run": "later"}, FUTURE)
    assert outbox.claim(3, ("unknown", "reserved"), {"run": "later"}, FUTURE)
    assert {id_: d["meta"]["run"] for id_, d in outbox.states([1, 2, 3]).items()} == {1: "later", 2: "run", 3: "later"}


def test_what_waits_is_the_next_ones(outbox: Outbox) -> None:
    outbox.reserve([effect(1), effect(2), effect(3)], FUTURE)
    outbox.fail(1, "busy", "waiting")
    outbox.fail(2, "no", "refused")
    assert outbox.reserve([effect(1, run="later"), effect(2, run="later"), effect(3, run="later")], FUTURE) == {1}
    found = outbox.list()
    assert {d["_id"]: (d["state"], d["meta"]["run"]) for d in found} == {
        1: ("reserved", "later"),
        2: ("refused", "run"),
        3: ("reserved", "run"),
    }


def test_sending_again_leaves_live_reservations_alone(outbox: Outbox) -> None:
    outbox.reserve([effect(n) for n in range(1, 6)], FUTURE)
    outbox.confirm([1], {"answer": "ok"})
    outbox.fail(2, "no answer")
    outbox.fail(3, "no", "refused")
    outbox.renew([4], PAST)
    assert outbox.resend([1, 2, 3, 4, 5]) == 4
    assert {id_: d["state"] for id_, d in outbox.states([1, 2, 3, 4, 5]).items()} == {
        **dict.fromkeys((1, 2, 3, 4), "waiting"),
        5: "reserved",
    }


def test_lists_by_time_and_place(outbox: Outbox) -> None:
    outbox.reserve([effect(1, second=1), effect(2, second=3), effect(3, channel="B", second=5)])
    assert [d["_id"] for d in outbox.list(since=datetime(2018, 8, 19, 0, 0, 3, tzinfo=UTC))] == [3, 2]
    assert [d["_id"] for d in outbox.list(channel="A", stock=1, night=None)] == [1]


def message(key: str) -> dict[str, Any]:
    return {"key": key, "at": PAST, "before": ""}


def test_what_is_settled_about_a_message_stays_until_nothing_can_have_arrived(outbox: Outbox) -> None:
    outbox.reserve([effect(1)])
    assert (outbox.message(1), outbox.message(2)) == (None, None)
    outbox.settle(1, message("one"))
    outbox.fail(1, "TimeoutError: no answer")
    outbox.resend([1])
    outbox.reserve([effect(1, run="later")])
    assert outbox.message(1) == message("one")
    outbox.fail(1, "503", "waiting", unsettle=True)
    assert outbox.message(1) is None


def test_keys_are_of_what_arrived_for_one_process_unit_channel_and_stock(outbox: Outbox) -> None:
    outbox.reserve([effect(1), effect(3), effect(5), effect(7, process="q"), effect(9, channel="B"), effect(2)])
    for id_ in (1, 3, 7, 9, 2):
        outbox.settle(id_, message(f"key {id_}"))
    outbox.confirm([1, 5, 7, 9, 2], {"answer": "thanks"})
    assert outbox.keys_told("p", "Post", "A", "ztf", 1) == {1: "key 1"}
    outbox.confirm([3], {"answer": "thanks"})
    assert outbox.keys_told("p", "Post", "A", "ztf", 1) == {1: "key 1", 3: "key 3"}
    assert outbox.keys_told("p", "Mail", "A", "ztf", 1) == {}
