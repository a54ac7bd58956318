"""Compiled readers give what fastavro gives, for any schema, and fail in a way that is foreseen on anything else."""

import struct
from io import BytesIO
from typing import Any

import fastavro
import pytest
from fastavro.utils import generate_one
from hypothesis import given, settings
from hypothesis import strategies as st

from ampel_dagster.instruments.avro_compiler import Unsupported, compile_reader, long_at

PRIMITIVES = ("null", "boolean", "int", "long", "float", "double", "bytes", "string")
FORESEEN = (IndexError, ValueError, struct.error, EOFError, MemoryError)


@st.composite
def records(draw: st.DrawFn, depth: int = 2) -> dict[str, Any]:
    """A record of many fields, most of them as in alerts: runs of optional numbers."""
    number = iter(range(10_000))

    def kind(left: int) -> Any:
        simple = st.sampled_from(PRIMITIVES[1:])
        optional = simple.flatmap(lambda k: st.sampled_from([[k, "null"], ["null", k]]))
        floats = st.sampled_from([["float", "null"], ["null", "float"], ["null", "double"], "float", "double"])
        choice = draw(st.integers(0, 9 if left else 5))
        if choice < 3:
            return draw(floats)
        if choice < 6:
            return draw(st.one_of(simple, optional))
        if choice == 6:
            return {"type": "array", "items": kind(left - 1)}
        if choice == 7:
            return {"type": "map", "values": kind(left - 1)}
        if choice == 8:
            return ["null", record(left - 1)]
        return draw(
            st.sampled_from(
                [
                    {"type": "enum", "name": f"e{next(number)}", "symbols": ["A", "B", "C"]},
                    {"type": "fixed", "name": f"f{next(number)}", "size": 3},
                    ["null", "int", "string", "double"],
                ]
            )
        )

    def record(left: int) -> dict[str, Any]:
        size = draw(st.integers(1, 12))
        fields = [{"name": f"x{n}", "type": kind(left)} for n in range(size)]
        return {"type": "record", "name": f"r{next(number)}", "fields": fields}

    return record(depth)


def written(schema: Any, value: Any) -> bytes:
    buffer = BytesIO()
    fastavro.schemaless_writer(buffer, schema, value)
    return buffer.getvalue()


def read_by_fastavro(schema: Any, data: bytes) -> Any:
    return fastavro.schemaless_reader(BytesIO(data), schema, None)


@settings(max_examples=150, deadline=None)
@given(records(), st.integers(0, 1000), st.booleans(), st.data())
def test_equal_to_fastavro(schema: dict[str, Any], index: int, holes: bool, data: st.DataObject) -> None:
    named: dict[str, Any] = {}
    parsed = fastavro.parse_schema(schema, named_schemas=named)
    value: Any = generate_one(parsed) if index % 2 else _of(parsed, named, data)
    if holes:
        value = {k: None if _optional(f["type"]) and data.draw(st.booleans()) else value[k] for k, f in _fields(parsed)}
    raw = written(parsed, value)
    before, after = b"before", b"after it"
    found, end = compile_reader(parsed, named)(before + raw + after, len(before))
    assert repr(found) == repr(read_by_fastavro(parsed, raw))
    assert list(found) == [field["name"] for field in parsed["fields"]]
    assert end == len(before) + len(raw)


def _fields(schema: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [(field["name"], field) for field in schema["fields"]]


def _optional(kind: Any) -> bool:
    return isinstance(kind, list) and "null" in kind


def _of(schema: Any, named: dict[str, Any], data: st.DataObject) -> Any:
    """A value of a schema, with the extremes of each type."""
    if isinstance(schema, list):
        return _of(data.draw(st.sampled_from(schema)), named, data)
    kind = schema["type"] if isinstance(schema, dict) else schema
    if kind == "record":
        return {field["name"]: _of(field["type"], named, data) for field in schema["fields"]}
    if kind == "array":
        return [_of(schema["items"], named, data) for _ in range(data.draw(st.integers(0, 3)))]
    if kind == "map":
        return {f"k{n}": _of(schema["values"], named, data) for n in range(data.draw(st.integers(0, 3)))}
    if kind == "enum":
        return data.draw(st.sampled_from(schema["symbols"]))
    if kind == "fixed":
        return data.draw(st.binary(min_size=schema["size"], max_size=schema["size"]))
    if kind in named:
        return _of(named[kind], named, data)
    return data.draw(
        {
            "null": st.none(),
            "boolean": st.booleans(),
            "int": st.integers(-(1 << 31), (1 << 31) - 1),
            "long": st.integers(-(1 << 63), (1 << 63) - 1),
            "float": st.floats(width=32),
            "double": st.floats(),
            "bytes": st.binary(max_size=200),
            "string": st.text(max_size=200),
        }[kind]
    )


@settings(max_examples=300, deadline=None)
@given(st.integers(-(1 << 63), (1 << 63) - 1), st.binary(max_size=9))
def test_long(value: int, rest: bytes) -> None:
    raw = written("long", value)
    assert long_at(b"x" + raw + rest, 1) == (value, 1 + len(raw))


@pytest.mark.parametrize("raw", [b"\xff" * 11, b"\xff" * 9 + b"\x02", b"\xff" * 9 + b"\x02" + bytes(20), b"\x80"])
def test_a_number_that_is_none(raw: bytes) -> None:
    with pytest.raises(FORESEEN):
        long_at(raw, 0)


@settings(max_examples=150, deadline=None)
@given(records(), st.binary(max_size=60))
def test_arbitrary_bytes(schema: dict[str, Any], raw: bytes) -> None:
    named: dict[str, Any] = {}
    parsed = fastavro.parse_schema(schema, named_schemas=named)
    try:
        found, end = compile_reader(parsed, named)(raw, 0)
    except FORESEEN:
        return
    assert isinstance(found, dict)
    assert end >= 0


def test_logical_types_are_left_to_others() -> None:
    schema = {"type": "record", "name": "r", "fields": [{"name": "t", "type": {"type": "long", "logicalType": "date"}}]}
    with pytest.raises(Unsupported, match="date"):
        compile_reader(fastavro.parse_schema(schema), {})


def test_names_of_fields_are_never_code() -> None:
    schema = {"type": "record", "name": "r", "fields": [{"name": 'it\'s "x"\\', "type": "int"}]}
    assert compile_reader(schema, {})(b"\x02", 0) == ({'it\'s "x"\\': 1}, 1)
