"""What Dagster loads: names, partitions, versions; and that loading touches nothing."""

import os
import subprocess
import sys
from dataclasses import replace
from importlib import import_module

import dagster as dg
import pytest

from ampel_dagster.config.instance import packaged_demo
from ampel_dagster.config.load import load
from ampel_dagster.config.spec import WorkersSpec
from ampel_dagster.definitions import build
from ampel_dagster.model.errors import UserError
from ampel_dagster.model.run import CODE_VERSION

TIERS = {
    ("ztf", "t0"),
    ("ztf", "t1"),
    ("ztf", "t2", "light_curve_summary"),
    ("ztf", "t2", "near_galaxies"),
    ("t3", "daily_table"),
    ("t3", "report"),
}


@pytest.fixture(scope="module")
def config():
    return load(packaged_demo())


@pytest.fixture(scope="module")
def defs(config):
    return build(config)


def keyed(defs):
    """Specs of all assets, by path of their key."""
    return {tuple(spec.key.path): spec for spec in defs.resolve_all_asset_specs()}


def nodes(defs):
    """Asset nodes of all tiers, by path of their key."""
    graph = defs.resolve_asset_graph()
    return {tuple(key.path): graph.get(key) for key in graph.materializable_asset_keys}


class TestLoading:
    def test_needs_no_environment_and_writes_nothing(self, tmp_path):
        code = "from ampel_dagster.definitions import defs; import dagster; dagster.Definitions.validate_loadable(defs)"
        clean = {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=clean, capture_output=True, text=True)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        assert list(tmp_path.iterdir()) == []

    def test_wrong_instance_is_one_error(self, tmp_path, monkeypatch):
        """What `dagster dev` shows where AMPEL_INSTANCE is misspelt."""
        monkeypatch.setenv("AMPEL_INSTANCE", str(tmp_path / "absent"))
        monkeypatch.delitem(sys.modules, "ampel_dagster.definitions")
        with pytest.raises(UserError, match="no instance there; make one with: ampel-dagster init"):
            import_module("ampel_dagster.definitions")
        assert list(tmp_path.iterdir()) == []

    def test_database_that_does_not_answer(self, config, monkeypatch):
        monkeypatch.setenv("AMPEL_MONGO_URI", "mongodb://127.0.0.1:1")
        dg.Definitions.validate_loadable(build(config))

    @pytest.mark.parametrize(
        ("channels", "files"),
        [
            pytest.param({}, {}, id="no channel"),
            pytest.param({}, {"streams/ztf.yaml": None}, id="nothing but a product and a process"),
            pytest.param({"A": {"t2": []}}, {}, id="no product asked for"),
            pytest.param(
                {"A": {}}, {"t3/table.yaml": None, "channels/A.yaml": {"channel": "A", "ztf": {}}}, id="no t3"
            ),
            pytest.param({}, {"streams/ztf.yaml": None, "channels/A.yaml": {"channel": "A"}}, id="no stream"),
            pytest.param({}, {"channels/A.yaml": {"channel": "A", "t3": ["table"]}}, id="no survey of interest"),
            pytest.param(
                {"A": {}},
                {"streams/ztf.yaml": {"survey": "ztf", "start_date": "2018-01-01"}},
                id="neither archive nor landing",
            ),
        ],
    )
    def test_scarce_configurations(self, make_instance, channels, files):
        defs = build(load(make_instance(channels, files)))
        dg.Definitions.validate_loadable(defs)
        assert {"ingest", "augment", "react"} <= {job.name for job in defs.jobs}


