"""New units: a file that works at once, a test of it, and what makes it known."""

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ampel_dagster.model.errors import UserError

_NAME = re.compile(r"[A-Z][A-Za-z0-9]*")
_GROUP = '[project.entry-points."ampel_dagster.units"]'


class Written(NamedTuple):
    """What was written, and what is left to do."""

    files: list[Path]
    next_steps: list[str]


class _Form(NamedTuple):
    """How a unit of a kind looks."""

    #: Folder in this repository, below `units`.
    folder: str
    imports: str
    base: str
    body: str
    test_imports: str
    test: str


_CURVE = '''
def curve() -> LightCurve:
    """Three detections of a made-up packet."""
    history = [make_detection(jd=2458349.7 - days, mag=18.0 + 0.1 * days) for days in (4, 2)]
    packet = Packet(encode_packet(make_alert(jd=2458349.7, mag=18.0, history=history)), "made-up", 0)
    (alert,) = ZTF().decode(packet)
    assert isinstance(alert, Alert)
    return ZTF().light_curve(alert.stock, alert.points)
'''
_ALERT = '''
def alert(**fields: float) -> Alert:
    """A made-up alert."""
    (found,) = ZTF().decode(Packet(encode_packet(make_alert(**fields)), "made-up", 0))
    assert isinstance(found, Alert)
    return found
'''
_PACKETS = """from ampel_dagster.instruments.ztf import ZTF
from ampel_dagster.model.alert import Alert, Packet
"""
FORMS = {
    "light_curve": _Form(
        "t2",
        "from typing import Any\n\nfrom pydantic import Field\n\n"
        "from ampel_dagster.model.light_curve import LightCurve\n"
        "from ampel_dagster.units.base import LightCurveUnit, Tied\n",
        "LightCurveUnit",
        '''    band: str = Field("r", description="band to look at")

    def process(self, light_curve: LightCurve, tied: Tied) -> dict[str, Any]:
        """None where there is nothing to average."""
        points = light_curve.detections.in_band(self.band)
        return {"n_points": len(points), "mean_mag": float(points.mag.mean()) if len(points) else None}
''',
        _PACKETS + "from ampel_dagster.model.light_curve import LightCurve\n"
        "from ampel_dagster.testing import encode_packet, make_alert, make_detection\n",
        _CURVE
        + """

def test_mean_of_three() -> None:
    found = NAME(band="r").process(curve(), {})
    assert found["n_points"] == 3
    assert abs(found["mean_mag"] - 18.2) < 1e-5


def test_band_without_detections() -> None:
    assert NAME(band="i").process(curve(), {}) == {"n_points": 0, "mean_mag": None}
""",
    ),
    "state": _Form(
        "t2",
        "from collections.abc import Sequence\nfrom typing import Any, ClassVar\n\nfrom pydantic import Field\n\n"
        "from ampel_dagster.model.datapoint import DataPoint\nfrom ampel_dagster.model.stock import State\n"
        "from ampel_dagster.units.base import StateUnit, Tied\n",
        "StateUnit",
        '''    #: Fields of the datapoints that are read; no others are loaded.
    needs: ClassVar[tuple[str, ...] | None] = ("rb",)

    min_rb: float = Field(0.5, ge=0, le=1, description="real-bogus score from which a detection counts")

    def process(self, state: State, points: Sequence[DataPoint], tied: Tied) -> dict[str, Any]:
        """How many detections count."""
        scores = [point.body.get("rb") for point in points if point.kind == "detection"]
        return {"n_real": sum(score is not None and score >= self.min_rb for score in scores)}
''',
        "from ampel_dagster.model.datapoint import DataPoint\nfrom ampel_dagster.model.stock import State\n",
        """STATE = State("ztf", link=1, stock=2, dps=(1, 2), night="2018-08-19")


def test_scores_above_the_threshold_count() -> None:
    points = [DataPoint(n, "detection", 2458349.7 + n, 0, (), 0, {"rb": rb}) for n, rb in enumerate((0.2, 0.5, 0.9))]
    assert NAME().process(STATE, points, {}) == {"n_real": 2}
""",
    ),
    "point": _Form(
        "t2",
        "from typing import Any, ClassVar\n\nfrom ampel_dagster.model.datapoint import DataPoint\n"
        "from ampel_dagster.units.base import PointUnit, Tied\n",
        "PointUnit",
        '''    #: Fields of the datapoint that are read; no others are loaded.
    needs: ClassVar[tuple[str, ...] | None] = ("magpsf", "sigmapsf")

    def process(self, point: DataPoint, tied: Tied) -> dict[str, Any]:
        """Signal to noise of a detection, from the error of its magnitude."""
        return {"snr": 1.0857 / point.body["sigmapsf"]}
''',
        "from ampel_dagster.model.datapoint import DataPoint\n",
        """
def test_a_tenth_of_a_magnitude_is_eleven_sigma() -> None:
    point = DataPoint(1, "detection", 2458349.7, 0, (), 0, {"magpsf": 18.0, "sigmapsf": 0.1})
    assert abs(NAME().process(point, {})["snr"] - 10.857) < 1e-9
""",
    ),
    "stock": _Form(
        "t2",
        "from typing import Any\n\nfrom ampel_dagster.model.stock import Stock\n"
        "from ampel_dagster.units.base import StockUnit, Tied\n",
        "StockUnit",
        '''    def process(self, stock: Stock, tied: Tied) -> dict[str, Any]:
        """How many channels took it, and where it is."""
        return {"n_channels": len(stock.channel), "ra_deg": stock.ra_deg, "dec_deg": stock.dec_deg}
''',
        "from ampel_dagster.model.stock import Stock\n",
        """
def test_channels_are_counted() -> None:
    stock = Stock("ztf", 1, "ZTF18aaaaaaa", (), ("A", "B"), 150.0, 20.0)
    assert NAME().process(stock, {}) == {"n_channels": 2, "ra_deg": 150.0, "dec_deg": 20.0}
""",
    ),
    "filter": _Form(
        "filters",
        "from typing import ClassVar\n\nfrom pydantic import Field\n\nfrom ampel_dagster.model.alert import Alert\n"
        "from ampel_dagster.units.base import AlertFilter, Needs\n",
        "AlertFilter",
        '''    #: Nothing but the candidate is read, so that the rest of the packet need not be decoded.
    needs: ClassVar[Needs] = "candidate"

    min_rb: float = Field(0.5, ge=0, le=1, description="smallest real-bogus score")

    def accept(self, alert: Alert) -> bool:
        """Whether the channel wants it."""
        score = alert.candidate.get("rb")
        return score is not None and score >= self.min_rb
''',
        _PACKETS + "from ampel_dagster.testing import encode_packet, make_alert\n",
        _ALERT
        + """

def test_score_decides() -> None:
    assert NAME(min_rb=0.5).accept(alert(rb=0.9))
    assert not NAME(min_rb=0.5).accept(alert(rb=0.1))
""",
    ),
    "combiner": _Form(
        "t1",
        "from collections.abc import Iterable, Sequence\n\nfrom ampel_dagster.model.datapoint import Kind\n"
        "from ampel_dagster.units.base import T1Combiner\n",
        "T1Combiner",
        '''    def combine(self, points: Sequence[tuple[int, Kind, float, int]]) -> Iterable[int]:
        """Ids of the detections; nothing else is part of a state."""
        return [id_ for id_, kind, _jd, _sensor in points if kind == "detection"]
''',
        "from ampel_dagster.model.datapoint import Kind\n",
        """
def test_detections_only() -> None:
    points: list[tuple[int, Kind, float, int]] = [(1, "detection", 5.0, 0), (-2, "upper_limit", 4.0, 0)]
    assert list(NAME().combine(points)) == [1]
""",
    ),
    "report": _Form(
        "t3",
        "from collections.abc import Sequence\n\n"
        "from ampel_dagster.model.view import Artefact, ReactionContext, TransientView\n"
        "from ampel_dagster.units.base import Report\n",
        "Report",
        '''    def write(self, views: Sequence[TransientView], context: ReactionContext) -> Sequence[Artefact]:
        """One line an object."""
        path = context.folder / "names.txt"
        path.write_text("".join(f"{view.name}\\n" for view in views), encoding="utf-8")
        return [Artefact(path, "Names of the objects", len(views))]
''',
        "from datetime import UTC, datetime\nfrom pathlib import Path\n\n"
        "from ampel_dagster.model.view import ReactionContext\n",
        """
def test_file_without_objects(tmp_path: Path) -> None:
    context = ReactionContext("names", "A", "2018-08-19", "run", datetime(2018, 8, 20, tzinfo=UTC), tmp_path)
    (artefact,) = NAME().write([], context)
    assert (artefact.path.read_text(), artefact.rows) == ("", 0)
""",
    ),
}


