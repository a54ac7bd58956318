"""Compiled or not: of the same bodies come the same points, and the same is wrong with others."""

from io import BytesIO
from typing import Any

import fastavro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ampel_dagster.instruments import ztf
from ampel_dagster.model.datapoint import DataPoint

pytest.importorskip(
    "ampel_dagster.instruments.ztf_points", reason="there was no C compiler when the project was installed"
)
from ampel_dagster.instruments.avro_rows import Row, compile_reader

INT64 = st.integers(-(1 << 63), (1 << 63) - 1)
JDS = st.floats(2.457e6, 2.462e6) | st.floats()
MAGS = st.floats(-5, 30, width=32) | st.floats(width=32)
#: Fields of a body with their types in the schema, and values.
FIELDS: dict[str, tuple[str, st.SearchStrategy[Any]]] = {
    "jd": ("double", JDS),
    "fid": ("int", st.integers(-1, 5)),
    "pid": ("long", st.integers(0, 1 << 50) | INT64),
    "rcid": ("int", st.integers(0, 63) | st.integers(-(1 << 31), (1 << 31) - 1)),
    "programid": ("int", st.integers(-1, 5)),
    "candid": ("long", INT64),
    "pdiffimfilename": ("string", st.sampled_from(["", "/ztf/a/b_q1_diff.fits.fz", "diff.fits"]) | st.text(max_size=5)),
    "diffmaglim": ("float", MAGS),
    "magpsf": ("float", MAGS),
    "programpi": ("string", st.text(max_size=3)),
}


@st.composite
def histories(draw: st.DrawFn) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A schema of bodies, some of which may lack a field, and bodies."""
    names = draw(st.lists(st.sampled_from(list(FIELDS)), min_size=4, unique=True))
    names = names if draw(st.booleans()) else list(FIELDS)
    always = {name for name in names if draw(st.booleans())}
    kinds = {name: FIELDS[name][0] if name in always else ["null", FIELDS[name][0]] for name in names}
    record = {
        "type": "record",
        "name": "body",
        "fields": [{"name": name, "type": kind} for name, kind in kinds.items()],
    }
    values = st.fixed_dictionaries({n: FIELDS[n][1] if n in always else st.none() | FIELDS[n][1] for n in names})
    return record, draw(st.lists(values, max_size=4))


def outcome(bodies: Any, compiled: bool, candid: int | None) -> Any:
    """Points as text (in which NaN is NaN), or what is wrong."""
    read = ztf._points if compiled else ztf._read_bodies
    try:
        return [repr(point._replace(body=dict(point.body))) for point in read(bodies, 310, candid)]
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        return type(error), str(error)


@settings(max_examples=400, deadline=None)
@given(histories(), st.none() | INT64)
def test_as_without_a_compiler(history: tuple[dict[str, Any], list[dict[str, Any]]], candid: int | None) -> None:
    record, bodies = history
    array = {"type": "array", "items": record}
    schema = fastavro.parse_schema({"type": "record", "name": "all", "fields": [{"name": "rows", "type": array}]})
    buffer = BytesIO()
    fastavro.schemaless_writer(buffer, schema, {"rows": bodies})
    read: Any = fastavro.schemaless_reader(BytesIO(buffer.getvalue()), schema, None)
    found, _ = compile_reader(schema, {})(buffer.getvalue(), 0)
    assert all(type(row) is Row for row in found["rows"])
    assert outcome(found["rows"], True, candid) == outcome(read["rows"], False, candid)


def test_bodies_that_are_no_rows() -> None:
    """Those of another reader may stand among the others."""
    body = {"jd": 2458349.7, "candid": 1, "rcid": 5, "pid": 1, "fid": 1, "programid": 1, "ra": 1.5}
    (point,) = ztf._points([body], 310)
    del body["candid"]
    assert point == DataPoint(1, "detection", 2458349.7, 5, ("ZTF", "ZTF_PUB", "ZTF_G"), 310, body)
