"""The two doors to the pipeline, the job over packets and the partitioned assets: one result, shown on one graph."""

import csv
import re
from base64 import b64decode
from dataclasses import replace
from datetime import date
from pathlib import Path
from shutil import copy

import dagster as dg
import pytest

from ampel_dagster.pipeline.t3_react import has_updates
from ampel_dagster.testing import make_alert, write_archive
from ampel_dagster.units.base import Publisher
from ampel_dagster.units.bound import Process
from ampel_dagster.units.filters.basic import BasicFilter
from assets.archive import archive_file, landing_folder

PACKETS = "ztf/ztf_public_20180819_mod1000.tar.gz"
NIGHT = "2018-08-19"
#: What AMPEL makes of the same packets.
PARITY = {
    "ztf": {
        "alert": 30,
        "rejected": 0,
        "stock": 30,
        "t0": {"total": 771, "detections": 304, "upper_limits": 467, "forced": 0, "superseded": 19},
        "t1": {"total": 30, "dps": 754},
        "t2": {"summary": {"0": 30}},
        "cutout": 0,
    },
    "quarantine": 0,
    "t3": {},
}
JD = {"2018-08-19": 2458349.7, "2018-08-20": 2458350.7, "2018-08-22": 2458352.7}


def archive(platform, night, alerts):
    """Put a night into the archive of a platform."""
    stream = platform.config.stream("ztf")
    return write_archive(platform.folder / "archive" / stream.archive.file_name(night), alerts)


def stars(night, number, **more):
    """Alerts of the same objects in any night."""
    letters = "abcdefghij"[:number]
    return [
        make_alert(name=f"ZTF18aaaaaa{letter}", jd=JD[night], ra=150 + n, tblid=n + 1, cutouts=False, **more)
        for n, letter in enumerate(letters)
    ]


def newest(platform, *key):
    """Metadata of the newest materialization of each partition."""
    return dict(platform.materialized(*key))


def digests(platform, *keys):
    """Content digests of all partitions of some assets."""
    return {
        (key, partition): found["content_digest"] for key in keys for partition, found in newest(platform, *key).items()
    }


def evaluations(result):
    return {found.check_name: found for found in result.get_asset_check_evaluations()}


def steps(result, kind):
    return {event.step_key for event in result.all_events if event.event_type_value == kind}


ALL_TIERS = [("ztf", "t0"), ("ztf", "t1"), ("ztf", "t2", "summary")]


@pytest.fixture(scope="module")
def by_packets(make_platform, data):
    """Real packets through the job `ingest`."""
    platform = make_platform({"ALL": {}})
    platform.result = platform.ingest(data / PACKETS)
    return platform


@pytest.fixture(scope="module")
def by_assets(make_platform, data):
    """The same packets through the assets."""
    platform = make_platform({"ALL": {}})
    copy(data / PACKETS, platform.folder / "archive" / "ztf_public_20180819.tar.gz")
    platform.result = platform.run("reprocess", partition=f"ALL|{NIGHT}")
    return platform


class TestParity:
    def test_counts_of_the_job(self, by_packets):
        assert by_packets.counts() == PARITY

    def test_counts_of_the_assets(self, by_assets):
        assert by_assets.counts() == PARITY

    def test_both_doors_store_the_same(self, by_packets, by_assets):
        assert digests(by_packets, *ALL_TIERS) == digests(by_assets, *ALL_TIERS)
        kept = [
            {name: documents.keys() for name, documents in platform.content().items() if name.startswith("ztf.")}
            for platform in (by_packets, by_assets)
        ]
        assert kept[0] == kept[1]

    def test_every_document_leads_to_its_run(self, by_assets):
        run = by_assets.result.run_id
        for name in ("ztf.alert", "ztf.t0", "ztf.stock", "ztf.t1", "ztf.t2", "batch"):
            metas = [document["meta"] for document in by_assets.content()[name].values()]
            assert metas, name
            assert {meta["run"] for meta in metas} == {run}, name
            assert {meta["config"] for meta in metas} == {by_assets.config.id}
        assert by_assets.content()["config"][by_assets.config.id]["content"] == by_assets.config.content


