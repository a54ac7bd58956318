"""``counts``, ``ledger``, ``provenance`` and ``states``."""

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any

import click
from rich.markup import escape
from rich.table import Table
from rich.tree import Tree

from ampel_dagster.commands.session import Session, hex_id, out, session, survey_of
from ampel_dagster.config.load import Config
from ampel_dagster.model.alert import place_name
from ampel_dagster.model.codes import code_name
from ampel_dagster.model.errors import UserError
from ampel_dagster.model.light_curve import LightCurve
from ampel_dagster.model.stock import Stock
from ampel_dagster.pipeline.states import StateLine, states_of_stock
from ampel_dagster.storage import audit, figures
from ampel_dagster.storage.batches import LEDGER_KEYS
from ampel_dagster.storage.collections import Document
from ampel_dagster.storage.store import Store

#: Rows of the ledger: with thousands of single files nobody reads all.
_MOST_SOURCES = 40
_INTEGER = re.compile(r"-?[0-9]{1,19}")


def counts(*, as_json: bool) -> None:
    """Counts of everything."""
    with session() as current:
        found = figures.counts(current.store, current.config.surveys, current.config.product_names)
        if as_json:
            click.echo(json.dumps(found))
            return
        for survey in current.config.surveys:
            out.print(_counts_table(survey, found[survey]))
            out.print(summary_table(current, survey))
        out.print(f"quarantine: {found['quarantine']} packets; reactions: {json.dumps(found['t3'])}")


def _counts_table(survey: str, found: Mapping[str, Any]) -> Table:
    table = Table("collection", "documents", "of which", title=survey)
    for key in ("alert", "rejected", "stock", "cutout"):
        table.add_row(key, str(found[key]), "")
    t0 = found["t0"]
    parts = ", ".join(f"{t0[key]} {key}" for key in ("detections", "upper_limits", "forced", "superseded"))
    table.add_row("t0", str(t0["total"]), parts)
    table.add_row("t1", str(found["t1"]["total"]), f"{found['t1']['dps']} datapoints in states")
    for product, codes in found["t2"].items():
        by_code = ", ".join(f"{n} {code_name(int(code))}" for code, n in codes.items())
        table.add_row(f"t2 {product}", str(sum(codes.values())), by_code)
    return table


def summary_table(current: Session, survey: str) -> Table:
    """What each channel has, tier by tier."""
    config, store = current.config, current.store.survey(survey)
    names = [product.name for product in config.products_of(survey)]
    table = Table("channel", "alerts", "stocks", "states", *names, "reactions", title=f"{survey}: channels and tiers")
    for rules in config.rules(survey):
        found = figures.channel_counts(current.store, store, rules.channel)
        asked = {request.product.name for request in rules.requests}
        results = [_results(found["t2"].get(name, {})) if name in asked else "–" for name in names]
        numbers = [str(found[key]) for key in ("alert", "stock", "t1")]
        table.add_row(rules.channel, *numbers, *results, str(found["t3"]))
    return table


def _results(codes: Mapping[int, int]) -> str:
    good = sum(n for code, n in codes.items() if code >= 0)
    rest = ", ".join(f"{n} {code_name(code)}" for code, n in sorted(codes.items()) if code < 0)
    return f"{good} ({rest})" if rest else str(good)


def ledger(nights: Sequence[str], survey: str | None, *, all_sources: bool, as_json: bool) -> None:
    """The ledger, by source."""
    with session() as current:
        survey = survey_of(current.config, survey)
        report = audit.ledger(current.store, survey, [_night(night) for night in nights])
        if as_json:
            click.echo(json.dumps(_ledger_json(report)))
            return
        if not report.rows:
            out.print("nothing was read" + (f" for {', '.join(nights)}" if nights else ""))
            return
        rows = report.rows if all_sources else report.short(_MOST_SOURCES)
        out.print(ledger_table({row["source"]: row for row in rows}))
        if len(rows) < len(report.rows):
            out.print("--all names the others")
        if report.open:
            out.print(_open_table(report.open_batches))
            out.print(
                f"{report.open} batches are open: a run is at them, or was interrupted: run the same packets again"
            )
        if not report.balanced:
            raise UserError("the ledger does not balance")


