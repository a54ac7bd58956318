"""Which runs are at work."""

from collections.abc import Sequence
from datetime import timedelta

import dagster as dg
from dagster import DagsterRunStatus, RunsFilter

from ampel_dagster.model.run import utc_now

#: Runs that work on tickets; the last is what the UI's "materialize" starts.
WORKING_ON_TICKETS = ("ingest", "augment", "reprocess", "__ASSET_JOB")
#: A run whose process was killed is said to be active for ever, so it counts for so long only; where a run takes
#: longer, two do its work, which does no harm.
FORGET_AFTER = timedelta(hours=2)
_ACTIVE = [DagsterRunStatus.QUEUED, DagsterRunStatus.NOT_STARTED, DagsterRunStatus.STARTING, DagsterRunStatus.STARTED]


def at_work(instance: dg.DagsterInstance, jobs: Sequence[str]) -> str | None:
    """Name of the first of these jobs that has an active run."""
    since = utc_now() - FORGET_AFTER
    for job in jobs:
        if instance.get_runs(RunsFilter(job_name=job, statuses=_ACTIVE, updated_after=since), limit=1):
            return job
    return None
