"""A broker for tests: the cluster that the Kafka library brings with it, which speaks the real protocol over TCP.

It has four partitions a topic, keeps some 5 MB of each, and lives as long as its producer. Transactions leave offsets
at which nothing can be read, as on a real broker.
"""

import socket
from collections.abc import Iterable, Mapping
from typing import Any

from confluent_kafka import Producer

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

    def expire(self, below: int, partition: int = 0, topic: str = "alerts") -> None:
        """Fill a partition with `below` large messages: of what was there before nothing is kept."""
        self.send((b"x" * 100_000 for _ in range(below)), partition, topic)


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