def ledger_table(sources: Mapping[str, Mapping[str, Any]]) -> Table:
    """Packets by source, with the sum of all; of what is in quarantine now also why, where the rows say so."""
    rows = dict(sources)
    if len(rows) > 1:
        total: dict[str, Any] = {key: sum(found.get(key, 0) for found in rows.values()) for key in LEDGER_KEYS}
        total["quarantine"] = sum((Counter(found.get("quarantine", {})) for found in rows.values()), Counter[str]())
        rows["all"] = total
    reasons = any("quarantine" in found for found in sources.values())
    table = Table("source", *LEDGER_KEYS, *(["in quarantine now"] if reasons else []), title="packets")
    for source, found in rows.items():
        if found is not sources.get(source):
            table.add_section()
        why = [audit.reasons_text(found.get("quarantine", {}))] if reasons else []
        table.add_row(escape(source), *(str(found.get(key, 0)) for key in LEDGER_KEYS), *why)
    return table


def _open_table(batches: Sequence[Document]) -> Table:
    table = Table("batch", "run", "since", title="open batches")
    for d in batches[:_MOST_SOURCES]:
        table.add_row(hex_id(d["_id"]), d["meta"]["run"], when(d["meta"]["ts"]))
    return table


def _ledger_json(report: audit.LedgerReport) -> dict[str, Any]:
    sources = [{key: row[key] for key in ("source", *LEDGER_KEYS, "quarantine")} for row in report.rows]
    opened = [{"batch": hex_id(d["_id"]), "run": d["meta"]["run"]} for d in report.open_batches]
    answer = {"balanced": report.balanced, "total": report.total, "quarantine": report.quarantine}
    return answer | {"open": opened, "sources": sources}


def _night(text: str) -> str:
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        raise UserError(f"{text} is no night; write YYYY-MM-DD") from None


def find_stock(config: Config, store: Store, name: str) -> tuple[str, Stock]:
    """(survey, stock) by the survey's name or by id. Raises UserError."""
    number = int(name) if _INTEGER.fullmatch(name) else None
    if number is not None and number.bit_length() > 63:
        number = None  # no id: MongoDB's integers have 64 bits
    for survey in config.surveys:
        stocks = store.survey(survey).stocks
        found = stocks.by_name(name) if number is None else stocks.load([number]).get(number)
        if found is not None:
            return survey, found
    raise UserError(f"{name}: no channel has accepted an alert of such an object yet")


def provenance(name: str) -> None:
    """The story of an object, as a tree."""
    with session() as current:
        survey, stock = find_stock(current.config, current.store, name)
        found = current.store.survey(survey)
        where = f"ra {stock.ra_deg:.5f}, dec {stock.dec_deg:.5f} deg"
        tree = Tree(
            f"[bold]{escape(stock.name)}[/bold] (stock {stock.id}, {where}) channels: {', '.join(stock.channel)}"
        )
        alerts = tree.add("alerts")
        for d in found.ledger.of_stock(stock.id):
            alerts.add(_alert_line(d))
        states = tree.add("states")
        for d in found.states.of_stock(stock.id):
            states.add(f"link {d['_id']}: {len(d['dps'])} datapoints up to jd {d['jd']:.5f}, {_meta(d['meta'])}")
        results = tree.add("results")
        for d in found.t2_of_stock(stock.id):
            _add_result(results, d)
        reactions = tree.add("reactions")
        for d in current.store.outbox.of_stock(survey, stock.id):
            what = f"{d['process']} / {d['unit']} for {d['channel']}: {d['state']}"
            reactions.add(f"{what}, state {d['link']}, {_meta(d['meta'])}")
        out.print(tree, soft_wrap=True)


