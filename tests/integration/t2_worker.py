"""A worker of T2 in a process of its own: works until there is nothing left, slowly enough to be killed at it.

Arguments: address and name of the database, name of the run.
"""

import sys
import time
from collections.abc import Sequence
from typing import Any, ClassVar

from ampel_dagster.instruments.ztf import ZTF
from ampel_dagster.model.datapoint import DataPoint
from ampel_dagster.model.run import RunInfo
from ampel_dagster.model.stock import State
from ampel_dagster.pipeline.t2_augment import Augmentation, augment, write_results
from ampel_dagster.pipeline.write_ahead import write_ahead
from ampel_dagster.storage.store import Store
from ampel_dagster.units.base import StateUnit, Tied
from ampel_dagster.units.bound import Limits, Product


class Length(StateUnit):
    """Number of points, and who counted them."""

    needs: ClassVar[tuple[str, ...] | None] = ()

    def process(self, state: State, points: Sequence[DataPoint], tied: Tied) -> dict[str, Any]:
        """Takes its time."""
        time.sleep(0.01)
        return {"n": len(state.dps)}


class Twice(StateUnit):
    """Builds upon the other."""

    needs: ClassVar[tuple[str, ...] | None] = ()
    requires: ClassVar[tuple[str, ...]] = ("Length",)

    def process(self, state: State, points: Sequence[DataPoint], tied: Tied) -> dict[str, Any]:
        """Twice the number."""
        return {"twice": 2 * tied["Length"]["n"]}


#: Workers die more often here than anywhere; no ticket shall be given up for it.
LENGTH = Product("length", Length(), (), Limits(attempts=100))
TWICE = Product("twice", Twice(), (LENGTH,), Limits(attempts=100))


def main(uri: str, database: str, name: str) -> None:
    """Work."""
    store = Store.open(uri, database)
    work = Augmentation(store, ZTF(), [LENGTH, TWICE], RunInfo(name, 1), {}, size=7, lease_s=2.0)
    write_ahead(augment(work), lambda results: write_results(work, results))
    store.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
