"""Write the pages of docs/ that follow from the code: units.md and cli.md.

``make docs`` runs it. ``python docs/generate.py --check`` writes nothing, and exits 1 if a page is stale.
"""

import inspect
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import click
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from ampel_dagster.cli import main as command_line
from ampel_dagster.units import filters, t1, t2, t3
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
    T1Compute,
    Unit,
)

DOCS = Path(__file__).resolve().parent
_NOTE = "<!-- Written by docs/generate.py out of the code; change it there, then run: make docs -->\n"
_CHAPTERS = (
    ("Filters (T0)", "Named in a channel under `filter`.", filters),
    ("T1 units", "Named in a channel under `combiner` (the default needs no mention), or `compute`.", t1),
    ("T2 units", "Named in `t2/NAME.yaml` under `unit`.", t2),
    ("T3 units", "Named in `t3/NAME.yaml` under `units`.", t3),
)
#: What a unit is given, by its kind.
_KINDS: dict[type[Unit], str] = {
    AlertFilter: "filter: gets an alert, returns a verdict",
    T1Combiner: "combiner: gets the datapoints that a channel may see, returns those of the state",
    T1Compute: "T1 compute unit: computes a value on the light curve of a state, at once",
    PointUnit: "point unit: computes on single datapoints",
    StockUnit: "stock unit: computes on an object, anew with each of its alerts",
    StateUnit: "state unit: computes on the datapoints of a state",
    LightCurveUnit: "light curve unit: computes on the light curve of a state, whatever the survey",
    Report: "report: writes files about all selected objects of a channel and night",
    PopulationUnit: "population unit: computes something over all selected objects of a channel and night",
    BulkPublisher: "publisher: tells someone outside about many objects at once, once a state",
    Publisher: "publisher: tells someone outside about an object, once a state",
}
_PLAIN = {
    str: "text",
    int: "integer",
    float: "number",
    bool: "true or false",
    NoneType: "none",
    dict: "mapping",
}
#: pydantic's constraints, as they are written.
_BOUNDS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}


def main(arguments: Sequence[str]) -> int:
    """Write the pages, or with ``--check`` only compare; return the exit code."""
    found = pages()
    if "--check" not in arguments:
        for path, text in found.items():
            path.write_text(text, encoding="utf-8")
        return 0
    stale = [path.name for path, text in found.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    if stale:
        sys.stderr.write(f"stale: {', '.join(stale)}; run: make docs\n")
    return 1 if stale else 0


def pages() -> dict[Path, str]:
    """All generated pages as they should be."""
    return {DOCS / "units.md": units_page(), DOCS / "cli.md": cli_page()}


def units_page() -> str:
    """Every unit with its kind, purpose and configuration."""
    parts = [
        "# Units",
        _NOTE,
        "Every unit that ships, with its configuration: what stands under `config:` in the YAML. An unknown or\n"
        "misspelt key is refused by `ampel-dagster check`. How to write one of your own: "
        "[a filter](how-to/filter.md),\n[a T2 unit](how-to/t2-unit.md), [a T3 unit](how-to/t3-unit.md).",
    ]
    for title, where, folder in _CHAPTERS:
        parts += [f"## {title}", where]
        for unit in folder.UNITS:
            parts += _unit(unit)
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def _unit(unit: type[Unit]) -> Iterator[str]:
    kind = next(text for base, text in _KINDS.items() if issubclass(unit, base))
    file = unit.__module__.replace(".", "/") + ".py"
    yield f"### {unit.__name__}"
    yield f"{kind[0].upper()}{kind[1:]}. Version {unit.version}, [{file}](../{file})."
    yield _markdown(unit.__doc__)
    yield _table(unit) if unit.model_fields else "It has no configuration."
    for model in _nested(unit):
        yield f"#### {model.__name__}"
        yield _markdown(model.__doc__)
        yield _table(model)


def _markdown(doc: str | None) -> str:
    """A docstring as markdown; its indented examples are code there, too."""
    lines = inspect.cleandoc(doc or "").splitlines()
    return "\n".join(line.removesuffix(":") if line.endswith("::") else line for line in lines)


def _table(model: type[BaseModel]) -> str:
    rows = ["| key | type | default | meaning |", "|---|---|---|---|"]
    for name, field in model.model_fields.items():
        meaning = field.description or _comment(model, name)
        bounds = ", ".join(_bounds(field))
        text = f"{meaning} ({bounds})" if meaning and bounds else meaning or bounds
        rows.append(f"| `{name}` | {_cell(_type(field.annotation))} | {_cell(_default(field))} | {_cell(text)} |")
    return "\n".join(rows)


def _comment(model: type[BaseModel], name: str) -> str:
    """The ``#:`` comment above a field that has no description."""
    for owner in model.__mro__:
        if name in vars(owner).get("__annotations__", {}):
            lines = [line.strip() for line in inspect.getsource(owner).splitlines()]
            at = next(n for n, line in enumerate(lines) if line.startswith(f"{name}:"))
            found: list[str] = []
            while at and lines[at - 1].startswith("#:"):
                at -= 1
                found.insert(0, lines[at].removeprefix("#:").strip())
            text = " ".join(found).removesuffix(".")
            return text if text[1:2].isupper() or text[1:2].isdigit() else text[:1].lower() + text[1:]
    return ""


def _bounds(field: FieldInfo) -> Iterator[str]:
    for constraint in field.metadata:
        for name, sign in _BOUNDS.items():
            if getattr(constraint, name, None) is not None:
                yield f"{sign} {getattr(constraint, name)}"
        if getattr(constraint, "min_length", None):
            yield "not empty" if constraint.min_length == 1 else f"at least {constraint.min_length}"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True, validated_data={})
    return "none" if value is None else f"`{json.dumps(value)}`"


