"""T3: what is settled about messages that name one another: key, time, and the message before.

It is kept in the outbox before a message goes out. A run that comes after one that died makes the same message of it,
whatever was told about the object meanwhile. Where no try can have arrived it is settled anew.
"""

from dataclasses import dataclass, field
from typing import Any

from ampel_dagster.model.errors import SendError
from ampel_dagster.model.view import Message, TransientView
from ampel_dagster.pipeline.t3_record import Reaction, effect_id
from ampel_dagster.units.base import Publisher


@dataclass
class Messages:
    """The messages of one publisher for one channel."""

    reaction: Reaction
    unit: Publisher
    #: Effects whose message was settled by this run, and cannot have arrived yet as far as is known.
    fresh: set[int] = field(default_factory=set)

    def settle(self, view: TransientView, draft: Message) -> Message:
        """What is settled about the message on a view: what was kept, or else the draft, which is kept now."""
        outbox, id_ = self.reaction.store.outbox, self._id(view)
        kept = outbox.message(id_)
        if kept is not None:
            return Message(**kept)
        message = draft._replace(before=self._before(view))
        outbox.settle(id_, message._asdict())
        self.fresh.add(id_)
        return message

    def propose(self, view: TransientView, draft: Message) -> Message:
        """The same, and nothing is kept."""
        kept = self.reaction.store.outbox.message(self._id(view))
        return draft._replace(before=self._before(view)) if kept is None else Message(**kept)

    def heard(self, id_: int, answer: Any) -> None:
        """After an answer that leaves open whether the message arrived it must stay what it is."""
        if not isinstance(answer, SendError):
            self.fresh.discard(id_)

    def _id(self, view: TransientView) -> int:
        return effect_id(self.reaction, self.unit, view.stock, view.link)

    def _before(self, view: TransientView) -> str:
        """Key of the last message that told of another state up to this one; empty where there is none."""
        r = self.reaction
        who = (r.process.name, type(self.unit).__name__, r.rules.channel, r.instrument.survey)
        told = r.store.outbox.keys_told(*who, view.stock)
        return next((told[link] for link in reversed(view.states) if link in told and link != view.link), "")
