"""Rubin's packets from bytes to report, and two surveys in one instance; numbers are those of the packets."""

import csv
import json
import math
from collections import Counter

import pytest

from ampel_dagster.model.errors import UserError
from ampel_dagster.notebook import Base
from ampel_dagster.testing import make_alert, make_lsst_alert, write_archive

OBJECT = 169562325793636358
NIGHT = "2025-11-22"
#: A star beside the real alert, and one far away.
CATALOG = "name,ra_deg,dec_deg\nnear,9.9709,-43.6521\nfar,10.5,-43.6\n"
PROCESSES = {
    "t3/pages.yaml": {"units": [{"unit": "LightCurveReport"}], "trigger": {"on": "t2"}},
    "t3/table.yaml": {
        "units": [
            {
                "unit": "TransientTable",
                "config": {"columns": ["name", "summary.ndet", "summary.peak_mag", "near.stars.distance_arcsec"]},
            }
        ],
        "trigger": {"on": "t2"},
    },
}


def channel(name, survey, block=None, **more):
    asked = {"t2": ["summary", "near"], **(block or {})}
    return {f"channels/{name}.yaml": {"channel": name, survey: asked, "t3": ["table", "pages"], **more}}


def bright(flux_njy):
    """A filter on a field of Rubin's."""
    return {"unit": "BasicFilter", "config": {"all_of": [{"attribute": "psfFlux", "operator": ">", "value": flux_njy}]}}


@pytest.fixture(scope="module")
def platform(make_platform, rubin, tmp_path_factory):
    """Two surveys, three channels of the one and one of the other; all packets that there are of Rubin's."""
    stars = tmp_path_factory.mktemp("catalogs") / "stars.csv"
    stars.write_text(CATALOG)
    search = {"stars": {"radius_arcsec": 5, "path": str(stars), "columns": ["name"]}}
    files = {
        "streams/lsst.yaml": {
            "survey": "lsst",
            "start_date": "2025-06-01",
            "schemas": {"folder": str(rubin.schemas)},
        },
        "t2/near.yaml": {"unit": "CatalogMatch", "config": {"catalogs": search}},
        **PROCESSES,
        **channel("ALL", "lsst"),
        **channel("BRIGHT", "lsst", {"filter": bright(5000)}),
        **channel("MOVING", "lsst", access=["LSST", "LSST_SSO"]),
        **channel("OPTICAL", "ztf"),
    }
    platform = make_platform({}, files)
    landed = tmp_path_factory.mktemp("rubin")
    (landed / "1.json").write_bytes(rubin.json)
    for version, data in rubin.fakes.items():
        (landed / f"2_{version}.avro").write_bytes(data)
    (landed / "3_frame.avro").write_bytes(rubin.frame())
    (landed / "4_unknown.avro").write_bytes(rubin.frame()[:3] + b"\x7f\x7f" + rubin.frame()[5:])
    moving = make_lsst_alert(object_id=None, ssObjectId=22413508440733751, mjd_tai=61002.25)
    (landed / "5_moving.json").write_text(json.dumps(moving))
    platform.ingest(landed, survey="lsst")
    platform.lsst = platform.store.survey("lsst")
    platform.landed = landed
    return platform


def test_every_packet_is_accounted_for(platform):
    counts = Counter()
    for batch in platform.store.batches.collection.find({"kind": "ingest", "survey": "lsst"}):
        counts.update(batch["counts"])
    told = {key: counts[key] for key in ("read", "new", "known", "rejected", "quarantined")}
    # New: the real alert, the made-up one, the moving object. Known: two more versions, and the frame.
    assert told == {"read": 8, "new": 3, "known": 3, "rejected": 0, "quarantined": 2}
    reasons = {d["member"]: d["reason"] for d in platform.store.quarantine.collection.find()}
    # The sample of 7.4 has a time that is no date.
    assert reasons == {"2_7.4.avro": "INVALID_FIELD", "4_unknown.avro": "UNKNOWN_SCHEMA"}
    unknown = platform.store.quarantine.collection.find_one({"reason": "UNKNOWN_SCHEMA"})
    assert "schema/326/39/lsst.v326_39.alert.avsc" in unknown["error"]  # 0x7f7f = 32639


def test_what_is_stored_is_what_the_packets_hold(platform):
    found = platform.counts()["lsst"]
    assert (found["alert"], found["stock"]) == (3, 3)
    # 21 sources of the real alert, 3 of the made-up one, 1 of the moving object
    assert found["t0"] == {"total": 25, "detections": 25, "upper_limits": 0, "forced": 0, "superseded": 0}
    assert found["t1"] == {"total": 3, "dps": 25}
    assert found["t2"] == {"summary": {"0": 3}, "near": {"0": 3}}
    channels = {d["_id"]: d["channel"] for d in platform.lsst.ledger.alert.find()}
    assert channels == {
        169641461369274412: ["ALL", "BRIGHT", "MOVING"],
        281323062375219200: ["ALL", "MOVING"],
        next(id_ for id_ in channels if id_ not in (169641461369274412, 281323062375219200)): ["MOVING"],
    }


def test_the_packet_with_a_schema_is_the_richer_one(platform):
    """JSON does not say its version: the frame of the same alert does, and so does the newest of the samples."""
    ranks = {d["_id"]: d["rank"] for d in platform.lsst.ledger.alert.find()}
    assert (ranks[169641461369274412], ranks[281323062375219200]) == (900, 1100)


def test_a_channel_without_the_right_sees_no_moving_object(platform):
    (moving,) = platform.lsst.ledger.alert.find({"channel": ["MOVING"]})
    verdicts = {name: verdict["code"] for name, verdict in moving["verdict"].items()}
    assert verdicts == {"ALL": -1001, "BRIGHT": -1001, "MOVING": 0}
    (point,) = platform.lsst.points.collection.find({"stock": moving["stock"]})
    assert (point["channel"], point["tag"]) == (["MOVING"], ["LSST_SSO", "LSST_R", "LSST_DP"])


