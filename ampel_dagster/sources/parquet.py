"""Packets as rows of a Parquet file: one column a field of the packet, records and lists nested.

A row becomes the Avro container that a survey would have sent: instruments read it like any other packet, and what
lies in quarantine can be read again. Its schema follows from the columns. Scalars come first, then records, lists, and
what holds bytes (stamps) last, so that readers that stop after the candidate can do so whatever the order of the
columns. Columns that no packet has, such as a broker's own, ride along; those of types that packets don't use (times,
maps, decimals) are left out, as are those whose names Avro does not allow.
"""

import json
import re
from collections.abc import Iterator, Mapping
from hashlib import blake2b
from io import BytesIO
from itertools import count
from pathlib import Path
from typing import Any

import fastavro
import pyarrow as pa
import pyarrow.parquet as pq

#: Rows that are held at a time; with stamps one has some 70 kB.
_ROWS = 64
_BUFFER_BYTES = 1 << 20
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def read_rows(path: Path) -> Iterator[bytes]:
    """Packets of a file in order, few rows at a time. Raises ValueError or OSError where it cannot be read."""
    try:
        with pq.ParquetFile(path, pre_buffer=False, buffer_size=_BUFFER_BYTES) as file:
            encoder = RowEncoder(file.schema_arrow)
            for batch in file.iter_batches(_ROWS, columns=encoder.columns, use_threads=False):
                for row in batch.to_pylist():
                    yield encoder.encode(row)
    except pa.ArrowException as error:
        raise ValueError(str(error)) from error


class RowEncoder:
    """Encodes rows of one Arrow schema."""

    def __init__(self, schema: pa.Schema) -> None:
        names = map("r{}".format, count())
        kept = sorted((field for field in schema if _kind(field.type) is not None), key=_order)
        self.columns = [field.name for field in kept if _NAME.fullmatch(field.name)]
        record = _record("packet", [field for field in kept if field.name in self.columns], names)
        content = json.dumps(record, separators=(",", ":")).encode()
        self._schema = fastavro.parse_schema(record)
        self._sync = blake2b(content, digest_size=16).digest()
        header = BytesIO()
        meta = {"avro.codec": b"null", "avro.schema": content}
        fastavro.schemaless_writer(header, {"type": "map", "values": "bytes"}, meta)
        self._header = b"Obj\x01" + header.getvalue() + self._sync

    def encode(self, row: Mapping[str, Any]) -> bytes:
        """A container with this row; in JSON what does not fit into one (integers beyond 64 bits)."""
        payload, size = BytesIO(), BytesIO()
        try:
            fastavro.schemaless_writer(payload, self._schema, row)
        except (OverflowError, ValueError):
            return json.dumps(row, default=str).encode()
        fastavro.schemaless_writer(size, "long", 1)
        fastavro.schemaless_writer(size, "long", payload.tell())
        return b"".join((self._header, size.getvalue(), payload.getvalue(), self._sync))


def _record(name: str, fields: list[Any], names: Iterator[str]) -> dict[str, Any]:
    """An Avro record in which everything may be null."""
    found = [
        {"name": field.name, "type": ["null", _type(field.type, names)]}
        for field in fields
        if _NAME.fullmatch(field.name) and _kind(field.type) is not None
    ]
    return {"type": "record", "name": name, "fields": found}


def _type(arrow: Any, names: Iterator[str]) -> Any:
    kind = _kind(arrow)
    if kind == "record":
        return _record(next(names), list(arrow), names)
    if kind == "array":
        return {"type": "array", "items": ["null", _type(arrow.value_type, names)]}
    return kind


def _kind(arrow: Any) -> str | None:
    """The Avro type of an Arrow type, or None where packets have no such thing."""
    is_ = pa.types
    if is_.is_dictionary(arrow):
        return _kind(arrow.value_type)
    if is_.is_list(arrow) or is_.is_large_list(arrow) or is_.is_fixed_size_list(arrow):
        return "array" if _kind(arrow.value_type) is not None else None
    kinds = (
        (is_.is_boolean, "boolean"),
        (is_.is_integer, "long"),
        (is_.is_float64, "double"),
        (is_.is_floating, "float"),
        (is_.is_string, "string"),
        (is_.is_large_string, "string"),
        (is_.is_binary, "bytes"),
        (is_.is_large_binary, "bytes"),
        (is_.is_fixed_size_binary, "bytes"),
        (is_.is_struct, "record"),
    )
    return next((kind for is_kind, kind in kinds if is_kind(arrow)), None)


def _order(field: Any) -> int:
    """Scalars, records, lists, and last what holds bytes; within each the order of the columns stays."""
    kind = _kind(field.type)
    return 3 if _holds_bytes(field.type) else {"record": 1, "array": 2}.get(kind or "", 0)


def _holds_bytes(arrow: Any) -> bool:
    kind = _kind(arrow)
    if kind == "record":
        return any(_holds_bytes(field.type) for field in arrow)
    return _holds_bytes(arrow.value_type) if kind == "array" else kind == "bytes"
