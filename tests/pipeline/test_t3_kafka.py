"""T3: objects that go to Kafka arrive once, by the rules of the outbox, whatever the broker does."""

from typing import Any

import pytest

from ampel_dagster.pipeline.t3_react import react_again, react_to_night
from ampel_dagster.units.bound import Process
from ampel_dagster.units.t3.kafka_publisher import KafkaPublisher
from tests.kafka_broker import Broker, closed_port, line

NAMES = ["ZTF18aaaaaaa", "ZTF18aaaaaab", "ZTF18aaaaaac"]


@pytest.fixture(scope="module")
def broker() -> Broker:
    return Broker()


@pytest.fixture
def rules(world: Any) -> Any:
    """A channel with three objects that nobody has been told about."""
    rules = world.rules("A", reactions=("tell",))
    world.ingest(rules, *(world.star(n) for n in range(3)))
    return rules


def tell(brokers: list[str], topic: str, **more: Any) -> Process:
    return Process("tell", (KafkaPublisher(brokers=brokers, topic=topic, timeout_s=0.5, attempts=1, **more),))


def keys(broker: Broker, topic: str) -> list[str]:
    return sorted((message.key() or b"").decode() for message in broker.messages(topic))


def states(world: Any) -> list[str]:
    return [d["state"] for d in world.store.outbox.list("tell")]


def test_broker_that_was_away_gets_each_object_once(world: Any, rules: Any, broker: Broker) -> None:
    (done,) = world.react(tell([closed_port()], "away"), rules)
    assert (done.counts["reacted"], states(world)) == (0, ["waiting"] * 3)
    there = tell(broker.brokers, "away")
    (done,) = world.react(there, rules)
    assert (done.counts["reacted"], states(world)) == (3, ["confirmed"] * 3)
    assert keys(broker, "away") == NAMES
    assert {d["receipt"]["answer"].split("/")[0] for d in world.store.outbox.list("tell")} == {"away"}
    assert world.react(there, rules) == []
    react_to_night(world.reaction(there, rules), "2018-08-19")
    assert keys(broker, "away") == NAMES


def test_what_arrived_and_was_not_confirmed_is_not_sent_again(world: Any, rules: Any, broker: Broker) -> None:
    with line(broker) as to:
        to.fault = "lost answer"
        (done,) = world.react(tell(to.brokers, "lost"), rules)
        assert (done.counts["failed"], states(world)) == (3, ["unknown"] * 3)
        assert {m.split(":")[0] for _, m in done.failures} == {"TimeoutError"}
        to.fault = ""
        (done,) = world.react(tell(to.brokers, "lost"), rules)
    assert (done.counts["unknown"], done.counts["reacted"]) == (3, 0)
    assert keys(broker, "lost") == NAMES


def test_what_did_not_arrive_and_is_unknown_is_sent_when_somebody_asks(world: Any, rules: Any, broker: Broker) -> None:
    with line(broker) as to:
        to.fault = "cut"
        world.react(tell(to.brokers, "cut"), rules)
        assert (states(world), keys(broker, "cut")) == (["unknown"] * 3, [])
        to.fault = ""
        react_again(world.reaction(tell(to.brokers, "cut"), rules), world.store.outbox.list("tell"))
    assert (states(world), keys(broker, "cut")) == (["confirmed"] * 3, NAMES)


def test_dry_run_and_rate_guard_send_nothing(world: Any, rules: Any, broker: Broker) -> None:
    held = tell(broker.brokers, "quiet", max_per_run=2)
    (done,) = world.react(held, rules, dry_run=True)
    assert [line.count('"stock"') for line in done.previews["KafkaPublisher"].splitlines()] == [1, 1, 1]
    (done,) = world.react(held, rules)
    assert (done.counts["held"], keys(broker, "quiet")) == (3, [])
