"""Is it a known body of the solar system?"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from pydantic import ConfigDict, Field

from ampel_dagster.model.datapoint import DataPoint
from ampel_dagster.model.stock import State
from ampel_dagster.units.base import StateUnit, Tied

#: What packets write where they know of no body.
_NOBODY = frozenset((None, "", "null", "None", "NONE"))


class SolarSystem(StateUnit):
    """Tell known bodies of the solar system near each detection, from what the packets say.

    ZTF and PGIR: `ssdistnr` (arcsec, below 0: none), `ssmagnr`, `ssnamenr`
    (https://zwickytransientfacility.github.io/ztf-avro-alert, candidate); Rubin: `ssObjectId` of a detection that was
    linked to one. A detection is of a body if the body is at most `radius_arcsec` away and, where the packet tells its
    magnitude, brighter than `max_mag`. The result has `is_known` (any detection), `share` (of the detections that tell
    at all), `name`, `distance_arcsec` and `mag` of the nearest, and `n_known`, `n_told`.
    """

    model_config = ConfigDict(allow_inf_nan=False)
    needs: ClassVar[tuple[str, ...]] = ("ssdistnr", "ssmagnr", "ssnamenr", "ssObjectId")

    radius_arcsec: float = Field(12.0, gt=0, description="largest distance of a body from the detection")
    max_mag: float = Field(23.0, description="fainter bodies could not have been seen")

    def fields(self) -> dict[str, str]:
        """A flag, numbers, a name."""
        numbers = dict.fromkeys(("share", "distance_arcsec", "mag", "n_known", "n_told"), "number")
        return {"is_known": "flag", "name": "text", **numbers}

    def process(self, state: State, points: Sequence[DataPoint], tied: Tied) -> dict[str, Any]:
        """What the detections of one state say."""
        told = [body for point in points if point.kind == "detection" and (body := _body(point.body)) is not None]
        known = [body for body in told if self._is_near(*body)]
        nearest = min(known, default=None, key=lambda body: body[0])
        distance_arcsec, mag, name = nearest or (None, None, None)
        return {
            "is_known": bool(known),
            "share": len(known) / len(told) if told else None,
            "name": name,
            "distance_arcsec": distance_arcsec,
            "mag": mag,
            "n_known": len(known),
            "n_told": len(told),
        }

    def _is_near(self, distance_arcsec: float, mag: float | None, name: str | None) -> bool:
        return name is not None and 0 <= distance_arcsec <= self.radius_arcsec and (mag is None or mag <= self.max_mag)


def _body(fields: Mapping[str, Any]) -> tuple[float, float | None, str | None] | None:
    """Distance, magnitude and name of the nearest body; None where the packet tells nothing of such things."""
    if fields.get("ssObjectId"):
        return 0.0, None, str(fields["ssObjectId"])
    if fields.get("ssdistnr") is None:
        return (0.0, None, None) if "ssObjectId" in fields else None
    name = fields.get("ssnamenr")
    mag = fields.get("ssmagnr")
    distance = float(fields["ssdistnr"])
    named = None if name in _NOBODY else str(name).strip()
    return distance, float(mag) if mag is not None and mag > 0 else None, named if distance >= 0 else None
