"""``<survey>/t2/<product>``: one asset for each T2 product; tied units are edges of the graph."""

import dagster as dg

from ampel_dagster.config.load import Config
from ampel_dagster.pipeline import tiers
from ampel_dagster.pipeline.t2_augment import Augmentation
from ampel_dagster.pipeline.tier import TierOutput
from ampel_dagster.storage.tickets import in_partitions
from ampel_dagster.units.bound import Product
from assets.partitions import backfill_policy, begin, channel_nights
from resources.mongo import MongoResource
from resources.partitions import split_partitions


def t2_asset(config: Config, survey: str, product: Product) -> dg.AssetsDefinition:
    """Results of one product."""
    tied = [dg.AssetKey([survey, "t2", required.name]) for required in product.requires]
    about = (type(product.unit).__doc__ or "").strip().splitlines()

    @dg.asset(
        key=[survey, "t2", product.name],
        deps=[dg.AssetKey([survey, "t1"]), *tied],
        partitions_def=channel_nights(config),
        backfill_policy=backfill_policy(),
        io_manager_key="mongo_io",
        group_name="t2",
        kinds={"mongodb", "python"},
        code_version=f"{product.id & (1 << 64) - 1:016x}:{product.version}",
        tags={"tier": "2", "unit": type(product.unit).__name__},
        description=f"`{type(product.unit).__name__}`: {about[0] if about else ''}",
    )
    def t2(context: dg.AssetExecutionContext, mongo: MongoResource) -> dg.Output[TierOutput]:
        channels, nights = split_partitions(context.partition_keys)
        run = begin(context, config, mongo.store, "archive")
        where = in_partitions(channels, nights)
        instrument, reactions = config.instrument(survey), config.reactions
        return dg.Output(
            tiers.compute(
                Augmentation(
                    mongo.store, instrument, [product], run, where, reactions, known=config.products_of(survey)
                )
            )
        )

    return t2
