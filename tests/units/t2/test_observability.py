"""Nights, heights and the Moon, against almanacs, arithmetic and astropy's own machinery."""

import socket
import warnings
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from ampel_dagster.instruments.ztf import ZTF
from ampel_dagster.model.alert import Alert, Packet
from ampel_dagster.model.light_curve import LightCurve
from ampel_dagster.sources.files import read_file
from ampel_dagster.units.t2._night import Night, Place, night_at
from ampel_dagster.units.t2.observability import SITES, Observability, airmass
from tests.units.t2.test_light_curve_summary import detection, light_curve, limit

DARK = -18.0


def jd(text: str) -> float:
    """Julian date of a time (UTC)."""
    return (datetime.fromisoformat(text) - datetime(2000, 1, 1, 12)).total_seconds() / 86400 + 2451545


def at(time: str, ra_deg: float = 300.0, dec_deg: float = 30.0) -> LightCurve:
    return light_curve(detection(jd(time), "g", 18.0, ra=ra_deg, dec=dec_deg))


def night(place: Place, noon: str, sun_altitude_deg: float = DARK) -> Night:
    return night_at(place, round(jd(f"{noon}T12:00")), sun_altitude_deg)


def dark_hours(place: Place, noon: str, sun_altitude_deg: float = DARK) -> float | None:
    dark = night(place, noon, sun_altitude_deg).dark
    return (dark[1] - dark[0]) * 24 if dark else None


def made(**config: Any) -> Observability:
    """As from YAML."""
    return Observability.model_validate(config)


def from_palomar(curve: LightCurve, **config: Any) -> Any:
    return Observability(sites=("palomar",), **config).process(curve, {})["palomar"]


def directions(ra_deg: Any, dec_deg: Any) -> Any:
    ra, dec = np.radians(ra_deg), np.radians(dec_deg)
    return np.column_stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)])


# --- the Sun


@pytest.mark.parametrize("noon", ["2026-03-20", "2026-09-22"])
def test_darkness_at_the_equator_when_day_and_night_are_equal(noon: str) -> None:
    """The Sun goes straight down: 18 degrees each side, 144 of 360 degrees are left."""
    assert dark_hours(Place(0.0, 0.0, 0.0), noon) == pytest.approx(24 * 144 / 360, abs=0.01)


def test_a_summer_night_that_does_not_get_dark() -> None:
    """At Greenwich the Sun is lowest at 90 - 51.478 - 23.436 = 15.086 degrees below the horizon."""
    greenwich = Place(0.0, 51.478, 0.0)
    assert dark_hours(greenwich, "2026-06-21", -15.2) is None
    # cos H = (sin -15 - sin 51.478 sin 23.436) / (cos 51.478 cos 23.436): H is 175.906, 4.094 short of half a turn.
    assert dark_hours(greenwich, "2026-06-21", -15.0) == pytest.approx(2 * 4.094 / 15, abs=0.02)
    unit = made(places={"greenwich": {"lon_deg": 0.0, "lat_deg": 51.478}})
    found = unit.process(at("2026-06-21T20:00"), {})["greenwich"]
    assert (found["night"], found["observable"], found["hours"], found["dark_hours"]) == ("2026-06-21", False, 0.0, 0.0)
    assert found["max_altitude_deg"] is found["min_airmass"] is found["best_jd"] is found["moon_distance_deg"] is None


def test_the_night_of_half_a_year_at_the_pole() -> None:
    """All is dark from noon to noon, and a position stays at the height of its declination."""
    unit = made(places={"pole": {"lon_deg": 0.0, "lat_deg": -90.0}})
    found = unit.process(at("2026-06-21T20:00", 100.0, -60.0), {})["pole"]
    assert (found["dark_hours"], found["hours"]) == (pytest.approx(24), pytest.approx(24))
    assert found["max_altitude_deg"] == pytest.approx(60, abs=0.2)
    assert unit.process(at("2026-12-21T20:00", 100.0, -60.0), {})["pole"]["observable"] is False


