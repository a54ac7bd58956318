"""Made-up packets, mostly of ZTF, for tests, demos and benchmarks: nothing of a real survey is needed.

Two ways::

    # this very packet
    packet = make_alert(mag=18.2, rb=0.3, history=[make_detection(jd=2458346.7, mag=18.9)])
    # a night of a survey
    for alert in simulate_night("2018-08-19", n_alerts=200):
        alert.kind, alert.truth, alert.to_bytes()

The survey knows variable stars, supernovae in their host galaxies, asteroids and artefacts. Its objects go on
from night to night: the alerts of one night are in the histories of the next. All is a function of the seed.

Packets of Rubin are made one by one: `make_lsst_alert`, with `make_dia_source` and `make_dia_forced_source` for its
history; they are JSON at once, or frames by a `FrameWriter` and a folder of Rubin's schemas.
"""

import os
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from gzip import GzipFile
from io import BytesIO
from pathlib import Path
from typing import Any

import pandas as pd

from ampel_dagster.instruments.lsst_encode import FrameWriter
from ampel_dagster.instruments.ztf_encode import encode_packet
from ampel_dagster.instruments.ztf_schema import CANDIDATE, PRV_CANDIDATE, field_names
from ampel_dagster.simulation.chance import uniforms
from ampel_dagster.simulation.exposures import BANDS, Frame, Place
from ampel_dagster.simulation.lsst_packets import make_dia_forced_source, make_dia_source, make_lsst_alert
from ampel_dagster.simulation.packets import (
    Detection,
    Record,
    Row,
    assemble,
    candidate_row,
    history_row,
    limit_row,
)
from ampel_dagster.simulation.stamps import stamps
from ampel_dagster.simulation.survey import ALERTS_PER_SLOT, SimulatedAlert, Survey

__all__ = [
    "SIMULATED_SURVEY",
    "FrameWriter",
    "SimulatedAlert",
    "Survey",
    "encode_packet",
    "host_catalog",
    "make_alert",
    "make_detection",
    "make_dia_forced_source",
    "make_dia_source",
    "make_limit",
    "make_lsst_alert",
    "simulate_night",
    "star_catalog",
    "survey_of",
    "truth_table",
    "write_archive",
]

#: The survey of which nights are simulated.
SIMULATED_SURVEY = "ztf"
_JD, _RA, _DEC = 2458349.7, 150.0, 20.0
_FIELD, _RCID = 400, 20
#: A faint galaxy beside the object, no star, no asteroid.
_FAINT_GALAXY: Mapping[str, Any] = {
    "sgmag1": 20.5,
    "srmag1": 20.0,
    "simag1": 19.8,
    "szmag1": 19.7,
    "sgscore1": 0.05,
    "distpsnr1": 3.0,
    "objectidps1": 132001500000000000,
    "nmtchps": 1,
}


def make_alert(
    *,
    name: str = "ZTF18aaaaaaa",
    jd: float = _JD,
    ra: float = _RA,
    dec: float = _DEC,
    mag: float = 18.5,
    mag_err: float = 0.1,
    band: str = "r",
    positive: bool = True,
    maglim: float = 20.5,
    rcid: int = _RCID,
    tblid: int = 1,
    history: Sequence[Mapping[str, Any]] = (),
    forced: Sequence[Mapping[str, Any]] = (),
    cutouts: bool = True,
    **candidate: Any,
) -> Row:
    """One packet, by default a clean detection beside a faint galaxy, which passes the usual filters.

    `jd` is the start of the exposure, positions are degrees, magnitudes AB; `band` is g, r or i. `history`
    and `forced` are rows of `prv_candidates` and `fp_hists`, see `make_detection` and `make_limit`; they are
    sorted by time. All further keywords set fields of the candidate (`rb`, `sgscore1`, `ssdistnr`,
    `programid` …); a name that no packet has raises TypeError. The id follows from time, channel, sign and
    `tblid`, unless `candid` is given.
    """
    _check_names(candidate, field_names(CANDIDATE))
    detection = Detection(
        frame=_frame(jd, band, maglim, rcid),
        tblid=tblid,
        place=Place(_FIELD, rcid, 1500.0, 1500.0, ra, dec),
        mag=mag,
        mag_err=mag_err,
        positive=positive,
        neighbours=_FAINT_GALAXY,
    )
    rows = sorted((dict(row) for row in history), key=lambda row: float(row["jd"]))
    seen = [jd, *(row["jd"] for row in rows if row["candid"] is not None)]
    record = Record(len(seen), len(rows) + 1, min(seen), jd)
    body = candidate_row(detection, record, candidate)
    images = stamps("supernova", round(mag), positive, 0) if cutouts else None
    return assemble(name, body, rows, [dict(row) for row in forced], images)


def make_detection(
    *,
    jd: float,
    mag: float = 18.5,
    mag_err: float = 0.1,
    band: str = "r",
    ra: float = _RA,
    dec: float = _DEC,
    positive: bool = True,
    maglim: float = 20.5,
    rcid: int = _RCID,
    tblid: int = 1,
    **fields: Any,
) -> Row:
    """An earlier detection for the history of `make_alert`; `fields` are set as they are."""
    _check_names(fields, field_names(PRV_CANDIDATE))
    place = Place(_FIELD, rcid, 1500.0, 1500.0, ra, dec)
    frame = _frame(jd, band, maglim, rcid)
    return history_row(Detection(frame, tblid, place, mag, mag_err, positive), fields)


