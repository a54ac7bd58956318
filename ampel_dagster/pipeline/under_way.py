"""Several batches that are written at once, as if they were written one after the other."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition


class Place:
    """The place of one batch in the order; it knows who is before it."""

    def __init__(self, changed: Condition, stocks: set[int], points: set[int], before: list["Place"]) -> None:
        self._changed = changed
        self._stocks = stocks
        #: Until they are there for others to see.
        self._points = points
        self._before = before

    @property
    def is_free(self) -> bool:
        """Whether nobody before is still busy with what this one is about."""
        return not any(other._meets(self._stocks, self._points) for other in self._before)

    def wait(self) -> None:
        """Wait for that."""
        with self._changed:
            self._changed.wait_for(lambda: self.is_free)
            self._before = []

    def points_are_there(self) -> None:
        """From now on others may find the points in the database."""
        with self._changed:
            self._points = set()
            self._changed.notify_all()

    def leave(self) -> None:
        """It is over, well or not."""
        with self._changed:
            self._stocks = self._points = set()
            self._changed.notify_all()

    def _meets(self, stocks: set[int], points: set[int]) -> bool:
        return not (self._stocks.isdisjoint(stocks) and self._points.isdisjoint(points))


class UnderWay:
    """The batches of one writer that are under way, in order.

    Who comes later waits for those before that write about the same objects, and until points are there which both
    bring. All others may write at the same time: no document is touched by two of them.
    """

    def __init__(self) -> None:
        self._changed = Condition()
        self._places: list[Place] = []

    @contextmanager
    def place(self, stocks: set[int], points: set[int]) -> Iterator[Place]:
        """A place behind all others, for a batch about these objects that brings these points."""
        with self._changed:
            mine = Place(self._changed, stocks, points, self._places)
            self._places = [*self._places, mine]
        try:
            yield mine
        finally:
            with self._changed:
                self._places = [other for other in self._places if other is not mine]
            mine.leave()
