"""Avro container files, one alert each, read in three stages.

A ZTF packet repeats its 22 kB schema and carries 40 kB of stamps for 7 kB of data, most of it history. Avro is read
in order, so the record is cut into three: the *head* up to the candidate, the *history*, and the *stamps*. A filter
that rejects by the candidate alone costs the head only. The readers of the three are made for the schema at hand, and
kept by the bytes of the container's header: those of `avro_rows`, which is compiled when the project is installed, or
fastavro's where there was no C compiler.
"""

import json
import struct
import zlib
from collections.abc import Callable, Iterator
from io import BytesIO
from typing import Any, NamedTuple

import fastavro
from fastavro import schemaless_reader
from fastavro.schema import SchemaParseException, UnknownType

from ampel_dagster.model.alert import MAX_ALERT_BYTES
from ampel_dagster.model.errors import AlertFormatError

try:
    from ampel_dagster.instruments import avro_rows
except ImportError:  # there was no C compiler when the project was installed
    avro_rows = None  # type: ignore[assignment]

#: (bytes, where a value begins) -> (the value, where it ends).
Reader = Callable[[bytes, int], tuple[Any, int]]
#: What fastavro, struct and zlib raise on bytes that are not what they claim to be.
DECODE_ERRORS = (
    ArithmeticError,
    EOFError,
    IndexError,
    KeyError,
    MemoryError,
    RecursionError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
    SchemaParseException,
    UnknownType,
)
_MAGIC = b"Obj\x01"
_SYNC_BYTES = 16
#: Headers of which the parsed schemas are kept; damaged packets bring ever new ones.
_KEPT_LAYOUTS = 64


class Layout(NamedTuple):
    """Header of a container: what is needed to read its blocks."""

    header: bytes
    codec: str
    #: Readers of head, history and stamps.
    parts: tuple[Reader, Reader, Reader]
    #: Version of the schema, from the header.
    version: str


class Record:
    """One record, decoded part by part; a part is decoded once, and after those before it."""

    __slots__ = ("_data", "_end", "_parts", "_readers", "end")

    def __init__(self, data: bytes, start: int, end: int, readers: tuple[Reader, Reader, Reader]) -> None:
        self._data = data
        self._readers = readers
        self._parts: list[dict[str, Any]] = []
        #: Where the bytes end that the record may take.
        self._end = end
        #: Where the last part ends that was decoded.
        self.end = start

    def part(self, number: int) -> dict[str, Any]:
        """Fields of part 0 (head), 1 (history) or 2 (stamps).

        Raises AlertFormatError where the bytes do not fit the schema.
        """
        parts = self._parts
        try:
            while len(parts) <= number:
                fields, end = self._readers[len(parts)](self._data, self.end)
                if end > self._end:
                    raise EOFError("it breaks off")
                self.end = end
                parts.append(fields)
        except DECODE_ERRORS as error:
            raise AlertFormatError("UNREADABLE", f"does not fit its schema ({_text(error)})") from error
        return parts[number]


class ContainerReader:
    """Reads containers whose records have a field `head_until`; keeps the schemas that it has parsed."""

    def __init__(self, head_until: str, stamps_from: str) -> None:
        self._head_until = head_until
        self._stamps_from = stamps_from
        self._layouts: list[Layout] = []

    def read(self, data: bytes) -> Iterator[tuple[Record, str] | AlertFormatError]:
        """Records with the version of their schema; what is broken comes last, as an error."""
        try:
            layout = self._layout(data)
            yield from self._blocks(data, layout)
        except AlertFormatError as error:
            yield error
        except DECODE_ERRORS as error:
            yield AlertFormatError("TRUNCATED", f"not a whole Avro container ({_text(error)})")

    def _layout(self, data: bytes) -> Layout:
        for layout in self._layouts:
            if data.startswith(layout.header):
                return layout
        layout = self._parse_header(data)
        self._layouts.insert(0, layout)
        del self._layouts[_KEPT_LAYOUTS:]
        return layout

    def _parse_header(self, data: bytes) -> Layout:
        if not data.startswith(_MAGIC):
            raise AlertFormatError("NOT_AVRO", "does not begin as an Avro container does")
        stream = BytesIO(data)
        stream.seek(len(_MAGIC))
        meta: dict[str, bytes] = schemaless_reader(stream, {"type": "map", "values": "bytes"}, None)  # type: ignore[assignment]
        try:
            schema = json.loads(meta["avro.schema"])
            parts = self._split(schema)
        except (*DECODE_ERRORS, AttributeError) as error:
            raise AlertFormatError("INVALID_SCHEMA", f"its schema is not valid ({_text(error)})") from error
        codec = meta.get("avro.codec", b"null").decode()
        return Layout(data[: stream.tell()], codec, parts, str(schema.get("version", "")))

    def _split(self, schema: dict[str, Any]) -> tuple[Reader, Reader, Reader]:
        """Readers of a record, cut after the head and before the stamps; the parts share their named types."""
        names = [field["name"] for field in schema["fields"]]
        first = names.index(self._head_until) + 1
        stamps = [n for n, name in enumerate(names) if n >= first and name.startswith(self._stamps_from)]
        second = stamps[0] if stamps else len(names)
        named: dict[str, Any] = {}
        parts = []
        for number, fields in enumerate(
            (schema["fields"][:first], schema["fields"][first:second], schema["fields"][second:])
        ):
            part = {**schema, "name": f"{schema['name']}_{number}", "fields": fields}
            parts.append(fastavro.parse_schema(part, named_schemas=named))
        sizes: dict[str, int | None] = {}
        for parsed in parts:
            _least_size(parsed, sizes)
        return _reader(parts[0], named), _reader(parts[1], named), _reader(parts[2], named)

    def _blocks(self, data: bytes, layout: Layout) -> Iterator[tuple[Record, str]]:
        position = len(layout.header)
        sync = data[position : position + _SYNC_BYTES]
        position += _SYNC_BYTES
        if position >= len(data):
            raise AlertFormatError("EMPTY", "a container without a record, or cut off before the first one")
        while position < len(data):
            count, position = long_at(data, position)
            size, start = long_at(data, position)
            end = start + size
            if count < 1 or size < 0:
                raise AlertFormatError("TRUNCATED", "a block of the container has no valid length")
            if size > MAX_ALERT_BYTES:
                raise AlertFormatError("TOO_LARGE", f"a block has {size} bytes, more than {MAX_ALERT_BYTES}")
            whole = end + _SYNC_BYTES <= len(data) and data[end : end + _SYNC_BYTES] == sync
            # One record in a sound block is the rule, and may be read later; all else is read at once, to know
            # here and now how much of it is good.
            if layout.codec == "null":
                block, first, last = data, start, min(end, len(data))
            else:
                block = _decompress(data[start:end], layout.codec)
                first, last = 0, len(block)
            for _ in range(count):
                record = Record(block, first, last, layout.parts)
                if count > 1 or not whole:
                    record.part(2)
                    first = record.end
                yield record, layout.version
            if not whole:
                raise AlertFormatError("TRUNCATED", "the container breaks off, or its sync marker is damaged")
            position = end + _SYNC_BYTES


