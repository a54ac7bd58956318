"""The job `augment` over several workers: which of Dagster's executors brings their steps where.

The number of workers is fixed, as the executor for Dask takes no steps that come up while a run goes on. Nobody deals
out work: each worker claims tickets until there are none left, so that a slow one holds nobody up.
"""

from collections.abc import Mapping
from importlib import import_module
from typing import Any, NamedTuple

import dagster as dg

from ampel_dagster.config.spec import WorkersSpec
from ampel_dagster.model.errors import UserError


class _Place(NamedTuple):
    module: str
    #: What to install; the version belongs to that of Dagster.
    install: str = ""


_EXECUTORS: Mapping[str, _Place] = {
    "in_process": _Place("dagster"),
    "multiprocess": _Place("dagster"),
    "dask": _Place("dagster_dask", "ampel-dagster[dask]"),
    "celery": _Place("dagster_celery", "dagster-celery==0.29.27"),
    "k8s_job": _Place("dagster_k8s", "dagster-k8s==0.29.27"),
}
#: A worker that dies is started anew so often, by executors that notice it; the pause lets mongod or a node come back.
RETRY = dg.RetryPolicy(max_retries=3, delay=1)


def executor_of(spec: WorkersSpec) -> dg.ExecutorDefinition:
    """The executor, configured; Dagster checks its configuration when a run begins.

    Raises UserError where it is not installed.
    """
    module, install = _EXECUTORS[spec.executor]
    try:
        found: Any = getattr(import_module(module), f"{spec.executor}_executor")
    except ImportError as error:
        raise UserError(f"workers.yaml: {spec.executor} is not installed; pip install '{install}'") from error
    configured: dg.ExecutorDefinition = found.configured(spec.config, name=found.name)
    return configured
