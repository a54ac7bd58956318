"""The finder: where the mark stands, how long the bar is, and which way is north."""

import re
from math import cos, radians

import numpy as np
import pytest
from astropy.io.fits import Header

from ampel_dagster.model.light_curve import LightCurve
from ampel_dagster.units.t3._report_finder import finder_svg, place_of, position_map

RA, DEC = 150.0, 60.0


def wcs(scale_arcsec: float, *, flipped: bool = False) -> Header:
    """A north-up, east-left tangent plane around (RA, DEC) at pixel (11, 21), counted from 1; or one turned by 180°."""
    step = scale_arcsec / 3600 * (-1 if flipped else 1)
    return Header(
        {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRPIX1": 11, "CRPIX2": 21, "CRVAL1": RA, "CRVAL2": DEC}
        | {"CD1_1": -step, "CD1_2": 0, "CD2_1": 0, "CD2_2": step}
    )


@pytest.mark.parametrize("flipped", [False, True])
def test_a_stamp_with_coordinates_says_where_it_is_and_which_way_is_north(flipped: bool) -> None:
    place = place_of(wcs(0.2, flipped=flipped), (41, 41), RA, DEC, "lsst")
    assert place is not None
    turn = -1 if flipped else 1
    assert (place.x, place.y) == (pytest.approx(10), pytest.approx(20))
    assert place.scale_arcsec == pytest.approx(0.2, rel=1e-5)
    assert place.north == (pytest.approx(0, abs=1e-4), pytest.approx(turn))
    assert place.east == (pytest.approx(-turn), pytest.approx(0, abs=1e-4))


def test_ten_arcseconds_north_are_fifty_pixels_up() -> None:
    place = place_of(wcs(0.2), (41, 41), RA, DEC + 10 / 3600, "lsst")
    assert place is not None
    assert (place.x, place.y) == (pytest.approx(10, abs=0.01), pytest.approx(70, abs=0.01))


def test_a_stamp_without_coordinates_is_centred_on_the_object_and_has_no_north() -> None:
    place = place_of(Header(), (63, 63), RA, DEC, "ztf")
    assert place == (31, 31, 1.01, None, None)
    other = place_of(Header(), (61, 61), RA, DEC, "pgir")
    assert other is not None
    assert other.scale_arcsec is None


def test_of_a_stamp_that_is_cut_off_nothing_is_claimed() -> None:
    assert place_of(Header(), (50, 63), RA, DEC, "ztf") is None


def test_the_mark_stands_at_the_object_and_the_bar_has_its_length() -> None:
    place = place_of(wcs(0.2), (41, 41), RA, DEC, "lsst")
    assert place is not None
    svg = finder_svg("AAAA", (41, 41), place, 'x"<b>')
    # 41 pixels are 8.2 arcseconds, of which a third holds a bar of 2, 10 pixels long. Pixel 20 from below of 41.
    assert "M13.5 20.5h6M10.5 17.5v-6M3 38h10.0" in svg
    assert "2″</text>" in svg
    assert re.findall(r">([NE])</text>", svg) == ["N", "E"]
    assert 'x"<b>' not in svg


def curve(offsets_arcsec: list[tuple[float, float]], ra_deg: float = RA, bands: str = "gr") -> LightCurve:
    n = len(offsets_arcsec)
    east, north = np.array(offsets_arcsec).T
    nan = np.full(n, np.nan)
    return LightCurve(
        "ztf",
        1,
        "ZTF18aaa",
        np.arange(n),
        np.arange(n) + 2458349.5,
        np.array(["detection"] * n, dtype="U11"),
        np.array([bands[i % len(bands)] for i in range(n)], dtype="U40"),
        *(nan,) * 5,
        np.ones(n, dtype=np.bool_),
        (ra_deg + east / 3600 / cos(radians(DEC))) % 360,
        DEC + north / 3600,
    )


def test_the_map_has_east_on_the_left_and_north_above() -> None:
    # Farthest is 1 arcsecond: the outer circle, which has 90 units.
    shown = position_map(curve([(1, 0), (0, 1)]), RA, DEC)
    assert '#at-1" x="-90.0" y="-0.0"' in shown
    assert '#at-2" x="-0.0" y="-90.0"' in shown
    assert "1″ circle" in shown


def test_the_scatter_is_that_of_the_detections() -> None:
    # Corners of a square with sides of 2 arcseconds are sqrt(2) from its middle.
    shown = position_map(curve([(0, 0), (2, 0), (0, 2), (2, 2)]), RA, DEC)
    assert "4 detections, scatter 1.41″" in shown


def test_the_map_goes_across_the_meridian() -> None:
    shown = position_map(curve([(0.5, 0)], ra_deg=359.99999), 359.99999, DEC)
    assert 'x="-90.0"' in shown


def test_without_a_position_there_is_no_map() -> None:
    assert position_map(curve([(0, 0)]), float("nan"), DEC) == ""
    assert position_map(curve([(0, 0)]).where(np.array([False])), RA, DEC) == ""
