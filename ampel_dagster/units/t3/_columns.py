"""Columns that a user names by dotted path, checked when the configuration is read and not at night."""

from typing import Annotated

from pydantic import AfterValidator

from ampel_dagster.model.view import VIEW_FIELDS


def check_path(path: str) -> str:
    """Return `path` if `TransientView.value` can understand it, else raise ValueError with the remedy."""
    parts = path.split(".")
    if not all(parts) or path != path.strip():
        raise ValueError(f"column {path!r} is no dotted path: write product.field, e.g. light_curve_summary.ndet")
    if len(parts) == 1 and path not in VIEW_FIELDS:
        fields = ", ".join(VIEW_FIELDS)
        raise ValueError(f"column {path!r} is unknown: use one of {fields}, or product.field of a T2 result")
    return path


def _check_once_each(paths: tuple[str, ...]) -> tuple[str, ...]:
    twice = sorted({path for path in paths if paths.count(path) > 1})
    if twice:
        raise ValueError(f"columns named twice: {', '.join(twice)}")
    return paths


Path = Annotated[str, AfterValidator(check_path)]
Paths = Annotated[tuple[Path, ...], AfterValidator(_check_once_each)]
