"""Listen to a stream: small groups of packets one after the other, each from T0 to its T2 results."""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from threading import Event, Thread
from time import monotonic
from typing import NamedTuple

from ampel_dagster.model.errors import SourceError, StorageError, UserError
from ampel_dagster.model.offsets import Lost, OffsetRange, Partition
from ampel_dagster.pipeline import tiers
from ampel_dagster.pipeline.ranges import Reading, plan
from ampel_dagster.pipeline.t0_ingest import Ingestion
from ampel_dagster.pipeline.t2_augment import Augmentation
from ampel_dagster.pipeline.tally import Tally
from ampel_dagster.sources.kafka import KafkaSource
from ampel_dagster.storage.store import Store
from ampel_dagster.storage.writes import storage_errors

#: Seconds for which one sign of life is good, and after which the next is given.
LEASE_S, BEAT_S = 20.0, 4.0
#: Seconds after which tickets are looked for though no packet came.
LOOK_S = 10.0
#: A pause between two reports is so many times as long as the last one took.
_SHARE = 4.0
#: Seconds between two looks while nothing comes, and at most after the brokers did not answer.
IDLE_S, PATIENCE_S = 0.25, 30.0


@dataclass(frozen=True)
class Listening:
    """What a run listens to."""

    ingestion: Ingestion
    augmentation: Augmentation
    source: KafkaSource
    #: Packets that one turn takes at most.
    size: int = 1000

    @property
    def store(self) -> Store:
        """The database."""
        return self.ingestion.store


class Turn(NamedTuple):
    """What one turn did."""

    #: T0 and T1; T2.
    ingested: Tally
    computed: Tally
    lost: tuple[tuple[Partition, Lost], ...]


class Listener:
    """Plans and works groups in turn. A group that fails is the next one again, and whole."""

    def __init__(self, listening: Listening) -> None:
        self._on = listening
        self._store = listening.store
        self._survey = listening.ingestion.survey
        self._run = listening.ingestion.run.run
        self._queue: deque[tuple[OffsetRange, ...]] = deque()
        self._next_look = 0.0
        self._ended, self._robbed = Event(), False
        self._heart = Thread(target=self._beat, name="heartbeat", daemon=True)

    def begin(self, is_over: Callable[[str], bool]) -> None:
        """Become the one that listens, and take over what nobody reads: `is_over` says so of a run's group.

        Waits for the lease of one that was killed. Raises UserError where another run listens.
        """
        listeners, survey = self._store.listeners, self._survey
        before = listeners.until(survey)
        while not listeners.beat(survey, self._run, LEASE_S):
            now = listeners.until(survey)
            if before and now and now != before:
                raise UserError(f"run {now[0]} listens to {survey} already; stop it first")
            self._ended.wait(IDLE_S)
        if before is not None:
            self._store.offsets.merge(survey, before[0])
        self._heart.start()
        for group, links in self._store.offsets.waiting(survey).items():
            nobody = links[0].owner == "listen" or is_over(group)
            if nobody and self._store.offsets.ask(survey, group, links[0].attempt, "listen"):
                self._queue.append(tuple(link.part for link in links))

    def end(self) -> None:
        """Stop being the one that listens."""
        self._store.offsets.merge(self._survey, self._run)
        self._ended.set()
        if self._heart.is_alive():
            self._heart.join()
        self._store.listeners.leave(self._survey, self._run)

    def turn(self) -> Turn | None:
        """Work the next group; None where nothing waits. Raises SourceError."""
        on, survey = self._on, self._survey
        if self._robbed:
            raise UserError(f"another run listens to {survey} by now: this one was held up for more than {LEASE_S:g} s")
        lost: tuple[tuple[Partition, Lost], ...] = ()
        if not self._queue:
            marks, meta = on.source.watermarks(), on.ingestion.run.meta()
            found = plan(self._store.offsets, survey, marks, on.size, "listen", meta, on.source.look)
            lost = found.lost
            if found.ranges:
                self._queue.append(found.ranges)
        if not self._queue:
            computed = self._compute() if monotonic() >= self._next_look else Tally()
            return Turn(Tally(), computed, lost) if lost or computed.counts else None
        reading = Reading(self._store.offsets, survey, self._queue[0], on.ingestion.run.meta())
        ingested = tiers.ingest(on.ingestion, reading.packets(on.source)).consume()
        reading.done(self._run)
        self._queue.popleft()
        return Turn(ingested, self._compute(), (*lost, *reading.lost))

    def _compute(self) -> Tally:
        """Whatever tickets there are: also those that a dead run left, or that were reset."""
        done = tiers.compute(self._on.augmentation).consume()
        self._next_look = monotonic() + LOOK_S
        return done

    def _beat(self) -> None:
        """Give signs of life, however long a turn takes."""
        while not self._ended.wait(BEAT_S):
            try:
                with storage_errors("saying that this run listens"):
                    self._robbed = not self._store.listeners.beat(self._survey, self._run, LEASE_S)
            except StorageError:
                continue  # the turn that is under way finds it out, too, and says so


