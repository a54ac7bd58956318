"""Tickets: taken by one worker at a time, given back, woken, reset; results stay until there are better ones."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from ampel_dagster.model.codes import DocumentCode
from ampel_dagster.model.run import utc_now
from ampel_dagster.model.ticket import Outcome, Postponed, Ticket
from ampel_dagster.storage.figures import t2_codes
from ampel_dagster.storage.store import Store
from ampel_dagster.storage.tickets import Tickets, code_now, in_partitions

PRODUCT, OTHER = 11, 12
NEW, RUNNING, PENDING = DocumentCode.NEW, DocumentCode.RUNNING, DocumentCode.PENDING_DEPENDENCY
RERUN = DocumentCode.RERUN_REQUESTED
UNIT = {"unit": "Probe", "version": "1"}


@pytest.fixture
def tickets(store: Store) -> Tickets:
    return store.survey("ztf").tickets


def put(tickets: Tickets, *ids: int, code: int = NEW, product: int = PRODUCT, **more: Any) -> None:
    """Tickets as T1 makes them."""
    tickets.insert(
        [
            {
                "_id": id_,
                "product": f"product{product}",
                "product_id": product,
                "stock": id_ % 10,
                "input": id_,
                "link": id_,
                "night": "2018-08-19",
                "channel": ["A"],
                "code": int(code),
                "attempts": 0,
                **more,
            }
            for id_ in ids
        ]
    )


def claim(
    tickets: Tickets, size: int = 100, lease_s: float = 600, product: int = PRODUCT, **where: Any
) -> list[Ticket]:
    return tickets.claim(product, "me", size, lease_s, where)


def ids(found: Sequence[Ticket]) -> list[int]:
    return sorted(ticket.id for ticket in found)


def document(tickets: Tickets, id_: int = 1) -> dict[str, Any]:
    return tickets.by_id([id_])[id_]


def result(store: Store, id_: int = 1) -> dict[str, Any]:
    return store.survey("ztf").results.by_id([id_])[id_]


def outcome(ticket: Ticket, code: int = 0, result: Any = None, error: Any = None, **more: Any) -> Outcome:
    result = {"n": 1} if result is None and code >= 0 else result
    fields = {"digest": 5, "tags": (), "note": None, "duration_s": 0.5, **more}
    return Outcome(ticket=ticket, code=code, result=result, error=error, **fields)


def finish(tickets: Tickets, *outcomes: Outcome, version: str = "1", run: str = "me") -> None:
    meta = {"run": run, "ts": utc_now(), "config": 1}
    assert tickets.finish(outcomes, {**UNIT, "version": version}, meta) == {}


# --- claim and lease


def test_claim_takes_what_is_free_and_marks_it(tickets: Tickets) -> None:
    put(tickets, 1, 2, 3)
    first = claim(tickets, size=2)
    assert len(first) == 2
    second = claim(tickets)
    assert ids([*first, *second]) == [1, 2, 3]
    assert claim(tickets) == []
    found = document(tickets)
    assert (found["code"], code_now(found), found["attempts"], found["lease"]["run"]) == (NEW, RUNNING, 1, "me")
    assert first[0].token == first[1].token != second[0].token


@pytest.mark.parametrize(
    ("code", "free"),
    [
        (NEW, True),
        (RERUN, True),
        (DocumentCode.NEW_PRIO, True),
        (DocumentCode.UNKNOWN_LINK, True),
        (DocumentCode.MISSING_INFO, True),
        (DocumentCode.MISSING_DEPENDENCY, True),
        (PENDING, False),  # until it is woken
    ],
)
def test_codes_that_are_free(tickets: Tickets, code: int, free: bool) -> None:
    put(tickets, 1, code=code)
    assert bool(claim(tickets)) is free
    assert code_now(document(tickets)) == (RUNNING if free else code)


def test_tickets_with_priority_come_first(tickets: Tickets) -> None:
    put(tickets, 1, 2, 3)
    put(tickets, 9, code=DocumentCode.NEW_PRIO)
    assert ids(claim(tickets, size=1)) == [9]


def test_lease_that_ran_out_frees_the_ticket(tickets: Tickets) -> None:
    put(tickets, 1, 2)
    assert ids(claim(tickets, lease_s=-1, size=1)) == [1]
    assert ids(claim(tickets)) == [2]  # those that no worker died of come first
    assert ids(claim(tickets)) == [1]
    assert claim(tickets) == []
    assert document(tickets)["attempts"] == 2


def test_lease_is_renewed_by_who_holds_it_and_nobody_else(tickets: Tickets) -> None:
    put(tickets, 1, 2)
    held = sorted(claim(tickets, lease_s=-1))
    (mine,) = claim(tickets, size=1)
    tickets.renew(held, 600)
    assert code_now(document(tickets, mine.id)) == RUNNING
    assert document(tickets, mine.id)["lease"]["token"] == mine.token
    assert claim(tickets) == []  # the other one is held again by who had it first
    tickets.renew([mine], -1)
    assert ids(claim(tickets)) == [mine.id]


def test_claim_is_of_one_product_and_of_what_was_asked_for(tickets: Tickets) -> None:
    put(tickets, 1, 2)
    put(tickets, 3, product=OTHER)
    put(tickets, 4, night="2018-08-20", channel=["B"])
    assert ids(claim(tickets, **in_partitions(["B"], ["2018-08-20"]))) == [4]
    assert ids(claim(tickets, product=OTHER)) == [3]
    assert ids(claim(tickets)) == [1, 2]


def test_partitions_of_states_go_by_night_and_of_others_by_membership(tickets: Tickets) -> None:
    put(tickets, 1, channel=["A", "B"])
    put(tickets, 2, channel=["A"], night="2018-08-20")
    members = {"member": ["A|2018-08-19", "B|2018-08-20"], "channel": ["A", "B"]}
    tickets.insert([{"_id": 3, "product_id": PRODUCT, **members}])

    def found(channels: list[str], nights: list[str]) -> list[int]:
        return sorted(d["_id"] for d in tickets.collection.find(in_partitions(channels, nights)))

    assert found(["A"], ["2018-08-19"]) == [1, 3]
    assert found(["B"], ["2018-08-19"]) == [1]  # B's member entry is of the other night
    assert found(["B"], ["2018-08-20"]) == [3]
    assert found(["A", "B"], ["2018-08-19", "2018-08-20"]) == [1, 2, 3]
    assert found(["C"], ["2018-08-19"]) == []


def test_ticket_brings_what_its_computation_needs(tickets: Tickets) -> None:
    put(tickets, 41, channel=["A", "B"], attempts=2)
    (ticket,) = claim(tickets)
    assert (ticket.stock, ticket.input, ticket.link, ticket.channel) == (1, 41, 41, ("A", "B"))
    assert (ticket.nights, ticket.attempts, ticket.versions, ticket.digest) == (("2018-08-19",), 3, (), 0)


def test_ticket_for_a_further_result_knows_of_those_that_are_there(tickets: Tickets) -> None:
    put(tickets, 1)
    for version in ("1", "2"):
        finish(tickets, outcome(*claim(tickets), digest=99), version=version)
        tickets.reset({})
    (ticket,) = claim(tickets)
    assert (ticket.versions, ticket.digest) == (("1", "2"), 99)


# --- outcomes


def test_ticket_becomes_a_result(tickets: Tickets, store: Store) -> None:
    put(tickets, 1)
    finish(tickets, outcome(*claim(tickets), code=3, result={"n": 7}, tags=("SN",), digest=8), run="run 1")
    assert tickets.by_id([1]) == {}
    found = result(store)
    assert (found["code"], found["result"], found["digest"], found["tag"], found["unit"], found["version"]) == (
        3,
        {"n": 7},
        8,
        ["SN"],
        "Probe",
        "1",
    )
    assert (found["stock"], found["input"], found["night"], found["channel"]) == (1, 1, "2018-08-19", ["A"])
    assert found["meta"]["run"] == "run 1"
    assert [(e["version"], e["code"], e["result"]) for e in found["body"]] == [("1", 3, {"n": 7})]
    assert "error" not in found


def test_result_of_the_same_version_gives_way_and_another_stands_beside(tickets: Tickets, store: Store) -> None:
    put(tickets, 1)
    for version, value in (("1", "a"), ("2", "b"), ("1", "c")):
        finish(tickets, outcome(*claim(tickets), result={"v": value}), version=version)
        tickets.reset({})
    found = result(store)
    assert [(e["version"], e["result"]["v"]) for e in found["body"]] == [("1", "c"), ("2", "b")]
    assert (found["version"], found["result"]) == ("1", {"v": "c"})


def test_failure_keeps_the_result_and_success_forgets_the_failure(tickets: Tickets, store: Store) -> None:
    put(tickets, 1)
    finish(tickets, outcome(*claim(tickets), result={"n": 1}))
    tickets.reset({})
    failure = {"message": "no", "traceback": "line 1"}
    finish(tickets, outcome(*claim(tickets), code=DocumentCode.EXCEPTION, error=failure), version="2")
    found = result(store)
    assert (found["code"], found["error"], found["result"], found["version"], len(found["body"])) == (
        DocumentCode.EXCEPTION,
        failure,
        {"n": 1},
        "1",
        1,
    )
    tickets.reset({})
    finish(tickets, outcome(*claim(tickets), result={"n": 2}), version="2")
    assert result(store)["result"] == {"n": 2}
    assert "error" not in result(store)


def test_of_two_outcomes_that_of_the_later_claim_stays(
    tickets: Tickets, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever comes first; and who was thought dead takes no ticket away."""
    put(tickets, 1, 2)
    with monkeypatch.context() as a_minute_ago:
        past = utc_now() - timedelta(minutes=1)
        a_minute_ago.setattr("ampel_dagster.storage.tickets.utc_now", lambda: past)
        late = claim(tickets, lease_s=30)
    now = [ticket for _ in range(2) for ticket in claim(tickets, size=1)]
    finish(tickets, *(outcome(ticket, result={"by": "late"}) for ticket in late))
    assert sorted(tickets.by_id([1, 2])) == [1, 2]
    finish(tickets, *(outcome(ticket, result={"by": "now"}) for ticket in now))
    finish(tickets, *(outcome(ticket, result={"by": "late"}) for ticket in late))
    assert [result(store, id_)["result"] for id_ in (1, 2)] == [{"by": "now"}] * 2
    assert tickets.by_id([1, 2]) == {}


