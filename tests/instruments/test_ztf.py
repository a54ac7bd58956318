"""ZTF: ids, names, tags and photometry; the rules are AMPEL's, and so are the expected numbers."""

import json
from collections import Counter
from io import BytesIO
from math import log
from pathlib import Path
from typing import Any

import fastavro
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ampel_dagster.instruments.ztf import ZTF, forced_id, tags, upper_limit_id
from ampel_dagster.model.alert import Alert, Packet
from ampel_dagster.model.datapoint import DataPoint
from ampel_dagster.sources.files import list_files, read_file
from ampel_dagster.testing import encode_packet, make_alert, make_detection, make_limit

pytestmark = pytest.mark.usefixtures("reader")

#: Files of data/ztf with the versions of their schemas, the numbers of alerts, of detections (distinct) and of rows
#: of upper limits: data/README.md, counted there with fastavro.
FILES = {
    "ztf_public_20180819_mod1000.tar.gz": ({300}, 30, 304, 469),
    "ZTF18abxhyqv.tar.gz": ({310, 320}, 4, 7, 11),
    "ZTF18acruwxq.tar.gz": ({330}, 3, 18, 57),
    "single/v1.3_ipac_simulated_121540793515135002.avro": ({130}, 1, 49, 26),
    "single/v1.8_516171791415015025.avro": ({180}, 1, 1, 43),
    "single/v1.8_516401800615015114.avro": ({180}, 1, 5, 29),
    "single/v3.2_739260766315010006.avro": ({320}, 1, 23, 6),
    "single/v3.2_ztf_sample.avro": ({320}, 1, 1, 11),
    "single/v3.3_472263571115115000.avro": ({330}, 1, 1, 11),
    "single/v3.3_ampel_ZTF20abyfpze.avro": ({330}, 1, 41, 83),
}
JD = 2458349.7


def decode(packet: Packet) -> Alert:
    (alert,) = ZTF().decode(packet)
    assert isinstance(alert, Alert)
    return alert


def alerts_of(path: Path) -> list[Alert]:
    """Alerts of a file, or of all files of a folder that are sound."""
    files = [file for file in list_files([path]) if file.parent.name != "bad"]
    return [decode(packet) for file in files for packet in read_file(file) if isinstance(packet, Packet)]


def made(**fields: Any) -> Alert:
    return decode(Packet(encode_packet(make_alert(cutouts=False, **fields)), "made", 0))


@pytest.fixture(scope="module")
def ampel(data: Path) -> dict[str, list[dict[str, Any]]]:
    """What AMPEL itself stored of the thirty alerts of 2018-08-19, by collection."""
    path = data.parent / "peer_ampel" / "expected_mod1000.jsonl"
    if not path.is_file():
        pytest.skip("AMPEL's own output is not there (../shared/peer_ampel)")
    found: dict[str, list[dict[str, Any]]] = {}
    for line in path.read_text().splitlines():
        document = json.loads(line)
        found.setdefault(document["col"], []).append(document)
    return found


# --- names ---


def test_names_and_ids_are_ampels(ampel: dict[str, list[dict[str, Any]]]) -> None:
    assert len(ampel["stock"]) == 30
    for stock in ampel["stock"]:
        (name,) = stock["name"]
        assert ZTF().stock_id(name) == stock["stock"]
        assert ZTF().stock_name(stock["stock"]) == name


@pytest.mark.parametrize(
    ("name", "stock"),
    [
        # From the documentation of AMPEL's ZTFIdMapper.
        ("ZTF17aaaaaaa", 0),
        ("ZTF18aaaaaaa", 1),
        ("ZTF17aaaaaab", 16),
        ("ZTF32zzzzzzz", 128508962815),
    ],
)
def test_first_and_last_names(name: str, stock: int) -> None:
    assert ZTF().stock_id(name) == stock
    assert ZTF().stock_name(stock) == name


@given(stock=st.integers(0, 128508962815))
def test_every_id_has_one_name(stock: int) -> None:
    assert ZTF().stock_id(ZTF().stock_name(stock)) == stock


