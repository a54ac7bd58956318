"""New T2 results start the processes that wait for them."""

import json
from typing import Any

import dagster as dg

from ampel_dagster.config.load import Config
from ampel_dagster.pipeline.t3_react import has_updates
from resources.mongo import MongoResource

#: Events that one look reads at most; the rest comes with the next page.
PAGE = 500


def reactions_sensor(config: Config, job: dg.JobDefinition) -> dg.SensorDefinition:
    """Pages through the materializations of all T2 assets, oldest first, so that none is lost.

    (An asset sensor would look at the newest event only.) What a process has to do is then asked of the database: a
    materialization that changed nothing starts no run.
    """
    waiting = {name: p for name, p in config.processes.items() if p.trigger and p.trigger.on == "t2"}
    assets = [dg.AssetKey([s, "t2", product.name]) for s in config.surveys for product in config.products_of(s)]

    @dg.sensor(
        name="t3_reactions",
        job=job,
        minimum_interval_seconds=15,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Runs {', '.join(waiting) or 'nothing'} when T2 results are new.",
    )
    def t3_reactions(context: dg.SensorEvaluationContext, mongo: MongoResource) -> dg.SensorResult | dg.SkipReason:
        cursors: dict[str, int] = json.loads(context.cursor) if context.cursor else {}
        read = {asset.to_user_string(): _page(context, asset, cursors) for asset in assets}
        newest = {asset: max((cursors.get(asset, 0), *ids)) for asset, ids in read.items()}
        if newest == {asset: cursors.get(asset, 0) for asset in newest}:
            return dg.SkipReason("no new results")
        mark = sum(newest.values())
        requests = [
            dg.RunRequest(
                run_key=f"{name}:{channel.name}:{mark}",
                run_config=_run_config(name, channel.name),
                # dagster.yaml lets one run a channel react at a time.
                tags={"ampel/channel": channel.name, "ampel/process": name},
            )
            for name in waiting
            for channel in config.channels_of(name)
            if any(has_updates(mongo.store, name, channel.name, survey) for survey in channel.surveys)
        ]
        return dg.SensorResult(run_requests=requests, cursor=json.dumps(newest))

    return t3_reactions


def _page(context: dg.SensorEvaluationContext, asset: dg.AssetKey, cursors: dict[str, int]) -> list[int]:
    after = cursors.get(asset.to_user_string(), 0)
    records = context.instance.fetch_materializations(
        dg.AssetRecordsFilter(asset_key=asset, after_storage_id=after), limit=PAGE, ascending=True
    ).records
    return [record.storage_id for record in records]


def _run_config(process: str, channel: str) -> dict[str, Any]:
    return {"ops": {"react_to_new": {"config": {"processes": [process], "channels": [channel]}}}}
