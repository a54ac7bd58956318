"""Write batch after batch while the next is being prepared."""

import gc
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event
from typing import TypeVar

from ampel_dagster.pipeline.tally import Tally

T = TypeVar("T")
#: New containers after which Python looks for cycles among them; its own default is 700.
_YOUNG_OBJECTS = 100_000
#: Batches that are written at once.
UNDER_WAY = 2
#: Called after each batch with what it did, for progress bars.
Progress = Callable[[Tally], None]
#: Called by what writes a batch when the next may be begun.
Passed = Callable[[], None]


def nothing() -> None:
    """Where there is nothing to do."""


def write_ahead(items: Iterable[T], write: Callable[[T], Tally], progress: Progress | None = None) -> Tally:
    """Write items one after the other while the next is being prepared; return what all of them did.

    One item at most is under way, so that memory is bounded and the order of batches kept. Where one fails, nothing
    later is written, and its error is raised.
    """
    return write_overlapping(items, lambda item, _: write(item), progress)


def write_overlapping(
    items: Iterable[T], write: Callable[[T, Passed], Tally], progress: Progress | None = None
) -> Tally:
    """The same where an item may be begun before the one before is finished: when that says that it has passed.

    Two items at most are under way. Where one fails, the other is written to its end, and nothing later.
    """
    total = Tally()
    with rare_collection(), ThreadPoolExecutor(UNDER_WAY, "writer") as writers:
        under_way: deque[tuple[Future[Tally], Event]] = deque()
        for item in _closing(items):
            if under_way:
                under_way[-1][1].wait()
            while len(under_way) >= UNDER_WAY or (under_way and under_way[0][0].done()):
                _finished(under_way.popleft()[0], total, progress)
            under_way.append(_begun(writers, write, item))
        while under_way:
            _finished(under_way.popleft()[0], total, progress)
    return total


def _begun(writers: ThreadPoolExecutor, write: Callable[[T, Passed], Tally], item: T) -> tuple[Future[Tally], Event]:
    """A batch that is being written, and whether it has passed; what ends has passed, too."""
    passed = Event()
    future = writers.submit(write, item, passed.set)
    future.add_done_callback(lambda _: passed.set())
    return future, passed


@contextmanager
def rare_collection() -> Iterator[None]:
    """Let Python look for cyclic garbage less often.

    A batch makes some hundred thousand values, none of them in cycles, and the collector would walk through all that
    is alive time and again to find this out (measured: a sixth of the ingester's time).
    """
    before = gc.get_threshold()
    gc.set_threshold(max(before[0], _YOUNG_OBJECTS), *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


def _finished(under_way: Future[Tally], total: Tally, progress: Progress | None) -> None:
    done = under_way.result()
    total.add(done)
    if progress is not None:
        progress(done)


def _closing(items: Iterable[T]) -> Iterator[T]:
    """The items; a generator among them is closed at once where the consumer stops early."""
    iterator = iter(items)
    try:
        yield from iterator
    finally:
        close = getattr(iterator, "close", None)
        if close is not None:
            close()
