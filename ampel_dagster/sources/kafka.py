"""Packets from Kafka: exactly the offsets that are asked for, by assignment, without joining a consumer group."""

import logging
import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, Self

from ampel_dagster.model.alert import Packet
from ampel_dagster.model.errors import SourceError, UserError
from ampel_dagster.model.offsets import OffsetRange, Partition, Watermark
from ampel_dagster.model.stream import Kafka, Security

if TYPE_CHECKING:
    from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

#: Messages that are asked for at once, and seconds that they are waited for.
_MESSAGES, _WAIT_S = 500, 0.1
#: The library reads ahead, by so much: memory is bounded.
_READ_AHEAD_KB = 16_384
#: The library's own log; whoever configures logging sees it.
_LOG = logging.getLogger("ampel_dagster.kafka")
_LOG.addHandler(logging.NullHandler())


class KafkaSource:
    """The topics of one stream. Every method may raise SourceError; none waits longer than `timeout_s`."""

    def __init__(self, kafka: Kafka, folder: Path, env: Mapping[str, str] = os.environ) -> None:
        self._kafka = kafka
        self._where = ", ".join(kafka.brokers)
        self._complaint, self._committed = "", False
        settings = {**_settings(kafka), **_security(kafka.security, folder, env)}
        with self._errors("setting up the connection"):
            calls = {"error_cb": self._remember, "on_commit": self._on_commit}
            self._consumer: Consumer = _library().Consumer({**settings, **calls}, logger=_LOG)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._consumer.close()

    def watermarks(self, wanted: Collection[Partition] | None = None) -> list[Watermark]:
        """What the brokers hold of the stream's partitions, or of those that are wanted; of absent ones nothing."""
        with self._errors("asking for its topics"):
            # Of all topics: to ask for one by name may create it.
            cluster = self._consumer.list_topics(timeout=self._kafka.timeout_s)
        names = {partition.topic for partition in wanted} if wanted is not None else None
        found = []
        for name, topic in sorted(cluster.topics.items()):
            if (not self._kafka.wants(name)) if names is None else (name not in names):
                continue
            if topic.error is not None:
                raise SourceError(f"kafka at {self._where} refuses topic {name}: {topic.error.str()}")
            partitions = [Partition(name, number) for number in sorted(topic.partitions)]
            found += [p for p in partitions if wanted is None or p in wanted]
        return [Watermark(p, *self._low_high(p), cluster.cluster_id or "") for p in found]

    def look(self, partition: Partition) -> Watermark | None:
        """What the brokers hold of one partition; None where it is not there."""
        return next(iter(self.watermarks([partition])), None)

    def _low_high(self, partition: Partition) -> tuple[int, int]:
        with self._errors(f"asking for the offsets of {partition}"):
            answer = self._consumer.get_watermark_offsets(self._at(partition), timeout=self._kafka.timeout_s)
        if answer is None:
            raise SourceError(self._silence(f"about the offsets of {partition}"))
        low, high = answer
        return max(low, 0), high  # -1001 stands for "not known": an empty partition of some brokers

    def read(self, wanted: OffsetRange) -> Iterator[Packet]:
        """The packets of a range in order: of offsets that do not exist (compacted, aborted) nothing."""
        partition, source = wanted.partition, str(wanted.partition)
        for message in self._messages(partition, wanted.first, wanted.end):
            yield Packet(
                message.value() or b"",
                source,
                message.offset() or 0,
                topic=partition.topic,
                partition=partition.number,
            )

    def oldest(self, waiting: Iterable[OffsetRange]) -> float | None:
        """Time (seconds since 1970) of the oldest among the first packets of some ranges; None where none has one."""
        times = []
        for part in waiting:
            for message in islice(self._messages(part.partition, part.first, part.end, at_once=1), 1):
                kind, milliseconds = message.timestamp()
                if kind:
                    times.append(milliseconds / 1e3)
        return min(times, default=None)

    def commit(self, positions: Mapping[Partition, int]) -> None:
        """Tell the brokers how far the group is. For people who look there: nothing here depends on it."""
        if positions:
            offsets = [self._at(partition, offset) for partition, offset in sorted(positions.items())]
            self._committed, since = False, monotonic()
            with self._errors("committing offsets"):
                # Not the synchronous way, which waits for an absent broker as long as it likes.
                self._consumer.commit(offsets=offsets, asynchronous=True)
                while not self._committed:
                    self._consumer.poll(_WAIT_S / 10)
                    if monotonic() - since > self._kafka.timeout_s:
                        raise SourceError(self._silence("about committed offsets"))

    def _on_commit(self, error: "KafkaError | None", _: object) -> None:
        self._committed = True
        if error is not None:
            self._remember(error)

    def _messages(self, partition: Partition, first: int, end: int, at_once: int = _MESSAGES) -> Iterator["Message"]:
        """Messages of [first, end); ends by the first that lies beyond, or by the end of the partition."""
        kafka, position, silent_since = _library(), first, monotonic()
        with self._errors(f"reading {partition}"):
            self._consumer.assign([self._at(partition, first)])
        try:
            while position < end:
                with self._errors(f"reading {partition} at offset {position}"):
                    messages = self._consumer.consume(min(at_once, end - position), timeout=_WAIT_S)
                for message in messages:
                    error = message.error()
                    if error is None:
                        position = (message.offset() or 0) + 1
                        if position <= end:
                            yield message
                    elif error.code() == kafka.KafkaError._PARTITION_EOF:
                        position = max(position, message.offset() or 0)
                    else:
                        self._look_at(error, partition, position)
                if any(message.error() is None for message in messages):
                    silent_since = monotonic()
                elif monotonic() - silent_since > self._kafka.timeout_s:
                    raise SourceError(self._silence(f"at offset {position} of {partition} (wanted: up to {end})"))
        finally:
            self._consumer.unassign()

    def _look_at(self, error: "KafkaError", partition: Partition, position: int) -> None:
        """Raise what ends a reading; the library repeats by itself what may go by."""
        codes = _library().KafkaError
        if error.code() in (codes._AUTO_OFFSET_RESET, codes.OFFSET_OUT_OF_RANGE):
            raise SourceError(f"offset {position} of {partition} is gone: it expired, or the topic was made anew")
        if error.fatal() or error.code() in (codes.TOPIC_AUTHORIZATION_FAILED, codes.UNKNOWN_TOPIC_OR_PART):
            raise SourceError(f"kafka at {self._where} refuses to read {partition}: {error.str()}")
        self._remember(error)

    def _at(self, partition: Partition, offset: int = -1001) -> "TopicPartition":
        found: TopicPartition = _library().TopicPartition(partition.topic, partition.number, offset)
        return found

    def _remember(self, error: "KafkaError") -> None:
        self._complaint = error.str()

    def _silence(self, about: str) -> str:
        why = f" ({self._complaint})" if self._complaint else ""
        return f"kafka at {self._where} does not answer within {self._kafka.timeout_s:g} s {about}{why}"

    @contextmanager
    def _errors(self, doing: str) -> Iterator[None]:
        """Turn what the library raises into a SourceError that says what was being done."""
        try:
            yield
        except _library().KafkaException as error:
            found = error.args[0]
            said = found.str() if hasattr(found, "str") else str(found)
            if hasattr(self, "_consumer"):
                self._consumer.poll(0)  # what the library found out meanwhile
            why = f" ({self._complaint})" if self._complaint and self._complaint not in said else ""
            message = f"kafka at {self._where} failed while {doing}: {said}{why}; see kafka: in streams/"
            raise SourceError(message) from None


