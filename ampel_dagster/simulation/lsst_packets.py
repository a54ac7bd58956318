"""Packets like Rubin's, of chosen content: the fields that matter, under Rubin's names."""

import struct
from collections.abc import Mapping, Sequence
from typing import Any

from ampel_dagster.instruments.lsst import day_obs
from ampel_dagster.model.ids import hash64

Row = dict[str, Any]
_VISIT_S = 39.0
_OBJECT = 169562325793636358
_MJD_TAI = 61002.07718
_RA, _DEC = 9.97093, -43.65211


def make_dia_source(
    *,
    mjd_tai: float = _MJD_TAI,
    flux_njy: float = 6400.0,
    flux_err_njy: float = 170.0,
    band: str = "r",
    object_id: int | None = _OBJECT,
    ra: float = _RA,
    dec: float = _DEC,
    detector: int = 131,
    **fields: Any,
) -> Row:
    """A `diaSource`; ids follow from object, visit and detector, a visit is 39 s of a night. `fields` win."""
    visit = visit_of(mjd_tai)
    id_ = hash64(struct.pack(">qqq", object_id or fields.get("ssObjectId", 0), visit, detector)) & (1 << 62) - 1
    return {
        **{"diaSourceId": id_, "visit": visit, "detector": detector, "diaObjectId": object_id, "ssObjectId": None},
        **{"midpointMjdTai": mjd_tai, "ra": ra, "dec": dec, "band": band, "isNegative": flux_njy < 0},
        **{"psfFlux": flux_njy, "psfFluxErr": flux_err_njy, "snr": abs(flux_njy) / flux_err_njy},
        **{"reliability": 0.95, "extendedness": 0.02, "isDipole": False, "pixelFlags_streak": False},
        **fields,
    }


def make_dia_forced_source(
    *,
    mjd_tai: float = _MJD_TAI,
    flux_njy: float = 100.0,
    flux_err_njy: float = 170.0,
    band: str = "r",
    object_id: int = _OBJECT,
    detector: int = 131,
    **fields: Any,
) -> Row:
    """A `diaForcedSource`: what was measured at the object's place in an image, whether it shows there or not."""
    visit = visit_of(mjd_tai)
    id_ = hash64(struct.pack(">qqqq", object_id, visit, detector, 1)) & (1 << 62) - 1
    return {
        **{"diaForcedSourceId": id_, "diaObjectId": object_id, "ra": _RA, "dec": _DEC, "visit": visit},
        **{"detector": detector, "psfFlux": flux_njy, "psfFluxErr": flux_err_njy, "midpointMjdTai": mjd_tai},
        **{"scienceFlux": None, "scienceFluxErr": None, "band": band},
        **{"timeProcessedMjdTai": mjd_tai + 0.002, "timeWithdrawnMjdTai": None},
        **fields,
    }


def make_lsst_alert(*, history: Sequence[Row] = (), forced: Sequence[Row] = (), **source: Any) -> Row:
    """A packet, by default of a clean detection in r; `source` says what `make_dia_source` is to make.

    `history` and `forced` are rows of `make_dia_source` and `make_dia_forced_source`. As JSON it is a packet at once;
    for a Confluent frame see `FrameWriter`.
    """
    candidate = make_dia_source(**source)
    object_id = candidate["diaObjectId"]
    body: Mapping[str, Any] | None = None
    if object_id:
        body = {"diaObjectId": object_id, "ra": candidate["ra"], "dec": candidate["dec"]}
    return {
        "diaSourceId": candidate["diaSourceId"],
        "observation_reason": None,
        "target_name": None,
        "diaSource": candidate,
        "prvDiaSources": sorted(history, key=lambda row: float(row["midpointMjdTai"])),
        "prvDiaForcedSources": sorted(forced, key=lambda row: float(row["midpointMjdTai"])),
        "diaObject": body,
    }


def visit_of(mjd_tai: float) -> int:
    """A visit's number as Rubin writes it: the night's date, and the number of the exposure in it."""
    seconds = (mjd_tai - 0.5) % 1 * 86400
    return int(day_obs(mjd_tai).replace("-", "")) * 100_000 + int(seconds / _VISIT_S) + 1
