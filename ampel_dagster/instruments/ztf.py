"""The Zwicky Transient Facility: packets of all schema versions (1.3 to 4.x), ids and rights by AMPEL's rules.

Sources of the rules: AMPEL's `ZTFIdMapper`, `ZiAlertSupplier`, `ZiDataPointShaper` (behaviour, checked against its
output on a real archive) and the ZTF alert schema, https://github.com/ZwickyTransientFacility/ztf-avro-alert.
"""

import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from math import isfinite
from operator import itemgetter
from typing import Any, ClassVar

from ampel_dagster.instruments.avro_container import ContainerReader, Record
from ampel_dagster.instruments.base import Instrument, as_float, changed, each, kept, picked
from ampel_dagster.instruments.ztf_photometry import BANDS, photometry
from ampel_dagster.model.alert import Alert, Packet
from ampel_dagster.model.datapoint import DataPoint
from ampel_dagster.model.errors import AlertFormatError
from ampel_dagster.model.ids import hash64
from ampel_dagster.model.light_curve import LightCurve
from ampel_dagster.model.night import ut_night

try:
    from ampel_dagster.instruments import ztf_points
except ImportError:  # there was no C compiler when the project was installed
    ztf_points = None  # type: ignore[assignment]

#: Julian date from which ZTF counts its candids (2017-01-01).
JD_2017 = 2457754.5
#: Data rights by programid: 1 public, 2 partnership, 3 Caltech and 0 engineering (published, by AMPEL's table).
_RIGHTS = {1: ("ZTF_PUB",), 2: ("ZTF_PRIV",), 3: ("ZTF_PUB", "ZTF_PRIV"), 0: ("ZTF_PUB", "ZTF_PRIV")}
#: Letters as the digits that Python gives a number of base 26.
_DIGITS = str.maketrans("abcdefghijklmnopqrstuvwxyz", "0123456789abcdefghijklmnop")
_NAME = re.compile(r"ZTF([0-9]{2})([a-z]{7})")
_BODY_TYPE_RANK = 1_000_000
#: Fields of a detection that its datapoint does not repeat, and of an upper limit those that it does.
_NOT_KEPT = frozenset({"candid", "programpi"})
_READ = ("candid", "jd", "rcid", "pid", "fid", "programid", "pdiffimfilename", "diffmaglim")
_KEPT_OF_LIMITS = ("jd", "diffmaglim", "rcid", "fid", "programid")


#: Half the time of `DataPoint(...)`.
_new = tuple.__new__
_JD = itemgetter(2)


class ZTF(Instrument):
    """ZTF alerts as Avro container files."""

    survey: ClassVar[str] = "ztf"
    rights: ClassVar[frozenset[str]] = frozenset({"ZTF_PUB", "ZTF_PRIV"})
    public_access: ClassVar[tuple[str, ...]] = ("ZTF", "ZTF_PUB")
    stock_tags: ClassVar[tuple[str, ...]] = ("ZTF",)

    def __init__(self) -> None:
        self._reader = ContainerReader(head_until="candidate", stamps_from="cutout")

    def decode(self, packet: Packet) -> Iterator[Alert | AlertFormatError]:
        """Alerts of one container file."""
        return each(self._reader.read(packet.data), lambda found: self._alert(packet, *found))

    def stock_id(self, name: str) -> int:
        """'ZTF18aagtntk' -> 49361473: the letters as a base-26 number, shifted by 4 bits that hold the year - 2017."""
        match = _NAME.fullmatch(name)
        if match is None:
            raise ValueError(f"{name!r} is no ZTF name (ZTF, two digits, seven letters)")
        number = int(match[2].translate(_DIGITS), 26)
        year = int(match[1]) - 17
        if not 0 <= year < 16:
            raise ValueError(f"{name!r} is of a year that has no stock id (2017 to 2032)")
        return number << 4 | year

    def stock_name(self, stock: int) -> str:
        """49361473 -> 'ZTF18aagtntk'."""
        number, letters = stock >> 4, ""
        for _ in range(7):
            number, letter = divmod(number, 26)
            letters = chr(97 + letter) + letters
        return f"ZTF{(stock & 15) + 17}{letters}"

    def position(self, candidate: Mapping[str, Any]) -> tuple[float, float]:
        """(ra, dec) of a candidate in degrees, J2000."""
        return as_float(candidate, "ra"), as_float(candidate, "dec")

    def light_curve(self, stock: int, points: Sequence[DataPoint]) -> LightCurve:
        """Difference photometry; magnitudes are PSF magnitudes."""
        return self.light_curves([(stock, points)])[0]

    def light_curves(self, objects: Sequence[tuple[int, Sequence[DataPoint]]]) -> list[LightCurve]:
        """The same of many objects, computed at once."""
        columns = photometry([points for _, points in objects])
        named = [(stock, self.stock_name(stock), len(points)) for stock, points in objects]
        return LightCurve.from_columns(self.survey, named, columns)

    def _alert(self, packet: Packet, record: Record, version: str) -> Alert:
        head = record.part(0)
        candidate = head["candidate"]
        try:
            name = head.get("objectId") or head["objectid"]
            stock = self.stock_id(name)
            alert_id, jd = _int64(int(head["candid"])), float(candidate["jd"])
            night = ut_night(jd)
            rank = _schema_rank(head.get("schemavsn") or version)
            if not (isfinite(candidate["ra"]) and isfinite(candidate["dec"])):
                raise ValueError(f"the position is {candidate['ra']}, {candidate['dec']}")
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise AlertFormatError("INVALID_FIELD", f"{type(error).__name__}: {error}") from error

        def points() -> tuple[DataPoint, ...]:
            return read_points(stock, alert_id, candidate, record.part(1), rank)

        def cutouts() -> Mapping[str, bytes]:
            return _stamps(record.part(2))

        return Alert(
            id=alert_id,
            stock=stock,
            name=name,
            jd=jd,
            night=night,
            tag=tags(candidate.get("programid"), candidate.get("fid")),
            rank=rank,
            candidate=candidate,
            packet=packet,
            read_points=points,
            read_cutouts=cutouts,
        )


