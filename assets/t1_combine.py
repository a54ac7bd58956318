"""``<survey>/t1``: states of what was accepted, and the tickets for what the channels want computed."""

import dagster as dg

from ampel_dagster.config.load import Config
from ampel_dagster.model.run import CODE_VERSION
from ampel_dagster.pipeline import tiers
from ampel_dagster.pipeline.tier import TierOutput
from assets.partitions import backfill_policy, begin, channel_nights
from resources.mongo import MongoResource
from resources.mongo_io import Documents
from resources.partitions import split_partitions


def t1_asset(config: Config, survey: str) -> dg.AssetsDefinition:
    """States and tickets."""

    @dg.asset(
        key=[survey, "t1"],
        ins={"accepted": dg.AssetIn([survey, "t0"], input_manager_key="mongo_io")},
        partitions_def=channel_nights(config),
        backfill_policy=backfill_policy(),
        io_manager_key="mongo_io",
        group_name="t1",
        kinds={"mongodb"},
        code_version=CODE_VERSION,
        tags={"tier": "1"},
        description="States: the datapoints of an object as known at each alert; and tickets for T2.",
    )
    def t1(context: dg.AssetExecutionContext, mongo: MongoResource, accepted: Documents) -> dg.Output[TierOutput]:
        channels, nights = split_partitions(context.partition_keys)
        run = begin(context, config, mongo.store, "archive")
        rules = config.rules(survey, tuple(channels))
        instrument, neighbours = config.instrument(survey), config.neighbours(survey, rules)
        return dg.Output(tiers.combine(mongo.store, instrument, rules, run, accepted, nights, neighbours))

    return t1
