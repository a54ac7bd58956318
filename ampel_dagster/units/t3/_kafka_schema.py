"""The Avro schema of the objects that are sent over Kafka; a new field gets a default, so that old readers go on."""

from collections.abc import Mapping
from typing import Any


def _field(name: str, kind: Any, doc: str) -> dict[str, Any]:
    return {"name": name, "type": kind, "doc": doc}


def _optional(name: str, doc: str) -> dict[str, Any]:
    return {"name": name, "type": ["null", "double"], "default": None, "doc": doc}


POINT: Mapping[str, Any] = {
    "type": "record",
    "name": "Point",
    "fields": [
        _field("id", "long", "id of the datapoint"),
        _field("jd", "double", "time, Julian date (UTC)"),
        _field("kind", "string", "detection, upper_limit or forced"),
        _field("band", "string", "band as its survey calls it"),
        _optional("mag", "AB magnitude of the difference"),
        _optional("mag_err", "its error, 1 sigma"),
        _optional("mag_limit", "AB magnitude that would just have been seen, 5 sigma"),
        _optional("flux_njy", "difference flux, nJy"),
        _optional("flux_err_njy", "its error, 1 sigma, nJy"),
        _field("positive", "boolean", "false: fainter than in the reference"),
        _optional("ra_deg", "right ascension, ICRS, degrees"),
        _optional("dec_deg", "declination, ICRS, degrees"),
    ],
}
RESULT: Mapping[str, Any] = {
    "type": "record",
    "name": "Result",
    "fields": [
        _field("unit", "string", "unit that computed it"),
        _field("version", "string", "version of the unit"),
        _field("code", "int", "0 or above: valid"),
        _field("run", "string", "run that computed it"),
        _field("body", "string", "the result as JSON"),
    ],
}
TRANSIENT: Mapping[str, Any] = {
    "type": "record",
    "name": "Transient",
    "namespace": "ampel_dagster",
    "doc": "An object as a channel saw it on a night. Version 1.",
    "fields": [
        _field("process", "string", "process that tells of it"),
        _field("channel", "string", "channel for which"),
        _field("night", "string", "night, YYYY-MM-DD"),
        _field("run", "string", "run that sends"),
        _field("sent", {"type": "long", "logicalType": "timestamp-millis"}, "when, UTC"),
        _field("survey", "string", "survey"),
        _field("name", "string", "name of the object; also the key of the message"),
        _field("stock", "long", "id of the object"),
        _field("link", "long", "id of its state: with process, channel and stock what makes a message one of its kind"),
        _optional("ra_deg", "right ascension, ICRS, degrees"),
        _optional("dec_deg", "declination, ICRS, degrees"),
        _optional("first_jd", "first alert of the object for the channel, Julian date (UTC)"),
        _optional("jd", "last alert of the night, Julian date (UTC)"),
        _field("tags", {"type": "array", "items": "string"}, "tags that the channel sees"),
        _field("alerts", {"type": "array", "items": "long"}, "ids of the night's alerts, newest last"),
        _field(
            "values",
            {"type": "map", "values": ["null", "boolean", "long", "double", "string"]},
            "values that were asked for, by path; lists and mappings as JSON",
        ),
        _field("t2", {"type": "map", "values": RESULT}, "results by product"),
        _field("light_curve", {"type": "array", "items": POINT}, "points of the state, sorted by time"),
        _field("cutouts", {"type": "map", "values": "bytes"}, "stamps of the last alert by name, gzipped FITS"),
    ],
}
