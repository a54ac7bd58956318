"""Fields of the packets, as results."""

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field

from ampel_dagster.model.datapoint import DataPoint
from ampel_dagster.model.stock import State
from ampel_dagster.units.base import StateUnit, Tied


class FromAlert(StateUnit):
    """Copy chosen fields of a detection, in the survey's own names, so that selections and reports can use them.

    The result has the fields by the names that `names` gives them, and `jd` of the detection. A field that the packet
    lacks is None. Older packets of a survey tell less of their history than of the alert itself: a field may be there
    in the newest detection only.
    """

    columns: tuple[str, ...] = Field(min_length=1, description="fields of the candidate, as in rb, ssdistnr")
    of: Literal["newest", "first", "brightest"] = Field("newest", description="which detection")
    names: dict[str, str] = Field(default_factory=dict, description="other names for fields in the result")
    brightness: str = Field("magpsf", description="field by which the brightest is chosen, a magnitude")

    @property
    def needs(self) -> tuple[str, ...]:  # type: ignore[override]  # by the configuration
        """The fields that are asked for."""
        return tuple(dict.fromkeys((*self.columns, *((self.brightness,) if self.of == "brightest" else ()))))

    def fields(self) -> dict[str, str]:
        """Whatever the packets hold."""
        return {"jd": "number", **{self.names.get(name, name): "" for name in self.columns}}

    def process(self, state: State, points: Sequence[DataPoint], tied: Tied) -> dict[str, Any]:
        """The fields of one detection."""
        detections = [point for point in points if point.kind == "detection"]
        chosen = self._choose(detections)
        body = chosen.body if chosen else {}
        found = {self.names.get(name, name): body.get(name) for name in self.columns}
        return {"jd": chosen.jd if chosen else None, **found}

    def _choose(self, detections: Sequence[DataPoint]) -> DataPoint | None:
        if not detections:
            return None
        if self.of == "brightest":
            known = [point for point in detections if point.body.get(self.brightness) is not None]
            return min(known, key=lambda point: (point.body[self.brightness], point.jd), default=None)
        return detections[0 if self.of == "first" else -1]
