"""What a piece of work costs: time, CPU of this process and of mongod apart, memory above the idle process."""

import cProfile
import gc
import os
import pstats
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import psutil

_PROC = Path("/proc/self")


class Meter:
    """Measures work in this process beside one mongod."""

    def __init__(self, mongod_pid: int, profile: Path | None = None) -> None:
        self._mongod = psutil.Process(mongod_pid)
        self._profile = profile

    def measure(self, work: Callable[[], int]) -> dict[str, Any]:
        """Do the work, which returns the number of items; return figures."""
        gc.collect()
        idle = _resident_mb()
        _forget_peak()
        machine, mongod, cpu, clock = _machine_cpu_s(), self._mongod_cpu_s(), process_time(), perf_counter()
        n = self._profiled(work) if self._profile else work()
        wall = perf_counter() - clock
        cpu = process_time() - cpu
        mongod = self._mongod_cpu_s() - mongod
        other = max(_machine_cpu_s() - machine - cpu - mongod, 0.0)
        return {
            "n": n,
            "wall_s": round(wall, 4),
            "rate": round(n / wall, 2),
            "cpu_py_s": round(cpu, 4),
            "cpu_mongod_s": round(mongod, 3),
            # CPU seconds that anything else on the machine used meanwhile: above zero means a disturbed run.
            "cpu_other_s": round(other, 2),
            "rss_idle_mb": round(idle),
            "rss_py_mb": round(_peak_mb()),
            "rss_above_idle_mb": round(_peak_mb() - idle),
            "rss_mongod_mb": round(self._mongod.memory_info().rss / 1e6),
            "load1": round(os.getloadavg()[0], 2),
        }

    def _profiled(self, work: Callable[[], int]) -> int:
        profiler = cProfile.Profile()
        n = profiler.runcall(work)
        assert self._profile is not None
        with self._profile.open("w") as file:
            for key in ("tottime", "cumulative"):
                pstats.Stats(profiler, stream=file).sort_stats(key).print_stats(60)
        return n

    def _mongod_cpu_s(self) -> float:
        times = self._mongod.cpu_times()
        return times.user + times.system


def _machine_cpu_s() -> float:
    times = psutil.cpu_times()
    return times.user + times.system + sum(getattr(times, kind, 0.0) for kind in ("nice", "irq", "softirq"))


def _resident_mb() -> float:
    return psutil.Process().memory_info().rss / 1e6


def _forget_peak() -> None:
    """Let the peak begin anew; elsewhere than on Linux it remains that of the whole life of the process."""
    if (_PROC / "clear_refs").exists():
        (_PROC / "clear_refs").write_text("5")


def _peak_mb() -> float:
    status = _PROC / "status"
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024 / 1e6
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6
