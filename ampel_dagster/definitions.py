"""Everything that Dagster loads: the one place that joins the rooms.

Loading reads the YAML of the instance and builds its units; it touches no database and needs no environment variable.
"""

import os
import warnings
from typing import Any

import dagster as dg

from ampel_dagster.config.instance import configuration_folder
from ampel_dagster.config.load import Config, load
from assets.checks import product_checks, survey_checks
from assets.listen import listen_job
from assets.ops import react_job, ticket_jobs
from assets.t0_ingest import alerts_spec, t0_asset
from assets.t1_combine import t1_asset
from assets.t2_augment import t2_asset
from assets.t3_react import t3_asset
from resources.mongo import MongoResource
from resources.mongo_io import MongoIOManager
from sensors.dead_runs import dead_runs
from sensors.kafka import kafka_sensor
from sensors.new_alerts import new_alerts_sensor
from sensors.pending import pending_sensor
from sensors.reactions import overdue_sensor, reactions_sensor
from sensors.schedules import history_schedules, process_schedules

# Backfill policies are "beta" in Dagster 1.13, which is pinned; once a definition is often enough said.
warnings.filterwarnings("ignore", category=dg.BetaWarning)


def build(config: Config) -> dg.Definitions:
    """Definitions of one configuration."""
    mongo = MongoResource(surveys=list(config.surveys))
    ingest, augment = ticket_jobs(config)
    react = react_job(config)
    streams = [survey for survey in config.surveys if config.stream(survey).kafka]
    sensors = [
        *(new_alerts_sensor(config, s, ingest) for s in config.surveys if config.stream(s).landing),
        *(kafka_sensor(config, survey, ingest) for survey in streams),
        reactions_sensor(config, react),
        overdue_sensor(config, react),
        pending_sensor(config, augment),
        dead_runs,
    ]
    return dg.Definitions(
        assets=_assets(config),
        asset_checks=_checks(config),
        jobs=[ingest, augment, react, *([listen_job(config)] if streams else []), *_asset_jobs(config)],
        sensors=sensors,
        schedules=[*process_schedules(config, react), *history_schedules(config, ingest)],
        resources={"mongo": mongo, "mongo_io": MongoIOManager(mongo=mongo)},
        # Dagster's default starts a process for each step, which costs seconds; work fans out inside a step.
        executor=dg.in_process_executor,
    )


def _has_partitions(config: Config) -> bool:
    """Assets are made for channels and nights: without a channel or a stream there are none."""
    return bool(config.channels and config.streams)


def _assets(config: Config) -> list[dg.AssetsDefinition | dg.AssetSpec]:
    if not _has_partitions(config):
        return []
    found: list[dg.AssetsDefinition | dg.AssetSpec] = []
    for survey in config.surveys:
        found += [alerts_spec(config, survey), t0_asset(config, survey), t1_asset(config, survey)]
        found += [t2_asset(config, survey, product) for product in config.products_of(survey)]
    return found + [t3_asset(config, process) for process in config.processes.values()]


def _checks(config: Config) -> list[dg.AssetChecksDefinition]:
    if not _has_partitions(config):
        return []
    found = []
    for survey in config.surveys:
        found += survey_checks(config, survey)
        for product in config.products_of(survey):
            found += product_checks(config, survey, product)
    return found


def _asset_jobs(config: Config) -> list[Any]:
    """The tiers as jobs, for launches and backfills."""
    if not _has_partitions(config):
        return []
    tiers = dg.AssetSelection.groups("t0", "t1", "t2")
    return [
        dg.define_asset_job("reprocess", tiers, description="T0, T1 and T2 of channels and nights, from the archive."),
        dg.define_asset_job("report", dg.AssetSelection.groups("t3"), description="T3 of channels and nights, again."),
    ]


defs = build(load(configuration_folder(os.environ)))
