"""Schemas of Rubin's alert packets, found by the number that a Confluent frame carries.

Rubin's stream does not repeat the schema in each packet: a frame is a zero byte, the schema's number in the registry
(100 * major + minor, so 900 is version 9.0), and the bare record. The schemas themselves are Rubin's, published under
the GPL, and are no part of this package: they are read at run time, from a folder or from the installed distribution
``lsst-alert-packet``, of which no code is run.
"""

import json
import struct
from hashlib import blake2b
from importlib.metadata import PackageNotFoundError, distribution
from io import BytesIO
from pathlib import Path
from typing import Any

from fastavro import schemaless_writer
from fastavro.repository import SchemaRepositoryError
from fastavro.schema import load_schema

from ampel_dagster.instruments.avro_container import DECODE_ERRORS
from ampel_dagster.model.errors import AlertFormatError

_DISTRIBUTION = "lsst-alert-packet"
_IN_DISTRIBUTION = "lsst/alert/packet/schema"
_FRAME = struct.Struct(">bI")
_LONG = "long"


class FrameReader:
    """Turns Confluent frames into Avro containers, which are read like all others.

    What it adds is the container's header, made once a schema. A schema that was not found is looked for again with
    the next packet, so that a long run goes on when the file is put into its place.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._headers: dict[int, tuple[bytes, bytes]] = {}

    @staticmethod
    def is_frame(data: bytes) -> bool:
        """Whether the bytes begin as a frame does."""
        return len(data) > _FRAME.size and data[0] == 0

    def container(self, data: bytes) -> bytes:
        """The frame as an Avro container whose schema has a `version`.

        Raises AlertFormatError (UNKNOWN_SCHEMA, INVALID_SCHEMA).
        """
        number = _FRAME.unpack_from(data)[1]
        header, sync = self._headers.get(number) or self._header(number)
        payload = memoryview(data)[_FRAME.size :]
        return b"".join((header, sync, _long(1), _long(len(payload)), payload, sync))

    def _header(self, number: int) -> tuple[bytes, bytes]:
        path = self._find(number)
        try:
            schema = _plain(load_schema(str(path), _write_hint=False))
            if not isinstance(schema, dict):
                raise ValueError("it is no record")
        except (OSError, SchemaRepositoryError, *DECODE_ERRORS) as error:
            message = f"{path} cannot be used ({type(error).__name__}: {error})"
            raise AlertFormatError("INVALID_SCHEMA", message) from error
        content = json.dumps({**schema, "version": f"{number // 100}.{number % 100}"}).encode()
        buffer = BytesIO(b"Obj\x01")
        buffer.seek(0, 2)
        meta = {"avro.codec": b"null", "avro.schema": content}
        schemaless_writer(buffer, {"type": "map", "values": "bytes"}, meta)
        found = self._headers[number] = buffer.getvalue(), blake2b(content, digest_size=16).digest()
        return found

    def _find(self, number: int) -> Path:
        """The file of the topmost schema."""
        major, minor = divmod(number, 100)
        name = f"{major}/{minor}/lsst.v{major}_{minor}.alert.avsc"
        for folder in (self._folder, installed_schemas()):
            if folder is not None and (folder / name).is_file():
                return folder / name
        place = f"put it into {self._folder / name}" if self._folder else "name its folder under schemas: of the stream"
        message = f"schema {major}.{minor} (number {number} of the registry) is not there"
        raise AlertFormatError("UNKNOWN_SCHEMA", f"{message}; {place}, or install {_DISTRIBUTION}")


def installed_schemas() -> Path | None:
    """Folder of the schemas in the installed distribution, or None."""
    try:
        folder = Path(str(distribution(_DISTRIBUTION).locate_file(_IN_DISTRIBUTION)))
    except PackageNotFoundError:
        return None
    return folder if folder.is_dir() else None


def _plain(schema: Any) -> Any:
    """A schema without documentation and without what the parser noted in it."""
    if isinstance(schema, list):
        return [_plain(option) for option in schema]
    if isinstance(schema, dict):
        # A field may be called "doc", too, but is then a value of "name".
        return {key: _plain(value) for key, value in schema.items() if key != "doc" and not key.startswith("__")}
    return schema


def _long(number: int) -> bytes:
    buffer = BytesIO()
    schemaless_writer(buffer, _LONG, number)
    return buffer.getvalue()
