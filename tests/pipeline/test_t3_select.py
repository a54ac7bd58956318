"""T3: who is selected, and that nothing new is lost, whatever clocks, crashes and other runs do."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar

import pytest

from ampel_dagster.model.selection import Select
from ampel_dagster.model.view import ReactionContext, TransientView
from ampel_dagster.pipeline.t3_react import react_to_night, react_to_updates
from ampel_dagster.pipeline.t3_select import judge
from ampel_dagster.pipeline.t3_views import ViewLoader
from ampel_dagster.testing import make_detection
from ampel_dagster.units.base import PopulationUnit, Publisher
from ampel_dagster.units.bound import Process

NIGHT, NEXT, THIRD = "2018-08-19", "2018-08-20", "2018-08-21"


class Note(PopulationUnit):
    """Remembers who it was given, night by night."""

    given: ClassVar[dict[str, str]] = {}

    def process(self, views: Sequence[TransientView], context: ReactionContext) -> Mapping[str, Any]:
        self.given[context.night] = "".join(view.name[-1] for view in views)
        return {}


class Tell(Publisher):
    told: ClassVar[list[str]] = []

    def send(self, view: TransientView, context: ReactionContext) -> str:
        self.told.append(view.name[-1])
        return "ok"


@pytest.fixture(autouse=True)
def forget() -> None:
    Note.given.clear()
    Tell.told.clear()


def selected(world: Any, rules: Any, night: str = NIGHT, **select: Any) -> str:
    """Last letters of the objects that are selected, in order."""
    react_to_night(world.reaction(Process("p", (Note(),), Select.model_validate(select)), rules), night)
    return Note.given[night]


# --- who


def test_order_and_limit(world: Any) -> None:
    rules = world.rules("A")
    world.ingest(rules, *(world.star(n, mag=mag) for n, mag in enumerate((18.0, 16.0, 19.0, 17.0))))
    assert selected(world, rules, order="light_curve.peak_mag", limit=2) == "bd"
    assert selected(world, rules, order="-light_curve.peak_mag", limit=3) == "cad"
    assert selected(world, rules, limit=2) == "ab"
    where = ["light_curve.peak_mag > 16.5"]
    assert selected(world, rules, order="light_curve.peak_mag", limit=2, where=where) == "da"


def test_objects_that_are_new_in_the_night(world: Any) -> None:
    rules = world.rules("A")
    world.ingest(rules, world.star(0))
    world.ingest(rules, world.star(0, world.jd(1)), world.star(1, world.jd(1)))
    assert selected(world, rules, NIGHT, created="in_night") == "a"
    assert selected(world, rules, NEXT, created="in_night") == "b"
    assert selected(world, rules, NEXT, where=["age_days >= 1"]) == "a"
    assert selected(world, rules, NEXT, where=["is_new == false"]) == "a"


def test_facts_of_the_light_curve(world: Any) -> None:
    rules = world.rules("A")
    history = [make_detection(jd=world.jd(-2), mag=16.5, band="r")]
    world.ingest(rules, world.star(0, mag=17.0, band="g", history=history), world.star(1, mag=18.0))
    (view, other) = world.views(rules, NIGHT)
    facts = view.facts
    assert (facts["n_detections"], facts["n_bands"], facts["last_band"]) == (2, 2, "g")
    assert facts["duration_days"] == pytest.approx(2.0)
    assert (facts["peak_mag"], facts["last_mag"]) == (pytest.approx(16.5), pytest.approx(17.0))
    assert other.facts["duration_days"] == 0
    assert selected(world, rules, where=["light_curve.n_detections > 1"]) == "a"


def test_other_channels_count_as_of_the_night(world: Any) -> None:
    """That B takes the object a night later does not change what the first night's selection was."""
    a, b = world.rules("A"), world.rules("B")
    world.ingest(a, world.star(0), world.star(1))
    world.ingest(b, world.star(1))
    world.ingest([a, b], world.star(0, world.jd(1)))
    assert selected(world, a, NIGHT, channels={"all_of": ["A", "B"]}) == "b"
    assert selected(world, a, NIGHT, channels={"one_of": ["A", "B"]}) == "a"
    assert selected(world, a, NIGHT, channels={"any_of": ["A", "B"]}) == "ab"
    assert selected(world, a, NEXT, channels={"all_of": ["A", "B"]}) == "a"


