"""Compiled readers give what fastavro gives, for any schema, and fail in a way that is foreseen on anything else.

Rows are mappings that equal the dict of their fields, and write the BSON that the driver would write of it.
"""

import copy
import pickle
from collections.abc import Iterator, Mapping
from io import BytesIO
from typing import Any

import bson
import fastavro
import pytest
from fastavro.utils import generate_one
from hypothesis import given, settings
from hypothesis import strategies as st

from ampel_dagster.instruments.base import changed, kept

avro_rows = pytest.importorskip(
    "ampel_dagster.instruments.avro_rows", reason="there was no C compiler when the project was installed"
)
compile_reader, Row = avro_rows.compile_reader, avro_rows.Row

PRIMITIVES = ("null", "boolean", "int", "long", "float", "double", "bytes", "string")
FORESEEN = (ValueError, EOFError, MemoryError)


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
    for row in rows_in(found):
        assert row.to_bson() == bson.encode(row.to_dict())


def rows_in(value: Any) -> Iterator[Any]:
    """All rows of what was read."""
    if isinstance(value, Row):
        yield value
    inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    for one in inner:
        yield from rows_in(one)


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


#: A point as surveys send it, with a field of each plain kind.
POINT = {
    "type": "record",
    "name": "point",
    "fields": [
        {"name": "jd", "type": "double"},
        {"name": "candid", "type": ["null", "long"]},
        {"name": "magpsf", "type": ["float", "null"]},
        {"name": "file", "type": ["null", "string"]},
        {"name": "stamp", "type": ["null", "bytes"]},
        {"name": "fid", "type": "int"},
        {"name": "good", "type": ["null", "boolean"]},
    ],
}
PACKET = {"type": "record", "name": "packet", "fields": [{"name": "points", "type": {"type": "array", "items": POINT}}]}
POINTS = st.fixed_dictionaries(
    {
        "jd": st.floats(allow_nan=False),
        "candid": st.none() | st.integers(-(1 << 63), (1 << 63) - 1),
        "magpsf": st.none() | st.floats(width=32, allow_nan=False),
        "file": st.none() | st.text(max_size=20),
        "stamp": st.none() | st.binary(max_size=20),
        "fid": st.integers(-(1 << 31), (1 << 31) - 1),
        "good": st.none() | st.booleans(),
    }
).map(lambda point: {field["name"]: point[field["name"]] for field in POINT["fields"]})
NAMES = st.sampled_from([*(field["name"] for field in POINT["fields"]), "rcid"])
OTHERS = st.dictionaries(NAMES, st.text(max_size=9) | st.integers(-(1 << 63), (1 << 63) - 1), max_size=3)


def rows_of(*points: Mapping[str, Any]) -> list[Any]:
    schema = fastavro.parse_schema(PACKET)
    found, _ = compile_reader(schema, {})(written(schema, {"points": list(points)}), 0)
    assert all(isinstance(row, Row) for row in found["points"])
    return list(found["points"])


@given(st.lists(POINTS, max_size=3))
def test_a_row_is_a_mapping_that_equals_its_fields(points: list[dict[str, Any]]) -> None:
    rows = rows_of(*points)
    assert rows == points
    for row, point in zip(rows, points, strict=True):
        assert isinstance(row, Mapping)
        assert (list(row), len(row), repr(row)) == (list(point), len(point), repr(point))
        assert (list(row.items()), list(row.values())) == (list(point.items()), list(point.values()))
        assert {**row} == dict(row) == point
        assert all(row[name] == row.get(name) == value and name in row for name, value in point.items())
        assert row == copy.deepcopy(row) == pickle.loads(pickle.dumps(row))
        assert row != {**point, "jd": None}
        assert row != 1


def test_what_a_row_has_not() -> None:
    (row,) = rows_of(
        {"jd": 2458349.5, "candid": None, "magpsf": 18.5, "file": None, "stamp": None, "fid": 1, "good": None}
    )
    assert row["candid"] is None
    assert (row.get("rcid"), row.get("rcid", 7), row.get(1), "rcid" in row) == (None, 7, None, False)
    with pytest.raises(KeyError, match="rcid"):
        row["rcid"]
    with pytest.raises(TypeError):
        row["fid"] = 2
    with pytest.raises(TypeError):
        hash(row)
    assert not Row()
    assert Row().to_bson() == bson.encode({})


@given(POINTS, st.lists(NAMES, max_size=3), OTHERS, st.lists(NAMES, max_size=4, unique=True), OTHERS)
def test_changed_and_kept_as_of_a_dict(
    point: dict[str, Any], without: list[str], others: dict[str, Any], names: list[str], more: dict[str, Any]
) -> None:
    (row,) = rows_of(point)
    for body, of_dict in (
        (changed(row, without, **others), changed(point, without, **others)),
        (kept(row, tuple(names), **others), kept(point, tuple(names), **others)),
    ):
        assert list(body.items()) == list(of_dict.items())
        assert body.to_bson() == bson.encode(of_dict)
        again = changed(body, without[:1], **more), changed(of_dict, without[:1], **more)
        assert list(again[0].items()) == list(again[1].items())
        again = kept(body, tuple(names), **more), kept(of_dict, tuple(names), **more)
        assert list(again[0].items()) == list(again[1].items())
        assert again[0].to_bson() == bson.encode(again[1])
    assert row == point


