"""One night at one place: twilights, the Moon, which positions stand how high. By formulas, without tables.

Sun, Moon, precession, nutation and sidereal time are those of ERFA, the free form of the IAU's SOFA library
(https://www.iausofa.org; the Moon after Meeus 1998, the Earth's orbit after VSOP2000). What is left out: UT1 - UTC (at
most 0.9 s, 14 arcsec), aberration (21 arcsec), polar motion (0.3 arcsec), and refraction (34 arcmin at the horizon, 1.7
at 30 degrees): altitudes are without air.
"""

from functools import lru_cache
from math import cos, pi, radians, sin
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

#: TT - UTC since 2017; the Moon moves by half an arcsecond in each second that this is wrong.
_TT_MINUS_UTC_DAYS = 69.184 / 86400
#: Turns of the Earth in a day of UT1, by mean sidereal time. Source: IERS Conventions 2010 (and erfa.gmst06).
_TURNS_PER_DAY = 1.002737909350795
_AU_M = 149597870700.0
#: Points of the grids: every 10 minutes is it looked whether it is dark, every 30 where the Moon is, which in between
#: moves along a straight line to within 0.002 degrees.
_SUN_STEPS, _MOON_STEPS = 145, 49


class Place(NamedTuple):
    """Where a telescope stands (WGS84)."""

    #: East is positive.
    lon_deg: float
    lat_deg: float
    height_m: float


class Night(NamedTuple):
    """From one mean noon to the next at a place."""

    place: Place
    #: Julian dates (UTC) between which the Sun is below the limit; None where it never is.
    dark: tuple[float, float] | None
    middle_jd: float
    #: Local apparent sidereal time at `middle_jd`, in radians.
    middle_sidereal: float
    #: Turns vectors of the ICRS to the equator and equinox of date.
    to_date: Floats
    moon_jd: Floats
    #: Vectors from the place to the Moon (ICRS), in astronomical units.
    moon: Floats
    #: Share of the Moon's disc that is lit, at `middle_jd`.
    moon_illumination: float

    def sidereal(self, jd: Any) -> Any:
        """Local apparent sidereal time in radians, not reduced to one turn."""
        return self.middle_sidereal + 2 * pi * _TURNS_PER_DAY * (jd - self.middle_jd)

    def equatorial(self, directions: Floats) -> tuple[Floats, Floats]:
        """Right ascension and declination of date, in radians, of unit vectors (ICRS), one a row."""
        # Term by term: a product of matrices is rounded otherwise for many rows than for one.
        x, y, z = (
            row[0] * directions[:, 0] + row[1] * directions[:, 1] + row[2] * directions[:, 2] for row in self.to_date
        )
        return np.arctan2(y, x), np.arctan2(z, np.hypot(x, y))

    def moon_at(self, jd: Floats) -> Floats:
        """Unit vectors (ICRS) from the place to the Moon, one a row."""
        found: Floats = np.column_stack([np.interp(jd, self.moon_jd, self.moon[:, axis]) for axis in range(3)])
        return found / _length(found)[:, np.newaxis]

    def altitude(self, directions: Floats, jd: Floats) -> Floats:
        """Altitude in degrees of unit vectors (ICRS), each at its time."""
        ra, dec = self.equatorial(directions)
        return np.degrees(np.arcsin(np.clip(_sin_altitude(self.place, dec, self.sidereal(jd) - ra), -1, 1)))


class Visibility(NamedTuple):
    """Of positions in the dark of one night, one value a position."""

    max_altitude_deg: Floats
    #: When it is reached.
    best_jd: Floats
    #: Hours above the limit.
    hours: Floats


def visible(night: Night, dark: tuple[float, float], directions: Floats, min_altitude_deg: float) -> Visibility:
    """How high and how long unit vectors (ICRS) stand above an altitude between two times (Julian dates).

    A fixed position goes in a circle about the pole, so that its highest point and the times at which it passes an
    altitude follow from its hour angle: no grid of times is needed.
    """
    ra, dec = night.equatorial(directions)
    place = night.place
    rate = 2 * pi * _TURNS_PER_DAY
    # Hour angle at dusk, from half a turn before the meridian to half a turn after it, and at dawn.
    begin = (night.sidereal(dark[0]) - ra + pi) % (2 * pi) - pi
    end = begin + rate * (dark[1] - dark[0])
    transits = np.where((begin <= 0) & (end >= 0), 0.0, 2 * pi)
    nearer = np.where(np.cos(begin) >= np.cos(end), begin, end)
    best = np.where((begin <= transits) & (transits <= end), transits, nearer)
    highest = np.degrees(np.arcsin(np.clip(_sin_altitude(place, dec, best), -1, 1)))
    reach = _half_arc(place, dec, min_altitude_deg)
    above = np.zeros(len(ra))
    for turn in (0.0, 2 * pi, 4 * pi):
        above += np.clip(np.minimum(end, turn + reach) - np.maximum(begin, turn - reach), 0, None)
    return Visibility(highest, dark[0] + (best - begin) / rate, above / rate * 24)


