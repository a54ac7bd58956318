"""What a step does when the server goes away under it: wait for a while, and do the whole step again.

All writes may be repeated. The driver's own retries are not enough: a standalone server has none for writes, and a
write that it has confirmed, but not yet put into its journal, is lost with it. So a step is done again also where the
server merely *is* another process than at the beginning, though no command failed.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from pymongo.errors import ConnectionFailure

from ampel_dagster.model.errors import StorageError

T = TypeVar("T")
#: Raises where the server is no longer the process that it was when the step began.
Unbroken = Callable[[], None]
_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 5.0


class _StartedAnewError(ConnectionFailure):
    """What was written since the step began may be lost."""


def steadily(
    hello: Callable[[], Mapping[str, Any]],
    step: Callable[[Unbroken], T],
    patience_s: float,
    revive: Callable[[], None],
) -> T:
    """Result of a step that began and ended with one and the same server process.

    Where the server goes away the step is done again, for at most `patience_s` seconds after the first failure;
    `revive` is called before each new attempt. The step calls `unbroken` before what must not be said too early.
    Raises StorageError where the server stays away.
    """
    deadline, pause = float("inf"), _FIRST_PAUSE_S
    while True:
        try:
            process = _process(hello())

            def unbroken(process: object = process) -> None:
                if _process(hello()) != process:
                    raise _StartedAnewError("the server was started anew meanwhile")

            result = step(unbroken)
            unbroken()
        except ConnectionFailure as error:
            deadline = min(deadline, time.monotonic() + patience_s)
            if time.monotonic() >= deadline:
                why = " ".join(str(error).split())[:200]
                raise StorageError(
                    f"the database went away and did not come back for good within {patience_s:g} s ({why}): start it "
                    "again, then do the same again; what is finished is kept"
                ) from error
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_S)
            revive()
        else:
            return result


def _process(hello: Mapping[str, Any]) -> object:
    """What tells one server process from the next; servers that are too old to say so look all the same."""
    return hello.get("topologyVersion", {}).get("processId")
