"""Findings of pydantic as problems that name file and key."""

from pydantic import ValidationError

from ampel_dagster.model.errors import Problem


def problems_of(error: ValidationError, file: str, at: str = "") -> list[Problem]:
    """Each finding of pydantic as a problem with its key."""
    found = []
    for detail in error.errors():
        key = ".".join(str(part) for part in ((at,) if at else ()) + detail["loc"])
        message = detail["msg"].removeprefix("Value error, ")
        remedy = "remove it, or mend its spelling" if detail["type"] == "extra_forbidden" else ""
        if detail["type"] == "extra_forbidden":
            message = "is not known here"
        found.append(Problem(file, key, message[:1].lower() + message[1:], remedy))
    return found
