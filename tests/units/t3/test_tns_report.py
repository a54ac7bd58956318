"""TnsReport against a server that answers by the public description of the API."""

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs

import pytest

from ampel_dagster.model.errors import BusyError, RefusedError
from ampel_dagster.units.t3.tns_report import TnsReport
from tests.units.t2.test_light_curve_summary import detection, light_curve, limit
from tests.units.t3.receivers import SECRET, Request, Web, context, seen, web

#: 2018-08-19 04:48:00 UT is JD 2458349.7.
JD = 2458349.7
CURVE = light_curve(limit(JD - 1, "g", 20.5), detection(JD, "g", 19.0), detection(JD + 1, "r", 18.5))


def fields(request: Request) -> dict[str, str]:
    return {key: value[0] for key, value in parse_qs(request.body.decode()).items()}


def ok(data: Any) -> bytes:
    return json.dumps({"id_code": 200, "id_message": "OK", "data": data}).encode()


@pytest.fixture
def tns() -> Iterator[Web]:
    """A server that knows no object, and makes one of each report."""
    with web() as server:
        server.routes["/api/get/search"] = lambda _: ok({"reply": []})
        server.routes["/api/set/bulk-report"] = lambda _: ok({"report_id": 77})
        made = {"feedback": {"at_report": [{"100": {"objname": "2018abc"}}, {"100": {"objname": "2018abd"}}]}}
        server.routes["/api/get/bulk-report-reply"] = lambda _: ok(made)
        yield server


def report(tns: Web, **config: Any) -> TnsReport:
    settings = {"api_url": f"{tns.url}/api", "api_key": "KEY", "bot_id": 5, "bot_name": "bot", "reporter": "A. B. (C)"}
    groups = {"reporting_group_id": 82, "data_source_id": 48, "poll_pause_s": 0.0}
    return TnsReport(**{**settings, **groups, **config})


def test_reported_and_named(tns: Web) -> None:
    unit = report(tns, redshift="fit.z")
    answers = unit.send_many([seen("ZTF1", 1, CURVE, z=0.03), seen("ZTF2", 2, CURVE)], context())
    assert answers == {1: "report 77: new: 2018abc", 2: "report 77: new: 2018abd"}
    (sent,) = [r for r in tns.requests if r.path == "/api/set/bulk-report"]
    assert sent.headers["User-Agent"] == 'tns_marker{"tns_id": 5, "type": "bot", "name": "bot"}'
    assert fields(sent)["api_key"] == SECRET
    first = json.loads(fields(sent)["data"])["at_report"]["0"]
    assert (first["internal_name"], first["host_redshift"], first["reporting_group_id"]) == ("ZTF1", 0.03, 82)
    assert first["discovery_datetime"].startswith("2018-08-19 04:4")
    assert (first["non_detection"]["limiting_flux"], first["non_detection"]["filter_value"]) == (20.5, 110)
    rows = first["photometry"]["photometry_group"]
    assert [(row["flux"], row["filter_value"], row["instrument_value"]) for row in rows.values()] == [
        (19.0, 110, 196),
        (18.5, 111, 196),
    ]


def test_what_is_there_is_not_reported(tns: Web) -> None:
    tns.routes["/api/get/search"] = lambda _: ok({"reply": [{"objname": "2018xyz", "prefix": "AT"}]})
    assert report(tns).send_many([seen("ZTF1", 1, CURVE)], context()) == {1: "is there: AT 2018xyz"}
    assert [r.path for r in tns.requests] == ["/api/get/search"]


def test_half_of_a_report_is_taken(tns: Web) -> None:
    said = [{"101": {"objname": "2018old"}}, {"400": {"message": "invalid filter"}}]
    tns.routes["/api/get/bulk-report-reply"] = lambda _: ok({"feedback": {"at_report": said}})
    answers = report(tns).send_many([seen("ZTF1", 1, CURVE), seen("ZTF2", 2, CURVE)], context())
    assert answers[1] == "report 77: is there: 2018old"
    assert isinstance(answers[2], RefusedError)
    assert "invalid filter" in str(answers[2])


def test_answer_that_takes_its_time(tns: Web) -> None:
    given = iter([{}, {}, {"feedback": {"at_report": [{"100": {"objname": "2018abc"}}]}}])
    tns.routes["/api/get/bulk-report-reply"] = lambda _: ok(next(given))
    assert report(tns).send_many([seen("ZTF1", 1, CURVE)], context()) == {1: "report 77: new: 2018abc"}


def test_without_an_answer_it_is_not_known(tns: Web) -> None:
    tns.routes["/api/get/bulk-report-reply"] = lambda _: ok({})
    assert report(tns, polls=2).send_many([seen("ZTF1", 1, CURVE)], context()) == {}


@pytest.mark.parametrize(("status", "error"), [(401, RefusedError), (429, BusyError), (503, BusyError)])
def test_server_says_no(tns: Web, status: int, error: type[Exception]) -> None:
    tns.routes.clear()
    tns.answers = [(status, {}, b"{}")]
    with pytest.raises(error) as told:
        report(tns).send_many([seen("ZTF1", 1, CURVE)], context())
    assert SECRET not in str(told.value)


def test_nothing_to_report(tns: Web) -> None:
    answers = report(tns).send_many([seen("ZTF1", 1, light_curve(limit(JD, "g", 20.0)))], context())
    assert isinstance(answers[1], RefusedError)
    assert "/api/set/bulk-report" not in [r.path for r in tns.requests]


def test_preview_asks_nobody(tns: Web) -> None:
    assert '"internal_name": "ZTF1"' in report(tns).preview([seen("ZTF1", 1, CURVE)], context())
    assert tns.requests == []


def test_the_sandbox_is_the_default() -> None:
    assert TnsReport.model_fields["api_url"].default == "https://sandbox.wis-tns.org/api"
