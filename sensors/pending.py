"""Tickets that nobody works on are taken up again."""

from datetime import timedelta

import dagster as dg
from dagster import DagsterRunStatus, RunsFilter

from ampel_dagster.config.load import Config
from ampel_dagster.model.run import utc_now
from resources.mongo import MongoResource

#: Runs that work on tickets anyway; the last is what the UI's "materialize" starts.
_WORKING = ("ingest", "augment", "reprocess", "__ASSET_JOB")
#: A run whose process was killed is said to be active for ever, so it counts for so long only; where a run takes
#: longer, two work on its tickets, which does no harm.
FORGET_AFTER = timedelta(hours=2)
_ACTIVE = [DagsterRunStatus.QUEUED, DagsterRunStatus.NOT_STARTED, DagsterRunStatus.STARTING, DagsterRunStatus.STARTED]


def pending_sensor(config: Config, job: dg.JobDefinition) -> dg.SensorDefinition:
    """Starts the job `augment` where tickets are pending (a worker died, a product was reset) and no run is at it."""

    @dg.sensor(
        name="pending_tickets",
        job=job,
        minimum_interval_seconds=60,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Takes up T2 tickets that a crashed run left, or that were reset.",
    )
    def pending_tickets(context: dg.SensorEvaluationContext, mongo: MongoResource) -> dg.RunRequest | dg.SkipReason:
        since = utc_now() - FORGET_AFTER
        for name in _WORKING:
            at_it = RunsFilter(job_name=name, statuses=_ACTIVE, updated_after=since)
            if context.instance.get_runs(at_it, limit=1):
                return dg.SkipReason(f"a run of {name} is at it")
        pending: dict[str, int] = {}
        for survey in config.surveys:
            products = {product.id: product.name for product in config.products_of(survey)}
            pending |= {
                f"{survey}/{k}": n for k, n in mongo.store.survey(survey).tickets.pending(products).items() if n
            }
        if not pending:
            return dg.SkipReason("no ticket is pending")
        return dg.RunRequest(tags={"ampel/pending": ", ".join(f"{name}: {n}" for name, n in pending.items())})

    return pending_tickets
