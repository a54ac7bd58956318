"""Ranges of a Kafka stream: each is asked for once, a failed one again and as it was, and nothing hangs on a cursor."""

import json
from datetime import timedelta

import dagster as dg
import pytest

from ampel_dagster.model.errors import SourceError
from ampel_dagster.model.run import RunInfo, utc_now
from ampel_dagster.testing import encode_packet, make_alert
from sensors import kafka
from tests.conftest import SMALL_INSTANCE
from tests.kafka_broker import PARTITIONS, Broker, closed_port

SENSOR = "ztf_kafka"


def stars(number, first=0):
    """Packets of different alerts."""
    return [
        encode_packet(make_alert(jd=2458349.7 + n * 1e-3, tblid=n + 1, cutouts=False))
        for n in range(first, first + number)
    ]


def stream(**kafka_):
    return {"streams/ztf.yaml": {**SMALL_INSTANCE["streams/ztf.yaml"], "kafka": kafka_}}


@pytest.fixture
def broker():
    return Broker()


@pytest.fixture
def make(make_platform, broker):
    def make(**more):
        return make_platform({"A": {}}, stream(**broker.settings(**more)))

    return make


def ranges(request):
    return request.run_config["ops"]["ingest_packets"]["config"]["ranges"]


def start(platform, request, **more):
    """Run what a look asked for, as the daemon would."""
    tags = {**request.tags, "dagster/run_key": request.run_key}
    return platform.run("ingest", request.run_config, tags=tags, raise_on_error=False, **more)


class TestPlanning:
    def test_one_run_for_all_partitions(self, make, broker, look):
        platform = make()
        broker.send(stars(10))
        (request,), _, _ = look(platform, SENSOR)
        assert ranges(request) == ["alerts/0:0-3", "alerts/1:0-3", "alerts/2:0-2", "alerts/3:0-2"]
        group = request.tags["ampel/group"]
        assert request.tags == {
            "ampel/mode": "live",
            "ampel/group": group,
            "ampel/survey": "ztf",
            "ampel/ranges": ", ".join(ranges(request)),
        }
        assert request.run_key == f"ztf:{group}:1"

    def test_the_same_look_twice(self, make, broker, look):
        """A look that was not recorded is repeated with the same key, and a run key never runs twice."""
        platform = make()
        broker.send(stars(10))
        (first,), _, _ = look(platform, SENSOR)
        (second,), _, _ = look(platform, SENSOR)
        assert (first.run_key, first.run_config) == (second.run_key, second.run_config)

    def test_nothing_new(self, make, broker, look):
        platform = make()
        broker.send(stars(4))
        (request,), _, _ = look(platform, SENSOR)
        assert start(platform, request).success
        assert look(platform, SENSOR) == ([], None, "nothing new for ztf")

    def test_runs_are_bounded_in_size_and_number(self, make, broker, look, monkeypatch):
        monkeypatch.setattr(kafka, "MAX_GROUPS", 3)
        platform = make(max_packets_per_run=8)
        broker.send(stars(40))
        requests, _, _ = look(platform, SENSOR)
        assert [ranges(r)[0] for r in requests] == ["alerts/0:0-2", "alerts/0:2-4", "alerts/0:4-6"]
        for request in requests[:2]:
            assert start(platform, request).success
        more = [request for request in look(platform, SENSOR)[0] if request.run_key != requests[2].run_key]
        assert [ranges(r)[0] for r in more] == ["alerts/0:6-8", "alerts/0:8-10"]

    def test_nobody_answers(self, make_platform, look):
        where = closed_port()
        platform = make_platform({"A": {}}, stream(brokers=[where], topics=["alerts"], timeout_s=0.3))
        with pytest.raises(SourceError, match=f"kafka at {where} failed while asking for its topics"):
            look(platform, SENSOR)

    def test_while_a_run_listens_nothing_is_planned(self, make, broker, look):
        platform = make()
        broker.send(stars(4))
        platform.store.listeners.beat("ztf", "the listener", 60)
        assert look(platform, SENSOR) == ([], None, "run the listener listens to ztf")