def _type(annotation: Any) -> str:
    """A type as a user of YAML would name it."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _type(inner[0])
    if origin is Literal:
        return " or ".join(f"`{value}`" for value in inner)
    if origin in (Union, UnionType):
        return " or ".join(dict.fromkeys(_type(part) for part in inner))
    if origin in (tuple, list):
        return f"list of {_type(inner[0])}"
    if origin is not None:
        return f"mapping of {_type(inner[0])} to {_type(inner[1])}" if len(inner) == 2 else str(annotation)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return f"[{annotation.__name__}](#{annotation.__name__.lower()})"
    return _PLAIN.get(annotation, getattr(annotation, "__name__", str(annotation)))


def _nested(model: type[BaseModel], known: tuple[type[BaseModel], ...] = ()) -> list[type[BaseModel]]:
    """Models that stand inside a model's fields, each once, in the order in which they are met."""
    found = list(known)
    for field in model.model_fields.values():
        for inner in _models(field.annotation):
            if inner not in found:
                found = _nested(inner, (*found, inner))
    return found


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models(part)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def cli_page() -> str:
    """Every command with its options and examples."""
    parts = [
        "# Command line",
        _NOTE,
        "`ampel-dagster COMMAND --help` says the same. An error that you can mend is one line and exit code 2,\n"
        "a failure of a run one line and exit code 1.\n"
        "Variables of the environment: [how-to/operate.md](how-to/operate.md#variables-of-the-environment).",
    ]
    context = click.Context(command_line, info_name="ampel-dagster")
    for command, inner in _commands(command_line, context):
        parts += _command(command, inner)
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def _commands(group: click.Group, context: click.Context) -> Iterator[tuple[click.Command, click.Context]]:
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        inner = click.Context(command, info_name=name, parent=context)
        if isinstance(command, click.Group):
            yield from _commands(command, inner)
        else:
            yield command, inner


def _command(command: click.Command, context: click.Context) -> Iterator[str]:
    text, _, examples = inspect.cleandoc(command.help or "").partition("\b\nExamples:\n")
    path = context.command_path
    yield f"## {path}"
    yield text
    pieces = " ".join(command.collect_usage_pieces(context))
    yield f"```text\n{path} {pieces}\n```"
    options = [p for p in command.get_params(context) if isinstance(p, click.Option) and "--help" not in p.opts]
    if options:
        yield "\n".join(["| option | default | meaning |", "|---|---|---|", *map(_option, options)])
    if examples:
        lines = "\n".join(f"$ {line.strip()}" for line in examples.splitlines() if line.strip())
        yield f"```console\n{lines}\n```"


def _option(option: click.Option) -> str:
    name = ", ".join(option.opts) + ("" if option.is_flag else f" {_value(option)}")
    default = f"`{option.default}`" if option.show_default else ""
    return f"| `{_cell(name)}` | {default} | {_cell(option.help or '')} |"


def _value(option: click.Option) -> str:
    if isinstance(option.type, click.Choice):
        return "|".join(str(choice) for choice in option.type.choices)
    return option.type.name.upper()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