class TestEventLog:
    def test_job_reports_the_partitions_that_it_touched(self, by_packets):
        for key in ALL_TIERS:
            ((partition, found),) = by_packets.materialized(*key)
            assert partition == f"ALL|{NIGHT}"
            assert found["dagster/row_count"] == 30
            assert len(found["content_digest"]) == 16
            assert found["preview"].count("\n") == 6

    def test_job_reports_what_it_read(self, by_packets):
        (record,) = by_packets.history.fetch_observations(dg.AssetKey(["ztf", "alerts"]), limit=10).records
        assert record.partition_key == NIGHT
        assert record.asset_observation.metadata["sources"].value == "ztf_public_20180819_mod1000.tar.gz"

    def test_metadata_of_a_partition(self, by_assets):
        t0, t1, t2 = (newest(by_assets, *key)[f"ALL|{NIGHT}"] for key in ALL_TIERS)
        assert (t0["dagster/row_count"], t0["accepted"], t0["collection"]) == (30, 30, "ztf.alert")
        assert [t0[f"run/{key}"] for key in ("read", "new", "t0", "stock", "alert")] == [30, 30, 771, 30, 30]
        assert t0["run/megabytes"] > 1
        assert (t1["dagster/row_count"], t1["run/combined"], t1["run/t1"], t1["run/t2"]) == (30, 30, 30, 30)
        assert (t2["dagster/row_count"], t2["run/computed"], t2["computed"]) == (30, 30, 30)
        assert "failures" not in t2
        assert "ZTF18aagtntk" in t2["preview"]

    def test_archive_is_observed(self, by_assets):
        (record,) = by_assets.history.fetch_observations(dg.AssetKey(["ztf", "alerts"]), limit=10).records
        found = {key: value.value for key, value in record.asset_observation.metadata.items()}
        assert (record.partition_key, found) == (NIGHT, {"file": "ztf_public_20180819.tar.gz", "megabytes": 1.4})

    def test_as_many_events_as_partitions(self, by_packets):
        """Never one an alert or stock: the log takes some sixty a second."""
        assert len(by_packets.history.all_logs(by_packets.result.run_id)) < 60

    def test_checks_pass(self, by_assets):
        found = evaluations(by_assets.result)
        assert {name: check.passed for name, check in found.items()} == dict.fromkeys(
            ("ledger_balances", "filters_work", "no_future_points", "few_failures", "nothing_pending"), True
        )
        ledger = {key: value.value for key, value in found["ledger_balances"].metadata.items()}
        assert (ledger["read"], ledger["new"], ledger["open_batches"]) == (30, 30, 0)
        assert "| ztf_public_20180819.tar.gz | 30 | 30 | 0 | 0 | 0 |" in ledger["by source"]


@pytest.fixture(scope="module")
def replayed(make_platform):
    """One night in the archive, and the same packets in a file of their own."""
    platform = make_platform({"A": {}})
    alerts = stars(NIGHT, 4)
    archive(platform, NIGHT, alerts)
    platform.file = platform.folder / "again.tar.gz"
    write_archive(platform.file, alerts)
    return platform


class TestReplay:
    def test_assets_again(self, replayed):
        replayed.run("reprocess", partition=f"A|{NIGHT}")
        stored, told = replayed.content(), digests(replayed, *ALL_TIERS)
        replayed.run("reprocess", partition=f"A|{NIGHT}")
        assert replayed.content() == stored
        assert digests(replayed, *ALL_TIERS) == told
        t0 = newest(replayed, "ztf", "t0")[f"A|{NIGHT}"]
        assert (t0["run/read"], t0["run/known"], t0["dagster/row_count"]) == (4, 4, 4)
        assert not {"run/new", "run/alert", "run/t0"} & t0.keys()

    def test_the_other_door_again(self, replayed):
        replayed.run("reprocess", partition=f"A|{NIGHT}")
        stored = replayed.content()
        before = len(replayed.materialized("ztf", "t2", "summary"))
        replayed.ingest(replayed.file)
        assert replayed.content() == stored
        # Nothing was touched, so no partition is shown as made, and nothing reacts.
        assert len(replayed.materialized("ztf", "t2", "summary")) == before


