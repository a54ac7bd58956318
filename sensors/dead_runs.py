"""Runs whose process is gone without a word are said to have failed, so that they hold no place and are retried."""

import os
from datetime import datetime
from pathlib import Path

import dagster as dg
from dagster import DagsterEventType, DagsterRunStatus, RunsFilter

#: Processes as Linux shows them; elsewhere a number that another process has by now is taken for the old one.
_PROC = Path("/proc")
#: A process is older than what it says of itself, but for the grain of the clocks.
_GRAIN_S = 5.0
_MOST_EVENTS = 100


@dg.sensor(
    name="dead_runs",
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Marks runs as failed whose process was killed with all that could have noticed it.",
)
def dead_runs(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    """Dagster notices the end of a process that it started, unless it was killed together with it."""
    instance = context.instance
    if not _on_this_machine(instance):
        return dg.SkipReason("runs may be at work on other machines: set run monitoring up there")
    buried = []
    for run in instance.get_runs(RunsFilter(statuses=[DagsterRunStatus.STARTED, DagsterRunStatus.CANCELING])):
        found = _process(instance, run.run_id)
        if found is not None and not is_alive(*found):
            instance.report_run_failed(run, f"Its process (pid {found[0]}) is gone: it was killed.")
            buried.append(f"{run.job_name} {run.run_id}")
    return dg.SkipReason(f"gone: {', '.join(buried)}" if buried else "no run's process is gone")


def _on_this_machine(instance: dg.DagsterInstance) -> bool:
    """Histories in SQLite are for one machine."""
    return "sqlite" in type(instance.event_log_storage).__name__.lower() or instance.is_ephemeral


def _process(instance: dg.DagsterInstance, run_id: str) -> tuple[int, float] | None:
    """Id of the process that told of itself last, and when it did (seconds since 1970)."""
    records = instance.get_records_for_run(
        run_id, of_type=DagsterEventType.ENGINE_EVENT, ascending=False, limit=_MOST_EVENTS
    ).records
    for record in records:
        event = record.event_log_entry.dagster_event
        pid = event.engine_event_data.metadata.get("pid") if event is not None else None
        if pid is not None:
            return int(str(pid.value)), record.timestamp
    return None


def is_alive(pid: int, since: float) -> bool:
    """Whether the process that had this id at a time is still there."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    started = _started(pid)
    return started is None or started <= since + _GRAIN_S


def _started(pid: int) -> float | None:
    """When a process was started, in seconds since 1970; None where the system does not tell."""
    try:
        # The name, in brackets, may hold blanks; the start is the 22nd field, in ticks since the machine was.
        fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
        boot = next(line for line in (_PROC / "stat").read_text().splitlines() if line.startswith("btime "))
    except (OSError, StopIteration):
        return None
    if fields[0] == "Z":
        return datetime.max.timestamp()
    return int(boot.split()[1]) + int(fields[19]) / os.sysconf("SC_CLK_TCK")
