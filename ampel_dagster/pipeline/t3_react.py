"""T3: select, report, publish; what is sent goes through the outbox, so that nothing is sent twice.

Reports show all selected objects of a channel and night and may be written again at any time. Publishers tell about
an object in a state once: reserve, send, confirm. A reservation that a dead run left is *unknown*, and only a publisher
whose receiver recognises a repetition sends again.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ampel_dagster.instruments.base import Instrument
from ampel_dagster.model.ids import hash_ints
from ampel_dagster.model.run import RunInfo, utc_now
from ampel_dagster.model.view import Artefact, ReactionContext, TransientView
from ampel_dagster.pipeline.guard import Failure, guarded, plain_text
from ampel_dagster.pipeline.t3_views import load_views
from ampel_dagster.storage.collections import Document
from ampel_dagster.storage.outbox import outbox_id
from ampel_dagster.storage.store import Store
from ampel_dagster.units.base import Publisher, ReactionUnit, Report
from ampel_dagster.units.bound import ChannelRules, Process, in_order

#: Characters of a receiver's answer that are kept.
_ANSWER_KEPT = 4000


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


@dataclass
class Reacted:
    """What was done for one channel and night."""

    channel: str
    night: str
    #: seen, selected, deferred, reacted, skipped, failed, unknown.
    counts: Counter[str] = field(default_factory=Counter)
    artefacts: list[Artefact] = field(default_factory=list)
    failures: Counter[tuple[str, str]] = field(default_factory=Counter)
    #: Names of the first objects that were selected.
    names: list[str] = field(default_factory=list)
    #: Stocks that still wait for a result.
    deferred: set[int] = field(default_factory=set)


def react_to_night(
    reaction: Reaction, night: str, publish: frozenset[int] | None = None, only: frozenset[int] | None = None
) -> Reacted:
    """React to one night.

    `only` restricts the selection to some stocks (None: all of the night); such reports get a folder of their own,
    named after the time. Publishers tell about the selected stocks in `publish` (None: all).
    """
    done = Reacted(reaction.rules.channel, night)
    survey = reaction.store.survey(reaction.instrument.survey)
    selected: list[TransientView] = []
    seen: list[int] = []
    for view in load_views(survey, reaction.instrument, reaction.rules, night, only):
        seen.append(view.stock)
        if reaction.process.select.holds(view):
            selected.append(view)
    # Also those that are not selected: the result that would select them may be the one that is still to come.
    products = [p.id for request in reaction.rules.requests for p in in_order(request.product)]
    done.deferred = survey.tickets.stocks_with_open(seen, reaction.rules.channel, products)
    done.counts["seen"] = len(seen)
    done.counts["selected"] = len(selected)
    done.counts["deferred"] = len(done.deferred)
    done.names = [view.name for view in selected[:20]]
    if only is not None and not selected:
        return done
    context = _context(reaction, night, done, partial=only is not None)
    for unit in reaction.process.units:
        if isinstance(unit, Report):
            _report(reaction, unit, selected, context, done)
        elif isinstance(unit, Publisher):
            mine = [view for view in selected if view.stock not in done.deferred]
            _publish(reaction, unit, [v for v in mine if publish is None or v.stock in publish], context, done)
    return done


def react_to_updates(reaction: Reaction) -> list[Reacted]:
    """React to everything that is new to this process and channel, night by night.

    "New" are the finished batches that are still due to the process and channel: no clock is asked, so nothing is lost
    under concurrent ingestion. A batch is handled when all went well and none of its stocks still waits.
    """
    batches = reaction.store.batches
    survey, channel = reaction.instrument.survey, reaction.rules.channel
    new = batches.unhandled(reaction.process.name, channel, survey)
    touched = {stock for batch in new for stock in batch["touched"][channel]}
    nights = sorted({night for batch in new for night in batch["nights"]})
    only = frozenset(touched) if reaction.process.select.updated == "since_last_run" else None
    done = [react_to_night(reaction, night, _to_publish(reaction, new, night), only) for night in nights]
    waiting = {stock for reacted in done for stock in reacted.deferred} & touched
    if not any(reacted.failures for reacted in done):
        finished = [batch["_id"] for batch in new if not waiting.intersection(batch["touched"][channel])]
        batches.handled(finished, reaction.process.name, channel)
    return done


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
    return bool(store.batches.unhandled(process, channel, survey))


def _context(reaction: Reaction, night: str, done: Reacted, *, partial: bool) -> ReactionContext:
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
    )


def _report(
    reaction: Reaction, unit: Report, views: Sequence[TransientView], context: ReactionContext, done: Reacted
) -> None:
    documents = [_document(reaction, unit, view) for view in views]
    reaction.store.outbox.reserve(documents)
    context.folder.mkdir(parents=True, exist_ok=True)
    written = guarded(_artefacts, unit, views, context)
    if isinstance(written, Failure):
        done.failures[(type(unit).__name__, written.message)] += 1
        done.counts["failed"] += len(views)
        return
    done.artefacts += written
    done.counts["reacted"] += len(views)
    receipt = {"files": [str(artefact.path) for artefact in written]}
    reaction.store.outbox.confirm([document["_id"] for document in documents], receipt)
    _journal(reaction, unit, views)


def _artefacts(unit: Report, views: Sequence[TransientView], context: ReactionContext) -> list[Artefact]:
    found = unit.write(views, context)
    if not isinstance(found, list | tuple) or not all(isinstance(artefact, Artefact) for artefact in found):
        raise TypeError("write returns a list of Artefacts")
    return list(found)


def _publish(
    reaction: Reaction,
    unit: Publisher,
    views: Iterable[TransientView],
    context: ReactionContext,
    done: Reacted,
) -> None:
    outbox = reaction.store.outbox
    sent: list[TransientView] = []
    for view in views:
        document = _document(reaction, unit, view)
        id_ = document["_id"]
        if not outbox.reserve([document]):
            state = outbox.states([id_])[id_]["state"]
            if state == "confirmed":
                done.counts["skipped"] += 1
                continue
            if not unit.idempotent:
                outbox.mark_unknown([id_])
                done.counts["unknown"] += 1
                continue
        receipt = guarded(unit.send, view, context)
        if isinstance(receipt, Failure):
            outbox.fail(id_, receipt.message)
            done.failures[(type(unit).__name__, receipt.message)] += 1
            done.counts["failed"] += 1
            continue
        answer = plain_text(receipt if isinstance(receipt, str) else repr(receipt))[:_ANSWER_KEPT]
        outbox.confirm([id_], {"answer": answer})
        done.counts["reacted"] += 1
        sent.append(view)
    _journal(reaction, unit, sent)


def _document(reaction: Reaction, unit: ReactionUnit, view: TransientView) -> dict[str, Any]:
    process, name, channel = reaction.process.name, type(unit).__name__, reaction.rules.channel
    return {
        "_id": outbox_id(process, name, channel, view.survey, view.stock, view.link),
        "process": process,
        "unit": name,
        "channel": channel,
        "survey": view.survey,
        "stock": view.stock,
        "name": view.name,
        "link": view.link,
        "night": view.night,
        "meta": dict(reaction.run.meta()),
    }


def _journal(reaction: Reaction, unit: ReactionUnit, views: Sequence[TransientView]) -> None:
    now, channel = utc_now(), reaction.rules.channel
    common: Mapping[str, Any] = {
        "run": reaction.run.run,
        "tier": 3,
        "survey": reaction.instrument.survey,
        "channel": [channel],
        "action": "react",
        "process": reaction.process.name,
        "unit": type(unit).__name__,
        "ts": now,
    }
    ids = [_document(reaction, unit, view)["_id"] for view in views]
    run_id = hash_ints(*reaction.run.run.encode()[:64])
    reaction.store.journal.write(
        [
            {"_id": hash_ints(run_id, id_), "stock": view.stock, "link": view.link, **common}
            for view, id_ in zip(views, ids, strict=True)
        ]
    )
