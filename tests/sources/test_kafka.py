"""Exactly the packets of a range are read, over the real protocol; what cannot be read is an error within its time."""

import logging
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ampel_dagster.model.errors import SourceError
from ampel_dagster.model.offsets import OffsetRange, Partition
from ampel_dagster.model.stream import Kafka
from ampel_dagster.sources.kafka import KafkaSource
from tests.kafka_broker import Broker, closed_port

ZERO = Partition("alerts", 0)
FIRST_MS = 1_700_000_000_000
PACKETS = [f"packet {n}".encode() for n in range(40)]


@pytest.fixture(scope="module")
def broker():
    broker = Broker()
    broker.send(PACKETS, partition=0, first_ms=FIRST_MS)
    broker.send_in_transactions([[b"a", b"b"], [b"c"]])
    return broker


@pytest.fixture
def source(broker, tmp_path):
    with KafkaSource(Kafka(**broker.settings()), tmp_path) as source:
        yield source


@pytest.fixture
def impatient(broker, tmp_path):
    with KafkaSource(Kafka(**broker.settings(timeout_s=0.3)), tmp_path) as source:
        yield source


def read(source, first, end, topic="alerts"):
    return list(source.read(OffsetRange(Partition(topic, 0), 0, first, end)))


class TestRanges:
    @given(st.lists(st.integers(0, len(PACKETS)), max_size=6))
    @settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    def test_any_cut_gives_each_packet_once(self, source, cuts):
        edges = sorted({0, *cuts, len(PACKETS)})
        packets = [packet for first, end in pairwise(edges) for packet in read(source, first, end)]
        assert [packet.data for packet in packets] == PACKETS
        assert [packet.offset for packet in packets] == list(range(len(PACKETS)))

    def test_packets_say_where_they_are_from(self, source):
        (packet,) = read(source, 7, 8)
        assert (packet.source, packet.topic, packet.partition, packet.offset) == ("alerts/0", "alerts", 0, 7)
        assert packet.place == {"topic": "alerts", "partition": 0, "offset": 7}

    @pytest.mark.parametrize(
        ("first", "end", "expected"),
        [
            pytest.param(0, 5, [(0, b"a"), (1, b"b"), (3, b"c")], id="all"),
            pytest.param(0, 3, [(0, b"a"), (1, b"b")], id="ends with a hole"),
            pytest.param(2, 4, [(3, b"c")], id="begins with a hole"),
            pytest.param(2, 3, [], id="nothing but a hole"),
            pytest.param(4, 5, [], id="a hole at the end of the partition"),
        ],
    )
    def test_offsets_that_do_not_exist(self, source, first, end, expected):
        """Marks of transactions take offsets, and so does what was compacted away."""
        assert [(packet.offset, packet.data) for packet in read(source, first, end, "holes")] == expected

    def test_a_reading_that_is_given_up_disturbs_no_other(self, source):
        begun = source.read(OffsetRange(ZERO, 0, 0, 40))
        assert next(begun).offset == 0
        begun.close()
        assert [packet.offset for packet in read(source, 20, 22)] == [20, 21]


class TestWatermarks:
    def test_of_the_topics_of_the_stream(self, source):
        found = {(*mark.partition, mark.low, mark.high) for mark in source.watermarks()}
        assert found == {("alerts", 0, 0, 40), ("alerts", 1, 0, 0), ("alerts", 2, 0, 0), ("alerts", 3, 0, 0)}

    def test_by_pattern(self, broker, tmp_path):
        kafka = Kafka(**broker.settings(topics=[], pattern="^h.*s$"))
        with KafkaSource(kafka, tmp_path) as source:
            assert {mark.partition.topic for mark in source.watermarks()} == {"holes"}

    def test_of_partitions_that_are_not_there(self, source):
        wanted = [ZERO, Partition("alerts", 17), Partition("absent", 0)]
        assert [mark.partition for mark in source.watermarks(wanted)] == [ZERO]
        # Asking for a topic does not make it.
        assert {mark.partition.topic for mark in source.watermarks([Partition("absent", 0)])} == set()

    def test_oldest_packet(self, source):
        parts = [OffsetRange(ZERO, 0, first, 40) for first in (30, 3)]
        assert source.oldest(parts) == (FIRST_MS + 3) / 1e3
        assert source.oldest([]) is None

    def test_committed_offsets_are_to_be_seen(self, broker, source, tmp_path):
        source.commit({ZERO: 12})
        source.commit({ZERO: 13})
        with KafkaSource(Kafka(**broker.settings()), tmp_path) as other:
            (found,) = other._consumer.committed([other._at(ZERO)], timeout=10)
        assert found.offset == 13


