"""Plan which offsets of a Kafka stream are read together, and read them; what cannot be read gets a name."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ampel_dagster.model.alert import Packet
from ampel_dagster.model.ids import hash_json
from ampel_dagster.model.offsets import NEW_EPOCH, Lost, OffsetRange, Partition, Watermark
from ampel_dagster.sources.kafka import KafkaSource
from ampel_dagster.storage.offsets import Link, Offsets, Owner

#: What a broker holds of one partition now; None where it is gone.
Look = Callable[[Partition], Watermark | None]
#: Partitions that are asked for the time of their oldest packet.
_MOST_ASKED = 20


@dataclass(frozen=True)
class Plan:
    """What one look planned: ranges to be read together, and offsets that nobody can read any more."""

    group: str
    ranges: tuple[OffsetRange, ...]
    lost: tuple[tuple[Partition, Lost], ...]


def plan(
    offsets: Offsets,
    survey: str,
    marks: Sequence[Watermark],
    budget: int,
    owner: Owner,
    meta: Mapping[str, Any],
    look: Look,
) -> Plan:
    """Continue the chain of each partition up to its high watermark, by `budget` offsets in all at most.

    What is planned is stored when this returns. Two who plan at once share the partitions among them; `look` asks
    the broker again where `marks` may be older than what another has planned meanwhile.
    """
    lost: list[tuple[Partition, Lost]] = []
    next_: dict[Watermark, tuple[int, int]] = {}
    for mark in marks:
        now: Watermark | None = mark
        while now is not None:
            head = offsets.head(survey, now.partition)
            gap = _gap(head, now)
            if gap is not None and gap.lost is not None and gap.lost.reason == "TOPIC_RESET":
                now = look(now.partition)
                gap = _gap(head, now) if now is not None else None
            if gap is None:
                break
            if offsets.add(survey, [gap], meta) and gap.lost is not None:
                lost.append((mark.partition, gap.lost))
        if now is not None:
            next_[now] = _next(head)
    shares = allot({mark: mark.high - first for mark, (_, first) in next_.items()}, budget)
    parts = [OffsetRange(m.partition, *next_[m], next_[m][1] + n) for m, n in shares.items() if n]
    group = _group_name([meta["run"], meta["ts"].isoformat(), survey, *map(str, parts)])
    asked = int(owner == "listen")
    clusters = {mark.partition: mark.cluster for mark in marks}
    links = [Link(part, "planned", clusters[part.partition], None, group, owner, asked) for part in parts]
    ours = offsets.add(survey, links, meta)
    return Plan(group, tuple(sorted(link.part for link in ours)), tuple(lost))


def _group_name(of: Sequence[str]) -> str:
    """Sixteen hexadecimal digits; who plans, and when, is in it: two who plan at once have a group each."""
    return f"{hash_json(of) & (1 << 64) - 1:016x}"


def _next(head: Link | None) -> tuple[int, int]:
    """(epoch, offset) at which the next link begins."""
    if head is None:
        return 0, 0
    if head.lost is not None and head.state == "lost" and head.lost.reason in NEW_EPOCH:
        return head.part.epoch + 1, 0
    return head.part.epoch, head.part.end


def _gap(head: Link | None, mark: Watermark) -> Link | None:
    """The link that says what is missing between the end of the chain and what the broker holds, if anything is."""
    epoch, first = _next(head)
    moved = bool(head and head.cluster and mark.cluster and head.cluster != mark.cluster)
    if head is not None and epoch == head.part.epoch and (moved or mark.high < first):
        # How much came after `first` before the offsets began anew, nobody knows.
        gap = Lost(first, first, "CLUSTER_CHANGED" if moved else "TOPIC_RESET")
    elif first < mark.low:
        gap = Lost(first, mark.low, "BEFORE_FIRST_LOOK" if head is None else "EXPIRED")
    else:
        return None
    cluster = head.cluster if head is not None and gap.reason in NEW_EPOCH else mark.cluster
    return Link(OffsetRange(mark.partition, epoch, gap.first, gap.end), "lost", cluster, gap)


def allot(pending: Mapping[Watermark, int], budget: int) -> dict[Watermark, int]:
    """Share a budget: everybody gets the same, and what some do not need the others get."""
    shares = dict.fromkeys(pending, 0)
    left = budget
    hungry = sorted((mark for mark, number in pending.items() if number > 0), key=lambda mark: (pending[mark], mark))
    for n, mark in enumerate(hungry):
        share = min(pending[mark], -(-left // (len(hungry) - n)))
        shares[mark] = share
        left -= share
    return shares


def losses(link: Link, mark: Watermark | None, head: Link | None) -> Lost | None:
    """What of a planned range cannot be read any more."""
    part = link.part
    if mark is None:
        return Lost(part.first, part.end, "TOPIC_GONE")
    if link.cluster and mark.cluster and link.cluster != mark.cluster:
        return Lost(part.first, part.end, "CLUSTER_CHANGED")
    if mark.high < part.end or (head is not None and _next(head)[0] > part.epoch):
        return Lost(part.first, part.end, "TOPIC_RESET")
    return Lost(part.first, min(mark.low, part.end), "EXPIRED") if mark.low > part.first else None


class Reading:
    """Reads some ranges, one after the other, and knows which of them can then be called done."""

    def __init__(self, offsets: Offsets, survey: str, parts: Sequence[OffsetRange], meta: Mapping[str, Any]) -> None:
        self._offsets = offsets
        self._survey = survey
        self._meta = meta
        self.parts = tuple(sorted(set(parts)))
        self.lost: list[tuple[Partition, Lost]] = []

    def packets(self, source: KafkaSource) -> Iterator[Packet]:
        """The packets, partition by partition. What is not there any more is written down, and left out."""
        partitions = {part.partition for part in self.parts}
        marks = {mark.partition: mark for mark in source.watermarks(partitions)}
        links = self._offsets.find(self._survey, self.parts)
        for part in self.parts:
            head = self._offsets.head(self._survey, part.partition)
            link = links.get(part, Link(part, "", ""))
            lost = losses(link, marks.get(part.partition), head)
            first = part.first
            if lost is not None:
                self.lost.append((part.partition, lost))
                self._offsets.lose(self._survey, part, lost)
                if lost.reason in NEW_EPOCH:
                    self._end_epoch(part, link, lost)
                first = lost.end
            if first < part.end:
                yield from source.read(OffsetRange(part.partition, part.epoch, first, part.end))

    def _end_epoch(self, part: OffsetRange, link: Link, lost: Lost) -> None:
        """End the chain, so that the partition is planned from its beginning, however far it has come meanwhile."""
        while True:
            head = self._offsets.head(self._survey, part.partition)
            epoch, next_ = _next(head)
            if head is None or epoch > part.epoch:
                return
            end = Lost(next_, next_, lost.reason)
            closing = Link(OffsetRange(part.partition, epoch, next_, next_), "lost", link.cluster, end)
            self._offsets.add(self._survey, [closing], self._meta)

    def done(self, run: str) -> None:
        """Everything that was read is stored."""
        self._offsets.done(self._survey, self.parts, run)


@dataclass(frozen=True)
class Lag:
    """How far a stream is behind."""

    #: Offsets that are waiting, by partition.
    waiting: Mapping[Partition, int]
    #: When the oldest waiting packet came (UTC); None where nothing waits, or the packets carry no time.
    oldest: datetime | None
    #: How far each partition is done.
    positions: Mapping[Partition, int]

    @property
    def packets(self) -> int:
        """Offsets that are waiting in all."""
        return sum(self.waiting.values())


def lag(offsets: Offsets, survey: str, source: KafkaSource) -> Lag:
    """How far a stream is behind: offsets that the brokers hold and that are not done."""
    marks = source.watermarks()
    positions = offsets.positions(survey, [mark.partition for mark in marks])
    waiting: dict[Partition, int] = {}
    parts: list[OffsetRange] = []
    for mark in marks:
        first = max(positions.get(mark.partition, 0), mark.low)
        if first < mark.high:
            waiting[mark.partition] = mark.high - first
            parts.append(OffsetRange(mark.partition, 0, first, mark.high))
    parts.sort(key=lambda part: -part.size)
    oldest = source.oldest(parts[:_MOST_ASKED])
    return Lag(waiting, datetime.fromtimestamp(oldest, UTC) if oldest is not None else None, positions)
