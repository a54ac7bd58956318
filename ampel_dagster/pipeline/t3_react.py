"""T3: select, report, publish.

Reports show all selected objects of a channel and night and may be written again at any time. Publishers tell about an
object once: see `t3_send`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TypeVar

from ampel_dagster.instruments.avro_encode import encode_container
from ampel_dagster.model.run import utc_now
from ampel_dagster.model.view import Artefact, ReactionContext, Session
from ampel_dagster.pipeline.guard import Failure, guarded
from ampel_dagster.pipeline.t3_record import (
    Effect,
    Reacted,
    Reaction,
    Vault,
    effect,
    write_edits,
    write_journal,
    write_reaction,
)
from ampel_dagster.pipeline.t3_select import Views, select
from ampel_dagster.pipeline.t3_send import Sender
from ampel_dagster.storage.collections import Document
from ampel_dagster.storage.store import Store
from ampel_dagster.units.base import PopulationUnit, Publisher, ReactionUnit, Report

T = TypeVar("T")
#: Of how many selected objects the names are shown.
_NAMED = 20
#: Of how many the views are kept, to be looked at in the UI.
_SHOWN = 10


def react_to_night(
    reaction: Reaction,
    night: str,
    publish: frozenset[int] | None = None,
    only: frozenset[int] | None = None,
    session: Session | None = None,
    units: frozenset[str] | None = None,
) -> Reacted:
    """React to one night.

    `only` restricts the selection to some stocks (None: all of the night); such reports get a folder of their own,
    named after the time. Publishers tell about the selected stocks in `publish` (None: all). `units` names those that
    react (None: all).
    """
    done = Reacted(reaction.rules.channel, night)
    survey = reaction.store.survey(reaction.instrument.survey)
    found = select(survey, reaction.instrument, reaction.process, reaction.rules, night, only)
    done.deferred = found.deferred
    done.counts.update(seen=found.seen, selected=len(found.views), deferred=len(found.deferred))
    done.names = [entry.name for entry in found.views.chosen[:_NAMED]]
    done.shown = list(found.views[:_SHOWN])
    if only is not None and not found.views:
        return done
    if session is None:
        session = last_session(reaction)
    context, vault = _context(reaction, night, done, session, partial=only is not None), Vault(reaction.secret)
    to_tell = {e.stock for e in found.views.chosen if publish is None or e.stock in publish} - found.deferred
    for stage in reaction.process.stages:
        if units is not None and type(stage.unit).__name__ not in units:
            continue
        views = found.views.of(to_tell) if isinstance(stage.unit, Publisher) else found.views
        # What one unit asks for is done before the next one begins.
        own = replace(context, results=dict(done.results), edits=[], secret=vault)
        _Act(reaction, stage.unit, views.stage(stage, reaction.instrument), own, done, vault).run()
    if not reaction.is_dry:
        write_reaction(reaction, done, vault)
    return done


def react_to_updates(reaction: Reaction) -> list[Reacted]:
    """React to everything that is new to this process and channel, night by night.

    "New" are the finished batches that are still due to the process and channel: no clock is asked, so nothing is lost
    under concurrent ingestion. A batch is handled when all went well and none of its stocks still waits.
    """
    batches, channel = reaction.store.batches, reaction.rules.channel
    new = batches.unhandled(reaction.process.name, channel, reaction.instrument.survey)
    touched = {stock for batch in new for stock in batch["touched"][channel]}
    session, done = last_session(reaction), []
    for night in nights_of(reaction, new):
        only = frozenset(touched) if reaction.process.select.updated == "since_last_run" else None
        done.append(react_to_night(reaction, night, _to_publish(reaction, new, night), only, session))
    waiting = {stock for reacted in done for stock in reacted.deferred} & touched
    if not reaction.dry_run and not any(reacted.failures for reacted in done):
        finished = [batch["_id"] for batch in new if not waiting.intersection(batch["touched"][channel])]
        batches.handled(finished, reaction.process.name, channel)
    return done


def react_again(reaction: Reaction, documents: Sequence[Document]) -> list[Reacted]:
    """Send effects of this process and channel again, which are in the outbox; whatever is known of them."""
    reaction.store.outbox.resend([d["_id"] for d in documents])
    done = []
    for night in sorted({d["night"] for d in documents}):
        mine = [d for d in documents if d["night"] == night]
        stocks, units = frozenset(d["stock"] for d in mine), frozenset(d["unit"] for d in mine)
        done.append(react_to_night(reaction, night, stocks, stocks, units=units))
    return done


def nights_of(reaction: Reaction, new: Sequence[Document]) -> list[str]:
    """Nights of batches that the process is about."""
    nights = sorted({night for batch in new for night in batch["nights"]})
    return [night for night in nights if reaction.process.select.nights.hold(night, datetime.now(UTC).date())]


def _to_publish(reaction: Reaction, new: Sequence[Document], night: str) -> frozenset[int]:
    """Stocks of a night that are told about: what is new came live, and so did the night's alerts."""
    batches, channel = reaction.store.batches, reaction.rules.channel
    if reaction.process.react:
        return frozenset(stock for batch in new for stock in batch["touched"][channel])
    live = {stock for batch in new if batch["mode"] == "live" for stock in batch["touched"][channel]}
    # A live result may be about the night of an archive too, as where a backfill's tickets are computed later.
    return frozenset(live & batches.live_stocks(reaction.instrument.survey, channel, night)) if live else frozenset()


