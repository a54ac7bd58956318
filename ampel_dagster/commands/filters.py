"""``explain``, ``filter`` and ``channel``: what filters do, before and while their channels are live."""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta
from itertools import chain
from math import isfinite
from pathlib import Path
from typing import Any

import click
from rich.markup import escape
from rich.table import Table

from ampel_dagster.commands.ingesting import parse_nights, progress_bar
from ampel_dagster.commands.session import Session, console, hex_id, known, out, session, survey_of
from ampel_dagster.config.instance import locate
from ampel_dagster.config.load import Config, load, load_channel
from ampel_dagster.model.alert import Packet
from ampel_dagster.model.codes import VerdictCode
from ampel_dagster.model.cut import first_failure, indented
from ampel_dagster.model.errors import UserError
from ampel_dagster.model.run import RunInfo
from ampel_dagster.pipeline.explain import Explanation
from ampel_dagster.pipeline.explain import explain as explain_alert
from ampel_dagster.pipeline.filter_runs import Difference, FilterDiff, MatchRate, compare, match_rates
from ampel_dagster.pipeline.gate import activate as let_through
from ampel_dagster.pipeline.gate import is_live
from ampel_dagster.sources.files import BrokenSourceError, read_file
from ampel_dagster.units.bound import ChannelRules

_VERDICTS = {code.value: code.name for code in VerdictCode}


def explain(id_: int, channel: str, path: Path | None, *, as_json: bool) -> None:
    """Why a channel took or left an alert."""
    with session() as current:
        found = _explain(current, id_, channel, path)
    if as_json:
        click.echo(json.dumps(_explanation(found)))
        return
    alert, rules, judgement = found.alert, found.rules, found.judgement
    table = Table("cut", "value", "limit", "", title=f"{rules.channel}: {rules.filter_name}")
    for depth, cut in indented(judgement.cuts):
        passed = "pass" if cut.passed else "[red]fail[/red]"
        table.add_row(escape("  " * depth + cut.name), _text(cut.value), _text(cut.limit), passed)
    out.print(f"alert {alert.id} ({escape(alert.name)}) of {alert.night}, from {escape(found.origin)}", soft_wrap=True)
    out.print(table)
    first = first_failure(judgement.cuts)
    why = f" by {escape(first.name)}" if first and not judgement.accepted else ""
    out.print(f"now:    {_said(judgement.code)}{why}", soft_wrap=True)
    if judgement.failure is not None:
        out.print(escape(judgement.failure.traceback.rstrip()), soft_wrap=True)
    out.print(f"stored: {_stored(found)}", soft_wrap=True)


def _explain(current: Session, id_: int, channel: str, path: Path | None) -> Explanation:
    config = current.config
    known("channel", [channel], list(config.channels))
    surveys = config.channels[channel].surveys
    if not surveys:
        raise UserError(f"{channel} follows no survey; add a block to channels/{channel}.yaml")
    error: UserError | None = None
    for survey, rules in surveys.items():
        try:
            store, folders = current.store.survey(survey), config.packet_folders(survey)
            return explain_alert(store, config.instrument(survey), rules, id_, folders, path)
        except UserError as told:
            error = error or told
    assert error is not None  # there is a survey, and it did not return
    raise error


def _said(code: int) -> str:
    name = _VERDICTS.get(code)
    if code > 0:
        return f"accepted into group {code}"
    return "accepted" if code == 0 else f"rejected ({code}{f' {name}' if name else ''})"


def _stored(found: Explanation) -> str:
    verdict = found.stored
    if verdict is None:
        return "no verdict"
    known_stock = ", as the object was known" if verdict.get("known_stock") else ""
    config = "the channel as it is now" if found.is_current else f"another configuration ({hex_id(verdict['config'])})"
    error = f": {escape(verdict['error'])}" if verdict.get("error") else ""
    return f"{_said(verdict['code'])}{known_stock}{error}; by {config}"


def _text(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.7g}"
    if isinstance(value, tuple | list):
        return ", ".join(map(_text, value))
    return "" if value is None else escape(str(value))


