"""The simulated survey: which objects are seen in a night, and the alerts about them."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from math import hypot
from operator import itemgetter
from typing import Any

from ampel_dagster.instruments.ztf_encode import encode_packet
from ampel_dagster.model.night import jd_of_night
from ampel_dagster.simulation.chance import between, normal, uniforms
from ampel_dagster.simulation.exposures import (
    CHANNELS,
    FIELDS,
    FIRST_NID,
    FIRST_NIGHT,
    HISTORY_DAYS,
    JD_2017,
    VISITS_PER_NIGHT,
    Frame,
    Place,
    frames,
    place_on,
)
from ampel_dagster.simulation.objects import (
    ARTEFACTS,
    KINDS,
    Asteroid,
    Bogus,
    Kind,
    SkyObject,
    Variable,
    linear,
    magnitude,
)
from ampel_dagster.simulation.packets import (
    MAG_PER_RELATIVE_FLUX,
    Detection,
    Record,
    Row,
    assemble,
    candidate_row,
    forced_row,
    history_row,
    limit_row,
)
from ampel_dagster.simulation.stamps import VARIANTS, stamps
from ampel_dagster.simulation.supernovae import Host, Supernova

LAST_NIGHT = "2032-12-31"
#: Kinds of 21 slots, one after the other: variables 10, supernovae 5, asteroids and bogus 3 each. A supernova
#: is seen a third of the nights only, so that it takes more slots than its share of the alerts.
_KINDS: tuple[Kind, ...] = tuple(
    {"v": "variable", "s": "supernova", "a": "asteroid", "b": "bogus"}[letter]  # type: ignore[misc]
    for letter in "vsvabvsvabvsvvabsvvsv"
)
#: Mean number of alerts of a slot in a night.
ALERTS_PER_SLOT = 0.573
#: A galaxy has a supernova every so many days (far too often, but then something is going on).
_SUPERNOVA_PERIOD = 140
#: And it is followed for so long.
_SUPERNOVA_LIFE = 129
_SIGNIFICANCE = 5.0
_RELATIVE_NOISE = 0.02
_ASTROMETRY_ARCSEC = 0.08
_MAX_TBLID = 999


@dataclass(frozen=True, slots=True)
class SimulatedAlert:
    """One alert, and what is true about its object."""

    kind: Kind
    #: What the simulator knows, by kind: explosion_jd, peak_mag …; period_days …; designation …; artefact.
    truth: Mapping[str, Any]
    #: The packet as a dictionary, in the survey's field names.
    packet: Row

    @property
    def candid(self) -> int:
        """Id of the alert."""
        return int(self.packet["candid"])

    @property
    def name(self) -> str:
        """Name of its object."""
        return str(self.packet["objectId"])

    @property
    def jd(self) -> float:
        """Time of its exposure."""
        return float(self.packet["candidate"]["jd"])

    def to_bytes(self) -> bytes:
        """The packet as the survey publishes it: an Avro container file."""
        return encode_packet(self.packet)


@dataclass(frozen=True, slots=True)
class Sighting:
    """A detection, without the packet about it."""

    name: str
    kind: Kind
    jd: float
    candid: int
    mag: float
    positive: bool


@dataclass(frozen=True, slots=True)
class Slot:
    """A place in the survey, filled by one object (variables) or by one after the other (all others)."""

    number: int
    kind: Kind
    field: int
    rcid: int
    #: Number of its sources in the tables of the read-out channel.
    tblid: int


class Survey:
    """A survey of `n_objects` slots; every object, exposure and alert is a function of `seed` alone.

    The same seed with more slots has the same objects and some more. `forced` adds forced photometry.
    """

    def __init__(self, seed: int = 1, n_objects: int = 349, *, forced: bool = False) -> None:
        if n_objects < 0:
            raise ValueError(f"n_objects must not be negative, it is {n_objects}")
        self.seed = int(seed)
        self.forced = forced
        self._slots = list(_slots(self.seed, n_objects))

    def night(self, night: str) -> Iterator[SimulatedAlert]:
        """Alerts of a UT night (``2018-08-19``), in order of time."""
        seen = [
            (frame.jd, detection.candid, slot, thing, frame)
            for slot, thing, frame, detection in self._detections(night)
        ]
        seen.sort(key=itemgetter(0, 1))
        return (self._alert(slot, thing, frame) for _, _, slot, thing, frame in seen)

    def sightings(self, night: str, kinds: Collection[Kind] = KINDS) -> list[Sighting]:
        """Detections of a UT night in order of time: its alerts, without the work of making packets."""
        found = [
            Sighting(thing.name, thing.kind, frame.jd, detection.candid, detection.mag, detection.positive)
            for _, thing, frame, detection in self._detections(night, kinds)
        ]
        return sorted(found, key=lambda sighting: (sighting.jd, sighting.candid))

    def objects(self, night: str) -> Iterator[SkyObject]:
        """What was there in the images of a night, bright enough to be detected or not."""
        nid = _nid(night)
        for slot in self._slots:
            yield from self._objects(slot, nid, frames(self.seed, slot.field, slot.rcid, nid))

    def hosts(self) -> Iterator[Host]:
        """Galaxies of the supernovae."""
        return (_host(self.seed, slot) for slot in self._slots if slot.kind == "supernova")

    def variables(self) -> Iterator[Variable]:
        """The variable stars."""
        return (_variable(self.seed, slot) for slot in self._slots if slot.kind == "variable")

    def _detections(
        self, night: str, kinds: Collection[Kind] = KINDS
    ) -> Iterator[tuple[Slot, SkyObject, Frame, Detection]]:
        nid = _nid(night)
        for slot in self._slots:
            if slot.kind not in kinds:
                continue
            tonight = frames(self.seed, slot.field, slot.rcid, nid)
            for thing in self._objects(slot, nid, tonight):
                for frame in tonight:
                    detection = self._observe(slot, thing, frame)[0]
                    if detection is not None:
                        yield slot, thing, frame, detection

    def _objects(self, slot: Slot, nid: int, tonight: tuple[Frame, ...]) -> Iterator[SkyObject]:
        """What fills the slot in a night, if anything."""
        if not tonight:
            return
        if slot.kind == "variable":
            yield _variable(self.seed, slot)
        elif slot.kind == "supernova":
            jd = explosion_jd(self.seed, slot.number, nid)
            if jd <= tonight[-1].jd and nid <= jd - JD_2017 + _SUPERNOVA_LIFE:
                host = _host(self.seed, slot)
                yield Supernova.make(self.seed, slot.number, int(jd - JD_2017), host, jd)
        else:
            (when,) = uniforms(self.seed, "passing", slot.number, nid)[:1]
            frame, place = tonight[int(when * len(tonight))], _place(self.seed, slot, nid)
            passing: type[Asteroid] | type[Bogus] = Asteroid if slot.kind == "asteroid" else Bogus
            yield passing.make(self.seed, slot.number, nid, place, frame)

    def _observe(self, slot: Slot, thing: SkyObject, frame: Frame) -> tuple[Detection | None, float, float]:
        """A frame at the object's position: the detection if there is one, the flux and its error."""
        chance = uniforms(self.seed, "observe", thing.number, thing.born, frame.pid)
        flux, noise = thing.flux(frame.jd, frame.fid), linear(frame.maglim) / _SIGNIFICANCE
        noise = hypot(noise, _RELATIVE_NOISE * flux)
        flux += noise * normal(chance[0])
        if abs(flux) < _SIGNIFICANCE * noise:
            return None, flux, noise
        east, north = (normal(u) * _ASTROMETRY_ARCSEC for u in chance[1:3])
        marks = uniforms(self.seed, "marks", thing.number, thing.born, frame.pid)
        clean = {"fwhm": between(1.8, 2.8, chance[3]), "elong": between(1.02, 1.25, chance[4])}
        return (
            Detection(
                frame=frame,
                tblid=slot.tblid,
                place=thing.place.moved(east, north),
                mag=magnitude(flux),
                mag_err=MAG_PER_RELATIVE_FLUX * noise / abs(flux),
                positive=flux > 0,
                marks={**clean, **thing.marks(frame, marks)},
                neighbours=thing.neighbours(),
            ),
            flux,
            noise,
        )

    def _alert(self, slot: Slot, thing: SkyObject, now: Frame) -> SimulatedAlert:
        detection = self._observe(slot, thing, now)[0]
        assert detection is not None
        jd, nid = now.jd, now.nid
        # The whole life of a supernova is looked at, so that its number of detections is exact.
        first = min(nid - HISTORY_DAYS, thing.born) if thing.kind == "supernova" else nid - HISTORY_DAYS
        history: list[Row] = []
        forced: list[Row] = []
        seen = [jd]
        covered = 1
        for day in range(first, nid + 1):
            for frame in frames(self.seed, slot.field, slot.rcid, day):
                if frame.jd >= jd:
                    break
                covered += 1
                earlier, flux, noise = self._observe(slot, thing, frame)
                if earlier is not None:
                    seen.append(frame.jd)
                if frame.jd <= jd - HISTORY_DAYS:
                    continue
                history.append(limit_row(frame) if earlier is None else history_row(earlier))
                if self.forced:
                    forced.append(forced_row(frame, flux, noise, detection.neighbours))
        candidate = candidate_row(detection, _record(thing, jd, seen, covered))
        variant = ARTEFACTS.index(thing.artefact) if isinstance(thing, Bogus) else detection.candid % VARIANTS
        images = stamps(thing.kind, round(detection.mag), detection.positive, variant)
        return SimulatedAlert(thing.kind, thing.truth(), assemble(thing.name, candidate, history, forced, images))


