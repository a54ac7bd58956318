"""Jobs over packets and over what is new: the door of sensors, command line and live streams.

T0 and T1 of a batch run in one op: a batch is done, and its updates can be reacted to, when its states are written, not
when the last packet of a night is.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path

import dagster as dg

from ampel_dagster.config.load import Config
from ampel_dagster.model.errors import UserError
from ampel_dagster.model.run import RunInfo
from ampel_dagster.pipeline import tiers
from ampel_dagster.pipeline.gate import split_live
from ampel_dagster.pipeline.history import history_nights, late_objects
from ampel_dagster.pipeline.replay import replay
from ampel_dagster.pipeline.t0_ingest import Ingestion
from ampel_dagster.pipeline.t2_augment import Augmentation
from ampel_dagster.pipeline.t3_react import react_again, react_to_updates
from ampel_dagster.pipeline.tier import PartitionFacts, TierOutput
from ampel_dagster.pipeline.write_ahead import Progress
from ampel_dagster.sources.files import list_files, read_file
from ampel_dagster.storage.audit import left_out
from ampel_dagster.storage.store import Store
from assets.archive import archive_file
from assets.checks import FILTERS_WORK, left_out_metadata
from assets.kafka import read_ranges, report_stream
from assets.partitions import begin
from assets.t3_react import raise_failures, reaction_metadata, reactions
from assets.workers import RETRY, executor_of
from resources.metadata import partition_metadata
from resources.mongo import MongoResource
from resources.partitions import partition_key

#: Channels and nights.
Touched = Sequence[tuple[str, str]]
#: Set by who runs a job in its own process, for progress bars: called with each batch's figures, by op.
PROGRESS: dict[str, Progress] = {}


class IngestConfig(dg.Config):
    """Which packets."""

    survey: str
    #: Files or folders, absolute.
    paths: list[str] = []  # noqa: RUF012  # pydantic copies defaults
    #: Ids of records in quarantine, to read once more; with these, no paths.
    quarantined: list[str] = []  # noqa: RUF012
    #: Ranges of offsets of the stream's Kafka topics, as in 'topic/3:100-200'.
    ranges: list[str] = []  # noqa: RUF012
    #: Channels; none: all.
    channels: list[str] = []  # noqa: RUF012
    #: Nights in which objects were taken whose earlier alerts are to be taken from the archive; with these, no paths.
    complete: list[str] = []  # noqa: RUF012


class ReactConfig(dg.Config):
    """Which processes, for which channels; none: all."""

    processes: list[str] = []  # noqa: RUF012
    channels: list[str] = []  # noqa: RUF012
    #: Ids of effects in the outbox, to be sent again; with these, nothing else is done.
    resend: list[str] = []  # noqa: RUF012


def ticket_jobs(setup: Config) -> tuple[dg.JobDefinition, dg.JobDefinition]:
    """`ingest` (packets to results) and `augment` (pending tickets to results), which share their later ops."""
    augment_tickets, report_partitions = _augment_op(setup), _report_op(setup)

    @dg.op(out=dg.Out(io_manager_key="mongo_io"), description="Decode, filter, store and combine, batch by batch.")
    def ingest_packets(
        context: dg.OpExecutionContext, config: IngestConfig, mongo: MongoResource
    ) -> dg.Output[TierOutput]:
        run = begin(context, setup, mongo.store, "live")
        rules, held = split_live(mongo.store, setup.rules(config.survey, tuple(config.channels)), run.mode)
        if held:
            context.log.warning(f"not activated, so left out: {', '.join(held)}")
        survey, neighbours = config.survey, setup.neighbours(config.survey, rules)
        ingestion = Ingestion(
            mongo.store, setup.instrument(survey), setup.stream(survey), rules, run, neighbours=neighbours
        )
        if config.complete:
            return dg.Output(_completion(context, setup, ingestion, config.complete))
        if config.quarantined:
            ids = [int(id_) for id_ in config.quarantined]
            return dg.Output(replay(ingestion, ids, PROGRESS.get("ingest")))
        if not config.paths and not config.ranges:
            raise UserError("nothing to ingest: give paths, ranges, or ids of records in quarantine")
        files = _files(context, config.paths) if config.paths else []
        context.log.info(f"{len(files)} files, {len(config.ranges)} ranges of offsets, {len(rules)} channels")
        packets = chain.from_iterable(read_file(file, name_of(file, config.paths)) for file in files)
        streamed, finish = read_ranges(context, setup, mongo.store, run, config.survey, config.ranges)
        return dg.Output(tiers.ingest(ingestion, chain(packets, streamed), PROGRESS.get("ingest"), finish))

    @dg.job(name="ingest", description="Packets to results, whatever nights they are of.")
    def ingest() -> None:
        report_partitions(augment_tickets(ingest_packets()))

    names = [f"augment_tickets_{n}" for n in range(1, setup.workers.workers + 1)]

    @dg.job(
        name="augment",
        description="Compute all T2 tickets that are pending.",
        executor_def=executor_of(setup.workers),
        op_retry_policy=RETRY,
    )
    def augment() -> None:
        report_partitions([augment_tickets.alias(name)() for name in names])

    return ingest, augment


def react_job(setup: Config) -> dg.JobDefinition:
    """Reactions to all that is new."""

    @dg.op(description="React to the batches that a process has not handled for a channel.")
    def react_to_new(context: dg.OpExecutionContext, config: ReactConfig, mongo: MongoResource) -> None:
        run = begin(context, setup, mongo.store, "live")
        again = mongo.store.outbox.list(_id={"$in": [int(id_) for id_ in config.resend]}) if config.resend else []
        for name in config.processes or list(setup.processes):
            process = setup.processes[name]
            channels = config.channels or [channel.name for channel in setup.channels_of(name)]
            for reaction in reactions(setup, mongo.store, process, run, channels):
                mine = [d for d in again if reaction.is_about(d)]
                reacted = react_again(reaction, mine) if config.resend else react_to_updates(reaction)
                for done in reacted:
                    context.log_event(
                        dg.AssetMaterialization(
                            ["t3", name],
                            partition=partition_key(done.channel, done.night),
                            metadata=reaction_metadata(done),
                        )
                    )
                raise_failures(reacted)

    @dg.job(name="react", description="React to everything that is new, once.")
    def react() -> None:
        react_to_new()

    return react


def _completion(
    context: dg.OpExecutionContext, setup: Config, ingestion: Ingestion, nights: Sequence[str]
) -> TierOutput:
    """The earlier alerts of objects that channels took in these nights, out of the archive."""
    late = late_objects(ingestion.store.survey(ingestion.survey), ingestion.rules, nights)
    before = history_nights(ingestion.rules, nights) if late else []
    files = [file for night in before if (file := archive_file(setup, ingestion.survey, night))]
    context.log.info(f"{sum(map(len, late.values()))} objects, {len(files)} archive files")
    packets = chain.from_iterable(map(read_file, files))
    return tiers.ingest(replace(ingestion, late=late), packets, PROGRESS.get("ingest"))


def _files(context: dg.OpExecutionContext, paths: list[str]) -> list[Path]:
    """Files of a run. One that somebody removed while the run was queued costs the others nothing."""
    there = [path for path in map(Path, paths) if path.exists()]
    if len(there) < len(paths):
        gone = sorted(set(paths) - set(map(str, there)))
        if not there:
            raise UserError(f"{gone[0]}: no such file or folder")
        context.log.warning(f"{len(gone)} of {len(paths)} files are gone: {', '.join(gone[:5])}")
    return list_files(there)


def name_of(file: Path, paths: list[str]) -> str:
    """What the ledger calls a file: its name, below the folder that was asked for if it was a folder."""
    for path in map(Path, paths):
        if path != file and file.is_relative_to(path):
            return str(file.relative_to(path.parent))
    return file.name


def _augment_op(setup: Config) -> dg.OpDefinition:
    @dg.op(
        ins={"after": dg.In(dg.Nothing)},
        out=dg.Out(io_manager_key="mongo_io"),
        description="Compute pending T2 tickets, in bulk.",
    )
    def augment_tickets(context: dg.OpExecutionContext, mongo: MongoResource) -> dg.Output[TierOutput]:
        run = begin(context, setup, mongo.store, "live")
        # In this process nobody takes a step up again.
        worker = context.node_handle.name if setup.workers.executor != "in_process" else ""
        size = setup.workers.batch if setup.workers.workers > 1 else Augmentation.size
        work = [
            Augmentation(
                mongo.store, setup.instrument(s), setup.products_of(s), run, {}, setup.reactions, size, worker=worker
            )
            for s in setup.surveys
        ]
        outputs = [tiers.compute(augmentation) for augmentation in work]
        return dg.Output(tiers.in_turn("t2", outputs, PROGRESS.get("augment")))

    return augment_tickets


def _report_op(setup: Config) -> dg.OpDefinition:
    @dg.op(ins={"after": dg.In(dg.Nothing)}, description="Show the partitions that this run touched on their assets.")
    def report_partitions(context: dg.OpExecutionContext, mongo: MongoResource) -> None:
        run = begin(context, setup, mongo.store, "live")
        for observation in observations(setup, mongo.store, run):
            context.log_event(observation)
        for check in filter_checks(setup, mongo.store, run):
            context.log_event(check)  # type: ignore[arg-type]  # it is taken, though the annotation leaves it out
        report_stream(context, setup, mongo.store)
        for materialization in materializations(setup, mongo.store, run):
            context.log_event(materialization)

    return report_partitions


def materializations(setup: Config, store: Store, run: RunInfo) -> Iterator[dg.AssetMaterialization]:
    """One event for each asset, channel and night that a run touched: as many as partitions, not as alerts."""
    for survey in setup.surveys:
        ingested, computed = (_touched(store, survey, run.run, kind) for kind in ("ingest", "t2"))
        yield from partition_events(setup, store, survey, ingested, computed)


def partition_events(
    setup: Config, store: Store, survey: str, ingested: Touched, computed: Touched
) -> Iterator[dg.AssetMaterialization]:
    """Events of T0 and T1 for the partitions with new alerts, of T2 for those with new results."""
    found, instrument = store.survey(survey), setup.instrument(survey)
    for channel, night in ingested:
        yield _event([survey, "t0"], channel, night, tiers.t0_facts(found, instrument, channel, night))
        yield _event([survey, "t1"], channel, night, tiers.t1_facts(found, instrument, channel, night))
    for channel, night in computed:
        asked = setup.channels[channel].surveys.get(survey) if channel in setup.channels else None
        for product in setup.products_of(survey) if asked else []:
            facts = tiers.t2_facts(found, instrument, product, channel, night)
            if facts.figures.documents:
                yield _event([survey, "t2", product.name], channel, night, facts)


def observations(setup: Config, store: Store, run: RunInfo) -> Iterator[dg.AssetObservation]:
    """What a run read of each stream, by night."""
    for survey in setup.surveys:
        nights: dict[str, set[str]] = {}
        for batch in store.batches.of_run(run.run, "ingest"):
            for night in batch["nights"] if batch["survey"] == survey else []:
                nights.setdefault(night, set()).update(found["source"] for found in batch["sources"])
        for night, sources in sorted(nights.items()):
            yield dg.AssetObservation(
                [survey, "alerts"], partition=night, metadata={"sources": ", ".join(sorted(sources)[:20])}
            )


def filter_checks(setup: Config, store: Store, run: RunInfo) -> Iterator[dg.AssetCheckEvaluation]:
    """The check on filters of each survey that a run read: jobs over packets have no step for it."""
    for survey in setup.surveys:
        batches = [batch for batch in store.batches.of_run(run.run, "ingest") if batch["survey"] == survey]
        nights = sorted({night for batch in batches for night in batch["nights"]})
        if nights:
            rows = left_out(store, survey, sorted(setup.channels), nights, run.run)
            yield dg.AssetCheckEvaluation(
                dg.AssetKey([survey, "t0"]), FILTERS_WORK, passed=not rows, metadata=left_out_metadata(rows)
            )


def _touched(store: Store, survey: str, run: str, kind: str) -> Touched:
    batches = [batch for batch in store.batches.of_run(run, kind) if batch["survey"] == survey]
    keys = sorted({key for batch in batches for key in batch["partitions"]})
    return [(channel, night) for channel, _, night in (key.partition("|") for key in keys)]


def _event(key: list[str], channel: str, night: str, facts: PartitionFacts) -> dg.AssetMaterialization:
    return dg.AssetMaterialization(key, partition=partition_key(channel, night), metadata=partition_metadata(facts, {}))
