"""``t3``: what a process would select and send, what was sent, and sending again."""

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from re import fullmatch
from typing import Any

import click
from rich.markup import escape
from rich.table import Table

from ampel_dagster.commands.ingesting import parse_nights
from ampel_dagster.commands.looking import find_stock, when
from ampel_dagster.commands.runs import run_job
from ampel_dagster.commands.session import Session, console, hex_id, known, out, session, survey_of
from ampel_dagster.config.secrets import Secrets
from ampel_dagster.model.cut import Cut
from ampel_dagster.model.errors import UserError
from ampel_dagster.model.night import nights_between
from ampel_dagster.model.population import to_pandas
from ampel_dagster.model.run import RunInfo
from ampel_dagster.model.view import TransientView
from ampel_dagster.pipeline.t3_react import nights_of, react_to_night
from ampel_dagster.pipeline.t3_record import Reaction
from ampel_dagster.pipeline.t3_select import judge, latest_views, select
from ampel_dagster.storage.collections import Document
from ampel_dagster.units.base import Publisher

#: Rows that are shown; --json has all.
_MOST_ROWS = 200
_AGO = r"([0-9]+)\s*(minutes|hours|days|min|h|d)"
_UNITS = {"min": "minutes", "h": "hours", "d": "days"}


def preview(process: str, channels: Sequence[str], nights: str | None, *, every: bool, as_json: bool) -> None:
    """What a process would select, why, and what it would send. Nothing is sent, nothing is changed."""
    with session() as current:
        known("process", [process], list(current.config.processes))
        mine = [channel.name for channel in current.config.channels_of(process)]
        known(f"channel of {process}", channels, mine)
        for reaction in _reactions(current, process, channels or mine):
            for night, only in _nights(reaction, nights):
                rows = _rows(reaction, night, only)
                done = react_to_night(reaction, night, None, only)
                if as_json:
                    for row in rows:
                        click.echo(json.dumps(row, default=str))
                    continue
                out.print(_preview_table(reaction, night, rows if every else [r for r in rows if r["selected"]]))
                out.print(
                    f"{done.counts['selected']} of {done.counts['seen']} objects selected, "
                    f"{done.counts['deferred']} wait for a result" + ("" if every else "; --all shows the others, too")
                )
                for unit, text in done.previews.items():
                    out.print(f"{unit} (dry run): {escape(text)}", soft_wrap=True)


def run(processes: Sequence[str], channels: Sequence[str]) -> None:
    """React to what is new, by the job `react`."""
    with session() as current:
        known("process", processes, list(current.config.processes))
        known("channel", channels, list(current.config.channels))
        instance, store = current.instance, current.store
        config = {"ops": {"react_to_new": {"config": {"processes": list(processes), "channels": list(channels)}}}}
        done = store.reactions.list(run=run_job(instance, "react", config=config))
    if not done:
        out.print("nothing is new")
        return
    table = Table("process", "channel", "night", "selected", "what was done", "files", title="reactions")
    for d in done[:_MOST_ROWS]:
        words = ("deferred", "reacted", "skipped", "failed", "unknown", "refused", "waiting", "elsewhere", "held")
        told = ", ".join(f"{d['counts'][word]} {word}" for word in words if d["counts"].get(word))
        where = (d["process"], d["channel"], d["night"], str(d["counts"]["selected"]), told)
        table.add_row(*where, escape("\n".join(file for file in d["files"] if "/objects/" not in file)))
    out.print(table)


def export(file: Path, channel: str, nights: str, process: str | None, survey: str | None) -> None:
    """The objects of a channel as a table: one row each, a column for each value."""
    kind = file.suffix.lower()
    if kind not in (".parquet", ".csv"):
        raise UserError(f"{file}: name a file that ends with .parquet or .csv")
    if not file.absolute().parent.is_dir():
        raise UserError(f"{file}: there is no such folder")
    first, last = parse_nights(nights)
    with session() as current:
        config = current.config
        known("channel", [channel], list(config.channels))
        known("process", [process] if process else [], list(config.processes))
        survey = survey_of(config, survey)
        known(f"survey of {channel}", [survey], list(config.channels[channel].surveys))
        rules, chosen = config.channels[channel].surveys[survey], config.processes[process] if process else None
        found = current.store.survey(survey)
        views = latest_views(found, config.instrument(survey), rules, nights_between(first, last), chosen)
        frame = to_pandas(views)
    frame.to_parquet(file, index=False) if kind == ".parquet" else frame.to_csv(file, index=False)
    out.print(f"{len(frame)} objects, {len(frame.columns)} columns: {file}")


def _reactions(current: Session, process: str, channels: Sequence[str]) -> Iterator[Reaction]:
    config, run = current.config, RunInfo("preview", current.config.id)
    for name in channels:
        for rules in config.channels[name].surveys.values():
            instrument, secrets = config.instrument(rules.survey), Secrets(config.folder)
            reports = current.instance.reports
            found = Reaction(current.store, instrument, config.processes[process], rules, run, reports, "", secrets)
            yield found.dry()


def _nights(reaction: Reaction, nights: str | None) -> Iterator[tuple[str, frozenset[int] | None]]:
    """Nights to look at, and to which stocks the selection is restricted: those given, or those with news."""
    channel, survey = reaction.rules.channel, reaction.instrument.survey
    if nights is not None:
        first, last = parse_nights(nights, "--night")
        yield from ((night, None) for night in nights_between(first, last))
        return
    new = reaction.store.batches.unhandled(reaction.process.name, channel, survey)
    touched = frozenset(stock for batch in new for stock in batch["touched"][channel])
    found = nights_of(reaction, new)
    if not found:
        console.print(f"{channel}: nothing is new to {reaction.process.name}; --night looks at a night")
    for night in found:
        yield night, touched if reaction.process.select.updated == "since_last_run" else None


