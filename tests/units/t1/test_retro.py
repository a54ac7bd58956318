"""What combiners leave out, and what tells them apart."""

from ampel_dagster.model.datapoint import Kind
from ampel_dagster.units.t1.retro import RetroCombiner
from ampel_dagster.units.t1.simple import SimpleCombiner


def test_kinds_may_be_left_out() -> None:
    rows: list[tuple[int, Kind, float, int]] = [
        (1, "detection", 5.0, 0),
        (-2, "upper_limit", 4.0, 0),
        (3, "forced", 3.0, 0),
    ]
    assert set(RetroCombiner(upper_limits=False).combine(rows)) == {1, 3}
    assert set(SimpleCombiner(forced=False).combine(rows)) == {1, -2}
    assert SimpleCombiner(forced=False).identity() != SimpleCombiner().identity()
