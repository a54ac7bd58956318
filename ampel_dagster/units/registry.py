"""Units by name: those of this package, and those that other packages offer under an entry point.

A package of one's own lists its units in ``pyproject.toml``::

    [project.entry-points."ampel_dagster.units"]
    MyFilter = "my_package.filters:MyFilter"
"""

from difflib import get_close_matches
from functools import cache
from importlib.metadata import entry_points
from typing import TypeVar

from ampel_dagster.units import filters, t1, t2, t3
from ampel_dagster.units.base import Unit

GROUP = "ampel_dagster.units"
_OWN: tuple[type[Unit], ...] = (*filters.UNITS, *t1.UNITS, *t2.UNITS, *t3.UNITS)
U = TypeVar("U", bound=Unit)


def unit_names(kind: type[Unit] = Unit) -> list[str]:
    """Names of all units of a kind, sorted."""
    return sorted(name for name in _all_names() if _is_kind(name, kind))


def find_unit(name: str, kind: type[U]) -> type[U]:
    """The class of a unit.

    Raises LookupError with one line that suggests the nearest name, or says that the unit is of another kind.
    """
    unit = _load(name)
    if unit is None:
        near = get_close_matches(name, unit_names(kind), n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(unit_names(kind))}"
        raise LookupError(f"no unit is called {name!r}; {hint}")
    if not issubclass(unit, kind):
        raise LookupError(f"{name} is no {kind.__name__}; there are: {', '.join(unit_names(kind))}")
    return unit


def _all_names() -> set[str]:
    return {unit.__name__ for unit in _OWN} | {entry.name for entry in entry_points(group=GROUP)}


def _is_kind(name: str, kind: type[Unit]) -> bool:
    try:
        unit = _load(name)
    except LookupError:
        return False  # somebody else's broken package; said when the unit itself is asked for
    return unit is not None and issubclass(unit, kind)


@cache
def _load(name: str) -> type[Unit] | None:
    for unit in _OWN:
        if unit.__name__ == name:
            return unit
    for entry in entry_points(group=GROUP):
        if entry.name == name:
            try:
                found = entry.load()
            except Exception as error:  # foreign code
                why = " ".join(f"{type(error).__name__}: {error}".split())
                raise LookupError(f"{name}: its package cannot be imported ({why}); mend or remove it") from error
            if isinstance(found, type) and issubclass(found, Unit):
                return found
            raise LookupError(f"{name}: entry point {entry.value} is no unit")
    return None