def test_finishing_twice_is_finishing_once(tickets: Tickets, store: Store) -> None:
    """As where the connection broke before the answer came."""
    put(tickets, 1)
    done = outcome(*claim(tickets))
    finish(tickets, done)
    before = result(store)
    finish(tickets, done)
    assert {**result(store), "meta": 0, "body": 0} == {**before, "meta": 0, "body": 0}
    assert len(result(store)["body"]) == 1


@pytest.mark.parametrize("when", ["while it is computed", "when it is done"])
def test_channel_that_joins_is_not_lost(tickets: Tickets, store: Store, when: str) -> None:
    put(tickets, 1)
    (held,) = claim(tickets)
    if when == "while it is computed":
        tickets.add_channels({("B",): [1]})
        tickets.add_members({("B|2018-08-20",): [1]})
    finish(tickets, outcome(held))
    if when == "when it is done":
        tickets.add_channels({("B",): [1]})
        tickets.add_members({("B|2018-08-20",): [1]})
    assert (result(store)["channel"], result(store)["member"]) == (["A", "B"], ["B|2018-08-20"])


def test_outcome_that_cannot_be_stored_stays_claimed_and_is_told(tickets: Tickets, store: Store) -> None:
    put(tickets, 1, 2)
    first, second = sorted(claim(tickets))
    refused = tickets.finish(
        [outcome(first, result={"x": "\ud800"}), outcome(second)], UNIT, {"run": "me", "ts": utc_now()}
    )
    assert list(refused) == [1]
    assert code_now(document(tickets)) == RUNNING
    assert result(store, 2)["code"] == 0
    tickets.reset({"_id": 2})
    again = claim(tickets)
    refused = tickets.finish([outcome(again[0], result={"x": "\ud800"})], UNIT, {"run": "me", "ts": utc_now()})
    assert list(refused) == [2]
    assert result(store, 2)["result"] == {"n": 1}


