"""Numbers that say how a document fared.

The values are AMPEL's (`ampel.enum.DocumentCode`): below zero belongs to the system, zero and above to the unit,
so that ``code >= 0`` means "a valid result" in every query.
"""

from enum import IntEnum


class DocumentCode(IntEnum):
    """State of a T2 document."""

    OK = 0
    NEW = -1
    ERROR = -2
    INTERNAL_ERROR = -3
    EXCEPTION = -4
    RUNNING = -5
    RERUN_REQUESTED = -6
    TOO_MANY_TRIALS = -7
    PENDING_DEPENDENCY = -2001
    UNKNOWN_LINK = -2004
    MISSING_DEPENDENCY = -2006
    MISSING_INFO = -2008
    FAILED_DEPENDENCY = -2010


#: Codes of tickets that a worker may take up.
CLAIMABLE = (DocumentCode.NEW, DocumentCode.RERUN_REQUESTED, DocumentCode.PENDING_DEPENDENCY)

#: Codes of tickets whose result is still to come.
OPEN = (*CLAIMABLE, DocumentCode.RUNNING)


class VerdictCode(IntEnum):
    """Outcome of a channel's filter where the filter itself gave no number.

    A filter's own codes are groups (above 0) or reasons for rejection (-255 to -1).
    """

    ACCEPTED = 0
    REJECTED = -1
    NO_ACCESS = -1001
    EXCEPTION = -1004
    #: The filter raised too often in a row and was left out for the rest of the run: to be judged by a later one.
    FILTER_DISABLED = -1005


#: A filter's own codes for rejection.
_OWN_REJECTIONS = range(-255, 0)


def verdict_code(answer: bool | int | None) -> int:
    """A filter's answer as a verdict code."""
    if answer is True:
        return VerdictCode.ACCEPTED.value
    if answer is None or answer is False:
        return VerdictCode.REJECTED.value
    number = int(answer)
    if number > 0 or number in _OWN_REJECTIONS:
        return number
    return VerdictCode.REJECTED.value


def code_name(code: int) -> str:
    """Name of a document code for people: ``NEW``, ``EXCEPTION`` …; the number itself where a unit chose it."""
    try:
        return DocumentCode(code).name
    except ValueError:
        return str(code)