def test_results_are_numbers_of_the_packet(platform, rubin):
    sent = [rubin.alert["diaSource"], *rubin.alert["prvDiaSources"]]
    base = Base(platform.store, platform.config)
    transient = base[str(OBJECT)]
    results = transient.t2().set_index("product")["result"]
    summary, near = results["summary"], results["near"]
    assert summary["ndet"] == len(sent) == 21
    assert summary["bands"] == ["g", "r", "i", "z"]
    for band, number in Counter(source["band"] for source in sent).items():
        assert summary[f"ndet_{band}"] == number
    brightest = max(sent, key=lambda source: source["psfFlux"])
    assert summary["peak_mag"] == pytest.approx(31.4 - 2.5 * math.log10(brightest["psfFlux"]))
    assert summary["peak_band"] == brightest["band"]
    span = max(s["midpointMjdTai"] for s in sent) - min(s["midpointMjdTai"] for s in sent)
    assert summary["duration_days"] == pytest.approx(span)
    assert near["stars"]["name"] == "near"
    assert near["stars"]["n_matches"] == 1
    frame = transient.light_curve()
    assert sorted(frame["flux_njy"]) == sorted(source["psfFlux"] for source in sent)
    assert set(frame["kind"]) == {"detection"}
    with pytest.raises(UserError, match="lsst, ztf"):
        base.results("summary", "ALL", NIGHT)
    assert len(base.results("summary", "ALL", NIGHT, "lsst")) == 1


def test_reports(platform):
    platform.run("react")
    folder = platform.folder / "reports"
    (table,) = folder.glob(f"table/BRIGHT/{NIGHT}/*.csv")
    (row,) = csv.DictReader(table.open())
    assert row["name"] == str(OBJECT)
    assert (float(row["summary.ndet"]), float(row["summary.peak_mag"])) == (21, pytest.approx(21.826, abs=1e-3))
    assert float(row["near.stars.distance_arcsec"]) < 1
    pages = {page.parent.parent.name: page.read_text() for page in folder.glob(f"pages/*/{NIGHT}/index.html")}
    assert set(pages) == {"ALL", "BRIGHT", "MOVING"}
    assert all(str(OBJECT) in page for page in pages.values())
    assert "SSO22413508440733751" in pages["MOVING"]
    assert "SSO" not in pages["ALL"]
    objects = [page for page in folder.glob(f"pages/BRIGHT/{NIGHT}/**/*.html") if page.name != "index.html"]
    assert any("21.8" in page.read_text() for page in objects)


def test_a_replay_changes_nothing(platform):
    before = platform.counts()
    content = {name: d for name, d in platform.content().items() if name.startswith("lsst.")}
    platform.ingest(platform.landed, survey="lsst")
    assert platform.counts() == before
    assert {name: d for name, d in platform.content().items() if name.startswith("lsst.")} == content


def test_the_other_survey_does_not_notice(platform):
    lsst = platform.counts()["lsst"]
    assert platform.counts()["ztf"]["alert"] == 0
    night = platform.folder / "landing" / "night.tar.gz"
    alerts = [make_alert(jd=2458349.7, cutouts=False), make_alert(name="ZTF18aaaaaab", jd=2458349.7, tblid=2)]
    write_archive(night, alerts)
    platform.ingest(night)
    found = platform.counts()
    assert found["lsst"] == lsst
    assert found["ztf"]["alert"] == found["ztf"]["stock"] == found["ztf"]["t1"]["total"] == 2
    assert found["ztf"]["t2"] == {"summary": {"0": 2}, "near": {"0": 2}}
    assert {d["channel"][0] for d in platform.ztf.ledger.alert.find()} == {"OPTICAL"}
    assert Base(platform.store, platform.config)["ZTF18aaaaaab"].stock.survey == "ztf"


def test_nights_of_an_archive(make_platform):
    """The assets, for a night as Rubin counts them; its file holds one packet a line."""
    archive = {"folder": "archive", "pattern": "lsst_{night:%Y%m%d}.jsonl"}
    stream = {"survey": "lsst", "start_date": "2025-06-01", "archive": archive}
    platform = make_platform(
        {}, {"streams/lsst.yaml": stream, **channel("ALL", "lsst", {"t2": ["summary"]}, t3=["table"])}
    )
    # Before and after midnight, and in the morning: one night. Noon begins the next one.
    times = (60999.99, 61000.01, 61000.45)
    alerts = [make_lsst_alert(object_id=n, mjd_tai=time) for n, time in enumerate(times, 1)]
    text = "\n".join(json.dumps(alert) for alert in alerts)
    (platform.folder / "archive" / "lsst_20251120.jsonl").write_text(text + "\nno packet\n")
    platform.run("reprocess", partition="ALL|2025-11-20")
    found = platform.counts()
    assert (found["lsst"]["alert"], found["lsst"]["t1"]["total"], found["quarantine"]) == (3, 3, 1)
    assert found["lsst"]["t2"] == {"summary": {"0": 3}}
    assert {d["night"] for d in platform.store.survey("lsst").ledger.alert.find()} == {"2025-11-20"}
    assert [partition for partition, _ in platform.materialized("lsst", "t2", "summary")] == ["ALL|2025-11-20"]
    platform.run("report", partition="ALL|2025-11-20")
    (table,) = (platform.folder / "reports" / "table" / "ALL" / "2025-11-20").glob("*.csv")
    assert [(row["name"], row["summary.ndet"]) for row in csv.DictReader(table.open())] == [(n, "1") for n in "123"]