# --- heights


@pytest.mark.parametrize("dec_deg", [-20.0, 0.0, 33.3, 50.0, 80.0])
def test_the_highest_point_is_on_the_meridian(dec_deg: float) -> None:
    """90 - |latitude - declination|; precession since 2000 is a tenth of a degree."""
    found = from_palomar(at("2018-08-19T08:00", 330.0, dec_deg))
    assert found["max_altitude_deg"] == pytest.approx(90 - abs(33.356 - dec_deg), abs=0.12)
    # Right ascension 22 h passes the meridian when it is 22 h sidereal time; at mean midnight of 18 August, 4 weeks
    # before day and night are equal, that is 21.8 h.
    assert (found["best_jd"] - jd("2018-08-19T07:47")) * 24 == pytest.approx(0.2, abs=0.1)


def test_after_the_meridian_the_best_time_is_dusk() -> None:
    """And before it dawn."""
    dark = night(SITES["palomar"], "2018-08-18").dark
    assert dark
    assert from_palomar(at("2018-08-19T08:00", 200.0))["best_jd"] == pytest.approx(dark[0], abs=1e-9)
    assert from_palomar(at("2018-08-19T08:00", 100.0))["best_jd"] == pytest.approx(dark[1], abs=1e-9)


def test_what_never_rises_and_what_never_sets() -> None:
    low = from_palomar(at("2018-08-19T08:00", 330.0, -80.0))
    assert low["max_altitude_deg"] == pytest.approx(90 - 113.356, abs=0.12)
    assert (low["observable"], low["hours"], low["min_airmass"]) == (False, 0.0, None)
    # Its lowest point is 33.4 - 5 degrees high.
    high = from_palomar(at("2018-08-19T08:00", 330.0, 85.0), min_altitude_deg=28.0)
    assert (high["observable"], high["hours"]) == (True, pytest.approx(high["dark_hours"]))


def test_hours_above_an_altitude_at_the_equator() -> None:
    """On the celestial equator it is above 30 degrees for 120 of 360 degrees; 8 sidereal hours, all in the dark."""
    unit = made(places={"here": {"lon_deg": 0.0, "lat_deg": 0.0}}, min_hours=7.97)
    found = unit.process(at("2026-03-20T22:00", 180.0, 0.0), {})["here"]
    assert found["hours"] == pytest.approx(8 / 1.0027379, abs=1e-3)
    assert found["observable"] is True
    later = unit.process(at("2026-03-20T22:00", 240.0, 0.0), {})["here"]
    # Four hours later, the last 3.2 of them after dawn: dusk to dawn is 9.6 h about the meridian of 180 degrees.
    assert (later["hours"], later["observable"]) == (pytest.approx(8 - 3.2, abs=0.15), False)


def test_airmass() -> None:
    """2 at 30 degrees if the Earth were flat; 38.75 at the horizon by Pickering's formula."""
    assert airmass(90.0) == pytest.approx(1.0, abs=1e-6)
    assert airmass(30.0) == pytest.approx(2.0, abs=0.01)
    assert airmass(0.0) == pytest.approx(38.75, abs=0.01)
    assert airmass(-0.1) is None


@pytest.mark.parametrize("site", ["palomar", "rubin", "siding_spring"])
def test_as_astropy_has_it(site: str) -> None:
    """With aberration, polar motion and UT1 from the tables that come with astropy."""
    import astropy.units as u
    from astropy.coordinates import AltAz, EarthLocation, SkyCoord, get_body
    from astropy.time import Time
    from astropy.utils import iers

    place = SITES[site]
    here, there = night(place, "2024-02-10"), EarthLocation.from_geodetic(*place)
    assert here.dark
    chance = np.random.default_rng(1)
    ra, dec = chance.uniform(0, 360, 40), np.degrees(np.arcsin(chance.uniform(-1, 1, 40)))
    times = np.linspace(*here.dark, 40)
    with iers.conf.set_temp("auto_download", False):
        frame = AltAz(obstime=Time(times, format="jd"), location=there)
        heights = SkyCoord(ra, dec, unit=u.deg).transform_to(frame).alt.deg
        moon = get_body("moon", frame.obstime, there)
        moon_heights = moon.transform_to(frame).alt.deg
        ends = AltAz(obstime=Time(here.dark, format="jd"), location=there)
        sun_heights = get_body("sun", ends.obstime, there).transform_to(ends).alt.deg
    assert here.altitude(directions(ra, dec), times) == pytest.approx(heights, abs=0.02)
    assert here.altitude(here.moon_at(times), times) == pytest.approx(moon_heights, abs=0.02)
    assert sun_heights == pytest.approx(DARK, abs=0.02)


