"""T3: what is new is reacted to once, whatever happens between and beside the runs."""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any

import pytest

from ampel_dagster.model.codes import DocumentCode
from ampel_dagster.model.datapoint import Kind
from ampel_dagster.model.selection import Select
from ampel_dagster.model.view import Artefact, ReactionContext, TransientView
from ampel_dagster.pipeline.ingest import SelectionWriter
from ampel_dagster.pipeline.t0_ingest import select
from ampel_dagster.pipeline.t3_react import has_updates, react_to_night
from ampel_dagster.units.base import Publisher, Report, T1Combiner
from ampel_dagster.units.bound import Process

NIGHT, NEXT = "2018-08-19", "2018-08-20"
Seen = list[tuple[str, str]]


def letters(views: Iterable[TransientView]) -> str:
    return "".join(view.name[-1] for view in views)


class Board:
    """A process whose report and publisher write down what they are given."""

    def __init__(self, *, react: bool = False, during: Callable[[], Any] = lambda: None, **select: Any) -> None:
        self.reported: Seen = []
        self.sent: Seen = []
        self.at: list[datetime] = []
        self.error: Exception | None = None
        board = self

        class Table(Report):
            def write(self, views: Sequence[TransientView], context: ReactionContext) -> Sequence[Artefact]:
                board.reported.append((context.night, letters(views)))
                board.at.append(context.now)
                during()
                if board.error is not None:
                    raise board.error
                path = context.folder / "table.txt"
                path.write_text(letters(views))
                return [Artefact(path, "Table", len(views))]

        class Post(Publisher):
            def send(self, view: TransientView, context: ReactionContext) -> str:
                board.sent.append((context.night, view.name[-1]))
                return "received"

        self.process = Process("board", (Table(), Post()), Select(**select), react=react)


def rules_for(world: Any, channel: str, *products: Any, **more: Any) -> Any:
    return world.rules(channel, *products, reactions=("board",), **more)


# --- what is new


def test_every_finished_batch_is_reacted_to_once(world: Any) -> None:
    board, rules = Board(), rules_for(world, "A")
    world.ingest(rules, world.star(0), world.star(1))
    world.ingest(rules, world.star(2))
    assert has_updates(world.store, "board", "A", "ztf")
    world.react(board.process, rules)
    assert board.reported == [(NIGHT, "abc")]
    assert board.sent == [(NIGHT, "a"), (NIGHT, "b"), (NIGHT, "c")]
    assert not has_updates(world.store, "board", "A", "ztf")
    assert world.react(board.process, rules) == []
    world.ingest(rules, world.star(3))
    world.react(board.process, rules)
    assert board.reported[1:] == [(NIGHT, "abcd")]
    assert board.sent[3:] == [(NIGHT, "d")]


def test_nights_are_reacted_to_one_by_one(world: Any) -> None:
    board, rules = Board(), rules_for(world, "A")
    world.ingest(rules, world.star(0), world.star(1, world.jd(1)), world.star(0, world.jd(1)))
    done = world.react(board.process, rules)
    assert [reacted.night for reacted in done] == [NIGHT, NEXT]
    assert board.reported == [(NIGHT, "a"), (NEXT, "ab")]
    assert board.sent == [(NIGHT, "a"), (NEXT, "a"), (NEXT, "b")]


def test_channels_and_processes_do_not_wait_for_each_other(world: Any) -> None:
    board, other = Board(), Board()
    other = Process("other", other.process.units)
    a = world.rules("A", reactions=("board", "other"))
    b = world.rules("B", reactions=("board",))
    world.ingest(a, world.star(0))
    world.ingest(b, world.star(1))
    world.react(board.process, a)
    assert [has_updates(world.store, *who, "ztf") for who in (("board", "A"), ("other", "A"), ("board", "B"))] == [
        False,
        True,
        True,
    ]
    assert not has_updates(world.store, "other", "B", "ztf")
    assert board.reported == [(NIGHT, "a")]


def test_process_that_is_new_hears_of_what_comes_from_now_on(world: Any) -> None:
    board = Board()
    world.ingest(world.rules("A"), world.star(0))
    rules = rules_for(world, "A")
    assert world.react(board.process, rules) == []
    world.ingest(rules, world.star(1))
    world.react(board.process, rules)
    assert board.reported == [(NIGHT, "ab")]
    assert [name for _, name in board.sent] == ["b"]


