"""SlackSummary against a server that answers as Slack's Web API does."""

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs

import pytest

from ampel_dagster.model.errors import BusyError, RefusedError
from ampel_dagster.units.t3.slack_summary import SlackSummary
from tests.units.t3.receivers import SECRET, Request, Web, context, seen, web

pytest.importorskip("slack_sdk")


def fields(request: Request) -> dict[str, Any]:
    """What a call says: a form, or JSON."""
    if "json" in request.headers.get("Content-Type", ""):
        found: dict[str, Any] = json.loads(request.body)
        return found
    return {key: value[0] for key, value in parse_qs(request.body.decode()).items()}


@pytest.fixture
def slack() -> Iterator[Web]:
    """A server that takes messages and files."""
    with web() as server:
        told = json.dumps({"ok": True, "channel": "C1", "ts": "1534.5", "message": {}}).encode()
        server.routes["/api/chat.postMessage"] = lambda _: told
        url = {"ok": True, "upload_url": f"{server.url}/upload", "file_id": "F1"}
        server.routes["/api/files.getUploadURLExternal"] = lambda _: json.dumps(url).encode()
        server.routes["/upload"] = lambda _: b"OK"
        done = json.dumps({"ok": True, "files": [{"id": "F1"}]}).encode()
        server.routes["/api/files.completeUploadExternal"] = lambda _: done
        yield server


def summary(slack: Web, **config: Any) -> SlackSummary:
    return SlackSummary(slack_channel="#night", token="TOKEN", api_url=f"{slack.url}/api/", **config)


def test_message_table_and_picture(slack: Web) -> None:
    unit = summary(slack, columns=["name", "fit.chi2"], pictures=1)
    assert unit.send_many([seen("ZTF1", 1, chi2=1.25), seen("ZTF&2", 2)], context()) == {1: "C1 1534.5", 2: "C1 1534.5"}
    (message,) = [r for r in slack.requests if r.path == "/api/chat.postMessage"]
    assert message.headers["Authorization"] == f"Bearer {SECRET}"
    told = fields(message)
    assert told["channel"] == "#night"
    assert told["text"].splitlines() == [
        "*BRIGHT*: 2 objects of 2018-08-19",
        "```",
        "name   fit.chi2",
        "ZTF1   1.25",
        "ZTF&amp;2  –",
        "```",
    ]
    uploads = [r.body for r in slack.requests if r.path == "/upload"]
    assert len(uploads) == 2
    assert any(b"\x89PNG" in body for body in uploads)
    assert any(b"name,fit.chi2\nZTF1,1.25\nZTF&2,\n" in body for body in uploads)
    (finished,) = [fields(r) for r in slack.requests if r.path == "/api/files.completeUploadExternal"]
    assert (finished["channel_id"], finished["thread_ts"]) == ("C1", "1534.5")


def answer(slack: Web, status: int, said: dict[str, Any], **headers: str) -> None:
    del slack.routes["/api/chat.postMessage"]
    slack.answers = [(status, {"Content-Type": "application/json", **headers}, json.dumps(said).encode())]


@pytest.mark.parametrize("said", ["invalid_auth", "channel_not_found", "not_in_channel", "missing_scope"])
def test_slack_says_no(slack: Web, said: str) -> None:
    answer(slack, 200, {"ok": False, "error": said})
    with pytest.raises(RefusedError, match=said) as told:
        summary(slack).send_many([seen("A")], context())
    assert SECRET not in str(told.value)
    assert [r.path for r in slack.requests] == ["/api/chat.postMessage"]


def test_slack_asks_us_to_wait(slack: Web) -> None:
    answer(slack, 429, {"ok": False, "error": "ratelimited"}, **{"Retry-After": "30"})
    with pytest.raises(BusyError) as told:
        summary(slack).send_many([seen("A")], context())
    assert told.value.retry_after_s == 30.0


def test_slack_has_trouble(slack: Web) -> None:
    """Whether the message is there nobody knows."""
    answer(slack, 500, {"ok": False, "error": "internal_error"})
    with pytest.raises(ConnectionError):
        summary(slack).send_many([seen("A")], context())


def test_files_that_fail_do_not_make_the_message_go_twice(slack: Web) -> None:
    slack.routes["/api/files.getUploadURLExternal"] = lambda _: b'{"ok": false, "error": "missing_scope"}'
    assert summary(slack).send_many([seen("A")], context()) == {1: "C1 1534.5; files: missing_scope"}


def test_long_tables_are_cut(slack: Web) -> None:
    text = summary(slack).message([seen(f"ZTF{n:05d}", n) for n in range(500)], context())
    assert len(text) < 4000
    assert text.endswith("\n…\n```")


def test_nobody_there(slack: Web) -> None:
    unit = summary(slack)
    nowhere = unit.model_copy(update={"api_url": "http://127.0.0.1:9/api/"})
    with pytest.raises(BusyError, match="nobody answers"):
        nowhere.send_many([seen("A")], context())


def test_preview(slack: Web) -> None:
    assert "*BRIGHT*: 1 objects" in summary(slack).preview([seen("A")], context())
    assert slack.requests == []