class TestAgain:
    @pytest.fixture
    def failing(self, make, broker, look, monkeypatch):
        """A platform whose run over a group has failed, and the request for it."""
        monkeypatch.setattr(kafka, "RETRY_AFTER_S", 0.0)
        platform = make(timeout_s=0.3)
        broker.send(stars(8))
        (request,), _, _ = look(platform, SENSOR)
        with monkeypatch.context() as patch:
            patch.setattr("assets.kafka.KafkaSource", _Broken)
            assert not start(platform, request).success
        return platform, request

    def test_a_failed_range_is_asked_for_again_as_it_was(self, failing, broker, look):
        platform, first = failing
        broker.send(stars(4, first=8))
        again, new = look(platform, SENSOR)[0]
        assert ranges(again) == ranges(first) == [f"alerts/{n}:0-2" for n in range(PARTITIONS)]
        assert ranges(new) == [f"alerts/{n}:2-3" for n in range(PARTITIONS)]
        assert again.tags["ampel/group"] == first.tags["ampel/group"]
        assert (first.run_key[-2:], again.run_key[-2:]) == (":1", ":2")
        assert start(platform, again).success
        assert start(platform, new).success
        assert platform.counts()["ztf"]["alert"] == 12
        assert look(platform, SENSOR)[0] == []

    def test_not_at_once(self, failing, look, monkeypatch):
        """A range that always fails does not fill the queue."""
        platform, _ = failing
        monkeypatch.setattr(kafka, "RETRY_AFTER_S", 3600.0)
        assert look(platform, SENSOR)[0] == []

    def test_a_run_that_dagster_starts_again_by_itself_is_left_alone(self, failing, look):
        platform, _ = failing
        (run,) = platform.history.get_runs()
        platform.history.add_run_tags(run.run_id, {"dagster/will_retry": "true"})
        assert look(platform, SENSOR)[0] == []

    def test_while_its_run_is_active(self, make, broker, look):
        platform = make()
        broker.send(stars(4))
        (request,), _, _ = look(platform, SENSOR)
        job = platform.defs.resolve_job_def("ingest")
        run = platform.history.create_run_for_job(job, run_config=request.run_config, tags=request.tags)
        assert platform.history.get_run_by_id(run.run_id).status == dg.DagsterRunStatus.NOT_STARTED
        assert look(platform, SENSOR)[0] == []

    def test_what_a_dead_listener_left(self, make, broker, look):
        """Its ranges are asked for as they were planned, when it gives no sign of life any more."""
        from ampel_dagster.pipeline.ranges import plan
        from assets.kafka import kafka_source

        platform = make()
        broker.send(stars(4))
        with platform.entered(), kafka_source(platform.config, "ztf") as source:
            meta = RunInfo("dead", 1).meta()
            group = plan(platform.store.offsets, "ztf", source.watermarks(), 99, "listen", meta, source.look).group
        platform.store.listeners.beat("ztf", "dead", 60)
        assert look(platform, SENSOR)[0] == []
        past = utc_now() - timedelta(seconds=1)
        platform.store.listeners.collection.update_one({"_id": "ztf"}, {"$set": {"until": past}})
        (request,), _, _ = look(platform, SENSOR)
        assert request.tags["ampel/group"] == group
        assert start(platform, request).success
        assert platform.counts()["ztf"]["alert"] == 4


