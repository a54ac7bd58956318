"""Dotted paths in the configuration, as far as it is known beforehand what they lead to; and regions of the sky."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np

from ampel_dagster.model.selection import Condition, Healpix, Inside, Region
from ampel_dagster.model.view import CURVE, CURVE_FACTS, STATE_VALUES, VIEW_FIELDS
from ampel_dagster.units.base import ValueUnit
from ampel_dagster.units.bound import Product
from ampel_dagster.units.t2._sky_region import Coverage, read_coverage

#: What a value of a condition is called, by its type.
_TYPES: Mapping[type, str] = {float: "number", str: "text", bool: "flag"}


def path_problem(path: str, products: Mapping[str, Product], value: Any = None) -> tuple[str, str] | None:
    """What is wrong with a path of which the product, if it names one, is known, as (message, remedy); else None.

    `value` is what it is compared with.
    """
    head, _, rest = path.partition(".")
    if not rest:
        if head not in VIEW_FIELDS:
            return f"{path!r} is not known", f"product.field, or one of {', '.join(VIEW_FIELDS)}"
        return _problem(head, head, VIEW_FIELDS, path, value)
    if head in products:
        return _field_problem(head, rest, products[head].unit, path, value)
    # Each channel has values of its own: `value_problem`.
    return None if head == STATE_VALUES else _problem(head, rest, CURVE_FACTS, path, value)


def value_problem(path: str, values: Mapping[str, ValueUnit], value: Any = None) -> tuple[str, str] | None:
    """The same for a path to a value of the state, of which a channel has these."""
    name, _, rest = path.partition(".")[2].partition(".")
    if name not in values:
        remedy = f"there are: {', '.join(values)}" if values else "name a T1 unit under compute"
        return f"{path} is a value of the state that is not computed", remedy
    return _field_problem(f"{STATE_VALUES}.{name}", rest, values[name], path, value)


def _field_problem(head: str, rest: str, unit: ValueUnit, path: str, value: Any) -> tuple[str, str] | None:
    there = unit.fields()
    return None if there is None else _problem(head, rest, there, path, value)


def _problem(head: str, rest: str, there: Mapping[str, str], path: str, value: Any) -> tuple[str, str] | None:
    kind = there.get(rest) or next((there[form] for form in there if fnmatchcase(rest, form)), None)
    if kind is None:
        near = get_close_matches(rest, [form for form in there if "*" not in form], n=1, cutoff=0.5)
        remedy = f"did you mean {head}.{near[0]}?" if near else f"there are: {', '.join(there)}"
        return f"{head} has no field {rest}", remedy
    said = _TYPES.get(type(value))
    if said and kind and kind != said:
        return f"{path} is a {kind}, and {value!r} a {said}", "compare it with what it can be"
    return None


def asked_products(paths: Sequence[str], products: Mapping[str, Product]) -> list[str]:
    """Names of the products that paths lead to, known or not."""
    heads = [path.partition(".")[0] for path in paths if "." in path]
    return list(dict.fromkeys(head for head in heads if head not in (CURVE, STATE_VALUES) or head in products))


def conditions(where: Sequence[str]) -> tuple[Condition, ...]:
    """Parsed conditions."""
    return tuple(Condition.parse(text) for text in where)


def test_of(region: Region, folder: Path) -> Inside:
    """The test of a region; `folder` is the instance's. Raises ValueError where its file is not there, or is no MOC."""
    if region.cone:
        return region.cone.contains
    if region.healpix:
        covered = Coverage(_moc_of(region.healpix))
    else:
        path = folder / Path(region.moc or "").expanduser()
        if not path.is_file():
            raise ValueError(f"there is no {path}; put the file there, or mend the path")
        covered = read_coverage(path)
    return lambda ra, dec: bool(covered.contains(np.array([ra]), np.array([dec]))[0])


def _moc_of(healpix: Healpix) -> Any:
    from mocpy import MOC

    pixels = np.array(sorted(set(healpix.pixels)), dtype="uint64")
    depths = np.full(len(pixels), healpix.order, dtype="uint8")
    return MOC.from_healpix_cells(pixels, depths, healpix.order)