@settings(max_examples=40)
@given(name=st.one_of(st.text(max_size=15), st.from_regex(r"ZTF\d\d[a-z]{7}", fullmatch=True)))
@example("ZTF16aaaaaaa")
@example("ZTF33aaaaaaa")
@example("ZTF18aaaaaaa\n")
@example("ZTF18AAAAAAA")
@example("ZTF١٨aaaaaaa")
@example("2018abc")
def test_what_is_no_name_is_refused(name: str) -> None:
    try:
        stock = ZTF().stock_id(name)
    except ValueError:
        return
    assert ZTF().stock_name(stock) == name


# --- datapoints ---


def test_datapoints_are_ampels(data: Path, ampel: dict[str, list[dict[str, Any]]]) -> None:
    points = [p for alert in alerts_of(data / "ztf" / "ztf_public_20180819_mod1000.tar.gz") for p in alert.points]
    expected = {document["id"]: document for document in ampel["t0"]}
    assert {point.id for point in points} == set(expected)
    for point in points:
        like = expected[point.id]
        assert (point.jd, sorted(point.tag)) == (like["jd"], sorted(set(like["tag"]) - {"SUPERSEDED"}))
        if point.kind == "upper_limit":
            assert len(point.body) == like["nkeys"]


def test_id_of_an_upper_limit_is_that_of_ampels_documentation() -> None:
    assert upper_limit_id(2458089.7405324, 28, 19.024799346923828) == -3352405322819025
    # The survey gives the read-out channel in the number of the exposure alone: 335240532815 -> 28.
    limit = make_limit(jd=2458089.7405324, maglim=19.024799346923828) | {"pid": 335240532815, "rcid": None}
    (point,) = made(history=[limit]).upper_limits
    assert (point.id, point.sensor, point.body["rcid"]) == (-3352405322819025, 28, 28)


@pytest.mark.parametrize("maglim", [-1006.94, -0.001, float("nan"), None])
def test_limits_that_mean_nothing_are_dropped(maglim: float | None) -> None:
    good, bad = make_limit(jd=JD - 2), make_limit(jd=JD - 1) | {"diffmaglim": maglim}
    alert = made(jd=JD, history=[good, bad])
    assert [point.jd for point in alert.upper_limits] == [JD - 2]


def test_an_upper_limit_keeps_its_exposure_only(data: Path) -> None:
    for alert in alerts_of(data / "ztf" / "single"):
        for point in alert.upper_limits:
            assert set(point.body) == {"jd", "diffmaglim", "rcid", "fid", "programid"}
            assert (point.body["jd"], point.body["rcid"]) == (point.jd, point.sensor)


def test_forced_photometry_has_stable_ids() -> None:
    names = {"stock": 1, "jd": JD, "fid": 1, "rcid": 20, "programid": 1}
    assert forced_id(**names) == forced_id(**names)  # type: ignore[arg-type]
    others = [names | {"stock": 2}, names | {"jd": JD + 1e-7}, *(names | {key: 2} for key in names if key[-2:] == "id")]
    ids = {forced_id(**other) for other in [names, *others]}  # type: ignore[arg-type]
    assert len(ids) == 1 + len(others)
    assert all(-(2**63) <= id_ < 2**63 for id_ in ids)


def test_forced_photometry_is_the_same_point_in_every_packet() -> None:
    """The flux of an exposure may be measured anew: it stays the same datapoint of the same object."""
    row = forced_row(2458330.7, 100.0, 10.0)
    again = [made(jd=JD + n, tblid=n, forced=[row | {"forcediffimflux": 100.0 + n}]) for n in range(3)]
    other = made(name="ZTF18aaaaaab", forced=[row])
    ids = [[point.id for point in alert.points if point.kind == "forced"] for alert in [*again, other]]
    assert ids[0] == ids[1] == ids[2] != ids[3]


def test_forced_photometry_of_real_packets_is_told_apart(data: Path) -> None:
    alerts = alerts_of(data / "ztf" / "fp_v4")
    forced = [point for alert in alerts for point in alert.points if point.kind == "forced"]
    assert len(forced) == len({point.id for point in forced}) == 142
    assert all("ZTF_FP" in point.tag for point in forced)
    assert all(not {"ZTF_FP"} & set(point.tag) for alert in alerts for point in (*alert.detections,))


