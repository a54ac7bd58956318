"""One stage of a filter, as `explain` shows it."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple


class Cut(NamedTuple):
    """What one cut made of an alert."""

    #: Name of the cut.
    name: str
    #: What was measured; None where the alert does not have it.
    value: Any
    limit: Any
    passed: bool
    #: The conditions that it joins, if it is made of several.
    inside: tuple["Cut", ...] = ()


def first_failure(cuts: Sequence[Cut]) -> Cut | None:
    """The cut that decides: the first that fails, and of one that joins several the first inside; None if all pass."""
    for cut in cuts:
        if not cut.passed:
            return first_failure(cut.inside) or cut
    return None


def indented(cuts: Sequence[Cut], depth: int = 0) -> Iterator[tuple[int, Cut]]:
    """All cuts with their depth, those inside after the one that joins them."""
    for cut in cuts:
        yield depth, cut
        yield from indented(cut.inside, depth + 1)
