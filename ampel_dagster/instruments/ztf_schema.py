"""Avro schema of ZTF's alert packets, version 4.02, from tables of (name, type).

Names, types and their order are those of the survey's packets; the order matters to readers that stop after
`candidate`. In the tables a type with ``?`` may be null, and is so by default.

What the fields mean: Masci et al. 2019, PASP 131, 018003, and the documentation of the packets
(https://zwickytransientfacility.github.io/ztf-avro-alert/schema.html). In short: magnitudes are AB magnitudes
of the difference image, times Julian dates of the start of the exposure, `ra` and `dec` degrees, `dist*`
arcseconds for catalogues and pixels for the reference image; -999 (the text "null" for names) says that there
is nothing.
"""

from typing import Any

SCHEMA_VERSION = "4.02"

_EXPOSURE = "jd:double fid:int pid:long diffmaglim:float? pdiffimfilename:string? programpi:string? programid:int"

_MEASURED = """
    tblid:long? nid:int? rcid:int? field:int? xpos:float? ypos:float? ra:double dec:double magpsf:float
    sigmapsf:float chipsf:float? magap:float? sigmagap:float? distnr:float? magnr:float? sigmagnr:float?
    chinr:float? sharpnr:float? sky:float? magdiff:float? fwhm:float? classtar:float? mindtoedge:float?
    magfromlim:float? seeratio:float? aimage:float? bimage:float? aimagerat:float? bimagerat:float?
    elong:float? nneg:int? nbad:int? rb:float? ssdistnr:float? ssmagnr:float? ssnamenr:string?
    sumrat:float? magapbig:float? sigmagapbig:float? ranr:double decnr:double
"""

_CANDIDATE = f"""
    {_EXPOSURE} candid:long isdiffpos:string {_MEASURED}
    sgmag1:float? srmag1:float? simag1:float? szmag1:float? sgscore1:float? distpsnr1:float?
    ndethist:int ncovhist:int jdstarthist:double? jdendhist:double? scorr:double? tooflag:int?
    objectidps1:long? objectidps2:long?
    sgmag2:float? srmag2:float? simag2:float? szmag2:float? sgscore2:float? distpsnr2:float? objectidps3:long?
    sgmag3:float? srmag3:float? simag3:float? szmag3:float? sgscore3:float? distpsnr3:float?
    nmtchps:int rfid:long jdstartref:double jdendref:double nframesref:int rbversion:string
    dsnrms:float? ssnrms:float? dsdiff:float? magzpsci:float? magzpsciunc:float? magzpscirms:float?
    nmatches:int clrcoeff:float? clrcounc:float? zpclrcov:float? zpmed:float? clrmed:float? clrrms:float?
    neargaia:float? neargaiabright:float? maggaia:float? maggaiabright:float?
    exptime:float? drb:float? drbversion:string
"""

# An upper limit is a row of the history that knows its exposure only: all that was measured may be null.
_HISTORY = f"""
    {_EXPOSURE} candid:long? isdiffpos:string? {_MEASURED} scorr:double?
    magzpsci:float? magzpsciunc:float? magzpscirms:float? clrcoeff:float? clrcounc:float? rbversion:string
"""
_MEASURED_NAMES = frozenset(entry.split(":")[0] for entry in _MEASURED.split())

_FORCED = """
    field:int? rcid:int? fid:int pid:long rfid:long sciinpseeing:float? scibckgnd:float? scisigpix:float?
    magzpsci:float? magzpsciunc:float? magzpscirms:float? clrcoeff:float? clrcounc:float? exptime:float?
    adpctdif1:float? adpctdif2:float? diffmaglim:float? programid:int jd:double forcediffimflux:float?
    forcediffimfluxunc:float? procstatus:string? distnr:float? ranr:double decnr:double magnr:float?
    sigmagnr:float? chinr:float? sharpnr:float?
"""


def _fields(table: str, optional: frozenset[str] = frozenset()) -> list[dict[str, Any]]:
    """Avro fields of a table; those named in `optional` may be null, whatever the table says."""
    fields: list[dict[str, Any]] = []
    for entry in table.split():
        name, _, kind = entry.partition(":")
        if kind.endswith("?") or name in optional:
            fields.append({"name": name, "type": ["null", kind.removesuffix("?")], "default": None})
        else:
            fields.append({"name": name, "type": kind})
    return fields


def _record(name: str, fields: list[dict[str, Any]]) -> dict[str, Any]:
    return {"type": "record", "name": f"ztf.alert.{name}", "fields": fields}


def _optional(name: str, kind: Any) -> dict[str, Any]:
    return {"name": name, "type": ["null", kind], "default": None}


CANDIDATE: dict[str, Any] = _record("candidate", _fields(_CANDIDATE))
PRV_CANDIDATE: dict[str, Any] = _record("prv_candidate", _fields(_HISTORY, _MEASURED_NAMES))
FP_HIST: dict[str, Any] = _record("fp_hist", _fields(_FORCED))
_CUTOUT = _record("cutout", _fields("fileName:string stampData:bytes"))

#: The whole packet.
ALERT: dict[str, Any] = {
    "type": "record",
    "name": "ztf.alert",
    "version": SCHEMA_VERSION,
    "fields": [
        *_fields("schemavsn:string publisher:string objectId:string candid:long"),
        {"name": "candidate", "type": CANDIDATE},
        _optional("prv_candidates", {"type": "array", "items": PRV_CANDIDATE}),
        _optional("fp_hists", {"type": "array", "items": FP_HIST}),
        _optional("cutoutScience", _CUTOUT),
        # Avro defines a named record where it comes first, and names it afterwards.
        _optional("cutoutTemplate", _CUTOUT["name"]),
        _optional("cutoutDifference", _CUTOUT["name"]),
    ],
}


def field_names(record: dict[str, Any]) -> tuple[str, ...]:
    """Names of the fields of one of the records above, in order."""
    return tuple(field["name"] for field in record["fields"])


def float_names(record: dict[str, Any]) -> frozenset[str]:
    """Names of its fields of single precision."""
    return frozenset(field["name"] for field in record["fields"] if field["type"] in ("float", ["null", "float"]))
