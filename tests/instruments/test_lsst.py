"""Rubin's packets: frames by the number of their schema, containers, JSON; ids, times, fluxes."""

import gzip
import json
import random
import shutil
import struct
import sys
from io import BytesIO
from pathlib import Path
from typing import Any

import fastavro
import pytest
from astropy.time import Time

from ampel_dagster.instruments.lsst import LSST, day_obs, forced_id, utc_jd
from ampel_dagster.model.alert import Alert, Packet
from ampel_dagster.model.errors import AlertFormatError
from ampel_dagster.testing import FrameWriter, make_dia_forced_source, make_dia_source, make_lsst_alert

pytestmark = pytest.mark.usefixtures("reader")

OBJECT = 169562325793636358
SOURCE = 169641461369274412
FAKE_SOURCE, FAKE_OBJECT = 281323062375219200, 281323062375219201


def decode(data: bytes, schemas: Path | None = None) -> Alert | AlertFormatError:
    """What the instrument says of one packet; a broken history counts as a broken packet."""
    (found,) = LSST(schemas).decode(Packet(data, "test", 0))
    if isinstance(found, Alert):
        try:
            _ = found.points, found.cutouts()
        except AlertFormatError as error:
            return error
    return found


def alert_of(data: bytes, schemas: Path | None = None) -> Alert:
    found = decode(data, schemas)
    assert isinstance(found, Alert), found
    return found


def made(**more: Any) -> Alert:
    """A made-up alert, by way of JSON."""
    return alert_of(json.dumps(make_lsst_alert(**more)).encode())


def refused(data: bytes | dict[str, Any], schemas: Path | None = None) -> tuple[str, str]:
    """(reason, message) for a packet that cannot be read."""
    found = decode(data if isinstance(data, bytes) else json.dumps(data).encode(), schemas)
    assert isinstance(found, AlertFormatError), found
    return found.reason, found.message


# --- real packets


def test_a_real_alert(rubin) -> None:
    alert = alert_of(rubin.json)
    assert (alert.id, alert.stock, alert.name) == (SOURCE, OBJECT, str(OBJECT))
    assert alert.tag == ("LSST", "LSST_R", "LSST_DP")
    assert alert.candidate["reliability"] == pytest.approx(0.9794907)
    assert len(alert.points) == 21
    assert {point.kind for point in alert.points} == {"detection"}
    assert alert.points[0].id == SOURCE
    assert alert.points[0].sensor == 131
    assert {point.tag[1] for point in alert.points} == {"LSST_G", "LSST_R", "LSST_I", "LSST_Z"}
    times = [point.jd for point in alert.points]
    assert times == sorted(times, reverse=True)


def test_the_night_is_that_of_the_visits_number(rubin) -> None:
    """Rubin writes its observing night into the numbers of visits: 2025112200084."""
    alert = alert_of(rubin.json)
    assert alert.night.replace("-", "") == str(alert.candidate["visit"])[:8] == "20251122"
    for source in rubin.alert["prvDiaSources"]:
        assert day_obs(source["midpointMjdTai"]).replace("-", "") == str(source["visit"])[:8]


def test_a_frame_and_its_json_are_the_same(rubin) -> None:
    frame, text = alert_of(rubin.frame(), rubin.schemas), alert_of(rubin.json)
    assert rubin.frame()[:5] == b"\x00\x00\x00\x03\x84"  # 900
    assert (frame.rank, text.rank) == (900, 0)
    for name in ("id", "stock", "name", "jd", "night", "tag", "candidate"):
        assert getattr(frame, name) == getattr(text, name)
    assert [p._replace(rank=0) for p in frame.points] == [p._replace(rank=0) for p in text.points]
    assert [point.rank for point in frame.points] == [1_000_900, *[900] * 20]


