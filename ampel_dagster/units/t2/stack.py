"""Several results side by side, as one row of a table."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field

from ampel_dagster.model.datapoint import DataPoint
from ampel_dagster.model.stock import State
from ampel_dagster.units.base import StateUnit, Tied
from ampel_dagster.units.t2._paths import heads, value_at


class Stack(StateUnit):
    """Join values of several products into one flat row, under names of your own.

    The products are those that ``requires:`` of the YAML names; paths begin with the name of a product, or of its unit.
    A value that is not there is None; `complete` says whether all are.
    """

    columns: dict[str, str] = Field(min_length=1, description="path in a tied result by name of the column")

    @property
    def needs(self) -> tuple[str, ...]:  # type: ignore[override]  # by the configuration
        """No datapoint at all."""
        return ()

    @property
    def requires(self) -> tuple[str, ...]:  # type: ignore[override]  # by the configuration
        """Units that the paths name."""
        return heads(tuple(self.columns.values()))

    def fields(self) -> dict[str, str]:
        """The columns."""
        return {"complete": "flag", **dict.fromkeys(self.columns, "")}

    def process(self, state: State, points: Sequence[DataPoint], tied: Tied) -> Mapping[str, Any]:
        """The row of one state."""
        row = {name: value_at(tied, path) for name, path in self.columns.items()}
        return {**row, "complete": all(value is not None for value in row.values())}
