"""Tickets: taken by one worker at a time, given back, woken, reset; results stay until there are better ones."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from ampel_dagster.model.codes import DocumentCode
from ampel_dagster.model.run import utc_now
from ampel_dagster.storage.store import Store
from ampel_dagster.storage.tickets import Outcome, Ticket, Tickets, in_partitions

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
                "body": [],
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
    assert (found["code"], found["attempts"], found["lease"]["run"]) == (RUNNING, 1, "me")
    assert first[0].token == first[1].token != second[0].token


@pytest.mark.parametrize(
    ("code", "free"),
    [
        (NEW, True),
        (RERUN, True),
        (PENDING, False),  # until it is woken
        (DocumentCode.OK, False),
        (7, False),
        (DocumentCode.EXCEPTION, False),
        (DocumentCode.ERROR, False),
        (DocumentCode.TOO_MANY_TRIALS, False),
        (DocumentCode.FAILED_DEPENDENCY, False),
    ],
)
def test_codes_that_are_free(tickets: Tickets, code: int, free: bool) -> None:
    put(tickets, 1, code=code)
    assert bool(claim(tickets)) is free
    assert document(tickets)["code"] == (RUNNING if free else code)


def test_lease_that_ran_out_frees_the_ticket(tickets: Tickets) -> None:
    put(tickets, 1, 2)
    assert ids(claim(tickets, lease_s=-1, size=1)) == [1]
    assert ids(claim(tickets)) == [2]  # those that no worker died of come first
    assert ids(claim(tickets)) == [1]
    assert claim(tickets) == []
    assert document(tickets)["attempts"] == 2


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
    body = [{"version": "1"}, {"version": "2"}]
    put(tickets, 41, channel=["A", "B"], body=body, digest=99, attempts=2)
    (ticket,) = claim(tickets)
    assert (ticket.stock, ticket.input, ticket.link, ticket.channel) == (1, 41, 41, ("A", "B"))
    assert (ticket.nights, ticket.attempts, ticket.versions, ticket.digest) == (("2018-08-19",), 3, ("1", "2"), 99)


# --- outcomes


def test_result_becomes_the_newest(tickets: Tickets) -> None:
    put(tickets, 1)
    finish(tickets, outcome(*claim(tickets), code=3, result={"n": 7}, tags=("SN",), digest=8), run="run 1")
    found = document(tickets)
    assert (found["code"], found["result"], found["digest"], found["tag"], found["unit"], found["version"]) == (
        3,
        {"n": 7},
        8,
        ["SN"],
        "Probe",
        "1",
    )
    assert found["meta"]["run"] == "run 1"
    assert [(e["version"], e["code"], e["result"]) for e in found["body"]] == [("1", 3, {"n": 7})]
    assert "lease" not in found
    assert "error" not in found


def test_result_of_the_same_version_gives_way_and_another_stands_beside(tickets: Tickets) -> None:
    put(tickets, 1)
    for version, result in (("1", "a"), ("2", "b"), ("1", "c")):
        tickets.reset({})
        finish(tickets, outcome(*claim(tickets), result={"v": result}), version=version)
    found = document(tickets)
    assert [(e["version"], e["result"]["v"]) for e in found["body"]] == [("1", "c"), ("2", "b")]
    assert (found["version"], found["result"]) == ("1", {"v": "c"})


def test_failure_keeps_the_result_and_success_forgets_the_failure(tickets: Tickets) -> None:
    put(tickets, 1)
    finish(tickets, outcome(*claim(tickets), result={"n": 1}))
    tickets.reset({})
    failure = {"message": "no", "traceback": "line 1"}
    finish(tickets, outcome(*claim(tickets), code=DocumentCode.EXCEPTION, error=failure), version="2")
    found = document(tickets)
    assert (found["code"], found["error"], found["result"], found["version"], len(found["body"])) == (
        DocumentCode.EXCEPTION,
        failure,
        {"n": 1},
        "1",
        1,
    )
    tickets.reset({})
    assert "error" not in document(tickets)
    finish(tickets, outcome(*claim(tickets), result={"n": 2}), version="2")
    assert document(tickets)["result"] == {"n": 2}


def test_outcome_of_a_claim_that_was_lost_is_dropped(tickets: Tickets) -> None:
    put(tickets, 1, 2)
    late = claim(tickets, lease_s=-1)
    now = [ticket for _ in range(2) for ticket in claim(tickets, size=1)]
    finish(tickets, *(outcome(ticket, result={"by": "late"}) for ticket in late))
    assert {document(tickets, id_)["code"] for id_ in (1, 2)} == {RUNNING}
    finish(tickets, *(outcome(ticket, result={"by": "now"}) for ticket in now))
    finish(tickets, *(outcome(ticket, result={"by": "late"}) for ticket in late))
    assert [document(tickets, id_)["result"] for id_ in (1, 2)] == [{"by": "now"}] * 2


def test_outcome_that_cannot_be_stored_stays_claimed_and_is_told(tickets: Tickets) -> None:
    put(tickets, 1, 2)
    first, second = sorted(claim(tickets))
    refused = tickets.finish(
        [outcome(first, result={"x": "\ud800"}), outcome(second)], UNIT, {"run": "me", "ts": utc_now()}
    )
    assert list(refused) == [1]
    assert [document(tickets, id_)["code"] for id_ in (1, 2)] == [RUNNING, 0]


# --- given back, woken, reset


def test_release_gives_back_and_is_no_attempt(tickets: Tickets) -> None:
    put(tickets, 1, 2)
    held = claim(tickets)
    tickets.release([ticket for ticket in held if ticket.id == 1], PENDING)
    found = document(tickets)
    assert (found["code"], found["attempts"]) == (PENDING, 0)
    assert "lease" not in found
    assert document(tickets, 2)["code"] == RUNNING
    assert claim(tickets) == []


def test_wake_frees_what_waits_for_a_dependency_of_one_product(tickets: Tickets) -> None:
    put(tickets, 1, 2, code=PENDING)
    put(tickets, 3, code=DocumentCode.EXCEPTION)
    put(tickets, 4, code=PENDING, product=OTHER)
    assert tickets.wake(PRODUCT) == 2
    assert ids(claim(tickets)) == [1, 2]
    assert document(tickets, 4)["code"] == PENDING


@pytest.mark.parametrize(
    "code", [NEW, PENDING, DocumentCode.EXCEPTION, DocumentCode.TOO_MANY_TRIALS, DocumentCode.OK, 5]
)
def test_reset_makes_any_document_a_ticket_again(tickets: Tickets, code: int) -> None:
    put(tickets, 1, code=code, attempts=5, result={"n": 1}, error={"message": "no"}, lease={"token": 1})
    assert tickets.reset({"product_id": PRODUCT}) == 1
    found = document(tickets)
    assert (found["code"], found["attempts"], found["result"]) == (NEW, 0, {"n": 1})
    assert not {"lease", "error"} & set(found)
    assert ids(claim(tickets)) == [1]


def test_reset_is_of_what_was_asked_for(tickets: Tickets) -> None:
    put(tickets, 1, 2, code=DocumentCode.OK)
    put(tickets, 13, code=DocumentCode.EXCEPTION)
    assert tickets.reset({"code": DocumentCode.EXCEPTION.value}) == 1
    assert tickets.reset({"stock": 2}) == 1
    assert [document(tickets, id_)["code"] for id_ in (1, 2, 13)] == [0, NEW, NEW]


@pytest.mark.parametrize(
    ("code", "after"),
    [
        (DocumentCode.OK, RERUN),
        (4, RERUN),
        (DocumentCode.EXCEPTION, RERUN),
        (DocumentCode.FAILED_DEPENDENCY, RERUN),
        (RUNNING, RERUN),
        (NEW, NEW),
        (RERUN, RERUN),
        (PENDING, PENDING),
        (DocumentCode.TOO_MANY_TRIALS, DocumentCode.TOO_MANY_TRIALS),
    ],
)
def test_new_alert_asks_for_a_new_result(tickets: Tickets, code: int, after: int) -> None:
    put(tickets, 1, 2, code=code, attempts=3, result={"n": 1})
    tickets.request_rerun([1])
    tickets.request_rerun([])
    found = document(tickets)
    assert (found["code"], found["result"]) == (after, {"n": 1})
    assert found["attempts"] == (0 if after == RERUN != code else 3)
    assert document(tickets, 2)["code"] == code


# --- looking


def test_pending_are_those_that_could_be_taken_up(tickets: Tickets) -> None:
    put(tickets, 1, code=NEW)
    put(tickets, 2, code=RERUN)
    put(tickets, 3, code=PENDING)
    put(tickets, 4, code=DocumentCode.OK)
    put(tickets, 5, 6, product=OTHER)
    claim(tickets, product=OTHER, size=1, lease_s=600)
    claim(tickets, product=OTHER, size=1, lease_s=-1)
    assert tickets.pending({PRODUCT: "p", OTHER: "o", 99: "none"}) == {"p": 3, "o": 1, "none": 0}


def test_stocks_that_wait(tickets: Tickets) -> None:
    for id_, code in enumerate((NEW, RERUN, PENDING, RUNNING, DocumentCode.OK, DocumentCode.EXCEPTION)):
        put(tickets, id_, code=code)
    put(tickets, 7, channel=["B"])
    put(tickets, 8, product=OTHER)
    stocks = range(10)
    assert tickets.stocks_with_open(stocks, "A", [PRODUCT]) == {0, 1, 2, 3}
    assert tickets.stocks_with_open(stocks, "B", [PRODUCT]) == {7}
    assert tickets.stocks_with_open(stocks, "A", [PRODUCT, OTHER]) == {0, 1, 2, 3, 8}
    assert tickets.stocks_with_open([1, 4], "A", [PRODUCT]) == {1}
    assert tickets.stocks_with_open(stocks, "A", []) == set()


def test_counts_by_product_and_code(tickets: Tickets) -> None:
    put(tickets, 1, 2, code=0)
    put(tickets, 3, code=DocumentCode.EXCEPTION)
    put(tickets, 4, code=9, product=OTHER)
    assert tickets.count_by_code() == {PRODUCT: {0: 2, -4: 1}, OTHER: {9: 1}}
    assert tickets.count_by_code({"stock": 3}) == {PRODUCT: {-4: 1}}
    assert tickets.count_by_code({"stock": 99}) == {}


def test_results_by_product_and_input(tickets: Tickets) -> None:
    put(tickets, 1, 2, code=0, result={"n": 1})
    put(tickets, 3, product=OTHER)
    found = tickets.results([PRODUCT, OTHER], [1, 3, 5])
    assert set(found) == {(PRODUCT, 1), (OTHER, 3)}
    assert found[PRODUCT, 1]["result"] == {"n": 1}


def test_leases_are_told_by_the_second(tickets: Tickets) -> None:
    put(tickets, 1)
    before = utc_now()
    claim(tickets, lease_s=600)
    assert timedelta(seconds=600) <= document(tickets)["lease"]["until"] - before < timedelta(seconds=660)
