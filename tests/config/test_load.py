"""Files of an instance: what is right is loaded, and of what is wrong every single thing is said at once."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ampel_dagster.config.instance import packaged_demo
from ampel_dagster.config.load import Config, load
from ampel_dagster.model.errors import ConfigError, Problem

GOOD = {
    "streams/ztf.yaml": "{survey: ztf, start_date: 2017-11-01}",
    "t2/summary.yaml": "unit: LightCurveSummary",
    "t3/table.yaml": "units: [{unit: TransientTable, config: {columns: [name]}}]",
    "channels/BRIGHT.yaml": """
channel: BRIGHT
access: [ZTF, ZTF_PUB]
ztf:
  filter: {unit: DecentFilter, config: {min_ndet: 2}}
  t2: [summary]
t3: [table]
""",
}


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def good(folder: Path, **files: str) -> Config:
    return load(write(folder, {**GOOD, **files}))


def problems(folder: Path, files: dict[str, str]) -> tuple[Problem, ...]:
    with pytest.raises(ConfigError) as caught:
        load(write(folder, {**GOOD, **files}))
    return caught.value.problems


# --- what is right


def test_packaged_demo_loads() -> None:
    config = load(packaged_demo())
    assert config.channels
    assert config.surveys == ("ztf",)


def test_empty_instance_is_fine(tmp_path: Path) -> None:
    config = load(tmp_path)
    assert (config.channels, config.products, config.processes, config.streams) == ({}, {}, {}, {})
    for name in ("channels", "t2", "t3", "streams"):
        (tmp_path / name).mkdir()
    assert load(tmp_path).id == config.id


def test_names_are_those_of_the_files_and_all_is_tied_together(tmp_path: Path) -> None:
    config = good(tmp_path)
    (rules,) = config.rules("ztf")
    assert (rules.channel, rules.filter.min_ndet) == ("BRIGHT", 2)  # type: ignore[union-attr]
    assert rules.requests[0].product is config.products["summary"]
    assert rules.reactions == ("table",)
    assert [channel.name for channel in config.channels_of("table")] == ["BRIGHT"]
    assert config.product_names == {config.products["summary"].id: "summary"}
    assert config.stream("ztf").start_date.isoformat() == "2017-11-01"


def test_channel_may_leave_out_all_but_its_name(tmp_path: Path) -> None:
    config = load(
        write(tmp_path, {"streams/ztf.yaml": GOOD["streams/ztf.yaml"], "channels/A.yaml": "{channel: A, ztf: }"})
    )
    (rules,) = config.rules("ztf")
    assert (rules.filter, rules.requests, rules.known_stocks) == (None, (), "filter")
    assert rules.access == {"ZTF", "ZTF_PUB"}  # data of the public


def test_request_may_be_restricted_to_groups(tmp_path: Path) -> None:
    channel = "{channel: BRIGHT, ztf: {t2: [{product: summary, group: [2, 3]}]}}"
    (request,) = good(tmp_path, **{"channels/BRIGHT.yaml": channel}).rules("ztf")[0].requests
    assert [request.wants(code) for code in (0, 1, 2, 3)] == [True, False, True, True]


def test_words_of_yaml_1_1_stay_words(tmp_path: Path) -> None:
    config = good(
        tmp_path,
        **{
            "streams/ztf.yaml": "{survey: ztf, start_date: 2017-11-01, cutouts: off}",
            "t3/table.yaml": GOOD["t3/table.yaml"] + "\ntrigger: {on: t2}\nreact: true",
            "channels/no.yaml": "{channel: no, contact: yes}",
        },
    )
    assert config.stream("ztf").cutouts == "off"
    assert config.processes["table"].trigger.on == "t2"  # type: ignore[union-attr]
    assert config.processes["table"].react is True
    assert config.channels["no"].contact == "yes"


def test_parts_of_a_file_may_be_shared_by_anchors(tmp_path: Path) -> None:
    channel = """
channel: BRIGHT
ztf:
  filter:
    unit: BasicFilter
    config:
      all_of:
        - &cut {attribute: rb, operator: ">", value: 0.5}
        - {<<: *cut, attribute: drb}
