"""Findings of pydantic as problems that name file and key."""

from typing import Any

from pydantic import ValidationError

from ampel_dagster.model.errors import Problem


def problems_of(error: ValidationError, file: str, at: str = "") -> list[Problem]:
    """Each finding of pydantic as a problem with its key."""
    found = []
    for detail in error.errors():
        key = ".".join(str(part) for part in ((at,) if at else ()) + detail["loc"])
        message, remedy = _words(detail["type"], detail["msg"], detail["input"])
        found.append(Problem(file, key, message[:1].lower() + message[1:], remedy))
    return found


def _words(kind: str, message: str, given: Any) -> tuple[str, str]:
    """(what is wrong, what to do)."""
    if kind == "extra_forbidden":
        return "is not known here", "remove it, or mend its spelling"
    if kind == "missing":
        return "is missing", "add it"
    if kind == "value_error":
        said, _, remedy = message.removeprefix("Value error, ").partition("; ")
        return said, remedy
    if message.startswith("Input should") and isinstance(given, str | int | float | None):
        return f"{message.removeprefix('Input ')}, not {given!r:.80}", ""
    return message, ""