@pytest.fixture(scope="module")
def ranged(make_platform):
    """Two of three channels times three nights in one run; the night in the middle has no file."""
    bright = {"filter": {"unit": "BasicFilter", "config": {"all_of": [_brighter_than(18)]}}}
    platform = make_platform({"ALL": {}, "BRIGHT": bright, "OTHER": {}})
    archive(platform, "2018-08-19", [*stars("2018-08-19", 3, mag=17), *stars("2018-08-19", 7, mag=19)[3:]])
    archive(platform, "2018-08-20", stars("2018-08-20", 2, mag=17))
    tags = {
        "dagster/asset_partition_range_start": "ALL|2018-08-19",
        "dagster/asset_partition_range_end": "BRIGHT|2018-08-21",
    }
    platform.result = platform.run("reprocess", tags=tags)
    platform.reported = platform.run("report", tags=tags)
    return platform


def _brighter_than(mag):
    return {"attribute": "magpsf", "operator": "<", "value": mag}


class TestRange:
    def test_is_the_product_of_both_dimensions(self, ranged):
        for key in ALL_TIERS:
            rows = {partition: found["dagster/row_count"] for partition, found in newest(ranged, *key).items()}
            assert rows == {
                **{"ALL|2018-08-19": 7, "ALL|2018-08-20": 2, "ALL|2018-08-21": 0},
                **{"BRIGHT|2018-08-19": 3, "BRIGHT|2018-08-20": 2, "BRIGHT|2018-08-21": 0},
            }, key
        assert ranged.store.database["ztf.alert"].count_documents({"channel": "OTHER"}) == 0

    def test_decodes_once_for_all_channels(self, ranged):
        for found in newest(ranged, "ztf", "t0").values():
            assert (found["run/read"], found["run/new"]) == (9, 9)

    def test_figures_are_of_each_partition(self, ranged):
        found = newest(ranged, "ztf", "t0")
        assert (found["BRIGHT|2018-08-19"]["accepted"], found["BRIGHT|2018-08-19"]["rejected"]) == (3, 4)
        assert (found["ALL|2018-08-19"]["accepted"], "rejected" in found["ALL|2018-08-19"]) == (7, False)
        assert len(set(digests(ranged, ("ztf", "t0")).values())) == 4  # one for two empty nights, one for equal ones

    def test_channels_share_what_they_both_want(self, ranged):
        counts = ranged.counts()["ztf"]
        assert (counts["alert"], counts["t1"]["total"], counts["t2"]) == (9, 9, {"summary": {"0": 9}})
        shared = ranged.store.database["ztf.t2"].count_documents({"channel": ["ALL", "BRIGHT"]})
        assert shared == 5

    def test_night_without_file_is_no_error(self, ranged):
        assert ranged.result.success
        assert newest(ranged, "ztf", "t0")["ALL|2018-08-21"]["content_digest"] == "0" * 16

    def test_checks_are_about_all_partitions(self, ranged):
        found = evaluations(ranged.result)
        assert all(check.passed for check in found.values())
        assert found["ledger_balances"].metadata["read"].value == 9
        assert found["few_failures"].metadata["documents"].value == 9

    def test_later_channel_leaves_the_others_alone(self, ranged):
        told = digests(ranged, *ALL_TIERS)
        ranged.run("reprocess", partition="OTHER|2018-08-20")
        after = digests(ranged, *ALL_TIERS)
        assert {key: after[key] for key in told} == told
        assert newest(ranged, "ztf", "t2", "summary")["OTHER|2018-08-20"]["dagster/row_count"] == 2
        # It wants what is there, so nothing was computed for it.
        assert "run/computed" not in newest(ranged, "ztf", "t2", "summary")["OTHER|2018-08-20"]

    def test_report_of_each_partition(self, ranged):
        found = newest(ranged, "t3", "table")
        for partition, rows in (("ALL|2018-08-19", 7), ("BRIGHT|2018-08-19", 3), ("BRIGHT|2018-08-21", 0)):
            told = found[partition]
            assert (told["dagster/row_count"], told["selected"], told["deferred"]) == (rows, rows, 0)
            channel, night = partition.split("|")
            path = ranged.folder / "reports" / "table" / channel / night / "table.csv"
            assert told["table.csv"] == str(path)
            with path.open() as file:
                assert len(list(csv.DictReader(file))) == rows
        assert found["BRIGHT|2018-08-20"]["objects"] == "ZTF18aaaaaaa, ZTF18aaaaaab"
        assert len(found) == 6

    def test_partition_shows_objects_and_light_curves(self, ranged):
        (told,) = [told for key, told in newest(ranged, "t3", "table").items() if key == "BRIGHT|2018-08-20"]
        head, _, *rows = told["table"].splitlines()
        assert head == "| object | detections | peak mag | last mag | TransientTable | ra deg | dec deg |"
        assert [row.split(" | ")[0] for row in rows] == ["| ZTF18aaaaaaa", "| ZTF18aaaaaab"]
        assert [row.split(" | ")[4] for row in rows] == ["reacted", "reacted"]
        first, second = told["light curve 1"], told["light curve 2"]
        assert "light curve 3" not in told
        assert first.startswith("ZTF18aaaaaaa: ![")
        image = b64decode(re.search(r"base64,([\w+/=]+)\)", second)[1]).decode()
        # One path for the detection of the first night that this alert brings along, and the one of its own.
        assert image.count("<path") >= 1
        # Longer markdown the UI hides behind a link.
        assert max(len(told["table"]), len(first), len(second)) < 1000


