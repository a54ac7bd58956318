"""Known bodies near detections."""

from typing import Any

import pytest

from ampel_dagster.units.t2.solar_system import SolarSystem
from tests.units.t2.points import STATE, point


class TestSolarSystem:
    @pytest.mark.parametrize(
        ("body", "known"),
        [
            ({"ssdistnr": 2.0, "ssmagnr": 18.0, "ssnamenr": "2003 QX1"}, True),
            ({"ssdistnr": 13.0, "ssmagnr": 18.0, "ssnamenr": "2003 QX1"}, False),
            ({"ssdistnr": 2.0, "ssmagnr": 24.0, "ssnamenr": "2003 QX1"}, False),
            ({"ssdistnr": -999.0, "ssmagnr": -999.0, "ssnamenr": "null"}, False),
            ({"ssdistnr": 0.0, "ssmagnr": -999.0, "ssnamenr": "null"}, False),
            ({"ssObjectId": 123}, True),
            ({"ssObjectId": None}, False),
        ],
    )
    def test_one_detection(self, body: dict[str, Any], known: bool) -> None:
        found = SolarSystem().process(STATE, [point(**body)], {})
        assert (found["is_known"], found["n_known"], found["n_told"]) == (known, int(known), 1)

    def test_nearest_is_named(self) -> None:
        far, near = ({"ssdistnr": d, "ssmagnr": 18.0, "ssnamenr": name} for d, name in ((5.0, "a"), (1.0, "b")))
        silent, unknown = point(4.0), point(3.0, "upper_limit", ssdistnr=0.0, ssnamenr="c")
        found = SolarSystem().process(STATE, [point(1.0, **far), point(2.0, **near), unknown, silent], {})
        assert (found["name"], found["distance_arcsec"], found["share"], found["n_told"]) == ("b", 1.0, 1.0, 2)

    def test_nothing_told(self) -> None:
        assert SolarSystem().process(STATE, [point()], {})["share"] is None