def _explanation(found: Explanation) -> dict[str, Any]:
    alert, rules = found.alert, found.rules
    cuts = [
        {"depth": depth, "name": cut.name, "value": cut.value, "limit": cut.limit, "passed": cut.passed}
        for depth, cut in indented(found.judgement.cuts)
    ]
    stored = None
    if found.stored is not None:
        stored = {**found.stored, "config": hex_id(found.stored["config"]), "is_current": found.is_current}
        stored.pop("batch", None)
    answer = {"alert": alert.id, "name": alert.name, "survey": rules.survey, "night": alert.night}
    answer |= {"origin": found.origin, **rules.description, "config": hex_id(rules.config), "cuts": cuts}
    answer |= {"code": found.judgement.code, "accepted": found.judgement.accepted, "stored": stored}
    failure = found.judgement.failure
    return _finite(answer | ({"error": failure.message} if failure else {}))  # type: ignore[no-any-return]


def _finite(value: Any) -> Any:
    """As JSON takes it, which knows no NaN."""
    if isinstance(value, float):
        return value if isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_finite(item) for item in value]
    return value if isinstance(value, str | int | bool | None) else str(value)


def rate(channels: Sequence[str], nights: str, survey: str | None, *, as_json: bool) -> None:
    """Match rates of channels over archived nights."""
    first, last = parse_nights(nights)
    config = load(locate().folder)
    survey = survey_of(config, survey)
    rules = [_rules(config, name, survey) for name in _or_all(config, survey, channels)]
    rates = _rates(config, survey, rules, first, last)
    if as_json:
        click.echo(json.dumps([_rate(found) for found in rates]))
        return
    out.print(_rate_table(rates, f"{first} to {last}" if first != last else first))


def _or_all(config: Config, survey: str, channels: Sequence[str]) -> Sequence[str]:
    return channels or [rules.channel for rules in config.rules(survey)]


def _rates(config: Config, survey: str, rules: Sequence[ChannelRules], first: str, last: str) -> list[MatchRate]:
    packets = _packets(config, survey, first, last)
    with progress_bar("filtering") as bar:
        return match_rates(config.instrument(survey), rules, packets, lambda n: bar(f"{n} alerts"))


def _rate(found: MatchRate) -> dict[str, Any]:
    numbers = {"channel": found.channel, "total": found.total, "passed": found.passed, "share": found.share}
    return numbers | {"failed": found.failures.total(), "names": found.names}


def _rate_table(rates: Sequence[MatchRate], when: str) -> Table:
    table = Table("channel", "may see", "accepts", "share", "raised", "first objects", title=f"alerts of {when}")
    for found in rates:
        names = ", ".join(map(escape, found.names)) + (" …" if found.passed > len(found.names) else "")
        raised = "; ".join(f"{n} × {escape(message)}" for message, n in found.failures.most_common(3))
        table.add_row(found.channel, str(found.total), str(found.passed), f"{found.share:.2%}", raised, names)
    return table


def diff(one: str, other: str, nights: str, survey: str | None, most: int, *, as_json: bool) -> None:
    """Two channels, or two versions of one, over archived nights."""
    first, last = parse_nights(nights)
    config = load(locate().folder)
    survey = survey_of(config, survey)
    a, b = _rules(config, one, survey), _rules(config, other, survey)
    packets = _packets(config, survey, first, last)
    with progress_bar("filtering") as bar:
        found = compare(config.instrument(survey), a, b, packets, most, lambda n: bar(f"{n} alerts"))
    if as_json:
        differences = [d._asdict() for d in found.differences]
        answer = {"a": one, "b": other, "nights": [first, last], "counts": _counts(found), "differences": differences}
        click.echo(json.dumps(_finite(answer)))
        return
    out.print(escape(f"A = {one} ({a.filter_name}), B = {other} ({b.filter_name}), {first} to {last}"), soft_wrap=True)
    table = Table("both", "only A", "only B", "neither", title="alerts that are taken by")
    table.add_row(*(str(n) for n in _counts(found).values()))
    out.print(table)
    if found.differences:
        out.print(_difference_table(found.differences))
    more = found.counts["a"] + found.counts["b"] - len(found.differences)
    if more:
        out.print(f"… and {more} more that differ: --most shows more of them")


def _counts(found: FilterDiff) -> dict[str, int]:
    return {key: found.counts[key] for key in ("both", "a", "b", "neither")}


def _difference_table(differences: Sequence[Difference]) -> Table:
    table = Table("alert", "object", "night", "taken by", "because the other's", "says", "limit", title="differences")
    for d in differences:
        cut = (escape(d.cut), _text(d.value), _text(d.limit))
        table.add_row(str(d.alert), escape(d.name), d.night, "A" if d.codes[0] >= 0 else "B", *cut)
    return table