@pytest.mark.parametrize(("version", "rank"), [("9.0", 900), ("10.0", 1000), ("11.0", 1100)])
def test_the_official_samples(rubin, version: str, rank: int) -> None:
    """Containers bring their schema along, and need no folder. Their source does not name its object."""
    alert = alert_of(rubin.fakes[version])
    assert (alert.id, alert.stock, alert.rank) == (FAKE_SOURCE, FAKE_OBJECT, rank)
    assert [point.id for point in alert.points] == [FAKE_SOURCE, 281323062375219198, 281323062375219199]
    assert alert.night == "2025-08-15"  # MJD 60902.49; MJD 60000 is 2023-02-25


def test_a_sample_whose_time_is_no_date(rubin) -> None:
    """The sample of 7.4 has seconds where days belong."""
    assert refused(rubin.fakes["7.4"])[0] == "INVALID_FIELD"


@pytest.mark.parametrize("version", ["7.4", "9.0", "10.0", "11.0"])
def test_frames_of_all_versions(rubin, version: str) -> None:
    sent = make_lsst_alert(
        history=[make_dia_source(mjd_tai=61000.25, band="g")], forced=[make_dia_forced_source(mjd_tai=61001.25)]
    )
    alert = alert_of(FrameWriter(rubin.schemas, version).encode(sent), rubin.schemas)
    assert (alert.id, alert.stock) == (sent["diaSourceId"], OBJECT)
    assert [point.kind for point in alert.points] == ["detection", "forced", "detection"]
    assert alert.rank == {"7.4": 704, "9.0": 900, "10.0": 1000, "11.0": 1100}[version]


@pytest.mark.parametrize("codec", ["null", "deflate"])
def test_a_container_with_several_alerts(rubin, codec: str) -> None:
    writer, buffer = FrameWriter(rubin.schemas, "11.0"), BytesIO()
    sent = [make_lsst_alert(object_id=n, history=[make_dia_source(mjd_tai=61000.25, object_id=n)]) for n in (1, 2, 3)]
    fastavro.writer(buffer, writer.schema, [writer.complete(packet) for packet in sent], codec=codec)
    found = list(LSST().decode(Packet(buffer.getvalue(), "test", 0)))
    assert all(isinstance(alert, Alert) for alert in found)
    assert [(alert.id, alert.stock, len(alert.points), alert.rank) for alert in found] == [
        (packet["diaSourceId"], number, 2, 1100) for number, packet in enumerate(sent, 1)
    ]


# --- the number of the schema decides


def test_the_number_decides_and_not_what_would_fit(rubin) -> None:
    """The bytes of a 9.0 packet can be read by 10.0 without an error: only the number tells."""
    record = rubin.frame()[5:]
    assert alert_of(struct.pack(">bI", 0, 900) + record, rubin.schemas).rank == 900
    assert alert_of(struct.pack(">bI", 0, 1000) + record, rubin.schemas).rank == 1000
    reason, _ = refused(struct.pack(">bI", 0, 901) + record, rubin.schemas)
    assert reason == "UNKNOWN_SCHEMA"


def test_an_unknown_schema_is_read_as_soon_as_it_is_there(rubin, tmp_path: Path) -> None:
    instrument, packet = LSST(tmp_path), Packet(rubin.frame(), "test", 0)
    (error,) = instrument.decode(packet)
    assert isinstance(error, AlertFormatError)
    assert error.reason == "UNKNOWN_SCHEMA"
    assert str(tmp_path / "9" / "0" / "lsst.v9_0.alert.avsc") in error.message
    shutil.copytree(rubin.schemas / "9" / "0", tmp_path / "9" / "0")
    (alert,) = instrument.decode(packet)
    assert isinstance(alert, Alert)
    assert len(alert.points) == 21


def test_without_a_folder_the_message_names_the_key_of_the_stream(rubin) -> None:
    reason, message = refused(rubin.frame())
    assert reason == "UNKNOWN_SCHEMA"
    assert "9.0" in message
    assert "schemas: of the stream" in message


