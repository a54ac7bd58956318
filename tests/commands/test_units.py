"""``unit try`` on stored objects, and ``unit new``, whose units work at once."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

import ampel_dagster
from ampel_dagster.cli import main
from ampel_dagster.commands.scaffold import FORMS
from ampel_dagster.model.errors import UserError
from ampel_dagster.testing import make_alert, make_detection, write_archive
from ampel_dagster.units.t2.rise_decline import RiseDecline

NAME = "ZTF18aaaaaaa"
JD = 2458349.7
CATALOG = "t2/near.yaml"


@pytest.fixture(scope="module")
def platform(make_platform, tmp_path_factory):
    tied = {"t2/stack.yaml": {"unit": "Stack", "config": {"columns": {"n": "summary.ndet"}}, "requires": ["summary"]}}
    platform = make_platform({"A": {"t2": ["summary", "stack"]}}, tied)
    history = [make_detection(jd=JD - days, mag=18.0 + 0.2 * days) for days in (6, 4, 2)]
    file = tmp_path_factory.mktemp("night") / "night.tar.gz"
    write_archive(file, [make_alert(name=NAME, jd=JD, mag=18.0, history=history, cutouts=False)])
    platform.ingest(file)
    return platform


def run(platform, *args):
    return CliRunner().invoke(main, list(args), env=platform.env)


def tried(platform, *args):
    result = run(platform, "unit", "try", *args, "--stock", NAME, "--json")
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


class TestTry:
    def test_product_gives_what_is_stored_and_writes_nothing(self, platform):
        before = platform.content()
        (found,) = tried(platform, "summary")
        (stored,) = platform.ztf.results.collection.find({"product": "summary"})
        assert found["result"] == stored["result"]
        assert (found["code"], found["input"]) == (0, stored["input"])
        assert found["duration_s"] > 0
        assert found["peak_mb"] > 0
        assert platform.content() == before

    def test_unit_with_a_configuration(self, platform):
        (found,) = tried(platform, "RiseDecline", "--config", '{"max_gap_days": 1}')
        assert (found["result"]["ndet"], found["result"]["bool_hasgaps"]) == (4, True)
        assert found["result"]["slope_rise_r"] == pytest.approx(-0.2)

    def test_tied_product(self, platform):
        (found,) = tried(platform, "stack")
        assert found["result"] == {"n": 4, "complete": True}

    def test_for_people(self, platform):
        result = run(platform, "unit", "try", "summary", "--stock", NAME)
        assert f"LightCurveSummary of {NAME}" in result.stdout
        assert "ndet: 4" in result.stdout
        assert "nothing was written" in result.stderr

    @pytest.mark.parametrize(
        ("args", "message"),
        [
            (["sumary"], "no product or T2 unit is called 'sumary'; did you mean summary?"),
            (["RiseDecline", "--config", "{"], "--config is no JSON"),
            (["RiseDecline", "--config", "[]"], "--config is an object"),
            (["RiseDecline", "--config", '{"max_gap": 1}'], "--config: max_gap: "),
            (["summary", "--config", "{}"], "leave out --config"),
            (["HostGalaxy", "--config", '{"catalogs": {"a": {}}}'], "it builds upon CatalogMatch"),
            (["summary", "--state", "7"], "the object has no such state; there are: "),
        ],
    )
    def test_mistakes(self, platform, args, message):
        result = run(platform, "unit", "try", *args, "--stock", NAME)
        assert result.exit_code == 2
        assert message in result.stderr
        assert "Traceback" not in result.stderr

    def test_three_lines_in_a_notebook(self, platform):
        with platform.entered():
            base = ampel_dagster.open()
            assert base[NAME].compute(RiseDecline())["slope_rise_r"] == pytest.approx(-0.2)
            with pytest.raises(UserError, match="no such state"):
                base[NAME].compute(RiseDecline(), state=7)
            base.close()


@pytest.mark.parametrize("kind", sorted(FORMS))
def test_new_unit_works_at_once(kind: str, tmp_path: Path) -> None:
    """Its own test passes, and ruff and mypy have nothing to say."""
    package = tmp_path / "my_units"
    result = CliRunner().invoke(main, ["unit", "new", "RedRise", "--kind", kind, "--package", str(package)])
    assert result.exit_code == 0, result.output
    assert 'RedRise = "my_units.red_rise:RedRise"' in (package / "pyproject.toml").read_text()
    root = Path(ampel_dagster.__file__).parents[1]
    env = {**os.environ, "PYTHONPATH": f"{package}{os.pathsep}{root}"}

    def check(*command: str) -> None:
        done = subprocess.run([sys.executable, "-m", *command], cwd=package, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr

    check("pytest", "-q", "-p", "no:cacheprovider", "tests")
    check("ruff", "check", "--isolated", "--select", "E,F,W,I,UP,B,RUF", "--line-length", "120")
    check("ruff", "format", "--isolated", "--check", "--line-length", "120")


def test_new_units_are_typed(tmp_path: Path) -> None:
    package = tmp_path / "my_units"
    for kind in FORMS:
        name = f"My{kind.title().replace('_', '')}"
        result = CliRunner().invoke(main, ["unit", "new", name, "--kind", kind, "--package", str(package)])
        assert result.exit_code == 0, result.output
    root = Path(ampel_dagster.__file__).parents[1]
    command = [sys.executable, "-m", "mypy", "--strict", "--follow-imports", "silent", "-p", "my_units"]
    env = {**os.environ, "MYPYPATH": f"{package}{os.pathsep}{root}"}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (package / "pyproject.toml").read_text().count("my_units.") == len(FORMS)


def test_new_unit_in_this_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    units = tmp_path / "ampel_dagster" / "units" / "t2"
    units.mkdir(parents=True)
    (units / "__init__.py").write_text(
        '"""T2."""\n\nfrom ampel_dagster.units.t2.stack import Stack\n\nUNITS = (\n    Stack,\n)\n'
    )
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, ["unit", "new", "RedRise"])
    assert result.exit_code == 0, result.output
    assert (units / "__init__.py").read_text() == (
        '"""T2."""\n\nfrom ampel_dagster.units.t2.red_rise import RedRise\n'
        "from ampel_dagster.units.t2.stack import Stack\n\nUNITS = (\n    RedRise,\n    Stack,\n)\n"
    )
    assert (tmp_path / "tests" / "units" / "t2" / "test_red_rise.py").exists()
    again = CliRunner().invoke(main, ["unit", "new", "RedRise"])
    assert again.exit_code == 2
    assert "is there already" in again.stderr


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["red_rise", "--package", "p"], "a unit is named as a class is"),
        (["RedRise"], "say --package DIR"),
        (["RedRise", "--package", "1-x"], "cannot be the name of a Python package"),
    ],
)
def test_mistakes_in_names(args: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, ["unit", "new", *args])
    assert result.exit_code == 2
    assert message in result.stderr
    assert list(tmp_path.iterdir()) == []