def test_same_file_under_another_name_makes_no_second_reaction(world: Any) -> None:
    board, rules = Board(), rules_for(world, "A")
    alerts = [world.star(0), world.star(1)]
    world.ingest(rules, *alerts, source="night.tar")
    world.react(board.process, rules)
    world.ingest(rules, *alerts, source="copy_of_night.tar")
    world.ingest(rules, *reversed(alerts), source="night.tar")
    assert not has_updates(world.store, "board", "A", "ztf")
    assert world.react(board.process, rules) == []
    assert len(board.sent) == 2


def test_repeated_work_that_changes_nothing_makes_no_reaction(world: Any) -> None:
    product = world.product(lambda *_: {"n": 1})
    board, rules = Board(), rules_for(world, "A", product)
    world.ingest(rules, world.star(0))
    world.compute(product)
    world.react(board.process, rules)
    world.ztf.tickets.reset({})
    world.compute(product, run="again")
    assert world.react(board.process, rules) == []


def test_changed_result_is_reported_again_but_the_state_is_told_about_once(world: Any) -> None:
    results = iter([{"n": 1}, {"n": 2}])
    product = world.product(lambda *_: next(results))
    board, rules = Board(), rules_for(world, "A", product)
    world.ingest(rules, world.star(0))
    for run in ("one", "two"):
        world.ztf.tickets.reset({})
        world.compute(product, run=run)
        world.react(board.process, rules)
    assert board.reported == [(NIGHT, "a")] * 2
    assert board.sent == [(NIGHT, "a")]
    world.ingest(rules, world.star(0, world.jd(0.1)))  # a new state
    results = iter([{"n": 3}])
    product = world.product(lambda *_: next(results))
    world.compute(product)
    world.react(board.process, rules)
    assert board.sent == [(NIGHT, "a")] * 2


def test_process_that_asks_for_updates_reports_the_updates_alone(world: Any) -> None:
    board, rules = Board(updated="since_last_run"), rules_for(world, "A")
    artefacts = []
    for n in range(3):
        world.ingest(rules, world.star(n))
        (done,) = world.react(board.process, rules)
        artefacts += done.artefacts
    assert board.reported == [(NIGHT, "a"), (NIGHT, "b"), (NIGHT, "c")]
    # Nothing of an earlier report is overwritten.
    assert [artefact.path.read_text() for artefact in artefacts] == ["a", "b", "c"]


# --- what is not finished yet


def test_stock_whose_result_is_to_come_is_deferred_and_comes_again(world: Any) -> None:
    product = world.product(lambda *_: {"n": 1})
    board, rules = Board(), rules_for(world, "A", product)
    world.ingest(rules, world.star(0))
    (done,) = world.react(board.process, rules)
    assert (done.counts["deferred"], board.sent) == (1, [])
    assert has_updates(world.store, "board", "A", "ztf")
    world.compute(product)
    (done,) = world.react(board.process, rules)
    assert (done.counts["deferred"], board.sent) == (0, [(NIGHT, "a")])
    assert world.react(board.process, rules) == []


def test_stock_that_waits_keeps_its_own_batch_only(world: Any) -> None:
    product = world.product(lambda *_: {"n": 1})
    board, rules = Board(), rules_for(world, "A", product)
    world.ingest(rules, world.star(0))
    world.compute(product)
    world.ingest(rules, world.star(1))
    (done,) = world.react(board.process, rules)
    assert (done.counts["deferred"], board.sent) == (1, [(NIGHT, "a")])
    (batch,) = world.store.batches.unhandled("board", "A", "ztf")
    assert batch["touched"] == {"A": [world.instrument.stock_id("ZTF18aaaaaab")]}


def test_result_that_would_select_the_stock_is_waited_for(world: Any) -> None:
    product = world.product(lambda *_: {"n": 1})
    board, rules = Board(where=("probe.n >= 1",)), rules_for(world, "A", product)
    world.ingest(rules, world.star(0))
    world.react(board.process, rules)
    assert board.reported == [(NIGHT, "")]
    world.compute(product)
    world.react(board.process, rules)
    assert board.reported[1:] == [(NIGHT, "a")]
    assert board.sent == [(NIGHT, "a")]


def test_failed_result_is_not_waited_for(world: Any) -> None:
    def broken(*_: Any) -> Any:
        raise ValueError("no")

    product = world.product(broken)
    board, rules = Board(), rules_for(world, "A", product)
    world.ingest(rules, world.star(0))
    world.compute(product)
    assert world.t2(product)[0]["code"] == DocumentCode.EXCEPTION
    world.react(board.process, rules)
    assert board.sent == [(NIGHT, "a")]
    assert world.react(board.process, rules) == []


