"""Units built from files: what decides about the identity of a product, a channel's verdicts and its states."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from ampel_dagster.config.load import Config, load
from ampel_dagster.model.errors import ConfigError
from ampel_dagster.units.bound import ChannelRules, Product, in_order
from ampel_dagster.units.registry import _load

#: A package of one's own with units of every kind.
UNITS = '''
from pathlib import Path
from typing import ClassVar
from pydantic import Field, field_validator
from ampel_dagster.units.base import AlertFilter, PointUnit, Report, StateUnit, StockUnit, T1Combiner

class Rate(StateUnit):
    """A number with a default."""
    version: ClassVar[str] = "1"
    window_days: float = 10.0
    bands: tuple[str, ...] = ("g", "r")
    def process(self, state, points, tied): return {}

class Rise(StateUnit):
    requires: ClassVar = ("Rate",)
    def process(self, state, points, tied): return {}

class OnPoints(PointUnit):
    def process(self, point, tied): return {}

class OnStocks(StockUnit):
    def process(self, stock, tied): return {}

class Newest(T1Combiner):
    number: int = 5
    def combine(self, points): return [p[0] for p in points][-self.number:]

class Moody(StateUnit):
    how: str
    @field_validator("how")
    @classmethod
    def _check(cls, how):
        if how == "key": raise KeyError("x")
        return how
    def prepare(self, folder):
        if self.how == "value": raise ValueError("no model; put it there")
        if self.how == "os": (folder / "not" / "there").read_text()
        if self.how == "none": return None
        return self
    def process(self, state, points, tied): return {}

class Abstract(StateUnit):
    pass
'''
STREAM = {"streams/ztf": {"survey": "ztf", "start_date": "2017-11-01"}}


@pytest.fixture(autouse=True)
def _own_units(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    package = tmp_path / "site"
    info = package / "own_units-1.0.dist-info"
    info.mkdir(parents=True)
    (package / "own_units_for_build.py").write_text(UNITS)
    names = ("Rate", "Rise", "OnPoints", "OnStocks", "Newest", "Moody", "Abstract")
    lines = [f"{name} = own_units_for_build:{name}" for name in names]
    (info / "entry_points.txt").write_text("\n".join(["[ampel_dagster.units]", *lines]))
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: own-units\nVersion: 1.0\n")
    monkeypatch.syspath_prepend(package)
    _load.cache_clear()
    yield
    _load.cache_clear()


def build(folder: Path, files: Mapping[str, Any]) -> Config:
    for name, content in {**STREAM, **files}.items():
        path = folder / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(content))
    return load(folder)


def product(folder: Path, **spec: Any) -> Product:
    return build(folder, {"t2/p": spec}).products["p"]


def rules(folder: Path, channel: Mapping[str, Any] = {}, **block: Any) -> ChannelRules:
    files = {"t2/p": {"unit": "Rate"}, "channels/A": {"channel": "A", **channel, "ztf": block}}
    return build(folder, files).rules("ztf")[0]


def mistake(folder: Path, files: Mapping[str, Any]) -> str:
    with pytest.raises(ConfigError) as caught:
        build(folder, files)
    (problem,) = caught.value.problems
    return str(problem)


# --- products


def test_product_is_the_same_under_another_name_and_with_defaults_spelt_out(tmp_path: Path) -> None:
    plain = product(tmp_path / "1", unit="Rate")
    spelt = product(tmp_path / "2", unit="Rate", config={"window_days": 10, "bands": ["g", "r"]})
    other = build(tmp_path / "3", {"t2/other": {"unit": "Rate"}}).products["other"]
    assert plain.id == spelt.id == other.id


def test_product_is_the_same_in_a_new_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = product(tmp_path / "1", unit="Rate")
    monkeypatch.setattr(type(before.unit), "version", "2")
    after = product(tmp_path / "2", unit="Rate")
    assert after.version == "2"
    assert after.id == before.id


def test_product_is_another_with_another_configuration(tmp_path: Path) -> None:
    configs: list[dict[str, Any]] = [{}, {"window_days": 11}, {"bands": ["r", "g"]}, {"bands": ["g"]}]
    ids = {product(tmp_path / f"{n}", unit="Rate", config=config).id for n, config in enumerate(configs)}
    ids.add(product(tmp_path / "other", unit="OnPoints").id)
    assert len(ids) == len(configs) + 1


def test_product_is_another_where_what_it_builds_upon_is(tmp_path: Path) -> None:
    def rise(folder: Path, **config: Any) -> Product:
        files = {"t2/rate": {"unit": "Rate", "config": config}, "t2/rise": {"unit": "Rise", "requires": ["rate"]}}
        return build(folder, files).products["rise"]

    first, second = rise(tmp_path / "1"), rise(tmp_path / "2", window_days=20)
    assert first.id != second.id
    assert first.id == rise(tmp_path / "3", window_days=10).id
    assert [p.name for p in in_order(first)] == ["rate", "rise"]


def test_products_come_after_what_they_build_upon(tmp_path: Path) -> None:
    files = {
        "t2/z": {"unit": "Rate"},
        "t2/a": {"unit": "Rise", "requires": ["z"]},
        "t2/unused": {"unit": "OnPoints"},
        "channels/A": {"channel": "A", "ztf": {"t2": ["a"]}},
        "channels/B": {"channel": "B", "ztf": {"t2": ["a", "z"]}},
    }
    assert [p.name for p in build(tmp_path, files).products_of("ztf")] == ["z", "a"]


def test_unit_that_builds_upon_another_must_be_given_it(tmp_path: Path) -> None:
    files = {"t2/rise": {"unit": "Rise"}}
    expected = "t2/rise.yaml: requires: Rise builds upon Rate — name one product of unit Rate under requires:"
    assert mistake(tmp_path / "none", files) == expected
    two = {f"t2/r{n}": {"unit": "Rate", "config": {"window_days": n}} for n in (1, 2)}
    files = {**two, "t2/rise": {"unit": "Rise", "requires": ["r1", "r2"]}}
    assert mistake(tmp_path / "two", files) == expected


@pytest.mark.parametrize(
    ("base", "above", "fits"),
    [
        ("OnStocks", "Rate", True),
        ("OnStocks", "OnPoints", True),
        ("OnPoints", "Rate", False),
        ("Rate", "OnPoints", False),
        ("Rate", "OnStocks", False),
        ("OnPoints", "OnStocks", False),
    ],
)
def test_result_of_the_same_object_must_exist_to_build_upon_it(
    tmp_path: Path, base: str, above: str, fits: bool
) -> None:
    files = {"t2/base": {"unit": base}, "t2/above": {"unit": above, "requires": ["base"]}}
    if fits:
        assert build(tmp_path, files).products["above"].requires[0].name == "base"
    else:
        assert "t2/above.yaml: requires: base is computed from" in mistake(tmp_path, files)


# --- channels

FILTER = {"unit": "BasicFilter", "config": {"all_of": [{"attribute": "rb", "operator": ">", "value": 0.5}]}}
STRICTER = {"unit": "BasicFilter", "config": {"all_of": [{"attribute": "rb", "operator": ">", "value": 0.6}]}}


def test_what_decides_about_alerts_is_a_channels_identity(tmp_path: Path) -> None:
    made = [
        rules(tmp_path / "1"),
        rules(tmp_path / "2", filter=FILTER),
        rules(tmp_path / "3", filter=STRICTER),
        rules(tmp_path / "4", known_stocks="bypass"),
        rules(tmp_path / "5", combiner={"unit": "Newest"}),
        rules(tmp_path / "6", {"access": ["ZTF", "ZTF_PUB", "ZTF_PRIV"]}),
    ]
    assert len({r.config for r in made}) == len(made)


def test_what_decides_about_nothing_leaves_the_identity(tmp_path: Path) -> None:
    before = rules(tmp_path / "1", filter=FILTER)
    public = rules(tmp_path / "2", {"access": ["ZTF_PUB", "ZTF"], "contact": "me", "members": ["us"]}, filter=FILTER)
    more = rules(tmp_path / "3", filter=FILTER, t2=["p"])
    assert before.config == public.config == more.config
    assert [len(r.requests) for r in (before, more)] == [0, 1]


def test_channels_that_may_see_the_same_share_their_states(tmp_path: Path) -> None:
    mine, theirs = rules(tmp_path / "1"), rules(tmp_path / "2", filter=FILTER, known_stocks="overrule")
    private = rules(tmp_path / "3", {"access": ["ZTF", "ZTF_PUB", "ZTF_PRIV"]})
    fewer = rules(tmp_path / "4", combiner={"unit": "Newest"})
    default = rules(tmp_path / "5", combiner={"unit": "Newest", "config": {"number": 5}})
    assert mine.view == theirs.view
    assert len({mine.view, private.view, fewer.view}) == 3
    assert (fewer.view, fewer.combiner_id) == (default.view, default.combiner_id)
    assert mine.combiner_id == private.combiner_id != fewer.combiner_id


# --- units of other people


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("value", "t2/p.yaml: config: no model — put it there"),
        ("os", "t2/p.yaml: config: FileNotFoundError: "),
        ("key", "t2/p.yaml: config: KeyError: 'x'"),
        ("none", "t2/p.yaml: unit: Moody.prepare returned no unit — let it return self"),
    ],
)
def test_unit_that_cannot_be_built_is_a_problem_like_others(tmp_path: Path, how: str, said: str) -> None:
    assert mistake(tmp_path, {"t2/p": {"unit": "Moody", "config": {"how": how}}}).startswith(said)


def test_unit_without_its_method_is_a_problem(tmp_path: Path) -> None:
    assert "abstract" in mistake(tmp_path, {"t2/p": {"unit": "Abstract"}})