def compiled() -> bool:
    """Whether packets are read by compiled code."""
    return avro_rows is not None


def long_at(data: bytes, start: int) -> tuple[int, int]:
    """A variable-length integer of up to 64 bits, and where it ends. Raises IndexError where the bytes break off."""
    value = shift = 0
    while True:
        byte = data[start]
        start += 1
        value |= (byte & 127) << shift
        if byte < 128:
            break
        shift += 7
        if shift > 63:
            raise ValueError("an integer of more than 64 bits")
    if value >> 64:
        raise ValueError("an integer of more than 64 bits")
    return (value >> 1) ^ -(value & 1), start


def _reader(schema: Any, named: dict[str, Any]) -> Reader:
    """A compiled reader, or fastavro's where there is none or the schema holds what it does not know."""
    if avro_rows is not None:
        try:
            return avro_rows.compile_reader(schema, named)
        except avro_rows.Unsupported:
            pass

    def read(data: bytes, start: int) -> tuple[Any, int]:
        stream = BytesIO(data)
        stream.seek(start)
        return schemaless_reader(stream, schema, None), stream.tell()

    return read


def _least_size(schema: Any, sizes: dict[str, int | None]) -> int:
    """Bytes that the shortest value of a parsed schema takes; `sizes`: those of the types that have a name.

    Raises ValueError for what a few bytes could keep a reader busy with for ever, or break it by (fastavro's C code
    does not count how deep it is): types that hold themselves, and values of no size in arrays or records, of which
    thirty types make a billion.
    """
    if isinstance(schema, list):
        return 1 + min(_least_size(option, sizes) for option in schema)
    kind = schema["type"] if isinstance(schema, dict) else schema
    if isinstance(kind, dict | list):
        return _least_size(kind, sizes)
    if kind in sizes:
        size = sizes[kind]
        if size is None:
            raise ValueError(f"the type {kind!r} holds itself")
        return size
    if kind == "record":
        sizes[schema["name"]] = None
        size = 0
        for field in schema["fields"]:
            least = _least_size(field["type"], sizes)
            if not least and field["type"] not in ("null", {"type": "null"}):
                raise ValueError(f"the field {field['name']!r} takes no bytes")
            size += least
        sizes[schema["name"]] = size
        return size
    if kind == "fixed":
        sizes[schema["name"]] = schema["size"]
        return int(schema["size"])
    if kind == "enum":
        sizes[schema["name"]] = 1
    if kind == "map":
        _least_size(schema["values"], sizes)
    if kind == "array" and not _least_size(schema["items"], sizes):
        raise ValueError("an array of values that take no bytes")
    return 0 if kind == "null" else 1


def _decompress(payload: bytes, codec: str) -> bytes:
    if codec == "null":
        return payload
    if codec == "deflate":
        # A few kB may unpack to gigabytes.
        unpacker = zlib.decompressobj(-15)
        unpacked = unpacker.decompress(payload, MAX_ALERT_BYTES)
        if not unpacker.eof and len(unpacked) >= MAX_ALERT_BYTES:
            raise AlertFormatError("TOO_LARGE", f"a block unpacks to more than {MAX_ALERT_BYTES} bytes")
        if not unpacker.eof:
            raise EOFError("a packed block breaks off")
        return unpacked
    raise AlertFormatError("UNKNOWN_CODEC", f"compressed by {codec!r}, which is not supported (null, deflate)")


def _text(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error)[:200]}".rstrip(": ")
