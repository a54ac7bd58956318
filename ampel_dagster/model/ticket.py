"""What a T2 worker holds in its hands: tickets, and what became of them."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from ampel_dagster.model.codes import DocumentCode


class Ticket(NamedTuple):
    """A ticket that this worker holds."""

    id: int
    stock: int
    #: Link of a state, id of a datapoint, or the stock itself.
    input: int
    #: State in whose course the ticket was made; 0 for stock products.
    link: int
    channel: tuple[str, ...]
    nights: tuple[str, ...]
    #: Claims so far, this one included.
    attempts: int
    #: Versions of the unit for which results are kept.
    versions: tuple[str, ...]
    #: Digest of what is stored, 0 if nothing is.
    digest: int
    #: Names the claim; a worker that was thought dead has one that nobody knows any more.
    token: int
    #: When it was claimed: of two results the one claimed later stays.
    claimed: datetime
    #: The document, for what of it becomes part of the result.
    document: Mapping[str, Any]


class Postponed(NamedTuple):
    """A ticket that is to be taken up later."""

    ticket: Ticket
    code: DocumentCode
    due: datetime
    #: Why.
    message: str


class Outcome(NamedTuple):
    """How one ticket fared."""

    ticket: Ticket
    code: int
    #: The result, None where there is none.
    result: Mapping[str, Any] | None
    #: Hash of code and result.
    digest: int
    #: Message and traceback of what went wrong.
    error: Mapping[str, str] | None
    tags: tuple[str, ...]
    #: Note for the journal.
    note: Any
    duration_s: float