def has_updates(store: Store, process: str, channel: str, survey: str) -> bool:
    """Whether there is a finished batch that the process has still to handle for the channel."""
    return store.batches.is_due(process, channel, survey)


def last_session(reaction: Reaction) -> Session | None:
    """The run of the process for the channel before this one."""
    survey, channel = reaction.instrument.survey, reaction.rules.channel
    return reaction.store.reactions.last(reaction.process.name, channel, survey, reaction.run.run)


def _context(
    reaction: Reaction, night: str, done: Reacted, session: Session | None, *, partial: bool
) -> ReactionContext:
    process, channel, now = reaction.process.name, reaction.rules.channel, utc_now()
    folder = reaction.reports / process / channel / night
    return ReactionContext(
        process=process,
        channel=channel,
        night=night,
        run=reaction.run.run,
        now=now,
        folder=folder / f"updates_{now:%Y%m%dT%H%M%S}.{now.microsecond // 1000:03}" if partial else folder,
        ui_url=reaction.ui_url,
        selection=dict(done.counts),
        products=[request.product.name for request in reaction.rules.requests],
        dry_run=reaction.is_dry,
        session=session,
        encode_avro=encode_container,
    )


@dataclass(frozen=True)
class _Act:
    """One unit that reacts to what it is given."""

    reaction: Reaction
    unit: ReactionUnit
    views: Views
    context: ReactionContext
    done: Reacted
    vault: Vault

    def run(self) -> None:
        """Let the unit react; then write what it asks to be added to stocks."""
        reacted: Sequence[Effect] = ()
        if isinstance(self.unit, Publisher):
            reacted = self._tell(self.unit)
        elif isinstance(self.unit, Report):
            reacted = self._report(self.unit)
        elif isinstance(self.unit, PopulationUnit):
            self._compute(self.unit)
        else:
            raise TypeError(f"{self._name} is neither Report, Publisher nor PopulationUnit")
        if self.reaction.is_dry:
            return
        write_journal(self.reaction, self.unit, reacted)
        if self.context.edits:
            wrong = write_edits(self.reaction, self.unit, self.context, self.views.chosen, self.vault)
            if wrong:
                self.done.fail(self.unit, wrong)

    @property
    def _name(self) -> str:
        return type(self.unit).__name__

    def _tell(self, unit: Publisher) -> Sequence[Effect]:
        sender = Sender(self.reaction, unit, self.context, self.done, self.vault)
        if self.reaction.is_dry:
            self.done.previews[self._name] = sender.preview(self.views)
        else:
            sender.send(self.views)
            self.done.results[self._name] = sender.answers
        return sender.sent

    def _report(self, unit: Report) -> Sequence[Effect]:
        if self.reaction.is_dry:
            self.done.previews[self._name] = f"files about {len(self.views)} objects"
            return ()
        documents = [effect(self.reaction, unit, entry, self.context.night) for entry in self.views.chosen]
        self.reaction.store.outbox.reserve(documents)
        self.context.folder.mkdir(parents=True, exist_ok=True)
        written = self._guarded(lambda: _artefacts(unit, self.views, self.context))
        if written is None:
            return ()
        self.done.artefacts += written
        self.done.results[self._name] = written
        receipt = {"files": [str(artefact.path) for artefact in written]}
        effects = [Effect(entry, d["_id"]) for entry, d in zip(self.views.chosen, documents, strict=True)]
        self.reaction.store.outbox.confirm([e.id for e in effects], receipt)
        return effects

    def _compute(self, unit: PopulationUnit) -> None:
        result = self._guarded(lambda: self.vault.cleaned(unit.process(self.views, self.context) or {}))
        if isinstance(result, dict):
            self.done.results[self._name] = result
        elif result is not None:
            self.done.fail(unit, "process returns a mapping, or nothing")

    def _guarded(self, call: Callable[[], T]) -> T | None:
        """What the unit returns; None, with its failure noted, where it raises."""
        found = guarded(call)
        stocks = [entry.stock for entry in self.views.chosen]
        if isinstance(found, Failure):
            self.done.fail(self.unit, self.vault.clean(found.message))
            self.done.count(self.unit, "failed", stocks)
            return None
        self.done.count(self.unit, "reacted", stocks)
        return found


def _artefacts(unit: Report, views: Views, context: ReactionContext) -> list[Artefact]:
    found = unit.write(views, context)
    if not isinstance(found, list | tuple) or not all(isinstance(artefact, Artefact) for artefact in found):
        raise TypeError("write returns a list of Artefacts")
    return list(found)
