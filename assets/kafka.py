"""Streams that come over Kafka: what a run reads of them, and what it says about them."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import timedelta
from typing import Any

import dagster as dg
from dagster import DagsterRunStatus, RunsFilter

from ampel_dagster.config.load import Config
from ampel_dagster.model.alert import Packet
from ampel_dagster.model.errors import SourceError, UserError
from ampel_dagster.model.offsets import Lost, OffsetRange, Partition
from ampel_dagster.model.run import RunInfo, utc_now
from ampel_dagster.pipeline.ranges import Lag, Reading, lag
from ampel_dagster.sources.kafka import KafkaSource
from ampel_dagster.storage.store import Store
from resources.metadata import markdown_table

#: Run tags: the name of a group of ranges, and what is in it.
GROUP_TAG, RANGES_TAG, SURVEY_TAG = "ampel/group", "ampel/ranges", "ampel/survey"
_OVER = (DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED)
#: Dagster's mark on a run that it will itself start again.
_WILL_RETRY = "dagster/will_retry"
#: A run whose process was killed may be said to be active for ever; it counts for so long only.
_FORGET_AFTER = timedelta(hours=2)
#: Losses and partitions that are shown.
_SHOWN = 20


def kafka_source(setup: Config, survey: str) -> KafkaSource:
    """The Kafka topics of a survey. Raises UserError where it has none, SourceError where a secret is missing."""
    kafka = setup.stream(survey).kafka
    if kafka is None:
        raise UserError(f"the stream of {survey} does not come over Kafka; add kafka: to its file in streams/")
    return KafkaSource(kafka, setup.folder)


def range_tags(survey: str, parts: Sequence[OffsetRange]) -> dict[str, str]:
    """Tags by which a run is found that reads these ranges."""
    return {SURVEY_TAG: survey, RANGES_TAG: ", ".join(map(str, parts))}


def read_ranges(
    context: dg.OpExecutionContext, setup: Config, store: Store, run: RunInfo, survey: str, ranges: Sequence[str]
) -> tuple[Iterator[Packet], Callable[[], None]]:
    """The packets of some ranges, and what is to be done when they are stored."""
    parts = [OffsetRange.parse(text) for text in ranges]
    reading = Reading(store.offsets, survey, parts, run.meta())
    if parts:
        context.instance.add_run_tags(context.run_id, range_tags(survey, reading.parts))

    def packets() -> Iterator[Packet]:
        if parts:
            with kafka_source(setup, survey) as source:
                yield from reading.packets(source)

    def finish() -> None:
        reading.done(run.run)
        for partition, lost in reading.lost:
            context.log.warning(loss_text(partition, lost))

    return packets(), finish


def loss_text(partition: Partition, lost: Lost) -> str:
    """A loss, for people."""
    if lost.first == lost.end:
        return (
            f"{partition} {lost.reason}: what came after offset {lost.first} is unknown; it is read from its beginning"
        )
    return f"{partition} {lost.reason}: offsets {lost.first} to {lost.end - 1} cannot be read"


def run_state(instance: dg.DagsterInstance, group: str) -> str:
    """'none', 'active' or 'over': what became of the newest run that was to read a group."""
    records = instance.get_run_records(RunsFilter(tags={GROUP_TAG: group}), limit=1)
    if not records:
        return "none"
    run = records[0].dagster_run
    waits = run.status == DagsterRunStatus.FAILURE and run.tags.get(_WILL_RETRY) == "true"
    if (run.status in _OVER and not waits) or utc_now() - records[0].update_timestamp > _FORGET_AFTER:
        return "over"
    return "active"


def report_stream(context: dg.OpExecutionContext, setup: Config, store: Store) -> None:
    """After a run over ranges: commit what is done, and observe how far the stream is behind."""
    survey = context.run.tags.get(SURVEY_TAG)
    if survey is None or survey not in setup.surveys:
        return
    try:
        with kafka_source(setup, survey) as source:
            found = lag(store.offsets, survey, source)
            source.commit(found.positions)
    except SourceError as error:
        context.log.warning(f"the packets are stored, but how far {survey} is behind is unknown: {error}")
        return
    context.log_event(stream_observation(store, survey, found, {}))


def stream_observation(store: Store, survey: str, found: Lag, more: dict[str, Any]) -> dg.AssetObservation:
    """How far a stream is behind, as an observation of what there is to read."""
    metadata: dict[str, Any] = {"lag_packets": found.packets, **more}
    if found.oldest is not None:
        metadata["oldest_waiting"] = dg.MetadataValue.timestamp(found.oldest)
        metadata["oldest_waiting_s"] = round((utc_now() - found.oldest).total_seconds(), 1)
    if found.waiting:
        rows = sorted(found.waiting.items(), key=lambda item: -item[1])[:_SHOWN]
        metadata["lag"] = dg.MetadataValue.md(markdown_table([{"partition": p, "packets": n} for p, n in rows]))
    return dg.AssetObservation([survey, "alerts"], metadata={**metadata, **loss_metadata(store, survey)})


def loss_metadata(store: Store, survey: str) -> dict[str, Any]:
    """Offsets that nobody can read any more; those from before the stream was followed are no loss."""
    rows = [row for row in store.offsets.lost(survey) if Lost(row["first"], row["end"], row["reason"]).is_loss]
    found: dict[str, Any] = {"lost_offsets": sum(row["end"] - row["first"] for row in rows), "gaps": len(rows)}
    if rows:
        found["newest gaps"] = dg.MetadataValue.md(loss_table(rows[:_SHOWN]))
    return found


def loss_table(rows: Iterable[dict[str, Any]]) -> str:
    """Losses as a markdown table."""
    names = ("topic", "partition", "first", "end", "reason", "ts")
    return markdown_table([{name: row[name] for name in names} for row in rows])
