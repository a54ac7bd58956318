"""What every survey owes the platform: the same checks for each line of `INSTRUMENTS`.

A new survey adds a function to `SAMPLES`. Made-up packets are enough to run; real ones are looked at where they are.
"""

import copy
import json
import math
import random
from collections.abc import Callable, Iterator
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from ampel_dagster.instruments import INSTRUMENTS
from ampel_dagster.instruments.base import Instrument
from ampel_dagster.model.alert import Alert, Packet
from ampel_dagster.model.errors import AlertFormatError
from ampel_dagster.model.light_curve import COLUMNS
from ampel_dagster.sources.files import list_files, read_file
from ampel_dagster.sources.parquet import RowEncoder
from ampel_dagster.testing import (
    encode_packet,
    make_alert,
    make_detection,
    make_dia_forced_source,
    make_dia_source,
    make_limit,
    make_lsst_alert,
)
from tests.instruments.pgir_packets import pgir_bytes, pgir_packet, pgir_row

pytestmark = pytest.mark.usefixtures("reader")

#: The same packet in each form that the survey may come in, for some packets.
Forms = list[list[bytes]]


def row(packet: dict[str, Any]) -> bytes:
    """A packet by way of Parquet."""
    table = pa.Table.from_pylist([packet])
    return RowEncoder(table.schema).encode(table.to_pylist()[0])


def ztf() -> Forms:
    past = [make_detection(jd=2458340.7 + n, band="g" if n % 2 else "r", mag=18 + n / 4) for n in range(4)]
    limits = [make_limit(jd=2458330.7 + n, maglim=20.25) for n in range(3)]
    sent = [
        make_alert(history=[*past, *limits]),
        make_alert(name="ZTF18aaaaaab", positive=False, tblid=2),
        make_alert(name="ZTF17aaaaaac", band="i", programid=2, tblid=3),
    ]
    return [[encode_packet(packet), row(packet)] for packet in sent]


def lsst() -> Forms:
    past = [make_dia_source(mjd_tai=60990.125 + n, band="ugrizy"[n], flux_njy=1024.0 + n) for n in range(6)]
    forced = [make_dia_forced_source(mjd_tai=60980.125 + n, band="g") for n in range(3)]
    sent = [
        make_lsst_alert(history=past, forced=forced),
        make_lsst_alert(object_id=7, flux_njy=-512.0, flux_err_njy=16.0),
        make_lsst_alert(object_id=None, ssObjectId=12),
    ]
    return [[json.dumps(packet).encode(), row(packet)] for packet in sent]


def pgir() -> Forms:
    limits = [pgir_row(2459380.75 + n, candid=None, limit=15.5, subid=100 + n) for n in range(3)]
    past = [pgir_row(2459390.75 + n, candid=200 + n, mag=14.25) for n in range(2)]
    sent = [
        pgir_packet("PGIR21aaaaab", pgir_row(2459394.75, candid=300, mag=14.0), [*limits, *past]),
        pgir_packet("PGIR19zzzzzz", pgir_row(2459394.75, candid=301, mag=13.0, isdiffpos="0"), []),
    ]
    return [[pgir_bytes(packet), row(packet)] for packet in sent]


SAMPLES: dict[str, Callable[[], Forms]] = {"ztf": ztf, "lsst": lsst, "pgir": pgir}
#: Where real packets lie, below the folder `data`.
REAL = {"ztf": ["ztf", "fink"], "lsst": ["lsst"], "pgir": ["other_surveys/pgir"]}


