"""The commands `listen` and `offsets`: what they say, and how they end."""

import json
import sys

import pytest
from click.testing import CliRunner

from ampel_dagster.cli import main
from ampel_dagster.model.offsets import Partition, Watermark
from ampel_dagster.model.run import RunInfo
from ampel_dagster.pipeline.ranges import plan
from ampel_dagster.testing import encode_packet, make_alert
from tests.conftest import SMALL_INSTANCE
from tests.kafka_broker import Broker, closed_port

FIRST_MS = 1_700_000_000_000


@pytest.fixture
def broker():
    return Broker()


@pytest.fixture
def make(make_platform):
    def make(channels=("A",), **kafka):
        stream = dict(SMALL_INSTANCE["streams/ztf.yaml"]) | ({"kafka": kafka} if kafka else {})
        return make_platform({name: {} for name in channels}, {"streams/ztf.yaml": stream})

    return make


def call(platform, *args):
    """(exit code, stdout, stderr) of a command."""
    with platform.entered(), pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGSTER_HOME", "")
        patch.delitem(sys.modules, "ampel_dagster.definitions", raising=False)
        found = CliRunner().invoke(main, list(args))
    assert found.exception is None or isinstance(found.exception, SystemExit), found.exception
    return found.exit_code, found.stdout, found.stderr


def packets(number):
    """Packets of different objects."""
    letters = enumerate("abcdefghij"[:number])
    return [encode_packet(make_alert(name=f"ZTF18aaaaaa{c}", tblid=n, cutouts=False)) for n, c in letters]


class TestListen:
    def test_once(self, make, broker):
        platform = make(**broker.settings())
        broker.send(packets(6))
        code, out, _ = call(platform, "listen", "--once")
        assert (code, out) == (0, "6 packets, 6 new, 0 bad; 6 results, 0 failed\n")
        assert call(platform, "listen", "--once")[1] == "0 packets, 0 new, 0 bad; 0 results, 0 failed\n"

    def test_where_packets_are_from_is_told(self, make, broker):
        platform = make(**broker.settings())
        broker.send(packets(3), partition=2)
        call(platform, "listen", "--once")
        assert "from alerts/2 packet 1; A: accepted" in call(platform, "provenance", "ZTF18aaaaaab")[1]
        assert "alerts/2" in call(platform, "ledger")[1]

    @pytest.mark.parametrize("command", ["listen", "offsets"])
    def test_stream_that_does_not_come_over_kafka(self, make, command):
        code, _, err = call(make(), command)
        assert (code, err) == (
            2,
            "error: the stream of ztf does not come over Kafka; add kafka: to its file in streams/\n",
        )

    def test_no_channel(self, make, broker):
        code, _, err = call(make((), **broker.settings()), "listen", "--once")
        assert (code, err) == (2, "error: no channel asks for ztf; add a block 'ztf:' to a file in channels/\n")

    def test_missing_secret_is_one_line(self, make):
        login = {"mechanism": "PLAIN", "username_env": "K_NOBODY", "password_env": "K_NOTHING"}
        platform = make(brokers=[closed_port()], topics=["alerts"], security=login)
        code, _, err = call(platform, "listen", "--once")
        assert code == 2
        assert err.splitlines()[-1] == (
            "error: kafka.security.username_env: the variable K_NOBODY of the environment is not set; set it"
        )


class TestOffsets:
    def test_how_far_a_stream_is_read(self, make, broker):
        platform = make(**broker.settings())
        broker.send(packets(8), first_ms=FIRST_MS)
        marks = [Watermark(Partition("alerts", 0), 0, 2), Watermark(Partition("gone", 0), 4, 7)]
        meta = RunInfo("planner", 1).meta()
        plan(platform.store.offsets, "ztf", marks, 99, "run", meta, {}.get)
        code, out, _ = call(platform, "offsets", "--json")
        found = json.loads(out)
        assert code == 0
        assert found["partitions"] == {f"alerts/{n}": {"done": 0, "waiting": 2} for n in range(4)}
        assert found["oldest_waiting"] == "2023-11-14T22:13:20+00:00"
        assert sorted(found["planned"]) == ["alerts/0:0-2", "gone/0:4-7"]
        (lost,) = found["lost"]
        assert (lost["topic"], lost["first"], lost["end"], lost["reason"]) == ("gone", 0, 4, "BEFORE_FIRST_LOOK")

    def test_for_people(self, make, broker):
        platform = make(**broker.settings())
        broker.send(packets(8), first_ms=FIRST_MS)
        code, out, _ = call(platform, "offsets")
        assert code == 0
        assert "8 packets wait, the oldest since 2023-11-14 22:13:20 UTC" in out
        call(platform, "listen", "--once")
        assert "wait" not in call(platform, "offsets")[1].replace("waiting", "")

    def test_nobody_answers(self, make):
        where = closed_port()
        code, _, err = call(make(brokers=[where], topics=["alerts"], timeout_s=0.3), "offsets")
        assert code == 2
        (line,) = err.splitlines()
        assert line.startswith(f"error: kafka at {where} failed while asking for its topics: ")
