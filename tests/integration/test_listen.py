"""A long run that listens: packets to results, reported by interval; it stops when asked, and the next one goes on."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from threading import Event

import dagster as dg
import pytest

from ampel_dagster.model.errors import SourceError, UserError
from ampel_dagster.model.offsets import Partition
from ampel_dagster.pipeline import listen as listening
from ampel_dagster.pipeline.listen import Turn
from ampel_dagster.pipeline.tally import Tally
from ampel_dagster.testing import encode_packet, make_alert
from assets.ops import PROGRESS
from tests.conftest import SMALL_INSTANCE
from tests.kafka_broker import Broker

LONG_AGO = datetime(2018, 1, 1, tzinfo=UTC)


def stars(number, first=0):
    """Packets of different objects."""
    letters = (f"{chr(97 + n // 676)}{chr(97 + n // 26 % 26)}{chr(97 + n % 26)}" for n in range(first, first + number))
    names = (f"ZTF18aaaa{three}" for three in letters)
    return [encode_packet(make_alert(name=name, tblid=n + 1, cutouts=False)) for n, name in enumerate(names, first)]


@pytest.fixture
def broker():
    return Broker()


@pytest.fixture
def platform(make_platform, broker):
    stream = {**SMALL_INSTANCE["streams/ztf.yaml"], "kafka": broker.settings()}
    return make_platform({"A": {}}, {"streams/ztf.yaml": stream})


def run(platform, **config):
    options = {"survey": "ztf", "once": True, **config}
    return platform.run("listen", {"ops": {"listen_to_packets": {"config": options}}}, raise_on_error=False)


def observed(platform):
    records = platform.history.fetch_observations(dg.AssetKey(["ztf", "alerts"]), limit=100, ascending=True).records
    return [{k: v.value for k, v in record.asset_observation.metadata.items()} for record in records]


def result(platform):
    """What the newest run failed with."""
    (run_,) = platform.history.get_runs(limit=1)
    return " ".join(str(entry) for entry in platform.history.all_logs(run_.run_id) if "Error" in str(entry))


class TestJob:
    def test_packets_to_results(self, platform, broker):
        broker.send(stars(10))
        assert run(platform).success
        assert platform.counts()["ztf"]["t2"] == {"summary": {"0": 10}}
        assert platform.store.offsets.waiting("ztf") == {}
        assert platform.store.listeners.alive("ztf") is None

    def test_reports_by_interval_and_not_by_turn(self, platform, broker):
        """One event for each asset and partition, however many turns there were."""
        broker.send(stars(20))
        assert run(platform, packets_per_turn=4).success
        assert len(platform.store.batches.of_run(platform.history.get_runs()[0].run_id, "ingest")) >= 5
        for key in (("ztf", "t0"), ("ztf", "t1"), ("ztf", "t2", "summary")):
            ((partition, found),) = platform.materialized(*key)
            assert (partition, found["dagster/row_count"]) == ("A|2018-08-19", 20)
        (seen,) = observed(platform)
        assert (seen["packets"], seen["lag_packets"], seen["gaps"]) == (20, 0, 0)
        assert seen["packets_per_s"] > 0

    def test_the_next_one_goes_on(self, platform, broker):
        broker.send(stars(6))
        assert run(platform).success
        broker.send(stars(6, first=6))
        assert run(platform).success
        assert platform.counts()["ztf"]["alert"] == 12
        assert [seen["packets"] for seen in observed(platform)] == [6, 6]

    def test_reactions_hear_of_it(self, platform, broker):
        broker.send(stars(3))
        assert run(platform).success
        due = {key for batch in platform.store.batches.collection.find() for key in batch["due"]}
        assert due == {"table|A"}

    def test_no_stream(self, make_platform, broker):
        """A survey that comes in files only has nothing to listen to; the job is there for the other one's sake."""
        platform = make_platform({"A": {}})
        assert not any(job.name == "listen" for job in platform.defs.jobs)


class TestOne:
    """One run listens to a survey at a time."""

    def test_another_one_listens(self, platform, broker, monkeypatch):
        """It gives signs of life while we look."""
        listeners = platform.store.listeners
        listeners.beat("ztf", "other", 60)
        monkeypatch.setattr(Event, "wait", lambda *_: listeners.beat("ztf", "other", 90))
        assert not run(platform).success
        assert "run other listens to ztf already; stop it first" in result(platform)

    def test_a_dead_one_is_waited_for(self, platform, broker):
        broker.send(stars(2))
        platform.store.listeners.beat("ztf", "dead", 0.3)
        assert run(platform).success
        assert platform.counts()["ztf"]["alert"] == 2

    def test_one_that_was_held_up_stops(self, platform, broker, monkeypatch):
        """Another one has taken its place meanwhile."""
        monkeypatch.setattr(listening, "BEAT_S", 0.01)
        stolen = {"run": "other", "until": datetime(2100, 1, 1, tzinfo=UTC)}
        turn = listening.Listener.turn

        def held_up(listener):
            platform.store.listeners.collection.update_one({"_id": "ztf"}, {"$set": stolen})
            while not listener._robbed:
                Event().wait(0.01)
            return turn(listener)

        monkeypatch.setattr(listening.Listener, "turn", held_up)
        assert not run(platform).success
        assert "another run listens to ztf by now" in result(platform)
        assert platform.store.listeners.alive("ztf") == "other"


