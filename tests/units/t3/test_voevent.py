"""VOEvent: documents that validate against the standard's schema, and what a broker's answer means."""

from collections.abc import Iterator
from dataclasses import replace
from math import nan
from pathlib import Path
from typing import Any

import pytest
from astropy.time import Time
from pydantic import ValidationError

from ampel_dagster.model.errors import BusyError, RefusedError
from ampel_dagster.model.view import Message, TransientView
from ampel_dagster.units.t3._times import iso_of_jd
from ampel_dagster.units.t3._voevent import unit_of
from ampel_dagster.units.t3.voevent import VOEvent
from tests.kafka_broker import closed_port
from tests.units.t2.test_light_curve_summary import detection, light_curve, limit
from tests.units.t3.receivers import Network, context, in_utc, voevent_network
from tests.units.t3.receivers import seen as seen_in

voeventparse = pytest.importorskip("voeventparse", reason="voevent-parse cannot be built on Python 3.12")
etree = pytest.importorskip("lxml.etree")
#: The schema of the standard, as voevent-parse brings it.
SCHEMA = etree.XMLSchema(etree.fromstring(voeventparse.definitions.v2_0_schema_str))
WHO = {"stream": "ivo://org.example/transients", "author": "ivo://org.example", "position_error_arcsec": 0.36}

CURVE = light_curve(limit(2458348.0, "g", 20.5), detection(2458349.0, "g", 19.0), detection(2458350.0, "r", 18.5))


def seen(name: str, stock: int = 1, **fit: Any) -> TransientView:
    return seen_in(name, stock, CURVE, **fit)


@pytest.fixture
def network() -> Iterator[Network]:
    with voevent_network() as found:
        yield found


def event(unit: VOEvent, **more: Any) -> Any:
    """The event as voevent-parse reads it, after validation."""
    data = unit.event(replace(seen("ZTF18abcdefg", 7, chi2=1.5, d_arcsec=0.4, n=3), jd=2458350.125, **more), context())
    SCHEMA.assertValid(etree.fromstring(data))
    return voeventparse.loads(data)


def test_event_validates_and_says_who_where_and_what() -> None:
    about = {"title": "AMPEL", "contact_name": "A. Stronomer", "contact_email": "a@example.org"}
    unit = VOEvent(**WHO, **about, columns=["fit.chi2", "fit.d_arcsec", "fit.n", "fit.absent"], importance=0.5)
    found = event(unit)
    assert found.get("ivorn") == "ivo://org.example/transients#daily.BRIGHT.ZTF18abcdefg_0000000000000003"
    assert (found.get("role"), found.Who.AuthorIVORN, found.Who.Date) == (
        *("test", "ivo://org.example", "2018-08-20T03:00:00.000"),
    )
    assert found.Who.Author.contactName == "A. Stronomer"
    position = voeventparse.get_event_position(found)
    assert (position.ra, position.dec, position.units, position.system) == (10.5, -3.25, "deg", "UTC-ICRS-TOPO")
    assert position.err == pytest.approx(1e-4)
    assert voeventparse.get_event_time_as_utc(found).isoformat() == "2018-08-19T15:00:00+00:00"
    values = voeventparse.get_grouped_params(found)["values"]
    assert {name: (p["value"], p["dataType"], p.get("unit")) for name, p in values.items()} == {
        "fit.chi2": ("1.5", "float", None),
        "fit.d_arcsec": ("0.4", "float", "arcsec"),
        "fit.n": ("3", "int", None),
        "fit.absent": ("", "string", None),
    }
    assert voeventparse.get_toplevel_params(found)["name"]["value"] == "ZTF18abcdefg"
    assert (found.Why.get("importance"), found.Why.Concept) == ("0.5", "process.variation.trans")
    rows = [[str(cell) for cell in row.TD] for row in found.What.Table.Data.TR]
    assert rows == [
        ["2458348.0", "upper_limit", "g", "", "", "20.5"],
        ["2458349.0", "detection", "g", "19.0", "0.1", ""],
        ["2458350.0", "detection", "r", "18.5", "0.1", ""],
    ]
    fields = [(field.get("name"), field.get("unit")) for field in found.What.Table.Field]
    assert fields == [
        *[("jd", "d"), ("kind", None), ("band", None), ("mag", "mag"), ("mag_err", "mag"), ("mag_limit", "mag")]
    ]


def test_smallest_event_validates() -> None:
    found = event(VOEvent(**WHO, max_points=0, concept="", once_per="object", role="observation"))
    assert {"Who", "What", "WhereWhen"} == {child.tag for child in found.iterchildren()} - {"original_prefix"}
    assert found.get("ivorn").endswith("#daily.BRIGHT.ZTF18abcdefg")


@pytest.mark.parametrize("name", ['ZTF<18>&"', "\x00\x1b[31m\ud800", "x" * 500, "Stern ☆"])
def test_names_of_alerts_cannot_break_the_document(name: str) -> None:
    found = event(VOEvent(**WHO), name=name)
    assert len(found.get("ivorn")) < 200
    assert voeventparse.get_toplevel_params(found)["channel"]["value"] == "BRIGHT"