class TestNames:
    def test_assets(self, defs):
        assert keyed(defs).keys() == TIERS | {("ztf", "alerts")}
        assert nodes(defs).keys() == TIERS

    def test_jobs_sensors_schedules(self, defs):
        assert {job.name for job in defs.jobs} == {"ingest", "augment", "react", "reprocess", "report"}
        names = {"new_ztf_alerts", "t3_reactions", "t3_overdue", "pending_tickets", "dead_runs"}
        assert {sensor.name for sensor in defs.sensors} == names
        assert {schedule.name for schedule in defs.schedules} == {"daily_table_schedule"}

    def test_checks(self, defs):
        graph = defs.resolve_asset_graph()
        blocking = {(key.asset_key.path[1], key.name): graph.get(key).blocking for key in graph.asset_check_keys}
        assert blocking == {
            ("t0", "ledger_balances"): True,
            ("t0", "filters_work"): False,
            ("t1", "no_future_points"): True,
            ("t2", "few_failures"): False,
            ("t2", "nothing_pending"): False,
        }
        assert len(graph.asset_check_keys) == 7

    def test_everything_is_described(self, defs):
        for path, spec in keyed(defs).items():
            tier = path[1] if path[0] == "ztf" else path[0]
            assert spec.group_name == tier
            assert spec.description
            assert spec.kinds == {"alerts": {"avro"}, "t2": {"mongodb", "python"}, "t3": {"python"}}.get(
                tier, {"mongodb"}
            )
            if path in TIERS:
                assert spec.tags["tier"] == tier[1]
        assert keyed(defs)["ztf", "t2", "near_galaxies"].tags["unit"] == "CatalogMatch"
        assert keyed(defs)["t3", "report"].owners == ["someone@example.org"]
        for described in (*defs.jobs, *defs.sensors, *defs.schedules):
            assert described.description

    def test_contact_that_is_no_address(self, make_instance):
        files = {"channels/A.yaml": {"channel": "A", "contact": "the night shift", "ztf": {}, "t3": ["table"]}}
        assert keyed(build(load(make_instance({}, files))))["t3", "table"].owners == []


class TestGraph:
    def test_edges(self, defs):
        edges = {path: {tuple(dep.asset_key.path) for dep in spec.deps} for path, spec in keyed(defs).items()}
        assert edges["ztf", "t0"] == {("ztf", "alerts")}
        assert edges["ztf", "t1"] == {("ztf", "t0")}
        assert edges["ztf", "t2", "near_galaxies"] == {("ztf", "t1")}
        products = {("ztf", "t2", "light_curve_summary"), ("ztf", "t2", "near_galaxies")}
        assert edges["t3", "report"] == products

    def test_tied_units_are_edges(self, make_instance, monkeypatch):
        from ampel_dagster.units.t2 import light_curve_summary

        monkeypatch.setattr(light_curve_summary.LightCurveSummary, "requires", ("CatalogMatch",))
        csv = {"path": "c.csv", "radius_arcsec": 1, "ra": "ra", "dec": "dec"}
        files = {
            "t2/near.yaml": {"unit": "CatalogMatch", "config": {"catalogs": {"c": csv}}},
            "t2/summary.yaml": {"unit": "LightCurveSummary", "requires": ["near"]},
        }
        folder = make_instance({"A": {}}, files)
        (folder / "c.csv").write_text("ra,dec\n1,2\n")
        deps = keyed(build(load(folder)))["ztf", "t2", "summary"].deps
        assert {tuple(dep.asset_key.path) for dep in deps} == {("ztf", "t1"), ("ztf", "t2", "near")}

    def test_all_tiers_share_their_partitions(self, defs):
        partitions = [node.partitions_def for node in nodes(defs).values()]
        assert all(found == partitions[0] for found in partitions)
        assert partitions[0].partition_dimension_names == ["channel", "night"]
        channels, nights = (
            partitions[0].get_partitions_def_for_dimension(name).get_partition_keys() for name in ("channel", "night")
        )
        assert channels == ["BRIGHT_TRANSIENTS", "EVERYTHING", "VARIABLES"]
        assert nights[0] == "2017-11-01"

    def test_tonight_is_a_partition(self, defs):
        from ampel_dagster.model.night import ut_night
        from ampel_dagster.model.run import utc_now

        nights = nodes(defs)["ztf", "t0"].partitions_def.get_partitions_def_for_dimension("night")
        before = ut_night(utc_now().timestamp() / 86400 + 2440587.5)
        last = nights.get_last_partition_key()
        assert before <= last <= ut_night(utc_now().timestamp() / 86400 + 2440587.5)

    def test_backfills_take_many_nights_a_run(self, defs):
        policies = {node.backfill_policy.max_partitions_per_run for node in nodes(defs).values()}
        assert len(policies) == 1
        assert policies.pop() > 100


