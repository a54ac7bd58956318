"""The IO manager: what it writes, when, and what it hands on to whom."""

import dagster as dg
import pandas as pd
import pytest

from ampel_dagster.pipeline.tally import Tally
from ampel_dagster.pipeline.tier import PartitionFacts, TierOutput
from ampel_dagster.storage.figures import Figures
from ampel_dagster.testing import make_alert, write_archive
from assets.partitions import channel_nights
from resources.mongo import MongoResource
from resources.mongo_io import Documents, MongoIOManager

JD = {"2018-08-19": 2458349.7, "2018-08-20": 2458350.7, "2018-08-21": 2458351.7}
T0, T1, T2 = (["ztf", "t0"], ["ztf", "t1"], ["ztf", "t2", "summary"])


@pytest.fixture(scope="module")
def platform(make_platform):
    """Three nights for two channels, of which one takes bright alerts only, into a group of its own."""
    bright = {"all_of": [{"attribute": "magpsf", "operator": "<", "value": 18}]}
    platform = make_platform({"ALL": {}, "BRIGHT": {"filter": {"unit": "BasicFilter", "config": bright}}})
    for night, jd in JD.items():
        alerts = [
            make_alert(name=f"ZTF18aaaaaa{letter}", jd=jd, ra=150 + n, mag=17 + n, tblid=n + 1, cutouts=False)
            for n, letter in enumerate("abc")
        ]
        write_archive(platform.folder / "landing" / f"{night}.tar.gz", alerts)
    platform.ingest(platform.folder / "landing")
    return platform


