"""T3: units one after the other; what each gets, sees, returns, and adds to stocks; what a run leaves behind."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest

from ampel_dagster.model.selection import Condition, Select
from ampel_dagster.model.view import Artefact, ReactionContext, TransientView
from ampel_dagster.pipeline.t3_react import react_again, react_to_night
from ampel_dagster.testing import make_detection, make_limit
from ampel_dagster.units.base import PopulationUnit, Publisher, Report
from ampel_dagster.units.bound import Process, Show, Stage

NIGHT, NEXT = "2018-08-19", "2018-08-20"


class Count(PopulationUnit):
    """Counts objects and their points."""

    def process(self, views: Sequence[TransientView], context: ReactionContext) -> Mapping[str, Any]:
        return {"names": [view.name[-1] for view in views], "points": sum(len(view.points) for view in views)}


class Listen(Report):
    """Writes down what it finds in its context."""

    heard: ClassVar[list[ReactionContext]] = []

    def write(self, views: Sequence[TransientView], context: ReactionContext) -> Sequence[Artefact]:
        self.heard.append(context)
        path = context.folder / "names.txt"
        path.write_text(" ".join(view.name for view in views))
        return [Artefact(path, "Names", len(views))]


class Tell(Publisher):
    def send(self, view: TransientView, context: ReactionContext) -> str:
        return f"told {view.name[-1]}"


@pytest.fixture
def rules(world: Any) -> Any:
    """Objects a, b, c of magnitudes 17, 18, 19."""
    Listen.heard.clear()
    rules = world.rules("A", reactions=("p",))
    world.ingest(rules, *(world.star(n, mag=17.0 + n, history=[make_limit(jd=world.jd(-1))]) for n in range(3)))
    return rules


def staged(*stages: Stage, **more: Any) -> Process:
    return Process("p", tuple(stage.unit for stage in stages), staged=stages, **more)


def test_units_get_what_their_own_conditions_let_through(world: Any, rules: Any) -> None:
    bright = Stage(Count(), (Condition.parse("light_curve.peak_mag < 18.5"),))
    done = react_to_night(world.reaction(staged(bright, Stage(Tell())), rules), NIGHT)
    assert done.results["Count"]["names"] == ["a", "b"]
    assert list(done.results["Tell"].values()) == ["told a", "told b", "told c"]


def test_later_units_find_what_earlier_ones_returned(world: Any, rules: Any) -> None:
    react_to_night(world.reaction(Process("p", (Count(), Tell(), Listen())), rules), NIGHT)
    (context,) = Listen.heard
    assert context.results["Count"] == {"names": ["a", "b", "c"], "points": 6}
    assert sorted(context.results["Tell"].values()) == ["told a", "told b", "told c"]


def test_units_are_shown_only_what_they_may_be(world: Any) -> None:
    product = world.product(lambda *_: {"n": 1})
    rules = world.rules("A", product, access=("ZTF", "ZTF_PUB", "ZTF_PRIV"))
    hidden = make_detection(jd=world.jd(-0.5), mag=15.0, programid=2)
    world.ingest(
        rules,
        world.star(0, ra=150.0, history=[make_limit(jd=world.jd(-1)), hidden]),
        world.star(1, programid=2),  # nothing of it is public
    )
    world.compute(product)
    seen: list[TransientView] = []

    class Look(PopulationUnit):
        def process(self, views: Sequence[TransientView], context: ReactionContext) -> None:
            seen.extend(views)

    def shown(show: Show | None) -> list[TransientView]:
        seen.clear()
        react_to_night(world.reaction(staged(Stage(Look(), show=show)), rules), NIGHT)
        return list(seen)

    assert [len(view.points) for view in shown(None)] == [3, 1]
    assert [[p.kind for p in view.points] for view in shown(Show(points=("detection",)))] == [
        ["detection", "detection"],
        ["detection"],
    ]
    assert [set(view.t2) for view in shown(Show(t2=()))] == [set(), set()]
    (public,) = shown(Show(access=frozenset({"ZTF_PUB"})))
    assert (public.name, len(public.points), len(public.light_curve)) == ("ZTF18aaaaaaa", 2, 2)


def test_one_document_says_what_a_run_did_for_whom(world: Any, rules: Any) -> None:
    process = Process("p", (Count(), Tell()), Select(where=("light_curve.peak_mag < 18.5",)))
    react_to_night(world.reaction(process, rules, run="first"), NIGHT)
    react_to_night(world.reaction(process, rules, run="second"), NIGHT)
    second, first = world.store.reactions.list(process="p")
    a, b = (world.instrument.stock_id(f"ZTF18aaaaaa{letter}") for letter in "ab")
    assert (first["run"], first["channel"], first["night"]) == ("first", "A", NIGHT)
    assert (first["counts"]["seen"], first["counts"]["selected"]) == (3, 2)
    count, tell = first["units"]
    assert count["result"] == {"names": ["a", "b"], "points": 4}
    assert (tell["counts"], tell["stocks"]) == ({"reacted": 2}, {"reacted": [a, b]})
    assert second["units"][1]["counts"] == {"skipped": 2}


def test_session_is_the_run_before(world: Any, rules: Any) -> None:
    process = Process("p", (Listen(),))
    world.react(process, rules, run="first")
    world.ingest(rules, world.star(0, world.jd(1)), world.star(1, world.jd(2)))
    world.react(process, rules, run="second")
    world.ingest(rules, world.star(0, world.jd(3)))
    world.react(process, rules, run="third")
    # A session is the same for all nights of a run, and counts all nights of the run before.
    assert [context.session and context.session.run for context in Listen.heard] == [None, "first", "first", "second"]
    last = Listen.heard[-1].session
    assert last is not None
    assert last.counts["selected"] == 2
    assert last.ts <= Listen.heard[-1].now


# --- what units add to stocks


class Tag(PopulationUnit):
    """Tags one object and gives it a name."""

    foreign: bool = False

    def process(self, views: Sequence[TransientView], context: ReactionContext) -> None:
        context.add(views[0], tags=["SN"], names=["SN2018abc"], journal={"why": "looks like one"})
        if self.foreign:
            context.edits.append(type(context.edits[0])(4711, ("SN",)))


def test_edits_are_written_once_and_seen_by_their_channel_alone(world: Any) -> None:
    a, b = world.rules("A", reactions=("p",)), world.rules("B")
    world.ingest([a, b], world.star(0), world.star(1))
    for _ in range(2):
        react_to_night(world.reaction(Process("p", (Tag(),)), a), NIGHT)
    mine, theirs = world.views(a, NIGHT), world.views(b, NIGHT)
    assert [view.tag for view in mine] == [("ZTF", "SN"), ("ZTF",)]
    assert [view.tag for view in theirs] == [("ZTF",), ("ZTF",)]
    assert [view.name for view in mine] == ["ZTF18aaaaaaa", "ZTF18aaaaaab"]
    assert world.ztf.stocks.by_name("SN2018abc").name == "ZTF18aaaaaaa"
    entries = [e for e in world.store.journal.of_stock("ztf", mine[0].stock) if e["action"] == "edit"]
    (entry,) = entries
    assert (entry["channel"], entry["tier"], entry["tag"], entry["name"]) == (["A"], 3, ["SN"], ["SN2018abc"])
    assert (entry["note"], entry["link"]) == ({"why": "looks like one"}, mine[0].link)
    # The tag can be selected by.
    tagged = Select.model_validate({"tags": {"with": ["SN"]}})
    assert react_to_night(world.reaction(Process("p", (Count(),), tagged), a), NIGHT).results["Count"]["names"] == ["a"]
    assert react_to_night(world.reaction(Process("p", (Count(),), tagged), b), NIGHT).results["Count"]["names"] == []


def test_a_unit_cannot_edit_what_it_was_not_given(world: Any, rules: Any) -> None:
    done = react_to_night(world.reaction(Process("p", (Tag(foreign=True),)), rules), NIGHT)
    assert dict(done.failures) == {("Tag", "asks to edit the stock 4711, which it was not given"): 1}
    assert world.views(rules, NIGHT)[0].tag == ("ZTF",)


def test_dry_run_of_a_process_changes_nothing(world: Any, rules: Any) -> None:
    done = react_to_night(world.reaction(Process("p", (Tag(), Listen(), Tell()), dry_run=True), rules), NIGHT)
    assert set(done.previews) == {"Listen", "Tell"}
    assert world.views(rules, NIGHT)[0].tag == ("ZTF",)
    assert (world.store.reactions.list(), world.store.outbox.list(), Listen.heard) == ([], [], [])
    assert not Path(world.reports).exists()


@pytest.mark.parametrize("answer", ["text", {"x": object()}, {1: 2}])
def test_a_population_unit_that_returns_what_cannot_be_kept_fails(world: Any, rules: Any, answer: Any) -> None:
    class Odd(PopulationUnit):
        def process(self, views: Sequence[TransientView], context: ReactionContext) -> Any:
            return answer

    done = react_to_night(world.reaction(Process("p", (Odd(),)), rules), NIGHT)
    assert len(done.failures) == 1
    (document,) = world.store.reactions.list()
    assert document["units"][0]["failures"]


# --- again


def test_what_was_sent_is_sent_again_when_asked_for(world: Any, rules: Any) -> None:
    process = Process("p", (Tell(), Listen()))
    react_to_night(world.reaction(process, rules), NIGHT)
    (b,) = [d for d in world.store.outbox.list("p", unit="Tell") if d["name"].endswith("b")]
    (done,) = react_again(world.reaction(process, rules, run="again"), [b])
    assert list(done.results["Tell"].values()) == ["told b"]
    assert len(Listen.heard) == 1
    runs = {d["name"][-1]: d["meta"]["run"] for d in world.store.outbox.list("p", unit="Tell")}
    assert runs == {"a": "t3", "b": "again", "c": "t3"}


def test_views_are_loaded_in_chunks_and_can_be_gone_through_again(
    world: Any, rules: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With chunks of two, and one view that is kept: each of the others is read anew, as it was when it was chosen."""
    for module in ("t3_views", "t3_select"):
        monkeypatch.setattr(f"ampel_dagster.pipeline.{module}.CHUNK", 2)
    monkeypatch.setattr("ampel_dagster.pipeline.t3_select._KEPT", 1)
    world.ingest(rules, *(world.star(n) for n in range(3, 7)))

    class Walk(PopulationUnit):
        def process(self, views: Sequence[TransientView], context: ReactionContext) -> Mapping[str, Any]:
            world.ingest(rules, world.star(6, world.jd(0.05)))  # a new state of the last one, in the meantime
            once, again = ([view.link for view in views] for _ in range(2))
            assert once == again == [views[n].link for n in range(len(views))]
            assert [view.link for view in views[2:5]] == once[2:5]
            return {"n": len(views), "points": len(views[-1].points)}

    done = react_to_night(world.reaction(Process("p", (Walk(),)), rules), NIGHT)
    assert (dict(done.failures), done.results.get("Walk")) == ({}, {"n": 7, "points": 1})
