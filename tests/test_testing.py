"""The simulator's packets: real Avro, the same for the same seed, and made to order."""

import tarfile
from datetime import date
from gzip import decompress
from io import BytesIO
from pathlib import Path
from typing import Any

import fastavro
import pandas as pd
import pytest
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st

import ampel_dagster
from ampel_dagster.instruments.ztf import ZTF
from ampel_dagster.instruments.ztf_encode import encode_packet
from ampel_dagster.instruments.ztf_schema import ALERT, CANDIDATE, FP_HIST, PRV_CANDIDATE, field_names
from ampel_dagster.model.alert import Alert, Packet
from ampel_dagster.testing import (
    SimulatedAlert,
    Survey,
    host_catalog,
    make_alert,
    make_detection,
    make_limit,
    simulate_night,
    star_catalog,
    truth_table,
    write_archive,
)

NIGHT = "2018-04-02"
STAMPS = ("cutoutScience", "cutoutTemplate", "cutoutDifference")
INSTANCE = Path(ampel_dagster.__file__).parent / "instance"
seeds = st.integers(min_value=0, max_value=2**40)
nights = st.dates(min_value=date(2017, 11, 1), max_value=date(2032, 12, 31)).map(str)


@pytest.fixture(scope="module")
def tonight() -> list[SimulatedAlert]:
    return list(simulate_night(NIGHT, 60, forced=True))


def read_back(data: bytes) -> dict[str, Any]:
    (packet,) = fastavro.reader(BytesIO(data))
    return packet


def decoded(data: bytes) -> Alert:
    (alert,) = ZTF().decode(Packet(data, "test", 0))
    assert isinstance(alert, Alert)
    return alert


# --- bytes ---


@settings(max_examples=15, deadline=None)
@given(seed=seeds, night=nights)
def test_same_seed_gives_the_same_bytes(seed: int, night: str) -> None:
    first, second = ([alert.to_bytes() for alert in Survey(seed, 12, forced=True).night(night)] for _ in range(2))
    assert first == second


def test_other_seed_gives_other_objects() -> None:
    first, second = ({a.name for a in simulate_night("2018-08-19", 50, seed)} for seed in (1, 2))
    assert not first & second


@settings(max_examples=15, deadline=None)
@given(seed=seeds, night=nights)
def test_packets_read_back_as_they_were_written(seed: int, night: str) -> None:
    for alert in Survey(seed, 12, forced=True).night(night):
        packet = read_back(alert.to_bytes())
        assert packet == alert.packet
        assert list(packet) == list(field_names(ALERT))
        assert list(packet["candidate"]) == list(field_names(CANDIDATE))
        assert all(list(row) == list(field_names(PRV_CANDIDATE)) for row in packet["prv_candidates"] or ())
        assert all(list(row) == list(field_names(FP_HIST)) for row in packet["fp_hists"] or ())


def test_container_is_uncompressed_and_names_its_schema(tonight: list[SimulatedAlert]) -> None:
    reader = fastavro.reader(BytesIO(tonight[0].to_bytes()))
    assert reader.codec == "null"
    assert reader.writer_schema["version"] == tonight[0].packet["schemavsn"] == "4.02"


@pytest.mark.parametrize("change", [{"unknown": 1}, {"candid": "text"}, {"candidate": {}}])
def test_a_wrong_packet_is_not_encoded(change: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError)):
        encode_packet(make_alert() | change)


def test_the_platform_reads_the_packets(tonight: list[SimulatedAlert]) -> None:
    for simulated in tonight:
        alert = decoded(simulated.to_bytes())
        assert (alert.id, alert.name, alert.jd) == (simulated.candid, simulated.name, simulated.jd)
        assert ZTF().stock_name(alert.stock) == alert.name
        forced = simulated.packet["fp_hists"] or []
        assert len(alert.points) == 1 + len(simulated.packet["prv_candidates"] or []) + len(forced)
        assert len({point.id for point in alert.points}) == len(alert.points)
        assert sorted(alert.cutouts()) == ["difference", "science", "template"]


def test_stamps_are_fits_images_with_a_source_at_the_centre(tonight: list[SimulatedAlert]) -> None:
    variables = [alert for alert in tonight if alert.kind == "variable"]
    alert = min(variables, key=lambda one: float(one.packet["candidate"]["magpsf"]))
    for name in STAMPS:
        with fits.open(BytesIO(decompress(alert.packet[name]["stampData"]))) as hdus:
            hdus.verify("exception")
            assert hdus[0].data.shape == (63, 63)
    with fits.open(BytesIO(decompress(alert.packet["cutoutDifference"]["stampData"]))) as hdus:
        image = hdus[0].data
        assert image[31, 31] == image.max()


# --- hosts ---


def test_a_larger_catalog_begins_as_the_smaller_one() -> None:
    small, large = host_catalog(1, 50), host_catalog(1, 100)
    pd.testing.assert_frame_equal(small, large.head(len(small)))
    assert list(small) == ["name", "ra_deg", "dec_deg", "z"]
    assert large["name"].is_unique


def test_the_shipped_catalog_is_that_of_the_default_seed() -> None:
    shipped = pd.read_csv(INSTANCE / "catalogs" / "demo_galaxies.csv")
    made = host_catalog(n_objects=10_000).head(len(shipped))
    pd.testing.assert_frame_equal(shipped, made)
    assert len(shipped) >= len(host_catalog())


# --- packets to order ---