class Notes(Publisher):
    """Writes a line for each object that it is told of."""

    file: str

    def send(self, view, context):
        with Path(self.file).open("a") as file:
            file.write(f"{view.name} {context.channel} {context.night}\n")
        return "noted"


class Broken(Publisher):
    """Fails."""

    def send(self, view, context):
        raise RuntimeError(f"nobody | answers for {view.name}")


class Leaky(Publisher):
    """Fails with a message that holds a secret."""

    def send(self, view, context):
        raise RuntimeError(f"cannot reach https://host/?token={context.secret('TOKEN')}")


class TestReactions:
    def platform(self, make_platform, tmp_path, *units, react=False):
        notes = tmp_path / "notes"

        def change(config):
            made = Process("table", units or (Notes(file=str(notes)),), react=react)
            return replace(config, processes={"table": made})

        platform = make_platform({"A": {}}, change=change)
        archive(platform, NIGHT, stars(NIGHT, 2))
        return platform, notes

    def test_archive_run_publishes_nothing(self, make_platform, tmp_path):
        platform, notes = self.platform(make_platform, tmp_path)
        platform.run("reprocess", partition=f"A|{NIGHT}")
        platform.run("report", partition=f"A|{NIGHT}")
        platform.run("react")
        assert not notes.exists()
        assert platform.counts()["t3"] == {}
        assert newest(platform, "t3", "table")[f"A|{NIGHT}"]["selected"] == 2

    def test_archive_run_of_a_process_that_wants_to(self, make_platform, tmp_path):
        platform, notes = self.platform(make_platform, tmp_path, react=True)
        platform.run("reprocess", partition=f"A|{NIGHT}")
        platform.run("report", partition=f"A|{NIGHT}")
        assert notes.read_text() == f"ZTF18aaaaaaa A {NIGHT}\nZTF18aaaaaab A {NIGHT}\n"
        platform.run("react")
        assert len(notes.read_text().splitlines()) == 2

    def test_run_that_is_tagged_live(self, make_platform, tmp_path):
        platform, notes = self.platform(make_platform, tmp_path)
        tags = {"ampel/mode": "live"}
        platform.run("reprocess", partition=f"A|{NIGHT}", tags=tags)
        platform.run("react")
        assert len(notes.read_text().splitlines()) == 2

    def test_live_packets_are_told_once(self, make_platform, tmp_path):
        platform, notes = self.platform(make_platform, tmp_path)
        file = platform.folder / "archive" / "ztf_public_20180819.tar.gz"
        platform.ingest(file)
        platform.run("react")
        platform.ingest(file)
        platform.run("react")
        assert len(notes.read_text().splitlines()) == 2
        ((partition, told),) = platform.materialized("t3", "table")
        assert (partition, told["reacted"], told["selected"]) == (f"A|{NIGHT}", 2, 2)

    def test_packets_that_are_tagged_archive(self, make_platform, tmp_path):
        platform, notes = self.platform(make_platform, tmp_path)
        platform.ingest(platform.folder / "archive", tags={"ampel/mode": "archive"})
        platform.run("react")
        assert not notes.exists()

    def test_unit_that_fails(self, make_platform, tmp_path):
        platform, _ = self.platform(make_platform, tmp_path, Broken())
        platform.ingest(platform.folder / "archive")
        result = platform.run("react", raise_on_error=False)
        assert not result.success
        (failed,) = [event for event in result.all_events if event.is_step_failure]
        table = failed.step_failure_data.user_failure_data.metadata["failures"].value
        assert "| Broken | RuntimeError: nobody \\| answers for ZTF18aaaaaaa | 1 |" in table
        # What is not done stays new.
        assert has_updates(platform.store, "table", "A", "ztf")

    def test_messages_are_sent_again_by_the_job(self, make_platform, tmp_path):
        platform, notes = self.platform(make_platform, tmp_path)
        platform.ingest(platform.folder / "archive")
        platform.run("react")
        (one, _) = platform.store.outbox.list("table")
        config = {"ops": {"react_to_new": {"config": {"processes": ["table"], "resend": [str(one["_id"])]}}}}
        result = platform.run("react", config)
        first, second, again = notes.read_text().splitlines()
        assert {first, second} == {f"ZTF18aaaaaaa A {NIGHT}", f"ZTF18aaaaaab A {NIGHT}"}
        assert again.startswith(one["name"])
        told = {d["_id"]: (d["state"], d["meta"]["run"]) for d in platform.store.outbox.list("table")}
        assert told[one["_id"]] == ("confirmed", result.run_id)

    def test_secrets_are_in_no_log(self, make_platform, tmp_path, monkeypatch):
        """Neither in the events and their tracebacks, nor in what the database keeps."""
        monkeypatch.setenv("AMPEL_SECRET_TOKEN", "s3cr3t/value")
        platform, _ = self.platform(make_platform, tmp_path, Leaky())
        platform.ingest(platform.folder / "archive")
        result = platform.run("react", raise_on_error=False)
        assert not result.success
        told = "".join(map(str, result.all_events))
        logs = "".join(str(entry) for entry in platform.history.all_logs(result.run_id))
        kept = "".join(str(d) for name in ("t3", "reaction", "journal") for d in platform.store.database[name].find())
        for text in (told, logs, kept):
            assert "https://host/?token=<TOKEN>" in text or text is kept
            assert "s3cr3t" not in text
        assert "<TOKEN>" in kept

    def test_job_for_some_processes_and_channels(self, ranged):
        """Others are left alone; a name that is not there is an error that says so."""
        config = {"ops": {"react_to_new": {"config": {"processes": ["table"], "channels": ["BRIGHT"]}}}}
        before = len(ranged.materialized("t3", "table"))
        ranged.run("react", config)
        partitions = [partition for partition, _ in ranged.materialized("t3", "table")[before:]]
        assert partitions == ["BRIGHT|2018-08-19", "BRIGHT|2018-08-20"]
        ranged.run("react", config)
        assert len(ranged.materialized("t3", "table")) == before + 2


