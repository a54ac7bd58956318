"""Packets as Rubin's stream carries them: a zero byte, the schema's number, the bare record."""

import struct
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

from fastavro import schemaless_writer
from fastavro.schema import load_schema

#: What stands in a field that must have a value and was given none.
_ZERO = {"boolean": False, "int": 0, "long": 0, "float": 0.0, "double": 0.0, "string": "", "bytes": b""}


class FrameWriter:
    """Writes frames of one version, by a folder of Rubin's schemas (``9/0/lsst.v9_0.alert.avsc`` …)."""

    def __init__(self, schemas: Path, version: str = "9.0") -> None:
        major, minor = version.split(".")
        path = schemas / major / minor / f"lsst.v{major}_{minor}.alert.avsc"
        #: The parsed schema.
        self.schema: Any = load_schema(str(path))
        self._named = _records(self.schema)
        self._head = struct.pack(">bI", 0, 100 * int(major) + int(minor))

    def encode(self, packet: Mapping[str, Any]) -> bytes:
        """A frame with this packet; fields that the schema has and the packet lacks are null, or zero."""
        buffer = BytesIO(self._head)
        buffer.seek(0, 2)
        schemaless_writer(buffer, self.schema, self.complete(packet))
        return buffer.getvalue()

    def complete(self, packet: Mapping[str, Any]) -> Any:
        """The packet with exactly the fields of the schema."""
        return _complete(packet, self.schema, self._named)


def _complete(value: Any, schema: Any, named: Mapping[str, Any]) -> Any:
    if isinstance(schema, list):
        used = next(option for option in schema if option != "null")
        return None if value is None and "null" in schema else _complete(value, used, named)
    if isinstance(schema, str):
        if schema in named:
            return _complete(value, named[schema], named)
        return _ZERO[schema] if value is None else value
    if schema["type"] == "array":
        return [_complete(item, schema["items"], named) for item in value or ()]
    if schema["type"] == "record":
        given = value or {}
        return {field["name"]: _complete(given.get(field["name"]), field["type"], named) for field in schema["fields"]}
    return _complete(value, schema["type"], named)


def _records(schema: Any) -> dict[str, Any]:
    """The records in a schema, by name; later fields refer to them."""
    if isinstance(schema, list):
        return {name: record for option in schema for name, record in _records(option).items()}
    if not isinstance(schema, dict):
        return {}
    if schema["type"] == "array":
        return _records(schema["items"])
    found = {schema["name"]: schema} if schema["type"] == "record" else {}
    for field in schema.get("fields", ()):
        found |= _records(field["type"])
    return found
