"""Packets that came over Kafka start runs, each over ranges of offsets that nobody else reads."""

from datetime import timedelta

import dagster as dg

from ampel_dagster.config.load import Config
from ampel_dagster.model.offsets import Lost, OffsetRange, Partition
from ampel_dagster.model.run import RunInfo, utc_now
from ampel_dagster.pipeline.ranges import plan
from ampel_dagster.storage.offsets import Link
from ampel_dagster.storage.store import Store
from assets.kafka import GROUP_TAG, kafka_source, loss_metadata, loss_text, range_tags, run_state
from assets.partitions import MODE_TAG
from resources.mongo import MongoResource

#: Groups that may wait or be under way at a time; more is planned when one of them is done.
MAX_GROUPS = 4
#: Seconds after which a group whose run failed is asked for again; each time twice as many, up to half an hour.
RETRY_AFTER_S, RETRY_AT_MOST_S = 30.0, 1800.0


def kafka_sensor(config: Config, survey: str, job: dg.JobDefinition) -> dg.SensorDefinition:
    """Plans ranges of offsets, and starts runs that read exactly these.

    What is planned is kept in the database, not in the cursor: a lost cursor, a second daemon or a run that failed
    change nothing about who reads what.
    """

    @dg.sensor(
        name=f"{survey}_kafka",
        job=job,
        minimum_interval_seconds=10,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Ingests what comes over the Kafka topics of {survey}, range by range.",
    )
    def new_packets(context: dg.SensorEvaluationContext, mongo: MongoResource) -> dg.SensorResult | dg.SkipReason:
        store = mongo.store
        listener = store.listeners.alive(survey)
        requests = _again(context.instance, store, survey, listening=listener is not None)
        if listener is not None and not requests:
            return dg.SkipReason(f"run {listener} listens to {survey}")
        events: list[dg.AssetObservation] = []
        if listener is None:
            planned, lost = _plan(config, store, survey, MAX_GROUPS - len(store.offsets.waiting(survey)))
            requests += planned
            for partition, loss in lost:
                context.log.warning(loss_text(partition, loss))
            if lost:
                events.append(dg.AssetObservation([survey, "alerts"], metadata=loss_metadata(store, survey)))
        if not requests and not events:
            return dg.SkipReason(f"nothing new for {survey}")
        return dg.SensorResult(run_requests=requests, asset_events=events)

    return new_packets


def _plan(
    config: Config, store: Store, survey: str, most: int
) -> tuple[list[dg.RunRequest], list[tuple[Partition, Lost]]]:
    """Requests for what is new, `most` groups of it; and offsets that nobody can read any more."""
    requests: list[dg.RunRequest] = []
    losses: list[tuple[Partition, Lost]] = []
    kafka = config.stream(survey).kafka
    if kafka is None or most <= 0:
        return requests, losses
    meta = RunInfo(f"sensor {survey}_kafka", config.id).meta()
    with kafka_source(config, survey) as source:
        marks = source.watermarks()
        for _ in range(most):
            found = plan(store.offsets, survey, marks, kafka.max_packets_per_run, "run", meta, source.look)
            losses += found.lost
            if not found.ranges or not store.offsets.ask(survey, found.group, 0, "run"):
                break
            requests.append(_request(survey, found.group, 1, found.ranges))
    return requests, losses


def _again(instance: dg.DagsterInstance, store: Store, survey: str, *, listening: bool) -> list[dg.RunRequest]:
    """Requests for groups that are planned, not done, and under way nowhere."""
    requests = []
    for group, links in store.offsets.waiting(survey).items():
        attempt = links[0].attempt
        if links[0].owner == "listen":
            again = not listening
        elif attempt == 0:
            again = True
        else:
            state = run_state(instance, group)
            if state == "none":  # the look that asked for it was not recorded
                requests.append(_request(survey, group, attempt, [link.part for link in links]))
                continue
            again = state == "over" and _is_due(links[0])
        if again and store.offsets.ask(survey, group, attempt, "run"):
            requests.append(_request(survey, group, attempt + 1, [link.part for link in links]))
    return requests


def _is_due(link: Link) -> bool:
    wait_s = min(RETRY_AFTER_S * 2 ** min(link.attempt - 1, 20), RETRY_AT_MOST_S)
    return link.asked_ts is None or utc_now() >= link.asked_ts + timedelta(seconds=wait_s)


def _request(
    survey: str, group: str, attempt: int, parts: list[OffsetRange] | tuple[OffsetRange, ...]
) -> dg.RunRequest:
    """A run over a group. A run key never runs twice, so each attempt has a key of its own."""
    ranges = [str(part) for part in parts]
    return dg.RunRequest(
        run_key=f"{survey}:{group}:{attempt}",
        run_config={"ops": {"ingest_packets": {"config": {"survey": survey, "ranges": ranges}}}},
        tags={MODE_TAG: "live", GROUP_TAG: group, **range_tags(survey, parts)},
    )