class Interval:
    """What was done since the last report."""

    def __init__(self) -> None:
        self.ingested, self.computed = Tally(), Tally()
        self.lost: list[tuple[Partition, Lost]] = []
        self.began = monotonic()

    def add(self, turn: Turn) -> None:
        """Add a turn."""
        self.ingested.add(turn.ingested)
        self.computed.add(turn.computed)
        self.lost += turn.lost

    @property
    def seconds(self) -> float:
        """Its length."""
        return monotonic() - self.began


class _Reporter:
    """Reports in a thread of its own, one report at a time: a report reads whole nights, and packets do not wait."""

    def __init__(self, report: Callable[[Interval], None], interval_s: float) -> None:
        self._report = report
        self._interval_s = self._pause_s = interval_s
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="report")
        self._under_way: Future[None] | None = None

    def is_due(self, interval: Interval) -> bool:
        """Whether the interval is long enough, and the report before it written."""
        return interval.seconds >= self._pause_s and (self._under_way is None or self._under_way.done())

    def begin(self, interval: Interval) -> None:
        """Begin a report. Raises what went wrong with the one before."""
        before, self._under_way = self._under_way, self._pool.submit(self._timed, interval)
        if before is not None:
            before.result()

    def end(self, interval: Interval) -> None:
        """Write the last report."""
        self.begin(interval)
        if self._under_way is not None:
            self._under_way.result()
        self._pool.shutdown()

    def _timed(self, interval: Interval) -> None:
        begin = monotonic()
        with storage_errors("reporting"):
            self._report(interval)
        # However large the nights grow, most of the time belongs to the packets.
        self._pause_s = max(self._interval_s, _SHARE * (monotonic() - begin))


def listen(
    listener: Listener,
    stop: Event,
    report: Callable[[Interval], None],
    warn: Callable[[str], None],
    *,
    interval_s: float,
    seconds: float | None = None,
    once: bool = False,
) -> None:
    """Listen until `stop` is set, `seconds` are over, or (`once`) nothing waits; a turn that was begun is finished.

    Reports every `interval_s` (in a thread), and at the end. Brokers or a database that do not answer are waited for:
    `warn` hears of it once.
    """
    begin, waits, pause = monotonic(), False, 0.0
    reporter, interval = _Reporter(report, interval_s), Interval()
    while not stop.is_set() and (seconds is None or monotonic() - begin < seconds):
        try:
            with storage_errors("listening"):
                turn = listener.turn()
            if turn is not None:
                interval.add(turn)
            if reporter.is_due(interval):
                complete, interval = interval, Interval()
                reporter.begin(complete)
        except (SourceError, StorageError) as error:
            if not waits:
                warn(f"{error}; it is tried again")
            waits, pause = True, min(max(2 * pause, 1.0), PATIENCE_S)
            stop.wait(pause)
            continue
        waits, pause = False, 0.0
        if turn is None and once:
            break
        if turn is None:
            stop.wait(IDLE_S)
    reporter.end(interval)
