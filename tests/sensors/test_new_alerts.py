"""Files that are dropped into the landing folder: each is taken once, complete, and none is passed over."""

import json
import logging
import os
import shutil
from pathlib import Path

import dagster as dg
import pytest

from ampel_dagster.model.errors import UserError
from ampel_dagster.testing import make_alert, write_archive
from sensors import new_alerts

LONG_AGO = 1_000_000_000


@pytest.fixture
def settled(monkeypatch):
    """Files count as complete at once."""
    monkeypatch.setattr(new_alerts, "SETTLE_S", float("-inf"))


@pytest.fixture(scope="module")
def shared(make_platform):
    return make_platform({"A": {}})


@pytest.fixture
def platform(shared, settled):
    """A platform whose folders are empty."""
    for name in ("landing", "elsewhere"):
        shutil.rmtree(shared.folder / name, ignore_errors=True)
        (shared.folder / name).mkdir()
    return shared


@pytest.fixture
def tick(platform):
    """Goes on when the clock of the file system has: it moves every few milliseconds only."""

    def tick() -> None:
        probe = platform.folder / "probe"
        probe.touch()
        now_ns = probe.stat().st_ctime_ns
        while probe.stat().st_ctime_ns == now_ns:
            probe.touch()

    return tick


@pytest.fixture
def drop(platform, tick):
    """Drops a file into the landing folder."""

    def drop(name: str) -> Path:
        tick()
        path = platform.folder / "landing" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"packet")
        return path

    return drop


@pytest.fixture
def take(platform, look, tick):
    """Names of the files that a look takes, and its cursor."""

    def take(cursor=None):
        tick()  # as it is where files have to settle first
        requests, cursor, _ = look(platform, "new_ztf_alerts", cursor)
        paths = [path for request in requests for path in _config(request)["paths"]]
        return [os.path.relpath(path, platform.folder / "landing") for path in paths], cursor

    return take


def _config(request):
    return request.run_config["ops"]["ingest_packets"]["config"]


class TestWhatIsTaken:
    def test_one_run_for_all_that_is_new(self, platform, drop, look):
        paths = [str(drop(name)) for name in ("b.tar.gz", "a.avro", "c.tgz", "d.tar")]
        (request,), cursor, _ = look(platform, "new_ztf_alerts")
        assert _config(request) == {"survey": "ztf", "paths": paths}
        assert request.tags == {"ampel/mode": "live", "ampel/files": "b.tar.gz, a.avro, c.tgz, d.tar"}
        arrived_ns, name = json.loads(cursor)
        assert name == "d.tar"
        assert request.run_key == f"ztf:{arrived_ns}:d.tar:4"

    def test_same_look_twice(self, platform, drop, look):
        drop("a.avro")
        _, cursor, _ = look(platform, "new_ztf_alerts")
        requests, again, reason = look(platform, "new_ztf_alerts", cursor)
        assert (requests, again) == ([], cursor)
        assert reason.startswith("nothing new in ")

    def test_lost_cursor_asks_for_the_same_run(self, platform, drop, look):
        """A look that was not recorded is repeated with the same key, and a run key never runs twice."""
        drop("a.avro")
        (first,), _, _ = look(platform, "new_ztf_alerts")
        (second,), _, _ = look(platform, "new_ztf_alerts")
        assert first.run_key == second.run_key

    def test_later_file_with_a_smaller_name(self, drop, take):
        drop("z.avro")
        _, cursor = take()
        drop("a.avro")
        assert take(cursor)[0] == ["a.avro"]

    def test_file_that_was_written_again(self, drop, take):
        drop("a.avro")
        _, cursor = take()
        drop("a.avro").write_bytes(b"another packet")
        assert take(cursor)[0] == ["a.avro"]

    def test_same_time_different_name(self, drop, take):
        """Two files of one moment are told apart by name."""
        path = drop("b.avro")
        os.link(path, path.with_name("c.avro"))
        names, _ = take(json.dumps([path.stat().st_ctime_ns, "b.avro"]))
        assert names == ["c.avro"]

    @pytest.mark.parametrize(
        "name", [".a.avro", ".a.tar.gz.123.part", "notes.txt", "a.avro.part", ".partial/a.avro", "n/.b/c.avro"]
    )
    def test_not_an_alert_file(self, drop, take, name):
        drop(name)
        assert take() == ([], None)

    def test_folders_are_searched_in_depth(self, drop, take):
        drop("2018/08/19/a.avro")
        (platform_folder := drop("x").parent).joinpath("folder.avro").mkdir()
        assert take()[0] == ["2018/08/19/a.avro"]
        assert platform_folder.joinpath("folder.avro").is_dir()

    def test_link_to_nothing(self, platform, take):
        (platform.folder / "landing" / "a.avro").symlink_to("absent.avro")
        assert take() == ([], None)


