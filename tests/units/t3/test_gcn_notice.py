"""GcnNotice: what arrives at a broker, in the words of GCN's core schemas, and how one logs in."""

import json
from dataclasses import replace
from math import nan
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from ampel_dagster.model.errors import RefusedError
from ampel_dagster.model.view import TransientView
from ampel_dagster.units.t3.gcn_notice import GcnNotice
from tests.kafka_broker import Broker
from tests.units.t2.test_light_curve_summary import detection, light_curve, limit
from tests.units.t3.receivers import SECRET, context
from tests.units.t3.receivers import seen as seen_in

ABOUT = {
    "topic": "gcn.notices.ampel.transient",
    "schema_url": "https://gcn.nasa.gov/schema/v6.1.0/gcn/notices/ampel/transient.schema.json",
    "mission": "ZTF",
    "position_error_arcsec": 0.36,
}
#: JD 2458349 is noon of 2018-08-18.
CURVE = light_curve(limit(2458348.0, "g", 20.5), detection(2458349.0, "g", 19.0), detection(2458350.0, "r", 18.5))
#: Fields by type in GCN's core schemas, of versions 1.0 to 6.1: Alert, Event, DateTime, Localization, Reporter,
#: Redshift, AdditionalInfo.
TYPES = {
    **dict.fromkeys(("$schema", "alert_datetime", "mission", "instrument", "trigger_time", "additional_info"), str),
    **dict.fromkeys(("ra", "dec", "ra_dec_error", "containment_probability", "redshift"), float),
    **dict.fromkeys(("event_name", "id"), list),
}
WORDS = {
    "alert_tense": {"current", "archival", "planned", "injection", "commanded", "test"},
    "alert_type": {"initial", "update", "retraction"},
    "messenger": {"EM", "GW", "Neutrino"},
}


def seen(name: str, stock: int = 1, **fit: Any) -> TransientView:
    return seen_in(name, stock, CURVE, **fit)


def check(notice: dict[str, Any]) -> None:
    """Whether each field is one of the core schemas', and of its type."""
    for name, value in notice.items():
        assert value in WORDS[name] if name in WORDS else type(value) is TYPES[name], name


@pytest.fixture(scope="module")
def broker() -> Broker:
    return Broker()


def test_notice_arrives(broker: Broker) -> None:
    unit = GcnNotice(
        **ABOUT, brokers=broker.brokers, instrument="ZTF Camera", fields={"redshift": "fit.z", "no": "fit.no"}
    ).prepare(Path())
    answer = unit.send(seen("ZTF18abcdefg", 7, z=0.05), context())
    (message,) = broker.messages("gcn.notices.ampel.transient")
    assert answer == f"gcn.notices.ampel.transient/{message.partition()} at offset 0"
    assert message.key() == b"ZTF18abcdefg"
    notice = json.loads(message.value() or b"")
    check(notice)
    assert notice == {
        "$schema": ABOUT["schema_url"],
        "alert_datetime": "2018-08-20T03:00:00.000Z",
        "alert_tense": "test",
        "alert_type": "initial",
        "mission": "ZTF",
        "instrument": "ZTF Camera",
        "messenger": "EM",
        "event_name": ["ZTF18abcdefg"],
        "id": ["7"],
        "trigger_time": "2018-08-18T12:00:00.000Z",
        "ra": 10.5,
        "dec": -3.25,
        "ra_dec_error": pytest.approx(1e-4),
        "containment_probability": 0.9,
        "redshift": 0.05,
    }


def test_later_states_are_updates_where_they_are_told_about() -> None:
    view = replace(seen("A"), states=(2, 3))
    each, once = (GcnNotice(**ABOUT, once_per=word) for word in ("state", "object"))
    assert [unit.notice(view, context())["alert_type"] for unit in (each, once)] == ["update", "initial"]
    assert GcnNotice(**ABOUT).once_per == "object"


def test_client_logs_in_at_the_domain_with_named_secrets() -> None:
    unit = GcnNotice(**ABOUT, domain="gcn.nasa.gov", client_id="KEY", client_secret="TOKEN")
    settings = unit.settings(context())
    assert {key: settings[key] for key in settings if key.split(".")[0] in ("bootstrap", "sasl", "security")} == {
        "bootstrap.servers": "kafka.gcn.nasa.gov:9092",
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "OAUTHBEARER",
        "sasl.oauthbearer.method": "oidc",
        "sasl.oauthbearer.client.id": SECRET,
        "sasl.oauthbearer.client.secret": SECRET,
        "sasl.oauthbearer.token.endpoint.url": "https://auth.gcn.nasa.gov/oauth2/token",
    }
    assert SECRET not in repr(unit) + json.dumps(unit.explicit_config())


def test_test_server_is_the_default() -> None:
    brokers, login = GcnNotice(**ABOUT).cluster
    assert (brokers, login and login.token_url) == (
        ("kafka.test.gcn.nasa.gov:9092",),
        "https://auth.test.gcn.nasa.gov/oauth2/token",
    )


def test_without_a_position_there_is_no_notice(broker: Broker) -> None:
    unit = GcnNotice(**ABOUT, brokers=broker.brokers)
    (answer,) = unit.send_many([replace(seen("A"), ra_deg=nan)], context()).values()
    assert isinstance(answer, RefusedError)


def test_preview_needs_no_secret() -> None:
    told = json.loads(GcnNotice(**ABOUT, client_id="ABSENT").preview([seen("A")], context()))
    assert told["event_name"] == ["A"]


@pytest.mark.parametrize(
    "wrong",
    [{"topic": "transients"}, {"fields": {"ra": "ra_deg"}}, {"client_id": "not a name!"}, {"brokers": ["gcn"]}],
)
def test_what_cannot_be_sent_is_found_by_check(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        GcnNotice(**{**ABOUT, **wrong})