def test_schemas_of_the_official_package(rubin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it is installed its files are used, and none of its code is run."""
    (tmp_path / "lsst_alert_packet-30.0.dist-info").mkdir()
    (tmp_path / "lsst_alert_packet-30.0.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: lsst-alert-packet\nVersion: 30.0\n"
    )
    package = tmp_path / "lsst" / "alert" / "packet"
    shutil.copytree(rubin.schemas / "9", package / "schema" / "9")
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert len(alert_of(rubin.frame()).points) == 21
    assert not [name for name in sys.modules if name.partition(".")[0] == "lsst"]


def test_a_schema_that_is_broken(rubin, tmp_path: Path) -> None:
    folder = tmp_path / "9" / "0"
    folder.mkdir(parents=True)
    top = folder / "lsst.v9_0.alert.avsc"
    for content in ("no json", "[]", (rubin.schemas / "9" / "0" / top.name).read_text()):  # the last lacks its parts
        top.write_text(content)
        reason, message = refused(rubin.frame(), tmp_path)
        assert reason == "INVALID_SCHEMA"
        assert str(top) in message


# --- times, ids, names


def test_times_are_those_of_the_clock() -> None:
    """Rubin counts in TAI, the platform in UTC."""
    for mjd in (61002.07718285895, 60676.0, 58000.5):
        assert utc_jd(mjd) == pytest.approx(Time(mjd, format="mjd", scale="tai").utc.jd, abs=1e-9)


@pytest.mark.parametrize(
    ("tai", "night"),
    [
        ("2025-11-22T12:00:00", "2025-11-22"),
        ("2025-11-23T11:59:59", "2025-11-22"),
        ("2026-01-01T03:00:00", "2025-12-31"),
    ],
)
def test_a_night_goes_from_noon_to_noon(tai: str, night: str) -> None:
    assert day_obs(Time(tai, scale="tai").mjd) == night


def test_names_and_ids() -> None:
    lsst = LSST()
    for name, stock in ((str(OBJECT), OBJECT), ("1", 1), ("SSO22413508440733751", -22413508440733751)):
        assert (lsst.stock_id(name), lsst.stock_name(stock)) == (stock, name)
    for name in ("", "0", "-5", "ZTF18aaaaaaa", "SSO", "SSO0", "007", "1.5", str(1 << 63), "\u0661", " 1"):
        with pytest.raises(ValueError, match=r"LSST name|64 bits"):
            lsst.stock_id(name)


def test_forced_measurements_have_ids_of_their_own() -> None:
    """Their number may be that of a detection of the same image; and it changes when they are measured anew."""
    detection = make_dia_source(mjd_tai=61000.25)
    forced = make_dia_forced_source(mjd_tai=61000.25, diaForcedSourceId=detection["diaSourceId"])
    alert = made(history=[detection], forced=[forced, {**forced, "diaForcedSourceId": 5}])
    assert [point.kind for point in alert.points] == ["detection", "detection", "forced"]
    assert alert.points[2].id == forced_id(OBJECT, forced["visit"], 131) != alert.points[1].id
    # Another object of the same image has another measurement.
    assert forced_id(OBJECT + 1, forced["visit"], 131) != alert.points[2].id


def test_a_packet_names_each_point_once() -> None:
    earlier = make_dia_source(mjd_tai=61000.25)
    alert = made(history=[earlier, earlier, make_dia_source()])
    assert [point.jd for point in alert.points] == [utc_jd(61002.07718), utc_jd(61000.25)]


# --- solar system


def test_solar_system_objects_are_for_those_who_ask() -> None:
    alert = made(object_id=None, ssObjectId=22413508440733751)
    assert (alert.stock, alert.name) == (-22413508440733751, "SSO22413508440733751")
    assert alert.tag == ("LSST_SSO", "LSST_R", "LSST_DP")
    assert not LSST().covers(LSST.public_access, alert.tag)
    assert LSST().covers(["LSST", "LSST_SSO"], alert.tag)
    assert LSST().covers(LSST.public_access, made().tag)


def test_an_associated_source_stays_with_its_object() -> None:
    assert made(ssObjectId=22413508440733751).stock == OBJECT
    assert made(ssObjectId=0).stock == OBJECT


def test_a_source_of_no_object() -> None:
    assert refused(make_lsst_alert(object_id=None))[0] == "INVALID_FIELD"
    assert refused(make_lsst_alert(object_id=0, ssObjectId=0))[0] == "INVALID_FIELD"


# --- photometry


def test_fluxes_of_the_real_alert(rubin) -> None:
    alert = alert_of(rubin.json)
    curve = LSST().light_curve(alert.stock, alert.points)
    sent = sorted([rubin.alert["diaSource"], *rubin.alert["prvDiaSources"]], key=lambda s: s["midpointMjdTai"])
    assert list(curve.flux_njy) == [source["psfFlux"] for source in sent]
    assert list(curve.band) == [source["band"] for source in sent]
    assert curve.mag[-1] == pytest.approx(21.8856, abs=1e-4)  # 31.4 - 2.5 log10(6394.06)
    assert curve.mag_limit[-1] == pytest.approx(24.0757, abs=1e-4)  # of 5 x 170.12 nJy
    assert curve.ra_deg[-1] == alert.candidate["ra"]
    table = curve.flux_table()
    assert list(table) == ["time", "band", "flux", "fluxerr", "zp", "zpsys", "limit"]
    assert len(table) == 21
    assert set(table["band"]) == {"lsstg", "lsstr", "lssti", "lsstz"}
    assert set(table["zp"]) == {31.4}


def test_magnitudes() -> None:
    curve = LSST().light_curve(OBJECT, made(flux_njy=1000.0, flux_err_njy=100.0).points)
    assert curve.mag[0] == pytest.approx(23.9)  # 1000 nJy
    assert curve.mag_err[0] == pytest.approx(0.10857, abs=1e-5)
    assert curve.mag_limit[0] == pytest.approx(24.6526, abs=1e-4)
    assert bool(curve.positive[0])


def test_a_source_that_has_faded() -> None:
    curve = LSST().light_curve(OBJECT, made(flux_njy=-1000.0, flux_err_njy=100.0).points)
    assert curve.flux_njy[0] == -1000
    assert curve.mag[0] == pytest.approx(23.9)  # how much light is missing
    assert not bool(curve.positive[0])


def test_the_flag_of_version_7_is_known_too() -> None:
    curve = LSST().light_curve(OBJECT, made(isNegative=None, is_negative=True).points)
    assert not bool(curve.positive[0])


@pytest.mark.parametrize(("flux", "shown"), [(301.0, True), (299.0, False), (-1000.0, False), (None, False)])
def test_forced_photometry_has_a_magnitude_from_three_sigma_on(flux: float | None, shown: bool) -> None:
    points = made(forced=[make_dia_forced_source(mjd_tai=61001.0, flux_err_njy=100.0, psfFlux=flux)]).points
    curve = LSST().light_curve(OBJECT, points).of_kind("forced")
    assert len(curve) == 1
    assert bool(curve.mag[0] == curve.mag[0]) is shown
    assert len(curve.flux_table()) == (flux is not None)
    assert curve.mag_limit[0] == pytest.approx(24.6526, abs=1e-4)


@pytest.mark.parametrize("error", [None, 0.0, -1.0, float("nan"), float("inf")])
def test_a_flux_without_an_error_has_no_limit(error: float | None) -> None:
    curve = LSST().light_curve(OBJECT, made(psfFluxErr=error).points)
    assert curve.mag_limit[0] != curve.mag_limit[0]
    assert curve.mag[0] == pytest.approx(21.885, abs=1e-3)


# --- stamps


def test_stamps_are_packed(rubin) -> None:
    sent = {**rubin.alert, "cutoutScience": b"SIMPLE  =", "cutoutDifference": b"SIMPLE  2", "cutoutTemplate": None}
    stamps = alert_of(rubin.frame(sent), rubin.schemas).cutouts()
    assert {name: gzip.decompress(stamp) for name, stamp in stamps.items()} == {
        "science": b"SIMPLE  =",
        "difference": b"SIMPLE  2",
    }
    text = {**rubin.alert, "cutoutScience": "U0lNUExFICA9"}
    assert alert_of(json.dumps(text).encode()).cutouts() == {"science": stamps["science"]}
    assert refused({**rubin.alert, "cutoutScience": "§"})[0] == "INVALID_FIELD"


# --- what is broken


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"diaSource": None}, "INVALID_FIELD"),
        ({"diaSource": [1]}, "INVALID_FIELD"),
        ({"diaSource": {}}, "INVALID_FIELD"),
        ({"prvDiaSources": {"a": 1}}, "INVALID_FIELD"),
        ({"prvDiaSources": [None]}, "INVALID_FIELD"),
        ({"prvDiaForcedSources": ["x"]}, "INVALID_FIELD"),
        ({"prvDiaForcedSources": [{"visit": 1}]}, "INVALID_FIELD"),
    ],
)
def test_records_that_are_none(change: dict[str, Any], reason: str) -> None:
    assert refused({**make_lsst_alert(), **change})[0] == reason


@pytest.mark.parametrize(
    "field",
    [
        {"diaSourceId": None},
        {"diaSourceId": 1.5e17},
        {"diaSourceId": "12"},
        {"diaSourceId": 1 << 63},
        {"diaObjectId": -4},
        {"diaObjectId": True},
        {"midpointMjdTai": float("nan")},
        {"midpointMjdTai": 1e12},
        {"midpointMjdTai": "61002.5"},
        {"ra": None},
        {"dec": float("inf")},
        {"detector": None},
        {"psfFlux": "bright"},
        {"psfFlux": [1.0]},
        {"band": 3},
        {"visit": 1 << 70},
        {"target\x00": 1},
        {"note": "half a character \ud800"},
        {"more": {"nested": 1}},
    ],
    ids=str,
)
def test_fields_that_cannot_be(field: dict[str, Any]) -> None:
    """JSON has no schema: what could not be stored, or would break a unit later, is refused here."""
    assert refused({**make_lsst_alert(), "diaSource": {**make_dia_source(), **field}})[0] == "INVALID_FIELD"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "NOT_AVRO"),
        (b"\x00", "NOT_AVRO"),
        (b"\x00\x00\x00\x03\x84", "NOT_AVRO"),
        (b"PAR1", "NOT_AVRO"),
        (b"[1]", "NOT_AVRO"),
        (b"{", "UNREADABLE"),
        (b'{"diaSource": "\xff"}', "UNREADABLE"),
        (b'{"a":' * 100_000, "UNREADABLE"),
    ],
)
def test_bytes_that_are_no_packet(data: bytes, reason: str) -> None:
    assert refused(data)[0] == reason


def test_a_frame_cut_anywhere_is_refused(rubin) -> None:
    whole = rubin.frame()
    for cut in [*range(6, 600, 7), len(whole) // 2]:
        assert refused(whole[:cut], rubin.schemas)[0] in ("UNREADABLE", "INVALID_FIELD")


def test_a_damaged_frame_raises_nothing(rubin) -> None:
    """A frame has no checksum: a changed bit may go unnoticed, but never further than the packet."""
    chance, instrument = random.Random(1), LSST(rubin.schemas)
    whole = rubin.frame(make_lsst_alert(history=[make_dia_source(mjd_tai=61000.25)] * 3))
    for _ in range(1500):
        data = bytearray(whole)
        data[chance.randrange(5, len(data))] ^= 1 << chance.randrange(8)
        (found,) = instrument.decode(Packet(bytes(data), "test", 0))
        if isinstance(found, Alert):
            try:
                points = found.points
            except AlertFormatError:
                continue
            assert len({point.id for point in points}) == len(points)
            assert len(instrument.light_curve(found.stock, points)) == len(points)
