"""Processes that run by the clock."""

import dagster as dg

from ampel_dagster.config.load import Config


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