def test_bodies_lose_investigators_and_folders(data: Path) -> None:
    for alert in alerts_of(data / "ztf" / "single"):
        for point in alert.points:
            assert not {"candid", "programpi"} & set(point.body)
            assert "/" not in (point.body.get("pdiffimfilename") or "")
        name = alert.candidate["pdiffimfilename"]
        assert alert.points[0].body["pdiffimfilename"] == (Path(name).name.removesuffix(".fz") if name else name)


def test_points_come_newest_first_and_the_candidate_before_all(data: Path) -> None:
    for alert in alerts_of(data / "ztf"):
        first, *history = alert.points
        assert (first.id, first.jd) == (alert.id, alert.jd)
        assert [point.jd for point in history] == sorted((point.jd for point in history), reverse=True)


def test_a_candidate_tells_more_than_a_row_of_a_history(data: Path) -> None:
    old, new = (decode(packet) for packet in twins(data))
    assert old.id == new.id
    assert (old.rank, new.rank) == (320, 330)
    assert old.points[0].rank < new.points[0].rank
    assert max(point.rank for point in new.points[1:]) < old.points[0].rank


# --- rights ---


@pytest.mark.parametrize(
    ("programid", "rights"),
    # AMPEL's table (ampel.ztf.ingest.tags); a program that it does not know is nobody's but the partnership's.
    [
        (1, {"ZTF_PUB"}),
        (2, {"ZTF_PRIV"}),
        (3, {"ZTF_PUB", "ZTF_PRIV"}),
        (0, {"ZTF_PUB", "ZTF_PRIV"}),
        (64, {"ZTF_PRIV"}),
        (-1, {"ZTF_PRIV"}),
        (None, {"ZTF_PRIV"}),
    ],
)
@pytest.mark.parametrize(("fid", "band"), [(1, {"ZTF_G"}), (2, {"ZTF_R"}), (3, {"ZTF_I"}), (9, set()), (None, set())])
def test_rights_and_bands(programid: int | None, rights: set[str], fid: int | None, band: set[str]) -> None:
    found = tags(programid, fid)
    assert set(found) == {"ZTF"} | rights | band
    assert ZTF().covers(["ZTF", "ZTF_PUB"], found) is ("ZTF_PUB" in rights)
    assert ZTF().covers(["ZTF_PRIV"], found) is ("ZTF_PRIV" in rights)
    assert not ZTF().covers(["ZTF"], found)
    assert not ZTF().covers([], found)


def test_each_point_has_the_rights_of_its_own_exposure() -> None:
    rows = [make_detection(jd=JD - 1, programid=2), make_limit(jd=JD - 2, programid=2), make_limit(jd=JD - 3)]
    alert = made(jd=JD, history=rows)
    assert [ZTF().covers(ZTF.public_access, point.tag) for point in alert.points] == [True, False, False, True]
    assert ZTF().covers(ZTF.public_access, alert.tag)


# --- packets of all versions ---


@pytest.mark.parametrize("file", FILES)
def test_packets_of_all_versions_are_read(data: Path, file: str) -> None:
    ranks, n_alerts, n_detections, n_limits = FILES[file]
    alerts = alerts_of(data / "ztf" / file)
    assert {alert.rank for alert in alerts} == ranks
    assert len(alerts) == n_alerts
    kinds = Counter(point.kind for alert in alerts for point in alert.points)
    assert len({point.id for alert in alerts for point in alert.detections}) == n_detections
    assert (kinds["upper_limit"], kinds["forced"]) == (n_limits, 0)


def test_packets_with_forced_photometry_are_read(data: Path) -> None:
    alerts = alerts_of(data / "ztf" / "fp_v4")
    assert {alert.rank for alert in alerts} == {401}
    kinds = Counter(point.kind for alert in alerts for point in alert.points)
    assert kinds == {"detection": 15, "upper_limit": 261, "forced": 142}


def test_alerts_know_name_night_and_place(data: Path) -> None:
    (alert,) = alerts_of(data / "ztf" / "single" / "v3.2_739260766315010006.avro")
    assert (alert.name, alert.id, alert.night) == ("ZTF17aaacxxf", 739260766315010006, "2019-01-10")
    assert ZTF().position(alert.candidate) == (75.2007803, 35.3613954)
    (simulated,) = alerts_of(data / "ztf" / "single" / "v1.3_ipac_simulated_121540793515135002.avro")
    assert (simulated.id, simulated.night) == (-121540793515135002, "2016-09-01")