def test_region(world: Any) -> None:
    rules = world.rules("A")
    world.ingest(rules, world.star(0, ra=10.0, dec=5.0), world.star(1, ra=12.0, dec=5.0))
    cone = {"ra_deg": 10.0, "dec_deg": 5.5, "radius_deg": 1.0}
    select = Select.model_validate({"region": [{"cone": cone}]})
    inside = tuple(region.cone.contains for region in select.region if region.cone)
    react_to_night(world.reaction(Process("p", (Note(),), select, inside=inside), rules), NIGHT)
    assert Note.given[NIGHT] == "a"


def test_nights_out_of_the_window_are_passed_over_for_good(world: Any) -> None:
    rules = world.rules("A", reactions=("p",))
    process = Process("p", (Note(),), Select.model_validate({"nights": {"first": NEXT, "last": NEXT}}))
    world.ingest(rules, *(world.star(0, world.jd(day)) for day in range(3)))
    assert [done.night for done in world.react(process, rules)] == [NEXT]
    assert world.react(process, rules) == []


def test_preview_tells_of_each_condition(world: Any) -> None:
    rules = world.rules("A")
    world.ingest(rules, world.star(0, mag=17.0), world.star(1, mag=19.0))
    process = Process("p", (Note(),), Select(where=("light_curve.peak_mag < 18", "is_new == true")))
    found = list(judge(world.ztf, world.instrument, process, rules, NIGHT))
    assert [(view.name[-1], [cut.passed for cut in cuts]) for view, cuts in found] == [
        ("a", [True, True]),
        ("b", [False, True]),
    ]
    assert found[1][1][0].value == pytest.approx(19.0)


# --- what is not one's own


def test_forged_alerts_give_no_view_of_what_is_not_the_channels(world: Any) -> None:
    """The database is asked for the channel's own, whatever the loader is given."""
    world.stream = world.stream.model_copy(update={"cutouts": "accepted"})
    product = world.product(lambda *_: {"n": 1})
    a, b = world.rules("A", product), world.rules("B", product)
    world.ingest(a, world.star(0, cutouts=True))
    world.ingest(b, world.star(1, cutouts=True))
    world.compute(product)
    (mine,) = world.ztf.ledger.accepted(["A"], [NIGHT])
    (theirs,) = world.ztf.ledger.accepted(["B"], [NIGHT])
    loader = ViewLoader(world.ztf, world.instrument, a, NIGHT)
    assert [view.name for view in loader.load([[mine]])] == ["ZTF18aaaaaaa"]
    assert loader.load([[theirs]]) == []
    claimed = theirs._replace(channel={"A": 0})
    assert loader.load([[claimed]]) == []
    assert loader.load([[mine._replace(state=theirs.state)]]) == []
    assert loader.load([[claimed._replace(stock=mine.stock)]]) == []
    # An alert of another's among one's own is no way to its stamps.
    (view,) = loader.load([[claimed, mine]])
    assert view.alerts == (mine.id,)
    assert view.read_cutouts(theirs.id) == {}
    # Nor is the other's result to be had for one's own state.
    world.ztf.results.collection.update_many({"stock": mine.stock}, {"$set": {"channel": ["B"]}})
    (view,) = loader.load([[mine]])
    assert view.t2 == {}


def test_whether_another_channel_took_it_is_not_in_the_view(world: Any) -> None:
    a, b = world.rules("A"), world.rules("B")
    world.ingest([a, b], world.star(0))
    world.ingest(a, world.star(1))
    shared, own = world.views(a, NIGHT)
    for view in (shared, own):
        text = repr(view) + repr([getattr(view, name) for name in ("facts", "light_curve", "cutouts", "age_days")])
        assert "'B'" not in text
        assert "channel='A'" in text


# --- nothing new is lost: each of these would be, by a watermark of the clock


def told(world: Any, rules: Any, process: Process) -> list[str]:
    Tell.told.clear()
    world.react(process, rules)
    return sorted(Tell.told)