class TestFailingChecks:
    @pytest.fixture
    def platform(self, make_platform):
        platform = make_platform({"A": {}})
        archive(platform, NIGHT, stars(NIGHT, 10))
        platform.run("reprocess", partition=f"A|{NIGHT}")
        return platform

    def again(self, platform, *keys):
        chosen = [dg.AssetKey(list(key)) for key in keys]
        return platform.run("reprocess", partition=f"A|{NIGHT}", asset_selection=chosen, raise_on_error=False)

    def failed_document(self, platform):
        t2 = platform.store.database["ztf.t2"]
        document = {**t2.find_one(), "_id": 1, "input": 1, "code": -4}
        t2.insert_one(document)

    def test_share_of_failures(self, platform):
        self.failed_document(platform)
        result = self.again(platform, ("ztf", "t2", "summary"))
        found = evaluations(result)["few_failures"]
        assert (found.passed, found.severity) == (False, dg.AssetCheckSeverity.WARN)
        assert (found.metadata["failed"].value, found.metadata["documents"].value) == (1, 11)
        assert result.success

    def test_state_that_sees_the_future(self, platform):
        state = platform.store.database["ztf.t1"].find_one()
        platform.store.database["ztf.t0"].update_one({"_id": state["dps"][0]}, {"$set": {"jd": state["jd"] + 1}})
        result = self.again(platform, *ALL_TIERS[1:])
        found = evaluations(result)
        assert (found["no_future_points"].passed, found["no_future_points"].severity) == (
            False,
            dg.AssetCheckSeverity.ERROR,
        )
        assert found["no_future_points"].metadata["first"].value == str([state["_id"]])
        # It blocks: nothing is computed on such states.
        assert not result.success
        assert "ztf__t2__summary" not in steps(result, "STEP_START")

    def test_ledger_that_does_not_balance(self, platform):
        platform.store.database["batch"].update_one({"kind": "ingest"}, {"$inc": {"sources.0.read": 1}})
        result = self.again(platform, *ALL_TIERS)
        assert evaluations(result)["ledger_balances"].passed is False
        assert not result.success
        assert "ztf__t1" not in steps(result, "STEP_START")

    def test_ticket_of_another_worker(self, platform):
        """Held by another run, whose lease is in force: it stays as it is, and the check says so."""
        platform.ztf.tickets.reset({})
        product = platform.config.products["summary"].id
        (held,) = platform.ztf.tickets.claim(product, "another run", 1, 3600.0, {})
        result = self.again(platform, ("ztf", "t2", "summary"))
        found = evaluations(result)["nothing_pending"]
        assert (found.passed, found.severity) == (False, dg.AssetCheckSeverity.WARN)
        assert found.metadata["pending"].value == 1
        assert result.success
        assert platform.ztf.tickets.by_id([held.id])[held.id]["lease"]["run"] == "another run"

    def test_check_by_itself_looks_at_all_partitions(self, platform):
        self.failed_document(platform)
        checks = {dg.AssetCheckKey(dg.AssetKey(["ztf", "t2", "summary"]), "few_failures")}
        job = platform.defs.resolve_implicit_global_asset_job_def().get_subset(
            asset_selection=set(), asset_check_selection=checks
        )
        with platform.entered():
            result = job.execute_in_process(instance=platform.history)
        assert evaluations(result)["few_failures"].metadata["documents"].value == 11


