"""``explain``, ``filter``, ``channel``, ``quarantine`` and ``ledger`` on an instance of its own."""

import json
import sys
import uuid

import pytest
from click.testing import CliRunner

from ampel_dagster.cli import main
from ampel_dagster.storage.store import Store
from ampel_dagster.testing import encode_packet, make_alert, write_archive

NIGHT, JD = "2018-08-19", 2458349.7


def brighter(mag):
    value = {"attribute": "magpsf", "operator": "<", "value": mag}
    return {"unit": "BasicFilter", "config": {"all_of": [value]}}


class Shell:
    """Runs commands in this process."""

    def __init__(self, folder, uri):
        self.folder = folder
        self.env = {"AMPEL_INSTANCE": str(folder), "AMPEL_MONGO_URI": uri, "AMPEL_DB": f"test_{uuid.uuid4().hex[:12]}"}

    def __call__(self, *args, **more):
        with pytest.MonkeyPatch.context() as patch:
            for name, value in self.env.items():
                patch.setenv(name, value)
            for name in ("DAGSTER_HOME", "DAGSTER_DISABLE_TELEMETRY"):
                patch.setenv(name, "")  # set by commands, for what they start
            patch.delitem(sys.modules, "ampel_dagster.definitions", raising=False)
            result = CliRunner().invoke(main, [str(arg) for arg in args], **more)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    def ok(self, *args, **more):
        result = self(*args, **more)
        assert result.exit_code == 0, result.output
        return result.stdout

    def json(self, *args):
        return [json.loads(line) for line in self.ok(*args, "--json").splitlines()]

    def error(self, *args):
        result = self(*args)
        assert result.exit_code == 2, result.output
        return result.stderr.splitlines()[-1]


@pytest.fixture(scope="module")
def alerts():
    """Five objects of one night, of 17 to 21 mag."""
    return [
        make_alert(name=f"ZTF18aaaaaa{'abcde'[n]}", jd=JD, ra=150 + n, mag=17 + n, tblid=n + 1, cutouts=False)
        for n in range(5)
    ]


@pytest.fixture
def shell(make_instance, mongo_uri, alerts):
    channels = {
        "BRIGHT": {"filter": brighter(17.5)},
        "GATED": {"filter": brighter(18.5), "gate": {"night": NIGHT, "max_share": 0.3}},
    }
    folder = make_instance(channels)
    write_archive(folder / "archive" / "ztf_public_20180819.tar.gz", alerts)
    shell = Shell(folder, mongo_uri)
    yield shell
    store = Store.open(mongo_uri, shell.env["AMPEL_DB"])
    store.drop()
    store.close()


@pytest.fixture
def archive(shell):
    return shell.folder / "archive" / "ztf_public_20180819.tar.gz"


class TestExplain:
    def test_accepted_and_rejected(self, shell, archive, alerts):
        shell.ok("ingest", archive)
        (accepted,) = shell.json("explain", alerts[0]["candid"], "--channel", "BRIGHT")
        assert (accepted["origin"], accepted["code"], accepted["stored"]["code"]) == ("stored datapoints", 0, 0)
        assert accepted["filter"]["unit"] == "BasicFilter"
        assert [(cut["name"], cut["passed"]) for cut in accepted["cuts"]] == [("access", True), ("magpsf", True)]
        told = shell.ok("explain", alerts[3]["candid"], "--channel", "BRIGHT")
        assert f"from {archive}" in told
        assert "now:    rejected (-1 REJECTED) by magpsf" in told
        assert "stored: rejected (-1 REJECTED); by the channel as it is now" in told

    def test_what_to_do(self, shell, archive, alerts):
        id_ = alerts[3]["candid"]
        assert "give its packet: --from PATH" in shell.error("explain", id_, "--channel", "BRIGHT")
        assert "stored: no verdict" in shell.ok("explain", id_, "--channel", "BRIGHT", "--from", archive)
        assert "did you mean BRIGHT?" in shell.error("explain", id_, "--channel", "BRIHGT")
        assert "no such file" in shell.error("explain", id_, "--channel", "BRIGHT", "--from", "absent.avro")