def states(name: str, channel: str | None, link: int | None, *, as_json: bool) -> None:
    """States of an object over time, or the datapoints of one of them."""
    with session() as current:
        if channel is not None and channel not in current.config.channels:
            raise UserError(f"there is no channel {channel}; there are: {', '.join(current.config.channels)}")
        survey, stock = find_stock(current.config, current.store, name)
        found = states_of_stock(current.store.survey(survey), stock.id, channel)
        if channel is not None and not found:
            raise UserError(f"{channel} has no state of {stock.name}")
        if link is None:
            _show_states(stock, found, as_json=as_json)
            return
        chosen = next((state for state in found if state.link == link), None)
        if chosen is None:
            raise UserError(f"{stock.name} has no state {link}; without --link all of them are listed")
        points = current.store.survey(survey).points.load(chosen.dps)
        curve = current.config.instrument(survey).light_curve(stock.id, list(points.values()))
        _show_points(curve, as_json=as_json)


def _show_states(stock: Stock, found: Sequence[StateLine], *, as_json: bool) -> None:
    if as_json:
        keys = ("link", "jd", "night", "dps", "kinds", "alerts", "channel", "left_out", "values", "run")
        click.echo(json.dumps([{key: getattr(state, key) for key in keys} for state in found], default=str))
        return
    table = Table("link", "jd", "night", "points", "alerts", "channels", "left out", "values", title=escape(stock.name))
    for state in found:
        kinds, left_out = (", ".join(f"{n} {key}" for key, n in d.items()) for d in (state.kinds, state.left_out))
        values = "; ".join(f"{unit}: {json.dumps(value, default=str)}" for unit, value in state.values.items())
        alerts, channels = ", ".join(map(str, state.alerts)), ", ".join(state.channel)
        table.add_row(
            str(state.link), f"{state.jd:.5f}", state.night, kinds, alerts, channels, left_out, escape(values)
        )
    out.print(table)


def _show_points(curve: LightCurve, *, as_json: bool) -> None:
    frame = curve.to_pandas()
    if as_json:
        click.echo(frame.to_json(orient="records", double_precision=10))
        return
    columns = ("id", "jd", "kind", "band", "mag", "mag_err", "mag_limit", "flux_njy", "flux_err_njy")
    table = Table(*columns, title=f"{escape(curve.name)}: datapoints of the state")
    for row in frame[list(columns)].itertuples(index=False):
        table.add_row(*("" if value != value else _short(value) for value in row))
    out.print(table)


def _short(value: Any) -> str:
    return f"{value:.5f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


def _alert_line(d: Document) -> str:
    source = d["source"]
    verdicts = ", ".join(f"{c}: {_verdict(v)}" for c, v in sorted(d["verdict"].items()))
    place = f"{escape(place_name(source))} packet {source['offset']}"
    return f"alert {d['_id']} of {d['night']} (jd {d['jd']:.5f}) from {place}; {verdicts}; {_meta(d['meta'])}"


def _verdict(verdict: Mapping[str, Any]) -> str:
    if verdict["code"] < 0:
        return f"rejected ({verdict['code']})"
    return "accepted as a known stock" if verdict.get("known_stock") else "accepted"


def _add_result(tree: Tree, d: Document) -> None:
    unit = f" = {d['unit']} version {d['version']}" if "unit" in d else ""
    head = f"{d['product']}{unit} on {d['input']}: {code_name(d['code'])}"
    branch = tree.add(f"{head} (t2 {d['_id']}), {_meta(d['meta'])}")
    for key, value in (d.get("result") or {}).items():
        branch.add(escape(f"{key}: {json.dumps(value, default=str)}"))
    if d.get("error"):
        branch.add(escape(f"error: {d['error']['message']}"))


def _meta(meta: Mapping[str, Any]) -> str:
    return f"run {meta['run']}, code {meta['version']}, config {hex_id(meta['config'])}, {when(meta['ts'])}"


def when(ts: datetime) -> str:
    """A time as people read it."""
    return ts.strftime("%Y-%m-%d %H:%M:%S UTC")
