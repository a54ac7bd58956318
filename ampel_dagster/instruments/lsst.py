"""Rubin Observatory's LSST: packets of schema versions 7 to 11, as Confluent frames, Avro containers or JSON.

Sources of the rules: Rubin's alert schemas (https://github.com/lsst/alert_packet), AMPEL's `LSSTAlertSupplier` and
`LSSTDataPointShaper` (tags, ids of alerts and stocks). Where this differs from AMPEL: `docs/decisions.md`.
"""

import gzip
import json
import re
import struct
from base64 import b64decode
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from math import isfinite, log, log10
from operator import itemgetter
from pathlib import Path
from typing import Any, ClassVar, Self

from ampel_dagster.instruments.avro_container import ContainerReader
from ampel_dagster.instruments.base import Instrument, as_float, changed, each
from ampel_dagster.instruments.lsst_schema import FrameReader
from ampel_dagster.model.alert import Alert, Packet
from ampel_dagster.model.datapoint import DataPoint
from ampel_dagster.model.errors import AlertFormatError
from ampel_dagster.model.ids import hash64
from ampel_dagster.model.light_curve import AB_ZERO_POINT_NJY, LightCurve
from ampel_dagster.model.night import ut_night

#: Julian date of MJD 0.
_JD_OF_MJD_0 = 2400000.5
#: TAI - UTC since 2017-01-01, in days (IERS Bulletin C: no leap second since).
_TAI_UTC_DAYS = 37 / 86400
_BODY_TYPE_RANK = 1_000_000
_MAG_PER_RELATIVE_FLUX = 2.5 / log(10)
_SOLAR_SYSTEM = re.compile(r"SSO([1-9][0-9]{0,18})")
_NUMBER = re.compile(r"[1-9][0-9]{0,18}")
_VERSION = re.compile(rb"lsst\.v(\d{1,3})_(\d{1,2})")
#: Where a container names its schema first.
_HEADER_BYTES = 4096
#: Depth of a limit and of what counts as a forced detection, in units of the error.
_LIMIT_SIGMA, _FORCED_SIGMA = 5, 3
#: Parts of a record (0 head, 1 history, 2 stamps), read when asked for.
Parts = Callable[[int], Mapping[str, Any]]


class LSST(Instrument):
    """Rubin's alerts. Solar-system objects are for channels whose `access` names `LSST_SSO`."""

    survey: ClassVar[str] = "lsst"
    rights: ClassVar[frozenset[str]] = frozenset({"LSST", "LSST_SSO"})
    public_access: ClassVar[tuple[str, ...]] = ("LSST",)
    stock_tags: ClassVar[tuple[str, ...]] = ("LSST",)

    def __init__(self, schemas: Path | None = None) -> None:
        """`schemas`: folder with the schemas of Confluent frames, as ``MAJOR/MINOR/lsst.vMAJOR_MINOR.alert.avsc``."""
        self._reader = ContainerReader(head_until="diaSource", stamps_from="cutout")
        self._frames = FrameReader(schemas)

    @classmethod
    def with_schemas(cls, folder: Path | None) -> Self:
        """An instrument that reads frames by the schemas of this folder."""
        return cls(folder)

    def decode(self, packet: Packet) -> Iterator[Alert | AlertFormatError]:
        """Alerts of one frame, container or JSON object."""
        return each(self._records(packet.data), lambda found: _alert(packet, *found))

    def _records(self, data: bytes) -> Iterator[tuple[Parts, int] | AlertFormatError]:
        """Records with the rank of their schema: its version times 100, 0 where it is not known."""
        if data[:64].lstrip().startswith(b"{"):
            try:
                yield _json_parts(data), 0
            except AlertFormatError as error:
                yield error
            return
        framed = self._frames.is_frame(data)
        try:
            container = self._frames.container(data) if framed else data
        except AlertFormatError as error:
            yield error
            return
        for found in self._reader.read(container):
            if isinstance(found, AlertFormatError):
                yield found if found.reason != "NOT_AVRO" else _not_a_packet()
            else:
                record, version = found
                yield record.part, _rank(version) if framed else _rank_of_header(data)

    def stock_id(self, name: str) -> int:
        """'169562325793636358' (a diaObjectId) is its own number; a solar-system object 'SSO12' is -12."""
        solar = _SOLAR_SYSTEM.fullmatch(name)
        if solar is None and _NUMBER.fullmatch(name) is None:
            raise ValueError(f"{name!r} is no LSST name (the diaObjectId, or SSO and the ssObjectId)")
        number = int(solar[1]) if solar else int(name)
        if number >= 1 << 63:
            raise ValueError(f"{name!r} is beyond 64 bits")
        return -number if solar else number

    def stock_name(self, stock: int) -> str:
        """169562325793636358 -> '169562325793636358', -12 -> 'SSO12'."""
        return str(stock) if stock > 0 else f"SSO{-stock}"

    def position(self, candidate: Mapping[str, Any]) -> tuple[float, float]:
        """(ra, dec) of a source in degrees, ICRS."""
        return as_float(candidate, "ra"), as_float(candidate, "dec")

    def light_curve(self, stock: int, points: Sequence[DataPoint]) -> LightCurve:
        """Difference photometry: fluxes of the PSF model in nJy, AB magnitudes of their absolute values."""
        rows = [_photometry(point) for point in sorted(points, key=itemgetter(2))]
        return LightCurve.from_rows(self.survey, stock, self.stock_name(stock), rows)


