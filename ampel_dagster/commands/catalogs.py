"""``catalog load``, ``list`` and ``drop``."""

import json
import re
from pathlib import Path
from typing import Literal

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from ampel_dagster.commands.examples import examples
from ampel_dagster.commands.session import console, known, out, session
from ampel_dagster.model.errors import UserError
from ampel_dagster.pipeline.catalog_load import load_catalog
from ampel_dagster.units.t2._catalog import Layout
from ampel_dagster.units.t2.catalog_match import CatalogMatch

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,79}")


@click.group()
def catalog() -> None:
    """Catalogues in the database, for `CatalogMatch` with `stored: true`."""


@catalog.command("load")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--name", required=True, help="Name under which units know it.")
@click.option("--ra", help="Column of right ascension; default: found by the usual names.")
@click.option("--dec", help="Column of declination; default: found by the usual names.")
@click.option("--unit", type=click.Choice(["deg", "rad"]), default="deg", show_default=True, help="Unit of both.")
@click.option("--column", "columns", multiple=True, help="Column to keep (repeatable); default: all.")
@examples(
    "ampel-dagster catalog load vsx.parquet --name vsx --column VType",
    "ampel-dagster catalog load ngc.csv --name ngc --ra ra --dec dec --unit rad",
)
def load(
    file: Path, name: str, ra: str | None, dec: str | None, unit: Literal["deg", "rad"], columns: tuple[str, ...]
) -> None:
    """Load FILE (Parquet, CSV, FITS table); the next T2 run matches with it.

    A version is a hash of content and columns. The new one is in force when all of it is there, at once.
    """
    if not _NAME.fullmatch(name):
        raise UserError(f"--name {name!r} has to be a letter, then letters, digits or _, at most 80")
    if (ra is None) != (dec is None):
        raise UserError("--ra and --dec belong together: give both or neither")
    layout = Layout(ra, dec, unit, columns)
    bars = (TextColumn("rows"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with session() as current, Progress(*bars, console=console, transient=True) as bar:
        task = bar.add_task(name, total=None)

        def progress(done: int, of: int) -> None:
            bar.update(task, completed=done, total=of)

        catalogs = current.store.catalogs
        rows = load_catalog(catalogs, file, name, layout, every_column=not columns, progress=progress)
        version = catalogs.versions(name)[0]
    click.echo(
        f"{name}: version {version} " + ("is there already" if rows is None else f"with {rows} rows is in force")
    )


@catalog.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line on stdout.")
@examples("ampel-dagster catalog list", "ampel-dagster catalog list --json")
def list_catalogs(as_json: bool) -> None:
    """List the catalogues: rows, version, columns, file."""
    with session() as current:
        records = current.store.catalogs.all()
    if as_json:
        for record in records:
            click.echo(json.dumps({**record, "ts": record["ts"].isoformat()}))
        return
    if not records:
        out.print("no catalogue was loaded")
        return
    table = Table("name", "rows", "version", "columns", "file", "loaded", title="catalogues")
    for record in records:
        loaded = record["ts"].isoformat(sep=" ", timespec="seconds")
        columns = ", ".join(record["columns"])
        table.add_row(record["_id"], str(record["rows"]), record["version"], columns, record["source"], loaded)
    out.print(table)


@catalog.command("drop")
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@examples("ampel-dagster catalog drop vsx")
def drop(name: str, yes: bool) -> None:
    """Remove a catalogue. Results that were computed with it stay."""
    with session() as current:
        known("catalogue", [name], [record["_id"] for record in current.store.catalogs.all()])
        units = {product.name: product.unit for product in current.config.products.values()}
        users = sorted(p for p, unit in units.items() if isinstance(unit, CatalogMatch) and name in unit.stored)
        if users:
            console.print(f"products that match with it will wait for it: {', '.join(users)}")
        if yes or click.confirm(f"Remove catalogue {name}?"):
            current.store.catalogs.drop(name)
            out.print(f"{name} is removed")