def test_news_of_a_machine_whose_clock_is_behind(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    rules, process = world.rules("A", reactions=("p",)), Process("p", (Tell(),))
    world.ingest(rules, world.star(0))
    assert told(world, rules, process) == ["a"]
    for module in ("storage.batches", "model.run", "pipeline.ingest"):
        monkeypatch.setattr(f"ampel_dagster.{module}.utc_now", lambda: datetime(2001, 1, 1, tzinfo=UTC))
    world.ingest(rules, world.star(1))
    monkeypatch.undo()
    (late, _) = sorted(world.batches("ingest"), key=lambda batch: batch["done_ts"])
    assert late["done_ts"].year == 2001
    assert told(world, rules, process) == ["b"]
    assert told(world, rules, process) == []


def test_a_reaction_on_a_machine_whose_clock_is_ahead(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    rules, process = world.rules("A", reactions=("p",)), Process("p", (Tell(),))
    world.ingest(rules, world.star(0))
    for module in ("storage.outbox", "model.run", "pipeline.t3_record", "pipeline.t3_react"):
        monkeypatch.setattr(f"ampel_dagster.{module}.utc_now", lambda: datetime(2100, 1, 1, tzinfo=UTC))
    assert told(world, rules, process) == ["a"]
    monkeypatch.undo()
    world.ingest(rules, world.star(1))
    assert told(world, rules, process) == ["b"]


def test_a_run_that_dies_between_selecting_and_sending(world: Any) -> None:
    class Die(PopulationUnit):
        dies: ClassVar[list[bool]] = [True]

        def process(self, views: Sequence[TransientView], context: ReactionContext) -> None:
            if self.dies.pop():
                raise KeyboardInterrupt

    rules, process = world.rules("A", reactions=("p",)), Process("p", (Die(), Tell()))
    world.ingest(rules, world.star(0), world.star(1))
    with pytest.raises(KeyboardInterrupt):
        world.react(process, rules)
    Die.dies.append(False)
    assert told(world, rules, process) == ["a", "b"]


def test_what_comes_between_selecting_and_the_end_of_the_run(world: Any) -> None:
    class Arrive(PopulationUnit):
        to_come: ClassVar[list[int]] = [1]

        def process(self, views: Sequence[TransientView], context: ReactionContext) -> None:
            while self.to_come:
                world.ingest(rules, world.star(self.to_come.pop()))

    rules, process = world.rules("A", reactions=("p",)), Process("p", (Arrive(), Tell()))
    world.ingest(rules, world.star(0))
    assert told(world, rules, process) == ["a"]
    assert told(world, rules, process) == ["b"]


def test_a_second_run_that_overtakes_the_first(world: Any) -> None:
    """It begins later and ends earlier, with more: what the first one then says it has handled is its own share."""

    class Overtaken(PopulationUnit):
        first: ClassVar[list[bool]] = [True]

        def process(self, views: Sequence[TransientView], context: ReactionContext) -> None:
            if self.first:
                self.first.pop()
                world.ingest(rules, world.star(1))
                react_to_updates(world.reaction(process, rules, run="second"))
                world.ingest(rules, world.star(2))

    rules = world.rules("A", reactions=("p",))
    process = Process("p", (Overtaken(), Tell()))
    world.ingest(rules, world.star(0))
    assert told(world, rules, process) == ["a", "b"]
    assert told(world, rules, process) == ["c"]


def test_backfill_reports_its_own_nights_and_tells_nobody(world: Any) -> None:
    rules = world.rules("A", reactions=("p",))
    for react in (False, True):
        process = Process("p", (Note(), Tell()), react=react)
        day = 10 * react
        world.ingest(rules, world.star(0, world.jd(day + 3)))
        assert told(world, rules, process) == ["a"]
        Note.given.clear()
        old = [world.star(n, world.jd(day + n)) for n in range(2)]
        world.ingest(rules, *old, mode="archive")
        assert told(world, rules, process) == (["a", "b"] if react else [])
        assert list(Note.given.values()) == ["a", "b"]
        first = datetime(2018, 8, 19 + day, tzinfo=UTC)
        assert sorted(Note.given) == [f"{first:%Y-%m-%d}", f"2018-08-{20 + day}"]
