"""Packets as Palomar Gattini-IR sends them, with the fields that are read."""

from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any

import fastavro

_ROW = [
    *({"name": name, "type": "double"} for name in ("jd",)),
    *({"name": name, "type": ["null", "long"]} for name in ("candid", "subid", "quadpos", "subquadpos", "field")),
    *({"name": name, "type": ["null", "float"]} for name in ("diffmaglim", "magpsf", "sigmapsf", "drb")),
    *({"name": name, "type": ["null", "double"]} for name in ("ra", "dec")),
    *({"name": name, "type": ["null", "string"]} for name in ("isdiffpos", "program")),
]
_SCHEMA = fastavro.parse_schema(
    {
        "type": "record",
        "name": "pgir.alert",
        "version": "0.1",
        "fields": [
            {"name": "schemavsn", "type": "string"},
            *({"name": f"cutout{name}", "type": "bytes"} for name in ("Science", "Template", "Difference")),
            {"name": "objectId", "type": "string"},
            {"name": "candid", "type": "long"},
            {"name": "candidate", "type": {"type": "record", "name": "candidate", "fields": _ROW}},
            {
                "name": "prv_candidates",
                "type": ["null", {"type": "array", "items": {"type": "record", "name": "prv", "fields": _ROW}}],
            },
        ],
    }
)


def pgir_row(
    jd: float,
    *,
    candid: int | None,
    mag: float | None = None,
    limit: float = 15.0,
    subid: int = 1,
    isdiffpos: str = "1",
) -> dict[str, Any]:
    """A detection, or, without a candid, an upper limit."""
    seen = candid is not None
    return {
        **{"jd": jd, "candid": candid, "subid": subid, "quadpos": 3, "subquadpos": 2, "field": 809},
        **{"diffmaglim": limit, "program": "SURVEY"},
        "magpsf": mag if seen else None,
        "sigmapsf": 0.1 if seen else None,
        "drb": 1.0 if seen else None,
        "ra": 285.5 if seen else None,
        "dec": 10.5 if seen else None,
        "isdiffpos": isdiffpos if seen else None,
    }


def pgir_packet(name: str, candidate: Mapping[str, Any], history: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One alert with stamps of a few bytes."""
    stamps = {f"cutout{kind}": b"\x1f\x8bstamp" for kind in ("Science", "Template", "Difference")}
    head = {"schemavsn": "0.1", **stamps, "objectId": name, "candid": candidate["candid"]}
    return {**head, "candidate": dict(candidate), "prv_candidates": [dict(row) for row in history]}


def pgir_bytes(packet: Mapping[str, Any]) -> bytes:
    """An Avro container."""
    out = BytesIO()
    fastavro.writer(out, _SCHEMA, [packet])
    return out.getvalue()
