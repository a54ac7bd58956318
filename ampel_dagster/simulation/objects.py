"""What is on the simulated sky: variable stars, asteroids, and artefacts that are nothing at all.

The shapes are those that filters and classifiers meet, not models of physics. Fluxes are linear, with 1 for
magnitude 0.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from math import gcd, log10, pi, sin
from typing import Any, ClassVar, Literal, get_args

from ampel_dagster.simulation.chance import between, uniforms
from ampel_dagster.simulation.exposures import Frame, Place

Kind = Literal["variable", "supernova", "asteroid", "bogus"]
KINDS: tuple[Kind, ...] = get_args(Kind)
G = 1
ARTEFACTS = ("subtraction residual", "cosmic ray", "bad column")
_DAY_ZERO = date(2017, 1, 1)
_NAMES = 26**7
#: Spreads consecutive numbers over all names; without a factor in common with 26 it never gives a name twice.
_NAME_STEP = 5_308_415_623
assert gcd(_NAME_STEP, 26) == 1


def ztf_name(seed: int, number: int, nid: int) -> str:
    """Name of the object of slot `number` that was first seen in night `nid`: ZTF, year, seven letters."""
    day = _DAY_ZERO + timedelta(days=nid)
    (shift,) = uniforms(seed, "name")[:1]
    serial = number * 366 + day.timetuple().tm_yday - 1
    code, letters = (serial * _NAME_STEP + int(shift * _NAMES)) % _NAMES, ""
    for _ in range(7):
        code, letter = divmod(code, 26)
        letters = chr(97 + letter) + letters
    return f"ZTF{day:%y}{letters}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SkyObject(ABC):
    """One object, as a function of the survey's seed and of its own number."""

    seed: int
    #: The slot of the survey that the object fills, now or always.
    number: int
    #: Night (days since 2017) in which it came to be.
    born: int
    place: Place

    kind: ClassVar[Kind]

    @property
    def name(self) -> str:
        """Its name in the survey."""
        return ztf_name(self.seed, self.number, self.born)

    @abstractmethod
    def flux(self, jd: float, fid: int) -> float:
        """Difference flux at a time in a filter: below zero where it is fainter than in the reference."""

    @abstractmethod
    def truth(self) -> dict[str, Any]:
        """What is true of it, for tests of what was found."""

    @abstractmethod
    def neighbours(self) -> dict[str, Any]:
        """What catalogues have near it: fields of a packet's candidate."""

    def marks(self, frame: Frame, chance: tuple[float, ...]) -> Mapping[str, Any]:
        """How its image looks in one frame, as fields of a candidate; `chance` holds numbers of [0, 1)."""
        return {"rb": between(0.6, 0.99, chance[0]), "drb": between(0.9, 0.9999, chance[1])}


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable(SkyObject):
    """A periodic star, brighter and fainter than its reference image by turns."""

    period_days: float
    #: From minimum to maximum in g; r varies less.
    amplitude_mag: float
    mean_mag: float
    phase: float

    kind = "variable"

    @classmethod
    def make(cls, seed: int, number: int, born: int, place: Place) -> "Variable":
        """The star of a slot."""
        u = uniforms(seed, "variable", number)
        return cls(
            seed=seed,
            number=number,
            born=born,
            place=place,
            period_days=0.3 * 250 ** u[0],
            amplitude_mag=between(0.25, 1.2, u[1]),
            mean_mag=between(14.5, 17.5, u[2]),
            phase=u[3],
        )

    def flux(self, jd: float, fid: int) -> float:
        """Sine with its first harmonic: a fast rise and a slow decline, as of pulsating stars."""
        turn = 2 * pi * (jd / self.period_days + self.phase)
        shape = sin(turn) + 0.3 * sin(2 * turn)
        amplitude = self.amplitude_mag * (1.0 if fid == G else 0.75)
        return linear(self.mean_mag - 0.5 * amplitude * shape) - linear(self.mean_mag)

    def truth(self) -> dict[str, Any]:
        """Period (days), amplitude in g and mean magnitude."""
        return {
            "period_days": self.period_days,
            "amplitude_mag": self.amplitude_mag,
            "mean_mag": self.mean_mag,
        }

    def neighbours(self) -> dict[str, Any]:
        """The star itself, in every catalogue."""
        u = uniforms(self.seed, "star", self.number)
        offset = between(0.05, 0.6, u[0])
        return {
            **reference(self.place.moved(offset, 0.0), self.mean_mag, sharp=0.0),
            **panstarrs(self.place, offset, between(0.95, 1.0, u[1]), self.mean_mag),
            "neargaia": offset,
            "maggaia": self.mean_mag,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Passing(SkyObject):
    """What is there in one exposure and gone in the next."""

    frame: Frame
    mag: float
    positive: bool

    def flux(self, jd: float, fid: int) -> float:
        """The flux in its own exposure, zero in every other."""
        if jd != self.frame.jd:
            return 0.0
        return linear(self.mag) * (1 if self.positive else -1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asteroid(Passing):
    """A known asteroid on its way."""

    designation: int

    kind = "asteroid"

    @classmethod
    def make(cls, seed: int, number: int, born: int, place: Place, frame: Frame) -> "Asteroid":
        """The asteroid that crosses a slot's channel in a night."""
        u = uniforms(seed, "asteroid", number, born)
        return cls(
            seed=seed,
            number=number,
            born=born,
            place=place,
            frame=frame,
            mag=between(16.0, frame.maglim - 0.4, u[0]),
            positive=True,
            designation=1 + int(u[1] * 500_000),
        )

    def truth(self) -> dict[str, Any]:
        """Number of the minor planet and its magnitude."""
        return {"designation": self.designation, "mag": self.mag}

    def neighbours(self) -> dict[str, Any]:
        """Whatever happens to lie there."""
        return _background(self)

    def marks(self, frame: Frame, chance: tuple[float, ...]) -> Mapping[str, Any]:
        """A good image where an asteroid is known to be."""
        return {
            # The base is named, since a dataclass with slots is a new class that super() does not know.
            **SkyObject.marks(self, frame, chance),
            "ssdistnr": between(0.0, 2.0, chance[2]),
            "ssmagnr": self.mag + between(-0.3, 0.3, chance[3]),
            "ssnamenr": str(self.designation),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Bogus(Passing):
    """An artefact: what is left of a bright star, a cosmic ray, a bad column."""

    artefact: str

    kind = "bogus"

    @classmethod
    def make(cls, seed: int, number: int, born: int, place: Place, frame: Frame) -> "Bogus":
        """The artefact of a slot's channel in a night."""
        u = uniforms(seed, "bogus", number, born)
        return cls(
            seed=seed,
            number=number,
            born=born,
            place=place,
            frame=frame,
            mag=between(15.5, frame.maglim - 0.3, u[0]),
            positive=u[1] < 0.5,
            artefact=ARTEFACTS[int(u[2] * len(ARTEFACTS))],
        )

    def truth(self) -> dict[str, Any]:
        """What it is in fact."""
        return {"artefact": self.artefact}

    def neighbours(self) -> dict[str, Any]:
        """Whatever happens to lie there."""
        return _background(self)

    def marks(self, frame: Frame, chance: tuple[float, ...]) -> Mapping[str, Any]:
        """An image that no point source has."""
        return {
            "rb": between(0.02, 0.3, chance[0]),
            "drb": between(0.0, 0.2, chance[1]),
            "fwhm": between(6.0, 12.0, chance[2]),
            "elong": between(1.6, 3.0, chance[3]),
            "nbad": 1 + int(chance[4] * 5),
            "nneg": 8 + int(chance[5] * 10),
            "sumrat": between(0.1, 0.5, chance[6]),
            "classtar": between(0.0, 0.3, chance[7]),
        }


def linear(mag: float) -> float:
    """Flux of a magnitude."""
    return float(10 ** (-0.4 * mag))


def magnitude(flux: float) -> float:
    """Magnitude of the size of a difference flux."""
    return -2.5 * log10(abs(flux))


def reference(place: Place, mag: float, sharp: float) -> dict[str, Any]:
    """Nearest source in the survey's own reference image."""
    return {
        "ranr": place.ra,
        "decnr": place.dec,
        "magnr": mag,
        "sigmagnr": 0.02,
        "chinr": 0.5,
        "sharpnr": sharp,
    }


def panstarrs(place: Place, distance: float, star_score: float, mag: float) -> dict[str, Any]:
    """Nearest source in the PS1 catalogue; `star_score` is 1 for a star and 0 for a galaxy."""
    return {
        "sgmag1": mag + 0.3,
        "srmag1": mag,
        "simag1": mag - 0.15,
        "szmag1": mag - 0.2,
        "sgscore1": star_score,
        "distpsnr1": distance,
        "objectidps1": int((place.dec + 90) * 120) * 10**13 + int(place.ra * 1e6) * 10_000,
        "nmtchps": 1,
    }


def _background(thing: SkyObject) -> dict[str, Any]:
    """A source that has nothing to do with the object."""
    u = uniforms(thing.seed, "background", thing.number, thing.born)
    distance, mag = between(2.0, 20.0, u[0]), between(18.0, 22.0, u[1])
    return {
        **reference(thing.place.moved(0.0, distance), mag, sharp=0.1),
        **panstarrs(thing.place, distance, u[2], mag),
        "neargaia": between(20.0, 60.0, u[3]),
        "maggaia": mag - 1,
    }
