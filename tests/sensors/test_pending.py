"""Tickets that nobody works on."""

from datetime import timedelta

import dagster as dg
import pytest

from ampel_dagster.testing import make_alert, write_archive
from sensors import active as active_runs


@pytest.fixture
def platform(make_platform):
    """One alert, whose result is asked for again."""
    return with_a_ticket(make_platform({"A": {}}))


def with_a_ticket(platform):
    file = platform.folder / "landing" / "night.tar.gz"
    write_archive(file, [make_alert(cutouts=False)])
    platform.ingest(file)
    return platform


def active(platform, job, status=dg.DagsterRunStatus.STARTED):
    """A run that is said to be in this state."""
    config = {"ops": {"ingest_packets": {"config": {"survey": "ztf", "paths": []}}}} if job == "ingest" else {}
    return platform.history.create_run_for_job(platform.defs.resolve_job_def(job), run_config=config, status=status)


class TestPending:
    def test_nothing_to_do(self, platform, look):
        assert look(platform, "pending_tickets")[2] == "no ticket is pending"

    def test_tickets_that_were_reset(self, platform, look):
        platform.ztf.tickets.reset({})
        (request,), _, _ = look(platform, "pending_tickets")
        assert request.tags == {"ampel/pending": "ztf/summary: 1"}
        platform.run("augment")
        assert look(platform, "pending_tickets")[0] == []
        assert platform.counts()["ztf"]["t2"] == {"summary": {"0": 1}}

    @pytest.mark.parametrize(("lease_s", "requests"), [(-1.0, 1), (3600.0, 0)])
    def test_tickets_of_a_dead_worker(self, platform, look, lease_s, requests):
        """They are taken up when their lease has run out, not before."""
        platform.ztf.tickets.reset({})
        platform.ztf.tickets.claim(platform.config.products["summary"].id, "dead", 10, lease_s, {})
        assert len(look(platform, "pending_tickets")[0]) == requests

    @pytest.mark.parametrize(
        ("job", "status"), [("ingest", "STARTED"), ("augment", "NOT_STARTED"), ("reprocess", "STARTING")]
    )
    def test_a_run_is_at_it(self, platform, look, job, status):
        platform.ztf.tickets.reset({})
        active(platform, job, dg.DagsterRunStatus[status])
        requests, _, reason = look(platform, "pending_tickets")
        assert (requests, reason) == ([], f"a run of {job} is at it")

    @pytest.mark.parametrize(("job", "requests"), [("ingest", 1), ("augment", 0)])
    def test_several_workers_help_a_run_that_ingests(self, make_platform, look, job, requests):
        workers = {"workers": 2, "executor": "multiprocess"}
        platform = with_a_ticket(make_platform({"A": {}}, {"workers.yaml": workers}))
        platform.ztf.tickets.reset({})
        active(platform, job)
        assert len(look(platform, "pending_tickets")[0]) == requests

    def test_assets_that_are_made_from_the_ui(self, platform, look):
        platform.ztf.tickets.reset({})
        job = platform.defs.resolve_implicit_global_asset_job_def()
        platform.history.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)
        assert look(platform, "pending_tickets")[2] == "a run of __ASSET_JOB is at it"

    @pytest.mark.parametrize(("job", "status"), [("react", "STARTED"), ("ingest", "SUCCESS"), ("augment", "FAILURE")])
    def test_runs_that_are_not_at_it(self, platform, look, job, status):
        platform.ztf.tickets.reset({})
        active(platform, job, dg.DagsterRunStatus[status])
        assert len(look(platform, "pending_tickets")[0]) == 1

    def test_a_run_listens(self, platform, look):
        """It takes up the tickets of its survey itself; many are open for a moment all the time."""
        platform.ztf.tickets.reset({})
        platform.store.listeners.beat("ztf", "listener", 60)
        assert look(platform, "pending_tickets")[2] == "no ticket is pending"
        platform.store.listeners.leave("ztf", "listener")
        assert len(look(platform, "pending_tickets")[0]) == 1

    def test_run_that_was_killed(self, platform, look, monkeypatch):
        """Nobody records its end: it must not keep tickets waiting for ever."""
        platform.ztf.tickets.reset({})
        active(platform, "augment")
        monkeypatch.setattr(active_runs, "FORGET_AFTER", timedelta(0))
        assert len(look(platform, "pending_tickets")[0]) == 1
