"""Facts about a detection -> the rows of a ZTF packet.

What the simulator does not model is filled with plain values of the usual size, so that every field of the
schema is there and of the right type. -999 says "none", as in the survey's own packets.
"""

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import cos, hypot, log, radians
from types import MappingProxyType
from typing import Any

from ampel_dagster.instruments.ztf_schema import (
    CANDIDATE,
    FP_HIST,
    PRV_CANDIDATE,
    SCHEMA_VERSION,
    field_names,
    float_names,
)
from ampel_dagster.simulation.exposures import ARCSEC_PER_PIXEL, PIXELS, Frame, Place
from ampel_dagster.simulation.stamps import Stamps

Row = dict[str, Any]
Fields = Mapping[str, Any]
NO_FIELDS: Fields = MappingProxyType({})

#: A relative error of the flux of 1 is this many magnitudes.
MAG_PER_RELATIVE_FLUX = 2.5 / log(10)
PUBLISHER = "ampel_dagster simulator"
NONE = -999.0
_NO_FORCED = -99999.0
_RB_VERSION, _DRB_VERSION = "simulated_rb", "simulated_drb"
_ZERO_POINT = {1: 26.3, 2: 26.2, 3: 25.7}
_SSO = ("ssdistnr", "ssmagnr", "ssnamenr")

_CANDIDATE_NAMES, _CANDIDATE_FLOATS = field_names(CANDIDATE), float_names(CANDIDATE)
_HISTORY_NAMES, _HISTORY_FLOATS = field_names(PRV_CANDIDATE), float_names(PRV_CANDIDATE)
_FORCED_NAMES, _FORCED_FLOATS = field_names(FP_HIST), float_names(FP_HIST)

#: A clean image of a point source.
_GOOD_MARKS: Fields = {
    "rb": 0.9,
    "drb": 0.99,
    "fwhm": 2.2,
    "elong": 1.1,
    "nneg": 1,
    "nbad": 0,
    "sumrat": 0.95,
    "classtar": 0.98,
    "magdiff": 0.03,
    "ssdistnr": NONE,
    "ssmagnr": NONE,
    "ssnamenr": "null",
}

#: No source near: what holds where `neighbours` says nothing else.
_NO_NEIGHBOURS: Fields = {
    **{
        f"{name}{rank}": NONE
        for rank in (1, 2, 3)
        for name in ("sgmag", "srmag", "simag", "szmag", "sgscore", "distpsnr")
    },
    **{f"objectidps{rank}": -999 for rank in (1, 2, 3)},
    "nmtchps": 0,
    "neargaia": NONE,
    "neargaiabright": NONE,
    "maggaia": NONE,
    "maggaiabright": NONE,
}

#: What tells nothing about the object: figures of the image processing.
_PROCESSING: Fields = {
    "tooflag": 0,
    "jdstartref": 2457900.5,
    "jdendref": 2458050.5,
    "nframesref": 15,
    "nmatches": 500,
    "zpclrcov": -4e-6,
    "clrmed": 0.6,
    "clrrms": 0.25,
    "exptime": 30.0,
    "drbversion": _DRB_VERSION,
}


@dataclass(frozen=True, slots=True)
class Detection:
    """One detection, as measured."""

    frame: Frame
    #: Number of the source in its frame.
    tblid: int
    place: Place
    #: Magnitude of the size of the difference flux, and its error.
    mag: float
    mag_err: float
    positive: bool
    #: How the image looks: fields of the packet, over those of a clean point source.
    marks: Fields = field(default_factory=dict)
    #: Sources nearby: fields of the packet.
    neighbours: Fields = field(default_factory=dict)

    @property
    def candid(self) -> int:
        """Its id."""
        return self.frame.candid(self.positive, self.tblid)


@dataclass(frozen=True, slots=True)
class Record:
    """How often an object was seen, and looked for, since the survey began."""

    ndethist: int
    ncovhist: int
    first_jd: float
    last_jd: float


