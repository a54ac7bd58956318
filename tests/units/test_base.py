"""What all units have in common."""

from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ampel_dagster.units.base import (
    AlertFilter,
    BulkPublisher,
    LightCurveUnit,
    PointUnit,
    PopulationUnit,
    Publisher,
    Report,
    StateUnit,
    StockUnit,
    T1Combiner,
    Unit,
)


class Inner(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    radius: float = 1.0
    names: tuple[str, ...] = ()


class Probe(Unit):
    threshold: float = 5.0
    mode: Literal["a", "b"] = "a"
    inner: Inner = Field(default_factory=Inner)
    more: dict[str, Inner] = Field(default_factory=dict)


class Other(Probe):
    version: ClassVar[str] = "2"


def test_unknown_setting_is_refused() -> None:
    with pytest.raises(ValidationError, match="treshold"):
        Probe(treshold=3)  # type: ignore[call-arg]
    with pytest.raises(ValidationError, match="radios"):
        Probe(inner={"radios": 3})  # type: ignore[arg-type]


def test_unit_does_not_change() -> None:
    probe = Probe()
    with pytest.raises(ValidationError, match="frozen"):
        probe.threshold = 3.0  # type: ignore[misc]


def test_explicit_config_is_what_differs_from_the_defaults() -> None:
    assert Probe().explicit_config() == {}
    assert Probe(threshold=5, mode="a", inner=Inner(radius=1)).explicit_config() == {}
    assert Probe(threshold=6, inner=Inner(names=("x",))).explicit_config() == {
        "threshold": 6.0,
        "inner": {"names": ["x"]},
    }
    # Of what stands under a name of the user's, the defaults are left out too.
    assert Probe(more={"a": Inner(), "b": Inner(radius=2)}).explicit_config() == {
        "more": {"a": {}, "b": {"radius": 2.0}}
    }


def test_identity_is_name_and_explicit_configuration() -> None:
    assert Probe().identity() == Probe(threshold=5).identity()
    assert Probe().identity() != Probe(threshold=5.5).identity()
    assert Probe().identity() != Other().identity()
    assert -(1 << 63) <= Probe().identity() < 1 << 63


def test_version_is_no_part_of_the_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    before = Other().identity()
    monkeypatch.setattr(Other, "version", "3")
    assert Other().identity() == before


def test_unit_needs_no_preparation(tmp_path: Path) -> None:
    probe = Probe()
    assert probe.prepare(tmp_path) is probe
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "kind",
    [
        AlertFilter,
        T1Combiner,
        PointUnit,
        StockUnit,
        StateUnit,
        LightCurveUnit,
        PopulationUnit,
        Report,
        Publisher,
        BulkPublisher,
    ],
)
def test_kinds_of_units_want_their_method(kind: type[Unit]) -> None:
    class Empty(kind):  # type: ignore[misc, valid-type]
        pass

    with pytest.raises(TypeError, match="abstract"):
        Empty()


def test_filter_that_says_nothing_reads_the_history() -> None:
    class Silent(AlertFilter):
        def accept(self, alert: Any) -> bool:
            return True

    class Quick(Silent):
        needs: ClassVar[Literal["candidate"]] = "candidate"  # type: ignore[assignment, misc]

    assert (Silent().needs, Quick().needs) == ("history", "candidate")


@pytest.mark.parametrize(("answer", "passed"), [(True, True), (3, True), (0, False), (None, False), (-7, False)])
def test_a_filter_that_explains_nothing_has_one_stage(answer: Any, passed: bool) -> None:
    class Says(AlertFilter):
        def accept(self, alert: Any) -> Any:
            return answer

    assert Says().explain(None) == [("accept", answer, None, passed, ())]  # type: ignore[arg-type]


def test_defaults_of_t2_units() -> None:
    class OnPoints(PointUnit):
        def process(self, point: Any, tied: Any) -> dict[str, Any]:
            return {}

    unit = OnPoints()
    assert (unit.eligible, unit.kinds, unit.needs, unit.requires, unit.data_versions()) == (
        "all",
        ("detection",),
        None,
        (),
        {},
    )
    with pytest.raises(ValidationError, match="eligible"):
        OnPoints(eligible="second")  # type: ignore[arg-type]
    with pytest.raises(ValidationError, match="kinds"):
        OnPoints(kinds=("limits",))  # type: ignore[arg-type]
