"""The default combiner."""

from collections.abc import Iterable, Sequence
from typing import ClassVar

from pydantic import Field

from ampel_dagster.model.datapoint import Kind
from ampel_dagster.units.base import T1Combiner


class SimpleCombiner(T1Combiner):
    """Join all points; of those of one exposure (equal jd and sensor) take the one with the largest id.

    AMPEL's `ZiMongoMuxer` and `ZiT1Combiner` together: the survey may publish several candidates, or a reprocessed
    one, for one exposure. Forced photometry is measured on its own and competes with forced photometry only.
    """

    grows: ClassVar[bool] = True

    upper_limits: bool = Field(True, description="whether upper limits are part of a state")
    forced: bool = Field(True, description="whether forced photometry is part of a state")

    def combine(self, points: Sequence[tuple[int, Kind, float, int]]) -> Iterable[int]:
        """Ids of the state's datapoints."""
        best: dict[tuple[float, int, bool], int] = {}
        left_out = {
            kind for kind, wanted in (("upper_limit", self.upper_limits), ("forced", self.forced)) if not wanted
        }
        for id_, kind, jd, sensor in points:
            if kind in left_out:
                continue
            exposure = (jd, sensor, kind == "forced")
            if best.get(exposure, id_) <= id_:
                best[exposure] = id_
        return best.values()

    def reason(self, kind: Kind) -> str:
        """Its kind, where points of it are left out; else another point of its exposure has a larger id."""
        wanted = {"upper_limit": self.upper_limits, "forced": self.forced}
        return "superseded" if wanted.get(kind, True) else kind
