"""The documentation holds: snippets run, YAML loads, commands parse, links resolve, tables say what the code does."""

import importlib.util
import re
import runpy
import shlex
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple, get_args

import click
import pytest
import yaml

from ampel_dagster.cli import demo as demo_command
from ampel_dagster.cli import main as command_line
from ampel_dagster.config.instance import CONFIG_FOLDERS, copy_demo
from ampel_dagster.config.load import Config, load
from ampel_dagster.model.alert import Packet
from ampel_dagster.model.codes import DocumentCode, VerdictCode
from ampel_dagster.model.offsets import LostReason, Partition, Watermark
from ampel_dagster.model.run import RunInfo
from ampel_dagster.pipeline import tiers
from ampel_dagster.pipeline.catalog_load import load_catalog
from ampel_dagster.pipeline.filter_runs import MatchRate
from ampel_dagster.pipeline.gate import activate
from ampel_dagster.pipeline.ranges import plan
from ampel_dagster.pipeline.t0_ingest import Ingestion
from ampel_dagster.pipeline.t2_augment import Augmentation
from ampel_dagster.pipeline.t3_react import react_to_updates
from ampel_dagster.pipeline.t3_record import Reaction
from ampel_dagster.sources.files import list_files, read_file
from ampel_dagster.storage.collections import COMMON_COLLECTIONS, SURVEY_COLLECTIONS
from ampel_dagster.storage.store import Store
from ampel_dagster.testing import simulate_night, write_archive
from ampel_dagster.units import registry
from ampel_dagster.units.base import Unit
from ampel_dagster.units.t2._catalog import Layout

REPO = Path(__file__).resolve().parents[1]
PAGES = [*sorted(REPO.glob("*.md")), *sorted((REPO / "docs").rglob("*.md"))]
EXAMPLES = sorted((REPO / "examples").glob("*.py"))
MAX_LINES_OF_AN_EXAMPLE = 60
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
_CODE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
_PATH = re.compile(r"(?:ampel_dagster|assets|resources|sensors|docs|tests|examples|bench)/[\w/.-]*\.(?:py|yaml|md)")
_ROW = re.compile(r"^\| (.+?) \|", re.MULTILINE)
_VARIABLE = re.compile(r"AMPEL_[A-Z_]+")


class Block(NamedTuple):
    """A fenced block of a page."""

    language: str
    text: str
    line: int


def blocks(page: Path, *languages: str) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    found = [Block(m[1], m[2], text.count("\n", 0, m.start()) + 2) for m in _BLOCK.finditer(text)]
    return [block for block in found if block.language in languages]


def name_of(page: Path) -> str:
    return str(page.relative_to(REPO))


def with_blocks(*languages: str) -> list[Any]:
    return [pytest.param(page, id=name_of(page)) for page in PAGES if blocks(page, *languages)]


# --- Python and YAML


class Demo(NamedTuple):
    """An instance with the demo's night in it."""

    folder: Path
    store: Store


