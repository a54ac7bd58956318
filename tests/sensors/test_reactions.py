"""New results start the processes that wait for them: once, and none is lost."""

import json
from datetime import date, timedelta

import dagster as dg
import pytest

from ampel_dagster.testing import make_alert, write_archive
from sensors import reactions

#: Names of objects end with letters.
LETTERS = str.maketrans("0123456789", "abcdefghij")
T2 = dg.AssetKey(["ztf", "t2", "summary"])
TABLE = {"units": [{"unit": "TransientTable", "config": {"columns": ["name"]}}]}


@pytest.fixture
def platform(make_platform):
    """Two channels; of three processes two wait for results."""
    files = {
        "t3/other.yaml": {**TABLE, "trigger": {"on": "t2"}},
        "t3/by_hand.yaml": TABLE,
        "channels/B.yaml": {"channel": "B", "ztf": {"t2": ["summary"]}, "t3": ["other", "by_hand"]},
    }
    return make_platform({"A": {}}, files)


@pytest.fixture
def ingest(platform):
    """Ingest one more alert."""
    names = iter("abcdefgh")

    def ingest(**more):
        letter = next(names)
        file = platform.folder / "landing" / f"{letter}.tar.gz"
        write_archive(file, [make_alert(name=f"ZTF18aaaaaa{letter}", tblid=ord(letter), cutouts=False)])
        platform.ingest(file, **more)

    return ingest


def burst(platform, number):
    """Results of many nights at once, as of a backfill."""
    for day in range(number):
        night = (date(2018, 1, 1) + timedelta(days=day)).isoformat()
        partition = dg.MultiPartitionKey({"channel": "A", "night": night})
        platform.history.report_runless_asset_event(dg.AssetMaterialization(T2, partition=partition))


def wanted(requests):
    """(process, channel) of requests."""
    configs = [request.run_config["ops"]["react_to_new"]["config"] for request in requests]
    return [(name, channel) for c in configs for name in c["processes"] for channel in c["channels"]]


def run(platform, requests):
    for request in requests:
        platform.run("react", request.run_config)


class TestReactions:
    def test_nothing_happened(self, platform, look):
        assert look(platform, "t3_reactions") == ([], None, "no new results")

    def test_one_run_a_process_and_channel(self, platform, ingest, look):
        ingest()
        requests, cursor, _ = look(platform, "t3_reactions")
        assert wanted(requests) == [("other", "B"), ("table", "A")]
        assert len({request.run_key for request in requests}) == 2
        assert look(platform, "t3_reactions", cursor)[2] == "no new results"

    def test_after_the_run_nothing_is_left(self, platform, ingest, look):
        ingest()
        requests, _, _ = look(platform, "t3_reactions")
        run(platform, requests)
        assert [partition for partition, _ in platform.materialized("t3", "table")] == ["A|2018-08-19"]
        # Even if the cursor is lost: what is done is asked of the database.
        assert look(platform, "t3_reactions", None)[0] == []

    def test_burst_is_one_run(self, platform, ingest, look):
        ingest()
        burst(platform, 100)
        requests, cursor, _ = look(platform, "t3_reactions")
        assert wanted(requests) == [("other", "B"), ("table", "A")]
        assert look(platform, "t3_reactions", cursor)[0] == []

    def test_a_hundred_nights_at_once_are_a_hundred_reactions(self, platform, look):
        """One run does them all, night by night: each has its document, its files, and its partition in the UI."""
        nights = [(date(2018, 6, 1) + timedelta(days=day)).isoformat() for day in range(100)]
        file = platform.folder / "landing" / "hundred.tar.gz"
        names = ["ZTF18aaaa" + f"{n:03}".translate(LETTERS) for n in range(100)]
        write_archive(file, [make_alert(name=name, jd=2458270.7 + n, cutouts=False) for n, name in enumerate(names)])
        platform.ingest(file, channels=("A",))
        requests, _, _ = look(platform, "t3_reactions")
        assert wanted(requests) == [("table", "A")]
        run(platform, requests)
        assert sorted(p for p, _ in platform.materialized("t3", "table")) == [f"A|{night}" for night in nights]
        assert sorted(d["night"] for d in platform.store.reactions.list(process="table")) == nights
        assert look(platform, "t3_overdue")[2] == "nothing is overdue"

    def test_no_event_is_lost_over_pages(self, platform, look, monkeypatch):
        monkeypatch.setattr(reactions, "PAGE", 7)
        burst(platform, 40)
        newest = platform.history.fetch_materializations(T2, limit=1).records[0].storage_id
        cursors = [None]
        while True:
            _, cursor, reason = look(platform, "t3_reactions", cursors[-1])
            if reason:
                break
            cursors.append(cursor)
        assert reason == "no new results"
        assert len(cursors) - 1 == 6  # 40 events, seven a page
        marks = [json.loads(cursor)["ztf/t2/summary"] for cursor in cursors[1:]]
        assert marks == sorted(set(marks))
        assert marks[-1] == newest

    def test_each_page_asks_for_a_run_of_its_own(self, platform, ingest, look, monkeypatch):
        """A run key never runs twice, so what comes later must have another."""
        monkeypatch.setattr(reactions, "PAGE", 7)
        ingest()
        burst(platform, 20)
        keys, cursor = [], None
        for _ in range(3):
            requests, cursor, _ = look(platform, "t3_reactions", cursor)
            keys += [request.run_key for request in requests]
        assert len(keys) == len(set(keys)) == 6

    def test_events_without_anything_new(self, platform, look):
        """A materialization that changed nothing starts no run."""
        burst(platform, 3)
        requests, cursor, reason = look(platform, "t3_reactions")
        assert (requests, reason) == ([], "")
        assert json.loads(cursor)["ztf/t2/summary"] > 0

    def test_replay_starts_nothing(self, platform, ingest, look):
        ingest()
        requests, cursor, _ = look(platform, "t3_reactions")
        run(platform, requests)
        platform.ingest(platform.folder / "landing")
        assert look(platform, "t3_reactions", cursor)[0] == []

    def test_later_results_start_it_again(self, platform, ingest, look):
        ingest()
        requests, cursor, _ = look(platform, "t3_reactions")
        run(platform, requests)
        first = {request.run_key for request in requests}
        ingest()
        requests, cursor, _ = look(platform, "t3_reactions", cursor)
        assert wanted(requests) == [("other", "B"), ("table", "A")]
        assert not first & {request.run_key for request in requests}

    def test_only_channels_with_something_new(self, platform, ingest, look):
        ingest(channels=("A",))
        assert wanted(look(platform, "t3_reactions")[0]) == [("table", "A")]

    def test_new_product_keeps_the_place_of_the_others(self, platform, look):
        """The cursor is kept by asset: a product that is added later starts at its own beginning."""
        burst(platform, 2)
        cursor = json.dumps({"ztf/t2/gone": 17})
        assert json.loads(look(platform, "t3_reactions", cursor)[1]).keys() >= {"ztf/t2/summary"}

    def test_without_products(self, make_platform, look):
        platform = make_platform({"A": {"t2": []}})
        assert look(platform, "t3_reactions") == ([], None, "no new results")