def write(name: str, kind: str, package: Path | None, here: Path) -> Written:
    """Write the files of a unit into a package of one's own, or into this repository (`here`). Raises UserError."""
    if _NAME.fullmatch(name) is None:
        raise UserError(f"{name!r}: a unit is named as a class is: letters and digits, a capital first, as in RedRise")
    if package is None and not (here / "ampel_dagster" / "units").is_dir():
        raise UserError("say --package DIR (a folder of your own), or be in the repository of ampel-dagster")
    form, module = FORMS[kind], _snake(name)
    if package is None:
        root, dotted = here, f"ampel_dagster.units.{form.folder}"
        tests = here / "tests" / "units" / form.folder
    else:
        root, dotted = package, package.resolve().name.replace("-", "_")
        tests = package / "tests"
        if not dotted.isidentifier():
            raise UserError(f"{dotted!r} cannot be the name of a Python package; choose another folder")
    folder = root.joinpath(*dotted.split("."))
    unit, test = folder / f"{module}.py", tests / f"test_{module}.py"
    for path in (unit, test):
        if path.exists():
            raise UserError(f"{path} is there already; choose another name, or remove it")
    folder.mkdir(parents=True, exist_ok=True)
    tests.mkdir(parents=True, exist_ok=True)
    unit.write_text(_unit_text(name, form, apart=package is not None), encoding="utf-8")
    test.write_text(_test_text(name, form, f"{dotted}.{module}", apart=package is not None), encoding="utf-8")
    if package is None:
        steps = [
            *_list(folder / "__init__.py", name, f"{dotted}.{module}"),
            "then: make docs, and a line in CHANGELOG.md",
        ]
        return Written([unit, test], steps)
    files = [unit, test, *_declare(package, dotted, name, module)]
    return Written(files, [f"make it known: pip install --editable {package}", f"try its test: pytest {test}"])


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def _words(name: str) -> str:
    return _snake(name).replace("_", " ")


