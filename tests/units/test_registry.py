"""Units by name: our own, and those that other packages offer."""

import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from ampel_dagster.units import registry
from ampel_dagster.units.base import AlertFilter, Publisher, T2Unit, Unit
from ampel_dagster.units.filters import DecentFilter
from ampel_dagster.units.registry import find_unit, unit_names

MODULE = """
from ampel_dagster.units.base import AlertFilter

class Brightest(AlertFilter):
    def accept(self, alert):
        return True

class DecentFilter(AlertFilter):
    def accept(self, alert):
        return True

class NoUnit:
    pass

a_function = print
"""
BROKEN = {"not_there_at_all": None, "own_units_syntax": "def (", "own_units_raises": "raise RuntimeError('no GPU')"}


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package of somebody else, installed."""
    info = tmp_path / "own_units-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: own-units\nVersion: 1.0\n")
    (tmp_path / "own_units_good.py").write_text(MODULE)
    for name, text in BROKEN.items():
        if text is not None:
            (tmp_path / f"{name}.py").write_text(text)
    entries = {
        **{name: f"own_units_good:{name}" for name in ("Brightest", "DecentFilter", "NoUnit")},
        "Function": "own_units_good:a_function",
        "Absent": "own_units_good:Absent",
        **{f"Broken{n}": f"{module}:Unit" for n, module in enumerate(BROKEN)},
    }
    lines = [f"{name} = {target}" for name, target in entries.items()]
    (info / "entry_points.txt").write_text("\n".join(["[ampel_dagster.units]", *lines, ""]))
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    registry._load.cache_clear()
    yield tmp_path
    registry._load.cache_clear()


def test_own_units_are_found_by_name_and_kind() -> None:
    assert find_unit("DecentFilter", AlertFilter) is DecentFilter
    assert find_unit("DecentFilter", Unit) is DecentFilter
    assert {"BasicFilter", "DecentFilter"} <= set(unit_names(AlertFilter))
    assert {"LightCurveSummary", "CatalogMatch"} <= set(unit_names(T2Unit))
    assert set(unit_names(AlertFilter)).isdisjoint(unit_names(T2Unit))
    assert unit_names() == sorted(unit_names())


@pytest.mark.parametrize(("name", "near"), [("DecentFliter", "DecentFilter"), ("basicfilter", "BasicFilter")])
def test_misspelt_name_suggests_the_nearest(name: str, near: str) -> None:
    with pytest.raises(LookupError, match=f"no unit is called '{name}'; did you mean {near}"):
        find_unit(name, AlertFilter)


def test_name_like_no_other_lists_what_there_is() -> None:
    with pytest.raises(LookupError, match=r"there are: .*BasicFilter, DecentFilter"):
        find_unit("Xyzzy", AlertFilter)


def test_suggestion_is_of_the_wanted_kind() -> None:
    with pytest.raises(LookupError) as caught:
        find_unit("DecentFliter", T2Unit)
    assert "DecentFilter" not in str(caught.value)


def test_unit_of_another_kind_is_told_from_one_that_is_not_there() -> None:
    with pytest.raises(LookupError, match=r"^DecentFilter is no T2Unit; there are: .*LightCurveSummary"):
        find_unit("DecentFilter", T2Unit)
    with pytest.raises(LookupError, match=r"^DecentFilter is no Publisher; there are: "):
        find_unit("DecentFilter", Publisher)


def test_units_of_other_packages_are_found(package: Path) -> None:
    found = find_unit("Brightest", AlertFilter)
    assert (found.__module__, found.__name__) == ("own_units_good", "Brightest")
    assert "Brightest" in unit_names(AlertFilter)
    assert "Brightest" not in unit_names(T2Unit)


def test_our_own_name_is_not_taken_by_another_package(package: Path) -> None:
    assert find_unit("DecentFilter", AlertFilter) is DecentFilter


@pytest.mark.parametrize("name", ["NoUnit", "Function"])
def test_entry_point_that_is_no_unit_is_said(package: Path, name: str) -> None:
    with pytest.raises(LookupError, match=f"^{name}: entry point own_units_good:.* is no unit"):
        find_unit(name, Unit)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("Broken0", "not_there_at_all"),
        ("Broken1", "SyntaxError"),
        ("Broken2", "RuntimeError: no GPU"),
        ("Absent", "Absent"),
    ],
)
def test_package_that_cannot_be_imported_is_said_in_one_line(package: Path, name: str, why: str) -> None:
    with pytest.raises(LookupError, match=f"^{name}: its package cannot be imported .*{why}") as caught:
        find_unit(name, Unit)
    assert "\n" not in str(caught.value)


def test_broken_package_does_not_stand_in_the_way_of_others(package: Path) -> None:
    assert "Brightest" in unit_names()
    assert not {"Broken0", "Broken1", "Broken2", "NoUnit"} & set(unit_names())
    with pytest.raises(LookupError, match="did you mean Brightest"):
        find_unit("Brigthest", AlertFilter)