class TestEvery:
    def test_news_in_between_are_reacted_to_together(self, make_platform, look, monkeypatch):
        trigger = {"on": "t2", "every_minutes": 30}
        platform = make_platform({"A": {}}, {"t3/table.yaml": {**TABLE, "trigger": trigger}})

        def news(letter):
            file = platform.folder / "landing" / f"{letter}.tar.gz"
            write_archive(file, [make_alert(name=f"ZTF18aaaaaa{letter}", tblid=ord(letter), cutouts=False)])
            platform.ingest(file)

        news("a")
        requests, cursor, _ = look(platform, "t3_reactions")
        assert wanted(requests) == [("table", "A")]
        run(platform, requests)
        for letter in "bc":
            news(letter)
            requests, cursor, _ = look(platform, "t3_reactions", cursor)
            assert requests == []
        assert look(platform, "t3_overdue")[2] == "nothing is overdue"
        (last,) = platform.store.reactions.list(process="table")
        monkeypatch.setattr(reactions, "utc_now", lambda: last["ended"] + timedelta(minutes=30))
        requests, _, _ = look(platform, "t3_overdue")
        assert wanted(requests) == [("table", "A")]
        run(platform, requests)
        newest = platform.store.reactions.list(process="table")[0]
        assert newest["counts"]["selected"] == 3


class TestOverdue:
    def test_nothing_is_overdue(self, platform, look):
        assert look(platform, "t3_overdue") == ([], None, "nothing is overdue")

    def test_a_reaction_that_was_asked_for_and_never_came(self, platform, ingest, look):
        ingest()
        _, cursor, _ = look(platform, "t3_reactions")
        # The runs that were asked for failed: no further result will come to ask again.
        assert look(platform, "t3_reactions", cursor)[2] == "no new results"
        requests, _, _ = look(platform, "t3_overdue")
        assert wanted(requests) == [("other", "B"), ("table", "A")]
        run(platform, requests)
        assert look(platform, "t3_overdue")[2] == "nothing is overdue"

    def test_waits_for_runs_at_work(self, platform, ingest, look):
        ingest()
        job = platform.defs.resolve_job_def("react")
        platform.history.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)
        assert look(platform, "t3_overdue")[2] == "a run of react is at it"


class TestGate:
    def test_a_channel_that_waits_at_its_gate_starts_nothing(self, make_platform, look):
        """What it was given over the archive stays due, and is reacted to when it is live."""
        cut = {"unit": "BasicFilter", "config": {"all_of": [{"attribute": "rb", "operator": ">", "value": 0}]}}
        platform = make_platform({"GATED": {"filter": cut, "gate": {"night": "2018-08-19"}}})
        file = platform.folder / "landing" / "night.tar.gz"
        write_archive(file, [make_alert(cutouts=False)])
        platform.ingest(file, tags={"ampel/mode": "archive"})
        assert platform.ztf.ledger.alert.count_documents({"channel": "GATED"}) == 1
        requests, _, told = look(platform, "t3_overdue")
        assert (requests, told) == ([], "nothing is overdue")
        (rules,) = platform.config.rules("ztf")
        platform.store.activations.add("GATED", "ztf", rules.config, {}, {})
        requests, *_ = look(platform, "t3_overdue")
        assert wanted(requests) == [("table", "GATED")]
