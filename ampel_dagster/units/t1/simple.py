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
        if not (self.upper_limits and self.forced):
            wanted = {"upper_limit": self.upper_limits, "forced": self.forced}
            points = [point for point in points if wanted.get(point[1], True)]
        if len({jd for _, _, jd, _ in points}) == len(points):
            return [id_ for id_, _, _, _ in points]  # nearly always
        # In the order of ids, so that the largest stays.
        return {(jd, sensor, kind == "forced"): id_ for id_, kind, jd, sensor in sorted(points)}.values()

    def reason(self, kind: Kind) -> str:
        """Its kind, where points of it are left out; else another point of its exposure has a larger id."""
        wanted = {"upper_limit": self.upper_limits, "forced": self.forced}
        return "superseded" if wanted.get(kind, True) else kind