def loaded(platform, upstream, kind, partition="", **more):
    """What an asset downstream gets of one of the tiers."""
    seen = []

    @dg.asset(
        ins={"found": dg.AssetIn(upstream, input_manager_key="mongo_io")},
        partitions_def=channel_nights(platform.config),
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    def downstream(found: kind) -> None:
        seen.append(list(found) if isinstance(found, Documents) else found)
        if isinstance(found, Documents):
            assert list(found) == seen[0]  # it can be read again

    mine = dg.Definitions(assets=[downstream], jobs=[dg.define_asset_job("look", [downstream])])
    both = dg.Definitions.merge(platform.defs, mine)
    with platform.entered():
        both.resolve_job_def("look").execute_in_process(
            instance=platform.history, partition_key=partition or None, **more
        )
    return seen[0]


class TestLoading:
    def test_alerts_as_documents(self, platform):
        found = loaded(platform, T0, Documents, "ALL|2018-08-20")
        assert {record.night for record in found} == {"2018-08-20"}
        assert [record.stock for record in found] == sorted(record.stock for record in found)
        assert len(found) == 3

    def test_no_verdict_of_another_channel(self, platform):
        found = loaded(platform, T0, Documents, "BRIGHT|2018-08-20")
        assert [dict(record.channel) for record in found] == [{"BRIGHT": 0}]

    def test_states_as_documents(self, platform):
        found = loaded(platform, T1, Documents, "BRIGHT|2018-08-19")
        assert [(row["channel"], row["night"], row["n_points"]) for row in found] == [("BRIGHT", "2018-08-19", 1)]

    def test_results_as_documents(self, platform):
        (found,) = loaded(platform, T2, Documents, "BRIGHT|2018-08-19")
        assert (found["channel"], found["code"], found["ndet"]) == ("BRIGHT", 0, 1)

    @pytest.mark.parametrize(("upstream", "column"), [(T0, "alert"), (T1, "link"), (T2, "t2")])
    def test_frame(self, platform, upstream, column):
        frame = loaded(platform, upstream, pd.DataFrame, "ALL|2018-08-19")
        assert isinstance(frame, pd.DataFrame)
        assert len(frame) == 3
        assert set(frame["channel"]) == {"ALL"}
        assert frame[column].is_unique
        assert str(frame["stock"].dtype) == "int64"

    def test_result_fields_are_columns(self, platform):
        frame = loaded(platform, T2, pd.DataFrame, "ALL|2018-08-19")
        assert {"code", "ndet"} <= set(frame.columns)
        assert list(frame["ndet"]) == [1, 1, 1]

    def test_several_partitions(self, platform):
        """A run over a range gets the product of its channels and nights, and nothing else."""
        tags = {
            "dagster/asset_partition_range_start": "ALL|2018-08-19",
            "dagster/asset_partition_range_end": "BRIGHT|2018-08-20",
        }
        frame = loaded(platform, T1, pd.DataFrame, tags=tags)
        rows = frame.groupby(["channel", "night"]).size().to_dict()
        assert rows == {
            **{("ALL", "2018-08-19"): 3, ("ALL", "2018-08-20"): 3},
            **{("BRIGHT", "2018-08-19"): 1, ("BRIGHT", "2018-08-20"): 1},
        }

    @pytest.mark.parametrize("upstream", [T0, T1, T2])
    def test_partition_without_documents(self, platform, upstream):
        assert loaded(platform, upstream, pd.DataFrame, "ALL|2018-09-30").empty
        assert loaded(platform, upstream, Documents, "ALL|2018-09-30") == []


class TestDocuments:
    def test_nothing_is_read_before_somebody_looks(self):
        reads = []

        def read():
            reads.append(len(reads))
            yield from (1, 2)

        documents = Documents(read)
        assert reads == []
        assert (list(documents), list(documents)) == ([1, 2], [1, 2])
        assert reads == [0, 1]


def written(platform, items, write, partitions=("ALL|2018-08-19",), steps=None, **more):
    """Run an asset that returns such an output; (result, metadata by partition)."""
    steps = [] if steps is None else steps

    def facts(channel, night):
        figures = Figures()
        figures.add(len(channel), len(night))
        return PartitionFacts(figures, [{"name": channel}])

    @dg.asset(
        key=["ztf", "made"],
        io_manager_key="mongo_io",
        partitions_def=channel_nights(platform.config),
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    def made():
        output = dg.Output(TierOutput("ztf.made", items, lambda item, _: write(item), facts, **more))
        steps.append("returned")
        return output

    mongo = MongoResource()
    definitions = dg.Definitions(
        assets=[made],
        jobs=[dg.define_asset_job("make", [made])],
        resources={"mongo": mongo, "mongo_io": MongoIOManager(mongo=mongo)},
    )
    tags = {
        "dagster/asset_partition_range_start": partitions[0],
        "dagster/asset_partition_range_end": partitions[-1],
    }
    with dg.DagsterInstance.ephemeral() as history, platform.entered():
        result = definitions.resolve_job_def("make").execute_in_process(
            instance=history, tags=tags, raise_on_error=False
        )
        records = history.fetch_materializations(dg.AssetKey(["ztf", "made"]), limit=1000).records
        events = [record.asset_materialization for record in records]
    return result, {e.partition: {k: v.value for k, v in e.metadata.items()} for e in events}


class TestWriting:
    def test_batches_are_made_while_they_are_written(self, platform):
        """Two at most are in memory: one that is being written, one that is being made."""
        alive, most = set(), []

        def items():
            for number in range(50):
                alive.add(number)
                most.append(len(alive))
                yield number

        def write(number):
            tally = Tally()
            tally.counts["read"] += 1
            alive.remove(number)
            return tally

        lazy = items()
        result, found = written(platform, lazy, write)
        assert result.success
        assert found["ALL|2018-08-19"]["run/read"] == 50
        assert max(most) <= 3

    def test_nothing_is_made_by_the_asset_itself(self, platform):
        steps = []

        def items():
            steps.append("made")
            yield 1

        def write(_):
            steps.append("written")
            return Tally()

        written(platform, items(), write, steps=steps, finish=lambda: steps.append("finished"))
        assert steps == ["returned", "made", "written", "finished"]

    def test_metadata_of_run_and_partitions(self, platform):
        def write(number):
            tally = Tally()
            tally.counts.update(read=1, new=1)
            tally.partition("ALL", "2018-08-20")["accepted"] += number
            return tally

        finished = []
        partitions = ("ALL|2018-08-19", "ALL|2018-08-20")
        _, found = written(platform, [1, 2], write, partitions, finish=lambda: finished.append(True))
        assert finished == [True]
        first, second = (found[partition] for partition in partitions)
        assert first["run/read"] == second["run/read"] == 2
        assert ("accepted" in first, second["accepted"]) == (False, 3)
        assert first["collection"] == "ztf.made"
        assert first["preview"].endswith("| ALL |")
        assert first["content_digest"] == second["content_digest"]

    def test_many_partitions_go_without_previews(self, platform):
        _, found = written(platform, [], lambda _: Tally(), ("ALL|2018-08-01", "BRIGHT|2018-08-15"))
        assert len(found) == 30
        assert not any("preview" in metadata for metadata in found.values())

    def test_failure_of_a_batch_fails_the_step(self, platform):
        """What came before is written, what comes after is not, and nothing is shown as made."""
        done = []

        def write(number):
            if number == 2:
                raise RuntimeError("disk full")
            done.append(number)
            return Tally()

        finished = []
        result, found = written(platform, iter(range(5)), write, finish=lambda: finished.append(True))
        assert (result.success, done, found, finished) == (False, [0, 1], {}, [])


class TestResource:
    def test_opens_late_and_closes_with_the_run(self, platform):
        resource = MongoResource(surveys=["ztf"])
        with platform.entered():
            assert resource._store is None
            assert resource.store is resource.store
            assert resource.store.survey("ztf").ledger.alert.count_documents({}) == 9
            resource.teardown_after_execution(dg.build_init_resource_context())
        assert resource._store is None

    def test_holds_no_address(self, platform):
        """Configuration of resources is shown in the UI."""
        with platform.entered():
            told = str(MongoResource(surveys=["ztf"]).model_dump())
        assert "mongodb" not in told

    def test_makes_indexes(self, platform, make_instance, monkeypatch):
        for name, value in platform.env.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("AMPEL_DB", f"{platform.database}_fresh")
        resource = MongoResource(surveys=["ztf"])
        names = resource.store.database["ztf.alert"].index_information()
        resource.store.drop()
        resource.teardown_after_execution(dg.build_init_resource_context())
        assert "night_1_channel_1" in names
