"""The way to a database by its address, with errors that a user can act on and that show no secret."""

import re
from datetime import UTC
from typing import Any

import pymongo
from pymongo import MongoClient
from pymongo.errors import ConfigurationError, OperationFailure, PyMongoError
from pymongo.uri_parser import parse_uri

from ampel_dagster.model.errors import StorageError

_HIDDEN = "***"
_UNAUTHORIZED = 13
_AUTHENTICATION_FAILED = 18
#: Options whose values are, or may hold, secrets.
_SECRET_OPTION = re.compile(r"([?&;][^=&;]*(?:pass|token|secret|properties)[^=&;]*=)[^&;]*", re.IGNORECASE)
#: What the driver and the operating system raise for an address that is wrong.
_BAD_ADDRESS = (PyMongoError, ValueError, TypeError, OSError)


def connect(uri: str, *, timeout_s: float = 5.0) -> MongoClient[dict[str, Any]]:
    """Open a client and make sure that the database answers and lets us in.

    Dates come back in UTC and with a time zone. `timeout_s` (seconds) bounds this first contact only;
    later operations wait as long as the options in `uri` say. Raises StorageError where the address is
    wrong, nobody answers there, or the login is refused.
    """
    shown = redact(uri)
    _check(uri, shown, timeout_s)
    try:
        client: MongoClient[dict[str, Any]] = MongoClient(
            uri, tz_aware=True, tzinfo=UTC, appname="ampel_dagster", connect=False
        )
    except _BAD_ADDRESS as error:
        raise StorageError(_wrong_address(shown, _one_line(error))) from None
    try:
        with pymongo.timeout(timeout_s):
            _greet(client)
    except PyMongoError as error:
        client.close()
        raise StorageError(_explain(error, shown, timeout_s)) from error
    return client


def redact(uri: str) -> str:
    """The address without user, password and secret options, fit to be shown; also of a wrong address."""
    scheme = re.match(r"(?:[A-Za-z][A-Za-z0-9+.-]*://)?", uri)
    start = scheme.end() if scheme else 0
    login, mark, rest = uri[start:].rpartition("@")  # the last one: an unescaped password may hold others
    if mark:
        login = f"{_HIDDEN}:{_HIDDEN}" if ":" in login else _HIDDEN
    else:
        # Where the host was forgotten, the password stands in place of the port.
        rest = re.sub(r"^([^/?\[\]:]*):(?!\d*(?:[,/?]|$))[^/?]*", rf"\1:{_HIDDEN}", rest)
    return uri[:start] + login + mark + _SECRET_OPTION.sub(rf"\1{_HIDDEN}", rest)


def _check(uri: str, shown: str, timeout_s: float) -> None:
    """Refuse an address that is wrong in itself; the driver alone would only warn of a wrong option."""
    try:
        parse_uri(uri, warn=False, connect_timeout=timeout_s)
    except _BAD_ADDRESS:
        raise StorageError(_wrong_address(shown, _complaint(shown, timeout_s))) from None


def _complaint(shown: str, timeout_s: float) -> str:
    """What is wrong, asked of the address as it is shown: then the driver's answer cannot hold a secret."""
    try:
        parse_uri(shown, warn=False, connect_timeout=timeout_s)
    except _BAD_ADDRESS as error:
        return _one_line(error)
    return "user and password must be percent-encoded"


def _greet(client: MongoClient[dict[str, Any]]) -> None:
    client.admin.command("ping")
    # A ping is answered without a login. This is not, yet everybody who is logged in may ask it. Only a
    # refusal for want of a login counts, as not every server that speaks the protocol knows the command.
    try:
        client.admin.command("listDatabases", nameOnly=True, authorizedDatabases=True)
    except OperationFailure as error:
        if error.code == _UNAUTHORIZED:
            raise


def _explain(error: PyMongoError, shown: str, timeout_s: float) -> str:
    if isinstance(error, OperationFailure) and error.code == _AUTHENTICATION_FAILED:
        return f"the database at {shown} refuses the login: check user, password, authSource in AMPEL_MONGO_URI"
    if isinstance(error, OperationFailure) and error.code == _UNAUTHORIZED:
        return f"the database at {shown} wants a login: put user and password into AMPEL_MONGO_URI"
    if isinstance(error, OperationFailure):
        return f"the database at {shown} refuses: {_one_line(error)}: check AMPEL_MONGO_URI"
    if isinstance(error, ConfigurationError):
        return _wrong_address(shown, _one_line(error))
    return (
        f"no answer from the database at {shown} within {timeout_s:g} s ({_one_line(error)}): "
        "check AMPEL_MONGO_URI, and that the server runs"
    )


def _wrong_address(shown: str, reason: str) -> str:
    return f"wrong database address {shown or '(empty)'}: {reason.rstrip('.')}: check AMPEL_MONGO_URI"


def _one_line(error: Exception) -> str:
    """The driver's message without its account of timeouts and topology."""
    text = re.split(r" \(configured timeouts|, Timeout: |, full error", str(error))[0]
    return " ".join(text.split())[:300]
