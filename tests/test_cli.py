"""The command line: what each command does, says, and how it ends."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import uuid
from pathlib import Path
from typing import ClassVar

import click
import pandas as pd
import pytest
from click.testing import CliRunner

from ampel_dagster.cli import main
from ampel_dagster.commands.runs import RunFailedError, run_job
from ampel_dagster.config.instance import Instance
from ampel_dagster.storage.connect import connect
from ampel_dagster.storage.server import EmbeddedServer
from ampel_dagster.storage.store import Store
from ampel_dagster.testing import make_alert, make_dia_source, make_lsst_alert, write_archive
from ampel_dagster.units.t2.light_curve_summary import LightCurveSummary
from ampel_dagster.units.t3.transient_table import TransientTable

COMMAND = [sys.executable, "-m", "ampel_dagster"]
PACKETS = "ztf/ztf_public_20180819_mod1000.tar.gz"
NIGHT, NEXT_NIGHT = "2018-08-19", "2018-08-20"
JD = {NIGHT: 2458349.7, NEXT_NIGHT: 2458350.7}
#: Variables that commands set, for what they start.
SET_BY_COMMANDS = ("DAGSTER_HOME", "DAGSTER_DISABLE_TELEMETRY", "AMPEL_UI_URL")


class Shell:
    """Runs commands in this process, on one instance and a database of its own."""

    def __init__(self, folder: Path, uri: str) -> None:
        self.folder = folder
        self.env = {"AMPEL_INSTANCE": str(folder), "AMPEL_MONGO_URI": uri, "AMPEL_DB": f"test_{uuid.uuid4().hex[:12]}"}

    def __call__(self, *args, input=None, **env):
        with pytest.MonkeyPatch.context() as patch:
            for name, value in {**self.env, **dict.fromkeys(SET_BY_COMMANDS, ""), **env}.items():
                patch.setenv(name, str(value))
            # What is loaded by now may be of another instance.
            patch.delitem(sys.modules, "ampel_dagster.definitions", raising=False)
            result = CliRunner().invoke(main, [str(arg) for arg in args], input=input)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        assert "Traceback" not in result.output
        return result

    def ok(self, *args, **more):
        """Standard output of a command that succeeds."""
        result = self(*args, **more)
        assert result.exit_code == 0, result.output
        return result.stdout

    def error(self, *args, code=2, **more):
        """The one line that a command ends with."""
        result = self(*args, **more)
        (line,) = result.stderr.splitlines()
        assert result.exit_code == code, result.output
        return line

    def counts(self):
        return json.loads(self.ok("counts", "--json"))

    def run(self, job, **more):
        """Run one of the instance's jobs."""
        with pytest.MonkeyPatch.context() as patch:
            for name, value in {**self.env, **dict.fromkeys(SET_BY_COMMANDS, "")}.items():
                patch.setenv(name, value)
            patch.delitem(sys.modules, "ampel_dagster.definitions", raising=False)
            return run_job(Instance(self.folder), job, **more)


def stars(night, number):
    return [
        make_alert(name=f"ZTF18aaaaaa{'abcdefgh'[n]}", jd=JD[night], ra=150 + n, mag=17 + n, tblid=n + 1, cutouts=False)
        for n in range(number)
    ]


@pytest.fixture(scope="module")
def folder(make_instance):
    """An instance with four channels and two nights in its archive."""
    bright = {"all_of": [{"attribute": "magpsf", "operator": "<", "value": 17.5}]}
    files = {"channels/OTHER.yaml": {"channel": "OTHER"}}
    channels = {"ALL": {}, "BRIGHT": {"filter": {"unit": "BasicFilter", "config": bright}}, "C": {"t2": []}}
    folder = make_instance(channels, files)
    for night, number in ((NIGHT, 3), (NEXT_NIGHT, 2)):
        write_archive(folder / "archive" / f"ztf_public_{night.replace('-', '')}.tar.gz", stars(night, number))
    return folder


@pytest.fixture(scope="class")
def shell(folder, mongo_uri):
    shell = Shell(folder, mongo_uri)
    yield shell
    store = Store.open(mongo_uri, shell.env["AMPEL_DB"])
    store.drop()
    store.close()


