"""Who has to wait for whom, where several batches are written at once."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from ampel_dagster.pipeline.under_way import Place, UnderWay


@pytest.fixture
def under_way() -> UnderWay:
    return UnderWay()


def test_batches_about_other_things_do_not_wait(under_way: UnderWay) -> None:
    with under_way.place({1, 2}, {10}), under_way.place({3}, {11}) as second:
        second.wait()


def test_of_one_object_until_the_first_is_over(under_way: UnderWay) -> None:
    with ExitStack() as first_under_way, ExitStack() as second_under_way:
        first = first_under_way.enter_context(under_way.place({1, 2}, {10}))
        second = second_under_way.enter_context(under_way.place({2, 3}, {11}))
        assert (first.is_free, second.is_free) == (True, False)
        first.points_are_there()
        assert not second.is_free
        first_under_way.close()
        assert second.is_free


def test_of_one_point_until_it_is_there(under_way: UnderWay) -> None:
    """Upper limits are shared by objects: which of them brings one is seen in it."""
    with under_way.place({1}, {10, 11}) as first, under_way.place({2}, {11, 12}) as second:
        assert not second.is_free
        first.points_are_there()
        assert second.is_free


def test_nobody_waits_for_who_comes_later(under_way: UnderWay) -> None:
    with under_way.place({1}, {10}) as first, under_way.place({1}, {10}), under_way.place({1}, {10}):
        first.wait()


def test_all_before_are_waited_for(under_way: UnderWay) -> None:
    with ExitStack() as one, ExitStack() as other:
        one.enter_context(under_way.place({1}, set()))
        other.enter_context(under_way.place({2}, set()))
        with under_way.place({1, 2}, set()) as third:
            other.close()
            assert not third.is_free
            one.close()
            assert third.is_free


def test_a_batch_that_fails_keeps_nobody_waiting(under_way: UnderWay) -> None:
    seconds: list[Place] = []

    def fail(later: ExitStack) -> None:
        with under_way.place({1}, {10}):
            seconds.append(later.enter_context(under_way.place({1}, {10})))
            assert not seconds[0].is_free
            raise OSError("disk full")

    with ExitStack() as later:
        with pytest.raises(OSError, match="disk full"):
            fail(later)
        seconds[0].wait()


def test_who_waits_is_woken(under_way: UnderWay) -> None:
    with ThreadPoolExecutor(1) as pool, under_way.place({1}, {10}) as first, under_way.place({2}, {10}) as second:
        waiting = pool.submit(second.wait)
        first.points_are_there()
        waiting.result(30)
