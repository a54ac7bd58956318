"""``<survey>/alerts`` (what there is to read) and ``<survey>/t0`` (what the channels chose)."""

from itertools import chain
from typing import Any

import dagster as dg

from ampel_dagster.config.load import Config
from ampel_dagster.model.run import CODE_VERSION
from ampel_dagster.pipeline import tiers
from ampel_dagster.pipeline.t0_ingest import Ingestion
from ampel_dagster.pipeline.tier import TierOutput
from ampel_dagster.sources.files import read_file
from assets.archive import archive_file
from assets.partitions import backfill_policy, begin, channel_nights, nights_of
from resources.mongo import MongoResource
from resources.partitions import split_partitions


def alerts_spec(config: Config, survey: str) -> dg.AssetSpec:
    """The archive's nights or the stream, as an external asset."""
    stream = config.stream(survey)
    place = f"{stream.archive.folder}/{stream.archive.pattern}" if stream.archive else "no archive"
    return dg.AssetSpec(
        [survey, "alerts"],
        description=f"Alert packets of {survey}, made by the survey. Archive: `{place}`.",
        group_name="alerts",
        kinds={"avro"},
        partitions_def=nights_of(config),
    )


def t0_asset(config: Config, survey: str) -> dg.AssetsDefinition:
    """What the channels accept of the nights' archive files."""

    @dg.asset(
        key=[survey, "t0"],
        deps=[dg.AssetKey([survey, "alerts"])],
        partitions_def=channel_nights(config),
        backfill_policy=backfill_policy(),
        io_manager_key="mongo_io",
        group_name="t0",
        kinds={"mongodb"},
        code_version=CODE_VERSION,
        tags={"tier": "0"},
        description="Datapoints, stocks and alerts that the channels accept. A night is decoded once for all.",
    )
    def t0(context: dg.AssetExecutionContext, mongo: MongoResource) -> dg.Output[TierOutput]:
        channels, nights = split_partitions(context.partition_keys)
        run = begin(context, config, mongo.store, "archive")
        rules = config.rules(survey, tuple(channels))
        instrument, stream = config.instrument(survey), config.stream(survey)
        ingestion = Ingestion(mongo.store, instrument, stream, rules, run, with_states=False)
        files = {night: file for night in nights if (file := archive_file(config, survey, night))}
        context.log.info(f"{len(files)} archive files for {len(nights)} nights, {len(rules)} channels")
        for night, file in files.items():
            size: dict[str, Any] = {"file": file.name, "megabytes": round(file.stat().st_size / 1e6, 1)}
            context.log_event(dg.AssetObservation([survey, "alerts"], partition=night, metadata=size))
        return dg.Output(tiers.ingest(ingestion, chain.from_iterable(map(read_file, files.values()))))

    return t0
