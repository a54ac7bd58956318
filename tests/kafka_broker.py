"""A broker for tests: the cluster that the Kafka library brings with it, which speaks the real protocol over TCP.

It has four partitions a topic, keeps some 5 MB of each, and lives as long as its producer. Transactions leave offsets
at which nothing can be read, as on a real broker.
"""

import socket
import struct
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from threading import Thread
from typing import Any, Literal

from confluent_kafka import Consumer, Message, Producer, TopicPartition

from ampel_dagster.model.offsets import Partition

#: Partitions of a topic, fixed.
PARTITIONS = 4


class Broker:
    """One broker on loopback, with a producer that talks to it."""

    def __init__(self) -> None:
        mock = {"bootstrap.servers": "none", "test.mock.num.brokers": 1, "log_level": 0}
        self._owner = Producer(mock)
        found = self._owner.list_topics(timeout=10).brokers.values()
        self.brokers = [f"{broker.host}:{broker.port}" for broker in found]

    def settings(self, **more: Any) -> dict[str, Any]:
        """The block `kafka:` of a stream."""
        return {"brokers": self.brokers, "topics": ["alerts"], "timeout_s": 10, **more}

    def send(
        self, packets: Iterable[bytes], partition: int | None = None, topic: str = "alerts", first_ms: int = 0
    ) -> None:
        """Produce packets, into one partition or into all in turn; wait until they are there.

        `first_ms`: time of the first one (milliseconds since 1970; 0: now), the others follow a millisecond apart.
        """
        for n, data in enumerate(packets):
            where = n % PARTITIONS if partition is None else partition
            while True:
                try:
                    self._owner.produce(topic, data, partition=where, timestamp=first_ms and first_ms + n)
                    break
                except BufferError:
                    self._owner.poll(0.1)
        assert self._owner.flush(10) == 0

    def send_in_transactions(self, groups: Iterable[Iterable[bytes]], partition: int = 0, topic: str = "holes") -> None:
        """Produce each group in a transaction: its mark takes an offset of its own, right behind the group."""
        producer = Producer({"bootstrap.servers": ",".join(self.brokers), "transactional.id": "t", "log_level": 0})
        producer.init_transactions(10)
        for group in groups:
            producer.begin_transaction()
            for data in group:
                producer.produce(topic, data, partition=partition)
            assert producer.flush(10) == 0
            producer.commit_transaction(10)

    def messages(self, topic: str) -> list[Message]:
        """All messages of a topic, by partition and in order."""
        settings = {"bootstrap.servers": ",".join(self.brokers), "group.id": "look", "enable.partition.eof": True}
        reader = Consumer({**settings, "log_level": 0})
        if topic not in reader.list_topics(timeout=10).topics:
            return []
        places = [TopicPartition(topic, n) for n in range(PARTITIONS)]
        held = sum(high for _, high in (reader.get_watermark_offsets(place, timeout=10) for place in places))
        reader.assign([TopicPartition(topic, n, 0) for n in range(PARTITIONS)])
        found: list[Message] = []
        while len(found) < held:
            found += [message for message in reader.consume(held, timeout=0.1) if message.error() is None]
        reader.close()
        return sorted(found, key=lambda message: (message.partition(), message.offset()))

    def expire(self, below: int, partition: int = 0, topic: str = "alerts") -> None:
        """Fill a partition with `below` large messages: of what was there before nothing is kept."""
        self.send((b"x" * 100_000 for _ in range(below)), partition, topic)


class Line:
    """A line to the broker that carries what is said there, and may fail where packets are handed over (Produce).

    `fault`: 'lost answer': the broker gets the packets, and its answer is lost; 'cut': the line breaks before it does.
    """

    fault: Literal["", "lost answer", "cut"] = ""

    def __init__(self, broker: Broker) -> None:
        host, _, port = broker.brokers[0].partition(":")
        self._broker = host, int(port)
        self._server = socket.create_server((host, 0))
        own = self._server.getsockname()[1]
        self.brokers = [f"{host}:{own}"]
        # The broker says where it is to be found: here, for who comes this way.
        self._its, self._ours = (host.encode() + struct.pack(">i", number) for number in (int(port), own))

    def serve(self) -> None:
        """Take calls until the line is closed."""
        with suppress(OSError):
            while True:
                client, broker = self._server.accept()[0], socket.create_connection(self._broker)
                #: Numbers of requests whose answers get lost.
                lost: set[bytes] = set()
                for way in (self._to_broker, self._to_client):
                    Thread(target=way, args=(client, broker, lost), daemon=True).start()

    def close(self) -> None:
        """Take no more calls."""
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()

    def _to_broker(self, client: socket.socket, broker: socket.socket, lost: set[bytes]) -> None:
        for request in _frames(client):
            if request[4:6] == _PRODUCE and self.fault == "cut":
                break
            if request[4:6] == _PRODUCE and self.fault == "lost answer":
                lost.add(request[8:12])
            broker.sendall(request)
        _hang_up(client, broker)

    def _to_client(self, client: socket.socket, broker: socket.socket, lost: set[bytes]) -> None:
        with suppress(OSError):
            for answer in _frames(broker):
                if answer[4:8] not in lost:
                    client.sendall(answer.replace(self._its, self._ours))
        _hang_up(client, broker)


#: Number of the request that hands packets over.
_PRODUCE = b"\0\0"


def _frames(peer: socket.socket) -> Iterator[bytes]:
    """Whole requests or answers with their lengths, until the peer hangs up."""
    with suppress(OSError), peer.makefile("rb") as said:
        while len(length := said.read(4)) == 4:
            yield length + said.read(struct.unpack(">i", length)[0])


def _hang_up(*peers: socket.socket) -> None:
    for peer in peers:
        with suppress(OSError):
            peer.shutdown(socket.SHUT_RDWR)


@contextmanager
def line(broker: Broker) -> Iterator[Line]:
    """A line to a broker."""
    found = Line(broker)
    thread = Thread(target=found.serve, daemon=True)
    thread.start()
    yield found
    found.close()
    thread.join()


def closed_port() -> str:
    """An address at which nobody answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


def by_partition(rows: Iterable[Mapping[str, Any]]) -> dict[Partition, list[Mapping[str, Any]]]:
    """Documents of the plan by partition, each in the order of its offsets."""
    found: dict[Partition, list[Mapping[str, Any]]] = {}
    for row in sorted(rows, key=lambda row: (row["epoch"], row["first"])):
        found.setdefault(Partition(row["topic"], row["partition"]), []).append(row)
    return found
