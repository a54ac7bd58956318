"""T2 in processes of their own: a unit that never ends, eats the memory or crashes costs its own document only."""

import multiprocessing
import pickle
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import contextmanager
from typing import Any

from pebble import ProcessExpired, ProcessPool

from ampel_dagster.model.codes import DocumentCode
from ampel_dagster.pipeline.guard import Failure, guarded
from ampel_dagster.pipeline.t2_inputs import Arguments, call
from ampel_dagster.units.base import T2Unit, Tied
from ampel_dagster.units.bound import Limits

_MB = 1 << 20
#: Where a fresh process can be had without copying this one and its threads.
_START = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
#: The unit of a worker process: handed over once, so that what it loads is loaded once. A Failure where that failed.
_unit: Any = None


class Pool:
    """Processes that compute for one unit."""

    def __init__(self, pool: ProcessPool, limits: Limits) -> None:
        self._pool = pool
        self._limits = limits

    def compute(self, jobs: Sequence[tuple[Arguments, Tied]]) -> list[Any | Failure]:
        """What the unit returns or raises for each job, in order."""
        started = [self._pool.schedule(_compute, args=job, timeout=self._limits.time_limit_s) for job in jobs]
        return [self._answer(future) for future in started]

    def _answer(self, future: "Future[Any]") -> Any | Failure:
        try:
            return future.result()
        except FutureTimeoutError:
            message = f"it took longer than its time limit of {self._limits.time_limit_s:g} s, and was stopped"
            return Failure(message, "")
        except ProcessExpired as died:
            code = died.exitcode
            how = f"by signal {-code}" if code is not None and code < 0 else f"with exit code {code}"
            return Failure(f"the process that computed it died {how}", "", DocumentCode.INTERNAL_ERROR)


@contextmanager
def isolated(unit: T2Unit, limits: Limits) -> Iterator[Pool]:
    """Processes for a unit; they start when they are needed, and end with the block."""
    context = multiprocessing.get_context(_START)
    if _START == "forkserver":
        context.set_forkserver_preload([__name__])
    pool = ProcessPool(
        max_workers=limits.processes,
        context=context,
        initializer=_begin,
        # As bytes: a process that cannot even read its arguments would be started again for ever.
        initargs=(pickle.dumps(unit), limits.memory_limit_mb),
    )
    try:
        yield Pool(pool, limits)
        pool.close()  # type: ignore[no-untyped-call]
    finally:
        pool.stop()  # type: ignore[no-untyped-call]
        pool.join()


def _begin(unit: bytes, memory_limit_mb: float | None) -> None:
    global _unit  # noqa: PLW0603  # the one state of a worker process
    _unit = guarded(pickle.loads, unit)  # it comes from the process that started us
    if memory_limit_mb is not None:
        import resource

        # Beyond what the process has already: libraries reserve address space that they never use.
        limit = _address_space() + int(memory_limit_mb * _MB)
        resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))


def _address_space() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:
        pages = int(file.read().split()[0])
    import resource

    return pages * resource.getpagesize()


def _compute(arguments: Arguments, tied: Tied) -> Any:
    if isinstance(_unit, Failure):
        return _unit._replace(message=f"the unit cannot be loaded in another process: {_unit.message}")
    return guarded(call, _unit, arguments, tied)