class TestFilter:
    def test_rate(self, shell):
        ((bright, gated),) = shell.json("filter", "rate", "--nights", NIGHT)
        assert (bright["passed"], gated["passed"], gated["total"], gated["share"]) == (1, 2, 5, 0.4)
        assert gated["names"] == ["ZTF18aaaaaaa", "ZTF18aaaaaab"]
        assert "40.00%" in shell.ok("filter", "rate", "GATED", "--nights", "2018-08-01..2018-08-31")
        assert "no archive file for the night 2018-08-20" in shell.error("filter", "rate", "--nights", "2018-08-20")

    def test_diff_with_a_file(self, shell, tmp_path):
        """A file of any name holds another version of the channel."""
        other = tmp_path / "draft.yaml"
        other.write_text(json.dumps({"channel": "BRIGHT", "ztf": {"filter": brighter(19.5)}}))
        (found,) = shell.json("filter", "diff", "BRIGHT", other, "--nights", NIGHT)
        assert found["counts"] == {"both": 1, "a": 0, "b": 2, "neither": 2}
        assert [(d["name"], d["cut"], d["limit"]) for d in found["differences"]] == [
            ("ZTF18aaaaaab", "magpsf", "< 17.5"),
            ("ZTF18aaaaaac", "magpsf", "< 17.5"),
        ]
        told = shell.ok("filter", "diff", "BRIGHT", other, "--nights", NIGHT, "--most", "1")
        assert "and 1 more that differ" in told
        assert "BasicFilter 1" in told

    def test_wrong_files(self, shell, tmp_path):
        (tmp_path / "bad.yaml").write_text(
            json.dumps({"channel": "BRIGHT", "ztf": {"filter": {"unit": "BasicFiltre"}}})
        )
        line = shell.error("filter", "diff", "BRIGHT", tmp_path / "bad.yaml", "--nights", NIGHT)
        assert f"{tmp_path}/bad.yaml: ztf.filter.unit" in line
        assert "did you mean BasicFilter?" in line
        line = shell.error("filter", "diff", "BRIGHT", tmp_path / "absent.yaml", "--nights", NIGHT)
        assert line.endswith("absent.yaml: no such file")

    def test_nothing_is_written(self, shell):
        shell.ok("filter", "rate", "--nights", NIGHT)
        shell.ok("filter", "diff", "BRIGHT", "GATED", "--nights", NIGHT)
        counts = json.loads(shell.ok("counts", "--json"))["ztf"]
        assert (counts["alert"], counts["rejected"], counts["t0"]["total"]) == (0, 0, 0)


class TestGate:
    def test_the_way_of_a_channel(self, shell, archive):
        live = {row["channel"]: row["live"] for row in shell.json("channel", "status")}
        assert live == {"BRIGHT": True, "GATED": False}
        line = shell.error("channel", "activate", "GATED")
        assert "accepts 2 of 5 alerts of 2018-08-19 (40.0%), more than 30.0%" in line
        assert "GATED is not live" in shell.error("ingest", archive, "--channel", "GATED")
        # Without being named it is left out; over an archive it takes part.
        result = shell("ingest", archive)
        assert "left out: GATED" in result.stderr
        assert "│ 5    │ 1   │ 0     │ 4" in result.stdout
        shell.ok("backfill", "--channel", "GATED", "--nights", NIGHT, "--yes")
        assert json.loads(shell.ok("counts", "--json"))["ztf"]["alert"] == 2
        shell.ok("channel", "activate", "GATED", "--max-share", "0.5")
        assert "live already" in shell.ok("channel", "activate", "GATED")
        shell.ok("ingest", archive, "--channel", "GATED")
        assert "not live any more" in shell.ok("channel", "deactivate", "GATED")
        assert "GATED is not live" in shell.error("ingest", archive, "--channel", "GATED")

    def test_an_edited_filter_must_pass_again(self, shell):
        shell.ok("channel", "activate", "GATED", "--force")
        file = shell.folder / "channels" / "GATED.yaml"
        channel = json.loads(file.read_text())
        channel["ztf"]["filter"] = brighter(25.0)
        file.write_text(json.dumps(channel))
        (_, gated) = shell.json("channel", "status")
        assert (gated["live"], gated["activated"]) == (False, None)
        assert "accepts 5 of 5" in shell.error("channel", "activate", "GATED")

    def test_wrong_arguments(self, shell):
        assert "BRIGHT has no gate, and is live" in shell.error("channel", "activate", "BRIGHT")
        assert "the gate takes one night" in shell.error(
            "channel", "activate", "GATED", "--night", "2018-08-19..2018-08-20"
        )

    def test_a_gate_wants_a_filter(self, make_instance, mongo_uri):
        shell = Shell(make_instance({"A": {"gate": {"night": NIGHT}}}), mongo_uri)
        assert "channels/A.yaml: ztf.gate: there is no filter" in shell.error("check")


