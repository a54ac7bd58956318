"""Examples in the help of a command."""

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


def examples(*lines: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Add examples to a command's help."""

    def add(command: Callable[P, R]) -> Callable[P, R]:
        text = "\n\n\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)

        @wraps(command)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            return command(*args, **kwargs)

        call.__doc__ = (command.__doc__ or "") + text
        return call

    return add