@pytest.fixture(scope="module")
def demo(mongo_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """What `ampel-dagster demo` leaves, made without Dagster; and one packet that cannot be read."""
    folder = tmp_path_factory.mktemp("docs") / "instance"
    copy_demo(folder)
    store = Store.open(mongo_uri, "test_docs")
    store.prepare(("ztf",))
    defaults = {parameter.name: parameter.default for parameter in demo_command.params}
    packets = folder / "packets"
    write_archive(packets / "night.tar.gz", simulate_night(defaults["night"], defaults["number"]))
    (packets / "broken.avro").write_bytes(b"no packet")
    galaxies = folder / "catalogs" / "demo_galaxies.csv"
    load_catalog(store.catalogs, galaxies, "demo_galaxies", Layout(None, None, "deg", ()), every_column=True)
    _run_all_tiers(load(folder), store, packets, folder / "reports")
    yield Demo(folder, store)
    store.drop()
    store.close()


def _run_all_tiers(config: Config, store: Store, packets: Path, reports: Path) -> None:
    instrument, run = config.instrument("ztf"), RunInfo("docs", config.id)
    store.configs.keep(config.id, config.content, run.meta())
    store.listeners.beat("ztf", run.run, 60)
    plan(store.offsets, "ztf", [Watermark(Partition("alerts", 0), 3, 9, "c")], 99, "run", run.meta(), {}.get)
    ingestion = Ingestion(store, instrument, config.stream("ztf"), config.rules("ztf"), run)
    for file in list_files([packets]):
        assert tiers.ingest(ingestion, read_file(file)).consume().balanced
    # EVERYTHING takes everything: with VARIABLES alone there is something to reject.
    choosy = replace(ingestion, rules=config.rules("ztf", ("VARIABLES",)))
    others = (Packet(alert.to_bytes(), "others", n) for n, alert in enumerate(simulate_night("2018-04-03", 20)))
    assert tiers.ingest(choosy, others).consume().counts["rejected"]
    tiers.compute(Augmentation(store, instrument, config.products_of("ztf"), run, {})).consume()
    rate = MatchRate("VARIABLES", total=20, passed=1)
    activate(store, choosy.rules[0], rate, "2018-04-03", 0.05, run, force=False)
    process = config.processes["daily_table"]
    for rules in config.rules("ztf"):
        if process.name in config.channels[rules.channel].t3:
            react_to_updates(Reaction(store, instrument, process, rules, run, reports))


@pytest.mark.parametrize("page", with_blocks("python"))
def test_python_runs(page: Path, demo: Demo, mongo_uri: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AMPEL_INSTANCE", str(demo.folder))
    monkeypatch.setenv("AMPEL_MONGO_URI", mongo_uri)
    monkeypatch.setenv("AMPEL_DB", demo.store.database.name)
    monkeypatch.chdir(tmp_path)
    run_blocks(page)


def run_blocks(page: Path) -> dict[str, Any]:
    """Run a page's Python in one namespace; errors name the page's own lines."""
    names: dict[str, Any] = {"__name__": page.stem}
    for block in blocks(page, "python"):
        padded = "\n" * (block.line - 1) + block.text
        exec(compile(padded, name_of(page), "exec"), names)
    return names


@pytest.mark.parametrize("page", with_blocks("yaml"))
def test_yaml_loads(page: Path, demo: Demo, mongo_uri: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Files of an instance are loaded as part of one; units that the page defines are known."""
    monkeypatch.setenv("AMPEL_INSTANCE", str(demo.folder))
    monkeypatch.setenv("AMPEL_MONGO_URI", mongo_uri)
    monkeypatch.setenv("AMPEL_DB", demo.store.database.name)
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "instance"
    copy_demo(folder)
    written = []
    for block in blocks(page, "yaml"):
        yaml.safe_load(block.text)
        file = re.match(r"# ([\w/]+\.yaml)\n", block.text)
        if file and file[1].split("/")[0] in CONFIG_FOLDERS:
            (folder / file[1]).write_text(block.text, encoding="utf-8")
            written.append(file[1])
    units = [thing for thing in run_blocks(page).values() if isinstance(thing, type) and issubclass(thing, Unit)]
    offer_units(monkeypatch, units)
    try:
        config = load(folder)
    finally:
        registry._load.cache_clear()
    there = {"channels": config.channels, "t2": config.products, "t3": config.processes, "streams": config.streams}
    assert all(Path(file).stem in there[file.split("/")[0]] for file in written)


def offer_units(monkeypatch: pytest.MonkeyPatch, units: list[type[Unit]]) -> None:
    """As if an installed package had them among its entry points."""

    class Entry(NamedTuple):
        name: str
        unit: type[Unit]

        def load(self) -> type[Unit]:
            return self.unit

    monkeypatch.setattr(registry, "entry_points", lambda group: [Entry(unit.__name__, unit) for unit in units])
    registry._load.cache_clear()


# --- commands, links, paths


def commands(page: Path) -> Iterator[tuple[int, list[str]]]:
    """(line, words) of each command of a page's console blocks."""
    for block in blocks(page, "console", "bash"):
        for number, line in enumerate(block.text.splitlines()):
            if block.language == "console" and not line.startswith("$ "):
                continue
            for part in re.split(r"&&|\||;", line.removeprefix("$ ")):
                words = [word for word in shlex.split(part, comments=True)]
                while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
                    words.pop(0)
                if words:
                    yield block.line + number, words


@pytest.mark.parametrize("page", with_blocks("console", "bash"))
def test_commands_parse(page: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", (REPO / "Makefile").read_text(), re.MULTILINE))
    for line, (program, *arguments) in commands(page):
        where = f"{name_of(page)}:{line}"
        if program == "ampel-dagster":
            parse(arguments, where)
        elif program == "make":
            assert {word for word in arguments if "=" not in word} <= targets, where


def parse(arguments: list[str], where: str) -> None:
    """Let click read a command with its options, and run nothing."""
    command, context, rest = find_command(arguments)
    try:
        command.make_context(command.name, rest, parent=context)
    except click.ClickException as error:
        pytest.fail(f"{where}: ampel-dagster {' '.join(arguments)}: {error.format_message()}")


def find_command(arguments: list[str]) -> tuple[click.Command, click.Context, list[str]]:
    command: click.Command = command_line
    context, rest = click.Context(command), list(arguments)
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        found = command.get_command(context, rest[0])
        assert found is not None, f"there is no command: ampel-dagster {' '.join(arguments)}"
        command, rest = found, rest[1:]
        context = click.Context(command, parent=context)
    return command, context, rest


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_in_the_text_exist(page: Path) -> None:
    """`ampel-dagster t2 reset`, in a sentence: the command is there, and has the options that are named."""
    for code in _CODE.findall(without_blocks(page)):
        if code.startswith("ampel-dagster ") and code != "ampel-dagster COMMAND --help":
            command, context, rest = find_command(shlex.split(code)[1:])
            options = {name for parameter in command.get_params(context) for name in parameter.opts}
            assert {word for word in rest if word.startswith("--")} <= options, code


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_resolve(page: Path) -> None:
    for link in _LINK.findall(without_blocks(page)):
        if re.match(r"https?://", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{name_of(page)}: {link}"
        if anchor:
            assert anchor in anchors(target), f"{name_of(page)}: {link}"


def anchors(page: Path) -> set[str]:
    """Anchors of headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", without_blocks(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_paths_exist(page: Path) -> None:
    """Files of the repository that a sentence names."""
    invented = ("my_", "min_detections")
    for code in _CODE.findall(without_blocks(page)):
        path = _PATH.fullmatch(code)
        if path and not any(name in code for name in invented):
            assert (REPO / code).is_file(), f"{name_of(page)}: {code}"


def without_blocks(page: Path) -> str:
    return _BLOCK.sub("", page.read_text(encoding="utf-8"))


# --- generated pages, examples, tables


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_generate", REPO / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_generated_pages_are_fresh(generator: ModuleType) -> None:
    assert generator.main(["--check"]) == 0, "run: make docs"


def test_a_stale_page_is_noticed(
    generator: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(generator, "DOCS", tmp_path)
    assert generator.main(["--check"]) == 1
    assert "make docs" in capsys.readouterr().err
    assert generator.main([]) == 0
    (tmp_path / "cli.md").write_text("old", encoding="utf-8")
    assert generator.main(["--check"]) == 1
    assert "stale: cli.md" in capsys.readouterr().err


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_examples_run(example: Path) -> None:
    text = example.read_text(encoding="utf-8")
    assert text.count("\n") <= MAX_LINES_OF_AN_EXAMPLE
    assert text.splitlines()[-1].startswith("assert "), "an example ends with what must hold"
    runpy.run_path(str(example), run_name="__main__")


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 3


def section(page: Path, heading: str) -> str:
    """Text under a heading, up to the next of any level."""
    text = page.read_text(encoding="utf-8")
    found = re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#+ |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found is not None, f"{name_of(page)} has no heading {heading!r}"
    return found[1]


DATA_MODEL = REPO / "docs" / "data-model.md"


@pytest.mark.parametrize("collection", [*SURVEY_COLLECTIONS, *COMMON_COLLECTIONS])
def test_fields_are_documented(collection: str, demo: Demo) -> None:
    """Each field that is stored stands in the collection's table; what is not marked with ○ is always stored."""
    rows = [(set(_CODE.findall(row)), "○" in row) for row in _ROW.findall(section(DATA_MODEL, collection))]
    rows = [(fields, sometimes) for fields, sometimes in rows if fields and all(f.islower() for f in fields)]
    documented = {field for fields, _ in rows for field in fields}
    always = {field for fields, sometimes in rows for field in fields if not sometimes}
    name = f"ztf.{collection}" if collection in SURVEY_COLLECTIONS else collection
    stored = [set(document) for document in demo.store.database[name].find({}, limit=500)]
    if collection == "ticket":  # in the demo all have become results
        stored = [set(document) for chunk in demo.store.survey("ztf").results.to_rerun({}) for document in chunk]
    assert set().union(*stored) - documented == set(), "stored and not documented"
    assert always - set.intersection(*stored) == set(), "documented and not stored"


def test_the_readme_shows_what_the_demo_does(demo: Demo) -> None:
    night = {parameter.name: parameter.default for parameter in demo_command.params}["night"]
    shown = dict(re.findall(r"^│ (\w+) +│ (\d+) ", (REPO / "README.md").read_text(encoding="utf-8"), re.MULTILINE))
    alerts = demo.store.survey("ztf").ledger.alert
    assert shown == {name: str(alerts.count_documents({"night": night, "channel": name})) for name in shown}
    assert len(shown) == 3


def test_codes_are_documented() -> None:
    documents, verdicts = section(DATA_MODEL, "Codes").split("Codes of a verdict")
    for text, codes in ((documents, DocumentCode), (verdicts, VerdictCode)):
        found = re.findall(r"^\| (-?\d+) \| `(\w+)` \|", text, re.MULTILINE)
        assert {(int(code), name) for code, name in found} == {(code.value, code.name) for code in codes}


def test_reasons_of_quarantine_are_documented() -> None:
    raised = set()
    for file in (REPO / "ampel_dagster").rglob("*.py"):
        text = file.read_text(encoding="utf-8")
        raised |= set(
            re.findall(r'(?:(?:AlertFormatError|super\(\).__init__)\(|reason(?:: str)? ?= ?)"([A-Z_]+)"', text)
        )
    documented = set(re.findall(r"^\| `([A-Z_]+)` \|", section(DATA_MODEL, "quarantine"), re.MULTILINE))
    assert documented == raised


def test_reasons_of_lost_offsets_are_documented() -> None:
    documented = re.findall(r"^\| `([A-Z_]+)` \|", section(DATA_MODEL, "offsets"), re.MULTILINE)
    assert documented == list(get_args(LostReason))


def test_variables_are_documented() -> None:
    packages = ("ampel_dagster", "assets", "resources", "sensors")
    files = [file for package in packages for file in (REPO / package).rglob("*.py")]
    used = {name for file in files for name in _VARIABLE.findall(file.read_text(encoding="utf-8"))}
    table = section(REPO / "docs" / "how-to" / "operate.md", "Variables of the environment")
    assert set(re.findall(r"^\| `(AMPEL_\w+)` \|", table, re.MULTILINE)) == used
