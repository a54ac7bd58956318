"""Tickets that cannot be computed now: put off, taken up again, at last given up; and woken by what they wait for."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from threading import Event
from typing import Any, ClassVar

import pytest

from ampel_dagster.model.codes import DocumentCode
from ampel_dagster.model.datapoint import DataPoint
from ampel_dagster.model.errors import TryLaterError
from ampel_dagster.model.run import utc_now
from ampel_dagster.model.stock import State
from ampel_dagster.pipeline.t2_augment import augment, write_results
from ampel_dagster.units.base import StateUnit, T2Return, Tied
from ampel_dagster.units.bound import Limits, Product


def away(after_s: float | None = None) -> Callable[..., T2Return]:
    def answer(*_: Any) -> T2Return:
        raise TryLaterError("the map server does not answer", after_s)

    return answer


def becomes_due(world: Any) -> None:
    world.store.database["ztf.ticket"].update_many(
        {"due": {"$exists": True}}, {"$set": {"due": utc_now() - timedelta(seconds=1)}}
    )


def test_unit_that_asks_for_it_is_called_again_when_the_time_has_come(world: Any) -> None:
    product = world.product(away(after_s=600))
    world.ingest(world.rules("A", product), world.star(0))
    before = utc_now()
    assert world.compute(product).counts["postponed"] == 1
    (ticket,) = world.t2(product)
    assert (ticket["code"], ticket["attempts"]) == (DocumentCode.RERUN_REQUESTED, 1)
    assert ticket["error"] == {"message": "the map server does not answer"}
    assert timedelta(seconds=599) < ticket["due"] - before < timedelta(seconds=660)
    assert world.compute(product).counts == {}  # too early
    becomes_due(world)
    back = replace(product, unit=world.product(lambda *_: {"n": 1}).unit)
    assert world.compute(back).counts["computed"] == 1
    (document,) = world.t2(product)
    assert (document["code"], document["result"], document["attempts"]) == (0, {"n": 1}, 2)
    assert "error" not in document


def test_waiting_time_doubles_and_at_last_the_ticket_is_given_up(world: Any) -> None:
    product = replace(world.product(away()), limits=Limits(attempts=4, retry_after_s=100))
    world.ingest(world.rules("A", product), world.star(0))
    waits = []
    for _ in range(3):
        before = utc_now()
        assert world.compute(product).counts["postponed"] == 1
        waits.append((world.t2(product)[0]["due"] - before).total_seconds())
        becomes_due(world)
    # Within a fifth of 100, 200, 400 s.
    assert all(
        0.8 * expected <= wait <= 1.2 * expected + 60 for wait, expected in zip(waits, (100, 200, 400), strict=True)
    )
    assert waits == sorted(waits)
    assert world.compute(product).counts["failed"] == 1
    (document,) = world.t2(product)
    assert document["code"] == DocumentCode.TOO_MANY_TRIALS
    assert document["error"]["message"] == "after 4 attempts: RERUN_REQUESTED: the map server does not answer"
    becomes_due(world)
    assert world.compute(product).counts == {}


def test_state_that_is_not_there_yet_is_tried_again(world: Any) -> None:
    """As where a replica of the database lags behind."""
    product = world.product(lambda state, *_: {"n": len(state.dps)})
    world.ingest(world.rules("A", product), world.star(0))
    states = world.store.database["ztf.t1"]
    (state,) = states.find()
    states.delete_many({})
    assert world.compute(product).counts["postponed"] == 1
    assert world.t2(product)[0]["code"] == DocumentCode.UNKNOWN_LINK
    states.insert_one(state)
    becomes_due(world)
    assert world.compute(product).counts["computed"] == 1


class Base(StateUnit):
    needs: ClassVar[tuple[str, ...] | None] = ()
    fail: bool = False

    def process(self, state: State, points: Sequence[DataPoint], tied: Tied) -> T2Return:
        if self.fail:
            raise ValueError("no")
        return {"n": len(state.dps)}


class Upper(StateUnit):
    needs: ClassVar[tuple[str, ...] | None] = ()
    requires: ClassVar[tuple[str, ...]] = ("Base",)

    def process(self, state: State, points: Sequence[DataPoint], tied: Tied) -> T2Return:
        return {"twice": 2 * tied["Base"]["n"]}


BASE = Product("base", Base())
UPPER = Product("upper", Upper(), (BASE,))


def test_who_writes_a_result_wakes_those_that_wait_for_it(world: Any) -> None:
    """Another run over the lower product alone, as of its asset."""
    world.ingest(world.rules("A", UPPER), world.star(0), world.star(1))
    assert world.compute(UPPER).counts["waiting"] == 2
    world.compute(BASE, known=[BASE, UPPER])
    assert [d["code"] for d in world.t2(UPPER)] == [DocumentCode.NEW] * 2
    assert world.ztf.tickets.pending({UPPER.id: [BASE.id]}) == {UPPER.id: 2}


def test_result_that_comes_between_looking_and_giving_back(world: Any) -> None:
    world.ingest(world.rules("A", UPPER), world.star(0))
    work = world.augmentation(UPPER)
    found = next(augment(work))
    assert len(found.waiting) == 1
    world.compute(BASE, known=[BASE, UPPER])  # finds nobody who waits
    write_results(work, found)
    assert [d["code"] for d in world.t2(UPPER)] == [DocumentCode.NEW]


def test_mended_dependency_mends_what_builds_upon_it(world: Any) -> None:
    broken = replace(BASE, unit=Base(fail=True))
    world.ingest(world.rules("A", UPPER), world.star(0))
    world.compute(replace(broken, requires=()), replace(UPPER, requires=(broken,)))
    # Other configuration, other product: here it is the code that was wrong.
    mended = replace(broken, unit=_mended(broken.unit))
    upper = replace(UPPER, requires=(mended,))
    assert mended.id == broken.id
    world.store.database["ztf.ticket"].delete_many({})
    world.ingest(world.rules("B", replace(UPPER, requires=(broken,))), world.star(0))
    world.compute(broken, replace(UPPER, requires=(broken,)))
    assert world.t2(replace(UPPER, requires=(broken,)))[0]["code"] == DocumentCode.FAILED_DEPENDENCY
    world.ztf.tickets.reset({"product_id": broken.id})
    world.compute(mended, upper)
    assert world.t2(upper)[0]["result"] == {"twice": 2}


def _mended(unit: Base) -> Base:
    class Mended(Base):
        def process(self, state: State, points: Sequence[DataPoint], tied: Tied) -> T2Return:
            return {"n": len(state.dps)}

    Mended.__name__ = "Base"
    return Mended(fail=unit.fail)


def test_worker_that_is_alive_keeps_its_tickets(world: Any) -> None:
    """A batch that takes longer than its lease is not taken up by another."""
    renewed, seen = Event(), []
    tickets = world.ztf.tickets
    renew = type(tickets).renew

    def answer(*_: Any) -> T2Return:
        assert renewed.wait(60)
        seen.extend(tickets.claim(product.id, "another", 10, 600, {}))
        return {}

    def renewing(self: Any, held: Any, lease_s: float) -> None:
        renew(self, held, 600)
        renewed.set()

    product = world.product(answer)
    world.ingest(world.rules("A", product), world.star(0))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(tickets), "renew", renewing)
        world.compute(product, lease_s=0.3)
    assert seen == []
    assert world.t2(product)[0]["code"] == 0
    assert world.t2(product)[0]["attempts"] == 1


def test_worker_that_got_stuck_loses_its_tickets(world: Any) -> None:
    from ampel_dagster.pipeline.t2_lease import Leases

    product = world.product(lambda *_: {})
    world.ingest(world.rules("A", product), world.star(0))
    held = world.ztf.tickets.claim(product.id, "stuck", 10, -1, {})
    leases = Leases(world.ztf.tickets, 600, stuck_s=-1)
    leases.hold(held)
    assert leases.renew() is False
    assert len(world.ztf.tickets.claim(product.id, "another", 10, 600, {})) == 1