def utc_jd(mjd_tai: float) -> float:
    """Julian date in UTC, as ZTF counts, of Rubin's times (MJD in TAI). Raises ValueError where it is not finite."""
    if not isfinite(mjd_tai):
        raise ValueError(f"the time is {mjd_tai}")
    return mjd_tai + _JD_OF_MJD_0 - _TAI_UTC_DAYS


def day_obs(mjd_tai: float) -> str:
    """Rubin's observing night: the date of TAI - 12 h. 61002.077 -> '2025-11-22'."""
    return ut_night(mjd_tai + _JD_OF_MJD_0 - 0.5)


def forced_id(stock: int, visit: int, detector: int) -> int:
    """Id of a forced measurement: one an object and image. `diaForcedSourceId` may be that of a detection."""
    return hash64(struct.pack(">qqq", stock, visit, detector))


@lru_cache(maxsize=256)
def tags(right: str, band: str | None, kind: str) -> tuple[str, ...]:
    """AMPEL's tags: survey (which is the data right, too), band, kind (`LSST_DP`, `LSST_FP`)."""
    return (right, *((f"LSST_{band.upper()}",) if band else ()), kind)


def _alert(packet: Packet, parts: Parts, rank: int) -> Alert:
    source = _record(parts(0).get("diaSource"), "diaSource")
    try:
        stock = _stock(source, parts)
        alert_id, mjd = _integer(source, "diaSourceId"), float(source["midpointMjdTai"])
        jd, night = utc_jd(mjd), day_obs(mjd)
        position = float(source["ra"]), float(source["dec"])
        if not (isfinite(position[0]) and isfinite(position[1])):
            raise ValueError(f"the position is {position}")
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise AlertFormatError("INVALID_FIELD", f"{type(error).__name__}: {error}") from error
    right = "LSST" if stock > 0 else "LSST_SSO"

    def points() -> tuple[DataPoint, ...]:
        return _points(stock, right, source, parts(1), rank)

    def cutouts() -> Mapping[str, bytes]:
        return _stamps(parts(2))

    return Alert(
        id=alert_id,
        stock=stock,
        name=str(stock) if stock > 0 else f"SSO{-stock}",
        jd=jd,
        night=night,
        tag=tags(right, source.get("band"), "LSST_DP"),
        rank=rank,
        candidate=source,
        packet=packet,
        read_points=points,
        read_cutouts=cutouts,
    )


def _stock(source: Mapping[str, Any], parts: Parts) -> int:
    """The object that a source is of: its diaObjectId, or minus its ssObjectId; 0 and null say that there is none."""
    if source.get("diaObjectId"):
        return _positive(_integer(source, "diaObjectId"))
    if source.get("ssObjectId"):
        return -_positive(_integer(source, "ssObjectId"))
    # The source may be silent while the object is there; costs decoding the history, and is rare.
    found = parts(1).get("diaObject")
    if found is None:
        raise ValueError("the source belongs to no object: neither diaObjectId nor ssObjectId")
    return _positive(_integer(_record(found, "diaObject"), "diaObjectId"))


def _points(
    stock: int, right: str, source: Mapping[str, Any], history: Mapping[str, Any], rank: int
) -> tuple[DataPoint, ...]:
    """The candidate, then earlier detections and forced photometry from new to old; each id once."""
    try:
        first = _detection(right, source, rank + _BODY_TYPE_RANK)
        found: dict[int, DataPoint] = {}
        for raw in _records_of(history, "prvDiaSources"):
            point = _detection(right, raw, rank)
            found.setdefault(point.id, point)
        for raw in _records_of(history, "prvDiaForcedSources"):
            point = _forced(stock, right, raw, rank)
            found.setdefault(point.id, point)
    except (KeyError, TypeError, ValueError, OverflowError, struct.error) as error:
        raise AlertFormatError("INVALID_FIELD", f"{type(error).__name__}: {error}") from error
    found.pop(first.id, None)
    return (first, *sorted(found.values(), key=itemgetter(2), reverse=True))


def _detection(right: str, raw: Mapping[str, Any], rank: int) -> DataPoint:
    body = changed(raw, ("diaSourceId",))
    jd, sensor = utc_jd(float(raw["midpointMjdTai"])), _integer(raw, "detector")
    tag = tags(right, raw.get("band"), "LSST_DP")
    return DataPoint(_integer(raw, "diaSourceId"), "detection", jd, sensor, tag, rank, body)


