"""A unit in processes of its own: what it does to its process costs one document, whatever it is."""

import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from ampel_dagster.model.codes import DocumentCode
from ampel_dagster.units.bound import Limits, Product
from tests.pipeline import unruly_units
from tests.pipeline.unruly_units import Crashes, EatsMemory, Exits, NeverEnds, Raises

STARS = 6
ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other processes import the units of this folder, too."""
    monkeypatch.syspath_prepend(ROOT)


def test_unit_that_other_processes_cannot_import(world: Any) -> None:
    class Local(Raises):
        pass

    Local.__qualname__, Local.__module__ = "Local", "nowhere"
    sys.modules["nowhere"] = ModuleType("nowhere")
    sys.modules["nowhere"].Local = Local  # type: ignore[attr-defined]
    product = Product("unruly", Local(), (), Limits(isolate=True))
    world.ingest(world.rules("A", product), world.star(0))
    world.compute(product)
    (failed,) = world.t2(product)
    assert failed["code"] == DocumentCode.EXCEPTION
    assert failed["error"]["message"].startswith("the unit cannot be loaded in another process: ModuleNotFoundError")


def bad_stock(world: Any) -> int:
    number: int = world.instrument.stock_id("ZTF18aaaaaac")
    return number


@pytest.mark.parametrize(
    ("unit", "limits", "code", "message"),
    [
        (Crashes, {}, DocumentCode.INTERNAL_ERROR, "died by signal 11"),
        (Exits, {}, DocumentCode.INTERNAL_ERROR, "died with exit code 3"),
        (NeverEnds, {"time_limit_s": 1.0}, DocumentCode.EXCEPTION, "longer than its time limit of 1 s"),
        (EatsMemory, {"memory_limit_mb": 512}, DocumentCode.EXCEPTION, "MemoryError"),
        (Raises, {}, DocumentCode.EXCEPTION, "ValueError: the bad one"),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
@pytest.mark.parametrize("processes", [1, 2])
def test_only_its_own_document_fails(
    world: Any,
    unit: type[unruly_units.Unruly],
    limits: dict[str, Any],
    code: DocumentCode,
    message: str,
    processes: int,
) -> None:
    product = Product("unruly", unit(bad_stock=bad_stock(world)), (), Limits(True, processes, **limits))
    world.ingest(world.rules("A", product), *(world.star(n) for n in range(STARS)))
    tally = world.compute(product)
    assert (tally.counts["computed"], tally.counts["failed"]) == (STARS - 1, 1)
    documents = world.t2(product)
    (failed,) = [d for d in documents if d["code"] < 0]
    assert (failed["stock"], failed["code"]) == (bad_stock(world), code)
    assert message in failed["error"]["message"]
    pids = {d["result"]["pid"] for d in documents if d["code"] == 0}
    assert os.getpid() not in pids
    assert [d["result"]["n"] for d in documents if d["code"] == 0] == [1] * (STARS - 1)


def test_tied_results_and_tracebacks_come_through(world: Any) -> None:
    product = Product("unruly", Raises(bad_stock=bad_stock(world)), (), Limits(isolate=True))
    world.ingest(world.rules("A", product), world.star(2))
    world.compute(product)
    (failed,) = world.t2(product)
    assert "in misbehave" in failed["error"]["traceback"]


def test_same_results_as_without(world: Any) -> None:
    plain = Product("plain", Raises(bad_stock=1 << 40))
    apart = Product("apart", Raises(bad_stock=1 << 41), (), Limits(isolate=True))
    world.ingest(world.rules("A", plain, apart), *(world.star(n) for n in range(STARS)))
    world.compute(plain, apart)
    assert [d["result"]["n"] for d in world.t2(plain)] == [d["result"]["n"] for d in world.t2(apart)]
    assert {d["result"]["pid"] for d in world.t2(plain)} == {os.getpid()}
