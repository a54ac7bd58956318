"""The instance folder: what a user edits, and what the platform keeps beside it."""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path

from ampel_dagster.model.errors import UserError

#: Folders that hold one YAML file each channel, product, process and stream.
CONFIG_FOLDERS = ("channels", "t2", "t3", "streams")
_DEFAULT = ".ampel"


@dataclass(frozen=True, slots=True)
class Instance:
    """A folder with `channels/ t2/ t3/ streams/`, `workers.yaml`, Dagster's settings, reports and the database."""

    folder: Path

    @property
    def reports(self) -> Path:
        """Where reactions write their files."""
        return self.folder / "reports"

    def path(self, relative: str) -> Path:
        """A path of the configuration, which counts from the instance."""
        return (self.folder / Path(relative).expanduser()).resolve()


def ui_url(env: Mapping[str, str] = os.environ) -> str:
    """Where the Dagster UI is served, for links to runs: `AMPEL_UI_URL`, which `ampel-dagster dev` sets."""
    return env.get("AMPEL_UI_URL", "http://127.0.0.1:3000")


def locate(env: Mapping[str, str] = os.environ, cwd: Path | None = None) -> Instance:
    """The instance in force: `AMPEL_INSTANCE`, else ``./.ampel``, made from the packaged demo on first use.

    Raises UserError where `AMPEL_INSTANCE` names a folder that is none.
    """
    named = env.get("AMPEL_INSTANCE")
    if named:
        folder = Path(named).expanduser().resolve()
        if not any((folder / name).is_dir() for name in CONFIG_FOLDERS):
            raise UserError(f"AMPEL_INSTANCE={named}: no instance there; make one with: ampel-dagster init {named}")
        return Instance(folder)
    folder = ((cwd or Path.cwd()) / _DEFAULT).resolve()
    if not folder.is_dir():
        copy_demo(folder)
    return Instance(folder)


def configuration_folder(env: Mapping[str, str] = os.environ, cwd: Path | None = None) -> Path:
    """Folder to read the configuration from without writing anything: the instance, else the packaged demo."""
    if env.get("AMPEL_INSTANCE"):
        return locate(env, cwd).folder
    folder = ((cwd or Path.cwd()) / _DEFAULT).resolve()
    return folder if folder.is_dir() else packaged_demo()


def packaged_demo() -> Path:
    """The demo instance inside the package."""
    with as_file(files("ampel_dagster") / "instance") as folder:
        return folder


def copy_demo(folder: Path) -> None:
    """Make an instance out of the packaged demo; the folder appears complete or not at all."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = folder.with_name(f"{folder.name}.{os.getpid()}.tmp")
    try:
        shutil.copytree(packaged_demo(), temporary, ignore=shutil.ignore_patterns("__pycache__"))
        temporary.rename(folder)
    except OSError:
        shutil.rmtree(temporary, ignore_errors=True)
        # Was another process faster? Then its copy is as good.
        if not folder.is_dir():
            raise
