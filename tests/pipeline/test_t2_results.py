"""T2: what is kept of what units return, how failures are told, and what reactions get to hear."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest

from ampel_dagster.model.codes import DocumentCode
from ampel_dagster.model.datapoint import DataPoint
from ampel_dagster.model.result import UnitResult
from ampel_dagster.model.stock import State
from ampel_dagster.units.base import StateUnit, T2Return, Tied
from ampel_dagster.units.bound import Product

#: A night, and the start of an exposure in it.
NIGHT = "2018-08-19"


def answers(*values: Any) -> Callable[..., Any]:
    """Answers one value after the other; an exception is raised."""
    left = list(values)

    def answer(*_: Any) -> Any:
        value = left.pop(0)
        if isinstance(value, BaseException):
            raise value
        return value

    return answer


# --- codes


def test_codes_of_valid_results(world: Any) -> None:
    product = world.product(answers({"a": 1}, UnitResult({"b": 2}, code=7, tags=("SN", "YOUNG")), UnitResult()))
    world.ingest(world.rules("A", product), world.star(0), world.star(1), world.star(2))
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
    product = world.product(answer)
    world.ingest(world.rules("A", product), *(world.star(n) for n in range(4)))
    tally = world.compute(product)
    assert dict(tally.failures) == {("product probe", "ZeroDivisionError: no error bars"): 1}
    documents = world.t2(product)
    assert [d["code"] for d in documents] == [0, DocumentCode.EXCEPTION, 0, 0]
    error = documents[1]["error"]
    assert error["message"] == "ZeroDivisionError: no error bars"
    assert 'raise ZeroDivisionError("no error bars")' in error["traceback"]


def deep(levels: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for _ in range(levels):
        found = {"a": found}
    return found


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
        pytest.param(lambda: deep(200), id="deeper than a document may be"),
        pytest.param(lambda: deep(2000), id="deeper than Python goes"),
        pytest.param(lambda: {"a": "x" * 9_000_000}, id="larger than a document may be"),
        pytest.param(lambda: {"a": "x" * 17_000_000}, id="larger than a message may be"),
    ],
)
def test_answer_that_cannot_be_stored_is_an_error_and_the_rest_goes_on(world: Any, make: Callable[[], Any]) -> None:
    bad = world.instrument.stock_id("ZTF18aaaaaab")
    product = world.product(lambda state, *_: make() if state.stock == bad else {"fine": True})
    world.ingest(world.rules("A", product), *(world.star(n) for n in range(3)))
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
    product = world.product(lambda *_: given)
    world.ingest(world.rules("A", product), world.star(0))
    world.compute(product)
    (document,) = world.t2(product)
    assert document["result"] == expected
    assert [element["result"] for element in document["body"]] == [expected]


def test_note_for_the_journal_is_written_with_what_was_done(world: Any) -> None:
    product = world.product(lambda *_: UnitResult({}, code=3, journal={"class": "SN Ia"}))
    world.ingest(world.rules("A", product), world.star(0))
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
    world.ingest(world.rules("A", product), world.star(0))
    world.compute(product, run="run 7")
    meta = world.t2(product)[0]["body"][0]["meta"]
    assert (meta["run"], meta["config"], meta["data"]) == ("run 7", 1, {"galaxies": "abc123"})


# --- computed again


def test_reset_with_a_failing_unit_keeps_the_last_valid_result(world: Any) -> None:
    product = world.product(answers(UnitResult({"n": 1}, code=2), ValueError("broken"), {"n": 3}))
    world.ingest(world.rules("A", product), world.star(0))
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
    old = world.product(lambda *_: {"v": 1}, version="1")
    new = world.product(lambda *_: {"v": 2}, version="2")
    newer = world.product(answers(ValueError("broken")), version="3")
    assert old.id == new.id == newer.id
    world.ingest(world.rules("A", old), world.star(0))
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
    product = world.product(lambda *_: dict(results))
    world.ingest([world.rules("A", product), world.rules("B", product)], world.star(0), world.star(1))
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
    product = world.product(lambda state, *_: {"n": results[names[state.stock]]})
    world.ingest(world.rules("A", product), world.star(0), world.star(1))
    world.compute(product, run="long")
    results[0] = 2
    world.ztf.tickets.reset({})
    world.compute(product, run="long")
    announced = [batch["touched"]["A"] for batch in world.batches("t2")]
    first, second = names
    assert sorted(announced, key=len) == [[first], sorted([first, second])]
    assert len([e for e in world.store.journal.of_stock("ztf", first) if e["tier"] == 2]) == 2


def test_traceback_of_what_failed_is_told(world: Any) -> None:
    """The run shows it in the UI, where most people look first."""
    product = world.product(answers(ValueError("broken"), {"n": 1}))
    world.ingest(world.rules("A", product), world.star(0), world.star(1))
    tally = world.compute(product)
    assert tally.failures == {("product probe", "ValueError: broken"): 1}
    assert "ValueError: broken" in tally.tracebacks["product probe", "ValueError: broken"]