def test_product_that_nobody_asks_for_any_more_is_not_waited_for(world: Any) -> None:
    """Its tickets stay open for ever, as no run computes it."""
    dropped = world.product(lambda *_: {}, "dropped")
    world.ingest(world.rules("A", dropped), world.star(0))
    board, rules = Board(), rules_for(world, "A")
    world.ingest(rules, world.star(0, world.jd(0.1)))
    (done,) = world.react(board.process, rules)
    assert (done.counts["deferred"], board.sent) == (0, [(NIGHT, "a")])
    assert world.react(board.process, rules) == []


def test_product_of_another_channel_is_not_waited_for(world: Any) -> None:
    slow = world.product(lambda *_: {})
    board, rules = Board(), rules_for(world, "A")
    world.ingest([rules, world.rules("B", slow)], world.star(0))
    world.react(board.process, rules)
    assert board.sent == [(NIGHT, "a")]


class _Interrupted(BaseException):
    pass


class _Gate(T1Combiner):
    """Joins all points; before it does, something else happens."""

    def combine(self, points: Sequence[tuple[int, Kind, float, int]]) -> Iterable[int]:
        while _BEFORE:
            _BEFORE.pop()()
        return [point[0] for point in points]


_BEFORE: list[Callable[[], Any]] = []


@pytest.fixture(autouse=True)
def _nothing_planned() -> None:
    _BEFORE.clear()


def _raise(error: BaseException) -> None:
    raise error


def test_batch_that_a_crash_left_open_is_no_news_until_it_is_done(world: Any) -> None:
    board, rules = Board(), rules_for(world, "A", combiner=_Gate())
    alerts = [world.star(0), world.star(1)]
    _BEFORE.append(lambda: _raise(_Interrupted()))
    with pytest.raises(_Interrupted):
        world.ingest(rules, *alerts, source="night.tar")
    assert len(world.store.batches.left_open()) == 1
    assert world.react(board.process, rules) == []
    world.ingest(rules, *alerts, source="night.tar", run="retry")
    assert world.store.batches.left_open() == []
    world.react(board.process, rules)
    assert board.sent == [(NIGHT, "a"), (NIGHT, "b")]


def test_batch_that_finishes_after_a_later_one_is_not_lost(world: Any) -> None:
    """The reaction runs while a batch is being written whose documents carry an earlier time than the reaction.

    A reaction that remembered when it last looked would never see them.
    """
    board = Board()
    slow, quick = rules_for(world, "A", combiner=_Gate()), rules_for(world, "A", combiner=_Gate())

    def meanwhile() -> None:
        world.ingest(quick, world.star(1))
        world.react(board.process, quick)

    _BEFORE.append(meanwhile)
    world.ingest(slow, world.star(0))
    assert board.sent == [(NIGHT, "b")]
    alert = world.ztf.ledger.alert.find_one({"stock": world.instrument.stock_id("ZTF18aaaaaaa")})
    assert alert["meta"]["ts"] <= board.at[0]
    world.react(board.process, slow)
    assert board.sent == [(NIGHT, "b"), (NIGHT, "a")]
    assert world.react(board.process, slow) == []


def test_batches_may_finish_in_any_order(world: Any) -> None:
    board, rules = Board(), rules_for(world, "A")
    made = []
    for n in range(4):
        ingestion = world.ingestion(rules)
        (selection,) = select(ingestion, world.packets(world.star(n)))
        made.append((SelectionWriter(ingestion), selection))
    for n in (2, 0, 3, 1):
        writer, selection = made[n]
        writer.write(selection)
        if n in (0, 1):
            world.react(board.process, rules)
    assert [name for _, name in board.sent] == ["a", "c", "b", "d"]
    assert world.react(board.process, rules) == []


def test_what_is_ingested_while_a_reaction_runs_is_not_lost(world: Any) -> None:
    """Between selection and the mark that a batch is handled."""
    rules = rules_for(world, "A")
    later = [world.star(2), world.star(1)]
    board = Board(during=lambda: world.ingest(rules, later.pop()) if later else None)
    world.ingest(rules, world.star(0))
    for _ in range(3):
        world.react(board.process, rules)
    assert board.reported == [(NIGHT, "a"), (NIGHT, "ab"), (NIGHT, "abc")]
    assert [name for _, name in board.sent] == ["a", "b", "c"]
    assert world.react(board.process, rules) == []