def candidate_row(detection: Detection, record: Record, fields: Fields = NO_FIELDS) -> Row:
    """The detection that an alert is about: the body of `candidate`; `fields` overrule all else."""
    row = dict.fromkeys(_CANDIDATE_NAMES)
    row |= {**_exposure(detection.frame), **_PROCESSING, **_NO_NEIGHBOURS, **_measured(detection)}
    snr = MAG_PER_RELATIVE_FLUX / detection.mag_err
    row |= {
        "ndethist": record.ndethist,
        "ncovhist": record.ncovhist,
        "jdstarthist": record.first_jd,
        "jdendhist": record.last_jd,
        "rfid": _reference_id(detection.frame),
        "dsnrms": 0.8 * snr,
        "ssnrms": 2.0 * snr,
        "dsdiff": -1.2 * snr,
        "zpmed": _ZERO_POINT[detection.frame.fid] - 0.02,
        **detection.neighbours,
        **{name: value for name, value in detection.marks.items() if name in row},
        **fields,
    }
    return _single_precision(row, _CANDIDATE_FLOATS)


def history_row(detection: Detection, fields: Fields = NO_FIELDS) -> Row:
    """The same detection in the history of a later alert, where solar system matches are not told."""
    row = dict.fromkeys(_HISTORY_NAMES)
    measured = {**_exposure(detection.frame), **_measured(detection)}
    row |= {name: value for name, value in measured.items() if name in row and name not in _SSO}
    row |= fields
    return _single_precision(row, _HISTORY_FLOATS)


def limit_row(frame: Frame, fields: Fields = NO_FIELDS) -> Row:
    """An exposure that did not show the object: a row of the history without `candid`."""
    row = dict.fromkeys(_HISTORY_NAMES)
    row |= {name: value for name, value in _exposure(frame).items() if name in row}
    row |= fields
    return _single_precision(row, _HISTORY_FLOATS)


def forced_row(frame: Frame, flux: float, flux_err: float, neighbours: Fields) -> Row:
    """Photometry at the object's position in an exposure; `flux` is 1 for magnitude 0."""
    row = dict.fromkeys(_FORCED_NAMES)
    exposure = _exposure(frame)
    counts = 10 ** (0.4 * exposure["magzpsci"])
    row |= {name: value for name, value in exposure.items() if name in row}
    row |= {
        "rfid": _reference_id(frame),
        "sciinpseeing": 2.2,
        "scibckgnd": 200.0,
        "scisigpix": 5.4,
        "exptime": 30.0,
        "adpctdif1": 0.08,
        "adpctdif2": 0.08,
        "forcediffimflux": flux * counts,
        "forcediffimfluxunc": flux_err * counts,
        "procstatus": "0",
        "distnr": 1.0 if "ranr" in neighbours else _NO_FORCED,
        **{
            name: neighbours.get(name, _NO_FORCED)
            for name in ("ranr", "decnr", "magnr", "sigmagnr", "chinr", "sharpnr")
        },
    }
    return _single_precision(row, _FORCED_FLOATS)


def assemble(name: str, candidate: Row, history: Sequence[Row], forced: Sequence[Row], stamps: Stamps | None) -> Row:
    """A whole packet, its fields in the order of the schema; null where there is no history."""
    candid, pid = candidate["candid"], candidate["pid"]
    sign = "scimref" if candidate["isdiffpos"] == "t" else "refmsci"
    files = (
        f"candid{candid}_pid{pid}_targ_sci.fits.gz",
        f"candid{candid}_ref.fits.gz",
        f"candid{candid}_pid{pid}_targ_{sign}.fits.gz",
    )
    cutouts: list[Row | None] = [None, None, None]
    if stamps is not None:
        cutouts = [{"fileName": file, "stampData": stamp} for file, stamp in zip(files, stamps, strict=True)]
    return {
        "schemavsn": SCHEMA_VERSION,
        "publisher": PUBLISHER,
        "objectId": name,
        "candid": candid,
        "candidate": candidate,
        "prv_candidates": list(history) or None,
        "fp_hists": list(forced) or None,
        "cutoutScience": cutouts[0],
        "cutoutTemplate": cutouts[1],
        "cutoutDifference": cutouts[2],
    }


