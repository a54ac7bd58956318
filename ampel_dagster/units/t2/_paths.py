"""Values of tied results by dotted paths."""

from collections.abc import Mapping
from typing import Any

from ampel_dagster.units.base import Tied


def value_at(tied: Tied, path: str) -> Any:
    """What stands at a path that begins with the name of a product or unit; None where nothing does."""
    found: Any = tied
    for part in path.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def heads(paths: tuple[str, ...]) -> tuple[str, ...]:
    """Names of units that paths begin with: classes begin with a capital, products need not be declared."""
    first = (path.partition(".")[0] for path in paths)
    return tuple(dict.fromkeys(head for head in first if head[:1].isupper()))