def test_result_that_is_computed_while_a_reaction_runs_is_not_lost(world: Any) -> None:
    results = [{"n": 2}, {"n": 1}]
    product = world.product(lambda *_: results.pop())
    rules = rules_for(world, "A", product)

    def again() -> None:
        if results:
            world.ztf.tickets.reset({})
            world.compute(product)  # the same run, the same ticket, another result

    board = Board(during=again)
    world.ingest(rules, world.star(0))
    world.compute(product)
    world.react(board.process, rules)
    assert has_updates(world.store, "board", "A", "ztf")
    world.react(board.process, rules)
    assert board.reported == [(NIGHT, "a")] * 2
    assert not has_updates(world.store, "board", "A", "ztf")


# --- failures of units


@pytest.mark.parametrize("error", [ValueError("disk full"), RuntimeError("")])
def test_report_that_fails_is_written_when_it_can_be(world: Any, error: Exception) -> None:
    board, rules = Board(), rules_for(world, "A")
    board.error = error
    world.ingest(rules, world.star(0))
    (done,) = world.react(board.process, rules)
    ((who, message),) = done.failures
    assert (who, message) == ("Table", f"{type(error).__name__}: {error}")
    assert done.counts["failed"] == 1
    assert board.sent == [(NIGHT, "a")]  # one unit's failure is not the others'
    assert has_updates(world.store, "board", "A", "ztf")
    board.error = None
    (done,) = world.react(board.process, rules)
    assert [artefact.path.read_text() for artefact in done.artefacts] == ["a"]
    assert board.sent == [(NIGHT, "a")]
    assert not has_updates(world.store, "board", "A", "ztf")


@pytest.mark.parametrize("answer", [None, ["report.html"], "report.html"])
def test_report_that_does_not_say_what_it_wrote_is_a_failure(world: Any, answer: Any) -> None:
    class Careless(Report):
        def write(self, views: Sequence[TransientView], context: ReactionContext) -> Sequence[Artefact]:
            return answer  # type: ignore[no-any-return]

    rules = rules_for(world, "A")
    world.ingest(rules, world.star(0))
    (done,) = world.react(Process("board", (Careless(),)), rules)
    assert [who for who, _ in done.failures] == ["Careless"]
    assert "Artefact" in next(iter(done.failures))[1]


# --- archives


@pytest.mark.parametrize("react", [False, True])
def test_archive_is_reported_but_not_told_outside_unless_wanted(world: Any, react: bool) -> None:
    product = world.product(lambda *_: {"n": 1})
    board, rules = Board(react=react), rules_for(world, "A", product)
    world.ingest(rules, world.star(0), mode="archive")
    world.compute(product, mode="archive")
    world.react(board.process, rules)
    assert board.reported == [(NIGHT, "a")]
    assert board.sent == ([(NIGHT, "a")] if react else [])
    assert world.react(board.process, rules) == []


def test_archive_stays_silent_when_its_tickets_are_computed_by_a_live_run(world: Any) -> None:
    product = world.product(lambda *_: {"n": 1})
    board, rules = Board(), rules_for(world, "A", product)
    world.ingest(rules, world.star(0), mode="archive")
    world.compute(product, mode="live")
    world.react(board.process, rules)
    assert (board.reported, board.sent) == ([(NIGHT, "a")], [])


def test_archive_night_stays_silent_when_its_object_is_seen_live(world: Any) -> None:
    board, rules = Board(), rules_for(world, "A")
    world.ingest(rules, world.star(0), mode="archive")
    world.ingest(rules, world.star(0, world.jd(1)))
    world.react(board.process, rules)
    assert board.reported == [(NIGHT, "a"), (NEXT, "a")]
    assert board.sent == [(NEXT, "a")]


def test_live_alert_is_told_also_where_an_archive_run_computed_its_result(world: Any) -> None:
    product = world.product(lambda *_: {"n": 1})
    board, rules = Board(), rules_for(world, "A", product)
    world.ingest(rules, world.star(0))
    world.compute(product, mode="archive")
    world.react(board.process, rules)
    assert board.sent == [(NIGHT, "a")]


def test_night_can_be_reacted_to_again_without_telling_anyone(world: Any) -> None:
    board, rules = Board(), rules_for(world, "A")
    world.ingest(rules, world.star(0))
    done = react_to_night(world.reaction(board.process, rules), NIGHT, frozenset())
    assert (board.reported, board.sent) == ([(NIGHT, "a")], [])
    assert done.artefacts[0].path == world.reports / "board" / "A" / NIGHT / "table.txt"