@lru_cache(maxsize=2048)
def night_at(place: Place, day: int, sun_altitude_deg: float) -> Night:
    """The night that begins at mean noon of a day (its Julian date at noon) at a place."""
    import erfa

    begin = day - place.lon_deg / 360
    middle = begin + 0.5
    to_date: Floats = erfa.pnm06a(middle, _TT_MINUS_UTC_DAYS)
    greenwich = float(erfa.gst06(middle, 0.0, middle, _TT_MINUS_UTC_DAYS, to_date))
    night = Night(
        place, None, middle, greenwich + radians(place.lon_deg), to_date, np.empty(0), np.empty((0, 3)), float("nan")
    )
    ends = np.array([begin, middle, begin + 1])
    suns = -erfa.epv00(ends, _TT_MINUS_UTC_DAYS)[0]["p"]
    moon_jd = np.linspace(begin, begin + 1, _MOON_STEPS)
    geocentric = erfa.moon98(moon_jd, _TT_MINUS_UTC_DAYS)["p"]
    lit = _lit_share(geocentric[_MOON_STEPS // 2], suns[1])
    moon = geocentric - _from_centre(night, moon_jd)
    return night._replace(
        dark=_dark(night, ends, suns, sun_altitude_deg), moon_jd=moon_jd, moon=moon, moon_illumination=lit
    )


def _dark(night: Night, jd: Floats, suns: Floats, sun_altitude_deg: float) -> tuple[float, float] | None:
    """The time in which the Sun is below an altitude; its place is known at three times."""
    from scipy.optimize import brentq

    def above(times: Floats) -> Floats:
        sun = np.column_stack([np.interp(times, jd, suns[:, axis]) for axis in range(3)])
        return night.altitude(sun / _length(sun)[:, np.newaxis], times) - sun_altitude_deg

    times = np.linspace(jd[0], jd[-1], _SUN_STEPS)
    below = np.flatnonzero(above(times) < 0)
    if len(below) == 0:
        return None

    def crossing(dark: int, light: int) -> float:
        if not 0 <= light < len(times):
            return float(times[dark])
        return float(brentq(lambda time: above(np.array([time]))[0], times[dark], times[light], xtol=1e-6))

    first, last = int(below[0]), int(below[-1])
    return crossing(first, first - 1), crossing(last, last + 1)


def _lit_share(moon: Floats, sun: Floats) -> float:
    """(1 + cos i) / 2, i the angle between Sun and Earth as the Moon sees it. Source: Meeus 1998, chapter 48."""
    to_sun = sun - moon
    return float((1 - moon @ to_sun / (np.linalg.norm(moon) * np.linalg.norm(to_sun))) / 2)


def _from_centre(night: Night, jd: Floats) -> Floats:
    """Vectors (ICRS) from the Earth's centre to the place, in astronomical units."""
    import erfa

    place = night.place
    x, y, z = erfa.gd2gc(1, radians(place.lon_deg), radians(place.lat_deg), place.height_m) / _AU_M
    angle = night.sidereal(jd)
    of_date = np.column_stack([np.hypot(x, y) * np.cos(angle), np.hypot(x, y) * np.sin(angle), np.full(len(jd), z)])
    vectors: Floats = of_date @ night.to_date
    return vectors


def separation_deg(first: Floats, second: Floats) -> Floats:
    """Angles between unit vectors, row by row; exact for small ones too."""
    angles: Floats = 2 * np.degrees(np.arcsin(np.clip(_length(first - second) / 2, 0, 1)))
    return angles


def _length(vectors: Floats) -> Floats:
    lengths: Floats = np.sqrt(vectors[:, 0] ** 2 + vectors[:, 1] ** 2 + vectors[:, 2] ** 2)
    return lengths


def _sin_altitude(place: Place, dec: Floats, hour_angle: Floats) -> Floats:
    lat = radians(place.lat_deg)
    found: Floats = sin(lat) * np.sin(dec) + cos(lat) * np.cos(dec) * np.cos(hour_angle)
    return found


def _half_arc(place: Place, dec: Floats, min_altitude_deg: float) -> Floats:
    """Hour angle, in radians, up to which a declination is above an altitude: 0 if it never is, pi if always."""
    lat = radians(place.lat_deg)
    wanted = sin(radians(min_altitude_deg)) - sin(lat) * np.sin(dec)
    swing = cos(lat) * np.cos(dec)
    crosses = np.abs(wanted) < swing
    arc = np.arccos(np.divide(wanted, swing, out=np.zeros_like(wanted), where=crosses))
    return np.where(crosses, arc, np.where(wanted < 0, pi, 0.0))
