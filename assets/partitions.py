"""The partitions that all tier assets share, and who a run is."""

from datetime import datetime
from typing import Any, cast

import dagster as dg

from ampel_dagster.config.load import Config
from ampel_dagster.model.run import Mode, RunInfo
from ampel_dagster.storage.store import Store

#: Run tag that says whether a run is about live packets or about an archive.
MODE_TAG = "ampel/mode"
#: Partitions that one run of a backfill takes: each costs some 30 ms and 7 kB of event log an asset.
MAX_PARTITIONS_PER_RUN = 400


def nights_of(config: Config) -> dg.DailyPartitionsDefinition:
    """Nights from the earliest stream on, tonight included."""
    first = min(stream.start_date for stream in config.streams.values())
    return dg.DailyPartitionsDefinition(start_date=datetime(first.year, first.month, first.day), end_offset=1)


def channel_nights(config: Config) -> dg.MultiPartitionsDefinition:
    """Channel x night, one and the same for all tier assets, as assets of one job must share their partitions."""
    channels = dg.StaticPartitionsDefinition(sorted(config.channels))
    return dg.MultiPartitionsDefinition({"channel": channels, "night": nights_of(config)})


def backfill_policy() -> dg.BackfillPolicy:
    """Many nights a run: a launched run costs seconds before its first step."""
    return dg.BackfillPolicy.multi_run(max_partitions_per_run=MAX_PARTITIONS_PER_RUN)


def begin(
    context: dg.OpExecutionContext | dg.AssetExecutionContext, config: Config, store: Store, mode: Mode
) -> RunInfo:
    """This Dagster run, its configuration remembered under its hash; a run tag may say otherwise about its mode."""
    tagged: Any = context.run.tags.get(MODE_TAG)
    run = RunInfo(context.run.run_id, config.id, cast("Mode", tagged if tagged in ("live", "archive") else mode))
    store.configs.keep(config.id, config.content, run.meta())
    return run
