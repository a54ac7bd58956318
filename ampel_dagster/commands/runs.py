"""Run Dagster jobs in this process, on the instance's own history."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ampel_dagster.commands.session import enter
from ampel_dagster.config.instance import Instance
from ampel_dagster.model.errors import AmpelError, UserError


class RunFailedError(AmpelError):
    """A Dagster run failed; the message says where and why."""


def run_job(
    instance: Instance,
    job: str,
    *,
    config: Mapping[str, Any] | None = None,
    tags: Mapping[str, str] | None = None,
    assets: Sequence[Sequence[str]] | None = None,
) -> str:
    """Run a job to its end; return its run id.

    Raises UserError where that is what ended it, RunFailedError otherwise.
    """
    enter(instance)
    import dagster as dg

    from ampel_dagster.definitions import defs

    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    with dg.DagsterInstance.get() as history:
        result = defs.resolve_job_def(job).execute_in_process(
            run_config={**quiet, **(config or {})},
            instance=history,
            tags=dict(tags or {}),
            raise_on_error=False,
            asset_selection=[dg.AssetKey(list(key)) for key in assets] if assets else None,
        )
    if not result.success:
        raise _failure(job, result)
    return result.run_id


def _failure(job: str, result: Any) -> AmpelError:
    for event in result.all_events:
        if event.is_step_failure:
            error = event.step_failure_data.error
            while error.cause is not None:
                error = error.cause
            name = (error.cls_name or "").rsplit(".", 1)[-1]
            # Dagster puts the name before the message, with or without the module's.
            message = re.sub(rf"^(\w+\.)*{re.escape(name)}: ", "", " ".join(error.message.split()))
            if name in ("UserError", "StorageError", "SourceError", "ConfigError"):
                return UserError(message)
            if name in ("KeyboardInterrupt", "DagsterExecutionInterruptedError"):
                return RunFailedError(f"{job} was interrupted; what it had done is stored, the same again goes on")
            return RunFailedError(f"{job}, step {event.step_key}: {name}: {message} (run {result.run_id})")
    return RunFailedError(f"{job} failed (run {result.run_id}); the Dagster UI shows why: ampel-dagster dev")
