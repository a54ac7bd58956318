"""Webhook: what is posted, how it is signed, and what each answer means."""

import hashlib
import hmac
import json
import socket
from collections.abc import Iterator

import pytest

from ampel_dagster.model.errors import BusyError, RefusedError
from ampel_dagster.units.t3._http import retry_after_s
from ampel_dagster.units.t3.webhook import Webhook
from tests.units.t3.receivers import SECRET, Web, context, seen, web


@pytest.fixture
def server() -> Iterator[Web]:
    with web() as found:
        yield found


def test_object_arrives_signed(server: Web) -> None:
    hook = Webhook(url=f"{server.url}/alerts", columns=["fit.chi2", "name"], light_curve=True, key="KEY", token="TOKEN")
    assert hook.send(seen("ZTF18abc", 7, chi2=1.5), context()) == "200 OK: thanks"
    (request,) = server.requests
    told = json.loads(request.body)
    assert (request.path, told["name"], told["stock"], told["channel"], told["values"]) == (
        "/alerts",
        "ZTF18abc",
        7,
        "BRIGHT",
        {"fit.chi2": 1.5, "name": "ZTF18abc"},
    )
    assert [(p["jd"], p["mag"], p["mag_limit"]) for p in told["light_curve"]] == [
        (1.0, None, 20.5),
        (2.0, 19.0, None),
        (3.0, 18.5, None),
    ]
    stamp = request.headers["X-Ampel-Timestamp"]
    expected = hmac.new(SECRET.encode(), f"{stamp}.".encode() + request.body, hashlib.sha256).hexdigest()
    assert request.headers["X-Ampel-Signature"] == f"sha256={expected}"
    assert request.headers["Authorization"] == f"Bearer {SECRET}"


def test_key_of_idempotency_is_that_of_object_and_state(server: Web) -> None:
    hook, once = Webhook(url=server.url), Webhook(url=server.url, once_per="object")
    for unit, name, stock in ((hook, "A", 1), (hook, "A", 1), (hook, "B", 2), (once, "A", 1)):
        unit.send(seen(name, stock), context())
    keys = [request.headers["Idempotency-Key"] for request in server.requests]
    assert keys[0] == keys[1]
    assert len({keys[0], keys[2], keys[3]}) == 3


@pytest.mark.parametrize(
    ("status", "headers", "error", "pause_s"),
    [
        (429, {"Retry-After": "17"}, BusyError, 17.0),
        (503, {}, BusyError, None),
        (401, {}, RefusedError, None),
        (404, {}, RefusedError, None),
        (302, {"Location": "http://127.0.0.1/other"}, RefusedError, None),
        (500, {}, ConnectionError, None),
        (502, {}, ConnectionError, None),
    ],
)
def test_what_an_answer_means(
    server: Web, status: int, headers: dict[str, str], error: type[Exception], pause_s: float | None
) -> None:
    server.answers = [(status, headers, b"no luck")]
    with pytest.raises(error, match=str(status)) as told:
        Webhook(url=server.url).send(seen("A"), context())
    if isinstance(told.value, BusyError):
        assert told.value.retry_after_s == pause_s
    assert len(server.requests) == 1


def test_time_out_is_not_known_to_have_arrived(server: Web) -> None:
    server.awake.clear()
    with pytest.raises(Exception, match="timed out") as told:
        Webhook(url=server.url, timeout_s=0.3).send(seen("A"), context())
    assert not isinstance(told.value, BusyError | RefusedError)


def test_nobody_there() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(BusyError, match=r"nobody answers at 127\.0\.0\.1 "):
        Webhook(url=f"http://127.0.0.1:{port}/?token=hidden").send(seen("A"), context())


def test_preview_needs_no_secret_and_no_server() -> None:
    hook = Webhook(url="http://127.0.0.1:1", key="ABSENT")
    assert json.loads(hook.preview([seen("A")], context()))["name"] == "A"


@pytest.mark.parametrize(
    ("value", "seconds"), [(None, None), ("12", 12.0), ("soon", None), ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0)]
)
def test_retry_after(value: str | None, seconds: float | None) -> None:
    assert retry_after_s(value) == seconds