def test_stamps_are_gzipped_fits_or_absent(data: Path) -> None:
    (with_stamps,) = alerts_of(data / "ztf" / "single" / "v3.2_ztf_sample.avro")
    assert set(with_stamps.cutouts()) == {"science", "template", "difference"}
    assert all(stamp.startswith(b"\x1f\x8b") for stamp in with_stamps.cutouts().values())
    (without,) = alerts_of(data / "ztf" / "single" / "v3.3_ampel_ZTF20abyfpze.avro")
    assert without.cutouts() == {}


# --- photometry ---


def forced_row(jd: float, counts: float, error: float, zero_point: float = 26.4) -> dict[str, Any]:
    """A row of forced photometry."""
    limit = make_limit(jd=jd)
    row = {key: limit[key] for key in ("field", "rcid", "fid", "pid", "jd", "programid", "diffmaglim")}
    measured = {"forcediffimflux": counts, "forcediffimfluxunc": error, "magzpsci": zero_point}
    return {**row, "rfid": 1, "ranr": 150.0, "decnr": 20.0, "rcid": 20, **measured}


def test_fluxes_are_those_of_ab_magnitudes() -> None:
    """AB: 3631 Jy have magnitude 0, so that magnitude 18.9 is 1e-4 Jy (100,000 nJy, to 1 in 10,000)."""
    history = [make_detection(jd=JD - 1, mag=16.4, mag_err=0.01, positive=False, band="g")]
    alert = made(jd=JD, mag=18.9, mag_err=0.1, history=history)
    curve = ZTF().light_curve(alert.stock, alert.points)
    assert curve.mag.tolist() == pytest.approx([16.4, 18.9], abs=1e-5)
    assert curve.flux_njy == pytest.approx([-1e6, 1e5], rel=1e-4)
    assert curve.flux_njy == pytest.approx([-3631e9 * 10 ** (-0.4 * 16.4), 3631e9 * 10 ** (-0.4 * 18.9)], rel=1e-4)
    # One magnitude is a factor of 2.512: an error of 0.1 mag is one of 0.1 / 1.0857 of the flux.
    assert curve.flux_err_njy == pytest.approx([1e6 * 0.01 * log(10) / 2.5, 1e5 * 0.1 * log(10) / 2.5], rel=1e-4)
    assert curve.positive.tolist() == [False, True]
    assert curve.band.tolist() == ["g", "r"]


@pytest.mark.parametrize(("isdiffpos", "positive"), [("t", True), ("1", True), ("f", False), ("0", False)])
def test_the_sign_of_a_detection(isdiffpos: str, positive: bool) -> None:
    alert = made(isdiffpos=isdiffpos, mag=18.9)
    curve = ZTF().light_curve(alert.stock, alert.points)
    assert curve.positive.tolist() == [positive]
    assert (curve.flux_njy > 0).tolist() == [positive]
    assert curve.mag == pytest.approx([18.9])


def test_a_real_detection_below_the_reference(data: Path) -> None:
    (alert,) = alerts_of(data / "ztf" / "single" / "v3.2_739260766315010006.avro")
    last = ZTF().light_curve(alert.stock, alert.points)
    # isdiffpos f, magpsf 15.371134, sigmapsf 0.044493, diffmaglim 20.550894: 2.5705 mJy below.
    assert last.flux_njy[-1] == pytest.approx(-3631e9 * 10 ** (-0.4 * 15.371134), rel=1e-4)
    assert last.flux_err_njy[-1] / -last.flux_njy[-1] == pytest.approx(0.044493 / 1.085736, rel=1e-4)
    assert (last.mag[-1], last.mag_limit[-1]) == pytest.approx((15.371134, 20.550894))
    assert (last.ra_deg[-1], last.dec_deg[-1]) == (75.2007803, 35.3613954)
    assert not last.positive[-1]


