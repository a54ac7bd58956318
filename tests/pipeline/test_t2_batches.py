"""Units that compute many light curves at once."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
import pytest

from ampel_dagster.model.codes import DocumentCode
from ampel_dagster.model.light_curve import COLUMNS, LightCurve
from ampel_dagster.testing import make_detection, make_limit
from ampel_dagster.units.base import LightCurveUnit, T2Return, Tied
from ampel_dagster.units.bound import Product

JD = 2458349.7


class Brightest(LightCurveUnit):
    """The brightest magnitude and the number of points."""

    def process(self, light_curve: LightCurve, tied: Tied) -> T2Return:
        mags = light_curve.detections.mag
        return {"n": len(light_curve), "mag": mags.min() if len(mags) else None, "how": "alone"}


class BrightestOfAll(Brightest):
    def process_batch(self, points: pd.DataFrame, tied: Sequence[Tied]) -> Sequence[T2Return]:
        assert list(points.columns) == ["curve", *COLUMNS]
        by_curve = points.groupby("curve")
        n = by_curve.size().reindex(range(len(tied)), fill_value=0)
        mag = points[points["kind"] == "detection"].groupby("curve")["mag"].min().reindex(range(len(tied)))
        return [{"n": int(n[i]), "mag": mag[i], "how": "together"} for i in range(len(tied))]


def history(n: int) -> list[dict[str, Any]]:
    return [make_detection(jd=JD - 1 - day, mag=18.0 + day) for day in range(n)] + [make_limit(jd=JD - 20)]


def ingest(world: Any, product: Product) -> None:
    world.ingest(world.rules("A", product), *(world.star(n, history=history(n)) for n in range(5)))


def test_same_results_as_one_by_one(world: Any) -> None:
    alone, together = Product("alone", Brightest()), Product("together", BrightestOfAll())
    world.ingest(world.rules("A", alone, together), *(world.star(n, history=history(n)) for n in range(5)))
    world.compute(alone, together)
    one, all_ = ([d["result"] for d in world.t2(product)] for product in (alone, together))
    assert [r["n"] for r in one] == [2, 3, 4, 5, 6]
    assert [{**r, "how": ""} for r in one] == [{**r, "how": ""} for r in all_]
    assert {r["how"] for r in all_} == {"together"}


class Wrong(BrightestOfAll):
    how: str

    def process_batch(self, points: pd.DataFrame, tied: Sequence[Tied]) -> Sequence[T2Return]:
        found: list[Any] = list(super().process_batch(points, tied))
        if self.how == "raises":
            raise ValueError("no")
        if self.how == "too few":
            return found[1:]
        if self.how == "cannot be stored":
            found[2] = {"what": object()}
        return found


@pytest.mark.parametrize("how", ["raises", "too few", "cannot be stored"])
def test_where_the_batch_fails_each_curve_is_computed_alone(world: Any, how: str) -> None:
    product = Product("wrong", Wrong(how=how))
    ingest(world, product)
    world.compute(product)
    assert [(d["code"], d["result"]["how"]) for d in world.t2(product)] == [(DocumentCode.OK, "alone")] * 5


def test_a_curve_that_fails_alone_fails_alone(world: Any) -> None:
    class Picky(Wrong):
        def process(self, light_curve: LightCurve, tied: Tied) -> T2Return:
            if len(light_curve) == 4:
                raise ValueError("four")
            return super().process(light_curve, tied)

    product = Product("picky", Picky(how="raises"))
    ingest(world, product)
    world.compute(product)
    assert [d["code"] for d in world.t2(product)] == [0, 0, DocumentCode.EXCEPTION, 0, 0]
