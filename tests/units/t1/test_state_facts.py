"""StateFacts: counts and times by arithmetic, None where nothing can be told."""

from typing import Any

import numpy as np
import pytest

from ampel_dagster.instruments.ztf import ZTF
from ampel_dagster.model.alert import Packet
from ampel_dagster.model.light_curve import LightCurve
from ampel_dagster.testing import encode_packet, make_alert, make_detection, make_limit
from ampel_dagster.units.t1.state_facts import StateFacts

JD = 2458349.7


def curve(**more: Any) -> LightCurve:
    """Two limits, one detection in g two days ago, and the alert in r."""
    history = [
        make_limit(jd=JD - 9, maglim=20.9),
        make_limit(jd=JD - 5, maglim=20.1),
        make_detection(jd=JD - 2, mag=18.2, band="g"),
        make_limit(jd=JD - 1, maglim=19.0),
    ]
    packet = encode_packet(make_alert(jd=JD, mag=18.5, history=history, cutouts=False, **more))
    (alert,) = ZTF().decode(Packet(packet, "made-up", 0))
    return ZTF().light_curve(alert.stock, alert.points)


def test_counts_times_and_magnitudes() -> None:
    facts = StateFacts().compute(curve())
    counts = {key: facts[key] for key in ("n_detections", "n_negative", "n_upper_limits", "n_forced", "n_bands")}
    assert counts == {"n_detections": 2, "n_negative": 0, "n_upper_limits": 3, "n_forced": 0, "n_bands": 2}
    assert facts["age_days"] == pytest.approx(2.0)
    assert (facts["last_band"], facts["last_mag"]) == ("r", pytest.approx(18.5, abs=1e-5))
    assert facts["peak_mag"] == pytest.approx(18.2, abs=1e-5)
    # The limit of the day before is later than the first detection: it does not say that the object is young.
    assert facts["last_limit_mag"] == pytest.approx(20.1, abs=1e-5)
    assert facts["days_from_limit"] == pytest.approx(3.0)


def test_fainter_than_the_reference_is_counted() -> None:
    assert StateFacts().compute(curve(positive=False))["n_negative"] == 1


def test_nothing_seen() -> None:
    whole = curve()
    facts = StateFacts().compute(whole.where(np.asarray(whole.kind == "upper_limit")))
    assert (facts["n_detections"], facts["n_upper_limits"], facts["first_jd"], facts["peak_mag"]) == (0, 3, None, None)


def test_it_tells_all_its_fields() -> None:
    assert set(StateFacts().compute(curve())) == set(StateFacts().fields())
