"""Tickets that nobody works on are taken up again."""

import dagster as dg

from ampel_dagster.config.load import Config
from resources.mongo import MongoResource
from sensors.active import WORKING_ON_TICKETS, at_work


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
        # Several workers help a run that ingests, rather than wait for it.
        busy = at_work(context.instance, WORKING_ON_TICKETS if config.workers.workers == 1 else (job.name,))
        if busy:
            return dg.SkipReason(f"a run of {busy} is at it")
        pending: dict[str, int] = {}
        for survey in config.surveys:
            if mongo.store.listeners.alive(survey):
                continue  # it takes up the tickets of its survey
            products = {product.id: product for product in config.products_of(survey)}
            required = {id_: [base.id for base in product.requires] for id_, product in products.items()}
            found = mongo.store.survey(survey).tickets.pending(required)
            pending |= {f"{survey}/{products[id_].name}": n for id_, n in found.items() if n}
        if not pending:
            return dg.SkipReason("no ticket is pending")
        return dg.RunRequest(tags={"ampel/pending": ", ".join(f"{name}: {n}" for name, n in pending.items())})

    return pending_tickets
