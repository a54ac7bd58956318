"""Prepare the next while one is worked on."""

from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
_END = object()


def one_ahead(items: Iterator[T]) -> Generator[T]:
    """The items of an iterator, each made in another thread while the one before is worked on.

    For items whose making waits for the database. What the iterator raises is raised where its item was due.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="loader") as loader:
        coming: Future[T | object] = loader.submit(next, items, _END)
        while (item := coming.result()) is not _END:
            coming = loader.submit(next, items, _END)
            yield item  # type: ignore[misc]  # it is not the end
