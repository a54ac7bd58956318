"""``t2 status`` and ``t2 reset``."""

import json

import click
from rich.table import Table

from ampel_dagster.commands.looking import find_stock
from ampel_dagster.commands.session import console, known, out, session, survey_of
from ampel_dagster.model.codes import code_name
from ampel_dagster.model.errors import UserError
from ampel_dagster.pipeline.t2_augment import status as t2_status
from ampel_dagster.storage.collections import Document
from ampel_dagster.storage.figures import t2_codes
from ampel_dagster.storage.tickets import in_partitions


def status(*, as_json: bool) -> None:
    """Documents by product and code."""
    with session() as current:
        config, found = current.config, {}
        for survey in config.surveys:
            found[survey] = t2_status(current.store.survey(survey), config.products_of(survey))
        if as_json:
            click.echo(
                json.dumps(
                    {s: {p: {str(c): n for c, n in codes.items()} for p, codes in v.items()} for s, v in found.items()}
                )
            )
            return
        table = Table("survey", "product", "code", "documents", title="T2 documents")
        for survey, products in found.items():
            for product, codes in products.items():
                for code, number in sorted(codes.items()):
                    name = code_name(code)
                    table.add_row(survey, product, f"{code} {name}" if name != str(code) else name, str(number))
        out.print(table)


def reset(
    product: str | None, code: int | None, stock: str | None, night: str | None, survey: str | None, *, yes: bool
) -> None:
    """Make documents tickets again, after asking."""
    if product is None and code is None and stock is None and night is None:
        raise UserError("say which: --product, --code, --stock or --night")
    with session() as current:
        config = current.config
        owner = find_stock(config, current.store, stock) if stock is not None else None
        survey = survey_of(config, survey or (owner[0] if owner else None))
        found = current.store.survey(survey)
        where: Document = {}
        if product is not None:
            known("product", [product], list(config.products))
            where["product_id"] = config.products[product].id
        if code is not None:
            where["code"] = code
        if owner is not None:
            where["stock"] = owner[1].id
        if night is not None:
            where |= in_partitions(list(config.channels), [night])
        number = sum(sum(codes.values()) for codes in t2_codes(found, where, "product_id").values())
        if not number:
            out.print("no document is like that")
            return
        if not yes and not click.confirm(f"Compute {number} documents again?"):
            return
        console.print(f"{found.tickets.reset(where)} documents are tickets again; the next T2 run takes them up")
