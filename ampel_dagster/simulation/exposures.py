"""Where and when the simulated telescope looks, and how deep it sees.

The real survey covers the northern sky every three nights in g and r. This one has 30 fields at high galactic
latitude, each seen four times in five nights on average, and no seasons: every field is up in every night.
Field numbers are made up; the camera of 64 read-out channels, the hours, the depth and the moon are like the
real ones (Bellm et al. 2019, PASP 131, 018002).
"""

from dataclasses import dataclass
from functools import lru_cache
from math import cos, pi, radians

from ampel_dagster.model.night import jd_of_night
from ampel_dagster.simulation.chance import between, uniforms

#: Julian date from which ZTF counts nights (nid) and processing ids: 2017-01-01.
JD_2017 = 2457754.5
#: The first night of the simulated survey.
FIRST_NIGHT = "2017-11-01"
FIRST_NID = int(jd_of_night(FIRST_NIGHT) - JD_2017)
#: How far back the history of a packet goes, in days.
HISTORY_DAYS = 30
#: Mean number of exposures of a field in a night.
VISITS_PER_NIGHT = 0.76
BANDS = {"g": 1, "r": 2, "i": 3}

FIELDS = 30
CHANNELS = 64
PIXELS = 3072
ARCSEC_PER_PIXEL = 1.01
_CHANNEL_DEG = PIXELS * ARCSEC_PER_PIXEL / 3600

# Exposures are taken from 03:10 to 12:20 UT, each field at its own time.
_NIGHT_BEGINS_H, _NIGHT_ENDS_H = 3.17, 12.33
_SLOT_DAYS = (_NIGHT_ENDS_H - _NIGHT_BEGINS_H) / 24 / (2 * FIELDS)
#: Filters by night of a field's cycle of five.
_CYCLE = ((1, 2), (1,), (), (2,), ())
_CLOUDED = 0.05
#: 5-sigma magnitude of a dark night.
_DARK_LIMIT = {1: 20.9, 2: 20.7, 3: 20.0}
_MOON_LOSS = 1.0


@dataclass(frozen=True, slots=True)
class Place:
    """A position, on the sky (degrees) and on the camera (pixels)."""

    field: int
    rcid: int
    xpos: float
    ypos: float
    ra: float
    dec: float

    def moved(self, east_arcsec: float, north_arcsec: float) -> "Place":
        """A place nearby."""
        return Place(
            self.field,
            self.rcid,
            self.xpos + east_arcsec / ARCSEC_PER_PIXEL,
            self.ypos + north_arcsec / ARCSEC_PER_PIXEL,
            round(self.ra + east_arcsec / 3600 / cos(radians(self.dec)), 7),
            round(self.dec + north_arcsec / 3600, 7),
        )


@dataclass(frozen=True, slots=True)
class Frame:
    """One exposure as one read-out channel saw it."""

    jd: float
    fid: int
    field: int
    rcid: int
    #: Magnitude of a source of 5 sigma.
    maglim: float

    @property
    def nid(self) -> int:
        """Number of the night."""
        return int(self.jd - JD_2017)

    @property
    def pid(self) -> int:
        """ZTF's processing id: days since 2017 to five digits, read-out channel (two digits), 15."""
        return int((self.jd - JD_2017) * 1e5) * 10_000 + self.rcid * 100 + 15

    def candid(self, positive: bool, tblid: int) -> int:
        """ZTF's id of a detection: processing id, 15 or 10 for the difference's sign, number in the frame.

        For example 595147624915010001: night 595, read-out channel 49, a negative difference, number 1.
        """
        return self.pid * 1_000_000 + (15_000 if positive else 10_000) + tblid


def place_on(field: int, rcid: int, u: float, v: float) -> Place:
    """The place at the fractions `u`, `v` of a read-out channel."""
    # Six columns of fields by five rows, all more than 20 degrees from the galactic plane.
    field_ra, field_dec = 130.0 + 20.0 * (field % 6), 2.0 + 12.0 * (field // 6)
    east = (rcid % 8 - 4 + u) * _CHANNEL_DEG
    north = (rcid // 8 - 4 + v) * _CHANNEL_DEG
    dec = field_dec + north
    ra = field_ra + east / cos(radians(dec))
    return Place(field, rcid, u * PIXELS, v * PIXELS, round(ra, 7), round(dec, 7))


@lru_cache(maxsize=1 << 16)
def frames(seed: int, field: int, rcid: int, nid: int) -> tuple[Frame, ...]:
    """Exposures of a read-out channel in one night, in order of time; none before the survey began."""
    (depth,) = uniforms(seed, "channel", rcid)[:1]
    return tuple(
        Frame(jd, fid, field, rcid, round(limit + between(-0.1, 0.1, depth), 4))
        for jd, fid, limit in _visits(seed, field, nid)
    )


@lru_cache(maxsize=1 << 14)
def _visits(seed: int, field: int, nid: int) -> tuple[tuple[float, int, float], ...]:
    """(jd, fid, limiting magnitude) of the exposures of a field in one night."""
    if nid < FIRST_NID:
        return ()
    found = []
    order = (7 * field + 11 * nid) % FIELDS
    for number, fid in enumerate(_CYCLE[(nid + 2 * field) % len(_CYCLE)]):
        cloud, jitter, depth = uniforms(seed, "visit", field, nid, number)[:3]
        if cloud < _CLOUDED:
            continue
        slot = order + number * FIELDS
        jd = round(JD_2017 + nid + _NIGHT_BEGINS_H / 24 + (slot + 0.5 * jitter) * _SLOT_DAYS, 7)
        limit = _DARK_LIMIT[fid] - _MOON_LOSS * moon_illumination(jd) ** 2 + between(-0.25, 0.25, depth)
        found.append((jd, fid, limit))
    return tuple(found)


def moon_illumination(jd: float) -> float:
    """Lit fraction of the moon, from its mean phase (Meeus, Astronomical Algorithms, chapter 49)."""
    return 0.5 * (1 - cos(2 * pi * (jd - 2451550.1) / 29.530588))
