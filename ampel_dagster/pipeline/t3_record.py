"""T3: what is written about reactions, and what must never be: secrets."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from time import sleep
from typing import Any, NamedTuple
from urllib.parse import quote

from ampel_dagster.instruments.base import Instrument
from ampel_dagster.model.errors import UserError
from ampel_dagster.model.ids import hash_ints, hash_json
from ampel_dagster.model.run import RunInfo, utc_now
from ampel_dagster.model.view import Artefact, Edit, ReactionContext, TransientView
from ampel_dagster.pipeline.guard import plain_text
from ampel_dagster.pipeline.t2_values import storable
from ampel_dagster.pipeline.t3_select import Chosen
from ampel_dagster.storage.collections import Document
from ampel_dagster.storage.outbox import outbox_id
from ampel_dagster.storage.store import Store
from ampel_dagster.units.base import Publisher, ReactionUnit
from ampel_dagster.units.bound import ChannelRules, Process

#: Ids of stocks that one T3 document names, at most: it has to stay below the database's 16 MB.
_STOCKS_NAMED = 200_000


def no_secrets(name: str) -> str:
    """What a reaction knows that was given no secrets."""
    raise UserError(f"there is no secret {name} here")


@dataclass(frozen=True)
class Reaction:
    """What a T3 run is about: one process for one channel of one survey."""

    store: Store
    instrument: Instrument
    process: Process
    rules: ChannelRules
    run: RunInfo
    #: Folder of all reports.
    reports: Path
    ui_url: str = ""
    #: Secrets by name.
    secret: Callable[[str], str] = no_secrets
    #: Whether nothing is to be sent, written or changed.
    dry_run: bool = False
    #: Waits so many seconds.
    pause: Callable[[float], None] = field(default=sleep, compare=False)
    #: Objects that each unit has told about in this run.
    told: Counter[str] = field(default_factory=Counter, compare=False)

    @property
    def is_dry(self) -> bool:
        """Whether this run, or the process, only says what it would do."""
        return self.dry_run or self.process.dry_run

    def dry(self) -> "Reaction":
        """The same, that only says what it would do."""
        return replace(self, dry_run=True)

    def is_about(self, d: Document) -> bool:
        """Whether an effect in the outbox is of this process, channel and survey."""
        own = (self.process.name, self.rules.channel, self.instrument.survey)
        return (d["process"], d["channel"], d["survey"]) == own


@dataclass
class Reacted:
    """What was done for one channel and night."""

    channel: str
    night: str
    #: seen, selected, deferred, reacted, skipped, failed, unknown, refused, waiting.
    counts: Counter[str] = field(default_factory=Counter)
    artefacts: list[Artefact] = field(default_factory=list)
    failures: Counter[tuple[str, str]] = field(default_factory=Counter)
    #: Names of the first objects that were selected.
    names: list[str] = field(default_factory=list)
    #: The first of them, to be looked at.
    shown: list[TransientView] = field(default_factory=list)
    #: Stocks that still wait: for a result, or for another run that is at them.
    deferred: set[int] = field(default_factory=set)
    #: What each unit did for whom: stocks by word.
    done: dict[str, dict[str, list[int]]] = field(default_factory=dict)
    #: What units returned, for those that come after them.
    results: dict[str, Any] = field(default_factory=dict)
    #: What would be sent, by unit, where nothing is.
    previews: dict[str, str] = field(default_factory=dict)
    began: datetime = field(default_factory=utc_now)

    def count(self, unit: ReactionUnit, word: str, stocks: Iterable[int]) -> None:
        """A unit did something for some stocks."""
        found = list(stocks)
        if found:
            self.counts[word] += len(found)
            self.done.setdefault(type(unit).__name__, {}).setdefault(word, []).extend(found)

    def fail(self, unit: ReactionUnit, message: str) -> None:
        """A unit failed: the run fails, and what is not done stays new."""
        self.failures[(type(unit).__name__, message)] += 1


class Vault:
    """Gives out secrets, and takes them out of whatever is to be kept."""

    def __init__(self, secret: Callable[[str], str]) -> None:
        self._secret = secret
        self._given: dict[str, str] = {}

    def __call__(self, name: str) -> str:
        """The secret of this name. Raises UserError where there is none."""
        value = self._secret(name)
        for form in (value, quote(value), quote(value, safe=""), repr(value)[1:-1]):
            self._given[form] = name
        return value

    def clean(self, text: str) -> str:
        """A text that can be kept: plain, and with the names of secrets in place of the secrets."""
        for value in sorted(self._given, key=len, reverse=True):
            text = text.replace(value, f"<{self._given[value]}>")
            # A message may have been cut off in the middle of one.
            for length in range(min(len(value), len(text)), 3, -1):
                if text.endswith(value[:length]):
                    text = f"{text[:-length]}<{self._given[value]}>"
                    break
        return plain_text(text)

    def cleaned(self, value: Any) -> Any:
        """The same for a value made of texts, lists and dicts. Raises TypeError for what cannot be stored."""
        return self._cleaned(storable(value))

    def _cleaned(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.clean(value)
        if isinstance(value, list):
            return [self._cleaned(item) for item in value]
        if isinstance(value, dict):
            return {self.clean(key): self._cleaned(item) for key, item in value.items()}
        return value


class Effect(NamedTuple):
    """One object that a unit reacts to, and the id of the document in the outbox."""

    entry: Chosen
    id: int


def effect_id(reaction: Reaction, unit: ReactionUnit, stock: int, link: int) -> int:
    """Id of the outbox document of one effect."""
    process, name, channel = reaction.process.name, type(unit).__name__, reaction.rules.channel
    once = isinstance(unit, Publisher) and unit.once_per == "object"
    return outbox_id(process, name, channel, reaction.instrument.survey, stock, 0 if once else link)


def effect(reaction: Reaction, unit: ReactionUnit, entry: Chosen, night: str) -> Document:
    """The outbox document of one effect."""
    return {
        "_id": effect_id(reaction, unit, entry.stock, entry.link),
        "process": reaction.process.name,
        "unit": type(unit).__name__,
        "channel": reaction.rules.channel,
        "survey": reaction.instrument.survey,
        "stock": entry.stock,
        "name": entry.name,
        "link": entry.link,
        "night": night,
        "meta": dict(reaction.run.meta()),
    }


def later(seconds: float) -> datetime:
    """The time in so many seconds."""
    return utc_now() + timedelta(seconds=seconds)


def write_journal(reaction: Reaction, unit: ReactionUnit, effects: Sequence[Effect]) -> None:
    """Say in the journal of these stocks that the unit reacted."""
    run_id = hash_ints(*reaction.run.run.encode()[:64])
    common = _common(reaction, unit)
    reaction.store.journal.write(
        [{"_id": hash_ints(run_id, id_), "stock": e.stock, "link": e.link, **common} for e, id_ in effects]
    )


def write_edits(
    reaction: Reaction, unit: ReactionUnit, context: ReactionContext, entries: Sequence[Chosen], vault: Vault
) -> str:
    """Add to stocks what a unit asked for, then forget it; return what is wrong with it, nothing being written then."""
    edits, links = list(context.edits), {entry.stock: entry.link for entry in entries}
    context.edits.clear()
    foreign = [edit.stock for edit in edits if edit.stock not in links]
    if foreign:
        return f"asks to edit the stock {foreign[0]}, which it was not given"
    tags, names, journal = dict[int, set[str]](), dict[int, set[str]](), list[Document]()
    for number, edit in enumerate(edits):
        wrong = [text for text in (*edit.tags, *edit.names) if not isinstance(text, str) or not text]
        if wrong:
            return f"asks to add {wrong[0]!r}, which is no text"
        if edit.tags:
            tags.setdefault(edit.stock, set()).update(map(vault.clean, edit.tags))
        if edit.names:
            names.setdefault(edit.stock, set()).update(map(vault.clean, edit.names))
        id_ = hash_json(
            [reaction.run.run, reaction.process.name, type(unit).__name__, context.night, edit.stock, number]
        )
        journal.append({"_id": id_, "stock": edit.stock, "link": links[edit.stock], **_common(reaction, unit)})
        journal[-1] |= _edited(edit, vault)
    survey = reaction.store.survey(reaction.instrument.survey)
    survey.stocks.add_own_tags(tags, reaction.rules.channel)
    survey.stocks.add_names(names)
    reaction.store.journal.write(journal)
    return ""


def _edited(edit: Edit, vault: Vault) -> Document:
    found = {"tag": list(edit.tags), "name": list(edit.names), "note": dict(edit.journal)}
    return {"action": "edit", **{key: vault.cleaned(value) for key, value in found.items() if value}}


def _common(reaction: Reaction, unit: ReactionUnit) -> Document:
    return {
        "run": reaction.run.run,
        "tier": 3,
        "survey": reaction.instrument.survey,
        "channel": [reaction.rules.channel],
        "action": "react",
        "process": reaction.process.name,
        "unit": type(unit).__name__,
        "ts": utc_now(),
    }


def write_reaction(reaction: Reaction, done: Reacted, vault: Vault) -> None:
    """Keep what the run did for a channel and night, and for whom."""
    total = sum(len(stocks) for words in done.done.values() for stocks in words.values())
    units = []
    for stage in reaction.process.stages:
        name = type(stage.unit).__name__
        words = done.done.get(name, {})
        entry: Document = {"unit": name, "counts": {word: len(stocks) for word, stocks in words.items()}}
        if total <= _STOCKS_NAMED:
            entry["stocks"] = words
        if isinstance(done.results.get(name), dict) and not isinstance(stage.unit, Publisher):
            entry["result"] = vault.cleaned(done.results[name])
        failures = [message for (who, message) in done.failures if who == name]
        units.append(entry | ({"failures": failures} if failures else {}))
    reaction.store.reactions.write(
        {
            "run": reaction.run.run,
            "process": reaction.process.name,
            "channel": reaction.rules.channel,
            "survey": reaction.instrument.survey,
            "night": done.night,
            "counts": dict(done.counts),
            "units": units,
            "files": [str(artefact.path) for artefact in done.artefacts],
            "began": done.began,
            "ended": utc_now(),
            "meta": dict(reaction.run.meta()),
        }
    )
