"""Numbers that say how a document fared.

The values are AMPEL's (`ampel.enum.DocumentCode`): below zero belongs to the system, zero and above to the unit,
so that ``code >= 0`` means "a valid result" in every query.
"""

from enum import IntEnum


class DocumentCode(IntEnum):
    """State of a T2 document; `MEANING` says what each one stands for."""

    OK = 0
    NEW = -1
    ERROR = -2
    INTERNAL_ERROR = -3
    EXCEPTION = -4
    RUNNING = -5
    RERUN_REQUESTED = -6
    TOO_MANY_TRIALS = -7
    NEW_PRIO = -2000
    PENDING_DEPENDENCY = -2001
    QUEUED = -2002
    EXPORTED = -2003
    UNKNOWN_LINK = -2004
    UNKNOWN_CONFIG = -2005
    MISSING_DEPENDENCY = -2006
    UNEXPECTED_DEPENDENCY = -2007
    MISSING_INFO = -2008
    OUTDATED_CODE = -2009
    FAILED_DEPENDENCY = -2010
    INADEQUATE_DEPENDENCY = -2011


#: What a code means to somebody who finds it on a document.
MEANING = {
    DocumentCode.OK: "a valid result; the unit may choose another number above 0",
    DocumentCode.NEW: "a ticket: to be computed",
    DocumentCode.ERROR: "the unit returned what cannot be stored",
    DocumentCode.INTERNAL_ERROR: "the process that computed it crashed",
    DocumentCode.EXCEPTION: "the unit raised; message and traceback are in `error`",
    DocumentCode.RUNNING: "a worker has it, for the time of its lease",
    DocumentCode.RERUN_REQUESTED: "to be computed again: something new is known, somebody asked, or the unit did",
    DocumentCode.TOO_MANY_TRIALS: "given up after too many attempts; `error` says what the last one came to",
    DocumentCode.NEW_PRIO: "a ticket that is taken up before others",
    DocumentCode.PENDING_DEPENDENCY: "waits for a result that it builds upon",
    DocumentCode.QUEUED: "AMPEL's: in a queue outside the database; not used here",
    DocumentCode.EXPORTED: "AMPEL's: handed out to another system; not used here",
    DocumentCode.UNKNOWN_LINK: "what it is computed from is not there (yet): tried again later",
    DocumentCode.UNKNOWN_CONFIG: "AMPEL's: its configuration is not known; not used here, where tickets name a product",
    DocumentCode.MISSING_DEPENDENCY: "nobody asked for a product that it builds upon: tried again later",
    DocumentCode.UNEXPECTED_DEPENDENCY: "AMPEL's: a dependency that nobody declared; found by `check` here",
    DocumentCode.MISSING_INFO: "some datapoints of its state are not there (yet): tried again later",
    DocumentCode.OUTDATED_CODE: "AMPEL's: a unit written for an older version; a TypeError here, hence ERROR",
    DocumentCode.FAILED_DEPENDENCY: "a product that it builds upon failed; computed when that one is",
    DocumentCode.INADEQUATE_DEPENDENCY: "AMPEL's: a dependency that is not good enough; units say so by their own code",
}

#: Codes of tickets that a worker may take up.
CLAIMABLE = (
    DocumentCode.NEW_PRIO,
    DocumentCode.NEW,
    DocumentCode.RERUN_REQUESTED,
    DocumentCode.UNKNOWN_LINK,
    DocumentCode.MISSING_DEPENDENCY,
    DocumentCode.MISSING_INFO,
)

#: Codes of tickets whose result is still to come.
OPEN = (*CLAIMABLE, DocumentCode.PENDING_DEPENDENCY, DocumentCode.RUNNING)


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