def _rules(config: Config, name: str, survey: str) -> ChannelRules:
    """A channel of the instance by name, or one in a file, for a survey."""
    path = Path(name).expanduser()
    if name not in config.channels and path.suffix in (".yaml", ".yml"):
        if not path.is_file():
            raise UserError(f"{name}: no such file")
        surveys = load_channel(config, path).surveys
    else:
        known("channel", [name], list(config.channels))
        surveys = config.channels[name].surveys
    if survey not in surveys:
        raise UserError(f"{name} asks for nothing of {survey}; add a block '{survey}:'")
    return surveys[survey]


def _packets(config: Config, survey: str, first: str, last: str) -> Iterator[Packet | BrokenSourceError]:
    """Packets of the nights that have an archive file. Raises UserError where none has."""
    from assets.archive import archive_file

    days = (date.fromisoformat(last) - date.fromisoformat(first)).days
    nights = [(date.fromisoformat(first) + timedelta(days=n)).isoformat() for n in range(days + 1)]
    files = [file for night in nights if (file := archive_file(config, survey, night))]
    if not files:
        which = first if first == last else f"from {first} to {last}"
        raise UserError(f"no archive file for the night {which}; see archive: in the stream of {survey}")
    return chain.from_iterable(map(read_file, files))


def channels(*, as_json: bool) -> None:
    """Which channels are live."""
    with session() as current:
        rows = []
        for survey in current.config.surveys:
            for rules in current.config.rules(survey):
                done = current.store.activations.find(rules.channel, survey, rules.config)
                rows.append((rules, is_live(current.store, rules), done))
    if as_json:
        for rules, live, done in rows:
            facts = {k: done[k] for k in ("night", "total", "passed", "max_share", "forced")} if done else None
            row = {"channel": rules.channel, "survey": rules.survey, "live": live, "gate": rules.gate is not None}
            click.echo(json.dumps(row | {"filter": rules.filter_name, "activated": facts}))
        return
    table = Table("channel", "survey", "filter", "live", "gate", title="channels")
    for rules, live, done in rows:
        gate = f"{rules.gate.max_share:.1%} of {rules.gate.night}" if rules.gate else "none"
        if done:
            forced = ", forced" if done["forced"] else ""
            gate += f"; took {done['passed']} of {done['total']} of {done['night']}{forced}"
        table.add_row(rules.channel, rules.survey, rules.filter_name, "yes" if live else "[red]no[/red]", gate)
    out.print(table)


def activate(name: str, night: str | None, max_share: float | None, survey: str | None, *, force: bool) -> None:
    """Measure a channel's filter over its reference night, and make the channel live."""
    with session() as current:
        survey = survey_of(current.config, survey)
        rules = _gated(current, name, survey)
        assert rules.gate is not None  # said so by _gated
        night, share = night or rules.gate.night, rules.gate.max_share if max_share is None else max_share
        if parse_nights(night, "--night") != (night, night):
            raise UserError(f"--night {night}: the gate takes one night, YYYY-MM-DD")
        if is_live(current.store, rules):
            out.print(f"{name} is live already, with the filter that it has now")
            return
        (found,) = _rates(current.config, survey, [rules], night, night)
        out.print(_rate_table([found], night))
        run = RunInfo("command line", current.config.id)
        current.store.configs.keep(current.config.id, current.config.content, run.meta())
        let_through(current.store, rules, found, night, share, run, force=force)
        before = f"ampel-dagster backfill --channel {name} --nights …"
        console.print(f"{name} is live. For what came before: {before}", soft_wrap=True)


def deactivate(name: str, survey: str | None) -> None:
    """Take a channel off."""
    with session() as current:
        survey = survey_of(current.config, survey)
        _gated(current, name, survey)
        there = current.store.activations.remove(name, survey)
        out.print(f"{name} is not live any more" if there else f"{name} was not live")


def _gated(current: Session, name: str, survey: str) -> ChannelRules:
    known("channel", [name], list(current.config.channels))
    rules = _rules(current.config, name, survey)
    if rules.gate is None:
        raise UserError(f"{name} has no gate, and is live; see gate: in docs/how-to/filter.md")
    return rules
