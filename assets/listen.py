"""The job `listen`: a long run that brings each packet to its T2 results within seconds."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, current_thread, main_thread
from types import FrameType

import dagster as dg

from ampel_dagster.config.load import Config
from ampel_dagster.model.errors import SourceError
from ampel_dagster.model.run import RunInfo
from ampel_dagster.pipeline.gate import split_live
from ampel_dagster.pipeline.listen import Interval, Listener, Listening, listen
from ampel_dagster.pipeline.ranges import lag
from ampel_dagster.pipeline.t0_ingest import Ingestion
from ampel_dagster.pipeline.t2_augment import Augmentation
from ampel_dagster.sources.kafka import KafkaSource
from ampel_dagster.storage.store import Store
from assets.kafka import kafka_source, loss_text, run_state, stream_observation
from assets.ops import PROGRESS, partition_events
from assets.partitions import begin
from resources.mongo import MongoResource


class ListenConfig(dg.Config):
    """To what, and for how long."""

    survey: str
    #: Seconds; none: until it is stopped.
    seconds: float | None = None
    #: Until nothing waits.
    once: bool = False
    #: Packets that are brought from T0 to T2 together, at most.
    packets_per_turn: int = 1000
    #: Seconds between two reports.
    interval_s: float = 60.0


def listen_job(setup: Config) -> dg.JobDefinition:
    """`listen`: packets to results, in one long run, until it is terminated."""

    @dg.op(description="Work small groups of packets as they come; finish the last one when terminated.")
    def listen_to_packets(context: dg.OpExecutionContext, config: ListenConfig, mongo: MongoResource) -> None:
        run, survey, store = begin(context, setup, mongo.store, "live"), config.survey, mongo.store
        with kafka_source(setup, survey) as source, _stopping() as stop:
            listener = Listener(_listening(context, setup, store, source, config, run))
            listener.begin(lambda group: run_state(context.instance, group) != "active")
            try:
                listen(
                    listener,
                    stop,
                    lambda interval: _report(context, setup, store, survey, interval),
                    context.log.warning,
                    interval_s=config.interval_s,
                    seconds=config.seconds,
                    once=config.once,
                )
            finally:
                listener.end()

    @dg.job(name="listen", description="Packets to results within seconds, until it is terminated.")
    def listen_() -> None:
        listen_to_packets()

    return listen_


def _listening(
    context: dg.OpExecutionContext, setup: Config, store: Store, source: KafkaSource, config: ListenConfig, run: RunInfo
) -> Listening:
    survey = config.survey
    instrument = setup.instrument(survey)
    rules, held = split_live(store, setup.rules(survey), run.mode)
    if held:
        context.log.warning(f"not activated, so left out: {', '.join(held)}")
    ingestion = Ingestion(
        store, instrument, setup.stream(survey), rules, run, neighbours=setup.neighbours(survey, rules)
    )
    augmentation = Augmentation(store, instrument, setup.products_of(survey), run, {}, setup.reactions)
    return Listening(ingestion, augmentation, source, config.packets_per_turn)


def _report(context: dg.OpExecutionContext, setup: Config, store: Store, survey: str, interval: Interval) -> None:
    """Show what an interval did: one event a partition, one observation of the stream; commit what is done."""
    if "listen" in PROGRESS:
        PROGRESS["listen"](interval.ingested)
        PROGRESS["listen"](interval.computed)
    for partition, lost in interval.lost:
        context.log.warning(loss_text(partition, lost))
    touched = sorted(interval.ingested.partitions), sorted(interval.computed.partitions)
    for event in partition_events(setup, store, survey, *touched):
        context.log_event(event)
    store.offsets.merge(survey, context.run_id)
    packets = interval.ingested.counts["read"]
    rates = {"packets": packets, "packets_per_s": round(packets / max(interval.seconds, 1e-9), 1)}
    try:
        with kafka_source(setup, survey) as source:  # the one that reads packets is busy with it
            found = lag(store.offsets, survey, source)
            source.commit(found.positions)
    except SourceError as error:
        context.log.warning(f"how far {survey} is behind is unknown: {error}")
        return
    context.log_event(stream_observation(store, survey, found, rates))


@contextmanager
def _stopping() -> Iterator[Event]:
    """An event that SIGTERM and SIGINT set: the first one asks for an end, a second one ends at once."""
    stop = Event()
    if current_thread() is not main_thread():
        yield stop
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def ask(number: int, _: FrameType | None) -> None:
        stop.set()
        signal.signal(number, before[signal.Signals(number)])

    for number in before:
        signal.signal(number, ask)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