class Scripted:
    """A listener whose turns go as they are written here."""

    def __init__(self, *turns) -> None:
        self._turns = list(turns)

    def turn(self) -> Turn | None:
        turn = self._turns.pop(0)
        if isinstance(turn, Exception):
            raise turn
        return turn() if isinstance(turn, Callable) else turn


def turn(read):
    tally = Tally()
    tally.counts["read"] = read
    return Turn(tally, Tally(), ())


class TestLoop:
    @pytest.fixture
    def loop(self, monkeypatch):
        """Run a loop over turns; what was reported, and what was warned of."""
        reported, warned = [], []

        def loop(*turns, stop=None, **options):
            monkeypatch.setattr(listening, "PATIENCE_S", 0.0)
            given = {"interval_s": 3600.0, "once": True, **options}
            report = lambda interval: reported.append(interval.ingested.counts["read"])  # noqa: E731
            listening.listen(Scripted(*turns), stop or Event(), report, warned.append, **given)
            return reported, warned

        return loop

    def test_one_report_at_the_end(self, loop):
        assert loop(turn(3), turn(4), None) == ([7], [])

    def test_reports_by_interval(self, loop):
        reported, _ = loop(turn(3), turn(4), None, interval_s=0.0)
        assert (reported[0], sum(reported)) == (3, 7)

    def test_an_outage_is_waited_for_and_told_once(self, loop):
        gone = SourceError("nobody answers")
        assert loop(turn(3), gone, gone, gone, turn(4), None) == ([7], ["nobody answers; it is tried again"])

    def test_what_the_user_must_mend_ends_it(self, loop):
        with pytest.raises(UserError, match="mend it"):
            loop(UserError("mend it"))

    def test_a_turn_is_finished_before_it_stops(self, loop):
        stop = Event()

        def asked_to_stop():
            stop.set()
            return turn(5)

        assert loop(turn(3), asked_to_stop, turn(9), None, stop=stop, once=False) == ([8], [])

    def test_its_time_is_over(self, loop):
        assert loop(turn(3), None, seconds=0.0, once=False) == ([0], [])


class TestProcess:
    """The command, in a process of its own."""

    @pytest.fixture
    def start(self, platform):
        began = []

        def start(*options):
            command = [sys.executable, "-m", "ampel_dagster", "listen", *options]
            env = {**os.environ, **platform.env}
            process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            began.append(process)
            return process

        yield start
        for process in began:
            process.kill()
            process.wait()

    @staticmethod
    def until(process, holds):
        """Wait for something that the process does; it must not end before."""
        waited = Event()
        while not holds():
            assert process.poll() is None, process.communicate()
            waited.wait(0.05)

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_stops_when_asked_and_goes_on(self, platform, broker, start, number):
        broker.send(stars(40))
        process = start()
        alerts = platform.ztf.ledger.alert
        self.until(process, lambda: alerts.count_documents({}) > 0)
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        read = alerts.count_documents({})
        assert f"{read} packets, {read} new, 0 bad; {read} results, 0 failed" in out
        # What was begun is finished: nothing is left planned, and every alert has its result.
        assert platform.store.offsets.waiting("ztf") == {}
        assert platform.store.listeners.alive("ztf") is None
        assert platform.counts()["ztf"]["t2"] == {"summary": {"0": read}}
        broker.send(stars(20, first=40))
        assert start("--once").wait(60) == 0
        assert platform.counts()["ztf"]["t2"] == {"summary": {"0": 60}}
        done = platform.store.offsets.positions("ztf", [Partition("alerts", n) for n in range(4)])
        assert set(done.values()) == {15}

    def test_killed_and_begun_again(self, platform, broker, start):
        """Nothing is lost, and the next one need not be told."""
        broker.send(stars(300))
        process = start()
        self.until(process, lambda: platform.ztf.ledger.alert.count_documents({}) > 0)
        process.kill()
        process.wait()
        # As if the time had passed for which a dead run holds what it has.
        platform.store.listeners.collection.update_many({}, {"$set": {"until": LONG_AGO}})
        held = {"lease": {"$exists": True}}
        platform.ztf.tickets.collection.update_many(held, {"$set": {"lease.until": LONG_AGO}})
        assert start("--once").wait(120) == 0
        counts = platform.counts()["ztf"]
        assert (counts["alert"], counts["t2"]) == (300, {"summary": {"0": 300}})
        assert platform.store.batches.left_open() == []
        ledger = platform.store.batches.ledger("ztf", [])
        assert sum(row["read"] for row in ledger) == 300

    def test_wrong_survey_is_one_line(self, start):
        process = start("--survey", "ztff")
        assert process.communicate()[1] == "error: no survey is called 'ztff'; did you mean ztf?\n"
        assert process.returncode == 2


def test_progress_is_told(platform, broker):
    told = []
    PROGRESS["listen"] = told.append
    try:
        broker.send(stars(5))
        assert run(platform).success
    finally:
        PROGRESS.clear()
    assert [dict(tally.counts).get("read", 0) for tally in told] == [5, 0]
    assert told[1].counts["computed"] == 5
