"""Can the object be observed tonight, and from where?"""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Annotated, Any, Literal, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from ampel_dagster.model.light_curve import LightCurve
from ampel_dagster.units.base import LightCurveUnit, Tied
from ampel_dagster.units.t2._night import Night, Place, night_at, separation_deg, visible
from ampel_dagster.units.t2._position import mean_position, mean_positions

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
SiteName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_]*$", max_length=80)]
Known = Literal[
    "apache_point",
    "calar_alto",
    "cerro_tololo",
    "haleakala",
    "keck",
    "kitt_peak",
    "la_palma",
    "la_silla",
    "las_campanas",
    "mcdonald",
    "palomar",
    "paranal",
    "rubin",
    "siding_spring",
    "sutherland",
]

#: Longitude (degrees, east is positive), latitude (degrees), height (m). Source: astropy-data, coordinates/sites.json,
#: which names its own sources (IRAF's observatory database for most); rubin: the observatory's own software (obs_lsst).
SITES: Mapping[str, Place] = {
    "apache_point": Place(-105.82, 32.78, 2798),
    "calar_alto": Place(-2.546111, 37.223611, 2168),
    "cerro_tololo": Place(-70.815, -30.165278, 2215),
    "haleakala": Place(-156.2564, 20.7067, 3067),
    "keck": Place(-155.478333, 19.828333, 4160),
    "kitt_peak": Place(-111.6, 31.963333, 2120),
    "la_palma": Place(-17.88, 28.758333, 2327),
    "la_silla": Place(-70.73, -29.256667, 2347),
    "las_campanas": Place(-70.701667, -29.003333, 2282),
    "mcdonald": Place(-104.021667, 30.671667, 2075),
    "palomar": Place(-116.863, 33.356, 1706),
    "paranal": Place(-70.404987, -24.627439, 2669),
    "rubin": Place(-70.749417, -30.244639, 2663),
    "siding_spring": Place(149.061194, -31.273361, 1149),
    "sutherland": Place(20.810808, -32.375823, 1798),
}
_NUMBERS = (
    *("hours", "dark_hours", "max_altitude_deg", "min_airmass", "best_jd"),
    *("moon_distance_deg", "moon_altitude_deg", "moon_illumination"),
)
#: Day of which the Julian date at noon is known.
_DAY, _DATE = 2451545, date(2000, 1, 1)


