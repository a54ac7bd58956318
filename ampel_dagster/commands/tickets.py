"""``t2 status``, ``t2 show`` and ``t2 reset``."""

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import click
from rich.markup import escape
from rich.table import Table
from rich.tree import Tree

from ampel_dagster.commands.looking import find_stock
from ampel_dagster.commands.session import Session, console, known, out, session, survey_of
from ampel_dagster.model.codes import MEANING, DocumentCode, code_name
from ampel_dagster.model.errors import UserError
from ampel_dagster.model.run import utc_now
from ampel_dagster.pipeline.t2_augment import status as t2_status
from ampel_dagster.storage.collections import Document
from ampel_dagster.storage.figures import t2_ages, t2_codes
from ampel_dagster.storage.tickets import in_partitions

_HOUR = timedelta(hours=1)


class Which(NamedTuple):
    """Documents that are asked for on the command line."""

    product: str | None
    code: int | None
    stock: str | None
    night: str | None
    survey: str | None

    @property
    def said(self) -> bool:
        """Whether anything but the survey was said."""
        return any(value is not None for value in self[:-1])

    def where(self, current: Session) -> tuple[str, Document]:
        """Survey and condition. Raises UserError for what is not known."""
        config = current.config
        owner = find_stock(config, current.store, self.stock) if self.stock is not None else None
        survey = survey_of(config, self.survey or (owner[0] if owner else None))
        where: Document = {}
        if self.product is not None:
            known("product", [self.product], list(config.products))
            where["product_id"] = config.products[self.product].id
        if self.code is not None:
            where["code"] = self.code
        if owner is not None:
            where["stock"] = owner[1].id
        if self.night is not None:
            where |= in_partitions(list(config.channels), [self.night])
        return survey, where


def status(*, as_json: bool) -> None:
    """Documents by product and code; of each the oldest, and how many were written in the last hour."""
    with session() as current:
        config = current.config
        found = {s: t2_status(current.store.survey(s), config.products_of(s)) for s in config.surveys}
        if as_json:
            click.echo(
                json.dumps(
                    {s: {p: {str(c): n for c, n in codes.items()} for p, codes in v.items()} for s, v in found.items()}
                )
            )
            return
        table = Table("survey", "product", "code", "documents", "oldest", "in the last hour", title="T2 documents")
        now = utc_now()
        for survey, products in found.items():
            ages = t2_ages(current.store.survey(survey), now - _HOUR)
            for product, codes in products.items():
                id_ = config.products[product].id
                for code, number in sorted(codes.items()):
                    oldest, lately = ages.get((id_, code), (None, 0))
                    age = _ago(now - oldest) if oldest else ""
                    table.add_row(survey, product, _code(code), str(number), age, str(lately))
        out.print(table)


def _code(code: int) -> str:
    name = code_name(code)
    return f"{code} {name}" if name != str(code) else name


def _ago(age: timedelta) -> str:
    seconds = max(0, int(age.total_seconds()))
    for size, name in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {name}"
    return f"{seconds} s"


def show(which: Which, limit: int, *, as_json: bool) -> None:
    """Documents one by one, with what went wrong."""
    with session() as current:
        survey, where = which.where(current)
        documents = current.store.survey(survey).t2_documents(where, limit)
        if as_json:
            for d in documents:
                click.echo(json.dumps(d, default=str))
            return
        if not documents:
            out.print("no document is like that")
            return
        instrument = current.config.instrument(survey)
        for d in documents:
            out.print(_tree(d, instrument.stock_name(d["stock"])), soft_wrap=True)
        if len(documents) == limit:
            console.print(f"the first {limit}; more with --limit")


def _tree(d: Mapping[str, Any], name: str) -> Tree:
    unit = f" = {d['unit']} version {d['version']}" if "unit" in d else ""
    tree = Tree(
        f"[bold]{escape(d['product'])}[/bold]{escape(unit)} of {escape(name)}, input {d['input']} (t2 {d['_id']})"
    )
    meaning = MEANING[DocumentCode(d["code"])] if d["code"] in set(DocumentCode) else "a valid result"
    tree.add(f"code {_code(d['code'])}: {meaning}")
    tree.add(f"channels {', '.join(d['channel'])}; attempts {d.get('attempts', 0)}; run {d['meta']['run']}")
    if "due" in d:
        tree.add(f"not before {_when(d['due'])}")
    if "lease" in d:
        tree.add(f"held by run {d['lease']['run']} until {_when(d['lease']['until'])}")
    if d.get("error"):
        error = tree.add(escape(f"error: {d['error']['message']}"))
        if d["error"].get("traceback"):
            error.add(escape(d["error"]["traceback"].rstrip()))
    for key, value in (d.get("result") or {}).items():
        tree.add(escape(f"{key}: {json.dumps(value, default=str)}"))
    return tree


def _when(ts: datetime) -> str:
    return ts.strftime("%Y-%m-%d %H:%M:%S UTC")


def reset(which: Which, *, yes: bool) -> None:
    """Make documents tickets again, after asking."""
    if not which.said:
        raise UserError("say which: --product, --code, --stock or --night")
    with session() as current:
        survey, where = which.where(current)
        found = current.store.survey(survey)
        number = sum(sum(codes.values()) for codes in t2_codes(found, where, "product_id").values())
        if not number:
            out.print("no document is like that")
            return
        if not yes and not click.confirm(f"Compute {number} documents again?"):
            return
        console.print(f"{found.tickets.reset(where)} documents are tickets again; the next T2 run takes them up")
