"""T3: what is sent goes through the outbox: reserve, send, confirm, so that nothing is sent twice.

A receiver that is busy is tried again, with pauses that double; one that refuses is not. After three failures in a row
the publisher gives up for this run: a wrong token is no reason to spend the whole night's objects on it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from queue import Empty, SimpleQueue
from random import uniform
from threading import Thread
from time import monotonic
from typing import Any

from ampel_dagster.model.errors import BusyError, RefusedError, SendError, UserError
from ampel_dagster.model.view import ReactionContext, TransientView
from ampel_dagster.pipeline.guard import Failure, guarded
from ampel_dagster.pipeline.t3_message import Messages
from ampel_dagster.pipeline.t3_record import Effect, Reacted, Reaction, Vault, effect, later
from ampel_dagster.pipeline.t3_select import Chosen, Views
from ampel_dagster.units.base import BulkPublisher, Publisher

#: Characters of a receiver's answer that are kept.
_ANSWER_KEPT = 4000
#: A publisher that does not come back is left alone after so many times its own time-out.
_PATIENCE = 20
#: Seconds before the second attempt; twice as long before each further one.
_FIRST_PAUSE_S = 1.0
#: A receiver that asks for a longer pause is tried by the next run.
_LONGEST_PAUSE_S = 120.0
#: Seconds beyond a call's own time for which a reservation is good.
_GRACE_S = 60.0
#: Failures in a row after which a publisher gives up for this run.
_MOST_FAILURES = 3

Answers = Mapping[int, Any]


#: Effects with what is told, by stock.
Group = Mapping[int, tuple[Effect, TransientView]]


@dataclass
class Sender:
    """One publisher at work for one channel and night."""

    reaction: Reaction
    unit: Publisher
    context: ReactionContext
    done: Reacted
    vault: Vault
    clock: Callable[[], float] = monotonic
    #: Who was told about, and what the receiver answered by stock.
    sent: list[Effect] = field(default_factory=list)
    answers: dict[int, str] = field(default_factory=dict)
    messages: Messages = field(init=False)
    _failures: int = 0
    #: Why no more is sent in this run.
    _stop: str = ""
    _free_at: float = 0.0

    def __post_init__(self) -> None:
        self.messages = Messages(self.reaction, self.unit)

    def send(self, views: Views) -> None:
        """Tell about these objects, apart from those that were told about."""
        open_ = {e.entry.stock: e for e in self._open(views.chosen)}
        if not self._may(len(open_)):
            return
        rest = iter(views.of(open_))
        while group := {view.stock: (open_[view.stock], view) for view in islice(rest, self._at_once)}:
            mine = self._reserve([e for e, _ in group.values()])
            if mine:
                self._send({stock: pair for stock, pair in group.items() if pair[0].id in mine})
            for stock in group:
                del open_[stock]
            if self._stop:
                break
        if open_:
            self.done.count(self.unit, "waiting", open_)
            self.done.fail(self.unit, f"{len(open_)} objects wait: {self._stop}")

    def preview(self, views: Views) -> str:
        """What would be sent."""
        open_ = views.of({effect.entry.stock for effect in self._open(views.chosen)})
        told = guarded(self.unit.preview, open_, replace(self.context, settle=self.messages.propose))
        return self.vault.clean(f"failed: {told.message}" if isinstance(told, Failure) else str(told))

    def _open(self, entries: Sequence[Chosen]) -> list[Effect]:
        """Effects that are not settled yet; the others are counted."""
        night = self.context.night
        effects = [Effect(entry, effect(self.reaction, self.unit, entry, night)["_id"]) for entry in entries]
        states = self._states(effects)
        words = {"confirmed": "skipped", "refused": "refused", "unknown": "unknown"}
        settled = {id_: words[state] for id_, state in states.items() if state in words and not self._again(state)}
        for word in sorted(set(settled.values())):
            self.done.count(self.unit, word, [e.entry.stock for e in effects if settled.get(e.id) == word])
        return [e for e in effects if e.id not in settled]

    def _states(self, effects: Sequence[Effect]) -> dict[int, str]:
        return {id_: d["state"] for id_, d in self.reaction.store.outbox.states([e.id for e in effects]).items()}

    def _again(self, state: str) -> bool:
        """Whether what is unknown may be sent again."""
        return state == "unknown" and self.unit.idempotent

    def _may(self, number: int) -> bool:
        """Whether so many more may be told about in this run."""
        most, name = self.unit.max_per_run, type(self.unit).__name__
        told = self.reaction.told[name]
        if most is None or told + number <= most:
            return True
        self.done.counts["held"] += number
        also = f" after {told} before" if told else ""
        self.done.fail(self.unit, f"{number} objects{also}, and max_per_run is {most}: told about none of them")
        return False

    def _reserve(self, group: Sequence[Effect]) -> set[int]:
        """Ids of those that are ours to do now; what others left behind is dealt with."""
        outbox, night = self.reaction.store.outbox, self.context.night
        until = later(self._call_s + _GRACE_S)
        mine = outbox.reserve([effect(self.reaction, self.unit, e.entry, night) for e in group], until)
        others = [e for e in group if e.id not in mine]
        if others and self.unit.idempotent:
            meta = dict(self.reaction.run.meta())
            mine |= {e.id for e in others if outbox.claim(e.id, ("unknown", "reserved"), meta, until)}
        elif others:
            outbox.mark_unknown([e.id for e in others])
        left = [e for e in others if e.id not in mine]
        states = self._states(left)
        for e in left:
            # One that is still reserved belongs to a run that is at it: what becomes of it is looked at later.
            word = {"reserved": "elsewhere", "confirmed": "skipped"}.get(states[e.id], states[e.id])
            self.done.count(self.unit, word, [e.entry.stock])
            if word in ("elsewhere", "waiting"):
                self.done.deferred.add(e.entry.stock)
        return mine

    def _send(self, group: Group) -> None:
        """Send a group, what the receiver is too busy for again, and write down what became of each."""
        for attempt in range(1, self.unit.attempts + 1):
            self._keep_pace()
            answers = self._call([view for _, view in group.values()])
            again, pause_s = self._settle(group, answers, attempt)
            if not again:
                return
            group = {stock: group[stock] for stock in again}
            ids = [e.id for e, _ in group.values()]
            self.reaction.store.outbox.renew(ids, later(pause_s + self._call_s + _GRACE_S))
            self.reaction.pause(pause_s)

    def _settle(self, group: Group, answers: Answers | Failure | SendError, attempt: int) -> tuple[list[int], float]:
        """Write down what became of each; return stocks that are to be tried again, and after how many seconds."""
        found = {stock: _answer_for(stock, answers) for stock in group}
        for stock, answer in found.items():
            self.messages.heard(group[stock][0].id, answer)
        asked = [a.retry_after_s for a in found.values() if isinstance(a, BusyError) and a.retry_after_s is not None]
        jitter = uniform(0.5, 1.5)  # noqa: S311  # runs that failed together do not come back together
        pause_s = max(_FIRST_PAUSE_S * 2 ** (attempt - 1) * jitter, *asked, 0.0)
        more = attempt < self.unit.attempts and pause_s <= _LONGEST_PAUSE_S
        good = {stock: answer for stock, answer in found.items() if not isinstance(answer, Failure | SendError)}
        again = [stock for stock, answer in found.items() if more and self._is_worth_it(answer)]
        bad = {stock: found[stock] for stock in found if stock not in good and stock not in again}
        for stock, answer in good.items():
            self._confirm(group[stock][0], answer)
        for stock, answer in bad.items():
            self._fail(group[stock][0], answer)
        if good:
            self._failures = 0
        elif bad and not again:
            self._failures += 1
            if self._failures >= _MOST_FAILURES:
                self._stop = f"gave up after {self._failures} failures in a row"
            elif any(isinstance(answer, BusyError) for answer in bad.values()):
                self._stop = "the receiver cannot take more now"  # the others need not find out for themselves
        return again, pause_s

    def _is_worth_it(self, answer: Any) -> bool:
        """Whether the same again may help, and does no harm."""
        return isinstance(answer, BusyError) or (isinstance(answer, Failure) and self.unit.idempotent)

    def _confirm(self, e: Effect, answer: Any) -> None:
        text = self.vault.clean(answer if isinstance(answer, str) else repr(answer))[:_ANSWER_KEPT]
        self.reaction.store.outbox.confirm([e.id], {"answer": text})
        self.answers[e.entry.stock] = text
        self.sent.append(e)
        self.reaction.told[type(self.unit).__name__] += 1
        self.done.count(self.unit, "reacted", [e.entry.stock])

    def _fail(self, e: Effect, answer: Any) -> None:
        """An object that is not told about, as far as is known."""
        message = self.vault.clean(answer.message if isinstance(answer, Failure) else f"{answer}")[:1000]
        sure = "refused" if isinstance(answer, RefusedError) else "waiting"
        state = sure if isinstance(answer, SendError) else "unknown"
        self.reaction.store.outbox.fail(e.id, message, state, unsettle=e.id in self.messages.fresh)
        self.done.fail(self.unit, message)
        self.done.count(self.unit, "failed", [e.entry.stock])

    @property
    def _at_once(self) -> int:
        """Objects that one call is about, at most: a pace counts messages, not calls."""
        if not isinstance(self.unit, BulkPublisher) or (self.unit.one_each and self.unit.max_per_minute is not None):
            return 1
        return self.unit.batch

    @property
    def _call_s(self) -> float:
        return _PATIENCE * self.unit.timeout_s

    def _keep_pace(self) -> None:
        """Wait until one more message may be sent."""
        if self.unit.max_per_minute is None:
            return
        now = self.clock()
        if now < self._free_at:
            self.reaction.pause(self._free_at - now)
        self._free_at = max(now, self._free_at) + 60 / self.unit.max_per_minute

    def _call(self, views: Sequence[TransientView]) -> Answers | Failure | SendError:
        """The answer by stock, or what the unit raised. A unit that does not come back is left alone."""
        context = replace(self.context, settle=self.messages.settle)
        box: SimpleQueue[Answers | Failure | SendError] = SimpleQueue()

        def call() -> None:
            found: Answers | Failure | SendError = Failure("ended without an answer", "")
            try:
                found = guarded(_answers, self.unit, views, context)
            finally:
                box.put(found)  # also where the thread is told to exit: nobody is to wait for it

        Thread(target=call, name=f"send-{type(self.unit).__name__}", daemon=True).start()
        try:
            return box.get(timeout=self._call_s)
        except Empty:
            return Failure(f"did not come back within {self._call_s:g} s", "")


def _answer_for(stock: int, answers: Answers | Failure | SendError) -> Any:
    """What was said about one stock."""
    if isinstance(answers, Failure | SendError):
        return answers
    found = answers.get(stock)
    if found is None:
        return Failure("the receiver's answer does not mention the object", "")
    unsure = isinstance(found, Exception) and not isinstance(found, SendError)
    return Failure(f"{type(found).__name__}: {found}", "") if unsure else found


def _answers(unit: Publisher, views: Sequence[TransientView], context: ReactionContext) -> Answers | SendError:
    """What a publisher says by stock; what it raises in the knowledge that nothing arrived is an answer, too."""
    try:
        if not isinstance(unit, BulkPublisher):
            return {views[0].stock: unit.send(views[0], context) or "no answer"}
        answers: Any = unit.send_many(views, context)
    except SendError as error:
        return error
    except UserError as error:  # a secret is missing: nothing was sent
        return BusyError(str(error), float("inf"))
    if not isinstance(answers, Mapping):
        raise TypeError("send_many returns a mapping by stock id")
    return answers