def commands(group, path=()):
    """(path, command) of all commands."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


class TestHelp:
    def test_all_that_was_promised_is_there(self):
        there = {" ".join(path) for path, _ in commands(main)}
        assert there >= {
            *("demo", "check", "init", "ingest", "backfill", "counts", "ledger", "provenance", "dev"),
            *("mongo start", "mongo stop", "mongo status", "t2 status", "t2 reset", "t3 outbox"),
        }

    @pytest.mark.parametrize("path", [path for path, _ in commands(main)], ids=" ".join)
    def test_help(self, path):
        result = CliRunner().invoke(main, [*path, "--help"])
        assert result.exit_code == 0
        text = result.output
        command = " ".join(path)
        assert text.startswith(f"Usage: main {command}") or text.startswith(f"Usage: ampel-dagster {command}")
        assert f"  ampel-dagster {command}" in text or "\nOptions:" in text
        # Each option says what it is for.
        for option in dict(commands(main))[path].params:
            if isinstance(option, click.Option) and option.name not in ("survey", "port"):
                assert option.help, option.name

    def test_short_form_and_version(self):
        assert CliRunner().invoke(main, ["-h"]).output.startswith("Usage: ")
        assert "0.1.0" in CliRunner().invoke(main, ["--version"]).output

    def test_help_touches_nothing(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        assert CliRunner().invoke(main, ["ingest", "--help"]).exit_code == 0
        assert list(tmp_path.iterdir()) == []

    def test_unknown_command(self):
        result = CliRunner().invoke(main, ["ingets"])
        assert result.exit_code == 2
        assert "No such command 'ingets'" in result.output


class TestCheck:
    def check(self, folder):
        return CliRunner().invoke(main, ["check"], env={"AMPEL_INSTANCE": str(folder)})

    def test_all_is_well(self, folder):
        result = self.check(folder)
        assert result.exit_code == 0
        told = f"{folder}: all is well (4 channels, 1 products, 1 processes, 1 streams)\n"
        assert result.stdout == told

    def test_every_problem_has_a_line(self, make_instance):
        files = {
            "channels/A.yaml": {"channel": "A", "ztf": {"filter": {"unit": "BasicFiltre"}, "t2": ["summry"]}},
            "channels/B.yaml": {"channel": "C", "colour": "red"},
            "t2/wrong.yaml": {"unit": "LightCurveSummary", "config": {"no_such_option": 1}},
        }
        folder = make_instance({}, files)
        (folder / "t3" / "broken.yaml").write_text("units: [")
        result = self.check(folder)
        assert result.exit_code == 2
        assert result.stdout == ""
        lines = result.stderr.splitlines()
        assert all(line.startswith("error: ") for line in lines)
        for file, remedy in (
            ("channels/A.yaml: ztf.filter.unit", "did you mean BasicFilter?"),
            ("channels/A.yaml: ztf.t2", "did you mean summary?"),
            ("channels/B.yaml: colour", ""),
            ("channels/B.yaml: channel", "give both one name"),
            ("t2/wrong.yaml: config.no_such_option", "remove it, or mend its spelling"),
            ("t3/broken.yaml", "mend the marked place"),
        ):
            assert [line for line in lines if file in line and line.endswith(remedy)], file
        assert len(lines) == 6

    def test_no_instance(self, tmp_path):
        result = self.check(tmp_path / "absent")
        assert result.exit_code == 2
        assert result.stderr.splitlines() == [
            f"error: AMPEL_INSTANCE={tmp_path / 'absent'}: no instance there; "
            f"make one with: ampel-dagster init {tmp_path / 'absent'}"
        ]

    def test_other_commands_check_first(self, make_instance, mongo_uri):
        shell = Shell(make_instance({"A": {"t2": ["absent"]}}), mongo_uri)
        assert "channels/A.yaml: ztf.t2: there is no t2/absent.yaml" in shell.error("counts")


class TestInit:
    def init(self, folder):
        return CliRunner().invoke(main, ["init", str(folder)])

    def test_makes_an_instance(self, tmp_path):
        result = self.init(tmp_path / "a" / "survey")
        assert result.exit_code == 0
        made = tmp_path / "a" / "survey"
        assert {path.name for path in made.iterdir()} == {
            *("channels", "t2", "t3", "streams", "catalogs", "dagster.yaml", "workers.yaml", "workspace.yaml"),
        }
        assert result.stdout.splitlines()[1] == f"  export AMPEL_INSTANCE={made}"
        assert CliRunner().invoke(main, ["check"], env={"AMPEL_INSTANCE": str(made)}).exit_code == 0

    @pytest.mark.parametrize("name", ["with space", "[bold]", "it's", "x" * 200])
    def test_what_it_says_can_be_pasted(self, tmp_path, name):
        lines = self.init(tmp_path / name).stdout.splitlines()
        assert lines[0].startswith(f"{tmp_path / name}: made")
        assert shlex.split(lines[1]) == ["export", f"AMPEL_INSTANCE={tmp_path / name}"]
        assert (tmp_path / name / "channels").is_dir()

    def test_into_the_folder_that_one_stands_in(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        assert self.init(".").exit_code == 0
        assert Path("channels").is_dir()  # seen from where we stand

    @pytest.mark.parametrize(
        ("there", "told"),
        [("notes.txt", "is not empty; choose another folder"), ("dagster.yaml", "holds an instance already")],
    )
    def test_refuses_a_folder_with_something_in_it(self, tmp_path, there, told):
        (tmp_path / there).write_text("mine")
        result = self.init(tmp_path)
        assert result.exit_code == 2
        assert told in result.stderr
        assert [path.name for path in tmp_path.iterdir()] == [there]
        assert (tmp_path / there).read_text() == "mine"

    @pytest.mark.parametrize("name", ["file", "file/below"])
    def test_file_in_the_way(self, tmp_path, name):
        (tmp_path / "file").write_text("mine")
        result = self.init(tmp_path / name)
        assert result.exit_code == 2
        assert len(result.stderr.splitlines()) == 1
        assert [path.name for path in tmp_path.iterdir()] == ["file"]


class TestIngest:
    def test_parity_with_ampel(self, folder, mongo_uri, data):
        shell = Shell(folder, mongo_uri)
        told = shell.ok("ingest", data / PACKETS, "--channel", "ALL")
        assert "ztf_public_20180819_mod1000.tar.gz │ 30   │ 30  │ 0" in told
        counts = {
            "alert": 30,
            "rejected": 0,
            "stock": 30,
            "t0": {"total": 771, "detections": 304, "upper_limits": 467, "forced": 0, "superseded": 19},
            "t1": {"total": 30, "dps": 754},
            "t2": {"summary": {"0": 30}},
            "cutout": 0,
        }
        printed = shell.ok("counts", "--json")
        assert json.loads(printed) == {"ztf": counts, "quarantine": 0, "t3": {}}
        # Exactly this form, on one line.
        assert printed == json.dumps({"ztf": counts, "quarantine": 0, "t3": {}}) + "\n"

    def test_files_and_folders(self, shell, folder):
        told = shell.ok("ingest", folder / "archive", folder / "archive" / "ztf_public_20180819.tar.gz")
        assert "archive/ztf_public_20180819.tar.gz │ 3    │ 3" in told
        assert "all                                │ 5    │ 5" in told
        assert (shell.counts()["ztf"]["alert"], shell.counts()["ztf"]["t2"]) == (5, {"summary": {"0": 5}})

    def test_again(self, shell, folder):
        before = shell.counts()
        assert "│ 5    │ 0   │ 5" in shell.ok("ingest", folder / "archive")
        assert shell.counts() == before

    @pytest.mark.parametrize(
        ("args", "told"),
        [
            (["{archive}", "--channel", "BRIHGT"], "no channel is called 'BRIHGT'; did you mean BRIGHT?"),
            (["{archive}", "--channel", "qqq"], "no channel is called 'qqq'; there are: ALL, BRIGHT, C, OTHER"),
            (["{archive}", "--channel", "OTHER"], "no channel asks for ztf; add a block 'ztf:' to a file in channels/"),
            (["{archive}", "--survey", "lsst"], "no survey is called 'lsst'; there are: ztf"),
            (["{archive}/absent.tar.gz"], "{archive}/absent.tar.gz: no such file or folder"),
            (
                ["{archive}/../t2/summary.yaml"],
                "summary.yaml: not an alert file (.tar, .tar.gz, .tgz, .avro, {endings})",
            ),
            (["{archive}/../t2"], "t2: no alert file in this folder (.tar, .tar.gz, .tgz, .avro, {endings})"),
        ],
    )
    def test_wrong_arguments_change_nothing(self, folder, mongo_uri, args, told):
        archive = folder / "archive"
        shell = Shell(folder, mongo_uri)
        line = shell.error("ingest", *(arg.format(archive=archive) for arg in args))
        assert line.startswith("error: ")
        endings = ".json, .json.gz, .jsonl, .ndjson, .jsonl.gz, .ndjson.gz, .parquet"
        assert line.endswith(told.format(archive=archive, endings=endings))
        store = Store.open(mongo_uri, shell.env["AMPEL_DB"])
        assert store.database.list_collection_names() == []
        store.close()

    def test_without_paths(self, shell):
        result = shell("ingest")
        assert (result.exit_code, "Missing argument 'PATHS...'" in result.stderr) == (2, True)

    @pytest.mark.parametrize(
        ("uri", "told"),
        [
            ("mongodb://user:secret@127.0.0.1:1", "no answer from the database at mongodb://***:***@127.0.0.1:1"),
            ("http://user:secret@127.0.0.1", "wrong database address http://***:***@127.0.0.1"),
        ],
    )
    def test_wrong_address(self, shell, folder, uri, told, monkeypatch):
        monkeypatch.setitem(connect.__kwdefaults__, "timeout_s", 0.2)
        line = shell.error("ingest", folder / "archive", AMPEL_MONGO_URI=uri)
        assert line.startswith(f"error: {told}")
        assert "check AMPEL_MONGO_URI" in line
        assert "secret" not in line

    def test_wrong_instance(self, shell, folder, tmp_path):
        line = shell.error("ingest", folder / "archive", AMPEL_INSTANCE=tmp_path / "absent")
        assert "no instance there" in line

    def test_failures_of_units_are_told(self, folder, mongo_uri, monkeypatch):
        def process(self, light_curve, tied):
            raise ValueError("[/bold] is no markup")

        monkeypatch.setattr(LightCurveSummary, "process", process)
        shell = Shell(folder, mongo_uri)
        result = shell("ingest", folder / "archive", "--channel", "ALL")
        assert result.exit_code == 0
        assert "product summary: ValueError: [/bold] is no markup (5 times)" in result.stderr
        assert shell.counts()["ztf"]["t2"] == {"summary": {"-4": 5}}


class TestBackfill:
    def archived(self, shell):
        return shell.counts()["ztf"]["alert"]

    def test_asks_first(self, shell):
        result = shell("backfill", "--nights", f"{NIGHT}..{NEXT_NIGHT}", "--channel", "ALL", input="n\n")
        assert result.exit_code == 0
        for row in (
            "nights asked for            │ 2018-08-19 to 2018-08-20",
            "nights with an archive file │ 2",
            "channels                    │ ALL",
            "products                    │ all that the channels ask for",
            "partitions                  │ 2",
        ):
            assert row in result.stdout
        assert result.stdout.rstrip().endswith("Go ahead? [y/N]: n")
        assert self.archived(shell) == 0

    def test_one_night(self, shell):
        result = shell("backfill", "--nights", NIGHT, "--channel", "ALL", input="y\n")
        assert result.exit_code == 0
        assert f"1/1 ALL, {NIGHT}: done in" in result.stderr
        assert "│ ALL     │ 3      │ 3      │ 3      │ 3       │ 0" in result.stdout
        assert self.archived(shell) == 3

    def test_channels_that_are_apart(self, shell):
        """A range of partitions from ALL to C would take BRIGHT with it."""
        told = shell.ok("backfill", "--nights", NEXT_NIGHT, "--channel", "C", "--channel", "ALL", "--yes")
        rows = [[cell.strip() for cell in line.split("│")[1:5]] for line in told.splitlines() if "│" in line]
        assert ["ALL", "5", "3", "5"] in rows
        assert ["BRIGHT", "0", "0", "0"] in rows
        assert ["C", "2", "2", "2"] in rows

    def test_all_channels_over_a_span(self, shell):
        result = shell("backfill", "--nights", f"2018-08-01..{NEXT_NIGHT}", "--yes")
        assert result.exit_code == 0
        assert f"1/1 ALL, BRIGHT, C, {NIGHT} to {NEXT_NIGHT}: done in" in result.stderr
        assert self.archived(shell) == 5

    def test_one_product(self, shell):
        """Packets are not read again."""
        store = Store.open(shell.env["AMPEL_MONGO_URI"], shell.env["AMPEL_DB"])
        before = store.database["batch"].count_documents({"kind": "ingest"})
        store.survey("ztf").results.collection.delete_many({})
        told = shell.ok("backfill", "--nights", NIGHT, "--channel", "ALL", "--product", "summary", "--yes")
        assert re.search("products +│ summary ", told)
        assert shell.counts()["ztf"]["t2"] == {"summary": {"0": 3}}
        assert store.database["batch"].count_documents({"kind": "ingest"}) == before
        store.close()

    @pytest.mark.parametrize(
        ("args", "told"),
        [
            (["--nights", "2017-10-31"], "nights of ztf begin with 2017-11-01 (streams/ztf.yaml)"),
            (["--nights", "2018-08-19..2099-01-01"], "the night 2099-01-01 is still to come"),
            (["--nights", "2018-08-20..2018-08-19"], "the last night is before the first"),
            (["--nights", "20180819..x"], "--nights 20180819..x: write YYYY-MM-DD..YYYY-MM-DD, or one night"),
            (["--nights", NIGHT, "--channel", "BRIHGT"], "no channel is called 'BRIHGT'; did you mean BRIGHT?"),
            (["--nights", NIGHT, "--channel", "OTHER"], "none of these channels asks for ztf"),
            (["--nights", NIGHT, "--product", "sumary"], "no product is called 'sumary'; did you mean summary?"),
            (["--nights", NIGHT, "--product", "summary", "--channel", "C"], "asks for the product summary: C"),
            (["--nights", NIGHT, "--survey", "lsst"], "no survey is called 'lsst'; there are: ztf"),
        ],
    )
    def test_wrong_arguments(self, shell, args, told):
        assert told in shell.error("backfill", *args, "--yes")

    def test_nights_without_files(self, shell):
        result = shell("backfill", "--nights", "2018-01-01..2018-01-31", "--yes")
        assert result.exit_code == 2
        assert "no night from 2018-01-01 to 2018-01-31 has an archive file" in result.stderr
        assert "nights with an archive file │ 0" in result.stdout


class TestLooking:
    @pytest.fixture(scope="class", autouse=True)
    @staticmethod
    def filled(shell, folder):
        """One night for all channels, with reactions."""
        shell.ok("ingest", folder / "archive" / "ztf_public_20180819.tar.gz")
        shell.reaction = shell.run("react")

    def test_counts(self, shell):
        told = shell.ok("counts")
        assert "│ alert      │ 3         │" in told
        assert "│ t2 summary │ 3         │ 3 OK" in told
        assert "ztf: channels and tiers" in told
        assert 'reactions: {"table": 7}' in told

    def test_ledger(self, shell):
        told = shell.ok("ledger")
        assert "│ ztf_public_20180819.tar.gz │ 3    │ 3   │ 0     │ 0        │ 0           │" in told
        assert shell.ok("ledger", NIGHT) == told
        assert shell.ok("ledger", NEXT_NIGHT) == f"nothing was read for {NEXT_NIGHT}\n"
        assert shell.error("ledger", "--survey", "lsst") == "error: no survey is called 'lsst'; there are: ztf"

    def test_ledger_that_does_not_balance(self, shell):
        store = Store.open(shell.env["AMPEL_MONGO_URI"], shell.env["AMPEL_DB"])
        store.database["batch"].update_one({"kind": "ingest"}, {"$inc": {"sources.0.read": 1}})
        assert shell.error("ledger") == "error: the ledger does not balance"
        store.database["batch"].update_one({"kind": "ingest"}, {"$inc": {"sources.0.read": -1}})
        store.database["batch"].update_one({"kind": "ingest"}, {"$set": {"state": "open"}})
        assert "1 batches are open: a run is at them, or was interrupted: run the same packets again" in shell.ok(
            "ledger"
        )
        store.database["batch"].update_one({"kind": "ingest"}, {"$set": {"state": "done"}})
        store.close()

    def test_provenance(self, shell):
        told = shell.ok("provenance", "ZTF18aaaaaaa")
        store = Store.open(shell.env["AMPEL_MONGO_URI"], shell.env["AMPEL_DB"])
        alert = store.database["ztf.alert"].find_one({"channel": "BRIGHT"})
        state = store.database["ztf.t1"].find_one({"stock": alert["stock"]})
        result = store.database["ztf.t2"].find_one({"stock": alert["stock"]})
        store.close()
        config = f"{alert['meta']['config'] & (1 << 64) - 1:016x}"
        for word in (
            f"ZTF18aaaaaaa (stock {alert['stock']}, ra 150.0",
            "channels: ALL, BRIGHT, C",
            f"alert {alert['_id']} of {NIGHT}",
            "from ztf_public_20180819.tar.gz packet 0; ALL: accepted, BRIGHT: accepted, C: accepted",
            f"link {state['_id']}: 1 datapoints",
            f"summary = LightCurveSummary version {LightCurveSummary.version} on {state['_id']}: OK",
            f"(t2 {result['_id']})",
            "ndet: 1",
            f"run {alert['meta']['run']}, code {alert['meta']['version']}, config {config}",
            f"run {result['meta']['run']}",
            "table / TransientTable for BRIGHT: confirmed",
            f"run {shell.reaction}",
        ):
            assert word in told, word
        assert told == shell.ok("provenance", alert["stock"])

    def test_view(self, shell, tmp_path):
        page = tmp_path / "object.html"
        assert shell.ok("view", "ZTF18aaaaaaa", "--channel", "BRIGHT", "--save", page) == f"{page}\n"
        html = page.read_text()
        (state,) = json.loads(shell.ok("states", "ZTF18aaaaaaa", "--json"))
        assert all(text in html for text in ("<h1>ZTF18aaaaaaa</h1>", "channel BRIGHT", str(state["link"])))
        again = tmp_path / "again.html"
        shell.ok("view", re.search(r"stock <code>(\d+)", html)[1], "--save", again)
        shell.ok("view", "ZTF18aaaaaaa", "--state", state["link"], "--save", again)
        assert "<h1>ZTF18aaaaaaa</h1>" in again.read_text()

    def test_view_opens_a_browser_where_there_is_a_display(self, shell, monkeypatch):
        opened = []
        monkeypatch.setattr("webbrowser.open", opened.append)
        monkeypatch.setattr("ampel_dagster.commands.viewing.has_display", lambda: False)
        path = Path(shell.ok("view", "ZTF18aaaaaaa").strip())
        assert path.is_file()
        assert opened == []
        monkeypatch.setattr("ampel_dagster.commands.viewing.has_display", lambda: True)
        shell.ok("view", "ZTF18aaaaaaa")
        assert opened == [path.as_uri()]

    def test_view_of_what_is_not_there(self, shell):
        assert "nobody: no channel has accepted" in shell.error("view", "nobody")
        assert "BRIGHT has accepted no alert of ZTF18aaaaaab" in shell.error(
            "view", "ZTF18aaaaaab", "--channel", "BRIGHT"
        )
        assert "there is no state 5 of ZTF18aaaaaaa for" in shell.error("view", "ZTF18aaaaaaa", "--state", "5")
        assert "no channel is called 'NONE'" in shell.error("view", "ZTF18aaaaaaa", "--channel", "NONE")
        assert "no page of ZTF18aaaaaaa" in shell.error("view", "ZTF18aaaaaaa", "--save", shell.folder)

    def test_states(self, shell):
        (state,) = json.loads(shell.ok("states", "ZTF18aaaaaaa", "--json"))
        assert (state["channel"], state["kinds"], state["left_out"]) == (["ALL", "BRIGHT", "C"], {"detection": 1}, {})
        table = shell.ok("states", "ZTF18aaaaaaa", "--channel", "BRIGHT")
        assert NIGHT in table
        (point,) = json.loads(shell.ok("states", "ZTF18aaaaaaa", "--link", state["link"], "--json"))
        assert (point["id"], point["kind"], point["mag"]) == (state["dps"][0], "detection", pytest.approx(17, abs=1e-5))
        assert "17" in shell.ok("states", "ZTF18aaaaaaa", "--link", state["link"])

    def test_states_that_are_not_there(self, shell):
        assert "has no state 5; without --link" in shell.error("states", "ZTF18aaaaaaa", "--link", "5")
        assert "BRIGHT has no state of ZTF18aaaaaab" in shell.error("states", "ZTF18aaaaaab", "--channel", "BRIGHT")
        assert "no channel NONE; there are:" in shell.error("states", "ZTF18aaaaaaa", "--channel", "NONE")

    def test_verdicts_of_channels_that_rejected(self, shell):
        assert "BRIGHT: rejected (-1)" in shell.ok("provenance", "ZTF18aaaaaab")

    @pytest.mark.parametrize("name", ["ZTF99zzzzzzz", "987654321", "-5", "9" * 19, "9" * 30, "²", "[/x]", ""])
    def test_provenance_of_nobody(self, shell, name):
        line = shell.error("provenance", "--", name)
        assert line.endswith(": no channel has accepted an alert of such an object yet")

    def test_outbox(self, shell):
        rows = [json.loads(line) for line in shell.ok("t3", "outbox", "--json").splitlines()]
        assert len(rows) == 7
        assert {(row["process"], row["unit"], row["state"]) for row in rows} == {
            ("table", "TransientTable", "confirmed")
        }
        assert {row["meta"]["run"] for row in rows} == {shell.reaction}
        told = shell.ok("t3", "outbox", "--process", "table", "--state", "confirmed")
        assert told.count("ZTF18aaaaaa") == 7
        assert shell.ok("t3", "outbox", "--state", "unknown", "--json") == ""
        assert shell("t3", "outbox", "--state", "lost").exit_code == 2
        assert shell.ok("t3", "outbox", "--since", "1 hours", "--json").count("\n") == 7
        assert shell.ok("t3", "outbox", "--since", "2200-01-01", "--json") == ""
        assert shell.error("t3", "outbox", "--since", "soon").startswith("error: --since soon: write a date")

    def test_preview(self, shell):
        before = shell.counts()
        rows = [
            json.loads(line) for line in shell.ok("t3", "preview", "table", "--night", NIGHT, "--json").splitlines()
        ]
        assert [(row["channel"], row["name"], row["selected"]) for row in rows if row["channel"] == "ALL"] == [
            ("ALL", f"ZTF18aaaaaa{letter}", True) for letter in "abc"
        ]
        told = shell.ok("t3", "preview", "table", "--channel", "BRIGHT", "--night", NIGHT)
        assert "1 of 1 objects selected, 0 wait for a result" in told
        assert "TransientTable (dry run): files about 1 objects" in told
        assert shell("t3", "preview", "table").stderr.count("nothing is new to table") == 3
        assert shell.counts() == before
        assert shell.error("t3", "preview", "tabel") == "error: no process is called 'tabel'; did you mean table?"
        assert shell.error("t3", "preview", "table", "--channel", "OTHER").startswith("error: no channel of table is")

    def test_export(self, shell, tmp_path):
        file = tmp_path / "all.parquet"
        told = shell.ok("t3", "export", file, "--channel", "ALL", "--nights", f"{NIGHT}..{NEXT_NIGHT}")
        frame = pd.read_parquet(file)
        assert told.startswith(f"{len(frame)} objects, {len(frame.columns)} columns")
        assert list(frame["name"]) == [f"ZTF18aaaaaa{letter}" for letter in "abc"]
        assert list(frame["light_curve.peak_mag"].round(2)) == [17.0, 18.0, 19.0]
        assert list(frame["summary.ndet"]) == [1, 1, 1]
        shell.ok("t3", "export", tmp_path / "one.csv", "--channel", "BRIGHT", "--nights", NIGHT, "--process", "table")
        assert list(pd.read_csv(tmp_path / "one.csv")["name"]) == ["ZTF18aaaaaaa"]
        for more, said in (
            ((tmp_path / "x.txt", "--channel", "ALL"), "name a file that ends with .parquet or .csv"),
            ((tmp_path / "no" / "x.csv", "--channel", "ALL"), "there is no such folder"),
            ((file, "--channel", "AL"), "no channel is called 'AL'; did you mean ALL?"),
        ):
            assert shell.error("t3", "export", *more, "--nights", NIGHT).endswith(said)

    def test_run(self, shell):
        """All was reacted to before; a process that has nothing new says so."""
        assert shell.ok("t3", "run", "table") == "nothing is new\n"
        assert shell.error("t3", "run", "tabel") == "error: no process is called 'tabel'; did you mean table?"

    def test_reports_are_not_resent(self, shell):
        assert shell.ok("t3", "resend", "--process", "table") == "no message is like that\n"
        assert shell.error("t3", "resend").startswith("error: say which")

    def test_status(self, shell):
        assert json.loads(shell.ok("t2", "status", "--json")) == {"ztf": {"summary": {"0": 3}}}
        assert "│ ztf    │ summary │ 0 OK │ 3" in shell.ok("t2", "status")


class TestReset:
    @pytest.fixture(scope="class", autouse=True)
    @staticmethod
    def filled(shell, folder):
        shell.ok("ingest", folder / "archive" / "ztf_public_20180819.tar.gz")

    def codes(self, shell):
        return json.loads(shell.ok("t2", "status", "--json"))["ztf"]["summary"]

    def test_show(self, shell):
        told = shell.ok("t2", "show", "--stock", "ZTF18aaaaaab")
        assert "summary = LightCurveSummary version" in told
        assert "of ZTF18aaaaaab" in told
        assert "code 0 OK: a valid result" in told
        assert "ndet: 1" in told
        assert shell.ok("t2", "show", "--product", "summary").count("code 0 OK") == 3
        assert shell.ok("t2", "show", "--code", "-4").strip() == "no document is like that"
        (row,) = map(json.loads, shell.ok("t2", "show", "--product", "summary", "--limit", "1", "--json").splitlines())
        assert (row["product"], row["code"], row["result"]["ndet"]) == ("summary", 0, 1)
        refused = shell("t2", "show", "--product", "sumary")
        assert (refused.exit_code, refused.stdout) == (2, "")
        assert "did you mean summary?" in refused.stderr

    def test_show_what_failed(self, shell):
        """Message and traceback, what is waited for, and who has it."""
        ztf = Store.open(shell.env["AMPEL_MONGO_URI"], shell.env["AMPEL_DB"]).survey("ztf")
        results = ztf.results.collection
        kept = results.find_one({"code": 0})
        error = {"message": "ValueError: no [good]", "traceback": "line 1, in process"}
        results.update_one({"_id": kept["_id"]}, {"$set": {"code": -4, "error": error}})
        told = shell.ok("t2", "show", "--code", "-4")
        assert "code -4 EXCEPTION: the unit raised; message and traceback are in `error`" in told
        assert "error: ValueError: no [good]" in told
        assert "line 1, in process" in told
        assert "-4 EXCEPTION" in shell.ok("t2", "status")
        assert re.search(r"-4 EXCEPTION +│ 1 +│ \d+ \w+ +│ 1 ", shell.ok("t2", "status"))
        results.replace_one({"_id": kept["_id"]}, kept)

    def test_asks_first(self, shell):
        result = shell("t2", "reset", "--product", "summary", input="n\n")
        assert result.exit_code == 0
        assert "Compute 3 documents again? [y/N]: n" in result.stdout
        assert self.codes(shell) == {"0": 3}

    @pytest.mark.parametrize(
        ("args", "number"),
        [
            (["--stock", "ZTF18aaaaaab"], 1),
            (["--night", NIGHT], 3),
            (["--code", "0"], 3),
            (["--product", "summary", "--stock", "ZTF18aaaaaaa"], 1),
        ],
    )
    def test_reset_and_compute(self, shell, args, number):
        result = shell("t2", "reset", *args, "--yes")
        assert f"{number} documents are tickets again; the next T2 run takes them up" in result.stderr
        assert self.codes(shell) == {"-6": number} | ({"0": 3 - number} if number < 3 else {})
        # Results that are there stay readable.
        assert "ndet: 1" in shell.ok("provenance", "ZTF18aaaaaab")
        shell.run("augment")
        assert self.codes(shell) == {"0": 3}

    def test_nothing_like_that(self, shell):
        assert shell.ok("t2", "reset", "--code", "-4", "--yes") == "no document is like that\n"
        assert shell.ok("t2", "reset", "--night", NEXT_NIGHT, "--yes") == "no document is like that\n"

    @pytest.mark.parametrize(
        ("args", "told"),
        [
            ([], "say which: --product, --code, --stock or --night"),
            (["--product", "sumary"], "no product is called 'sumary'; did you mean summary?"),
            (["--stock", "ZTF99zzzzzzz"], "no channel has accepted an alert of such an object yet"),
            (["--code", "0", "--survey", "lsst"], "no survey is called 'lsst'; there are: ztf"),
        ],
    )
    def test_wrong_arguments(self, shell, args, told):
        assert shell.error("t2", "reset", *args, "--yes").endswith(told)


class TestFailingRun:
    def test_is_one_line_too(self, shell, folder, monkeypatch):
        """A failure that the user cannot mend: the line says which step, why, and in which run."""

        def broken(*_):
            raise ZeroDivisionError("by zero")

        monkeypatch.setattr("assets.ops.materializations", broken)
        line = shell.error("ingest", folder / "archive", code=1)
        assert line.startswith("failed: ingest, step report_partitions: ZeroDivisionError: by zero (run ")

    def test_interrupted(self, shell, folder, monkeypatch):
        """Ctrl-C."""

        def interrupted(*_):
            raise KeyboardInterrupt

        monkeypatch.setattr("assets.ops.materializations", interrupted)
        line = shell.error("ingest", folder / "archive", code=1)
        assert line == "failed: ingest was interrupted; what it had done is stored, the same again goes on"

    def test_failing_reaction(self, shell, folder, monkeypatch):
        def write(*_):
            raise ValueError("no [/space]")

        monkeypatch.setattr(TransientTable, "write", write)
        shell.ok("ingest", folder / "archive")
        with pytest.raises(RunFailedError, match=r"react_to_new: Failure: TransientTable failed: ValueError: no \["):
            shell.run("react")


@pytest.fixture
def own_server(tmp_path):
    """A folder whose embedded server is stopped and removed afterwards."""
    yield tmp_path
    for instance in (tmp_path, tmp_path / ".ampel"):
        server = EmbeddedServer(instance)
        server.stop()
        shutil.rmtree(server.folder, ignore_errors=True)  # some 200 MB


def clean_env(**more):
    env = {name: value for name, value in os.environ.items() if not name.startswith(("AMPEL_", "DAGSTER_"))}
    return {**env, "AMPEL_MONGOD_CACHE_GB": "0.25", **more}


class TestMongo:
    def test_start_status_stop(self, own_server, monkeypatch):
        monkeypatch.chdir(own_server)
        for name in ("AMPEL_INSTANCE", "AMPEL_MONGO_URI"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("AMPEL_MONGOD_CACHE_GB", "0.25")

        def mongo(verb):
            result = CliRunner().invoke(main, ["mongo", verb])
            assert result.exit_code == 0
            return result.stdout

        assert mongo("status") == "does not run; `ampel-dagster mongo start` starts it\n"
        assert mongo("stop") == "was not running\n"
        started = mongo("start")
        assert started.startswith("runs at mongodb://127.0.0.1:")
        assert mongo("start") == started
        status = mongo("status")
        assert status.startswith(started.strip())
        assert status.strip().endswith(f"log: {own_server / '.ampel' / 'mongo' / 'mongod.log'}")
        # Found by the other commands without an address.
        assert CliRunner().invoke(main, ["counts", "--json"]).exit_code == 0
        assert mongo("stop") == "stopped\n"
        assert mongo("status").startswith("does not run")

    @pytest.mark.parametrize("verb", ["start", "stop", "status"])
    def test_database_of_somebody_else(self, shell, verb):
        assert shell.error("mongo", verb) == (
            "error: AMPEL_MONGO_URI is set: the database is not ours to start or stop"
        )


def reports(told):
    """Pages that a demo names."""
    lines = [line.strip() for line in told.splitlines()]
    return [Path(line.removeprefix("file://")) for line in lines if line.startswith("file://")]


class TestDemo:
    def test_from_nothing_to_reports(self, own_server):
        """In an empty folder, with a server of its own, which is stopped in the end."""
        command = [*COMMAND, "demo", "--number", "30", "--night", "2018-04-03"]
        done = subprocess.run(command, cwd=own_server, env=clean_env(), capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert "Simulated the night 2018-04-03: " in done.stderr
        assert "Traceback" not in done.stderr
        instance = own_server / ".ampel"
        assert reports(done.stdout) == [instance / "reports/report/BRIGHT_TRANSIENTS/2018-04-03/index.html"]
        assert reports(done.stdout)[0].is_file()
        assert (instance / "archive" / "ztf_public_20180403.tar.gz").is_file()
        assert not EmbeddedServer(instance).status().running

    def test_real_packets(self, tmp_path, mongo_uri, data):
        assert CliRunner().invoke(main, ["init", str(tmp_path / "i")]).exit_code == 0
        old = tmp_path / "i" / "reports" / "report" / "A" / "2018-08-18" / "index.html"
        old.parent.mkdir(parents=True)
        old.touch()
        os.utime(old, (1_000_000_000, 1_000_000_000))
        shell = Shell(tmp_path / "i", mongo_uri)
        told = shell.ok("demo", "--alerts", data / PACKETS)
        assert "│ EVERYTHING        │ 30 " in told
        # None of them is a bright transient, and what was written before is not of this run.
        assert reports(told) == []
        assert "No channel with a report has accepted an alert." in told
        assert shell.counts()["ztf"]["alert"] == 30

    @pytest.mark.parametrize(
        ("args", "told"),
        [
            (["--alerts", "absent.tar.gz"], "absent.tar.gz: no such file or folder"),
            (["--night", "yesterday"], "--night yesterday: write YYYY-MM-DD"),
            (["--night", "2018-08-19..2018-08-20"], "--night 2018-08-19..2018-08-20: the demo takes one night"),
            (["--night", "2010-01-01"], "nights of ztf begin with 2017-11-01"),
            (["--night", "2099-01-01"], "the night 2099-01-01 is still to come"),
        ],
    )
    def test_wrong_arguments(self, shell, args, told):
        assert told in shell.error("demo", *args)

    def test_instance_without_channels(self, make_instance, mongo_uri):
        assert "the demo needs a stream and a channel" in Shell(make_instance(), mongo_uri).error("demo")


class TestSurveys:
    LSST: ClassVar = {
        "streams/lsst.yaml": {"survey": "lsst", "start_date": "2025-06-01"},
        "channels/RUBIN.yaml": {"channel": "RUBIN", "lsst": {"t2": ["summary"]}},
    }

    def test_the_only_survey_needs_no_name(self, make_instance, mongo_uri, tmp_path):
        shell = Shell(make_instance({}, {**self.LSST, "streams/ztf.yaml": None}), mongo_uri)
        file = tmp_path / "alert.json"
        file.write_text(json.dumps(make_lsst_alert(history=[make_dia_source(mjd_tai=61000.25)])))
        assert "alert.json │ 1    │ 1" in shell.ok("ingest", file)
        assert "alert.json │ 1    │ 1" in shell.ok("ledger", "2025-11-22")
        assert shell.counts()["lsst"]["t0"]["detections"] == 2
        assert "stock 169562325793636358" in shell.ok("provenance", "169562325793636358")
        assert "1 documents are tickets" in shell("t2", "reset", "--stock", "169562325793636358", "--yes").stderr
        # What is simulated is another survey's.
        assert "no survey is called 'ztf'" in shell.error("demo")

    def test_of_several_one_must_be_named(self, make_instance, mongo_uri, tmp_path):
        shell = Shell(make_instance({"A": {}}, self.LSST), mongo_uri)
        file = tmp_path / "alert.json"
        file.write_text(json.dumps(make_lsst_alert()))
        told = "error: which survey? say --survey and one of: lsst, ztf"
        assert shell.error("ingest", file) == told
        assert shell.error("backfill", "--nights", NIGHT) == told
        assert shell.error("ledger") == told
        assert shell.error("t2", "reset", "--code", "-4") == told
        assert "alert.json │ 1    │ 1" in shell.ok("ingest", file, "--survey", "lsst")
        # An object tells its survey by itself.
        assert "1 documents are tickets" in shell("t2", "reset", "--stock", "169562325793636358", "--yes").stderr


class TestDev:
    @pytest.fixture
    def became(self, monkeypatch):
        """What this process would have become, and with which environment."""
        found = []
        monkeypatch.setattr(os, "execv", lambda program, args: found.append((args, dict(os.environ))))
        return found

    def test_becomes_dagster(self, make_instance, mongo_uri, became):
        folder = make_instance({"A": {}})
        (folder / "landing").rmdir()
        shell = Shell(folder, mongo_uri)
        result = shell("dev", "--port", "3001")
        assert f"Dagster UI: http://127.0.0.1:3001  (instance {folder}; stop with Ctrl-C)" in result.stderr
        ((program, *args), env) = became[0]
        assert Path(program).name == "dagster"
        assert args == ["dev", "-m", "ampel_dagster.definitions", "-h", "127.0.0.1", "-p", "3001"]
        assert (env["DAGSTER_HOME"], env["AMPEL_INSTANCE"]) == (str(folder), str(folder))
        assert env["AMPEL_UI_URL"] == "http://127.0.0.1:3001"
        assert env["DAGSTER_DISABLE_TELEMETRY"] == "yes"
        assert (folder / "landing").is_dir()

    def test_workspace_of_the_instance(self, make_instance, mongo_uri, became):
        folder = make_instance({}, {"workspace.yaml": {"load_from": []}})
        Shell(folder, mongo_uri)("dev")
        assert became[0][0][1:4] == ["dev", "-w", str(folder / "workspace.yaml")]

    def test_checks_first(self, make_instance, mongo_uri, became):
        assert "t2/absent.yaml" in Shell(make_instance({"A": {"t2": ["absent"]}}), mongo_uri).error("dev")
        assert became == []
