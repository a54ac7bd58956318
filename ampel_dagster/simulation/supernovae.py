"""Supernovae and the galaxies in which they explode.

Light curves have the right shape, rise times and brightness; spectra, dust and the shift of colours are left
out.
"""

from dataclasses import dataclass
from math import cos, exp, hypot, log10, pi, sin
from typing import Any

from ampel_dagster.simulation.chance import between, uniforms
from ampel_dagster.simulation.exposures import Place
from ampel_dagster.simulation.objects import G, SkyObject, linear, panstarrs, reference

_SPEED_OF_LIGHT_KMS, _HUBBLE_KMS_MPC, _DECELERATION = 299792.458, 70.0, -0.55


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """A galaxy in which supernovae explode."""

    name: str
    place: Place
    redshift: float
    mag: float

    @classmethod
    def make(cls, seed: int, number: int, place: Place) -> "Host":
        """The galaxy of a slot: its redshift is drawn from a volume of even density."""
        u = uniforms(seed, "host", number)
        low, high = 0.02**3, 0.07**3
        name = f"SIM-J{place.ra:08.4f}{place.dec:+08.4f}"
        return cls(
            name=name,
            place=place,
            redshift=between(low, high, u[0]) ** (1 / 3),
            mag=between(15.0, 18.5, u[1]),
        )


@dataclass(frozen=True, slots=True)
class SupernovaType:
    """How supernovae of a type behave: filters in the order g, r."""

    peak_absolute_mag: tuple[float, float]
    #: From explosion to peak.
    rise_days: tuple[float, float]
    #: Steepest decline after peak.
    decline_mag_per_day: tuple[float, float]


#: Rise times: Miller et al. 2020, ApJ 902, 47 (Ia); Gall et al. 2015, A&A 582, A3 (II).
SUPERNOVA_TYPES = {
    "Ia": SupernovaType((-19.2, -19.1), (17.5, 19.0), (0.13, 0.08)),
    "II": SupernovaType((-17.6, -17.7), (8.0, 11.0), (0.035, 0.012)),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Supernova(SkyObject):
    """A supernova of type Ia or II in its host."""

    host: Host
    type: str
    explosion_jd: float
    #: Departure of this one from the type's mean brightness.
    scatter_mag: float
    offset_arcsec: float

    kind = "supernova"

    @classmethod
    def make(cls, seed: int, number: int, born: int, host: Host, explosion_jd: float) -> "Supernova":
        """The supernova that explodes in a slot's galaxy at a given time."""
        u = uniforms(seed, "supernova", number, born)
        offset, angle = between(0.8, 6.0, u[0]), 2 * pi * u[1]
        return cls(
            seed=seed,
            number=number,
            born=born,
            place=host.place.moved(offset * sin(angle), offset * cos(angle)),
            host=host,
            type="Ia" if u[2] < 0.7 else "II",
            explosion_jd=explosion_jd,
            scatter_mag=between(-0.3, 0.3, u[3]),
            offset_arcsec=offset,
        )

    def flux(self, jd: float, fid: int) -> float:
        """Rise from the explosion, decline from peak; stretched by the redshift, colours not shifted."""
        kind, band = SUPERNOVA_TYPES[self.type], 0 if fid == G else 1
        age = (jd - self.explosion_jd) / (1 + self.host.redshift)
        return linear(self.peak_mag(fid)) * _supernova_shape(age, kind.rise_days[band], kind.decline_mag_per_day[band])

    def peak_mag(self, fid: int) -> float:
        """Apparent magnitude at peak."""
        absolute = SUPERNOVA_TYPES[self.type].peak_absolute_mag[0 if fid == G else 1]
        return absolute + self.scatter_mag + _distance_modulus(self.host.redshift)

    def truth(self) -> dict[str, Any]:
        """Type, time of explosion, peak in each filter, and the host."""
        rise = SUPERNOVA_TYPES[self.type].rise_days
        return {
            "type": self.type,
            "explosion_jd": self.explosion_jd,
            "peak_jd": self.explosion_jd + rise[1] * (1 + self.host.redshift),
            "peak_mag": min(self.peak_mag(1), self.peak_mag(2)),
            "peak_mag_g": self.peak_mag(1),
            "peak_mag_r": self.peak_mag(2),
            "redshift": self.host.redshift,
            "host": self.host.name,
            "host_offset_arcsec": self.offset_arcsec,
        }

    def neighbours(self) -> dict[str, Any]:
        """The host, which is no star, and no star of Gaia nearby."""
        (u,) = uniforms(self.seed, "galaxy", self.number)[:1]
        return {
            **reference(self.host.place, self.host.mag, sharp=0.6),
            **panstarrs(self.place, self.offset_arcsec, between(0.0, 0.25, u), self.host.mag),
        }


def _distance_modulus(redshift: float) -> float:
    """Distance modulus from Hubble's law to second order (Weinberg, Cosmology, 2008, section 1.4)."""
    mpc = _SPEED_OF_LIGHT_KMS / _HUBBLE_KMS_MPC * redshift * (1 + 0.5 * (1 - _DECELERATION) * redshift)
    return 5 * log10(mpc) + 25


def _supernova_shape(age: float, rise: float, decline: float) -> float:
    """Flux relative to peak at `age` days after the explosion.

    The rise begins as the square of time (the expanding fireball of Riess et al. 1999, AJ 118, 2675); the
    decline approaches `decline` mag/day over ten days and ends in a tail that radioactive decay keeps alight.
    """
    if age <= 0:
        return 0.0
    if age < rise:
        return (age / rise) ** 2 * (3 - 2 * age / rise)
    late = age - rise
    return 0.93 * linear(decline * (hypot(late, 10.0) - 10.0)) + 0.07 * exp(-late / 60)