def make_limit(*, jd: float, maglim: float = 20.5, band: str = "r", rcid: int = _RCID, **fields: Any) -> Row:
    """An upper limit for the history of `make_alert`: an exposure to `maglim` without the object."""
    _check_names(fields, field_names(PRV_CANDIDATE))
    return limit_row(_frame(jd, band, maglim, rcid), fields)


def simulate_night(night: str, n_alerts: int = 200, seed: int = 1, *, forced: bool = False) -> Iterator[SimulatedAlert]:
    """About `n_alerts` alerts of a UT night (``2018-08-19``), in order of time.

    About 55 % are of variable stars, 15 % each of supernovae, asteroids and artefacts. Nights of the same
    `seed` and `n_alerts` show the same objects.
    """
    return survey_of(n_alerts, seed, forced=forced).night(night)


def survey_of(n_alerts: int, seed: int = 1, *, forced: bool = False) -> Survey:
    """The survey that has about `n_alerts` alerts in a night."""
    return Survey(seed, round(n_alerts / ALERTS_PER_SLOT), forced=forced)


def host_catalog(seed: int = 1, n_objects: int = 349) -> pd.DataFrame:
    """Host galaxies of the supernovae of ``Survey(seed, n_objects)``, simulated as all the rest.

    Columns: `name`, `ra_deg` and `dec_deg` (J2000, degrees), and `z` (redshift).
    """
    rows = [
        (host.name, host.place.ra, host.place.dec, round(host.redshift, 5)) for host in Survey(seed, n_objects).hosts()
    ]
    return pd.DataFrame(rows, columns=["name", "ra_deg", "dec_deg", "z"])


def star_catalog(seed: int = 1, n_objects: int = 349, known_share: float = 0.7) -> pd.DataFrame:
    """A catalogue of the variable stars of ``Survey(seed, n_objects)`` that has about `known_share` of them.

    Columns: `name`, `ra_deg` and `dec_deg` (J2000, degrees), `period_days`, and `mean_mag`.
    """
    rows = [
        (star.name, star.place.ra, star.place.dec, round(star.period_days, 6), round(star.mean_mag, 3))
        for star in Survey(seed, n_objects).variables()
        if uniforms(seed, "catalogued", star.number)[0] < known_share
    ]
    return pd.DataFrame(rows, columns=["name", "ra_deg", "dec_deg", "period_days", "mean_mag"])


def truth_table(survey: Survey, nights: Iterable[str]) -> pd.DataFrame:
    """What is true of all that was in the images of some nights, one row an object, whether it was detected or not.

    Columns: `name`, `kind`, `ra_deg`, `dec_deg`; `n_alerts`, `first_jd` and `last_jd` (detections in these nights, NaN
    without any); and what the simulator knows, by kind: of supernovae `type`, `explosion_jd`, `peak_jd`, `peak_mag`,
    `redshift`, `host`, `host_offset_arcsec`; of variables `period_days`, `amplitude_mag`, `mean_mag`; of asteroids
    `designation` and `mag`; of artefacts `artefact`.
    """
    rows: dict[str, dict[str, Any]] = {}
    for night in nights:
        for thing in survey.objects(night):
            where = {"name": thing.name, "kind": thing.kind, "ra_deg": thing.place.ra, "dec_deg": thing.place.dec}
            rows.setdefault(thing.name, {**where, "n_alerts": 0, "first_jd": None, "last_jd": None, **thing.truth()})
        for sighting in survey.sightings(night):
            row = rows[sighting.name]
            row["n_alerts"] += 1
            row["first_jd"] = sighting.jd if row["first_jd"] is None else min(row["first_jd"], sighting.jd)
            row["last_jd"] = sighting.jd if row["last_jd"] is None else max(row["last_jd"], sighting.jd)
    frame = pd.DataFrame(list(rows.values()))
    return frame.astype({"first_jd": float, "last_jd": float}) if rows else frame


def write_archive(path: Path, alerts: Iterable[SimulatedAlert | Mapping[str, Any]]) -> int:
    """Write alerts (or packets) as ZTF archives a night, in a tar.gz of ``<candid>.avro``; return their number.

    The file appears whole or not at all, and the same alerts give the same bytes.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Hidden and of another ending, so that nobody who watches the folder takes it for an archive.
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.part")
    count = 0
    try:
        with (
            unfinished.open("wb") as file,
            GzipFile(filename="", mode="wb", compresslevel=1, fileobj=file, mtime=0) as packed,
            tarfile.open(fileobj=packed, mode="w") as archive,
        ):
            for alert in alerts:
                packet = alert.packet if isinstance(alert, SimulatedAlert) else alert
                data = encode_packet(packet)
                member = tarfile.TarInfo(f"{packet['candid']}.avro")
                member.size = len(data)
                archive.addfile(member, BytesIO(data))
                count += 1
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    return count


def _frame(jd: float, band: str, maglim: float, rcid: int) -> Frame:
    if band not in BANDS:
        raise ValueError(f"band must be one of {', '.join(BANDS)}, not {band!r}")
    return Frame(jd, BANDS[band], _FIELD, rcid, maglim)


def _check_names(given: Mapping[str, Any], known: Sequence[str]) -> None:
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise TypeError(f"a packet has no field {', '.join(unknown)}")
