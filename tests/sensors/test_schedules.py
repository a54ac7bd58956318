"""Processes that run by the clock."""

from datetime import UTC, datetime

import dagster as dg
import pytest

from ampel_dagster.testing import make_alert, write_archive

TABLE = {"units": [{"unit": "TransientTable", "config": {"columns": ["name"]}}]}


@pytest.fixture(scope="module")
def platform(make_platform):
    files = {
        "t3/morning.yaml": {**TABLE, "trigger": {"schedule": "30 8 * * *", "timezone": "Europe/Berlin"}},
        "t3/hourly.yaml": {**TABLE, "trigger": {"schedule": "0 * * * *"}},
        "t3/both.yaml": {**TABLE, "trigger": {"on": "t2", "schedule": "0 0 * * 1"}},
        "t3/by_hand.yaml": TABLE,
        "channels/A.yaml": {"channel": "A", "ztf": {"t2": ["summary"]}, "t3": ["morning", "table"]},
    }
    return make_platform({}, files)


@pytest.fixture(scope="module")
def schedules(platform):
    return {schedule.name: schedule for schedule in platform.defs.schedules}


def test_one_for_each_process_with_a_cron_expression(schedules):
    told = {name: (s.cron_schedule, s.execution_timezone) for name, s in schedules.items()}
    assert told == {
        "morning_schedule": ("30 8 * * *", "Europe/Berlin"),
        "hourly_schedule": ("0 * * * *", "UTC"),
        "both_schedule": ("0 0 * * 1", "UTC"),
    }


def test_they_run_from_the_start(schedules):
    assert {s.default_status for s in schedules.values()} == {dg.DefaultScheduleStatus.RUNNING}
    assert {s.job_name for s in schedules.values()} == {"react"}


def test_what_it_starts_is_that_process(platform, schedules):
    write_archive(platform.folder / "landing" / "night.tar.gz", [make_alert(cutouts=False)])
    platform.ingest(platform.folder / "landing")
    context = dg.build_schedule_context(
        instance=platform.history, scheduled_execution_time=datetime(2018, 8, 19, tzinfo=UTC)
    )
    (request,) = schedules["morning_schedule"].evaluate_tick(context).run_requests
    platform.run("react", request.run_config)
    assert [partition for partition, _ in platform.materialized("t3", "morning")] == ["A|2018-08-19"]
    assert platform.materialized("t3", "table") == []


def test_late_objects_are_completed_each_day(make_platform):
    stream = {"survey": "ztf", "start_date": "2018-08-01", "archive": {"folder": "archive", "pattern": "{night}.tar"}}
    files = {"streams/ztf.yaml": stream}
    platform = make_platform({"LATE": {"history_days": 5}, "PLAIN": {}}, files)
    (schedule,) = (s for s in platform.defs.schedules if s.name.endswith("_history"))
    assert (schedule.job_name, schedule.default_status) == ("ingest", dg.DefaultScheduleStatus.RUNNING)
    day = datetime(2018, 8, 19, 20, tzinfo=UTC)
    context = dg.build_schedule_context(instance=platform.history, scheduled_execution_time=day)
    (request,) = schedule.evaluate_tick(context).run_requests
    assert request.tags["ampel/mode"] == "archive"
    config = request.run_config["ops"]["ingest_packets"]["config"]
    assert config == {"survey": "ztf", "channels": ["LATE"], "complete": ["2018-08-18", "2018-08-19"]}
    platform.run("ingest", request.run_config, tags=request.tags)