@pytest.fixture(params=list(INSTRUMENTS))
def survey(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def instrument(survey: str) -> Instrument:
    return INSTRUMENTS[survey].with_schemas(None)


@pytest.fixture
def forms(survey: str) -> Forms:
    assert survey in SAMPLES, f"add packets of {survey} to SAMPLES"
    return SAMPLES[survey]()


def decoded(instrument: Instrument, data: bytes) -> list[Alert]:
    found = [item for item in instrument.decode(Packet(data, "test", 0)) if isinstance(item, Alert)]
    assert found
    return found


@pytest.fixture
def alerts(instrument: Instrument, forms: Forms) -> list[Alert]:
    return [alert for same in forms for data in same for alert in decoded(instrument, data)]


def real_alerts(survey: str, data: Path) -> Iterator[tuple[Instrument, Alert]]:
    """Alerts that the survey has sent, without those that are damaged."""
    instrument = INSTRUMENTS[survey].with_schemas(None)
    for file in list_files([data / folder for folder in REAL[survey]]):
        for packet in read_file(file):
            if isinstance(packet, Packet) and "bad" not in file.parts:
                for alert in instrument.decode(packet):
                    if isinstance(alert, Alert):
                        yield instrument, alert


def check(instrument: Instrument, alert: Alert) -> None:
    """What holds for every alert of every survey."""
    points = alert.points
    assert instrument.stock_name(alert.stock) == alert.name
    assert instrument.stock_id(alert.name) == alert.stock
    ids = [alert.id, alert.stock, *(point.id for point in points)]
    assert all(type(id_) is int and -(1 << 63) <= id_ < 1 << 63 for id_ in ids)
    assert alert.stock != 0
    assert len({point.id for point in points}) == len(points)
    # The candidate is the first point, and the richest.
    first, history = points[0], points[1:]
    assert (first.jd, first.kind, first.tag) == (alert.jd, "detection", alert.tag)
    assert all(point.rank < first.rank for point in history)
    assert all(older.jd <= newer.jd for newer, older in pairwise(history))
    assert {point.kind for point in points} <= {"detection", "upper_limit", "forced"}
    # Every point is for somebody: some right of the survey covers it, and no access covers none.
    for point in points:
        assert instrument.covers(instrument.rights, point.tag)
        assert not instrument.covers([], point.tag)
        assert point.tag[0].startswith(instrument.survey.upper())
        assert math.isfinite(point.jd)
    assert date.fromisoformat(alert.night).isoformat() == alert.night
    # A night is a day, wherever the survey lets it begin.
    assert abs((date.fromisoformat(alert.night) - date(2000, 1, 1)).days - (alert.jd - 2451544.5)) <= 1.5
    ra, dec = instrument.position(alert.candidate)
    assert 0 <= ra < 360
    assert -90 <= dec <= 90


def check_light_curve(instrument: Instrument, alert: Alert) -> None:
    curve = instrument.light_curve(alert.stock, alert.points)
    assert (curve.survey, curve.stock, curve.name) == (instrument.survey, alert.stock, alert.name)
    assert {len(getattr(curve, name)) for name in COLUMNS} == {len(alert.points)}
    assert set(curve.id.tolist()) == {point.id for point in alert.points}
    assert list(curve.jd) == sorted(curve.jd)
    detections = curve.detections
    assert len(detections) > 0
    for column in (detections.flux_njy, detections.flux_err_njy, detections.mag, detections.ra_deg, detections.dec_deg):
        assert all(math.isfinite(value) for value in column)
    # The magnitude says how much light, the sign of the flux in which direction: AB, 1 nJy is 31.4 mag.
    for flux, mag, positive in zip(detections.flux_njy, detections.mag, detections.positive, strict=True):
        assert mag == pytest.approx(31.4 - 2.5 * math.log10(abs(flux)), abs=1e-6)
        assert bool(flux > 0) is bool(positive)
    limits = curve.upper_limits
    assert all(math.isfinite(limit) for limit in limits.mag_limit)
    assert not any(math.isfinite(mag) for mag in limits.mag)
    table = curve.flux_table()
    assert len(table) >= len(detections)
    assert all(band.startswith(instrument.survey) for band in table["band"])


def test_alerts(instrument: Instrument, alerts: list[Alert]) -> None:
    for alert in alerts:
        check(instrument, alert)


def test_light_curves(instrument: Instrument, alerts: list[Alert]) -> None:
    for alert in alerts:
        check_light_curve(instrument, alert)
    assert len(instrument.light_curve(alerts[0].stock, ())) == 0


def test_real_alerts(survey: str, data: Path) -> None:
    seen = 0
    for instrument, alert in real_alerts(survey, data):
        check(instrument, alert)
        check_light_curve(instrument, alert)
        seen += 1
    assert seen


def test_kinds_and_signs_are_among_the_samples(instrument: Instrument, alerts: list[Alert]) -> None:
    """Samples that show too little would prove too little."""
    kinds = {point.kind for alert in alerts for point in alert.points}
    assert "detection" in kinds
    assert len(kinds) > 1
    curves = [instrument.light_curve(alert.stock, alert.points) for alert in alerts]
    assert {bool(positive) for curve in curves for positive in curve.detections.positive} == {True, False}
    if set(instrument.public_access) < instrument.rights:
        assert any(not instrument.covers(instrument.public_access, alert.tag) for alert in alerts)


def test_public_access_covers_public_alerts(instrument: Instrument, alerts: list[Alert]) -> None:
    assert any(instrument.covers(instrument.public_access, alert.tag) for alert in alerts)
    assert instrument.rights.intersection(instrument.public_access)


def test_the_same_packet_is_the_same_alert(survey: str, forms: Forms) -> None:
    """Whatever form it comes in, whoever reads it, and whatever was read before."""
    for same in forms:
        seen = set()
        for data in [*same, *same]:
            (alert,) = decoded(INSTRUMENTS[survey].with_schemas(None), data)
            points = tuple((p.id, p.kind, p.jd, p.sensor, p.tag) for p in alert.points)
            seen.add((alert.id, alert.stock, alert.name, alert.jd, alert.night, alert.tag, points))
        assert len(seen) == 1


def test_nothing_that_was_handed_out_changes(instrument: Instrument, forms: Forms) -> None:
    """Filters look at the candidate before the history is read, and after."""
    for same in forms:
        (alert,) = decoded(instrument, same[0])
        candidate, packet = copy.deepcopy(dict(alert.candidate)), alert.packet
        points = copy.deepcopy(alert.points)
        curve = instrument.light_curve(alert.stock, alert.points).to_pandas()
        alert.cutouts()
        assert dict(alert.candidate) == candidate
        assert alert.packet is packet
        assert alert.points == points
        assert instrument.light_curve(alert.stock, tuple(reversed(alert.points))).to_pandas().equals(curve)


def test_broken_bytes_are_data(instrument: Instrument, forms: Forms) -> None:
    """Cut or damaged anywhere, a packet gives alerts or errors with a reason; nothing is raised."""
    chance = random.Random(1)
    for whole in (data for same in forms for data in same):
        for _ in range(150):
            data = bytearray(whole)
            if chance.random() < 0.5:
                del data[chance.randrange(len(data)) :]
            else:
                data[chance.randrange(min(len(data), 12_000))] ^= 1 << chance.randrange(8)
            for found in instrument.decode(Packet(bytes(data), "test", 0)):
                error = found if isinstance(found, AlertFormatError) else history_error(found)
                assert error is None or error.reason.isupper()
    for data in (b"", b"\0", b"{", b"[]", b"Obj\x01", b"Obj\x01" + bytes(50), b"\0" * 50, bytes(range(256))):
        (error,) = instrument.decode(Packet(data, "test", 0))
        assert isinstance(error, AlertFormatError)


def history_error(alert: Alert) -> AlertFormatError | None:
    try:
        _ = alert.points, alert.cutouts()
    except AlertFormatError as error:
        return error
    return None


def test_what_is_no_name_of_the_survey(instrument: Instrument) -> None:
    for name in ("", "no such name", "ZTF", "../x", "\0"):
        with pytest.raises(ValueError, match=r"."):
            instrument.stock_id(name)


def test_no_two_surveys_share_rights() -> None:
    """`access` of a channel is one list for all surveys."""
    rights = [right for instrument in INSTRUMENTS.values() for right in instrument.rights]
    assert len(rights) == len(set(rights))
    assert list(INSTRUMENTS) == [instrument.survey for instrument in INSTRUMENTS.values()]
