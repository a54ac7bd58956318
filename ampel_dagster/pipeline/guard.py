"""The one place where an exception of a unit is caught: it becomes data, and the stream goes on."""

import traceback
from collections.abc import Callable
from typing import NamedTuple, ParamSpec, TypeVar

from ampel_dagster.model.codes import DocumentCode
from ampel_dagster.model.errors import AlertFormatError, TryLaterError

P = ParamSpec("P")
R = TypeVar("R")
#: Characters of a traceback that are kept: its end, which names the line.
_KEPT = 4000


class Failure(NamedTuple):
    """What a unit raised."""

    message: str
    traceback: str
    #: RERUN_REQUESTED where the unit wants to be called later (TryLaterError).
    code: DocumentCode = DocumentCode.EXCEPTION
    #: Seconds until then; None: as long as usual.
    after_s: float | None = None


def guarded(call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R | Failure:
    """Result of a unit's method, or what it raised.

    An AlertFormatError goes through: not the unit failed, but the packet that it looked into.
    """
    try:
        return call(*args, **kwargs)
    except AlertFormatError:
        raise
    except TryLaterError as later:
        return Failure(plain_text(str(later))[:1000], "", DocumentCode.RERUN_REQUESTED, later.after_s)
    except Exception as error:  # noqa: BLE001  # units are foreign code
        return Failure(
            plain_text(f"{type(error).__name__}: {error}")[:1000], plain_text(traceback.format_exc())[-_KEPT:]
        )


def plain_text(text: str) -> str:
    """Text that can be stored: file names may bring characters that are none."""
    return text.encode(errors="replace").decode()