def read_points(
    stock: int, candid: int, candidate: Mapping[str, Any], history: Mapping[str, Any], rank: int
) -> tuple[DataPoint, ...]:
    """Datapoints of one packet: the candidate, then detections, limits and forced photometry from new to old.

    Upper limits of negative magnitude mean nothing (AMPEL drops them too).
    """
    try:
        (first,) = _points((candidate,), rank + _BODY_TYPE_RANK, candid)
        found = _points(history.get("prv_candidates") or (), rank)
        found += [_forced(stock, body, rank) for body in history.get("fp_hists") or ()]
        if not isfinite(sum(map(_JD, found), first.jd)):
            raise ValueError("a jd is no finite number")
    except (KeyError, TypeError, ValueError, OverflowError, struct.error) as error:
        raise AlertFormatError("INVALID_FIELD", f"{type(error).__name__}: {error}") from error
    found.sort(key=_JD, reverse=True)
    return (first, *found)


def upper_limit_id(jd: float, rcid: int, diffmaglim: float) -> int:
    """AMPEL's id of an upper limit: time to the microday, read-out channel, depth to the millimagnitude; negative."""
    return int((JD_2017 - jd) * 1_000_000) * 10_000_000 - rcid * 100_000 - round(diffmaglim * 1000)


def forced_id(stock: int, jd: float, fid: int, rcid: int, programid: int) -> int:
    """Id of a point of forced photometry: a hash of what names it, as the survey gives it none."""
    return hash64(struct.pack(">qdqqq", stock, jd, fid, rcid, programid))


@lru_cache(maxsize=4096)
def tags(programid: int | None, fid: int | None, *more: str) -> tuple[str, ...]:
    """AMPEL's tags of a datapoint; a program that is not known counts as private."""
    rights = _RIGHTS.get(programid, ("ZTF_PRIV",)) if programid is not None else ("ZTF_PRIV",)
    band = (f"ZTF_{BANDS[fid].upper()}",) if fid in BANDS else ()
    return ("ZTF", *rights, *band, *more)


def _sensor(rcid: int | None, pid: int) -> int:
    """The read-out channel: as the packet says, or by its processing id."""
    return int(rcid) if rcid is not None else int(pid) % 10000 // 100


def _finite(jd: float) -> float:
    jd = float(jd)
    if not isfinite(jd):
        raise ValueError(f"jd is {jd}")
    return jd


def _int64(id_: int) -> int:
    if not -(1 << 63) <= id_ < 1 << 63:
        raise ValueError(f"{id_} is beyond 64 bits and can be no id")
    return id_


def _read_bodies(bodies: Sequence[Mapping[str, Any]], rank: int, candid: int | None = None) -> list[DataPoint]:
    """Detections and upper limits; with a `candid` that of the one detection.

    Of a detection's body the id and the investigator are left out, and the folder of the image. `ztf_points.pyx` does
    the same for rows: who changes one changes both.
    """
    found = []
    for body in bodies:
        id_, jd, rcid, pid, fid, program, file, limit = picked(body, _READ)
        # Packets of the first versions do not say the read-out channel, but their processing id does.
        sensor = int(pid) % 10000 // 100 if rcid is None else rcid
        if candid is not None or id_ is not None:
            id_ = _int64(int(id_)) if candid is None else candid
            name = {"pdiffimfilename": file.rsplit("/", 1)[-1].replace(".fz", "")} if file else {}
            told = changed(body, _NOT_KEPT, **name)
            found.append(_new(DataPoint, (id_, "detection", jd, sensor, tags(program, fid), rank, told)))
        elif limit is not None and limit >= 0:
            if fid is None or program is None:
                raise ValueError("fid or programid is missing")
            id_ = _int64(upper_limit_id(jd, sensor, limit))
            told = kept(body, _KEPT_OF_LIMITS) if rcid == sensor else kept(body, _KEPT_OF_LIMITS, rcid=sensor)
            found.append(_new(DataPoint, (id_, "upper_limit", jd, sensor, tags(program, fid), rank, told)))
    return found


_points = _read_bodies
if ztf_points is not None:
    _points = ztf_points.PointReader(DataPoint, tags, _read_bodies, JD_2017, _NOT_KEPT, _KEPT_OF_LIMITS).read


def _forced(stock: int, body: Mapping[str, Any], rank: int) -> DataPoint:
    _, jd, rcid, pid, fid, program, _, _ = picked(body, _READ)
    jd, rcid, fid, program = _finite(jd), _sensor(rcid, pid), int(fid), int(program)
    tag = tags(program, fid, "ZTF_FP")
    return DataPoint(forced_id(stock, jd, fid, rcid, program), "forced", jd, rcid, tag, rank, body)


@lru_cache(maxsize=4096)
def _schema_rank(version: str) -> int:
    """'3.3' -> 330: a newer schema tells more."""
    match = re.match(r"\d+(\.\d+)?", version)
    return round(float(match[0]) * 100) if match else 0


def _stamps(part: Mapping[str, Any]) -> Mapping[str, bytes]:
    return {
        key.removeprefix("cutout").lower(): stamp["stampData"]
        for key, stamp in part.items()
        if key.startswith("cutout") and stamp and stamp.get("stampData")
    }
