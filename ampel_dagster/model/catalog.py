"""Catalogues in the database, as units see them: rows around many positions at once."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class CatalogRows(NamedTuple):
    """Rows of a catalogue, in no particular order."""

    #: In [0, 360).
    ra_deg: Floats
    dec_deg: Floats
    #: By name of the column, one plain value a row; None where it is missing.
    columns: Mapping[str, Sequence[Any]]


class LoadedCatalog(Protocol):
    """One version of one catalogue; what it answers does not change."""

    @property
    def version(self) -> str:
        """Hash of what was loaded."""

    @property
    def columns(self) -> Sequence[str]:
        """Names of the columns that can be had."""

    def near(self, ra_deg: Floats, dec_deg: Floats, radius_arcsec: float, columns: Sequence[str]) -> CatalogRows:
        """All rows within the radius of any of these positions, each row once, and some around them.

        Raises TryLaterError if this version is no longer there.
        """


class CatalogReader(Protocol):
    """The catalogues that were loaded into the database."""

    def open(self, name: str) -> LoadedCatalog | None:
        """The version in force, None if nothing of this name was loaded."""
