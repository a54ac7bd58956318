"""The plan of the house, held by reading the imports: which room may know which, and where the drivers live.

The same table, for people, with the reasons: docs/architecture.md.
"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from importlib import import_module
from inspect import isabstract
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import pytest

from ampel_dagster.units import filters, t1, t2, t3
from ampel_dagster.units.base import Unit

REPO = Path(__file__).resolve().parents[1]
PACKAGES = ("ampel_dagster", "assets", "resources", "sensors")

#: What each room may import, apart from itself. Rooms of ampel_dagster go by their own name.
MAY_IMPORT = {
    "model": set(),
    "instruments": {"model"},
    "sources": {"model"},
    "units": {"model"},
    "storage": {"model"},
    "config": {"model", "instruments", "units"},
    "pipeline": {"model", "instruments", "sources", "units", "storage"},
    "simulation": {"model", "instruments"},
    "testing": {"model", "instruments", "simulation"},
    "notebook": {"model", "instruments", "units", "storage", "config", "pipeline"},
    "commands": {"model", "sources", "units", "storage", "config", "pipeline"},
    "cli": {"model", "commands"},
    "__main__": {"cli"},
    "__init__": set(),
    "resources": {"model", "storage", "config", "pipeline"},
    "assets": {"model", "sources", "units", "storage", "config", "pipeline", "resources"},
    "sensors": {"model", "sources", "units", "storage", "config", "pipeline", "resources", "assets"},
    "definitions": {"config", "resources", "assets", "sensors"},
}
#: Arrows that go the other way, and so may stand inside functions only: Dagster is loaded when a command needs it.
LAZILY = {
    ("commands", "definitions"),
    ("commands", "assets"),
    ("commands", "testing"),
    ("__init__", "notebook"),
}
#: Rooms in which a library of the outside world may be imported when a module is loaded.
DRIVERS = {
    "dagster": {"assets", "resources", "sensors", "definitions"},
    "pymongo": {"storage"},
    "bson": {"storage"},
    "gridfs": {"storage"},
    "fastavro": {"instruments", "sources"},
    "yaml": {"config"},
    "click": {"cli", "commands"},
    "rich": {"commands"},
    "matplotlib": set(),  # belongs to an extra, which may not be installed
    "confluent_kafka": set(),  # the same
}
#: The same for imports inside functions.
DRIVERS_LAZILY = {"dagster": {"cli", "commands"}, "matplotlib": {"units"}, "confluent_kafka": {"sources", "units"}}
#: Folders of units.
KINDS = (filters, t1, t2, t3)
#: Units whose test is still to be written.
UNTESTED: set[str] = set()
MAX_LINES_OF_A_FILE = 400
MAX_LINES_OF_A_FUNCTION = 50
MAX_LINES_OF_AN_ASSET = 25


class Import(NamedTuple):
    """One import of one file."""

    file: Path
    module: str
    #: Inside a function: it happens when that is called.
    lazy: bool
    #: Under TYPE_CHECKING: it never happens.
    typing: bool

    @property
    def top(self) -> str:
        return self.module.split(".")[0]

    def __str__(self) -> str:
        return f"{self.file.relative_to(REPO)} imports {self.module}"


def files() -> list[Path]:
    return [path for package in PACKAGES for path in sorted((REPO / package).rglob("*.py"))]


def room_of(module: str) -> str:
    """'ampel_dagster.storage.store' -> 'storage', 'assets.ops' -> 'assets', 'ampel_dagster' -> '__init__'."""
    first, *rest = module.split(".")
    return first if first != "ampel_dagster" else rest[0] if rest else "__init__"


def module_of(file: Path) -> str:
    parts = file.relative_to(REPO).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 2 else parts)


def imports_of(file: Path) -> Iterator[Import]:
    """All imports; ``from ampel_dagster.units import t2`` counts as ``ampel_dagster.units.t2``."""

    def walk(node: ast.AST, lazy: bool, typing: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                yield from (Import(file, alias.name, lazy, typing) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                assert child.level == 0, f"{file}: a relative import hides where it goes"
                yield from (Import(file, name, lazy, typing) for name in _targets(child))
            else:
                inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
                guarded = isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING")
                yield from walk(child, lazy or inside, typing or guarded)

    yield from walk(ast.parse(file.read_text(encoding="utf-8")), False, False)


def _targets(node: ast.ImportFrom) -> list[str]:
    module = node.module or ""
    folder = REPO.joinpath(*module.split("."))
    names = [alias.name for alias in node.names]
    if module.split(".")[0] in PACKAGES and folder.is_dir():
        return [f"{module}.{n}" if (folder / n).is_dir() or (folder / f"{n}.py").is_file() else module for n in names]
    return [module]


IMPORTS = [found for file in files() for found in imports_of(file)]
INSIDE = [found for found in IMPORTS if found.top in PACKAGES]


def test_every_room_is_in_the_table() -> None:
    assert {room_of(module_of(file)) for file in files()} == set(MAY_IMPORT)


def test_the_table_has_no_circle() -> None:
    TopologicalSorter(MAY_IMPORT).prepare()


def test_rooms_know_only_what_lies_below() -> None:
    wrong = []
    for found in INSIDE:
        here, there = room_of(module_of(found.file)), room_of(found.module)
        lazily = (found.lazy or found.typing) and (here, there) in LAZILY
        if here != there and there not in MAY_IMPORT[here] and not lazily:
            wrong.append(str(found))
    assert wrong == []


def test_every_exception_is_in_use() -> None:
    used = {(room_of(module_of(found.file)), room_of(found.module)) for found in INSIDE if found.lazy}
    assert used >= LAZILY


@pytest.mark.parametrize("driver", DRIVERS)
def test_drivers_stay_in_their_rooms(driver: str) -> None:
    wrong = []
    for found in IMPORTS:
        room = room_of(module_of(found.file))
        allowed = DRIVERS[driver] | (DRIVERS_LAZILY.get(driver, set()) if found.lazy else set())
        if found.top == driver and room not in allowed and not found.typing:
            wrong.append(str(found))
    assert wrong == []


def test_units_know_no_machinery() -> None:
    """Units are tried with plain Python: no Dagster, database or packet format, not even inside a function."""
    machinery = {"dagster", "pymongo", "bson", "fastavro"}
    assert [str(i) for i in IMPORTS if room_of(module_of(i.file)) == "units" and i.top in machinery] == []


def test_kinds_of_units_share_the_base_only() -> None:
    wrong = []
    for found in INSIDE:
        here, there = module_of(found.file).split("."), found.module.split(".")
        if here[1:2] != ["units"] or there[1:2] != ["units"] or len(here) < 4:
            continue
        if there[2:] != ["base"] and there[2] != here[2]:
            wrong.append(str(found))
    assert wrong == []


def test_the_command_line_loads_dagster_only_when_it_is_needed() -> None:
    look = "import sys, ampel_dagster.cli; sys.exit('dagster' in sys.modules or 'matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", look], cwd=REPO, check=False).returncode == 0


def test_dagster_sees_real_annotations() -> None:
    """Dagster inspects annotations at run time, which text in place of types breaks."""
    with_dagster = {found.file for found in IMPORTS if found.top == "dagster"}
    assert with_dagster
    assert [str(i) for i in IMPORTS if i.module == "__future__" and i.file in with_dagster] == []


def test_nothing_is_called_utils() -> None:
    vague = {"utils", "util", "helpers", "misc", "common"}
    assert [str(file) for file in files() if {file.stem, file.parent.name} & vague] == []


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_are_those_of_this_repository(package: str) -> None:
    """`assets`, `resources` and `sensors` are names that another distribution might take."""
    file = import_module(package).__file__
    assert file is not None
    assert Path(file).resolve().is_relative_to(REPO)


@pytest.mark.parametrize("kind", KINDS)
def test_one_unit_a_file_and_all_are_listed(kind: ModuleType) -> None:
    written = []
    for file in sorted(Path(str(kind.__file__)).parent.glob("*.py")):
        if file.stem != "__init__":
            units = units_of(import_module(f"{kind.__name__}.{file.stem}"))
            assert len(units) == (0 if file.stem.startswith("_") else 1), f"{file.name}: one unit a file"
            written += units
    assert set(written) == set(kind.UNITS)
    assert [unit.__name__ for unit in kind.UNITS] == sorted(unit.__name__ for unit in kind.UNITS)


def units_of(module: ModuleType) -> list[type[Unit]]:
    """Units that a module defines (not those that it imports)."""
    classes = [thing for thing in vars(module).values() if isinstance(thing, type) and issubclass(thing, Unit)]
    return [unit for unit in classes if unit.__module__ == module.__name__ and not isabstract(unit)]


def test_every_unit_has_a_test() -> None:
    missing = set()
    for kind in KINDS:
        for unit in kind.UNITS:
            *_, folder, module = unit.__module__.split(".")
            if not (REPO / "tests" / "units" / folder / f"test_{module}.py").is_file():
                missing.add(f"{folder}/{module}")
    assert missing <= UNTESTED


def test_files_and_functions_stay_small() -> None:
    long = []
    for file in files():
        text = file.read_text(encoding="utf-8")
        if text.count("\n") > MAX_LINES_OF_A_FILE:
            long.append(f"{file.relative_to(REPO)}: {text.count(chr(10))} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or 0) - node.lineno + 1
                most = MAX_LINES_OF_AN_ASSET if _is_asset(node) else MAX_LINES_OF_A_FUNCTION
                if lines > most:
                    long.append(f"{file.relative_to(REPO)}: {node.name} has {lines} lines, {most} are the most")
    assert long == []


def _is_asset(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return any(ast.unparse(decorator).startswith("dg.asset") for decorator in node.decorator_list)