def _rows(reaction: Reaction, night: str, only: frozenset[int] | None) -> list[dict[str, Any]]:
    survey = reaction.store.survey(reaction.instrument.survey)
    what = (survey, reaction.instrument, reaction.process, reaction.rules, night, only)
    chosen = {entry.stock for entry in select(*what).views.chosen}
    return [_row(view, cuts, view.stock in chosen) for view, cuts in judge(*what)]


def _row(view: TransientView, cuts: Sequence[Cut], chosen: bool) -> dict[str, Any]:
    conditions = [{"condition": c.name, "value": c.value, "limit": c.limit, "passed": c.passed} for c in cuts]
    where = {"channel": view.channel, "night": view.night, "name": view.name, "stock": view.stock}
    return {**where, "selected": chosen, "conditions": conditions}


def _preview_table(reaction: Reaction, night: str, rows: Sequence[dict[str, Any]]) -> Table:
    title = f"{reaction.process.name} for {reaction.rules.channel}, {night}"
    heads = [f"{c['condition']} {c['limit']}" for c in rows[0]["conditions"]] if rows else []
    table = Table("object", *map(escape, heads), "", title=title)
    for row in rows[:_MOST_ROWS]:
        cells = [_cell(c) for c in row["conditions"]]
        passed = all(c["passed"] for c in row["conditions"])
        table.add_row(escape(row["name"]), *cells, "selected" if row["selected"] else "beyond limit" if passed else "–")
    return table


def _cell(condition: dict[str, Any]) -> str:
    text = escape(_text(condition["value"]))
    return text if condition["passed"] else f"[red]{text} fail[/red]"


def _text(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else "none" if value is None else str(value)


def outbox(process: str | None, state: str | None, since: str | None, *, as_json: bool) -> None:
    """What was sent."""
    with session() as current:
        found = current.store.outbox.list(process, state, _since(since) if since else None)
        if as_json:
            for d in found:
                click.echo(json.dumps(d, default=str))
            return
        out.print(_outbox_table(found))
        if len(found) > _MOST_ROWS:
            out.print(f"… and {len(found) - _MOST_ROWS} more: --json lists all")


def _outbox_table(found: Sequence[Document]) -> Table:
    table = Table("id", "when", "process", "unit", "channel", "object", "night", "state", "", title="outbox")
    for d in found[:_MOST_ROWS]:
        receipt = d.get("receipt") or {}
        said = d.get("error") or receipt.get("answer") or ", ".join(receipt.get("files", ()))
        where = (d["process"], d["unit"], d["channel"], escape(d["name"]), d["night"], d["state"])
        table.add_row(hex_id(d["_id"]), when(d["meta"]["ts"]), *where, escape(" ".join(said.split())[:60]))
    return table


def _since(text: str) -> datetime:
    """'2 hours', '3 d', or a date (and time) in UTC."""
    ago = fullmatch(_AGO, text.strip())
    if ago:
        return datetime.now(UTC) - timedelta(**{_UNITS.get(ago[2], ago[2]): int(ago[1])})
    try:
        return datetime.fromisoformat(text).replace(tzinfo=UTC)
    except ValueError:
        raise UserError(f"--since {text}: write a date, as in 2018-08-19, or how long ago, as in '2 hours'") from None


def resend(ids: Sequence[str], process: str | None, state: str | None, stock: str | None, *, yes: bool) -> None:
    """Send effects of the outbox again, by the job `react`, after asking."""
    if not ids and process is None and state is None and stock is None:
        raise UserError("say which: IDs as in t3 outbox, --process, --state or --stock")
    with session() as current:
        id_ = find_stock(current.config, current.store, stock)[1].id if stock else None
        found = [d for d in current.store.outbox.list(process, state, stock=id_) if _is_named(d, ids)]
        publishers = _publishers(current)
        found = [d for d in found if (d["process"], d["unit"]) in publishers]
        if not found:
            out.print("no message is like that")
            return
        out.print(_outbox_table(found))
        again = sum(d["state"] == "confirmed" for d in found)
        warning = f", {again} of which have arrived" if again else ""
        if not yes and not click.confirm(f"Send {len(found)} messages again{warning}?"):
            return
        processes = sorted({d["process"] for d in found})
        config = {"processes": processes, "resend": [str(d["_id"]) for d in found]}
        instance, numbers = current.instance, [d["_id"] for d in found]
    run = run_job(instance, "react", config={"ops": {"react_to_new": {"config": config}}})
    with session() as current:
        states = current.store.outbox.states(numbers)
        sent = sum(d["state"] == "confirmed" and d["meta"]["run"] == run for d in states.values())
    out.print(f"{sent} of {len(numbers)} messages are sent (run {run})")
    if sent < len(numbers):
        out.print("the others wait: their objects have a later state, are not selected any more, or still wait")


def _publishers(current: Session) -> set[tuple[str, str]]:
    """Process and unit of all that send something outside."""
    return {
        (process.name, type(unit).__name__)
        for process in current.config.processes.values()
        for unit in process.units
        if isinstance(unit, Publisher)
    }


def _is_named(d: Document, ids: Sequence[str]) -> bool:
    return not ids or any(hex_id(d["_id"]).startswith(id_.lower()) for id_ in ids)
