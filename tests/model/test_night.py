"""Nights: UT dates of Julian dates, against pandas' calendar."""

import math

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ampel_dagster.model.night import jd_of_night, ut_night


@pytest.mark.parametrize(
    ("jd", "night"),
    [
        (2440587.5, "1970-01-01"),  # the Unix epoch
        (2451545.0, "2000-01-01"),  # J2000.0: noon
        (2458349.7, "2018-08-19"),  # an alert of ztf_public_20180819
        (2458349.5, "2018-08-19"),
        (2458349.499999, "2018-08-18"),
        (2458350.499999, "2018-08-19"),
        (2457754.5, "2017-01-01"),
        (2456351.5, "2013-02-28"),
        (2457447.5, "2016-02-29"),
    ],
)
def test_night_is_the_ut_date(jd: float, night: str) -> None:
    assert ut_night(jd) == night


@given(st.floats(2415020.5, 2500000.5))
def test_night_is_that_of_the_calendar(jd: float) -> None:
    day = math.floor(jd + 0.5)  # the Julian day, which begins at noon, moved to midnight
    assert ut_night(jd) == pd.to_datetime(day - 0.5, unit="D", origin="julian").strftime("%Y-%m-%d")


@given(st.dates())
def test_night_begins_at_midnight(date: object) -> None:
    night = str(date)
    assert ut_night(jd_of_night(night)) == night
    assert ut_night(jd_of_night(night) + 0.999999) == night
    if night != "0001-01-01":
        assert ut_night(jd_of_night(night) - 0.000001) < night


@pytest.mark.parametrize("jd", [float("nan"), float("inf"), -float("inf"), 1e12, -1e12, 1e300])
def test_what_is_no_date_has_no_night(jd: float) -> None:
    with pytest.raises((OverflowError, ValueError)):
        ut_night(jd)


@pytest.mark.parametrize("night", ["", "2018-13-01", "2018-02-30", "today"])
def test_what_is_no_night_has_no_begin(night: str) -> None:
    with pytest.raises(ValueError, match=r"isoformat|month|day"):
        jd_of_night(night)
