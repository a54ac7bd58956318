"""A filter of one's own, tried on a simulated night.

Run: .venv/bin/python examples/02_own_filter.py
"""

from collections import Counter

from pydantic import Field

from ampel_dagster.instruments.ztf import ZTF
from ampel_dagster.model.alert import Alert, Packet
from ampel_dagster.testing import simulate_night
from ampel_dagster.units.base import AlertFilter


class YoungInGalaxy(AlertFilter):
    """Accept what began recently beside a galaxy: group 1 while it brightens, else group 2."""

    max_age_days: float = Field(60, gt=0, description="longest time since the survey first saw it")
    min_detections: int = Field(2, ge=1, description="least number of detections in the alert")
    max_sgscore: float = Field(0.5, ge=0, le=1, description="the nearest catalogued source: 1 star, 0 galaxy")

    def accept(self, alert: Alert) -> bool | int:
        """Codes below 0 reject and say why: they are kept with the verdict."""
        candidate = alert.candidate
        if candidate["sgscore1"] > self.max_sgscore or candidate["isdiffpos"] not in ("t", "1"):
            return -1
        if alert.jd - candidate["jdstarthist"] > self.max_age_days:
            return -2
        # Only now the history, which costs ten times as much to decode as the candidate.
        before = [point.body for point in alert.detections if point.jd < alert.jd]
        if 1 + len(before) < self.min_detections:
            return -3
        same_band = [body["magpsf"] for body in before if body["fid"] == candidate["fid"]]
        return 1 if same_band and candidate["magpsf"] < same_band[0] else 2


chosen = YoungInGalaxy(max_age_days=100)
instrument = ZTF()
verdicts: Counter[tuple[str, int]] = Counter()
for simulated in simulate_night("2018-08-19", n_alerts=200):
    (alert,) = instrument.decode(Packet(simulated.to_bytes(), "simulated", 0))
    assert isinstance(alert, Alert)
    verdicts[(simulated.kind, int(chosen.accept(alert)))] += 1

for (kind, verdict), number in sorted(verdicts.items()):
    print(f"{kind:<10} {'group' if verdict > 0 else 'rejected'} {verdict:>2}: {number}")

accepted = {kind for (kind, verdict) in verdicts if verdict > 0}
assert accepted == {"supernova"}
