"""Batches are written while the next is made: in order, with bounded memory, and never beyond a failure."""

from collections.abc import Iterator
from threading import Event, Lock

import pytest

from ampel_dagster.pipeline.tally import Tally
from ampel_dagster.pipeline.write_ahead import Passed, write_ahead, write_overlapping


def tally(number: int) -> Tally:
    found = Tally()
    found.counts["read"] = number
    return found


class Writer:
    """Knows how many batches are under way at once."""

    def __init__(self, *, passes: bool) -> None:
        self._passes = passes
        self._lock = Lock()
        self._now = 0
        self.most = 0
        self.begun: list[int] = []

    def write(self, number: int, passed: Passed) -> Tally:
        with self._lock:
            self._now += 1
            self.most = max(self.most, self._now)
            self.begun.append(number)
        if self._passes:
            passed()
        with self._lock:
            self._now -= 1
        return tally(number)


def test_all_are_written_and_counted_in_order() -> None:
    told: list[int] = []
    writer = Writer(passes=True)
    done = write_overlapping(range(20), writer.write, lambda found: told.append(found.counts["read"]))
    assert writer.begun == told == list(range(20))
    assert done.counts["read"] == 190
    assert writer.most <= 2


def test_one_at_a_time_where_none_says_that_it_has_passed() -> None:
    writer = Writer(passes=False)
    write_overlapping(range(20), writer.write)
    assert (writer.begun, writer.most) == (list(range(20)), 1)


def test_the_next_begins_before_the_last_is_finished() -> None:
    second_began = Event()

    def write(number: int, passed: Passed) -> Tally:
        if number == 1:
            second_began.set()
        passed()
        assert second_began.wait(30)
        return tally(number)

    assert write_overlapping([0, 1], write).counts["read"] == 1


def test_no_more_than_two_are_under_way() -> None:
    third_is_made, finished = Event(), []

    def items() -> Iterator[int]:
        yield 0
        yield 1
        third_is_made.set()
        yield 2

    def write(number: int, passed: Passed) -> Tally:
        passed()
        if number == 0:
            assert third_is_made.wait(30)
        if number == 2:
            assert finished, "two others are still under way"
        finished.append(number)
        return tally(number)

    write_overlapping(items(), write)
    assert sorted(finished) == [0, 1, 2]


def test_nothing_is_begun_after_a_failure() -> None:
    begun: list[int] = []

    def write(number: int, passed: Passed) -> Tally:
        begun.append(number)
        if number == 2:
            raise OSError("disk full")
        passed()
        return tally(number)

    with pytest.raises(OSError, match="disk full"):
        write_overlapping(range(10), write)
    assert begun == [0, 1, 2]


def test_what_was_begun_before_a_failure_was_seen_is_written_to_its_end() -> None:
    second_began, finished = Event(), []

    def write(number: int, passed: Passed) -> Tally:
        passed()
        if number == 0:
            assert second_began.wait(30)
            raise OSError("disk full")
        second_began.set()
        finished.append(number)
        return tally(number)

    with pytest.raises(OSError, match="disk full"):
        write_overlapping(range(10), write)
    assert finished
    assert finished == list(range(1, len(finished) + 1))
    assert len(finished) <= 2


def test_a_failure_of_the_last_is_raised() -> None:
    def write(number: int, passed: Passed) -> Tally:
        passed()
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_overlapping([1], write)


def test_items_are_closed_where_writing_fails() -> None:
    closed = Event()

    def items() -> Iterator[int]:
        try:
            while True:
                yield 1
        finally:
            closed.set()

    def write(number: int) -> Tally:
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_ahead(items(), write)
    assert closed.is_set()


def test_one_at_most_is_made_ahead() -> None:
    made: list[int] = []

    def items() -> Iterator[int]:
        for number in range(10):
            made.append(number)
            yield number

    def write(number: int) -> Tally:
        assert len(made) <= number + 2
        return tally(number)

    assert write_ahead(items(), write).counts["read"] == 45