class TestRun:
    def test_documents_and_events_say_where_from(self, make, broker, look):
        platform = make()
        broker.send([*stars(7), b"no packet"])
        (request,), _, _ = look(platform, SENSOR)
        assert start(platform, request).success
        places = {tuple(d["source"].items()) for d in platform.ztf.ledger.alert.find()}
        assert places == {(("topic", "alerts"), ("partition", n % 4), ("offset", n // 4)) for n in range(7)}
        (bad,) = platform.store.quarantine.collection.find()
        assert (bad["topic"], bad["partition"], bad["offset"], bad["source"]) == ("alerts", 3, 1, "alerts/3")
        ledger = {row["source"]: row["read"] for row in platform.store.batches.ledger("ztf", [])}
        assert ledger == {f"alerts/{n}": 2 for n in range(4)}
        (run,) = platform.history.get_runs()
        assert run.tags["ampel/ranges"] == request.tags["ampel/ranges"]
        found = _observed(platform)[-1]
        assert (found["lag_packets"], found["lost_offsets"], found["gaps"]) == (0, 0, 0)

    def test_lag_and_oldest_packet(self, make, broker, look):
        platform = make(max_packets_per_run=4)
        broker.send(stars(12), first_ms=1_700_000_000_000)
        request = look(platform, SENSOR)[0][0]
        assert start(platform, request).success
        found = _observed(platform)[-1]
        assert found["lag_packets"] == 8
        assert found["oldest_waiting"] == 1_700_000_000.004
        assert found["oldest_waiting_s"] > 0

    def test_offsets_are_committed_after_the_writes(self, make, broker, look):
        from assets.kafka import kafka_source

        platform = make(group="watched")
        broker.send(stars(8))
        (request,), _, _ = look(platform, SENSOR)
        assert start(platform, request).success
        with platform.entered(), kafka_source(platform.config, "ztf") as source:
            from ampel_dagster.model.offsets import Partition

            wanted = [source._at(Partition("alerts", n)) for n in range(PARTITIONS)]
            assert [found.offset for found in source._consumer.committed(wanted, timeout=10)] == [2, 2, 2, 2]

    def test_losses_are_shown(self, make, broker, look):
        """Planned, then dropped by the broker before the run read them."""
        platform = make()
        broker.send(stars(1), partition=0)
        (request,), _, _ = look(platform, SENSOR)
        broker.send((b"x" * 100_000 for _ in range(120)), partition=0)
        assert start(platform, request).success
        found = _observed(platform)[-1]
        assert (found["lost_offsets"], found["gaps"]) == (1, 1)
        assert "EXPIRED" in found["newest gaps"]
        assert look(platform, SENSOR)[0], "what came after them is planned"
        (planned,) = (row for row in platform.store.offsets.lost("ztf") if row["first"] == 0)
        assert (planned["end"], planned["reason"]) == (1, "EXPIRED")

    def test_range_by_hand(self, make, broker):
        """From the launchpad of the UI: packets that are known already are known."""
        platform = make()
        broker.send(stars(8))
        config = {"ops": {"ingest_packets": {"config": {"survey": "ztf", "ranges": ["alerts/1:0-2"]}}}}
        assert platform.run("ingest", config).success
        assert platform.run("ingest", config).success
        assert platform.counts()["ztf"]["alert"] == 2

    def test_run_without_packets(self, make):
        platform = make()
        with pytest.raises(Exception, match="nothing to ingest: give paths, ranges, or ids of records in quarantine"):
            platform.run("ingest", {"ops": {"ingest_packets": {"config": {"survey": "ztf"}}}})


class TestSecrets:
    SECRET = "kept-to-myself-4711"

    def test_nowhere_to_be_found(self, make_platform, look, monkeypatch, capfd, caplog):
        """Not in the database, run configuration, tags, events, logs or tracebacks."""
        login = {
            "mechanism": "PLAIN",
            "protocol": "SASL_PLAINTEXT",
            "username_env": "K_USER",
            "password_env": "K_PASSWORD",
        }
        files = stream(brokers=[closed_port()], topics=["alerts"], timeout_s=0.3, security=login)
        platform = make_platform({"A": {}}, files)
        monkeypatch.setenv("K_USER", f"user-{self.SECRET}")
        monkeypatch.setenv("K_PASSWORD", self.SECRET)
        with pytest.raises(SourceError) as raised:
            look(platform, SENSOR)
        config = {"ops": {"ingest_packets": {"config": {"survey": "ztf", "ranges": ["alerts/1:0-2"]}}}}
        done = platform.run("ingest", config, raise_on_error=False)
        assert not done.success
        (run,) = platform.history.get_runs()
        said = [str(raised.value), json.dumps(run.run_config), json.dumps(dict(run.tags))]
        said += [str(entry) for entry in platform.history.all_logs(run.run_id)]
        said += [json.dumps(platform.content(), default=str), *capfd.readouterr(), caplog.text]
        assert any("alerts/1" in text for text in said)
        assert self.SECRET not in "".join(said)
        assert "K_PASSWORD" in json.dumps(platform.config.content)


def _observed(platform):
    """Metadata of the observations of the stream as a whole, oldest first."""
    records = platform.history.fetch_observations(dg.AssetKey(["ztf", "alerts"]), limit=100, ascending=True).records
    events = [record.asset_observation for record in records]
    return [{k: v.value for k, v in event.metadata.items()} for event in events if event.partition is None]


class _Broken:
    """Kafka that has just broken down."""

    def __init__(self, *_):
        raise SourceError("kafka has just broken down")