def _unit_text(name: str, form: _Form, *, apart: bool) -> str:
    about = f"{_words(name).capitalize()}: say here what it is."
    doc = f'    """{about}\n\n    What the result means, with units, and the source of formulas.\n    """\n\n'
    return f'"""{about}"""\n\n{_imports(form.imports, apart=apart)}\nclass {name}({form.base}):\n{doc}{form.body}'


def _test_text(name: str, form: _Form, dotted: str, *, apart: bool) -> str:
    imports = _imports(form.test_imports + f"from {dotted} import {name}\n", apart=apart)
    return f'"""{name}: {_words(name)}."""\n\n{imports}{form.test.replace("NAME", name)}'


def _imports(text: str, *, apart: bool) -> str:
    """Imports in blocks, as ruff wants them; to a package of one's own (`apart`) the platform is a third party."""
    blocks: dict[int, list[str]] = {}
    for line in sorted((line for line in text.splitlines() if line), key=lambda line: line.split()[1]):
        root = line.split()[1].partition(".")[0]
        kind = (
            0
            if root in sys.stdlib_module_names
            else 1
            if root == "pydantic" or (apart and root == "ampel_dagster")
            else 2
        )
        blocks.setdefault(kind, []).append(line)
    return "\n\n".join("\n".join(blocks[kind]) for kind in sorted(blocks)) + "\n\n"


def _list(init: Path, name: str, dotted: str) -> Sequence[str]:
    """Put the unit into `UNITS` of a folder of this repository."""
    text = init.read_text(encoding="utf-8")
    imports, _, listed = text.partition("\nUNITS = (")
    names = sorted({*re.findall(r"\w+", listed), name})
    lines = sorted(
        {*(line for line in imports.splitlines() if line.startswith("from ")), f"from {dotted} import {name}"}
    )
    head = imports[: imports.index("from ")]
    units = "".join(f"    {unit},\n" for unit in names)
    init.write_text(head + "\n".join(lines) + f"\n\nUNITS = (\n{units})\n", encoding="utf-8")
    return [f"listed it in {init}"]


def _declare(package: Path, dotted: str, name: str, module: str) -> list[Path]:
    """Say in the package's pyproject.toml that the unit is there; make the file where there is none."""
    line = f'{name} = "{dotted}.{module}:{name}"\n'
    init, project = package / dotted / "__init__.py", package / "pyproject.toml"
    files = [project]
    if not init.exists():
        init.write_text(f'"""Units for ampel-dagster: {dotted}."""\n', encoding="utf-8")
        files.append(init)
    if not project.exists():
        project.write_text(
            '[build-system]\nrequires = ["setuptools>=77"]\nbuild-backend = "setuptools.build_meta"\n\n'
            f'[project]\nname = "{dotted.replace("_", "-")}"\nversion = "0.1.0"\nrequires-python = ">=3.11"\n'
            f'dependencies = ["ampel-dagster"]\n\n{_GROUP}\n{line}\n'
            f'[tool.setuptools]\npackages = ["{dotted}"]\n',
            encoding="utf-8",
        )
        return files
    text = project.read_text(encoding="utf-8")
    if _GROUP in text:
        text = text.replace(f"{_GROUP}\n", f"{_GROUP}\n{line}", 1)
    else:
        text = f"{text.rstrip()}\n\n{_GROUP}\n{line}"
    project.write_text(text, encoding="utf-8")
    return files
