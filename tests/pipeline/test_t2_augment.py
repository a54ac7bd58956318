"""T2: who computes what, on which input, and how often."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import pytest

from ampel_dagster.model.codes import DocumentCode
from ampel_dagster.model.datapoint import DataPoint, Kind
from ampel_dagster.model.light_curve import LightCurve
from ampel_dagster.model.stock import State, Stock
from ampel_dagster.pipeline.t2_augment import augment, write_results
from ampel_dagster.storage.tickets import in_partitions
from ampel_dagster.testing import make_detection, make_limit
from ampel_dagster.units.base import LightCurveUnit, PointUnit, StateUnit, StockUnit, T2Return, Tied
from ampel_dagster.units.bound import Product

#: Start of an exposure in the night of 2018-08-19.
JD = 2458349.7
NIGHT = "2018-08-19"


def length(state: State, _points: Sequence[DataPoint], _tied: Tied) -> T2Return:
    return {"n": len(state.dps)}


def test_state_is_computed_once_for_all_channels(world: Any) -> None:
    computed: list[int] = []

    def answer(state: State, *_: Any) -> T2Return:
        computed.append(state.link)
        return {}

    product = world.product(answer)
    world.ingest([world.rules(name, product) for name in ("A", "B", "C")], world.star(0), world.star(1))
    world.compute(product)
    assert len(computed) == len(set(computed)) == 2
    assert [d["channel"] for d in world.t2(product)] == [["A", "B", "C"]] * 2


def test_channel_that_comes_later_shares_the_result(world: Any) -> None:
    computed: list[int] = []

    def answer(state: State, *_: Any) -> T2Return:
        computed.append(state.link)
        return {}

    product = world.product(answer)
    world.ingest(world.rules("A", product), world.star(0))
    world.compute(product)
    world.ingest(world.rules("B", product), world.star(0))
    world.compute(product)
    assert len(computed) == 1
    assert world.t2(product)[0]["channel"] == ["A", "B"]


def test_run_over_some_channels_and_nights_leaves_the_others(world: Any) -> None:
    product = world.product(length)
    world.ingest(world.rules("A", product), world.star(0), world.star(1, JD + 1))
    world.ingest(world.rules("B", product), world.star(2))
    work = world.augmentation(product)
    work = replace(work, where=in_partitions(["A"], [NIGHT]))
    for results in augment(work):
        write_results(work, results)
    assert [d["code"] for d in world.t2(product)] == [0, -1, -1]


def test_state_unit_that_needs_ids_only_does_without_datapoints(world: Any) -> None:
    seen: list[int] = []

    def answer(state: State, points: Sequence[DataPoint], _: Tied) -> T2Return:
        seen.append(len(points))
        return {"n": len(state.dps)}

    lean, full = world.product(answer), world.product(answer, needs=None)
    assert lean.id == full.id  # what a unit reads is no configuration
    world.ingest(world.rules("A", lean), world.star(0, history=[make_detection(jd=JD - 1)]))
    world.ztf.points.collection.delete_many({})
    world.compute(lean)
    (document,) = world.t2(lean)
    assert (document["code"], document["result"], seen) == (0, {"n": 2}, [0])
    world.ztf.tickets.reset({})
    world.compute(full)
    assert world.t2(full)[0]["code"] == DocumentCode.MISSING_INFO
    assert seen == [0]


def test_state_unit_gets_the_fields_that_it_needs_sorted_by_time(world: Any) -> None:
    seen: list[DataPoint] = []

    def answer(_: State, points: Sequence[DataPoint], __: Tied) -> T2Return:
        seen.extend(points)
        return {}

    product = world.product(answer, needs=("magpsf",))
    history = [make_detection(jd=JD - 1, mag=19.0), make_limit(jd=JD - 2), make_detection(jd=JD - 3, mag=20.0)]
    world.ingest(world.rules("A", product), world.star(0, mag=18.0, history=history))
    world.compute(product)
    assert [point.jd for point in seen] == pytest.approx([JD - 3, JD - 2, JD - 1, JD])
    assert [set(point.body) for point in seen] == [{"magpsf"}, set(), {"magpsf"}, {"magpsf"}]
    assert [point.body["magpsf"] for point in seen if point.body] == pytest.approx([20.0, 19.0, 18.0])


def test_light_curve_unit(world: Any) -> None:
    class Brightest(LightCurveUnit):
        def process(self, light_curve: LightCurve, tied: Tied) -> T2Return:
            return {
                "name": light_curve.name,
                "mag": np.nanmin(light_curve.mag),
                "limits": len(light_curve.upper_limits),
            }

    product = Product("brightest", Brightest())
    history = [make_detection(jd=JD - 1, mag=17.5), make_limit(jd=JD - 2)]
    world.ingest(world.rules("A", product), world.star(0, mag=18.0, history=history))
    world.compute(product)
    assert world.t2(product)[0]["result"] == {"name": "ZTF18aaaaaaa", "mag": pytest.approx(17.5), "limits": 1}


def test_light_curve_that_cannot_be_built_fails_alone(world: Any) -> None:
    class Length(LightCurveUnit):
        def process(self, light_curve: LightCurve, tied: Tied) -> T2Return:
            return {"n": len(light_curve)}

    product = Product("length", Length())
    # A magnitude of which the flux is beyond all numbers.
    world.ingest(world.rules("A", product), world.star(0), world.star(1, mag=-5000.0), world.star(2))
    world.compute(product)
    assert [d["code"] for d in world.t2(product)] == [0, DocumentCode.EXCEPTION, 0]


def points_unit(which: str, kinds_: tuple[Kind, ...], seen: list[DataPoint]) -> Product:
    class Probe(PointUnit):
        needs: ClassVar[tuple[str, ...] | None] = ("magpsf",)

        def process(self, point: DataPoint, tied: Tied) -> T2Return:
            seen.append(point)
            return {}

    return Product(which, Probe(eligible=which, kinds=kinds_))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("which", "kinds", "expected"),
    [
        ("first", ("detection",), [JD - 3]),
        ("last", ("detection",), [JD, JD + 1]),
        ("all", ("detection",), [JD - 3, JD - 1, JD, JD + 1]),
        ("all", ("upper_limit",), [JD - 2]),
        ("first", ("detection", "upper_limit"), [JD - 3]),
        ("last", ("upper_limit",), [JD - 2]),
        ("all", ("forced",), []),
    ],
)
def test_point_unit_computes_each_eligible_point_once(
    world: Any, which: str, kinds: tuple[Kind, ...], expected: list[float]
) -> None:
    seen: list[DataPoint] = []
    product = points_unit(which, kinds, seen)
    history = [make_detection(jd=JD - 1), make_limit(jd=JD - 2), make_detection(jd=JD - 3)]
    # Two states of one object: the second has one point more.
    world.ingest(world.rules("A", product), world.star(0, history=history))
    world.compute(product)
    world.ingest(world.rules("A", product), world.star(0, JD + 1, history=[*history, make_detection(jd=JD)]))
    world.compute(product)
    assert sorted(point.jd for point in seen) == pytest.approx(expected)
    assert all(set(point.body) <= {"magpsf"} and point.kind in kinds for point in seen)
    assert len({point.id for point in seen}) == len(seen)


class Names(StockUnit):
    """Counts how often it was asked about whom."""

    calls: ClassVar[list[str]] = []

    def process(self, stock: Stock, tied: Tied) -> T2Return:
        return {"name": stock.name, "ra": stock.ra_deg}


def test_stock_unit_is_computed_anew_after_a_new_alert_of_its_stock_only(world: Any) -> None:
    product = Product("names", Names())
    rules = world.rules("A", product)
    world.ingest(rules, world.star(0, ra=150.0), world.star(1, ra=160.0))
    world.compute(product, run="first")
    world.ingest(rules, world.star(0, JD + 1, ra=151.0))
    assert world.compute(product, run="second").counts["computed"] == 1
    assert world.compute(product, run="third").counts["computed"] == 0
    first, second = world.t2(product)
    assert (first["result"]["ra"], first["meta"]["run"]) == (pytest.approx(151.0), "second")
    assert (second["result"]["ra"], second["meta"]["run"]) == (pytest.approx(160.0), "first")
    assert sorted(first["member"]) == [f"A|{NIGHT}", "A|2018-08-20"]


def test_stock_unit_follows_its_stock_for_as_long_as_it_is_seen(world: Any) -> None:
    product = Product("names", Names())
    for day in range(8):
        world.ingest(world.rules("A", product), world.star(0, JD + day, ra=150.0 + day))
        world.compute(product)
        (document,) = world.t2(product)
        assert (document["code"], document["result"]["ra"]) == (0, pytest.approx(150.0 + day))


def test_stock_whose_unit_failed_gets_another_chance_with_the_next_alert(world: Any) -> None:
    class Moody(StockUnit):
        def process(self, stock: Stock, tied: Tied) -> T2Return:
            if stock.ra_deg < 150.5:
                raise ValueError("not yet")
            return {"fine": True}

    product = Product("moody", Moody())
    world.ingest(world.rules("A", product), world.star(0, ra=150.0))
    world.compute(product)
    assert world.t2(product)[0]["code"] == DocumentCode.EXCEPTION
    world.ingest(world.rules("A", product), world.star(0, JD + 1, ra=151.0))
    world.compute(product)
    assert world.t2(product)[0]["result"] == {"fine": True}


def test_alert_that_comes_while_its_stock_is_computed_is_not_missed(world: Any) -> None:
    ingest_more: list[Callable[[], Any]] = []

    class Position(StockUnit):
        def process(self, stock: Stock, tied: Tied) -> T2Return:
            while ingest_more:
                ingest_more.pop()()
            return {"ra": stock.ra_deg}

    product = Product("position", Position())
    rules = world.rules("A", product)
    world.ingest(rules, world.star(0, ra=150.0))
    ingest_more.append(lambda: world.ingest(rules, world.star(0, JD + 1, ra=151.0)))
    world.compute(product)
    world.compute(product)
    assert world.t2(product)[0]["result"] == {"ra": pytest.approx(151.0)}


# --- tied units


class First(StateUnit):
    needs: ClassVar[tuple[str, ...] | None] = ()

    def process(self, state: State, points: Sequence[DataPoint], tied: Tied) -> T2Return:
        return {"stock": state.stock, "link": state.link}


class Second(StateUnit):
    needs: ClassVar[tuple[str, ...] | None] = ()
    requires: ClassVar[tuple[str, ...]] = ("First",)

    def process(self, state: State, points: Sequence[DataPoint], tied: Tied) -> T2Return:
        by_unit, by_product = tied["First"]["link"], tied["one"]["link"]
        return {"same": by_unit == by_product == state.link, "names": sorted(tied)}


class Failing(First):
    def process(self, state: State, points: Sequence[DataPoint], tied: Tied) -> T2Return:
        raise ValueError("no")


TIED = {"same": True, "names": ["First", "one"]}
FIRST = Product("one", First())
SECOND = Product("two", Second(), (FIRST,))


def test_tied_unit_gets_the_result_of_the_same_state(world: Any) -> None:
    world.ingest(
        world.rules("A", SECOND), world.star(0), world.star(1), world.star(0, JD + 1, history=[make_detection(jd=JD)])
    )
    world.compute(FIRST, SECOND)
    assert [d["code"] for d in world.t2(FIRST)] == [0, 0, 0]
    assert [d["result"] for d in world.t2(SECOND)] == [TIED] * 3


@pytest.mark.parametrize("size", [1, 2, 500])
def test_tied_unit_does_not_wait_for_another_run_where_results_are_on_their_way(world: Any, size: int) -> None:
    """A batch is written while the next is made: at the latest moment that `write_ahead` allows."""
    world.ingest(world.rules("A", SECOND), *(world.star(n) for n in range(5)))
    work, behind = world.augmentation(FIRST, SECOND, size=size), None
    for results in augment(work):
        if behind is not None:
            write_results(work, behind)
        behind = results
    write_results(work, behind)
    assert [d["code"] for d in world.t2(SECOND)] == [0] * 5


def test_tied_unit_waits_for_a_result_that_another_worker_is_at(world: Any) -> None:
    world.ingest(world.rules("A", SECOND), world.star(0))
    held = world.ztf.tickets.claim(FIRST.id, "another", 10, 600, {})
    assert world.compute(SECOND).counts["waiting"] == 1
    (document,) = world.t2(SECOND)
    assert (document["code"], document["attempts"]) == (DocumentCode.PENDING_DEPENDENCY, 0)
    # Whoever has the other wakes it: nobody needs to look after it.
    assert world.ztf.tickets.pending({SECOND.id: [FIRST.id]}) == {SECOND.id: 0}
    world.ztf.tickets.release(held, DocumentCode.NEW)
    world.compute(FIRST)
    world.compute(SECOND)
    assert world.t2(SECOND)[0]["result"] == TIED


def test_tied_unit_is_not_called_where_the_other_failed(world: Any) -> None:
    first = Product("one", Failing())
    second = Product("two", Second(), (first,))
    world.ingest(world.rules("A", second), world.star(0))
    world.compute(first, second)
    (document,) = world.t2(second)
    assert document["code"] == DocumentCode.FAILED_DEPENDENCY
    assert "FAILED_DEPENDENCY" in document["error"]["message"]


def test_tied_unit_is_not_called_where_the_other_result_is_gone(world: Any) -> None:
    world.ingest(world.rules("A", SECOND), world.star(0))
    world.ztf.tickets.collection.delete_many({"product_id": FIRST.id})
    world.compute(FIRST, SECOND)
    assert world.t2(SECOND)[0]["code"] == DocumentCode.MISSING_DEPENDENCY


def test_state_unit_can_build_upon_a_stock_unit(world: Any) -> None:
    class Neighbour(StateUnit):
        needs: ClassVar[tuple[str, ...] | None] = ()
        requires: ClassVar[tuple[str, ...]] = ("Names",)

        def process(self, state: State, points: Sequence[DataPoint], tied: Tied) -> T2Return:
            return {"called": tied["Names"]["name"]}

    names = Product("names", Names())
    product = Product("neighbour", Neighbour(), (names,))
    world.ingest(world.rules("A", product), world.star(3))
    world.compute(names, product)
    assert world.t2(product)[0]["result"] == {"called": "ZTF18aaaaaad"}


def test_input_that_is_gone_is_said(world: Any) -> None:
    names = Product("names", Names())
    product, seen = world.product(length), []
    points = points_unit("all", ("detection",), seen)
    world.ingest(world.rules("A", product, names, points), world.star(0))
    for collection in (world.ztf.states, world.ztf.stocks, world.ztf.points):
        collection.collection.delete_many({})
    world.compute(product, names, points)
    codes = [world.t2(p)[0]["code"] for p in (product, names, points)]
    assert codes == [DocumentCode.UNKNOWN_LINK] * 3
    assert seen == []