# --- the Moon


def test_the_eclipse_of_2017() -> None:
    """Greatest eclipse, by NASA: 21 August 2017, 18:25:32 UT, at 36 deg 58.0' N, 87 deg 40.3' W, the Sun at 63.9 deg.

    A right place of the Moon means that it stands before the Sun, whose right ascension and declination (apparent) were
    10 h 4.1 min and 11.87 degrees then.
    """
    place = Place(-87.6717, 36.9667, 150.0)
    here, time = night(place, "2017-08-21"), np.array([jd("2017-08-21T18:25:32")])
    moon = here.moon_at(time)
    assert here.altitude(moon, time) == pytest.approx(63.9, abs=0.1)
    ra, dec = np.degrees(here.equatorial(moon))
    assert (ra % 360, dec) == (pytest.approx(151.02, abs=0.05), pytest.approx(11.87, abs=0.05))


@pytest.mark.parametrize(
    ("noon", "lit", "tolerance"),
    [
        # Meeus, Astronomical Algorithms (1998), example 48.a: 12 April 1992, 0 h.
        ("1992-04-11", 0.6786, 5e-4),
        # Full, new and half Moons within some hours of midnight: 26 August 2018 11:56, 11 August 9:58, 18 August 7:48.
        ("2018-08-26", 1.0, 0.01),
        ("2018-08-11", 0.0, 0.01),
        ("2018-08-17", 0.47, 0.02),
    ],
)
def test_how_much_of_the_moon_is_lit(noon: str, lit: float, tolerance: float) -> None:
    assert night(Place(0.0, 51.48, 0.0), noon).moon_illumination == pytest.approx(lit, abs=tolerance)


def test_distance_to_the_moon() -> None:
    """Of the Moon itself none; of the opposite point half a turn."""
    here = night(SITES["palomar"], "2018-08-25")
    assert here.dark
    time = np.array([from_palomar(at("2018-08-26T03:00", 320.0, -20.0))["best_jd"]])
    x, y, z = here.moon_at(time)[0]
    ra_deg, dec_deg = np.degrees(np.arctan2(y, x)) % 360, np.degrees(np.arcsin(z))
    near = from_palomar(at("2018-08-26T03:00", ra_deg, dec_deg))
    # The Moon has moved a little where the best time is another.
    assert near["moon_distance_deg"] == pytest.approx(0.0, abs=1.5)
    assert near["moon_altitude_deg"] == pytest.approx(near["max_altitude_deg"], abs=1.5)
    far = from_palomar(at("2018-08-26T03:00", (ra_deg + 180) % 360, -dec_deg))
    assert far["moon_distance_deg"] > 175


# --- which night


@pytest.mark.parametrize(
    ("time", "nights"),
    [
        # 3 in the morning in California, evening in Australia, noon in the Canaries.
        ("2018-08-19T10:00", {"palomar": "2018-08-18", "siding_spring": "2018-08-19", "la_palma": "2018-08-19"}),
        # Bright morning in California; the night goes on in Australia.
        ("2018-08-19T15:00", {"palomar": "2018-08-19", "siding_spring": "2018-08-19", "la_palma": "2018-08-19"}),
        ("2018-08-19T23:30", {"palomar": "2018-08-19", "siding_spring": "2018-08-20", "la_palma": "2018-08-19"}),
    ],
)
def test_the_night_that_is_on_or_comes_next(time: str, nights: dict[str, str]) -> None:
    found = made(sites=tuple(nights)).process(at(time), {})
    assert {site: result["night"] for site, result in found.items()} == nights


