"""Ranges of offsets: what a stream of Kafka is cut into."""

import re
from dataclasses import dataclass
from typing import Literal, NamedTuple, Self

from ampel_dagster.model.errors import UserError

_TEXT = re.compile(
    r"(?P<topic>[A-Za-z0-9._-]+)/(?P<partition>\d{1,9})(?:~(?P<epoch>\d{1,9}))?:(?P<first>\d{1,18})-(?P<end>\d{1,18})"
)
#: Why offsets cannot be read any more (or never could).
LostReason = Literal["BEFORE_FIRST_LOOK", "EXPIRED", "TOPIC_RESET", "CLUSTER_CHANGED", "TOPIC_GONE"]
#: After these a partition counts from 0 again.
NEW_EPOCH: frozenset[str] = frozenset({"TOPIC_RESET", "CLUSTER_CHANGED", "TOPIC_GONE"})
#: No loss: packets from before the stream was followed.
NO_LOSS: frozenset[str] = frozenset({"BEFORE_FIRST_LOOK"})


class Partition(NamedTuple):
    """A partition of a topic."""

    topic: str
    number: int

    def __str__(self) -> str:
        return f"{self.topic}/{self.number}"


class Watermark(NamedTuple):
    """What a broker holds of a partition: the offsets from `low` on, and before `high`."""

    partition: Partition
    low: int
    high: int
    #: Id of the cluster; empty where brokers give none.
    cluster: str = ""


@dataclass(frozen=True, slots=True, order=True)
class OffsetRange:
    """The offsets of a partition from `first` on, and before `end`.

    A topic that was made anew counts from 0 again: `epoch` says how often that happened. As text:
    'topic/3:100-200', in a later epoch 'topic/3~1:100-200'.
    """

    partition: Partition
    epoch: int
    first: int
    end: int

    @property
    def size(self) -> int:
        """Number of offsets; of packets there may be fewer."""
        return self.end - self.first

    def __str__(self) -> str:
        epoch = f"~{self.epoch}" if self.epoch else ""
        return f"{self.partition}{epoch}:{self.first}-{self.end}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """The range that a text stands for. Raises UserError."""
        found = _TEXT.fullmatch(text)
        if found is None or int(found["first"]) >= int(found["end"]):
            raise UserError(f"{text!r} is no range of offsets; write topic/partition:first-end, as in alerts/3:100-200")
        partition = Partition(found["topic"], int(found["partition"]))
        return cls(partition, int(found["epoch"] or 0), int(found["first"]), int(found["end"]))


class Lost(NamedTuple):
    """Offsets that cannot be read any more, and why."""

    first: int
    end: int
    reason: LostReason

    @property
    def is_loss(self) -> bool:
        """Whether packets were missed (and not only never asked for)."""
        return self.reason not in NO_LOSS