# --- given back, woken, reset


def test_release_gives_back_and_is_no_attempt(tickets: Tickets) -> None:
    put(tickets, 1, 2)
    held = claim(tickets)
    tickets.release([ticket for ticket in held if ticket.id == 1], PENDING)
    found = document(tickets)
    assert (found["code"], found["attempts"]) == (PENDING, 0)
    assert "lease" not in found
    assert code_now(document(tickets, 2)) == RUNNING
    assert claim(tickets) == []


def test_postponed_ticket_is_taken_up_when_it_is_due(tickets: Tickets) -> None:
    put(tickets, 1, 2)
    now = utc_now()
    due = {1: now + timedelta(hours=1), 2: now - timedelta(hours=1)}
    held = [Postponed(t, DocumentCode.MISSING_INFO, due[t.id], "not yet") for t in claim(tickets)]
    tickets.postpone(held)
    assert (document(tickets)["code"], document(tickets)["attempts"]) == (DocumentCode.MISSING_INFO, 1)
    assert document(tickets)["error"] == {"message": "not yet"}
    assert tickets.pending({PRODUCT: []}) == {PRODUCT: 1}
    assert ids(claim(tickets)) == [2]
    tickets.postpone(held)  # of what others have by now nothing changes
    assert code_now(document(tickets, 2)) == RUNNING


