"""The instance folder: found, or made once, whoever asks first."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ampel_dagster.config.instance import (
    CONFIG_FOLDERS,
    Instance,
    configuration_folder,
    copy_demo,
    locate,
    packaged_demo,
)
from ampel_dagster.config.load import load
from ampel_dagster.model.errors import UserError


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if "__pycache__" not in path.parts)


def test_instance_is_made_from_the_demo_on_first_use(tmp_path: Path) -> None:
    found = locate({}, tmp_path)
    assert found.folder == tmp_path / ".ampel"
    assert files(found.folder) == files(packaged_demo())
    assert load(found.folder).id == load(packaged_demo()).id


def test_instance_that_is_there_stays_as_it_is(tmp_path: Path) -> None:
    folder = locate({}, tmp_path).folder
    for path in sorted(folder.rglob("*.yaml")):
        path.unlink()
    (folder / "mine").write_text("mine")
    before = files(folder)
    assert locate({}, tmp_path).folder == folder
    assert files(folder) == before


@pytest.mark.parametrize("only", CONFIG_FOLDERS)
def test_named_instance_needs_one_of_its_folders(tmp_path: Path, only: str) -> None:
    (tmp_path / "here" / only).mkdir(parents=True)
    assert locate({"AMPEL_INSTANCE": str(tmp_path / "here")}, tmp_path).folder == tmp_path / "here"
    assert not (tmp_path / ".ampel").exists()


@pytest.mark.parametrize("name", ["nowhere", ".", "file"])
def test_named_folder_that_is_no_instance_says_how_to_make_one(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("")
    named = str(tmp_path / name)
    with pytest.raises(UserError, match=r"AMPEL_INSTANCE=.*: no instance there; make one with: ampel-dagster init"):
        locate({"AMPEL_INSTANCE": named}, tmp_path)
    assert not (tmp_path / ".ampel").exists()


def test_home_is_understood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "mine" / "channels").mkdir(parents=True)
    assert locate({"AMPEL_INSTANCE": "~/mine"}).folder == tmp_path / "mine"
    assert Instance(tmp_path).path("~/data") == tmp_path / "data"


def test_paths_count_from_the_instance(tmp_path: Path) -> None:
    instance = Instance(tmp_path)
    assert instance.path("archive") == tmp_path / "archive"
    assert instance.path("../other") == tmp_path.parent / "other"
    assert instance.path("/data") == Path("/data")
    assert instance.reports == tmp_path / "reports"


def test_looking_at_the_configuration_makes_nothing(tmp_path: Path) -> None:
    assert configuration_folder({}, tmp_path) == packaged_demo()
    assert list(tmp_path.iterdir()) == []
    (tmp_path / ".ampel").mkdir()
    assert configuration_folder({}, tmp_path) == tmp_path / ".ampel"
    with pytest.raises(UserError):
        configuration_folder({"AMPEL_INSTANCE": str(tmp_path / "nowhere")}, tmp_path)


def test_many_processes_at_once_make_one_whole_instance(tmp_path: Path) -> None:
    """All wait for the same moment, then ask for the instance."""
    code = (
        "import sys; from pathlib import Path; from ampel_dagster.config.instance import locate;"
        "from ampel_dagster.config.load import load; sys.stdin.read(1);"
        "print(len(load(locate({}, Path(sys.argv[1])).folder).channels))"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    many = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    for process in many:
        assert process.stdin is not None
        process.stdin.write("x")
        process.stdin.flush()
    said = [process.communicate() for process in many]
    assert said == [(f"{len(load(packaged_demo()).channels)}\n", "")] * 3
    assert os.listdir(tmp_path) == [".ampel"]
    assert files(tmp_path / ".ampel") == files(packaged_demo())


def test_copy_into_a_folder_that_is_taken_leaves_it_alone(tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "mine").write_text("mine")
    copy_demo(taken)
    assert files(taken) == ["mine"]
    assert os.listdir(tmp_path) == ["taken"]


def test_copy_where_nothing_can_be_written_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        copy_demo(tmp_path / "file" / "instance")
    (tmp_path / "target").write_text("a file in the way")
    with pytest.raises(OSError, match="target"):
        copy_demo(tmp_path / "target")
    assert sorted(os.listdir(tmp_path)) == ["file", "target"]
