"""Fields of packets."""

from typing import Any

import pytest

from ampel_dagster.units.t2.from_alert import FromAlert
from tests.units.t2.points import STATE, point


class TestCopies:
    POINTS = (point(1.0, magpsf=19.0, rb=0.5), point(2.0, magpsf=17.0, rb=0.9), point(3.0, magpsf=18.0, rb=0.7))

    @pytest.mark.parametrize(("of", "jd", "rb"), [("first", 1.0, 0.5), ("brightest", 2.0, 0.9), ("newest", 3.0, 0.7)])
    def test_fields_of_one_detection(self, of: Any, jd: float, rb: float) -> None:
        unit = FromAlert(columns=("rb", "drb"), of=of, names={"rb": "real_bogus"})
        found = unit.process(STATE, [*self.POINTS, point(4.0, "upper_limit", rb=0.1)], {})
        assert found == {"jd": jd, "real_bogus": rb, "drb": None}
        assert unit.needs == (("rb", "drb", "magpsf") if of == "brightest" else ("rb", "drb"))

    def test_no_detection(self) -> None:
        assert FromAlert(columns=("rb",)).process(STATE, [point(4.0, "upper_limit")], {}) == {"jd": None, "rb": None}