def test_make_alert_makes_a_plain_packet() -> None:
    packet = make_alert(name="ZTF19abcdefg", jd=2458700.8, ra=10.5, dec=-3.0, mag=17.25, band="g")
    assert read_back(encode_packet(packet)) == packet
    body = packet["candidate"]
    assert (packet["objectId"], body["jd"], body["ra"], body["dec"]) == (
        "ZTF19abcdefg",
        2458700.8,
        10.5,
        -3.0,
    )
    assert (body["magpsf"], body["fid"], body["isdiffpos"], body["programid"]) == (17.25, 1, "t", 1)
    assert packet["prv_candidates"] is None


def test_make_alert_takes_a_history_and_sorts_it() -> None:
    jds = [2458340.7, 2458330.7, 2458345.7]
    rows = [
        make_detection(jd=jds[0], mag=19.0),
        make_limit(jd=jds[1], maglim=20.1),
        make_detection(jd=jds[2]),
    ]
    packet = make_alert(history=rows)
    assert [row["jd"] for row in packet["prv_candidates"]] == sorted(jds)
    assert packet["candidate"]["ndethist"] == 3
    points = decoded(encode_packet(packet)).points
    assert [point.kind for point in points] == ["detection", "detection", "detection", "upper_limit"]
    assert [point.id for point in points[1:3]] == [rows[2]["candid"], rows[0]["candid"]]


def test_fields_can_be_set_and_misspelt_ones_are_refused() -> None:
    packet = make_alert(rb=0.1, ssnamenr="12", drb=None, candid=5)
    assert packet["candidate"]["rb"] == pytest.approx(0.1)
    assert packet["candidate"]["drb"] is None
    assert packet["candid"] == 5
    assert read_back(encode_packet(packet)) == packet
    assert make_detection(jd=2458340.7, rb=0.2)["rb"] == pytest.approx(0.2)
    assert make_limit(jd=2458340.7, rcid=3, programid=2)["programid"] == 2
    with pytest.raises(TypeError, match="sgscore9"):
        make_alert(sgscore9=1)
    with pytest.raises(ValueError, match="g, r, i"):
        make_alert(band="z")


def test_cutouts_can_be_left_out() -> None:
    packet = make_alert(cutouts=False)
    assert all(packet[name] is None for name in STAMPS)
    assert decoded(encode_packet(packet)).cutouts() == {}


# --- archives ---


def test_archive_holds_the_alerts(tmp_path: Path) -> None:
    alerts = list(Survey(1, 20).night(NIGHT))
    path = tmp_path / "sub" / "ztf_public_20180402.tar.gz"
    assert write_archive(path, alerts) == len(alerts)
    with tarfile.open(path) as archive:
        members = archive.getmembers()
        assert [member.name for member in members] == [f"{alert.candid}.avro" for alert in alerts]
        assert [archive.extractfile(m).read() for m in members] == [a.to_bytes() for a in alerts]  # type: ignore[union-attr]
    assert list(path.parent.iterdir()) == [path]


def test_archives_of_the_same_alerts_are_the_same(tmp_path: Path) -> None:
    paths = [tmp_path / "a.tar.gz", tmp_path / "b.tar.gz"]
    packets = [make_alert(tblid=1), make_alert(tblid=2)]
    for path in paths:
        write_archive(path, packets)
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_a_broken_archive_does_not_appear(tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        write_archive(tmp_path / "a.tar.gz", [make_alert(), make_alert() | {"candid": None}])
    assert list(tmp_path.iterdir()) == []


# --- truth ---


def test_sightings_are_the_alerts() -> None:
    survey = Survey(1, 105)
    told = [(alert.name, alert.kind, alert.jd, alert.candid) for alert in survey.night(NIGHT)]
    assert [(s.name, s.kind, s.jd, s.candid) for s in survey.sightings(NIGHT)] == told
    supernovae = [row for row in told if row[1] == "supernova"]
    assert [(s.name, s.kind, s.jd, s.candid) for s in survey.sightings(NIGHT, ("supernova",))] == supernovae
    assert supernovae


def test_truth_table_has_each_object_once_and_what_is_true_of_it() -> None:
    survey, both = Survey(1, 105), (NIGHT, "2018-04-03")
    alerts = [alert for night in both for alert in survey.night(night)]
    truth = truth_table(survey, both).set_index("name")
    assert truth.index.is_unique
    assert truth.n_alerts.sum() == len(alerts)
    for alert in alerts:
        row = truth.loc[alert.name]
        assert row.kind == alert.kind
        assert row.first_jd <= alert.jd <= row.last_jd
        assert {name: row[name] for name in alert.truth} == dict(alert.truth)
        assert abs(row.dec_deg - alert.packet["candidate"]["dec"]) < 1 / 3600
    # What is too young, too old or too near its mean was looked at in vain.
    unseen = truth[truth.n_alerts == 0]
    assert set(unseen.index).isdisjoint(alert.name for alert in alerts)
    assert "supernova" in set(unseen.kind)
    assert unseen.first_jd.isna().all()


def test_star_catalog_has_a_part_of_the_stars() -> None:
    every, some = star_catalog(1, 1000, known_share=1.0), star_catalog(1, 1000)
    truth = truth_table(Survey(1, 1000), (NIGHT,))
    assert set(truth[truth.kind == "variable"].name) <= set(every.name)
    assert set(some.name) < set(every.name)
    assert 0.6 < len(some) / len(every) < 0.8