def _exposure(frame: Frame) -> Row:
    """What is known of an exposure, whether it shows the object or not."""
    band = "gri"[frame.fid - 1]
    return {
        "jd": frame.jd,
        "fid": frame.fid,
        "pid": frame.pid,
        "diffmaglim": frame.maglim,
        "pdiffimfilename": f"ztf_{frame.pid}_{frame.field:06d}_z{band}_c{frame.rcid // 4 + 1:02d}_o_"
        f"q{frame.rcid % 4 + 1}_scimrefdiffimg.fits",
        "programpi": "simulated",
        "programid": 1,
        "nid": frame.nid,
        "rcid": frame.rcid,
        "field": frame.field,
        "magzpsci": _ZERO_POINT[frame.fid],
        "magzpsciunc": 1e-5,
        "magzpscirms": 0.03,
        "clrcoeff": -0.06 if frame.fid == 1 else 0.1,
        "clrcounc": 1e-5,
        "rbversion": _RB_VERSION,
    }


def _measured(detection: Detection) -> Row:
    """What was measured of a source; `marks` may set any of it."""
    place, frame, mag = detection.place, detection.frame, detection.mag
    marks = {**_GOOD_MARKS, **detection.marks}
    magap = mag + marks["magdiff"]
    major = 0.45 * marks["fwhm"]
    edge = min(place.xpos, place.ypos, PIXELS - place.xpos, PIXELS - place.ypos)
    return {
        **_nearest_reference(place, detection.neighbours),
        "candid": detection.candid,
        "isdiffpos": "t" if detection.positive else "f",
        "tblid": detection.tblid,
        "xpos": place.xpos,
        "ypos": place.ypos,
        "ra": place.ra,
        "dec": place.dec,
        "magpsf": mag,
        "sigmapsf": detection.mag_err,
        "chipsf": 1.2,
        "magap": magap,
        "sigmagap": 1.2 * detection.mag_err,
        "sky": 0.1,
        "mindtoedge": max(edge, 0.0),
        "magfromlim": frame.maglim - magap,
        "seeratio": 1.5,
        "aimage": major,
        "bimage": major / marks["elong"],
        "aimagerat": 0.45,
        "bimagerat": 0.45 / marks["elong"],
        "magapbig": magap + 0.01,
        "sigmagapbig": 1.5 * detection.mag_err,
        "scorr": MAG_PER_RELATIVE_FLUX / detection.mag_err,
        **marks,
    }


def _nearest_reference(place: Place, neighbours: Fields) -> Row:
    """Nearest source in the reference image; `distnr` is in pixels."""
    if "ranr" not in neighbours:
        nothing = dict.fromkeys(("distnr", "magnr", "sigmagnr", "chinr", "sharpnr"), NONE)
        return {**nothing, "ranr": place.ra, "decnr": place.dec}
    east = (neighbours["ranr"] - place.ra) * cos(radians(place.dec))
    north = neighbours["decnr"] - place.dec
    found = {name: neighbours[name] for name in ("ranr", "decnr", "magnr", "sigmagnr", "chinr", "sharpnr")}
    return {**found, "distnr": hypot(east, north) * 3600 / ARCSEC_PER_PIXEL}


def _reference_id(frame: Frame) -> int:
    """Id of the reference image: field, filter, read-out channel."""
    return frame.field * 1_000_000 + 120_000 + frame.fid * 100 + frame.rcid


def _single_precision(row: Row, names: frozenset[str]) -> Row:
    """Round what the schema keeps in single precision, so that a packet reads back as it was written."""
    present = [name for name in names if row[name] is not None]
    row.update(zip(present, array("f", [row[name] for name in present]), strict=True))
    return row
