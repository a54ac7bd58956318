"""T2: who computes what on which input, and what is kept of it."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest

from ampel_dagster.model.codes import DocumentCode
from ampel_dagster.model.datapoint import DataPoint, Kind
from ampel_dagster.model.light_curve import LightCurve
from ampel_dagster.model.result import UnitResult
from ampel_dagster.model.stock import State, Stock
from ampel_dagster.testing import make_alert, make_detection, make_limit
from ampel_dagster.units.base import LightCurveUnit, PointUnit, StateUnit, StockUnit, T2Return, Tied
from ampel_dagster.units.bound import Product

#: Start of an exposure in the night of 2018-08-19.
JD = 2458349.7
NIGHT = "2018-08-19"
Answer = Callable[[State, Sequence[DataPoint], Tied], T2Return]


def star(number: int, jd: float = JD, **more: Any) -> dict[str, Any]:
    """An alert of one of 26 objects."""
    return make_alert(name=f"ZTF18aaaaaa{chr(97 + number)}", jd=jd, tblid=number + 1, cutouts=False, **more)


def state_unit(answer: Answer, needs_: tuple[str, ...] | None = (), version_: str = "1") -> StateUnit:
    class Probe(StateUnit):
        needs: ClassVar[tuple[str, ...] | None] = needs_
        version: ClassVar[str] = version_

        def process(self, state: State, points: Sequence[DataPoint], tied: Tied) -> T2Return:
            return answer(state, points, tied)

    return Probe()


def length(state: State, _points: Sequence[DataPoint], _tied: Tied) -> T2Return:
    return {"n": len(state.dps)}


def product_of(answer: Answer, name: str = "probe", **more: Any) -> Product:
    return Product(name, state_unit(answer, **more))


def answers(*values: Any) -> Answer:
    """Answers one value after the other; an exception is raised."""
    left = list(values)

    def answer(*_: Any) -> Any:
        value = left.pop(0)
        if isinstance(value, BaseException):
            raise value
        return value

    return answer


# --- what is computed, and how often


def test_state_is_computed_once_for_all_channels(world: Any) -> None:
    computed: list[int] = []

    def answer(state: State, *_: Any) -> T2Return:
        computed.append(state.link)
        return {}

    product = product_of(answer)
    world.ingest([world.rules(name, product) for name in ("A", "B", "C")], star(0), star(1))
    world.compute(product)
    assert len(computed) == len(set(computed)) == 2
    assert [d["channel"] for d in world.t2(product)] == [["A", "B", "C"]] * 2


def test_channel_that_comes_later_shares_the_result(world: Any) -> None:
    computed: list[int] = []

    def answer(state: State, *_: Any) -> T2Return:
        computed.append(state.link)
        return {}

    product = product_of(answer)
    world.ingest(world.rules("A", product), star(0))
    world.compute(product)
    world.ingest(world.rules("B", product), star(0))
    world.compute(product)
    assert len(computed) == 1
    assert world.t2(product)[0]["channel"] == ["A", "B"]


def test_run_over_some_channels_and_nights_leaves_the_others(world: Any) -> None:
    from ampel_dagster.storage.tickets import in_partitions

    product = product_of(length)
    world.ingest(world.rules("A", product), star(0), star(1, JD + 1))
    world.ingest(world.rules("B", product), star(2))
    work = world.augmentation(product)
    from dataclasses import replace

    from ampel_dagster.pipeline.t2_augment import augment, write_results

    work = replace(work, where=in_partitions(["A"], [NIGHT]))
    for results in augment(work):
        write_results(work, results)
    assert [d["code"] for d in world.t2(product)] == [0, -1, -1]


def test_state_unit_that_needs_ids_only_does_without_datapoints(world: Any) -> None:
    seen: list[int] = []

    def answer(state: State, points: Sequence[DataPoint], _: Tied) -> T2Return:
        seen.append(len(points))
        return {"n": len(state.dps)}

    lean, full = product_of(answer), Product("full", state_unit(answer, needs_=None))
    assert lean.id == full.id  # what a unit reads is no configuration
    world.ingest(world.rules("A", lean), star(0, history=[make_detection(jd=JD - 1)]))
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

    product = product_of(answer, needs_=("magpsf",))
    history = [make_detection(jd=JD - 1, mag=19.0), make_limit(jd=JD - 2), make_detection(jd=JD - 3, mag=20.0)]
    world.ingest(world.rules("A", product), star(0, mag=18.0, history=history))
    world.compute(product)
    assert [point.jd for point in seen] == pytest.approx([JD - 3, JD - 2, JD - 1, JD])
    assert [set(point.body) for point in seen] == [{"magpsf"}, set(), {"magpsf"}, {"magpsf"}]
    assert [point.body["magpsf"] for point in seen if point.body] == pytest.approx([20.0, 19.0, 18.0])


def test_light_curve_unit(world: Any) -> None:
    class Brightest(LightCurveUnit):
        def process(self, light_curve: LightCurve, tied: Tied) -> T2Return:
            return {"name": light_curve.name, "mag": np.nanmin(light_curve.mag), "limits": len(light_curve.upper_limits)}

    product = Product("brightest", Brightest())
    history = [make_detection(jd=JD - 1, mag=17.5), make_limit(jd=JD - 2)]
    world.ingest(world.rules("A", product), star(0, mag=18.0, history=history))
    world.compute(product)
    assert world.t2(product)[0]["result"] == {"name": "ZTF18aaaaaaa", "mag": pytest.approx(17.5), "limits": 1}


def test_light_curve_that_cannot_be_built_fails_alone(world: Any) -> None:
    class Length(LightCurveUnit):
        def process(self, light_curve: LightCurve, tied: Tied) -> T2Return:
            return {"n": len(light_curve)}

    product = Product("length", Length())
    # A magnitude of which the flux is beyond all numbers.
    world.ingest(world.rules("A", product), star(0), star(1, mag=-5000.0), star(2))
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
    world.ingest(world.rules("A", product), star(0, history=history))
    world.compute(product)
    world.ingest(world.rules("A", product), star(0, JD + 1, history=[*history, make_detection(jd=JD)]))
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
    world.ingest(rules, star(0, ra=150.0), star(1, ra=160.0))
    world.compute(product, run="first")
    world.ingest(rules, star(0, JD + 1, ra=151.0))
    assert world.compute(product, run="second").counts["computed"] == 1
    assert world.compute(product, run="third").counts["computed"] == 0
    first, second = world.t2(product)
    assert (first["result"]["ra"], first["meta"]["run"]) == (pytest.approx(151.0), "second")
    assert (second["result"]["ra"], second["meta"]["run"]) == (pytest.approx(160.0), "first")
    assert sorted(first["member"]) == [f"A|{NIGHT}", "A|2018-08-20"]


def test_stock_unit_follows_its_stock_for_as_long_as_it_is_seen(world: Any) -> None:
    product = Product("names", Names())
    for day in range(8):
        world.ingest(world.rules("A", product), star(0, JD + day, ra=150.0 + day))
        world.compute(product)
        (document,) = world.t2(product)
        assert (document["code"], document["result"]["ra"]) == (0, pytest.approx(150.0 + day))


def test_stock_whose_unit_failed_gets_another_chance_with_the_next_alert(world: Any) -> None:
    answer = answers(ValueError("not yet"), {"fine": True})

    class Moody(StockUnit):
        def process(self, stock: Stock, tied: Tied) -> T2Return:
            return answer(None, (), {})  # type: ignore[arg-type]

    product = Product("moody", Moody())
    world.ingest(world.rules("A", product), star(0))
    world.compute(product)
    assert world.t2(product)[0]["code"] == DocumentCode.EXCEPTION
    world.ingest(world.rules("A", product), star(0, JD + 1))
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
    world.ingest(rules, star(0, ra=150.0))
    ingest_more.append(lambda: world.ingest(rules, star(0, JD + 1, ra=151.0)))
    world.compute(product)
    world.compute(product)
    assert world.t2(product)[0]["result"] == {"ra": pytest.approx(151.0)}


# --- codes


def test_codes_of_valid_results(world: Any) -> None:
    product = product_of(answers({"a": 1}, UnitResult({"b": 2}, code=7, tags=("SN", "YOUNG")), UnitResult()))
    world.ingest(world.rules("A", product), star(0), star(1), star(2))
    assert world.compute(product).counts["computed"] == 3
    documents = {d["code"]: d for d in world.t2(product) if d["result"]}
    assert documents[0]["result"] == {"a": 1}
    assert (documents[7]["result"], sorted(documents[7]["tag"])) == ({"b": 2}, ["SN", "YOUNG"])
    assert all("error" not in d and "lease" not in d for d in world.t2(product))


def test_exception_is_kept_as_data_and_the_rest_goes_on(world: Any) -> None:
    def answer(state: State, *_: Any) -> T2Return:
        if state.stock == bad:
            raise ZeroDivisionError("no error bars")
        return {}

    bad = world.instrument.stock_id("ZTF18aaaaaab")
    product = product_of(answer)
    world.ingest(world.rules("A", product), *(star(n) for n in range(4)))
    tally = world.compute(product)
    assert dict(tally.failures) == {("product probe", "ZeroDivisionError: no error bars"): 1}
    documents = world.t2(product)
    assert [d["code"] for d in documents] == [0, DocumentCode.EXCEPTION, 0, 0]
    error = documents[1]["error"]
    assert error["message"] == "ZeroDivisionError: no error bars"
    assert 'raise ZeroDivisionError("no error bars")' in error["traceback"]


def circle() -> list[Any]:
    found: list[Any] = []
    found.append(found)
    return found


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda: None, id="nothing"),
        pytest.param(lambda: [1], id="list"),
        pytest.param(lambda: "text", id="text"),
        pytest.param(lambda: UnitResult([1]), id="list in a result"),  # type: ignore[arg-type]
        pytest.param(lambda: UnitResult({"a": 1}, code=-3), id="negative code"),
        pytest.param(lambda: UnitResult({"a": 1}, code="good"), id="code that is no number"),  # type: ignore[arg-type]
        pytest.param(lambda: UnitResult({"a": 1}, code=None), id="no code"),  # type: ignore[arg-type]
        pytest.param(lambda: UnitResult({"a": 1}, code=1 << 70), id="code beyond 64 bits"),
        pytest.param(lambda: UnitResult({"a": 1}, tags="SN"), id="tags that are one text"),  # type: ignore[arg-type]
        pytest.param(lambda: UnitResult({"a": 1}, tags=(1,)), id="tag that is no text"),  # type: ignore[arg-type]
        pytest.param(lambda: UnitResult({"a": 1}, journal={"a": object()}), id="journal that cannot be stored"),
        pytest.param(lambda: DocumentCode.OK, id="code of the system"),
        pytest.param(lambda: {"a": object()}, id="object"),
        pytest.param(lambda: {"a": 1j}, id="complex number"),
        pytest.param(lambda: {1: "a"}, id="key that is no text"),
        pytest.param(lambda: {"a\0b": 1}, id="key with a zero byte"),
        pytest.param(lambda: {"a": 1 << 63}, id="integer beyond 64 bits"),
        pytest.param(lambda: {"a": circle()}, id="list that holds itself"),
        pytest.param(lambda: {"a": "\ud800"}, id="text that is no text"),
        pytest.param(lambda: {"a": "x" * 9_000_000}, id="larger than a document may be"),
        pytest.param(lambda: {"a": "x" * 17_000_000}, id="larger than a message may be"),
    ],
)
def test_answer_that_cannot_be_stored_is_an_error_and_the_rest_goes_on(world: Any, make: Callable[[], Any]) -> None:
    bad = world.instrument.stock_id("ZTF18aaaaaab")
    product = product_of(lambda state, *_: make() if state.stock == bad else {"fine": True})
    world.ingest(world.rules("A", product), *(star(n) for n in range(3)))
    world.compute(product)
    documents = world.t2(product)
    assert [d["code"] for d in documents] == [0, DocumentCode.ERROR, 0]
    assert documents[1]["error"]["message"]
    assert "result" not in documents[1]
    assert documents[1]["body"] == []
    assert [d["result"] for d in documents[::2]] == [{"fine": True}] * 2


def test_results_become_plain_values(world: Any) -> None:
    at = datetime(2018, 8, 19, 4, 30, tzinfo=UTC)
    given = {
        "nan": float("nan"),
        "infinite": [-np.inf, np.float32("inf")],
        "numpy": [np.float64(1.5), np.int32(3), np.bool_(True), np.str_("x"), np.longdouble(0.5)],
        "array": np.array([[1, 2], [3, 4]]),
        "gaps": np.array([1.0, np.nan]),
        "tuple": (1, ("a", None)),
        "set": {4},
        "time": at,
        "no time": pd.NaT,
        "nested": {"a.b": 1, "$set": 2, "": 3},
        "bytes": b"\x00\xff",
        "largest": (1 << 63) - 1,
    }
    expected = {
        "nan": None,
        "infinite": [None, None],
        "numpy": [1.5, 3, True, "x", 0.5],
        "array": [[1, 2], [3, 4]],
        "gaps": [1.0, None],
        "tuple": [1, ["a", None]],
        "set": [4],
        "time": at,
        "no time": None,
        "nested": {"a.b": 1, "$set": 2, "": 3},
        "bytes": b"\x00\xff",
        "largest": (1 << 63) - 1,
    }
    product = product_of(lambda *_: given)
    world.ingest(world.rules("A", product), star(0))
    world.compute(product)
    (document,) = world.t2(product)
    assert document["result"] == expected
    assert [element["result"] for element in document["body"]] == [expected]


def test_note_for_the_journal_is_written_with_what_was_done(world: Any) -> None:
    product = product_of(lambda *_: UnitResult({}, code=3, journal={"class": "SN Ia"}))
    world.ingest(world.rules("A", product), star(0))
    world.compute(product, run="run 1")
    stock = world.instrument.stock_id("ZTF18aaaaaaa")
    entries = [e for e in world.store.journal.of_stock("ztf", stock) if e["tier"] == 2]
    (entry,) = entries
    assert entry["note"] == {"class": "SN Ia"}
    assert (entry["run"], entry["product"], entry["code"], entry["channel"]) == ("run 1", "probe", 3, ["A"])


def test_result_says_by_which_data_and_run_it_was_made(world: Any) -> None:
    class WithCatalogue(StateUnit):
        needs: ClassVar[tuple[str, ...] | None] = ()

        def data_versions(self) -> dict[str, str]:
            return {"galaxies": "abc123"}

        def process(self, state: State, points: Sequence[DataPoint], tied: Tied) -> T2Return:
            return {}

    product = Product("probe", WithCatalogue())
    world.ingest(world.rules("A", product), star(0))
    world.compute(product, run="run 7")
    meta = world.t2(product)[0]["body"][0]["meta"]
    assert (meta["run"], meta["config"], meta["data"]) == ("run 7", 1, {"galaxies": "abc123"})


# --- computed again


def test_reset_with_a_failing_unit_keeps_the_last_valid_result(world: Any) -> None:
    product = product_of(answers(UnitResult({"n": 1}, code=2), ValueError("broken"), {"n": 3}))
    world.ingest(world.rules("A", product), star(0))
    world.compute(product)
    for code in (DocumentCode.EXCEPTION, DocumentCode.OK):
        assert world.ztf.tickets.reset({"product_id": product.id}) == 1
        assert world.t2(product)[0]["result"] == {"n": 1}  # while it waits
        world.compute(product)
        (document,) = world.t2(product)
        assert document["code"] == code
        assert document["result"] == ({"n": 1} if code < 0 else {"n": 3})
        assert ("error" in document) is (code < 0)
    assert len(document["body"]) == 1


def test_new_version_of_a_unit_is_kept_beside_the_old(world: Any) -> None:
    old = product_of(lambda *_: {"v": 1}, version_="1")
    new = product_of(lambda *_: {"v": 2}, version_="2")
    newer = product_of(answers(ValueError("broken")), version_="3")
    assert old.id == new.id == newer.id
    world.ingest(world.rules("A", old), star(0))
    for product in (old, new, new, newer):
        world.ztf.tickets.reset({})
        world.compute(product, run=f"version {product.version}")
    (document,) = world.t2(old)
    assert [(e["version"], e["result"]["v"], e["meta"]["run"]) for e in document["body"]] == [
        ("1", 1, "version 1"),
        ("2", 2, "version 2"),
    ]
    assert (document["version"], document["result"], document["code"]) == ("2", {"v": 2}, DocumentCode.EXCEPTION)


# --- what reactions are told


def test_batch_is_announced_for_new_and_changed_results_only(world: Any) -> None:
    results = {"n": 1}
    product = product_of(lambda *_: dict(results))
    world.ingest([world.rules("A", product), world.rules("B", product)], star(0), star(1))
    world.compute(product, run="first")
    (batch,) = world.batches("t2")
    stocks = sorted(d["stock"] for d in world.t2(product))
    assert (batch["touched"], batch["nights"], batch["mode"]) == ({"A": stocks, "B": stocks}, [NIGHT], "live")
    world.ztf.tickets.reset({})
    world.compute(product, run="the same again")
    assert len(world.batches("t2")) == 1
    results["n"] = 2
    world.ztf.tickets.reset({"stock": stocks[0]})
    world.compute(product, run="another result", mode="archive")
    (_, batch) = sorted(world.batches("t2"), key=lambda b: b["done_ts"])
    assert (batch["touched"], batch["mode"]) == ({"A": stocks[:1], "B": stocks[:1]}, "archive")


def test_second_computation_in_one_run_does_not_undo_what_the_first_announced(world: Any) -> None:
    """A long run computes the same tickets again: what nobody has reacted to yet must stay announced."""
    results = {0: 1, 1: 1}
    names = {world.instrument.stock_id(f"ZTF18aaaaaa{letter}"): n for n, letter in enumerate("ab")}
    product = product_of(lambda state, *_: {"n": results[names[state.stock]]})
    world.ingest(world.rules("A", product), star(0), star(1))
    world.compute(product, run="long")
    results[0] = 2
    world.ztf.tickets.reset({})
    world.compute(product, run="long")
    announced = [batch["touched"]["A"] for batch in world.batches("t2")]
    first, second = names
    assert sorted(announced, key=len) == [[first], sorted([first, second])]
    assert len([e for e in world.store.journal.of_stock("ztf", first) if e["tier"] == 2]) == 2


# --- tied units


class First(StateUnit):
    needs: ClassVar[tuple[str, ...] | None] = ()

    def process(self, state: State, points: Sequence[DataPoint], tied: Tied) -> T2Return:
        return {"stock": state.stock, "link": state.link}


class Second(StateUnit):
    needs: ClassVar[tuple[str, ...] | None] = ()
    requires: ClassVar[tuple[str, ...]] = ("First",)

    def process(self, state: State, points: Sequence[DataPoint], tied: Tied) -> T2Return:
        return {"same": tied["First"]["link"] == state.link, "names": sorted(tied)}


class Failing(First):
    def process(self, state: State, points: Sequence[DataPoint], tied: Tied) -> T2Return:
        raise ValueError("no")


FIRST = Product("one", First())
SECOND = Product("two", Second(), (FIRST,))


def test_tied_unit_gets_the_result_of_the_same_state(world: Any) -> None:
    world.ingest(world.rules("A", SECOND), star(0), star(1), star(0, JD + 1, history=[make_detection(jd=JD)]))
    world.compute(FIRST, SECOND)
    assert [d["code"] for d in world.t2(FIRST)] == [0, 0, 0]
    assert [d["result"] for d in world.t2(SECOND)] == [{"same": True, "names": ["First"]}] * 3


def test_tied_unit_does_not_wait_for_another_run_where_results_are_on_their_way(world: Any) -> None:
    """A batch is written while the next is made: at the latest moment that `write_ahead` allows."""
    from ampel_dagster.pipeline.t2_augment import augment, write_results

    world.ingest(world.rules("A", SECOND), *(star(n) for n in range(5)))
    work, behind = world.augmentation(FIRST, SECOND, size=2), None
    for results in augment(work):
        if behind is not None:
            write_results(work, behind)
        behind = results
    write_results(work, behind)
    assert [d["code"] for d in world.t2(SECOND)] == [0] * 5


def test_tied_unit_waits_for_a_result_that_another_worker_is_at(world: Any) -> None:
    world.ingest(world.rules("A", SECOND), star(0))
    held = world.ztf.tickets.claim(FIRST.id, "another", 10, 600, {})
    assert world.compute(SECOND).counts["waiting"] == 1
    (document,) = world.t2(SECOND)
    assert (document["code"], document["attempts"]) == (DocumentCode.PENDING_DEPENDENCY, 0)
    assert world.ztf.tickets.pending({SECOND.id: "two"}) == {"two": 1}
    world.ztf.tickets.release(held, DocumentCode.NEW)
    world.compute(FIRST)
    world.compute(SECOND)
    assert world.t2(SECOND)[0]["result"] == {"same": True, "names": ["First"]}


def test_tied_unit_is_not_called_where_the_other_failed(world: Any) -> None:
    first = Product("one", Failing())
    second = Product("two", Second(), (first,))
    world.ingest(world.rules("A", second), star(0))
    world.compute(first, second)
    (document,) = world.t2(second)
    assert document["code"] == DocumentCode.FAILED_DEPENDENCY
    assert "FAILED_DEPENDENCY" in document["error"]["message"]


def test_tied_unit_is_not_called_where_the_other_result_is_gone(world: Any) -> None:
    world.ingest(world.rules("A", SECOND), star(0))
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
    world.ingest(world.rules("A", product), star(3))
    world.compute(names, product)
    assert world.t2(product)[0]["result"] == {"called": "ZTF18aaaaaad"}


def test_input_that_is_gone_is_said(world: Any) -> None:
    names = Product("names", Names())
    product, seen = product_of(length), []
    points = points_unit("all", ("detection",), seen)
    world.ingest(world.rules("A", product, names, points), star(0))
    for collection in (world.ztf.states, world.ztf.stocks, world.ztf.points):
        collection.collection.delete_many({})
    world.compute(product, names, points)
    codes = [world.t2(p)[0]["code"] for p in (product, names, points)]
    assert codes == [DocumentCode.UNKNOWN_LINK] * 3
    assert seen == []


def test_leases_are_in_the_future(world: Any) -> None:
    product = product_of(length)
    world.ingest(world.rules("A", product), star(0))
    before = datetime.now(UTC)
    world.ztf.tickets.claim(product.id, "me", 10, 600, {})
    lease = world.t2(product)[0]["lease"]
    assert lease["run"] == "me"
    assert lease["until"] >= before + timedelta(seconds=599)
