"""A table of the selection, for spreadsheets, notebooks and other programs."""

from collections.abc import Sequence
from typing import Any, Literal

import pandas as pd
from pydantic import Field

from ampel_dagster.model.population import column
from ampel_dagster.model.view import Artefact, ReactionContext, TransientView
from ampel_dagster.units.base import Report
from ampel_dagster.units.t3._columns import Path, Paths
from ampel_dagster.units.t3._files import write_whole


class TransientTable(Report):
    """Write one row an object as `table.csv` and `table.parquet`; the columns are dotted paths.

    The same objects give the same CSV, byte by byte. Nested values become JSON text, missing ones stay empty.
    """

    #: One column each: a property of the object, or product.field of a result.
    columns: Paths = Field(min_length=1)
    #: Files to write: csv, parquet.
    formats: tuple[Literal["csv", "parquet"], ...] = Field(default=("csv", "parquet"), min_length=1)
    #: Path to sort by, which need not be a column; without it the order of the selection stays.
    sort_by: Path | None = None
    #: Largest first.
    descending: bool = False

    @property
    def paths(self) -> Sequence[str]:
        """The columns, and what they are sorted by."""
        return (*self.columns, self.sort_by) if self.sort_by else self.columns

    def write(self, views: Sequence[TransientView], context: ReactionContext) -> Sequence[Artefact]:
        """Write the table in each of the formats."""
        frame = self.frame(views)
        title = f"Table of {context.channel}, {context.night}"
        artefacts = []
        for kind in dict.fromkeys(self.formats):
            path = context.folder / f"table.{kind}"
            if kind == "csv":
                write_whole(path, lambda file: frame.to_csv(file, index=False, lineterminator="\n"))
            else:
                write_whole(path, lambda file: frame.to_parquet(file, index=False))
            artefacts.append(Artefact(path, f"{title} ({kind})", len(frame)))
        return artefacts

    def frame(self, views: Sequence[TransientView]) -> pd.DataFrame:
        """The table as a DataFrame; objects without a value to sort by come last."""
        # Gone through once: the views may be more than memory holds, of which only these values stay.
        values: list[list[Any]] = [[] for _ in self.paths]
        for view in views:
            for found, path in zip(values, self.paths, strict=True):
                found.append(view.value(path))
        data = {path: column(found) for path, found in zip(self.columns, values, strict=False)}
        frame = pd.DataFrame(data, columns=list(self.columns))
        if self.sort_by is None:
            return frame
        key = column(values[-1])
        order = key.sort_values(ascending=not self.descending, kind="stable", na_position="last").index
        return frame.loc[order].reset_index(drop=True)