def test_wake_frees_what_waits_for_a_dependency(tickets: Tickets) -> None:
    put(tickets, 1, 2, code=PENDING)
    put(tickets, 3, code=DocumentCode.MISSING_INFO)
    put(tickets, 4, code=PENDING, product=OTHER)
    assert tickets.wake({"product_id": PRODUCT}) == 2
    assert ids(claim(tickets)) == [1, 2, 3]
    assert document(tickets, 4)["code"] == PENDING


@pytest.mark.parametrize("code", [NEW, PENDING, RERUN, DocumentCode.MISSING_INFO])
def test_reset_lets_a_ticket_begin_anew(tickets: Tickets, code: int) -> None:
    later = utc_now() + timedelta(hours=1)
    held = {"token": 1, "until": later, "run": "x"}
    put(tickets, 1, code=code, attempts=5, error={"message": "no"}, lease=held, due=later)
    assert tickets.reset({"product_id": PRODUCT}) == 1
    found = document(tickets)
    assert (found["code"], found["attempts"]) == (NEW, 0)
    assert not {"lease", "error", "due"} & set(found)
    assert ids(claim(tickets)) == [1]


@pytest.mark.parametrize("code", [DocumentCode.EXCEPTION, DocumentCode.TOO_MANY_TRIALS, DocumentCode.OK, 5])
def test_reset_makes_any_result_a_ticket_again(tickets: Tickets, store: Store, code: int) -> None:
    put(tickets, 1)
    finish(tickets, outcome(*claim(tickets), code=code))
    assert tickets.reset({"product_id": PRODUCT}) == 1
    assert result(store)["code"] == RERUN
    assert result(store).get("result") == ({"n": 1} if code >= 0 else None)
    (ticket,) = claim(tickets)
    assert (ticket.id, ticket.attempts, ticket.channel, ticket.nights) == (1, 1, ("A",), ("2018-08-19",))


def test_reset_is_of_what_was_asked_for(tickets: Tickets, store: Store) -> None:
    put(tickets, 1, 2, 13)
    found = {ticket.id: ticket for ticket in claim(tickets)}
    failure = {"message": "no"}
    finish(tickets, outcome(found[1]), outcome(found[2]), outcome(found[13], DocumentCode.EXCEPTION, error=failure))
    assert tickets.reset({"code": DocumentCode.EXCEPTION.value}) == 1
    assert tickets.reset({"stock": 2}) == 1
    assert [result(store, id_)["code"] for id_ in (1, 2, 13)] == [0, RERUN, RERUN]
    assert ids(claim(tickets)) == [2, 13]