def _forced(stock: int, right: str, raw: Mapping[str, Any], rank: int) -> DataPoint:
    visit, sensor = _integer(raw, "visit"), _integer(raw, "detector")
    jd, tag = utc_jd(float(raw["midpointMjdTai"])), tags(right, raw.get("band"), "LSST_FP")
    return DataPoint(forced_id(stock, visit, sensor), "forced", jd, sensor, tag, rank, raw)


def _integer(body: Mapping[str, Any], key: str) -> int:
    value = body[key]
    if type(value) is not int or not -(1 << 63) <= value < 1 << 63:
        raise ValueError(f"{key} is {str(value)[:40]!r}, which is no integer of 64 bits")
    return value


def _positive(id_: int) -> int:
    if id_ <= 0:
        raise ValueError(f"{id_} is the id of no object")
    return id_


def _record(value: Any, name: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise AlertFormatError("INVALID_FIELD", f"{name} is missing, or is no record")
    return value


def _records_of(history: Mapping[str, Any], name: str) -> Iterator[Mapping[str, Any]]:
    for raw in history.get(name) or ():
        yield _record(raw, name)


def _not_a_packet() -> AlertFormatError:
    return AlertFormatError("NOT_AVRO", "neither an Avro container, nor a Confluent frame, nor a JSON object")


@lru_cache(maxsize=256)
def _rank(version: str) -> int:
    """'9.0' -> 900."""
    major, _, minor = version.partition(".")
    return 100 * int(major) + int(minor)


def _rank_of_header(data: bytes) -> int:
    """Rank of a container, whose schema is called as in lsst.v9_0.alert."""
    found = _VERSION.search(data, 0, _HEADER_BYTES)
    return 100 * int(found[1]) + int(found[2]) if found else 0


def _json_parts(data: bytes) -> Parts:
    """A JSON object as parts. It has no schema, so what will be stored or computed with is checked here."""
    try:
        packet = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise AlertFormatError("UNREADABLE", f"no valid JSON ({type(error).__name__}: {str(error)[:200]})") from error
    bodies = [packet.get("diaSource"), packet.get("diaObject")]
    for name in ("prvDiaSources", "prvDiaForcedSources"):
        many = packet.get(name) or []
        if not isinstance(many, list):
            raise AlertFormatError("INVALID_FIELD", f"{name} is no list")
        bodies += many
    for body in bodies:
        for key, value in body.items() if isinstance(body, dict) else ():
            if not _storable(key, value):
                raise AlertFormatError("INVALID_FIELD", f"{ascii(key)[:60]} is {ascii(value)[:60]}")
    return lambda number: packet


#: Fields of which numbers are made.
_NUMBERS = frozenset({"midpointMjdTai", "ra", "dec", "psfFlux", "psfFluxErr"})


def _storable(key: str, value: Any) -> bool:
    if "\0" in key or not _is_text(key):
        return False
    if isinstance(value, str):
        return key not in _NUMBERS and _is_text(value)
    if isinstance(value, int):
        return key != "band" and -(1 << 63) <= value < 1 << 63
    return value is None or (isinstance(value, float) and key != "band")


def _is_text(value: str) -> bool:
    """Whether a string is valid Unicode; JSON can spell halves of characters."""
    return value.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in value)


def _stamps(part: Mapping[str, Any]) -> Mapping[str, bytes]:
    """Stamps by name; Rubin's are plain FITS, and are packed here. In JSON they are base64."""
    found = {}
    for key, stamp in part.items():
        if not key.startswith("cutout") or not stamp:
            continue
        try:
            data = b64decode(stamp, validate=True) if isinstance(stamp, str) else bytes(stamp)
        except (TypeError, ValueError) as error:
            raise AlertFormatError("INVALID_FIELD", f"{key} is no stamp ({error})") from error
        packed = data if data.startswith(b"\x1f\x8b") else gzip.compress(data, mtime=0)
        found[key.removeprefix("cutout").lower()] = packed
    return found


def _photometry(point: DataPoint) -> tuple[Any, ...]:
    """Row of a light curve (`LightCurve.from_rows`) of one point."""
    body = point.body
    flux, error = as_float(body, "psfFlux"), as_float(body, "psfFluxErr")
    negative = body.get("isNegative")
    if negative is None:
        negative = body.get("is_negative")  # up to version 7
    positive = not negative if negative is not None else not flux < 0
    limit = AB_ZERO_POINT_NJY - 2.5 * log10(_LIMIT_SIGMA * error) if 0 < error < float("inf") else float("nan")
    # A detection has been found by the survey; of a forced measurement it is not known whether there is anything.
    shows = 0 < abs(flux) < float("inf") if point.kind == "detection" else flux > _FORCED_SIGMA * error > 0
    mag = AB_ZERO_POINT_NJY - 2.5 * log10(abs(flux)) if shows else float("nan")
    mag_err = _MAG_PER_RELATIVE_FLUX * error / abs(flux) if shows else float("nan")
    where = as_float(body, "ra"), as_float(body, "dec")
    return point.id, point.jd, point.kind, body.get("band") or "", mag, mag_err, limit, flux, error, positive, *where