def test_id_follows_from_object_and_state() -> None:
    unit, view = VOEvent(**WHO), seen("ZTF18abcdefg", 7)
    ids = [event(unit, link=link).get("ivorn") for link in (view.link, 4, -1)]
    assert len({event(unit).get("ivorn"), *ids}) == 3
    assert ids[2].endswith("_ffffffffffffffff")


def test_event_cites_what_was_told_before_and_keeps_id_and_date() -> None:
    asked = []

    def settle(view: TransientView, draft: Message) -> Message:
        asked.append((view.name, draft))
        return Message("ivo://org.example/was#A", in_utc(2018, 8, 1), "ivo://org.example/transients#B&C")

    data = VOEvent(**WHO).event(seen("ZTF18abcdefg"), replace(context(), settle=settle))
    SCHEMA.assertValid(etree.fromstring(data))
    found = voeventparse.loads(data)
    key = "ivo://org.example/transients#daily.BRIGHT.ZTF18abcdefg_0000000000000003"
    assert asked == [("ZTF18abcdefg", Message(key, context().now, ""))]
    assert (found.get("ivorn"), found.Who.Date) == ("ivo://org.example/was#A", "2018-08-01T00:00:00.000")
    (cited,) = found.Citations.EventIVORN
    assert (cited, cited.get("cite")) == ("ivo://org.example/transients#B&C", "followup")


def test_first_event_of_an_object_cites_nothing() -> None:
    assert event(VOEvent(**WHO)).find("Citations") is None


def test_without_a_position_there_is_no_event() -> None:
    with pytest.raises(RefusedError, match="needs a time and a position"):
        VOEvent(**WHO).event(replace(seen("A"), ra_deg=nan), context())


def test_broker_takes_it_and_a_file_is_written(network: Network, tmp_path: Path) -> None:
    unit, view = VOEvent(**WHO, broker=network.address), seen("ZTF18abcdefg", 7)
    answer = unit.send(view, context(tmp_path))
    (file,) = (tmp_path / "voevents").iterdir()
    assert answer == f"ack from ivo://org.example/broker; written to {file}"
    assert file.name == "ZTF18abcdefg_0000000000000003.xml"
    assert network.events == [file.read_bytes()] == [unit.event(view, context(tmp_path))]


def test_broker_that_has_it_already_is_content(network: Network, tmp_path: Path) -> None:
    unit = VOEvent(**WHO, broker=network.address, archive=False)
    assert unit.idempotent
    unit.send(seen("A"), context(tmp_path))
    answer = unit.send(seen("A"), context(tmp_path))
    assert answer == "nak from ivo://org.example/broker: Event rejected: Previously seen by this broker"
    assert (len(network.events), list(tmp_path.iterdir())) == (1, [])


def test_nak_is_a_refusal_and_leaves_no_file(network: Network, tmp_path: Path) -> None:
    network.fault = "nak"
    with pytest.raises(RefusedError, match=r"nak from ivo://org\.example/broker: .*Schema validation failed"):
        VOEvent(**WHO, broker=network.address).send(seen("A"), context(tmp_path))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("silent", "timed out"),
        ("hang up", "without a whole answer"),
        ("gibberish", "no XML"),
        ("<Transport role='iamalive'/>", "neither ack nor nak"),
        ("<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>", "document type"),
        ("x" * 100_001, "no Transport document"),
    ],
)
def test_without_an_answer_it_is_not_known(network: Network, tmp_path: Path, fault: str, said: str) -> None:
    network.fault = fault
    with pytest.raises(OSError, match=said) as told:
        VOEvent(**WHO, broker=network.address, timeout_s=0.3).send(seen("A"), context(tmp_path))
    assert not isinstance(told.value, BusyError | RefusedError)
    assert len(network.events) == 1


def test_nobody_there(tmp_path: Path) -> None:
    with pytest.raises(BusyError, match="nobody answers at 127"):
        VOEvent(**WHO, broker=closed_port()).send(seen("A"), context(tmp_path))


def test_preview_is_the_document() -> None:
    assert VOEvent(**WHO, broker=closed_port()).preview([seen("A")], context()).startswith("<?xml version=")


@pytest.mark.parametrize(
    "wrong",
    [
        {"archive": False},
        {"stream": "http://x"},
        {"stream": "ivo://org.example#a"},
        {"broker": "host"},
        {"importance": 2},
    ],
)
def test_what_cannot_be_told_is_found_by_check(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        VOEvent(**{**WHO, **wrong})


@pytest.mark.parametrize("jd", [2440587.5, 2458350.125, 2460310.9999999, 2458349.7034954])
def test_times_are_those_of_astropy(jd: float) -> None:
    assert iso_of_jd(jd) == Time(jd, format="jd", scale="utc").isot


def test_units_are_read_from_names() -> None:
    names = (
        "d_arcsec",
        "near.x.distance_arcsec",
        "ra_deg",
        "age_days",
        "light_curve.peak_mag",
        "mag_err",
        "flux_err",
        "n",
    )
    assert [unit_of(name) for name in names] == ["arcsec", "arcsec", "deg", "d", "mag", "mag", "", ""]
