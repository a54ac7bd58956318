"""T2 with several workers, and with workers that die: every ticket is computed, and none twice."""

import signal
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Barrier, Lock
from typing import Any, ClassVar

import pytest

from ampel_dagster.model.codes import DocumentCode
from ampel_dagster.model.datapoint import DataPoint
from ampel_dagster.model.run import RunInfo
from ampel_dagster.model.stock import State
from ampel_dagster.pipeline.t2_augment import Augmentation, augment, write_results
from ampel_dagster.pipeline.write_ahead import write_ahead
from ampel_dagster.storage.store import Store
from ampel_dagster.units.base import StateUnit, T2Return, Tied
from ampel_dagster.units.bound import Limits, Product

#: Attempts after which a ticket is given up.
ATTEMPTS = Limits().attempts


class Killed(BaseException):
    """The end of a worker: nothing catches it."""


def leases_run_out(world: Any) -> None:
    past = datetime.now(UTC) - timedelta(seconds=1)
    world.ztf.tickets.collection.update_many({"lease": {"$exists": True}}, {"$set": {"lease.until": past}})


def entries(world: Any) -> list[dict[str, Any]]:
    return list(world.store.database["journal"].find({"tier": 2}))


def test_two_workers_at_once_never_compute_one_ticket_twice(world: Any, mongo_uri: str) -> None:
    computed: list[int] = []
    lock, start = Lock(), Barrier(2)

    def answer(state: State, *_: Any) -> T2Return:
        with lock:
            computed.append(state.link)
        return {}

    product = world.product(answer)
    world.ingest(world.rules("A", product), *(world.star(n % 26, world.jd(n // 26)) for n in range(104)))

    def work(name: str) -> int:
        store = Store.open(mongo_uri, world.store.database.name)
        mine = Augmentation(store, world.instrument, [product], RunInfo(name, 1), {}, size=3)
        start.wait()
        tally = write_ahead(augment(mine), lambda results: write_results(mine, results))
        store.close()
        return tally.counts["computed"]

    with ThreadPoolExecutor(2) as both:
        numbers = list(both.map(work, ("one", "two")))
    assert sum(numbers) == 104
    assert len(computed) == len(set(computed)) == 104
    assert [d["code"] for d in world.t2(product)] == [0] * 104
    assert all(len(d["body"]) == 1 and d["attempts"] == 1 for d in world.t2(product))
    assert len(entries(world)) == 104


def test_worker_that_finds_others_faster_goes_on(world: Any) -> None:
    """Tickets between those that others take are not left behind."""
    product = world.product(lambda *_: {})
    world.ingest(world.rules("A", product), *(world.star(n) for n in range(10)))
    tickets = world.ztf.tickets
    held = [tickets.claim(product.id, "other", 3, 600, {}), tickets.claim(product.id, "other", 3, 600, {})]
    assert world.compute(product, size=2).counts["computed"] == 4
    assert [d["code"] for d in world.t2(product)].count(DocumentCode.RUNNING) == sum(map(len, held)) == 6


def test_worker_of_the_same_name_takes_over_at_once(world: Any) -> None:
    """A step that is started anew in its run; what others hold, in this run or another, stays with them."""
    product = world.product(lambda *_: {})
    world.ingest(world.rules("A", product), *(world.star(n) for n in range(7)))
    for run, worker, size in (("r", "one", 3), ("r", "two", 2), ("other", "one", 1)):
        assert len(world.ztf.tickets.claim(product.id, run, size, 600, {}, worker)) == size
    assert world.compute(product, run="r", worker="one").counts["computed"] == 3 + 1
    left = world.ztf.tickets.collection.find()
    assert sorted((d["lease"]["run"], d["lease"]["worker"]) for d in left) == [("other", "one"), *2 * [("r", "two")]]


#: Dies with the ticket of the number that is given.
_WORKER = """
import os, signal, sys
from typing import ClassVar
from ampel_dagster.instruments.ztf import ZTF
from ampel_dagster.model.run import RunInfo
from ampel_dagster.pipeline.write_ahead import write_ahead
from ampel_dagster.pipeline.t2_augment import Augmentation, augment, write_results
from ampel_dagster.storage.store import Store
from ampel_dagster.units.base import StateUnit
from ampel_dagster.units.bound import Limits, Product

class Length(StateUnit):
    needs: ClassVar = ()
    calls: ClassVar = []
    def process(self, state, points, tied):
        self.calls.append(state)
        if len(self.calls) == int(sys.argv[3]):
            os.kill(os.getpid(), signal.SIGKILL)
        return {"n": len(state.dps)}

store = Store.open(sys.argv[1], sys.argv[2])
work = Augmentation(store, ZTF(), [Product("length", Length())], RunInfo("dead", 1), {}, size=4)
write_ahead(augment(work), lambda results: write_results(work, results))
"""


class Length(StateUnit):
    needs: ClassVar[tuple[str, ...] | None] = ()

    def process(self, state: State, points: Sequence[DataPoint], tied: Tied) -> T2Return:
        return {"n": len(state.dps)}


def test_tickets_of_a_killed_worker_come_back_after_their_lease(world: Any, mongo_uri: str, tmp_path: Path) -> None:
    product = Product("length", Length())
    world.ingest(world.rules("A", product), *(world.star(n) for n in range(12)))
    script = tmp_path / "worker.py"
    script.write_text(_WORKER)
    # The worker holds four tickets at a time, and dies with the second of the second four.
    dead = subprocess.run(
        [sys.executable, str(script), mongo_uri, world.store.database.name, "6"], capture_output=True, text=True
    )
    assert dead.returncode == -signal.SIGKILL, dead.stderr
    codes = [d["code"] for d in world.t2(product)]
    assert codes.count(DocumentCode.RUNNING) >= 4
    assert codes.count(DocumentCode.NEW) == 4
    # The lease is not over: only what nobody holds is taken up.
    assert world.compute(product, run="next").counts["computed"] == 4
    leases_run_out(world)
    world.compute(product, run="after")
    documents = world.t2(product)
    assert [(d["code"], d["result"], len(d["body"])) for d in documents] == [(0, {"n": 1}, 1)] * 12
    assert all("lease" not in d for d in documents)
    assert {d["meta"]["run"] for d in documents} <= {"dead", "next", "after"}
    assert world.compute(product).counts["computed"] == 0


def test_worker_that_was_thought_dead_changes_nothing_any_more(world: Any) -> None:
    product = world.product(lambda *_: {"n": 1})
    world.ingest(world.rules("A", product), world.star(0), world.star(1))
    slow = world.augmentation(product, run="slow", lease_s=-1)
    late = next(augment(slow))
    world.compute(product, run="quick")
    before = world.t2(product)
    write_results(slow, late)
    assert world.t2(product) == before
    assert [(d["meta"]["run"], len(d["body"])) for d in before] == [("quick", 1)] * 2


def test_ticket_given_back_by_a_worker_that_was_thought_dead_stays_done(world: Any) -> None:
    product = world.product(lambda *_: {"n": 1})
    world.ingest(world.rules("A", product), world.star(0))
    held = world.ztf.tickets.claim(product.id, "slow", 10, -1, {})
    world.compute(product)
    world.ztf.tickets.release(held, DocumentCode.PENDING_DEPENDENCY)
    (document,) = world.t2(product)
    assert (document["code"], document["attempts"]) == (0, 2)


def test_reset_while_a_worker_is_at_it_asks_for_a_new_result(world: Any) -> None:
    results = iter([{"n": "before"}, {"n": "after"}])

    def answer(*_: Any) -> T2Return:
        found = next(results)
        if found["n"] == "before":
            world.ztf.tickets.reset({})
        return found

    product = world.product(answer)
    world.ingest(world.rules("A", product), world.star(0))
    world.compute(product)
    world.compute(product)
    (document,) = world.t2(product)
    assert (document["code"], document["result"], len(document["body"])) == (0, {"n": "after"}, 1)


@pytest.mark.parametrize("deaths", [ATTEMPTS - 1, ATTEMPTS])
def test_ticket_is_given_up_after_as_many_deaths_as_are_allowed(world: Any, deaths: int) -> None:
    calls: list[int] = []

    def answer(state: State, *_: Any) -> T2Return:
        calls.append(state.link)
        if len(calls) <= deaths:
            raise Killed
        return {"fine": True}

    product = world.product(answer)
    world.ingest(world.rules("A", product), world.star(0))
    for _ in range(deaths):
        with pytest.raises(Killed):
            world.compute(product)
        leases_run_out(world)
    world.compute(product)
    (document,) = world.t2(product)
    if deaths < ATTEMPTS:
        assert (document["code"], document["result"]) == (0, {"fine": True})
    else:
        assert document["code"] == DocumentCode.TOO_MANY_TRIALS
        assert f"{ATTEMPTS} workers died" in document["error"]["message"]
        assert len(calls) == ATTEMPTS
    # A reset gives all chances back.
    world.ztf.tickets.reset({})
    world.compute(product)
    assert world.t2(product)[0]["result"] == {"fine": True}


@pytest.mark.parametrize("size", [1, 8, 500])
def test_ticket_that_kills_its_worker_drags_no_other_with_it(world: Any, size: int) -> None:
    killer = world.instrument.stock_id("ZTF18aaaaaan")
    deaths = 0

    def answer(state: State, *_: Any) -> T2Return:
        if state.stock == killer:
            raise Killed
        return {}

    product = world.product(answer)
    world.ingest(world.rules("A", product), *(world.star(n) for n in range(26)))
    while True:
        try:
            world.compute(product, size=size)
            break
        except Killed:
            deaths += 1
            assert deaths <= ATTEMPTS
            leases_run_out(world)
    codes = {d["stock"]: d["code"] for d in world.t2(product)}
    assert codes.pop(killer) == DocumentCode.TOO_MANY_TRIALS
    assert set(codes.values()) == {0}
    assert len(codes) == 25
    assert deaths == ATTEMPTS


def test_waiting_for_another_product_is_no_attempt(world: Any) -> None:
    class Base(StateUnit):
        needs: ClassVar[tuple[str, ...] | None] = ()

        def process(self, state: State, points: Sequence[DataPoint], tied: Tied) -> T2Return:
            return {}

    class Upper(StateUnit):
        needs: ClassVar[tuple[str, ...] | None] = ()
        requires: ClassVar[tuple[str, ...]] = ("Base",)

        def process(self, state: State, points: Sequence[DataPoint], tied: Tied) -> T2Return:
            return {}

    base = Product("base", Base())
    upper = Product("upper", Upper(), (base,))
    world.ingest(world.rules("A", upper), world.star(0))
    for _ in range(3 * ATTEMPTS):
        assert world.compute(upper).counts["waiting"] == 1
    world.compute(base, upper)
    assert world.t2(upper)[0]["code"] == DocumentCode.OK