def test_forced_fluxes() -> None:
    """Zero point 26.4: 1000 counts are 26.4 - 7.5 = 18.9 mag, which are 100,000 nJy."""
    rows = [
        forced_row(JD - 4, 1000.0, 50.0),
        forced_row(JD - 3, -1000.0, 50.0),
        forced_row(JD - 2, 100.0, 50.0),
        forced_row(JD - 1, -99999.0, -99999.0),
    ]
    alert = made(jd=JD, forced=rows)
    curve = ZTF().light_curve(alert.stock, alert.points).of_kind("forced")
    nan = float("nan")
    assert curve.flux_njy == pytest.approx([1e5, -1e5, 1e4, nan], rel=1e-6, nan_ok=True)
    assert curve.flux_err_njy == pytest.approx([5e3, 5e3, 5e3, nan], rel=1e-6, nan_ok=True)
    # A magnitude only where the flux is above three times its error.
    assert curve.mag == pytest.approx([18.9, nan, nan, nan], rel=1e-6, nan_ok=True)
    assert curve.mag_err == pytest.approx([0.05 * 1.085736, nan, nan, nan], rel=1e-5, nan_ok=True)
    assert curve.positive.tolist() == [True, False, True, True]


def test_real_forced_fluxes(data: Path) -> None:
    (alert, *_) = alerts_of(data / "ztf" / "fp_v4" / "2475433850015010009.avro")
    curve = ZTF().light_curve(alert.stock, alert.points).of_kind("forced")
    flux = dict(zip(curve.jd.tolist(), curve.flux_njy.tolist(), strict=True))
    # forcediffimflux -4684.184 and 2251.683 with magzpsci 26.1704 and 26.254.
    assert flux[2460227.8604861] == pytest.approx(-4684.184 * 3631e9 * 10 ** (-0.4 * 26.1704), rel=1e-4)
    assert flux[2460224.9191667] == pytest.approx(2251.683 * 3631e9 * 10 ** (-0.4 * 26.254), rel=1e-4)
    assert flux[2460228.9356366] != flux[2460228.9356366]  # -99999: could not be measured


def test_light_curves_are_sorted_and_tell_kinds_apart(data: Path) -> None:
    for alert in alerts_of(data / "ztf"):
        curve = ZTF().light_curve(alert.stock, alert.points)
        assert len(curve) == len(alert.points)
        assert curve.name == alert.name
        assert (curve.jd[:-1] <= curve.jd[1:]).all()
        kinds = Counter(point.kind for point in alert.points)
        assert {kind: len(curve.of_kind(kind)) for kind in kinds} == kinds
        assert set(curve.bands) <= {"g", "r", "i"}
        assert (curve.upper_limits.mag != curve.upper_limits.mag).all()


def test_an_empty_light_curve() -> None:
    curve = ZTF().light_curve(1, [])
    assert len(curve) == 0
    assert list(curve.to_pandas().columns)[:3] == ["id", "jd", "kind"]


def test_a_light_curve_of_bodies_that_lack_fields() -> None:
    points = [
        DataPoint(1, "detection", JD, 1, ("ZTF",), 1, {}),
        DataPoint(2, "forced", JD + 1, 1, ("ZTF",), 1, {}),
        DataPoint(3, "upper_limit", JD + 2, 1, ("ZTF",), 1, {}),
    ]
    curve = ZTF().light_curve(1, points)
    assert curve.id.tolist() == [1, 2, 3]
    assert (curve.flux_njy != curve.flux_njy).all()


def twins(data: Path) -> list[Packet]:
    """One alert in two versions of the schema."""
    names = ("v3.2_ztf_sample.avro", "v3.3_472263571115115000.avro")
    paths = [data / "ztf" / "single" / name for name in names]
    return [packet for path in paths for packet in read_file(path) if isinstance(packet, Packet)]


def test_the_version_of_a_schema_is_taken_from_the_header_where_the_packet_has_none(data: Path) -> None:
    path = data / "ztf" / "single" / "v1.8_516171791415015025.avro"
    reader = fastavro.reader(BytesIO(path.read_bytes()))
    (record,) = reader
    assert "schemavsn" not in record
    assert reader.writer_schema["version"] == "1.8"
    (alert,) = alerts_of(path)
    assert alert.rank == 180
