"""Processes that run by the clock."""

from datetime import timedelta

import dagster as dg

from ampel_dagster.config.load import Config
from assets.partitions import MODE_TAG

#: When the nights that are asked for are over everywhere, and archives have their files.
_HISTORY_CRON = "0 20 * * *"


def history_schedules(config: Config, job: dg.JobDefinition) -> list[dg.ScheduleDefinition]:
    """One schedule for each survey with channels that complete objects: daily, for what the last two nights brought."""
    made = []
    for survey in config.surveys:
        names = [rules.channel for rules in config.rules(survey) if rules.history_days]
        if names:
            made.append(_history_schedule(survey, names, job))
    return made


def _history_schedule(survey: str, channels: list[str], job: dg.JobDefinition) -> dg.ScheduleDefinition:
    @dg.schedule(
        name=f"{survey}_history",
        job=job,
        cron_schedule=_HISTORY_CRON,
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=f"Completes objects that {', '.join(channels)} took, by their earlier alerts in the archive.",
    )
    def schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
        today = context.scheduled_execution_time.date()
        nights = [(today - timedelta(days=days)).isoformat() for days in (1, 0)]
        config = {"survey": survey, "channels": channels, "complete": nights}
        # Nothing is told outside of what an archive brings.
        return dg.RunRequest(run_config={"ops": {"ingest_packets": {"config": config}}}, tags={MODE_TAG: "archive"})

    return schedule


def process_schedules(config: Config, job: dg.JobDefinition) -> list[dg.ScheduleDefinition]:
    """One schedule for each process that names a cron expression."""
    return [
        dg.ScheduleDefinition(
            name=f"{name}_schedule",
            job=job,
            cron_schedule=process.trigger.schedule,
            execution_timezone=process.trigger.timezone,
            run_config={"ops": {"react_to_new": {"config": {"processes": [name]}}}},
            default_status=dg.DefaultScheduleStatus.RUNNING,
            description=f"Runs {name} for all its channels.",
        )
        for name, process in config.processes.items()
        if process.trigger and process.trigger.schedule
    ]