class TestFailures:
    def test_offset_that_is_not_there(self, source):
        with pytest.raises(SourceError, match=r"offset 90 of alerts/0 is gone: it expired, or the topic was made anew"):
            read(source, 90, 95)

    def test_packets_that_do_not_come(self, impatient):
        with pytest.raises(SourceError, match=r"does not answer within 0\.3 s at offset 40 of alerts/0"):
            read(impatient, 38, 45)

    @pytest.mark.parametrize("call", ["watermarks", "read", "commit"])
    def test_nobody_answers(self, tmp_path, call):
        where = closed_port()
        kafka = Kafka(brokers=[where], topics=["alerts"], timeout_s=0.5)
        calls = {
            "watermarks": lambda source: source.watermarks(),
            "read": lambda source: list(source.read(OffsetRange(ZERO, 0, 0, 1))),
            "commit": lambda source: source.commit({ZERO: 1}),
        }
        with KafkaSource(kafka, tmp_path) as source, pytest.raises(SourceError) as raised:
            calls[call](source)
        assert where in str(raised.value)
        assert "\n" not in str(raised.value)


SECRET = "kept-to-myself-4711"


class TestSecrets:
    def kafka(self, **changes):
        login = {"mechanism": "SCRAM-SHA-512", "username_env": "K_USER", "password_env": "K_PASSWORD"}
        return Kafka(brokers=[closed_port()], topics=["a"], timeout_s=0.3, security={**login, **changes})

    @pytest.mark.parametrize(
        ("env", "security", "message"),
        [
            ({"K_USER": "u"}, {}, r"password_env: the variable K_PASSWORD .*is not set; set it"),
            ({"K_USER": "", "K_PASSWORD": "p"}, {}, r"username_env: the variable K_USER .*is not set; set it"),
            (
                {"K_USER": "u"},
                {"password_env": None, "password_file": "absent"},
                r"password_file: .*absent cannot be read \(No such file or directory\); write",
            ),
            (
                {"K_USER": "u"},
                {"password_env": None, "password_file": "empty"},
                r"password_file: .*empty is empty; write",
            ),
        ],
    )
    def test_missing(self, tmp_path, env, security, message):
        (tmp_path / "empty").write_text("\n")
        with pytest.raises(SourceError, match=message):
            KafkaSource(self.kafka(**security), tmp_path, env)

    def test_nowhere_to_be_seen(self, tmp_path, caplog):
        """Not in errors, not in logs, not in what an object shows of itself."""
        (tmp_path / "password").write_text(f"{SECRET}\n")
        kafka = self.kafka(password_env=None, password_file="password", protocol="SASL_PLAINTEXT")
        with caplog.at_level(logging.DEBUG), KafkaSource(kafka, tmp_path, {"K_USER": SECRET}) as source:
            with pytest.raises(SourceError) as raised:
                source.watermarks()
            shown = repr(source) + repr(vars(source)) + repr(kafka) + kafka.model_dump_json()
        error = raised.value
        assert SECRET not in shown + str(error) + repr(error.__cause__) + repr(error.__context__) + caplog.text

    def test_settings_that_the_library_refuses(self, tmp_path):
        kafka = self.kafka(ca_file="absent.pem")
        with pytest.raises(SourceError, match=r"failed while setting up the connection: .*ssl\.ca\.location") as raised:
            KafkaSource(kafka, tmp_path, {"K_USER": "u", "K_PASSWORD": SECRET})
        assert SECRET not in str(raised.value)
