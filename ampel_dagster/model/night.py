"""Nights: the date that a Dagster partition is named after (``YYYY-MM-DD``)."""

from datetime import date, timedelta
from functools import lru_cache
from math import floor

#: Julian date of 1970-01-01T00:00 UT.
JD_UNIX_EPOCH = 2440587.5
_EPOCH = date(1970, 1, 1)


@lru_cache(maxsize=65536)
def _iso(day: int) -> str:
    return (_EPOCH + timedelta(days=day)).isoformat()


def ut_night(jd: float) -> str:
    """UT date of a Julian date, as the nightly archives of ZTF are named: 2458349.7 -> '2018-08-19'.

    Raises OverflowError or ValueError where `jd` is not a date at all (NaN, infinite, beyond year 9999).
    """
    return _iso(floor(jd - JD_UNIX_EPOCH))


def jd_of_night(night: str) -> float:
    """Julian date at which a UT night begins."""
    return JD_UNIX_EPOCH + (date.fromisoformat(night) - _EPOCH).days


def nights_between(first: str, last: str) -> list[str]:
    """All nights from a first to a last, both among them."""
    begin, days = date.fromisoformat(first), (date.fromisoformat(last) - date.fromisoformat(first)).days
    return [(begin + timedelta(days=day)).isoformat() for day in range(days + 1)]
