"""KafkaPublisher: what arrives at a broker, and what is known of what does not, over the real protocol."""

import json
from base64 import b64decode
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC
from io import BytesIO
from pathlib import Path
from typing import Any

import fastavro
import pytest
from pydantic import ValidationError

from ampel_dagster.instruments.avro_encode import encode_container
from ampel_dagster.model.errors import BusyError, RefusedError
from ampel_dagster.units.t3._kafka import KafkaSecurity
from ampel_dagster.units.t3.kafka_publisher import KafkaPublisher
from tests.kafka_broker import Broker, Line, closed_port, line
from tests.units.t3.receivers import SECRET, context, seen, web

CONTEXT = replace(context(), encode_avro=encode_container)
LOGIN = {"mechanism": "SCRAM-SHA-512", "username": "KEY", "password": "TOKEN"}


@pytest.fixture(scope="module")
def broker() -> Broker:
    return Broker()


@pytest.fixture
def to(broker: Broker) -> Iterator[Line]:
    with line(broker) as found:
        yield found


def publisher(brokers: list[str], topic: str, **more: Any) -> KafkaPublisher:
    return KafkaPublisher(brokers=brokers, topic=topic, **more).prepare(Path())


def test_object_arrives_with_its_name_as_key(broker: Broker) -> None:
    unit = publisher(broker.brokers, "told", columns=["fit.chi2", "fit.tags", "is_new"], cutouts=True)
    view = replace(seen("ZTF18abc", 7, chi2=1.5, tags=["a"]), tag=("hot",), read_cutouts=lambda _: {"science": b"\x1f"})
    answer = unit.send(view, CONTEXT)
    (message,) = broker.messages("told")
    assert answer == f"told/{message.partition()} at offset 0"
    assert message.key() == b"ZTF18abc"
    (told,) = fastavro.reader(BytesIO(message.value() or b""))
    assert [told[name] for name in ("channel", "night", "name", "stock", "link", "ra_deg", "dec_deg", "alerts")] == [
        *("BRIGHT", "2018-08-19", "ZTF18abc", 7, 3, 10.5, -3.25, [7])
    ]
    assert (told["tags"], told["cutouts"], told["first_jd"]) == (["hot"], {"science": b"\x1f"}, None)
    assert told["sent"] == CONTEXT.now.astimezone(UTC)
    assert told["values"] == {"fit.chi2": 1.5, "fit.tags": '["a"]', "is_new": False}
    assert json.loads(told["t2"]["fit"]["body"]) == {"chi2": 1.5, "tags": ["a"]}
    assert [(p["jd"], p["kind"], p["mag"], p["mag_limit"]) for p in told["light_curve"]] == [
        (1.0, "upper_limit", None, 20.5),
        (2.0, "detection", 19.0, None),
        (3.0, "detection", 18.5, None),
    ]


def test_messages_of_an_object_keep_their_order(broker: Broker) -> None:
    """They go to one partition: the one that Java's clients choose, murmur2 of the key."""
    unit = publisher(broker.brokers, "order")
    for link in range(4):
        views = [replace(seen(f"ZTF18aa{letter}", n), link=link) for n, letter in enumerate("abcdefgh")]
        assert all(isinstance(answer, str) for answer in unit.send_many(views, CONTEXT).values())
    places: dict[bytes, list[tuple[int, int]]] = {}
    for message in broker.messages("order"):
        (told,) = fastavro.reader(BytesIO(message.value() or b""))
        places.setdefault(message.key() or b"", []).append((message.partition() or 0, told["link"]))
    assert {tuple(link for _, link in found) for found in places.values()} == {(0, 1, 2, 3)}
    assert {len({partition for partition, _ in found}) for found in places.values()} == {1}
    # Kafka's own tests say so: murmur2("foobar") = -790332482, without its sign modulo 4 partitions.
    assert unit.send(seen("foobar"), CONTEXT).startswith(f"order/{(-790332482 & 0x7FFFFFFF) % 4} ")


def test_nobody_there_means_nothing_arrived() -> None:
    with pytest.raises(BusyError, match=r"kafka at 127\.0\.0\.1:\d+ did not take it within 0.3 s .*refused"):
        publisher([closed_port()], "t", timeout_s=0.3).send(seen("A"), CONTEXT)