def explosion_jd(seed: int, number: int, nid: int) -> float:
    """Time of the latest explosion in the galaxy of a slot, or of one within ten days after the night."""
    (offset,) = uniforms(seed, "supernovae", number)[:1]
    phase = offset * _SUPERNOVA_PERIOD
    turn = int((nid + 1 - phase) // _SUPERNOVA_PERIOD)
    (jitter,) = uniforms(seed, "explosion", number, turn)[:1]
    # The jitter is shorter than the pause between two supernovae, so that they never overlap.
    return JD_2017 + phase + turn * _SUPERNOVA_PERIOD + between(0.0, 10.0, jitter)


def _slots(seed: int, n_objects: int) -> Iterator[Slot]:
    sources: Counter[tuple[int, int]] = Counter()
    for number in range(n_objects):
        u = uniforms(seed, "slot", number)
        field, rcid = int(u[0] * FIELDS), int(u[1] * CHANNELS)
        tblid = sources[field, rcid]
        if tblid > _MAX_TBLID:
            raise ValueError(f"{n_objects} objects are more than the simulated survey can number")
        sources[field, rcid] += 1
        yield Slot(number, _KINDS[number % len(_KINDS)], field, rcid, tblid)


def _place(seed: int, slot: Slot, what: str | int) -> Place:
    """Where the object of a slot is; what passes is elsewhere every night."""
    u = uniforms(seed, "place", slot.number, what)
    return place_on(slot.field, slot.rcid, u[0], u[1])


def _host(seed: int, slot: Slot) -> Host:
    return Host.make(seed, slot.number, _place(seed, slot, "host"))


def _variable(seed: int, slot: Slot) -> Variable:
    return Variable.make(seed, slot.number, FIRST_NID, _place(seed, slot, "variable"))


def _record(thing: SkyObject, jd: float, seen: list[float], covered: int) -> Record:
    """Numbers of detections and exposures since the survey began.

    Exact for what is young; for variable stars estimated, so that a night of a late year costs no more.
    """
    visits = VISITS_PER_NIGHT * (jd - JD_2017 - FIRST_NID)
    covered = max(covered, round(visits))
    if thing.kind == "variable":
        first = round(JD_2017 + FIRST_NID + 0.4 + thing.number % 5, 7)
        return Record(max(len(seen), round(0.95 * visits)), covered, min(first, *seen), jd)
    return Record(len(seen), covered, min(seen), jd)


def _nid(night: str) -> int:
    """Number of a night. Raises ValueError where it is no date, or outside of the survey."""
    if not date.fromisoformat(FIRST_NIGHT) <= date.fromisoformat(night) <= date.fromisoformat(LAST_NIGHT):
        raise ValueError(f"the simulated survey lasts from {FIRST_NIGHT} to {LAST_NIGHT}; {night} is outside")
    return round(jd_of_night(night) - JD_2017)
