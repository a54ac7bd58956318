"""One item ahead, and no more."""

from collections.abc import Iterator
from threading import Event, get_ident

import pytest

from ampel_dagster.pipeline.ahead import one_ahead


def test_items_come_in_order_and_from_another_thread() -> None:
    makers = set()

    def items() -> Iterator[int]:
        for n in range(5):
            makers.add(get_ident())
            yield n

    assert list(one_ahead(items())) == [0, 1, 2, 3, 4]
    assert get_ident() not in makers


def test_the_next_is_made_while_one_is_worked_on_and_none_beyond() -> None:
    made, second = [], Event()

    def items() -> Iterator[int]:
        for n in range(5):
            made.append(n)
            if n == 1:
                second.set()
            yield n

    found = one_ahead(items())
    assert next(found) == 0
    assert second.wait(30)
    assert made == [0, 1]
    found.close()
    assert made == [0, 1]


def test_what_is_raised_comes_in_its_place() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise ValueError("no second")

    found = one_ahead(items())
    assert next(found) == 1
    with pytest.raises(ValueError, match="no second"):
        next(found)