@pytest.mark.parametrize(("fault", "arrived"), [("lost answer", 1), ("cut", 0)])
def test_handed_over_and_not_confirmed_is_unknown(broker: Broker, to: Line, fault: Any, arrived: int) -> None:
    unit, topic = publisher(to.brokers, f"unknown{arrived}", timeout_s=0.5), f"unknown{arrived}"
    assert isinstance(unit.send(seen("before"), CONTEXT), str)
    to.fault = fault
    with pytest.raises((TimeoutError, ConnectionError), match="it may have arrived"):
        unit.send(seen("A"), CONTEXT)
    assert sorted(message.key() or b"" for message in broker.messages(topic)) == [b"A", b"before"][1 - arrived :]


def test_one_that_cannot_be_written_costs_itself_only(broker: Broker) -> None:
    views = [seen("A", 1), seen("\ud800", 2), seen("B", 3, big="x" * 1_100_000), seen("C", 4)]
    answers = publisher(broker.brokers, "some").send_many(views, CONTEXT)
    assert [type(answers[stock]) for stock in (1, 2, 3, 4)] == [str, RefusedError, RefusedError, str]
    assert sorted(message.key() or b"" for message in broker.messages("some")) == [b"A", b"C"]


def test_preview_needs_no_secret_and_no_broker() -> None:
    unit = publisher([closed_port()], "t", security={**LOGIN, "username": "ABSENT"})
    told = json.loads(unit.preview([seen("ZTF18abc")], context()))
    assert (told["name"], len(told["light_curve"])) == ("ZTF18abc", 3)


def test_login_is_read_when_something_is_sent() -> None:
    unit = publisher(["k:9094"], "t", security={**LOGIN, "ca_file": "certificates/ca.pem"})
    settings = unit.prepare(Path("/instance")).settings(CONTEXT)
    assert {key: value for key, value in settings.items() if key.split(".")[0] in ("sasl", "ssl", "security")} == {
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": SECRET,
        "sasl.password": SECRET,
        "ssl.ca.location": "/instance/certificates/ca.pem",
    }
    assert SECRET not in repr(unit) + json.dumps(unit.explicit_config())


def test_token_is_asked_for_with_the_client_and_a_refusal_says_why(broker: Broker) -> None:
    """OpenID Connect as Kafka's library speaks it; who gets no token has sent nothing, and learns it at once."""
    with web() as tokens:
        tokens.answers = [(401, {"Content-Type": "application/json"}, b'{"error": "invalid_client"}')]
        login = {**LOGIN, "mechanism": "OAUTHBEARER", "token_url": f"{tokens.url}/oauth2/token", "scope": "produce"}
        unit = publisher(broker.brokers, "t", security={**login, "protocol": "SASL_PLAINTEXT"}, timeout_s=20)
        with pytest.raises(BusyError, match=r"kafka at .*invalid_client") as told:
            unit.send(seen("A"), CONTEXT)
        assert told.value.retry_after_s == float("inf")
        request = tokens.requests[0]
    assert request.path == "/oauth2/token"
    assert b"grant_type=client_credentials" in request.body
    assert b"scope=produce" in request.body
    assert b64decode(request.headers["Authorization"].removeprefix("Basic ")).decode() == f"{SECRET}:{SECRET}"


def test_missing_secret_is_said_before_anything_is_sent() -> None:
    unit = publisher(["k:9094"], "t", security={**LOGIN, "password": "ABSENT"})
    with pytest.raises(KeyError, match="ABSENT"):
        unit.send(seen("A"), CONTEXT)


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"mechanism": "PLAIN"}, "add mechanism, username, password"),
        ({"protocol": "SSL", **LOGIN}, "with protocol SSL goes no login"),
        ({**LOGIN, "mechanism": "OAUTHBEARER"}, "token_url and mechanism OAUTHBEARER go together"),
        ({**LOGIN, "password": "hunter2!"}, "is no name of a secret"),
    ],
)
def test_incomplete_login_is_found_by_check(block: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        KafkaSecurity(**block)


@pytest.mark.parametrize("more", [{"brokers": ["kafka"]}, {"brokers": []}, {"topic": "a b"}])
def test_wrong_addresses_are_found_by_check(more: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        KafkaPublisher(**{"brokers": ["k:9092"], "topic": "t", **more})
