"""The example of the simulated week, made small: what each channel finds is what arithmetic on the truth says, and the
same again after everything was deleted and the nights went through one backfill."""

import sys
import uuid
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import dagster as dg
import pandas as pd
import pytest

from ampel_dagster.model.night import jd_of_night, nights_between, ut_night
from ampel_dagster.storage.store import Store

REPO = Path(__file__).resolve().parents[1]
NIGHTS = ("2026-11-02", "2026-11-03")
#: Three supernovae of this sky are young; one of them is nearer than redshift 0.06.
SEED, OBJECTS = 122, 60


@pytest.fixture(scope="module")
def example() -> Iterator[dict[str, ModuleType]]:
    """The modules of the example, which are a folder of scripts and no package."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(REPO / "examples" / "simulated_week"))
        import plots
        import score
        import week

        yield {"week": week, "score": score, "plots": plots}
        for name in ("plots", "score", "week"):
            del sys.modules[name]


class Pass(NamedTuple):
    """What came of going through the nights once."""

    reactions: pd.DataFrame
    content: dict[str, dict[int, int]]
    outbox: dict[int, str]
    messages: pd.DataFrame


class Seen(NamedTuple):
    """Both passes, and the truth."""

    plan: Any
    truth: pd.DataFrame
    live: Pass
    again: Pass
    after: pd.DataFrame
    seconds: pd.Series
    known_stars: set[str]
    matched: set[str]


@pytest.fixture(scope="module")
def seen(example: dict[str, ModuleType], mongo_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    week, score = example["week"], example["score"]
    folder, database = tmp_path_factory.mktemp("week"), f"test_{uuid.uuid4().hex[:12]}"
    plan = week.Plan(SEED, OBJECTS, NIGHTS)
    store = Store.open(mongo_uri, database)
    env = {"AMPEL_INSTANCE": str(folder), "AMPEL_MONGO_URI": mongo_uri, "AMPEL_DB": database}
    with (
        pytest.MonkeyPatch.context() as patch,
        week.Receiver().listening() as receiver,
        dg.DagsterInstance.ephemeral() as history,
    ):
        week.write_instance(folder, plan, receiver)
        for name, value in env.items():
            patch.setenv(name, value)
        platform = week.Platform(folder, history)

        def outcome() -> Pass:
            outbox = {d["_id"]: d["state"] for d in store.database["t3"].find()}
            found = Pass(platform.reactions(), score.content(store), outbox, receiver.told())
            receiver.messages.clear()
            return found

        for night in NIGHTS:
            platform.live_night(platform.land(plan, night))
        seconds = score.waits(store, receiver.told())
        live = outcome()
        matched = {
            store.survey("ztf").stocks.collection.find_one({"_id": d["stock"]})["name"][0]  # type: ignore[index]
            for d in store.survey("ztf").results.collection.find({"result.stars.n_matches": 1})
        }
        store.drop()
        platform.forget_reports()
        platform.backfill(NIGHTS)
        again = outcome()
        # The schedule finds the batches of the backfill; it has reports to write, and nothing to send.
        platform.react()
        stars = set(pd.read_csv(folder / "catalogs" / "stars.csv").name)
        yield Seen(plan, score.truth_of(plan), live, again, receiver.told(), seconds, stars, matched)
    store.drop()
    store.close()


def told(found: Pass, channel: str) -> set[str]:
    return set(found.reactions[found.reactions.channel == channel].name)


def infants(seen: Seen) -> set[str]:
    """What the cuts of `young_sn` leave, from times of detections and redshifts alone.

    An alert is taken with two detections in 30 days, the first of all less than six days ago, or if one was taken
    before. Of a night the last alert counts: it must be within six days of the first, in a galaxy nearer than 0.06.
    """
    times = defaultdict(list)
    for night in nights_between("2026-06-01", NIGHTS[-1]):
        for sighting in seen.plan.survey.sightings(night, ("supernova",)):
            times[sighting.name].append(sighting.jd)
    found = set()
    for name, jds in times.items():
        accepted = [
            jd
            for jd in jds
            if ut_night(jd) in NIGHTS and len([t for t in jds if jd - 30 < t <= jd]) >= 2 and jd - jds[0] < 6
        ]
        if accepted and seen.truth.redshift[name] <= 0.06:
            later = [jd for jd in jds if accepted[0] <= jd < jd_of_night(NIGHTS[-1]) + 1]
            last_of_night = {ut_night(jd): jd for jd in later}
            if any(jd - jds[0] <= 6 for jd in last_of_night.values()):
                found.add(name)
    return found


class TestAgainstTheTruth:
    def test_young_sn_finds_what_its_cuts_leave(self, seen: Seen) -> None:
        assert told(seen.live, "young_sn") == infants(seen)
        assert len(infants(seen)) == 1

    def test_young_sn_has_no_bogus(self, seen: Seen) -> None:
        kinds = seen.truth.kind[list(told(seen.live, "young_sn"))]
        assert set(kinds) == {"supernova"}
        assert (seen.truth.kind == "bogus").sum() >= 10

    def test_variables_are_those_that_are_bright(self, seen: Seen) -> None:
        variables = seen.truth[seen.truth.kind == "variable"]
        bright = set(variables[variables.mean_mag < 17].index)
        assert told(seen.live, "variables") == bright
        assert 10 < len(bright) < len(variables)

    def test_all_transients_takes_the_best_of_the_bogus_too(self, seen: Seen) -> None:
        fooled = {
            alert.name
            for night in NIGHTS
            for alert in seen.plan.survey.night(night)
            if alert.kind == "bogus" and alert.packet["candidate"]["rb"] >= 0.25
            if alert.packet["candidate"]["isdiffpos"] == "t"
        }
        supernovae = set(seen.truth[seen.truth.kind == "supernova"].index)
        assert told(seen.live, "all_transients") == supernovae | fooled
        assert fooled

    def test_scores_are_shares(self, seen: Seen, example: dict[str, ModuleType]) -> None:
        scores = example["score"].scores(seen.truth, seen.live.reactions)
        variables = seen.truth[seen.truth.kind == "variable"]
        assert scores.completeness["variables"] == (variables.mean_mag < 17).mean()
        assert scores.completeness["all_transients"] == 1
        assert scores.completeness["young_sn"] == 1 / 3
        assert list(scores.purity[["young_sn", "variables"]]) == [1, 1]

    def test_stars_are_matched_where_a_catalogue_has_them(self, seen: Seen) -> None:
        assert seen.matched == told(seen.live, "variables") & seen.known_stars
        assert seen.matched < told(seen.live, "variables")

    def test_latency_is_at_most_the_rest_of_the_night(self, seen: Seen, example: dict[str, ModuleType]) -> None:
        """Whoever passes the cuts at once is told about in the same morning, within ten hours of 3 UT."""
        found = example["score"].latencies(seen.truth, seen.live.reactions, seen.plan)
        at_once = found[found.channel != "young_sn"].from_detection
        assert len(at_once) >= len(told(seen.live, "variables"))
        assert at_once.between(0, 10 / 24).all()


class TestOnceMore:
    def test_all_documents_are_the_same(self, seen: Seen) -> None:
        assert {name: len(documents) for name, documents in seen.live.content.items() if not documents} == {}
        assert seen.again.content == seen.live.content

    def test_reactions_are_the_same(self, seen: Seen) -> None:
        pd.testing.assert_frame_equal(seen.again.reactions, seen.live.reactions)

    def test_scores_are_the_same(self, seen: Seen, example: dict[str, ModuleType]) -> None:
        first, second = (example["score"].scores(seen.truth, p.reactions) for p in (seen.live, seen.again))
        pd.testing.assert_frame_equal(first, second)

    def test_each_object_was_told_about_once(self, seen: Seen) -> None:
        messages = seen.live.messages
        assert not messages.duplicated(["process", "name"]).any()
        for process, channel in (("young_daily", "young_sn"), ("announce", "all_transients"), ("mirror", "variables")):
            assert set(messages[messages.process == process].name) == told(seen.live, channel)

    def test_only_who_asks_for_it_hears_of_an_archive(self, seen: Seen) -> None:
        """The outbox was deleted too: that nothing is sent is owed to the mode of the run alone."""
        first = seen.live.messages[seen.live.messages.process == "mirror"]
        assert set(seen.again.messages.process) == {"mirror"}
        assert set(seen.again.messages.key) == set(first.key)
        assert seen.after.empty

    def test_outbox_lacks_what_was_not_sent_again(self, seen: Seen) -> None:
        missing = set(seen.live.outbox) - set(seen.again.outbox)
        silent = seen.live.messages[seen.live.messages.process != "mirror"]
        assert len(missing) == len(silent)
        assert set(seen.again.outbox) < set(seen.live.outbox)
        assert set(seen.again.outbox.values()) == {"confirmed"}

    def test_waits_are_measured(self, seen: Seen) -> None:
        assert len(seen.seconds) == len(seen.live.messages)
        assert (seen.seconds > 0).all()


def test_plots_are_drawn_and_small(seen: Seen, example: dict[str, ModuleType], tmp_path: Path) -> None:
    drawn = example["plots"].draw(tmp_path, seen.plan, seen.truth, seen.live.reactions)
    assert [path.name for path in drawn] == ["week-scores.png", "week-latency.png", "week-light-curves.png"]
    for path in drawn:
        assert path.read_bytes().startswith(b"\x89PNG")
        assert path.stat().st_size < 100_000
