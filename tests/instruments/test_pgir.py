"""Palomar Gattini-IR: names, limits, photometry, and the real packets of one night."""

import math
from collections import Counter
from pathlib import Path

import pytest

from ampel_dagster.instruments.pgir import PGIR
from ampel_dagster.model.alert import Alert, Packet
from ampel_dagster.model.errors import AlertFormatError
from ampel_dagster.sources.files import list_files, read_file
from tests.instruments.pgir_packets import pgir_bytes, pgir_packet, pgir_row

pytestmark = pytest.mark.usefixtures("reader")

JD = 2459394.75


def decode(data: bytes) -> Alert | AlertFormatError:
    (found,) = PGIR().decode(Packet(data, "made-up", 0))
    return found


@pytest.mark.parametrize("name", ["PGIR21aaaaab", "PGIR19zzzzzz", "PGIR20afehsg"])
def test_names_and_ids(name: str) -> None:
    assert PGIR().stock_name(PGIR().stock_id(name)) == name


def test_id_by_hand() -> None:
    # aacbvv: 2 * 26**3 + 1 * 26**2 + 21 * 26 + 21.
    assert PGIR().stock_id("PGIR19aacbvv") == (2 * 17576 + 676 + 546 + 21) * 100 + 19


@pytest.mark.parametrize("name", ["ZTF18aaaaaaa", "PGIR21aaaaaB", "PGIR21aaaaaaa", "PGIR00aaaaaa", ""])
def test_no_name(name: str) -> None:
    with pytest.raises(ValueError, match="is no PGIR name"):
        PGIR().stock_id(name)


def test_magnitudes_are_ab() -> None:
    """Vega 14.0 in J is AB 14.91, and 31.4 - 14.91 = 16.49 mag above 1 nJy."""
    alert = decode(pgir_bytes(pgir_packet("PGIR21aaaaab", pgir_row(JD, candid=3, mag=14.0), [])))
    assert isinstance(alert, Alert)
    curve = PGIR().light_curve(alert.stock, alert.points)
    assert (curve.mag[0], curve.mag_limit[0], curve.band[0]) == (pytest.approx(14.91), pytest.approx(15.91), "J")
    assert curve.flux_njy[0] == pytest.approx(10 ** (16.49 / 2.5))
    assert curve.flux_err_njy[0] / curve.flux_njy[0] == pytest.approx(0.1 * math.log(10) / 2.5)


def test_limits_are_of_images_and_those_below_zero_mean_nothing() -> None:
    limits = [pgir_row(JD - 2, candid=None, limit=15.0, subid=7), pgir_row(JD - 1, candid=None, limit=-1.0, subid=8)]
    found = [
        decode(pgir_bytes(pgir_packet(name, pgir_row(JD, candid=n, mag=14.0), limits)))
        for n, name in ((3, "PGIR21aaaaab"), (4, "PGIR21aaaaac"))
    ]
    assert [[p.id for p in alert.points] for alert in found if isinstance(alert, Alert)] == [[3, -7], [4, -7]]


def test_field_that_is_missing() -> None:
    row = pgir_row(JD, candid=3, mag=14.0)
    found = decode(pgir_bytes(pgir_packet("SOMETHING", row, [])))
    assert isinstance(found, AlertFormatError)
    assert (found.reason, "is no PGIR name" in str(found)) == ("INVALID_FIELD", True)


def test_a_real_night(data: Path) -> None:
    """17 alerts of 15 objects; 414 earlier detections in all, and 656 limits, one of them without depth."""
    files = list_files([data / "other_surveys" / "pgir"])
    alerts = [decode(p.data) for file in files for p in read_file(file) if isinstance(p, Packet)]
    assert len(alerts) == 17
    assert all(isinstance(alert, Alert) for alert in alerts)
    found = [alert for alert in alerts if isinstance(alert, Alert)]
    assert len({alert.stock for alert in found}) == 15
    assert {alert.night for alert in found} == {"2021-06-29"}
    kinds = Counter(point.kind for alert in found for point in alert.points)
    # Eight packets name the candidate in their history, too.
    assert kinds["detection"] - len(found) == 414 - 8
    assert kinds["upper_limit"] == 655
    assert len({p.id for alert in found for p in alert.points if p.kind == "upper_limit"}) == 539
    assert set(found[0].cutouts()) == {"science", "template", "difference"}
    # The first packet says J = 10.176 (Vega).
    first = next(alert for alert in found if alert.id == 114297926)
    curve = PGIR().light_curve(first.stock, first.points)
    assert curve.detections.mag[-1] == pytest.approx(10.176 + 0.91, abs=1e-5)
