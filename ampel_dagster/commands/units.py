"""``unit try`` and ``unit new``."""

import json
from pathlib import Path
from typing import Any

import click
from pydantic import ValidationError
from rich.markup import escape
from rich.tree import Tree

from ampel_dagster.commands import scaffold
from ampel_dagster.commands.looking import find_stock
from ampel_dagster.commands.session import Session, console, known, out, session
from ampel_dagster.model.codes import code_name
from ampel_dagster.model.errors import UserError
from ampel_dagster.pipeline.t2_try import Trial, tied_products, try_product
from ampel_dagster.units.base import T2Unit
from ampel_dagster.units.bound import Product
from ampel_dagster.units.registry import find_unit, unit_names


def attempt(name: str, stock: str, config: str | None, state: int | None, *, as_json: bool) -> None:
    """Run a product, or a T2 unit with a configuration, on a stored object; write nothing."""
    with session() as current:
        survey, found = find_stock(current.config, current.store, stock)
        product = _product(current, name, config)
        trials = try_product(current.store.survey(survey), current.config.instrument(survey), product, found.id, state)
        if as_json:
            for trial in trials:
                shown: dict[str, Any] = {"input": trial.input, "code": trial.code, "result": trial.body}
                shown |= {"duration_s": trial.duration_s, "peak_mb": trial.peak_mb}
                click.echo(json.dumps(shown | ({"error": trial.error.message} if trial.error else {}), default=str))
            return
        for trial in trials:
            out.print(_tree(product, found.name, trial), soft_wrap=True)
        console.print("nothing was written")


def _product(current: Session, name: str, config: str | None) -> Product:
    products = current.config.products
    if name in products and config is None:
        return products[name]
    if name not in unit_names(T2Unit):
        known("product or T2 unit", [name], [*products, *unit_names(T2Unit)])
        raise UserError(f"{name} is a product, whose file has its configuration: leave out --config")
    try:
        settings: Any = json.loads(config or "{}")
    except json.JSONDecodeError as error:
        raise UserError(f'--config is no JSON ({error}); as in --config \'{{"band": "g"}}\'') from None
    if not isinstance(settings, dict):
        raise UserError('--config is an object, as in \'{"band": "g"}\'')
    try:
        unit = find_unit(name, T2Unit)(**settings).prepare(current.config.folder)
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(f"--config: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    except ValueError as error:
        raise UserError(f"{name}: {error}") from None
    if not isinstance(unit, T2Unit):
        raise UserError(f"{name}.prepare returned no unit; let it return self")
    return Product(f"try_{name}", unit, tied_products(unit.requires, list(products.values())))


def _tree(product: Product, name: str, trial: Trial) -> Tree:
    unit = type(product.unit).__name__
    tree = Tree(f"[bold]{escape(unit)}[/bold] of {escape(name)}, input {trial.input}: code {code_name(trial.code)}")
    tree.add(f"{trial.duration_s * 1000:.2f} ms, {trial.peak_mb:.2f} MB of Python objects at most")
    if trial.error is not None:
        branch = tree.add(escape(f"error: {trial.error.message}"))
        if trial.error.traceback:
            branch.add(escape(trial.error.traceback.rstrip()))
    for key, value in (trial.body or {}).items():
        tree.add(escape(f"{key}: {json.dumps(value, default=str)}"))
    return tree


def new(name: str, kind: str, package: Path | None) -> None:
    """Write a unit, its test, and what makes it known."""
    written = scaffold.write(name, kind, package, Path.cwd())
    for path in written.files:
        console.print(f"wrote {path}")
    for step in written.next_steps:
        console.print(step)