class TestBadPackets:
    def test_quarantine_is_in_the_balance(self, make_platform):
        """A file that breaks half-way: what can be read counts, the rest is one record, and the run goes on."""
        platform = make_platform({"A": {}})
        archive(platform, NIGHT, stars(NIGHT, 10))
        file = platform.folder / "archive" / "ztf_public_20180819.tar.gz"
        file.write_bytes(file.read_bytes()[: file.stat().st_size * 8 // 10])
        result = platform.run("reprocess", partition=f"A|{NIGHT}")
        ledger = {key: value.value for key, value in evaluations(result)["ledger_balances"].metadata.items()}
        assert (ledger["quarantined"], 0 < ledger["new"] < 10) == (1, True), ledger
        assert ledger["read"] == ledger["new"] + 1
        assert platform.counts()["quarantine"] == 1


class TestFiltersThatFail:
    """A filter that raises all the time is left out; the check says whose, why, and how many alerts wait."""

    @pytest.fixture
    def platform(self, make_platform, monkeypatch):
        def accept(self, alert):
            raise ZeroDivisionError("[x](y) | no markup")

        monkeypatch.setattr(BasicFilter, "accept", accept)
        bright = {"unit": "BasicFilter", "config": {"all_of": [{"attribute": "rb", "operator": ">", "value": 0}]}}
        stream = {"survey": "ztf", "start_date": "2017-11-01", "max_filter_failures": 3}
        stream["archive"] = {"folder": "archive", "pattern": "ztf_public_{night:%Y%m%d}.tar.gz"}
        platform = make_platform({"BROKEN": {"filter": bright}, "WORKS": {}}, {"streams/ztf.yaml": stream})
        archive(platform, NIGHT, stars(NIGHT, 10))
        return platform

    @pytest.mark.parametrize("door", ["packets", "assets"])
    def test_both_doors_say_so(self, platform, door, monkeypatch):
        file = platform.folder / "archive" / "ztf_public_20180819.tar.gz"
        tags = {
            "dagster/asset_partition_range_start": f"BROKEN|{NIGHT}",
            "dagster/asset_partition_range_end": f"WORKS|{NIGHT}",
        }
        run = {"packets": lambda: platform.ingest(file), "assets": lambda: platform.run("reprocess", tags=tags)}[door]
        result = run()
        assert result.success, "the others go on"
        assert platform.ztf.ledger.alert.count_documents({"channel": "WORKS"}) == 10
        check = evaluations(result)["filters_work"]
        assert check.passed is False
        assert check.asset_key == dg.AssetKey(["ztf", "t0"])
        assert (check.metadata["filters"].value, check.metadata["alerts that wait"].value) == (1, 7)
        table = check.metadata["left out"].value
        assert "| BROKEN | BasicFilter 1 | ZeroDivisionError: \\[x\\](y) \\| no markup | 3 | 7 |" in table
        outputs = [event for event in result.all_events if event.event_type_value == "HANDLED_OUTPUT"]
        found = [event.event_specific_data.metadata for event in outputs]
        (written,) = [metadata for metadata in found if "disabled filters" in metadata]
        assert "ZeroDivisionError" in written["traceback"].value
        assert "BROKEN" in written["disabled filters"].value
        # Mended, the next run judges what was left out.
        monkeypatch.setattr(BasicFilter, "accept", lambda self, alert: True)
        check = evaluations(run())["filters_work"]
        assert (check.passed, check.metadata["alerts that wait"].value) == (True, 0)
        assert platform.ztf.ledger.alert.count_documents({"channel": "BROKEN"}) == 7


class TestGate:
    def test_live_runs_leave_out_what_is_not_activated(self, make_platform):
        """Files that are dropped, and reactions: a channel that waits at its gate has no part in them."""
        cut = {"unit": "BasicFilter", "config": {"all_of": [{"attribute": "rb", "operator": ">", "value": 0}]}}
        platform = make_platform({"GATED": {"filter": cut, "gate": {"night": NIGHT}}, "OPEN": {}})
        archive(platform, NIGHT, stars(NIGHT, 2))
        file = platform.folder / "archive" / "ztf_public_20180819.tar.gz"
        assert platform.ingest(file).success
        assert {d["verdict"].keys() == {"OPEN"} for d in platform.content()["ztf.alert"].values()} == {True}
        assert platform.run("reprocess", partition=f"GATED|{NIGHT}").success
        assert platform.ztf.ledger.alert.count_documents({"channel": "GATED"}) == 2
        assert platform.run("react").success
        assert {str(partition) for partition, _ in platform.materialized("t3", "table")} == {f"OPEN|{NIGHT}"}
        assert has_updates(platform.store, "table", "GATED", "ztf"), "to be heard when it is live"
        (rules,) = platform.config.rules("ztf", ("GATED",))
        platform.store.activations.add("GATED", "ztf", rules.config, {}, {})
        assert platform.run("react").success
        assert f"GATED|{NIGHT}" in {str(partition) for partition, _ in platform.materialized("t3", "table")}


class TestFolders:
    def test_archive_file(self, make_platform):
        platform = make_platform({"A": {}})
        assert archive_file(platform.config, "ztf", NIGHT) is None
        archive(platform, NIGHT, stars(NIGHT, 1))
        assert archive_file(platform.config, "ztf", NIGHT) == platform.folder / "archive/ztf_public_20180819.tar.gz"

    def test_stream_without_folders(self, make_instance):
        from ampel_dagster.config.load import load

        stream = {"survey": "ztf", "start_date": date(2018, 1, 1).isoformat()}
        config = load(make_instance({}, {"streams/ztf.yaml": stream}))
        assert archive_file(config, "ztf", NIGHT) is None
        assert landing_folder(config, "ztf") is None