class TestQuarantine:
    @pytest.fixture
    def files(self, shell, tmp_path):
        """A packet of before the stream began, bytes that are none, and an archive that is none."""
        folder = tmp_path / "in"
        folder.mkdir()
        (folder / "early.avro").write_bytes(encode_packet(make_alert(jd=2457700.5, cutouts=False)))
        (folder / "nothing.avro").write_bytes(b"[bold]\xffno packet")
        (folder / "broken.tar").write_bytes(b"no archive")
        shell.ok("ingest", folder)
        return folder

    def test_list_and_show(self, shell, files, tmp_path):
        found = shell.json("quarantine", "list")
        assert {d["reason"]: d["replayable"] for d in found} == {
            "NIGHT_OUT_OF_RANGE": True,
            "NOT_AVRO": True,
            "TRUNCATED_ARCHIVE": False,
        }
        (d,) = shell.json("quarantine", "list", "--reason", "NOT_AVRO", "--source", "in/nothing.avro")
        told = shell.ok("quarantine", "show", d["id"][:8], "--save", tmp_path / "saved")
        assert "in/nothing.avro" in told
        assert "[bold].no packet" in told
        assert "5b 62 6f 6c 64 5d ff 6e" in told
        assert (tmp_path / "saved").read_bytes() == b"[bold]\xffno packet"
        assert "is there already" in shell.error("quarantine", "show", d["id"], "--save", tmp_path / "saved")
        assert "3 records: " in shell.ok("quarantine", "list")
        assert "no record is like that" in shell.ok("quarantine", "list", "--reason", "TRUNCATED")

    def test_replay(self, shell, files):
        stream = shell.folder / "streams" / "ztf.yaml"
        stream.write_text(stream.read_text().replace("2017-11-01", "2016-01-01"))
        result = shell("quarantine", "replay", "--all")
        assert "2 replayed: 1 can be read now, 1 stay in quarantine" in result.stdout
        assert "cannot be replayed: its bytes are not all kept" in " ".join(result.stderr.split())
        assert {d["reason"] for d in shell.json("quarantine", "list")} == {"NOT_AVRO", "TRUNCATED_ARCHIVE"}
        line = shell.error("quarantine", "replay", "--reason", "TRUNCATED_ARCHIVE")
        assert line.startswith("error: nothing to replay")
        (report,) = shell.json("ledger")
        assert (report["balanced"], report["quarantine"]) == (True, {"NOT_AVRO": 1, "TRUNCATED_ARCHIVE": 1})

    def test_drop_asks(self, shell, files):
        assert "say which" in shell.error("quarantine", "drop")
        assert "no such record" in shell.error("quarantine", "drop", "0000")
        shell.ok("quarantine", "drop", "--all", input="n\n")
        assert len(shell.json("quarantine", "list")) == 3
        assert "3 records are gone" in shell.ok("quarantine", "drop", "--all", input="y\n")
        assert "nothing is in quarantine" in shell.ok("quarantine", "list")
        assert "no survey is called" in shell.error("quarantine", "list", "--survey", "lsst")


class TestLedger:
    def test_many_sources_and_open_batches(self, shell, tmp_path):
        folder = tmp_path / "in"
        folder.mkdir()
        for n in range(45):
            alert = make_alert(jd=JD, tblid=n + 1, mag=18, cutouts=False)
            (folder / f"{n:02}.avro").write_bytes(encode_packet(alert))
        (folder / "44.avro").write_bytes(b"no packet")
        shell.ok("ingest", folder)
        told = shell.ok("ledger")
        assert "in/44.avro" in told, "bad ones are shown first"
        assert "6 others" in told
        assert "1 NOT_AVRO" in told
        assert "in/43.avro" in shell.ok("ledger", "--all")
        (report,) = shell.json("ledger", NIGHT)
        assert len(report["sources"]) == 45
        assert report["total"] == {"read": 45, "new": 0, "known": 0, "rejected": 44, "quarantined": 1}
        store = Store.open(shell.env["AMPEL_MONGO_URI"], shell.env["AMPEL_DB"])
        batch = store.batches.collection.find_one({"kind": "ingest"})
        store.batches.collection.update_one({"_id": batch["_id"]}, {"$set": {"state": "open"}})
        store.close()
        told = shell.ok("ledger")
        assert batch["meta"]["run"] in told
        assert "1 batches are open" in told
        assert "is no night; write YYYY-MM-DD" in shell.error("ledger", "yesterday")
