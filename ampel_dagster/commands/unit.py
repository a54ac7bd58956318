"""The group ``unit`` of the command line."""

from pathlib import Path

import click

from ampel_dagster.commands import scaffold, units
from ampel_dagster.commands.examples import examples


@click.group()
def unit() -> None:
    """Units: write new ones, and try them."""


@unit.command("try")
@click.argument("name", metavar="PRODUCT|UNIT")
@click.option("--stock", required=True, help="Object, by the survey's name or by its id.")
@click.option("--config", help="Configuration of a unit, as JSON.")
@click.option("--state", type=int, help="Link of the state to compute on; default: the newest.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line on stdout.")
@examples(
    "ampel-dagster unit try light_curve_summary --stock ZTF26apjdgkx",
    "ampel-dagster unit try RiseDecline --stock ZTF26apjdgkx --config '{\"max_gap_days\": 10}'",
)
def unit_try(name: str, stock: str, config: str | None, state: int | None, as_json: bool) -> None:
    """Run a product or a T2 unit on a stored object. Shows result, time and memory; writes nothing."""
    units.attempt(name, stock, config, state, as_json=as_json)


@unit.command("new")
@click.argument("name")
@click.option(
    "--kind", type=click.Choice(sorted(scaffold.FORMS)), default="light_curve", show_default=True, help="What it gets."
)
@click.option(
    "--package",
    type=click.Path(path_type=Path, file_okay=False),
    help="A package of your own; default: this repository.",
)
@examples("ampel-dagster unit new RedRise --kind light_curve --package ~/my_units")
def unit_new(name: str, kind: str, package: Path | None) -> None:
    """Write a unit that works at once, with its test, and make it known."""
    units.new(name, kind, package)