def test_what_is_asked_for_while_it_is_computed_is_computed_again(tickets: Tickets, store: Store) -> None:
    """A new alert of the stock: what the worker has read is no longer all that there is."""
    put(tickets, 1)
    (held,) = claim(tickets)
    tickets.take_back([1])
    finish(tickets, outcome(held, result={"n": "old"}))
    (again,) = claim(tickets)
    finish(tickets, outcome(again, result={"n": "new"}))
    assert (result(store)["result"], len(result(store)["body"])) == ({"n": "new"}, 1)


def test_result_that_is_asked_for_while_it_is_computed_again(tickets: Tickets, store: Store) -> None:
    put(tickets, 1)
    finish(tickets, outcome(*claim(tickets)))
    tickets.request_rerun({"_id": 1})
    (held,) = claim(tickets)
    tickets.request_rerun({"_id": 1})
    finish(tickets, outcome(held, result={"n": "old"}))
    (again,) = claim(tickets)
    finish(tickets, outcome(again, result={"n": "new"}))
    assert result(store)["result"] == {"n": "new"}
    assert claim(tickets) == []


# --- looking


def test_pending_are_those_that_could_be_taken_up(tickets: Tickets) -> None:
    put(tickets, 1, code=NEW)
    put(tickets, 2, code=RERUN)
    put(tickets, 3, code=PENDING)
    put(tickets, 5, 6, product=OTHER)
    claim(tickets, product=OTHER, size=1, lease_s=600)
    claim(tickets, product=OTHER, size=1, lease_s=-1)
    assert tickets.pending({PRODUCT: [OTHER], OTHER: [], 99: []}) == {PRODUCT: 2, OTHER: 1, 99: 0}


def test_who_waits_for_a_result_that_nobody_will_compute_is_pending(tickets: Tickets) -> None:
    """Who should have woken it died in between."""
    put(tickets, 3, code=PENDING)
    assert tickets.pending({PRODUCT: [OTHER]}) == {PRODUCT: 1}


def test_stocks_that_wait(tickets: Tickets) -> None:
    for id_, code in enumerate((NEW, RERUN, PENDING)):
        put(tickets, id_, code=code)
    put(tickets, 3)
    finish(tickets, outcome(*(t for t in claim(tickets) if t.id == 3)))
    put(tickets, 7, channel=["B"])
    put(tickets, 8, product=OTHER)
    stocks = range(10)
    assert tickets.stocks_with_open(stocks, "A", [PRODUCT]) == {0, 1, 2}
    assert tickets.stocks_with_open(stocks, "B", [PRODUCT]) == {7}
    assert tickets.stocks_with_open(stocks, "A", [PRODUCT, OTHER]) == {0, 1, 2, 8}
    assert tickets.stocks_with_open([1, 3], "A", [PRODUCT]) == {1}
    assert tickets.stocks_with_open(stocks, "A", []) == set()


def test_counts_by_product_and_code(tickets: Tickets, store: Store) -> None:
    ztf = store.survey("ztf")
    put(tickets, 1, 2, 3)
    put(tickets, 4, product=OTHER)
    one, two, three = sorted(claim(tickets))
    finish(tickets, outcome(one), outcome(two), outcome(three, DocumentCode.EXCEPTION, error={"message": "no"}))
    assert t2_codes(ztf, {}, "product_id") == {PRODUCT: {0: 2, -4: 1}, OTHER: {NEW: 1}}
    assert t2_codes(ztf, {"stock": 3}, "product_id") == {PRODUCT: {-4: 1}}
    assert t2_codes(ztf, {"stock": 99}, "product_id") == {}
    claim(tickets, product=OTHER)
    tickets.reset({"_id": 1})
    # One document that is both: a result, and a ticket for another one.
    assert t2_codes(ztf, {}, "product_id") == {PRODUCT: {0: 1, RERUN: 1, -4: 1}, OTHER: {RUNNING: 1}}


def test_leases_are_told_by_the_second(tickets: Tickets) -> None:
    put(tickets, 1)
    before = utc_now()
    claim(tickets, lease_s=600)
    assert timedelta(seconds=600) <= document(tickets)["lease"]["until"] - before < timedelta(seconds=660)