class TestOldContent:
    """What is moved or linked into the folder keeps the time of its content."""

    @pytest.fixture
    def elsewhere(self, platform):
        folder = platform.folder / "elsewhere"
        (folder / "old.avro").write_bytes(b"packet")
        os.utime(folder / "old.avro", (LONG_AGO, LONG_AGO))
        return folder

    @pytest.fixture
    def cursor(self, drop, take):
        drop("new.avro")
        return take()[1]

    def test_file_that_is_moved_here(self, platform, elsewhere, cursor, take):
        (elsewhere / "old.avro").rename(platform.folder / "landing" / "old.avro")
        assert take(cursor)[0] == ["old.avro"]

    def test_copy_that_keeps_its_time(self, platform, elsewhere, cursor, take):
        shutil.copy2(elsewhere / "old.avro", platform.folder / "landing")
        assert take(cursor)[0] == ["old.avro"]

    def test_link(self, platform, elsewhere, cursor, take):
        (platform.folder / "landing" / "link.avro").symlink_to(elsewhere / "old.avro")
        assert take(cursor)[0] == ["link.avro"]

    def test_folder_that_is_moved_here(self, platform, elsewhere, cursor, take):
        (platform.folder / "landing" / "nights").mkdir()
        elsewhere.rename(platform.folder / "landing" / "nights" / "2018")
        names, cursor = take(cursor)
        assert names == ["nights/2018/old.avro"]
        assert take(cursor)[0] == []

    def test_folder_that_gets_one_more_file(self, drop, take):
        """What was taken from it before is not taken again."""
        drop("n/a.avro")
        _, cursor = take()
        drop("n/b.avro")
        assert take(cursor)[0] == ["n/b.avro"]

    def test_archive_that_is_renamed_into_place(self, platform, cursor, take):
        write_archive(platform.folder / "landing" / "night.tar.gz", [make_alert(cutouts=False)])
        assert take(cursor)[0] == ["night.tar.gz"]


class TestSettling:
    def test_file_that_may_still_be_written_waits(self, drop, take, monkeypatch):
        drop("a.avro")
        monkeypatch.setattr(new_alerts, "SETTLE_S", 3600.0)
        assert take() == ([], None)
        monkeypatch.setattr(new_alerts, "SETTLE_S", float("-inf"))
        assert take()[0] == ["a.avro"]

    def test_old_time_of_content_does_not_make_it_complete(self, drop, take, monkeypatch):
        """Download programs set the time of the original when they are done, others from the start."""
        path = drop("a.avro")
        os.utime(path, (LONG_AGO, LONG_AGO))
        monkeypatch.setattr(new_alerts, "SETTLE_S", 3600.0)
        assert take() == ([], None)

    def test_nothing_that_waits_is_passed_over(self, drop, take, monkeypatch):
        """The cursor never goes beyond a file that is still being written."""
        first, second = drop("a.avro"), drop("b.avro")
        between = (first.stat().st_ctime_ns + second.stat().st_ctime_ns) / 2e9
        monkeypatch.setattr(new_alerts, "time", lambda: between)
        monkeypatch.setattr(new_alerts, "SETTLE_S", 0.0)
        names, cursor = take()
        assert names == ["a.avro"]
        monkeypatch.setattr(new_alerts, "SETTLE_S", float("-inf"))
        assert take(cursor)[0] == ["b.avro"]


class TestManyFiles:
    def test_are_taken_in_portions(self, drop, take, monkeypatch):
        monkeypatch.setattr(new_alerts, "MAX_FILES_PER_RUN", 3)
        for number in (5, 3, 1, 4, 2, 0, 6):
            drop(f"{number}.avro")
        portions, cursor = [], None
        for _ in range(4):
            names, cursor = take(cursor)
            portions.append(names)
        assert [len(names) for names in portions] == [3, 3, 1, 0]
        assert sorted(name for names in portions for name in names) == [f"{number}.avro" for number in range(7)]


class TestEndToEnd:
    def test_requested_run_ingests_the_files(self, platform, look):
        write_archive(platform.folder / "landing" / "night.tar.gz", [make_alert(cutouts=False)])
        (request,), _, _ = look(platform, "new_ztf_alerts")
        platform.run(request.job_name or "ingest", request.run_config, tags=request.tags)
        assert platform.counts()["ztf"]["alert"] == 1
        assert platform.materialized("ztf", "t0")[0][0] == "A|2018-08-19"

    def test_file_that_is_gone_when_the_run_starts(self, make_platform, settled, look):
        """It is said, and costs the other files of the run nothing."""
        platform = make_platform({"A": {}})
        for number, name in enumerate(("a.tar.gz", "b.tar.gz")):
            write_archive(platform.folder / "landing" / name, [make_alert(tblid=number + 1, cutouts=False)])
        (request,), _, _ = look(platform, "new_ztf_alerts")
        (platform.folder / "landing" / "a.tar.gz").unlink()
        result = platform.run("ingest", request.run_config)
        assert platform.counts()["ztf"]["alert"] == 1
        (warning,) = [e for e in platform.history.all_logs(result.run_id) if e.level == logging.WARNING]
        assert warning.message.startswith("1 of 2 files are gone: ")
        (platform.folder / "landing" / "b.tar.gz").unlink()
        with pytest.raises(UserError, match=r"a\.tar\.gz: no such file or folder"):
            platform.run("ingest", request.run_config)

    def test_no_landing_folder(self, platform, look):
        (platform.folder / "landing").rmdir()
        assert look(platform, "new_ztf_alerts")[2].startswith("there is no folder ")

    def test_stream_without_landing(self, make_platform):
        platform = make_platform({"A": {}}, {"streams/ztf.yaml": {"survey": "ztf", "start_date": "2018-01-01"}})
        assert {sensor.name for sensor in platform.defs.sensors} == {
            "t3_reactions",
            "t3_overdue",
            "pending_tickets",
            "dead_runs",
        }

    def test_sensor_belongs_to_the_job(self, platform):
        sensor = next(sensor for sensor in platform.defs.sensors if sensor.name == "new_ztf_alerts")
        assert [target.job_name for target in sensor.targets] == ["ingest"]
        assert sensor.default_status == dg.DefaultSensorStatus.RUNNING
