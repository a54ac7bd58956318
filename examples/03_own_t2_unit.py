"""A T2 unit of one's own: plain Python, tried on a light curve that is made on the spot.

Run: .venv/bin/python examples/03_own_t2_unit.py
"""

from typing import Any, ClassVar

import numpy as np
from pydantic import Field, ValidationError

from ampel_dagster.instruments.ztf import ZTF
from ampel_dagster.model.alert import Alert, Packet
from ampel_dagster.model.light_curve import LightCurve
from ampel_dagster.model.result import UnitResult
from ampel_dagster.testing import encode_packet, make_alert, make_detection
from ampel_dagster.units.base import LightCurveUnit, Tied


class BrighteningRate(LightCurveUnit):
    """Slope of the magnitudes of one band, in magnitudes a day; below 0 the source brightens."""

    #: To be raised when the same light curve gives another result than before.
    version: ClassVar[str] = "1"

    band: str = Field("r", description="band to look at")
    min_points: int = Field(3, ge=2, description="least number of detections")

    def process(self, light_curve: LightCurve, tied: Tied) -> dict[str, Any] | UnitResult:
        """Codes of one's own are above 0: here 1, for too few points."""
        points = light_curve.detections.in_band(self.band)
        if len(points) < self.min_points:
            return UnitResult({"n_points": len(points)}, code=1)
        slope = np.polyfit(points.jd - points.jd[0], points.mag, 1)[0]
        return {"n_points": len(points), "mag_per_day": slope}


history = [make_detection(jd=2458349.7 - days, mag=18.0 + 0.2 * days) for days in (6, 4, 2)]
packet = Packet(encode_packet(make_alert(jd=2458349.7, mag=18.0, history=history)), "made-up", 0)
(alert,) = ZTF().decode(packet)
assert isinstance(alert, Alert)
light_curve = ZTF().light_curve(alert.stock, alert.points)
print(light_curve.to_pandas()[["jd", "kind", "band", "mag"]])

result = BrighteningRate().process(light_curve, {})
nothing = BrighteningRate(band="g").process(light_curve, {})
print("r:", result)
print("g:", nothing)

try:
    BrighteningRate.model_validate({"bands": "r"})
except ValidationError as error:
    print("misspelt:", error.errors()[0]["msg"])

assert isinstance(result, dict)
assert abs(result["mag_per_day"] + 0.2) < 1e-6
assert nothing == UnitResult({"n_points": 0}, code=1)