class TestVersions:
    def test_code_versions(self, config, defs):
        versions = {path: spec.code_version for path, spec in keyed(defs).items()}
        for name, product in config.products.items():
            assert versions["ztf", "t2", name] == f"{product.id & (1 << 64) - 1:016x}:{product.version}"
        assert {versions[path] for path in TIERS if path[1] in ("t0", "t1") or path[0] == "t3"} == {CODE_VERSION}

    def test_new_version_of_a_unit(self, config, monkeypatch):
        before = {path: spec.code_version for path, spec in keyed(build(config)).items()}
        unit = type(config.products["near_galaxies"].unit)
        monkeypatch.setattr(unit, "version", f"{unit.version}.1")
        after = {path: spec.code_version for path, spec in keyed(build(config)).items()}
        assert {path for path in before if before[path] != after[path]} == {("ztf", "t2", "near_galaxies")}

    def test_new_channel_changes_its_partitions_only(self, make_instance):
        folder = make_instance({"A": {}, "C": {}})
        before = build(load(folder))
        (folder / "channels" / "B.yaml").write_text("channel: B\nztf: {t2: [summary]}\nt3: [table]\n")
        after = build(load(folder))
        assert {p: s.code_version for p, s in keyed(before).items()} == {
            p: s.code_version for p, s in keyed(after).items()
        }
        two_nights = dg.PartitionKeyRange("A|2018-08-19", "C|2018-08-20")
        old, new = (
            set(nodes(found)["ztf", "t1"].partitions_def.get_partition_keys_in_range(two_nights))
            for found in (before, after)
        )
        assert old < new
        assert new - old == {"B|2018-08-19", "B|2018-08-20"}


def _returns(op):
    returned = op.compute_fn.decorated_fn.__annotations__["return"]
    return returned is not None and returned.__name__ != "MaterializeResult"


class TestRunning:
    def test_what_is_returned_goes_to_the_database(self, defs):
        """Dagster's default would pickle it into a file."""
        assets = [found.op for found in defs.assets if isinstance(found, dg.AssetsDefinition)]
        ops = [op for name in ("ingest", "augment", "react") for op in defs.resolve_job_def(name).all_node_defs]
        kept = {op.name: output.io_manager_key for op in (*assets, *ops) for output in op.output_defs if _returns(op)}
        assert set(kept) == {
            *("ztf__t0", "ztf__t1", "ztf__t2__light_curve_summary", "ztf__t2__near_galaxies"),
            *("ingest_packets", "augment_tickets"),
        }
        assert set(kept.values()) == {"mongo_io"}

    def test_workers(self, config):
        """One step each, all of them before what they did is shown; other jobs stay as they are."""
        defs = build(replace(config, workers=WorkersSpec(workers=3, executor="multiprocess")))
        augment = defs.resolve_job_def("augment")
        assert augment.executor_def.name == "multiprocess"
        steps = {node.name for node in augment.nodes}
        assert steps == {"augment_tickets_1", "augment_tickets_2", "augment_tickets_3", "report_partitions"}
        (waits,) = (needs for node, needs in augment.dependencies.items() if node.name == "report_partitions")
        assert len(waits["after"].get_node_dependencies()) == 3
        assert defs.resolve_job_def("ingest").executor_def.name == "in_process"

    def test_executor_that_is_not_installed(self, config, monkeypatch):
        monkeypatch.setitem(sys.modules, "dagster_dask", None)
        with pytest.raises(UserError, match=r"dask is not installed; pip install 'ampel-dagster\[dask\]'"):
            build(replace(config, workers=WorkersSpec(executor="dask")))

    def test_steps_run_in_the_process_of_the_run(self, defs):
        for job in defs.jobs:
            assert defs.resolve_job_def(job.name).executor_def.name == "in_process"

    def test_automation_is_on_from_the_start(self, defs):
        assert {sensor.default_status for sensor in defs.sensors} == {dg.DefaultSensorStatus.RUNNING}
        assert {schedule.default_status for schedule in defs.schedules} == {dg.DefaultScheduleStatus.RUNNING}