def test_the_latest_point_counts_whatever_it_is() -> None:
    curve = light_curve(
        detection(jd("2018-08-19T10:00"), "g", 18.0, ra=300.0, dec=30.0), limit(jd("2018-08-22T10:00"), "g", 20.0)
    )
    assert from_palomar(curve)["night"] == "2018-08-21"


# --- the unit


def test_many_objects_at_once() -> None:
    """The same to the last digit as one by one, whatever their number and nights."""
    unit = Observability(sites=("palomar", "rubin"), min_altitude_deg=40.0)
    times = ["2018-08-19T10:00", "2018-08-20T15:00", "2018-08-19T04:00", "2019-01-01T00:00", "2018-08-19T10:01"]
    curves = [at(times[n % 5], 7.7 * n, 2.5 * n - 75) for n in range(40)]
    curves[1:1] = [light_curve(limit(jd(times[0]), "g", 20.0)), light_curve()]
    points = pd.concat([curve.to_pandas().assign(curve=n) for n, curve in enumerate(curves)], ignore_index=True)
    found = unit.process_batch(points, [{}] * len(curves))
    assert found == [unit.process(curve, {}) for curve in curves]
    assert set(found[1]["rubin"].values()) == set(found[2]["palomar"].values()) == {None}
    assert len({result["palomar"]["night"] for result in found}) == 4
    assert all(set(site) == set(found[0]["rubin"]) for result in found for site in result.values())


def test_without_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also for years that no table of the Earth's rotation knows of."""

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError("there is no network")

    for name in ("socket", "create_connection", "getaddrinfo"):
        monkeypatch.setattr(socket, name, refuse)
    night_at.cache_clear()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for time in ("2018-08-19T08:00", "2045-08-19T08:00"):
            assert from_palomar(at(time, 330.0, 30.0))["max_altitude_deg"] == pytest.approx(86.7, abs=0.3)


def test_mistakes() -> None:
    with pytest.raises(ValidationError, match="name sites, or say under places where yours are"):
        Observability()
    with pytest.raises(ValidationError, match="palomar is one of sites"):
        made(sites=("palomar",), places={"palomar": {"lon_deg": 0.0, "lat_deg": 0.0}})
    with pytest.raises(ValidationError, match="'apache_point', 'calar_alto'"):
        made(sites=("palomer",))


def test_real_packets(data: Path) -> None:
    """What ZTF saw from Palomar stood high enough there at that time, and can be observed in that night.

    It was the night after the Moon's first quarter (18 August 2018, 7:48 UT).
    """
    ztf, here = ZTF(), night(SITES["palomar"], "2018-08-18")
    # The survey begins before it is quite dark.
    unit = Observability(sites=("palomar",), min_altitude_deg=20.0, sun_altitude_deg=-12.0)
    nights = []
    for packet in read_file(data / "ztf" / "ztf_public_20180819_mod1000.tar.gz"):
        assert isinstance(packet, Packet)
        (alert,) = ztf.decode(packet)
        assert isinstance(alert, Alert)
        ra_deg, dec_deg = alert.candidate["ra"], alert.candidate["dec"]
        found = unit.process(light_curve(detection(alert.jd, "g", 18.0, ra=ra_deg, dec=dec_deg)), {})["palomar"]
        nights.append(found["night"])
        height = here.altitude(directions([ra_deg], [dec_deg]), np.array([alert.jd]))[0]
        assert 23 < height <= found["max_altitude_deg"] + 0.01
        assert found["observable"] is True
        assert found["hours"] <= found["dark_hours"]
        assert found["moon_illumination"] == pytest.approx(0.60, abs=0.03)
    assert nights == ["2018-08-18"] * 30
