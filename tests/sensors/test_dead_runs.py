"""Runs that were killed with whoever would have noticed."""

import os
import signal
import subprocess
import sys
import time

import dagster as dg
import pytest

from sensors import dead_runs
from sensors.dead_runs import is_alive


def begun(platform, pid, status=dg.DagsterRunStatus.STARTED):
    """A run that a process with this id has begun."""
    run = platform.history.create_run_for_job(platform.defs.resolve_job_def("augment"), status=status)
    platform.history.report_engine_event(
        f"Started process for run (pid: {pid}).", run, dg._core.events.EngineEventData.in_process(pid)
    )
    return run.run_id


def status(platform, run_id):
    return platform.history.get_run_by_id(run_id).status


@pytest.fixture
def gone():
    """Id of a process that was killed."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    process.kill()
    process.wait()
    return process.pid


@pytest.fixture
def platform(make_platform):
    return make_platform({"A": {}})


def test_a_run_whose_process_was_killed_has_failed(platform, look, gone):
    dead, alive = begun(platform, gone), begun(platform, os.getpid())
    assert look(platform, "dead_runs")[2] == f"gone: augment {dead}"
    assert status(platform, dead) == dg.DagsterRunStatus.FAILURE
    assert status(platform, alive) == dg.DagsterRunStatus.STARTED
    assert look(platform, "dead_runs")[2] == "no run's process is gone"
    (message,) = [e.message for e in platform.history.all_logs(dead) if e.dagster_event.is_failure]
    assert message == f"Its process (pid {gone}) is gone: it was killed."


def test_one_that_was_to_be_stopped_too(platform, look, gone):
    dead = begun(platform, gone, dg.DagsterRunStatus.CANCELING)
    look(platform, "dead_runs")
    assert status(platform, dead) == dg.DagsterRunStatus.FAILURE


def test_a_run_that_says_nothing_of_its_process_is_left_alone(platform, look):
    run = platform.history.create_run_for_job(
        platform.defs.resolve_job_def("augment"), status=dg.DagsterRunStatus.STARTED
    )
    assert look(platform, "dead_runs")[2] == "no run's process is gone"
    assert status(platform, run.run_id) == dg.DagsterRunStatus.STARTED


@pytest.mark.skipif(not dead_runs._PROC.joinpath("self").exists(), reason="the system does not tell when it started")
def test_another_process_may_have_the_number_by_now():
    now = time.time()
    assert is_alive(os.getpid(), now)
    assert not is_alive(os.getpid(), now - 7 * 86400)


@pytest.mark.skipif(not dead_runs._PROC.joinpath("self").exists(), reason="the system does not tell of such processes")
def test_a_process_that_nobody_has_waited_for_is_gone():
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    now = time.time()
    assert is_alive(process.pid, now)
    process.send_signal(signal.SIGKILL)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # dead, and still in the table of processes
    assert not is_alive(process.pid, now)
    process.wait()