def _library() -> Any:
    try:
        import confluent_kafka
    except ModuleNotFoundError:
        raise UserError("Kafka needs a library that is not installed; pip install 'ampel-dagster[kafka]'") from None
    return confluent_kafka


def _settings(kafka: Kafka) -> dict[str, Any]:
    return {
        "bootstrap.servers": ",".join(kafka.brokers),
        "client.id": "ampel-dagster",
        "group.id": kafka.group,
        # No group is joined; by this long the library waits for a coordinator before it gives up a commit.
        "session.timeout.ms": 2000,
        "heartbeat.interval.ms": 1000,
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        # Where an offset is gone we want to know it, and not to be put somewhere else.
        "auto.offset.reset": "error",
        "enable.partition.eof": True,
        "isolation.level": "read_committed",
        # What is asked for is there: a broker that waits for more would only keep the next partition waiting.
        "fetch.wait.max.ms": 5,
        "queued.max.messages.kbytes": _READ_AHEAD_KB,
    }


def _security(security: Security | None, folder: Path, env: Mapping[str, str]) -> dict[str, str]:
    """Settings of the library with the secrets in them: to be handed on at once, and kept nowhere."""
    if security is None:
        return {}
    found = {
        "security.protocol": security.protocol,
        "sasl.mechanism": security.mechanism,
        "sasl.username": _secret("username", security, folder, env),
        "sasl.password": _secret("password", security, folder, env),
        "ssl.ca.location": _path(security.ca_file, folder),
        "ssl.certificate.location": _path(security.certificate_file, folder),
        "ssl.key.location": _path(security.key_file, folder),
        "ssl.key.password": _secret("key_password", security, folder, env),
    }
    return {name: value for name, value in found.items() if value is not None}


def _secret(name: str, security: Security, folder: Path, env: Mapping[str, str]) -> str | None:
    """A secret by where it is said to be, or None where none is asked for. Raises SourceError."""
    variable, file = getattr(security, f"{name}_env"), getattr(security, f"{name}_file")
    if variable is not None:
        if not env.get(variable):
            raise SourceError(
                f"kafka.security.{name}_env: the variable {variable} of the environment is not set; set it"
            )
        return env[variable]
    if file is None:
        return None
    path = folder / Path(file).expanduser()
    try:
        value = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "no text"
        raise SourceError(
            f"kafka.security.{name}_file: {path} cannot be read ({why}); write the secret there"
        ) from None
    if not value:
        raise SourceError(f"kafka.security.{name}_file: {path} is empty; write the secret there")
    return value


def _path(file: str | None, folder: Path) -> str | None:
    return None if file is None else str(folder / Path(file).expanduser())