class Site(BaseModel):
    """Where a telescope stands (WGS84)."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    lon_deg: float = Field(ge=-180, le=360, description="longitude; east is positive")
    lat_deg: float = Field(ge=-90, le=90, description="latitude; north is positive")
    height_m: float = Field(0.0, ge=-500, le=9000, description="height above the ellipsoid")


class Observability(LightCurveUnit):
    """Tell for sites on Earth how well the object can be observed in the night that is on, or comes next.

    That is the first night whose darkness ends after the state's latest point; it is dark while the Sun is below
    `sun_altitude_deg`. The position is that of `CatalogMatch`. The result has, by name of the site:

    - `night`: date of its evening there, by mean local time; `dark_hours`: how long it is dark
    - `hours`: how long of that the object is above `min_altitude_deg`; `observable`: whether for `min_hours`
    - `max_altitude_deg`, `min_airmass` and `best_jd` (UTC), when it is highest in the dark
    - `moon_distance_deg` and `moon_altitude_deg` at `best_jd`; `moon_illumination`: share of the disc in mid-night

    What asks for darkness is None where there is none, as in summer at high latitudes; all is None without a position.
    Sun and Moon are ERFA's (https://github.com/liberfa/erfa, after IAU SOFA), the airmass that of Pickering 2002 (The
    Southern Limits of the Ancient Star Catalog, DIO 12, 20). Altitudes are without refraction, right to 0.02 degrees.
    No table is asked for and nothing is downloaded, so that results do not depend on when they are computed.
    """

    model_config = ConfigDict(allow_inf_nan=False)

    sites: tuple[Known, ...] = Field((), description="observatories that are known by name")
    places: dict[SiteName, Site] = Field(default_factory=dict, description="sites of your own, by name")
    min_altitude_deg: float = Field(30.0, ge=0, lt=90, description="lower, nobody observes; 30: airmass 2")
    sun_altitude_deg: float = Field(
        -18.0, ge=-30, le=0, description="dark is when the Sun is lower; -18: astronomical twilight, -12: nautical"
    )
    min_hours: float = Field(0.5, ge=0, le=24, description="time above min_altitude_deg to count as observable")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if not self.sites and not self.places:
            raise ValueError("name sites, or say under places where yours are")
        twice = sorted(set(self.sites) & set(self.places))
        if twice:
            raise ValueError(f"places: {twice[0]} is one of sites; give yours another name")
        return self

    def fields(self) -> dict[str, str]:
        """For each site a date, a flag, and numbers."""
        found: dict[str, str] = {}
        for name in self._places:
            found |= {f"{name}.night": "text", f"{name}.observable": "flag"}
            found |= {f"{name}.{key}": "number" for key in _NUMBERS}
        return found

    def process(self, light_curve: LightCurve, tied: Tied) -> dict[str, Any]:
        """Each site's night for one object."""
        latest = float(light_curve.jd[-1]) if len(light_curve) else float("nan")
        return self._results([mean_position(light_curve)], np.array([latest]))[0]

    def process_batch(self, points: pd.DataFrame, tied: Sequence[Tied]) -> list[dict[str, Any]]:
        """The same of many objects, those of one night at once."""
        curve, jd = points["curve"].to_numpy(), points["jd"].to_numpy()
        latest = np.full(len(tied), np.nan)
        # Points are sorted by time: of those of one curve the last one stays.
        latest[curve] = jd
        return self._results(mean_positions(points, len(tied)), latest)

    @property
    def _places(self) -> dict[str, Place]:
        own = {name: Place(site.lon_deg, site.lat_deg, site.height_m) for name, site in self.places.items()}
        return {name: SITES[name] for name in self.sites} | own

    def _results(self, positions: Sequence[tuple[float, float] | None], latest: Floats) -> list[dict[str, Any]]:
        known = np.array([n for n, position in enumerate(positions) if position is not None], dtype=np.int64)
        ra, dec = np.radians([position for position in positions if position is not None]).reshape(-1, 2).T
        directions = np.column_stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)])
        results: list[dict[str, Any]] = [{} for _ in positions]
        for name, place in self._places.items():
            found: dict[int, dict[str, Any]] = {}
            days = self._days(place, latest[known])
            for day in np.unique(days).tolist():
                mine = np.flatnonzero(days == day)
                rows = self._of_night(night_at(place, day, self.sun_altitude_deg), day, directions[mine])
                found |= dict(zip(known[mine].tolist(), rows, strict=True))
            for n, result in enumerate(results):
                result[name] = found.get(n) or _nothing()
        return results

    def _days(self, place: Place, latest: Floats) -> Integers:
        """Of each time the day (Julian date at noon) whose night is on or comes next."""
        noon: Integers = np.floor(latest + place.lon_deg / 360).astype(np.int64)
        over = {}
        for day in np.unique(noon).tolist():
            dark = night_at(place, day, self.sun_altitude_deg).dark
            over[day] = dark[1] if dark else float("inf")
        late = [time > over[day] for time, day in zip(latest.tolist(), noon.tolist(), strict=True)]
        days: Integers = noon + np.array(late, dtype=np.int64)
        return days

    def _of_night(self, night: Night, day: int, directions: Floats) -> list[dict[str, Any]]:
        evening = (_DATE + timedelta(days=day - _DAY)).isoformat()
        if night.dark is None:
            none = _nothing() | {"night": evening, "observable": False, "hours": 0.0, "dark_hours": 0.0}
            return [none | {"moon_illumination": night.moon_illumination} for _ in directions]
        best = visible(night, night.dark, directions, self.min_altitude_deg)
        moon = night.moon_at(best.best_jd)
        about_moon = (separation_deg(moon, directions), night.altitude(moon, best.best_jd))
        columns = (best.hours, best.max_altitude_deg, best.best_jd, *about_moon)
        return [
            {
                "night": evening,
                "observable": hours >= self.min_hours,
                "hours": hours,
                "dark_hours": (night.dark[1] - night.dark[0]) * 24,
                "max_altitude_deg": altitude,
                "min_airmass": airmass(altitude),
                "best_jd": jd,
                "moon_distance_deg": moon_distance,
                "moon_altitude_deg": moon_altitude,
                "moon_illumination": night.moon_illumination,
            }
            for hours, altitude, jd, moon_distance, moon_altitude in zip(*(c.tolist() for c in columns), strict=True)
        ]


def airmass(altitude_deg: float) -> float | None:
    """Air that is looked through, in units of that at the zenith; None below the horizon."""
    if altitude_deg < 0:
        return None
    return float(1 / np.sin(np.radians(altitude_deg + 244 / (165 + 47 * altitude_deg**1.1))))


def _nothing() -> dict[str, Any]:
    return dict.fromkeys(("night", "observable", *_NUMBERS))
