"""Palomar Gattini-IR: alerts in J, as Avro containers.

Sources of the rules: the schema in its packets (`pgir.alert` 0.1); De et al. 2020, PASP 132, 025001 (survey and
photometry, which is calibrated on 2MASS, in Vega magnitudes); Blanton & Roweis 2007, AJ 133, 734 (J in AB: +0.91).
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from math import isfinite, log
from operator import itemgetter
from typing import Any, ClassVar

from ampel_dagster.instruments.avro_container import ContainerReader, Record
from ampel_dagster.instruments.base import Instrument, as_float, changed, each
from ampel_dagster.model.alert import Alert, Packet
from ampel_dagster.model.datapoint import DataPoint
from ampel_dagster.model.errors import AlertFormatError
from ampel_dagster.model.light_curve import AB_ZERO_POINT_NJY, LightCurve
from ampel_dagster.model.night import ut_night

#: Magnitudes to add to those of 2MASS J.
J_AB_MINUS_VEGA = 0.91
_MAG_PER_RELATIVE_FLUX = 2.5 / log(10)
_NAME = re.compile(r"PGIR([0-9]{2})([a-z]{6})")
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_TAG = ("PGIR", "PGIR_J")
_POSITIVE = frozenset(("t", "1"))
_RANK, _BODY_TYPE_RANK = 10, 1_000_000


class PGIR(Instrument):
    """Alerts of Palomar Gattini-IR; one band, one right."""

    survey: ClassVar[str] = "pgir"
    rights: ClassVar[frozenset[str]] = frozenset({"PGIR"})
    public_access: ClassVar[tuple[str, ...]] = ("PGIR",)
    stock_tags: ClassVar[tuple[str, ...]] = ("PGIR",)

    def __init__(self) -> None:
        self._reader = ContainerReader(head_until="candidate", stamps_from="cutout")

    def decode(self, packet: Packet) -> Iterator[Alert | AlertFormatError]:
        """Alerts of one container file."""
        return each(self._reader.read(packet.data), lambda found: self._alert(packet, found[0]))

    def stock_id(self, name: str) -> int:
        """'PGIR19aacbvv' -> 3639519: the letters as a base-26 number, then the two digits of the year."""
        match = _NAME.fullmatch(name)
        if match is None or match[1] == "00":
            raise ValueError(f"{name!r} is no PGIR name (PGIR, the year's last two digits, six letters)")
        number = 0
        for letter in match[2]:
            number = number * 26 + _LETTERS.index(letter)
        return number * 100 + int(match[1])

    def stock_name(self, stock: int) -> str:
        """3639519 -> 'PGIR19aacbvv'."""
        number, year = divmod(stock, 100)
        letters = ""
        for _ in range(6):
            number, letter = divmod(number, 26)
            letters = _LETTERS[letter] + letters
        return f"PGIR{year:02d}{letters}"

    def position(self, candidate: Mapping[str, Any]) -> tuple[float, float]:
        """(ra, dec) of a candidate in degrees, J2000."""
        return as_float(candidate, "ra"), as_float(candidate, "dec")

    def light_curve(self, stock: int, points: Sequence[DataPoint]) -> LightCurve:
        """Difference photometry: PSF magnitudes and limits in J, from Vega to AB."""
        rows = [_photometry(point) for point in sorted(points, key=itemgetter(2))]
        return LightCurve.from_rows(self.survey, stock, self.stock_name(stock), rows)

    def _alert(self, packet: Packet, record: Record) -> Alert:
        head = record.part(0)
        candidate = head["candidate"]
        try:
            name = head["objectId"]
            stock = self.stock_id(name)
            alert_id, jd = int(head["candid"]), float(candidate["jd"])
            night = ut_night(jd)
            if not (isfinite(candidate["ra"]) and isfinite(candidate["dec"])):
                raise ValueError(f"the position is {candidate['ra']}, {candidate['dec']}")
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise AlertFormatError("INVALID_FIELD", f"{type(error).__name__}: {error}") from error
        # The schema has the stamps first, so that they are read with the head.
        stamps = {key.removeprefix("cutout").lower(): head[key] for key in head if key.startswith("cutout")}
        return Alert(
            id=alert_id,
            stock=stock,
            name=name,
            jd=jd,
            night=night,
            tag=_TAG,
            rank=_RANK,
            candidate=candidate,
            packet=packet,
            read_points=lambda: _points(alert_id, candidate, record.part(1)),
            read_cutouts=lambda: {key: stamp for key, stamp in stamps.items() if stamp},
        )


def _points(candid: int, candidate: Mapping[str, Any], history: Mapping[str, Any]) -> tuple[DataPoint, ...]:
    """The candidate, then its history from new to old; a limit below zero says that there is none."""
    found: dict[int, DataPoint] = {}
    try:
        first = _detection(candid, candidate, _RANK + _BODY_TYPE_RANK)
        for body in history.get("prv_candidates") or ():
            if body["candid"] is not None:
                point = _detection(int(body["candid"]), body, _RANK)
            elif body["diffmaglim"] is not None and body["diffmaglim"] >= 0:
                point = _upper_limit(body)
            else:
                continue
            found.setdefault(point.id, point)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise AlertFormatError("INVALID_FIELD", f"{type(error).__name__}: {error}") from error
    found.pop(first.id, None)
    return (first, *sorted(found.values(), key=itemgetter(2), reverse=True))


def _detection(candid: int, raw: Mapping[str, Any], rank: int) -> DataPoint:
    file = raw.get("pdiffimfilename")
    name = {"pdiffimfilename": file.rsplit("/", 1)[-1]} if file else {}
    body = changed(raw, ("candid",), **name)
    return DataPoint(candid, "detection", _jd(raw), _sensor(raw), _TAG, rank, body)


def _upper_limit(raw: Mapping[str, Any]) -> DataPoint:
    """One an image, so that objects share it: its id is that of the difference image, negative as candids are not."""
    kept = ("jd", "diffmaglim", "subid", "quadpos", "subquadpos", "field")
    body = {key: raw[key] for key in kept if raw.get(key) is not None}
    return DataPoint(-int(raw["subid"]), "upper_limit", _jd(raw), _sensor(raw), _TAG, _RANK, body)


def _jd(body: Mapping[str, Any]) -> float:
    jd = float(body["jd"])
    if not isfinite(jd):
        raise ValueError(f"jd is {jd}")
    return jd


def _sensor(body: Mapping[str, Any]) -> int:
    """Which of the sixteen parts of the field: quadrant and quarter of it."""
    return int(body.get("quadpos") or 0) * 4 + int(body.get("subquadpos") or 0)


def _photometry(point: DataPoint) -> tuple[Any, ...]:
    """Row of a light curve (`LightCurve.from_rows`) of one point."""
    body, nan = point.body, float("nan")
    mag = mag_err = flux = flux_err = nan
    positive = True
    if point.kind == "detection":
        positive = str(body.get("isdiffpos")) in _POSITIVE
        mag, mag_err = as_float(body, "magpsf") + J_AB_MINUS_VEGA, as_float(body, "sigmapsf")
        size = 10 ** ((AB_ZERO_POINT_NJY - mag) / 2.5)
        flux, flux_err = size if positive else -size, size * mag_err / _MAG_PER_RELATIVE_FLUX
    limit = as_float(body, "diffmaglim") + J_AB_MINUS_VEGA
    where = as_float(body, "ra"), as_float(body, "dec")
    return point.id, point.jd, point.kind, "J", mag, mag_err, limit, flux, flux_err, positive, *where
