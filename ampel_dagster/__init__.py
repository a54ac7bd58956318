"""AMPEL on Dagster: filter, combine, analyse and react to streams of astronomical alerts.

In a notebook::

    import ampel_dagster
    transient = ampel_dagster.open()["ZTF18abcecyc"]
    transient.light_curve()
"""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ampel_dagster.notebook import Base

__version__ = "0.1.0"
__all__ = ["open"]


def open(instance: str | Path | None = None) -> "Base":
    """Open the database of an instance (default: the one in force) for looking at objects.

    Raises UserError with one line where there is no instance or no database.
    """
    from ampel_dagster.notebook import Base

    return Base.open(Path(instance) if instance is not None else None)