"""
    (rules,) = good(tmp_path, **{"channels/BRIGHT.yaml": channel}).rules("ztf")
    first, second = rules.filter.all_of  # type: ignore[union-attr]
    assert (first.attribute, second.attribute, second.value) == ("rb", "drb", 0.5)


def test_files_of_editors_are_no_configuration(tmp_path: Path) -> None:
    config = good(
        tmp_path, **{"channels/.BRIGHT.yaml": "half", "channels/BRIGHT.yaml~": "old", "channels/notes.txt": "x"}
    )
    assert set(config.channels) == {"BRIGHT"}


def test_yml_is_as_good_as_yaml(tmp_path: Path) -> None:
    assert set(good(tmp_path, **{"channels/B.yml": "channel: B"}).channels) == {"BRIGHT", "B"}


@pytest.mark.parametrize(
    "schedule", ["0 8 * * *", "*/15 6-18 * * mon-fri", "30 7 1,15 jan,jul *", "@daily", "0 0 L * *"]
)
def test_process_may_run_by_the_clock(tmp_path: Path, schedule: str) -> None:
    trigger = f"\ntrigger: {{schedule: '{schedule}', timezone: Europe/Berlin}}"
    found = good(tmp_path, **{"t3/table.yaml": GOOD["t3/table.yaml"] + trigger}).processes["table"].trigger
    assert found is not None
    assert (found.schedule, found.timezone, found.on) == (schedule, "Europe/Berlin", None)


# --- what is wrong: (file, its text, key, part of the message, part of the remedy)

CHANNEL = GOOD["channels/BRIGHT.yaml"]
TABLE = GOOD["t3/table.yaml"]
BASE = "\nrequires: [summary]"


def _kafka(block: str) -> str:
    return f"{{survey: ztf, start_date: 2017-11-01, kafka: {{{block}}}}}"


MISTAKES: dict[str, tuple[str, str, str, str, str]] = {
    "several workers in one process": (
        "workers.yaml",
        "workers: 4",
        "",
        "several workers need an executor",
        "add: executor: multiprocess",
    ),
    "executor that nobody knows": (
        "workers.yaml",
        "{workers: 4, executor: slurm}",
        "executor",
        "should be 'in_process', 'multiprocess', 'dask', 'celery' or 'k8s_job', not 'slurm'",
        "",
    ),
    "misspelt filter": (
        "channels/BRIGHT.yaml",
        CHANNEL.replace("DecentFilter", "DecentFliter"),
        "ztf.filter.unit",
        "no unit is called 'DecentFliter'",
        "did you mean DecentFilter?",
    ),
    "unit that is like no other": (
        "t2/summary.yaml",
        "unit: Xyzzy",
        "unit",
        "no unit is called 'Xyzzy'",
        "LightCurveSummary",
    ),
    "unit of another tier": (
        "channels/BRIGHT.yaml",
        CHANNEL.replace("DecentFilter", "LightCurveSummary").replace("{min_ndet: 2}", "{}"),
        "ztf.filter.unit",
        "LightCurveSummary is no AlertFilter",
        "DecentFilter",
    ),
    "cut of a wrong type": (
        "channels/BRIGHT.yaml",
        CHANNEL.replace("min_ndet: 2", "min_ndet: two"),
        "ztf.filter.config.min_ndet",
        "should be a valid integer",
        "",
    ),
    "cut out of range": (
        "channels/BRIGHT.yaml",
        CHANNEL.replace("min_ndet: 2", "min_rb: 1.5"),
        "ztf.filter.config.min_rb",
        "should be less than or equal to 1, not 1.5",
        "",
    ),
    "misspelt cut": (
        "channels/BRIGHT.yaml",
        CHANNEL.replace("min_ndet", "min_ndets"),
        "ztf.filter.config.min_ndets",
        "is not known here",
        "spelling",
    ),
    "missing setting": (
        "t3/table.yaml",
        "units: [{unit: TransientTable}]",
        "units.0.config.columns",
        "is missing",
        "add it",
    ),
    "misspelt key of a block": (
        "channels/BRIGHT.yaml",
        CHANNEL.replace("filter:", "filters:"),
        "ztf.filters",
        "is not known here",
        "spelling",
    ),
    "unknown survey or key": (
        "channels/BRIGHT.yaml",
        CHANNEL.replace("ztf:", "lssst:"),
        "lssst",
        "is neither a key of a channel nor a survey",
        "ztf",
    ),
    "choice that is none": (
        "channels/BRIGHT.yaml",
        CHANNEL.replace("ztf:", "ztf:\n  known_stocks: always"),
        "ztf.known_stocks",
        "should be 'filter', 'bypass', 'overrule' or 'silent_overrule', not 'always'",
        "",
    ),
    "right that nobody has": (
        "channels/BRIGHT.yaml",
        CHANNEL.replace("ZTF_PUB", "ZTF_PBU"),
        "access",
        "no survey has the right 'ZTF_PBU'",
        "did you mean ZTF_PUB?",
    ),
    "missing product": (
        "channels/BRIGHT.yaml",
        CHANNEL.replace("t2: [summary]", "t2: [sumary]"),
        "ztf.t2",
        "there is no t2/sumary.yaml",
        "did you mean summary?",
    ),
    "missing process": (
        "channels/BRIGHT.yaml",
        CHANNEL.replace("t3: [table]", "t3: [Q]"),
        "t3",
        "there is no t3/Q.yaml",
        "add t3/Q.yaml",
    ),
    "another name than the file's": (
        "channels/BRIGHT.yaml",
        CHANNEL.replace("channel: BRIGHT", "channel: FAINT"),
        "channel",
        "is FAINT, but the file is BRIGHT.yaml",
        "one name",
    ),
    "no name": (
        "channels/BRIGHT.yaml",
        CHANNEL.replace("channel: BRIGHT", "contact: me"),
        "channel",
        "is missing",
        "add it",
    ),
    "file name that is no name": ("channels/my channel.yaml", "channel: X", "", "a file's name names", "letters"),
    "two files of one name": ("t2/summary.yml", "unit: LightCurveSummary", "", "has the name already", "keep one"),
    "key that stands twice": (
        "channels/BRIGHT.yaml",
        CHANNEL + "access: [ZTF]\n",
        "",
        "the key 'access' stands twice",
        "mend",
    ),
    "key that stands twice, deeper": (
        "t2/summary.yaml",
        "unit: LightCurveSummary\nconfig: {a: 1, a: 2}",
        "",
        "the key 'a' stands twice",
        "mend",
    ),
    "no YAML": ("t2/summary.yaml", "unit: [LightCurveSummary", "", "is no valid YAML", "mend"),
    "no text": ("t2/summary.yaml", "unit: \x00", "", "is no valid YAML", "mend"),
    "no keys": ("t2/other.yaml", "- unit", "", "holds no keys", "ampel-dagster init"),
    "empty file": ("t2/other.yaml", "# nothing yet\n", "", "holds no keys", "ampel-dagster init"),
    "product that requires none": (
        "t2/other.yaml",
        "unit: LightCurveSummary\nrequires: [nil]",
        "requires",
        "no t2/nil",
        "add",
    ),
    "product that requires itself": (
        "t2/other.yaml",
        "unit: LightCurveSummary\nrequires: [other]",
        "requires",
        "goes in a circle: other -> other",
        "break",
    ),
    "twin product": (
        "t2/twin.yaml",
        "unit: LightCurveSummary\nconfig: {}",
        "unit",
        "computes the very same as summary",
        "use summary instead",
    ),
    "missing catalogue": (
        "t2/near.yaml",
        "unit: CatalogMatch\nconfig: {catalogs: {glade: {radius_arcsec: 5, path: catalogs/glade.csv}}}",
        "config",
        "catalogs/glade.csv",
        "put the file there",
    ),
    "process without units": ("t3/table.yaml", "units: []", "units", "at least 1 item", ""),
    "unit of a process": (
        "t3/table.yaml",
        TABLE.replace("TransientTable", "TransientTabel"),
        "units.0.unit",
        "no unit",
        "Table?",
    ),
    "unit twice in a process": (
        "t3/table.yaml",
        "units: [&a {unit: TransientTable, config: {columns: [name]}}, *a]",
        "units",
        "TransientTable stands twice",
        "second process",
    ),
    "condition that is none": (
        "t3/table.yaml",
        TABLE + "\nselect: {where: [summary.ndet = 3]}",
        "select.where",
        "is no condition",
        "write it as",
    ),
    "two conditions in one": (
        "t3/table.yaml",
        TABLE + "\nselect: {where: ['summary.ndet > 3 and summary.ndet < 5']}",
        "select.where",
        "is neither a number nor a word",
        "one condition a line",
    ),
    "condition on no product": (
        "t3/table.yaml",
        TABLE + "\nselect: {where: ['sumary.ndet > 3']}",
        "select.where",
        "there is no t2/sumary.yaml",
        "did you mean summary?",
    ),
    "condition on nothing": (
        "t3/table.yaml",
        TABLE + "\nselect: {where: ['ndet > 3']}",
        "select.where",
        "'ndet'",
        "product.field",
    ),
    "trigger that says nothing": (
        "t3/table.yaml",
        TABLE + "\ntrigger: {}",
        "trigger",
        "neither on nor schedule",
        "on: t2",
    ),
    "schedule of four places": (
        "t3/table.yaml",
        TABLE + "\ntrigger: {schedule: '0 8 * *'}",
        "trigger.schedule",
        "has 4 places",
        "write five",
    ),
    "schedule out of range": (
        "t3/table.yaml",
        TABLE + "\ntrigger: {schedule: '0 24 * * *'}",
        "trigger.schedule",
        "'24' is no hour",
        "write 0 to 23",
    ),
    "schedule on no date": (
        "t3/table.yaml",
        TABLE + "\ntrigger: {schedule: '0 8 30 2 *'}",
        "trigger.schedule",
        "a date that no month has",
        "another day",
    ),
    "time zone": (
        "t3/table.yaml",
        TABLE + "\ntrigger: {schedule: '0 8 * * *', timezone: Europe/Berln}",
        "trigger.timezone",
        "'Europe/Berln' is no time zone",
        "did you mean Europe/Berlin?",
    ),
    "stream of no survey": (
        "streams/two.yaml",
        "{survey: ztff, start_date: 2017-11-01}",
        "survey",
        "'ztff' is not known",
        "ztf",
    ),
    "second stream of a survey": (
        "streams/two.yaml",
        "{survey: ztf, start_date: 2017-11-01}",
        "survey",
        "streams/two.yaml has it already",
        "keep one",
    ),
    "archive without nights": (
        "streams/ztf.yaml",
        "{survey: ztf, start_date: 2017-11-01, archive: {folder: a, pattern: all.tar}}",
        "archive.pattern",
        "needs the night",
        "",
    ),
    "first night that is no date": (
        "streams/ztf.yaml",
        "{survey: ztf, start_date: soon}",
        "start_date",
        "should be a valid date",
        "",
    ),
    "kafka without topics": (
        "streams/ztf.yaml",
        _kafka("brokers: ['a:9092']"),
        "kafka",
        "needs topics or a pattern",
        "write one of the two",
    ),
    "kafka with topics and a pattern": (
        "streams/ztf.yaml",
        _kafka("brokers: ['a:9092'], topics: [a], pattern: '^a'"),
        "kafka",
        "needs topics or a pattern",
        "write one of the two",
    ),
    "broker without a port": (
        "streams/ztf.yaml",
        _kafka("brokers: [alerts.example.org], topics: [a]"),
        "kafka.brokers",
        "'alerts.example.org' is no address",
        "write host:port",
    ),
    "no broker": (
        "streams/ztf.yaml",
        _kafka("brokers: [], topics: [a]"),
        "kafka.brokers",
        "at least 1 item",
        "",
    ),
    "topic that is an expression": (
        "streams/ztf.yaml",
        _kafka("brokers: ['a:9092'], topics: ['^ztf_.*']"),
        "kafka.topics",
        "'^ztf_.*' cannot be a topic",
        "write pattern:",
    ),
    "pattern without a beginning": (
        "streams/ztf.yaml",
        _kafka("brokers: ['a:9092'], pattern: 'ztf_.*'"),
        "kafka.pattern",
        "does not say where a name begins",
        "write '^ztf_.*'",
    ),
    "pattern that is no expression": (
        "streams/ztf.yaml",
        _kafka("brokers: ['a:9092'], pattern: '^ztf_('"),
        "kafka.pattern",
        "is no regular expression",
        "see Python's re",
    ),
    "no packet a run": (
        "streams/ztf.yaml",
        _kafka("brokers: ['a:9092'], topics: [a], max_packets_per_run: 0"),
        "kafka.max_packets_per_run",
        "greater than or equal to 1",
        "",
    ),
    "password in the file": (
        "streams/ztf.yaml",
        _kafka("brokers: ['a:9092'], topics: [a], security: {protocol: SSL, password: hidden}"),
        "kafka.security.password",
        "is not known here",
        "remove it",
    ),
    "secret in place of its name": (
        "streams/ztf.yaml",
        _kafka("brokers: ['a:9092'], topics: [a], security: {protocol: SSL, key_password_env: 'hidden!'}"),
        "kafka.security.key_password_env",
        "is no name of a variable",
        "and not the secret",
    ),
    "login without a password": (
        "streams/ztf.yaml",
        _kafka("brokers: ['a:9092'], topics: [a], security: {mechanism: PLAIN, username_env: U}"),
        "kafka.security",
        "with SASL_SSL goes a login",
        "add mechanism, username_env, password_env",
    ),
    "login where there is none": (
        "streams/ztf.yaml",
        _kafka("brokers: ['a:9092'], topics: [a], security: {protocol: SSL, username_env: U}"),
        "kafka.security",
        "with protocol SSL goes no login",
        "SASL_SSL",
    ),
    "two places of a secret": (
        "streams/ztf.yaml",
        _kafka("brokers: ['a:9092'], topics: [a], security: {username_env: U, username_file: u}"),
        "kafka.security",
        "names two places of the username",
        "keep username_env or username_file",
    ),
    "certificate without a key": (
        "streams/ztf.yaml",
        _kafka("brokers: ['a:9092'], topics: [a], security: {protocol: SSL, certificate_file: c.pem}"),
        "kafka.security",
        "go together",
        "add the other one",
    ),
    "unknown mechanism": (
        "streams/ztf.yaml",
        _kafka("brokers: ['a:9092'], topics: [a], security: {mechanism: SCRAM, username_env: U, password_env: P}"),
        "kafka.security.mechanism",
        "should be 'SCRAM-SHA-512', 'SCRAM-SHA-256' or 'PLAIN'",
        "",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistake_is_one_problem_with_file_key_and_remedy(tmp_path: Path, mistake: str) -> None:
    file, text, key, message, remedy = MISTAKES[mistake]
    # Where a stream is broken, its survey has none: that is another mistake.
    found = [
        p for p in problems(tmp_path, {file: text}) if not (file == "streams/ztf.yaml" and "no stream" in p.message)
    ]
    assert len(found) == 1, found
    (problem,) = found
    expected = "streams/ztf.yaml" if mistake == "second stream of a survey" else file
    assert problem.file in (expected, file)
    assert problem.key == key
    assert message in problem.message
    assert remedy in problem.remedy
    assert "\n" not in str(problem)
    assert "hidden" not in str(problem)


def test_survey_without_stream_is_a_problem(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, {"streams/ztf.yaml": "{survey: ztf}"})[1:]
    assert (problem.file, problem.key, problem.remedy) == ("channels/BRIGHT.yaml", "ztf", "add streams/ztf.yaml")


def test_folder_of_schemas_must_be_there(tmp_path: Path) -> None:
    stream = {"streams/lsst.yaml": "{survey: lsst, start_date: 2025-06-01, schemas: {folder: avsc}}"}
    (problem,) = problems(tmp_path, stream)
    assert (problem.file, problem.key) == ("streams/lsst.yaml", "schemas.folder")
    assert "there is no folder avsc" in problem.message
    (tmp_path / "avsc").mkdir()
    assert good(tmp_path, **stream).instrument("lsst").survey == "lsst"


def test_access_must_hold_a_right_of_each_survey(tmp_path: Path) -> None:
    """Else the channel would be told of nothing, and nobody would know why."""
    files = {
        "streams/lsst.yaml": "{survey: lsst, start_date: 2025-06-01}",
        "channels/BRIGHT.yaml": "{channel: BRIGHT, access: [ZTF, ZTF_PUB], ztf: {}, lsst: {}}",
    }
    (problem,) = problems(tmp_path, files)
    assert (problem.file, problem.key) == ("channels/BRIGHT.yaml", "access")
    assert problem.message == "holds no right of lsst, so that nothing of it is seen"
    assert problem.remedy == "add LSST or LSST_SSO"
    files["channels/BRIGHT.yaml"] = files["channels/BRIGHT.yaml"].replace("ZTF_PUB", "ZTF_PUB, LSST")
    assert good(tmp_path, **files).rules("lsst")[0].access == {"ZTF", "ZTF_PUB", "LSST"}


def test_circle_is_one_problem(tmp_path: Path) -> None:
    circle = {f"t2/p{n}.yaml": f"unit: LightCurveSummary\nrequires: [p{(n + 1) % 3}]" for n in range(3)}
    (problem,) = problems(tmp_path, circle)
    assert problem.message == "goes in a circle: p0 -> p1 -> p2 -> p0"


def test_broken_product_is_one_problem_however_many_ask_for_it(tmp_path: Path) -> None:
    broken = {
        "t2/summary.yaml": "unit: LightCurveSumary",
        "t2/above.yaml": "unit: LightCurveSummary\nrequires: [summary]",
        "channels/C.yaml": "{channel: C, ztf: {t2: [summary, above]}}",
        "t3/table.yaml": TABLE + "\nselect: {where: ['summary.ndet > 1']}",
    }
    (problem,) = problems(tmp_path, broken)
    assert problem.file == "t2/summary.yaml"


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    wrong = {
        "channels/BRIGHT.yaml": CHANNEL.replace("DecentFilter", "DecentFliter").replace("[summary]", "[none]"),
        "channels/OTHER.yaml": "channel: ANOTHER",
        "t2/broken.yaml": "unit: [",
        "t2/summary.yaml": "unit: LightCurveSummary\nconfig: {x: 1, y: 2}",
        "t3/table.yaml": TABLE + "\ntrigger: {schedule: never, timezone: Mars}",
    }
    found = problems(tmp_path, wrong)
    assert sorted((p.file, p.key) for p in found) == [
        ("channels/BRIGHT.yaml", "ztf.filter.unit"),
        ("channels/BRIGHT.yaml", "ztf.t2"),
        ("channels/OTHER.yaml", "channel"),
        ("t2/broken.yaml", ""),
        ("t2/summary.yaml", "config.x"),
        ("t2/summary.yaml", "config.y"),
        ("t3/table.yaml", "trigger.schedule"),
        ("t3/table.yaml", "trigger.timezone"),
    ]


def test_error_is_one_line_that_holds_every_problem(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^channels/A.yaml: channel: is missing — add it$"):
        load(write(tmp_path, {"channels/A.yaml": "contact: me"}))


def test_configuration_loads_without_dagster_and_database() -> None:
    code = "import sys, ampel_dagster.config.load as l; from ampel_dagster.config.instance import packaged_demo as d;"
    code += "l.load(d()); sys.exit(sum(m in sys.modules for m in ('dagster', 'pymongo')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr.strip()) == (0, "")


def test_content_of_all_files_is_the_identity(tmp_path: Path) -> None:
    config = good(tmp_path / "a")
    assert config.id == good(tmp_path / "b").id
    same = {"t2/summary.yaml": "# The same, with what holds anyway.\nrequires: []\nunit: LightCurveSummary"}
    assert config.id == good(tmp_path / "c", **same).id
    changed: list[dict[str, Any]] = [
        {"channels/BRIGHT.yaml": CHANNEL.replace("min_ndet: 2", "min_ndet: 3")},
        {"channels/BRIGHT.yaml": CHANNEL.replace("t3: [table]", "")},
        {"streams/ztf.yaml": "{survey: ztf, start_date: 2018-11-01}"},
        {"t3/table.yaml": TABLE + "\nselect: {tags: {with: [SN]}}"},
        {"channels/B.yaml": "channel: B"},
    ]
    moved = {"workers.yaml": "{workers: 4, executor: multiprocess}"}
    assert config.id == good(tmp_path / "d", **moved).id, "where it is computed changes no result"
    ids = {good(tmp_path / f"{n}", **files).id for n, files in enumerate(changed)}
    assert len(ids - {config.id}) == len(changed)


def test_stream_over_kafka(tmp_path: Path) -> None:
    text = """
survey: ztf
start_date: 2017-11-01
kafka:
  brokers: [public.example.org:9092, "[2001:db8::1]:9092"]
  pattern: '^ztf_.*_programid1$'
  security: {mechanism: SCRAM-SHA-512, username_env: ZTF_USER, password_file: secrets/ztf}
"""
    config = good(tmp_path, **{"streams/ztf.yaml": text})
    kafka = config.stream("ztf").kafka
    assert kafka is not None
    assert [kafka.wants(f"ztf_20180819_programid{n}") for n in (1, 2)] == [True, False]
    assert not kafka.wants("other_ztf_20180819_programid1")
