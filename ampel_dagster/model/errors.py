"""What can go wrong with the world, as one small tree.

::

    AmpelError
    ├── UserError            one line tells the user what to do; exit code 2; nothing was changed
    │   ├── ConfigError      a file of the instance is wrong (carries every problem found)
    │   ├── StorageError     the database cannot be reached, or refuses
    │   └── SourceError      a live stream cannot be reached, or refuses
    ├── AlertFormatError     a packet cannot be read; becomes a quarantine record
    ├── UndeclaredReadError  a filter reads what it said it would not; becomes a verdict
    ├── TryLaterError        a unit cannot compute now; becomes a ticket that is due later
    └── SendError            a publisher knows that nothing arrived
        ├── RefusedError     the receiver said no; trying again is useless
        └── BusyError        the receiver cannot take it now; trying again may help

What goes wrong with one document is no exception: it is data (a `DocumentCode`, a quarantine record).
"""

from collections.abc import Sequence
from dataclasses import dataclass


class AmpelError(Exception):
    """Base of all errors that the platform raises by itself."""


class UserError(AmpelError):
    """Something that the user can mend; the message is one line and says how."""


class StorageError(UserError):
    """The database is not there, or does not let us in."""


class SourceError(UserError):
    """A live stream of packets is not there, does not answer in time, or does not let us in."""


class AlertFormatError(AmpelError):
    """A packet, or the rest of a file, that cannot be read.

    `reason` is a short constant for counting (``TRUNCATED``, ``NIGHT_OUT_OF_RANGE`` …), the message is for people.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = reason
        self.message = message


class UndeclaredReadError(AmpelError):
    """A filter that declares ``needs = "candidate"`` reads the rest of the alert."""


class TryLaterError(AmpelError):
    """A T2 unit raises it where computing later may help, as when a service does not answer.

    The ticket is taken up again after `after_s` seconds (None: a time that doubles with each attempt), until the
    product's attempts are used up.
    """

    def __init__(self, message: str, after_s: float | None = None) -> None:
        super().__init__(message)
        self.after_s = after_s


class SendError(AmpelError):
    """A publisher raises it where it is sure that nothing arrived.

    Any other exception means that it is not known whether something arrived, as where a time-out came after the
    request had gone out: only a publisher that says `idempotent` then sends again.
    """


class RefusedError(SendError):
    """The receiver said no (a wrong token, a malformed message): trying again is useless."""


class BusyError(SendError):
    """The receiver cannot take it now (429, 503, connection refused): nothing arrived, and trying again may help.

    `retry_after_s`: seconds that the receiver asks us to wait, as in the header Retry-After; None if it does not say.
    """

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong in the configuration: where, what, and the remedy."""

    file: str
    key: str
    message: str
    remedy: str = ""

    def __str__(self) -> str:
        where = f"{self.file}: {self.key}" if self.key else self.file
        return f"{where}: {self.message}" + (f" — {self.remedy}" if self.remedy else "")


class ConfigError(UserError):
    """The instance's YAML is wrong; `problems` lists everything that was found, not only the first."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(str(problem) for problem in self.problems))