def test_an_integer_that_fits_nowhere() -> None:
    (row,) = rows_of({"jd": 1.0, "candid": None, "magpsf": None, "file": None, "stamp": None, "fid": 1, "good": None})
    with pytest.raises(OverflowError):
        row.changed((), fid=1 << 63)


def test_text_that_is_none_is_refused_before_anybody_looks() -> None:
    schema = fastavro.parse_schema(PACKET)
    point = {"jd": 1.0, "candid": 1, "magpsf": None, "file": "\u00e9\u00e9", "stamp": None, "fid": 1, "good": None}
    raw = written(schema, {"points": [point]})
    with pytest.raises(UnicodeDecodeError):
        compile_reader(schema, {})(raw.replace("\u00e9".encode(), b"\xff\xff"), 0)


@settings(max_examples=300, deadline=None)
@given(st.integers(-(1 << 63), (1 << 63) - 1), st.binary(max_size=9))
def test_long(value: int, rest: bytes) -> None:
    raw = written("long", value)
    assert compile_reader("long", {})(b"x" + raw + rest, 1) == (value, 1 + len(raw))


@pytest.mark.parametrize("raw", [b"\xff" * 11, b"\xff" * 9 + b"\x02", b"\xff" * 9 + b"\x02" + bytes(20), b"\x80", b""])
def test_a_number_that_is_none(raw: bytes) -> None:
    with pytest.raises(FORESEEN):
        compile_reader("long", {})(raw, 0)


@pytest.mark.parametrize("start", [-1, 3])
def test_a_place_that_is_not_there(start: int) -> None:
    with pytest.raises(EOFError):
        compile_reader("long", {})(b"\x00\x00", start)


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
    assert 0 <= end <= len(raw)
    for row in rows_in(found):
        assert row.to_bson() == bson.encode(row.to_dict())


@settings(max_examples=300, deadline=None)
@given(st.lists(POINTS, min_size=1, max_size=3), st.data())
def test_damaged_bytes(points: list[dict[str, Any]], data: st.DataObject) -> None:
    schema = fastavro.parse_schema(PACKET)
    raw = bytearray(written(schema, {"points": points}))
    for _ in range(data.draw(st.integers(1, 3))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    raw = raw[: data.draw(st.integers(0, len(raw)))]
    try:
        found, end = compile_reader(schema, {})(bytes(raw), 0)
    except FORESEEN:
        return
    assert repr(found) == repr(read_by_fastavro(schema, bytes(raw)))
    assert end <= len(raw)
    assert all(row.to_bson() == bson.encode(row.to_dict()) for row in rows_in(found))


def test_logical_types_are_left_to_others() -> None:
    schema = {"type": "record", "name": "r", "fields": [{"name": "t", "type": {"type": "long", "logicalType": "date"}}]}
    with pytest.raises(avro_rows.Unsupported, match="date"):
        compile_reader(fastavro.parse_schema(schema), {})


def test_names_that_bson_does_not_allow_make_no_row() -> None:
    inner = {"type": "record", "name": "i", "fields": [{"name": "a\0b", "type": "int"}]}
    schema = {"type": "record", "name": "r", "fields": [{"name": "x", "type": inner}]}
    found, _ = compile_reader(schema, {})(b"\x02", 0)
    assert type(found["x"]) is dict
    assert found == {"x": {"a\0b": 1}}


def test_names_that_no_document_can_have_are_refused() -> None:
    """The room for a document's bytes is reckoned with each string once."""
    (row,) = rows_of({"jd": 1.0, "candid": 1, "magpsf": None, "file": "x" * 999, "stamp": None, "fid": 1, "good": None})
    for names in (("file",) * 50, ("a\0b",)):
        with pytest.raises(ValueError, match="a name twice, or with a zero"):
            row.kept(names)


def test_types_that_name_each_other_are_taken_apart_once() -> None:
    """Forty types, each of which names the next one twice: a trillion fields, were they all written out."""
    fields = [[{"name": name, "type": ["null", f"t{n + 1}"]} for name in "ab"] for n in range(40)]
    named = {f"t{n}": {"type": "record", "name": f"t{n}", "fields": found} for n, found in enumerate(fields)}
    named["t40"] = {"type": "record", "name": "t40", "fields": [{"name": "x", "type": "int"}]}
    found, end = compile_reader(named["t0"], named)(b"\x02\x00\x00\x00", 0)
    assert (found, end) == ({"a": {"a": None, "b": None}, "b": None}, 4)
