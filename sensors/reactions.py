"""New T2 results start the processes that wait for them; what was left over is tried again."""

import json
from datetime import timedelta
from typing import Any

import dagster as dg

from ampel_dagster.config.load import Config
from ampel_dagster.model.run import utc_now
from ampel_dagster.pipeline.gate import is_live
from ampel_dagster.pipeline.t3_react import has_updates
from ampel_dagster.storage.store import Store
from resources.mongo import MongoResource
from sensors.active import WORKING_ON_TICKETS, at_work

#: Events that one look reads at most; the rest comes with the next page.
PAGE = 500


def reactions_sensor(config: Config, job: dg.JobDefinition) -> dg.SensorDefinition:
    """Pages through the materializations of all T2 assets, oldest first, so that none is lost.

    (An asset sensor would look at the newest event only.) What a process has to do is then asked of the database: a
    materialization that changed nothing starts no run.
    """
    waiting = _waiting(config)
    assets = [dg.AssetKey([s, "t2", product.name]) for s in config.surveys for product in config.products_of(s)]

    @dg.sensor(
        name="t3_reactions",
        job=job,
        minimum_interval_seconds=5,
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
            _request(name, channel, run_key=f"{name}:{channel}:{mark}")
            for name, channel in _with_news(config, mongo.store, waiting)
        ]
        return dg.SensorResult(run_requests=requests, cursor=json.dumps(newest))

    return t3_reactions


def overdue_sensor(config: Config, job: dg.JobDefinition) -> dg.SensorDefinition:
    """Starts reactions that are still due though no result is new.

    A run of theirs failed or was killed, an object still waited for a result, or there was nothing to compute for it.
    """
    waiting = _waiting(config)

    @dg.sensor(
        name="t3_overdue",
        job=job,
        minimum_interval_seconds=600,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Runs again what has not reacted to everything yet, every ten minutes.",
    )
    def t3_overdue(context: dg.SensorEvaluationContext, mongo: MongoResource) -> dg.SensorResult | dg.SkipReason:
        busy = at_work(context.instance, (*WORKING_ON_TICKETS, job.name))
        if busy:
            return dg.SkipReason(f"a run of {busy} is at it")
        requests = [_request(name, channel) for name, channel in _with_news(config, mongo.store, waiting)]
        return dg.SensorResult(run_requests=requests) if requests else dg.SkipReason("nothing is overdue")

    return t3_overdue


def _waiting(config: Config) -> list[str]:
    """Processes that react to new results."""
    return [name for name, p in config.processes.items() if p.trigger and p.trigger.on == "t2"]


def _with_news(config: Config, store: Store, processes: list[str]) -> list[tuple[str, str]]:
    """Processes and channels for which something is new, and whose last run is long enough ago."""
    return [
        (name, channel.name)
        for name in processes
        for channel in config.channels_of(name)
        if any(
            is_live(store, rules)
            and has_updates(store, name, channel.name, survey)
            and not _is_too_soon(config, store, name, channel.name, survey)
            for survey, rules in channel.surveys.items()
        )
    ]


def _is_too_soon(config: Config, store: Store, process: str, channel: str, survey: str) -> bool:
    """Whether a process is to wait, so that what comes meanwhile is reacted to together."""
    trigger = config.processes[process].trigger
    last = store.reactions.last(process, channel, survey, "") if trigger and trigger.every_minutes else None
    return bool(trigger and last and utc_now() < last.ts + timedelta(minutes=trigger.every_minutes))


def _request(process: str, channel: str, run_key: str | None = None) -> dg.RunRequest:
    return dg.RunRequest(
        run_key=run_key,
        run_config=_run_config(process, channel),
        # dagster.yaml lets one run a channel react at a time.
        tags={"ampel/channel": channel, "ampel/process": process},
    )


def _page(context: dg.SensorEvaluationContext, asset: dg.AssetKey, cursors: dict[str, int]) -> list[int]:
    after = cursors.get(asset.to_user_string(), 0)
    records = context.instance.fetch_materializations(
        dg.AssetRecordsFilter(asset_key=asset, after_storage_id=after), limit=PAGE, ascending=True
    ).records
    return [record.storage_id for record in records]


def _run_config(process: str, channel: str) -> dict[str, Any]:
    return {"ops": {"react_to_new": {"config": {"processes": [process], "channels": [channel]}}}}
