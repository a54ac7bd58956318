"""Points come from the server as they were written, by the compiled reader and without it."""

import copy
import pickle
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from bson import Binary, ObjectId, Regex, decode, encode
from bson.errors import BSONError
from hypothesis import given, settings
from hypothesis import strategies as st
from pymongo.errors import AutoReconnect

from ampel_dagster.model.datapoint import DataPoint
from ampel_dagster.storage import point_replies
from ampel_dagster.storage.point_codec import NewPoint
from ampel_dagster.storage.point_replies import find_points, point_of
from ampel_dagster.storage.store import Store

META = {"run": "r", "batch": 1 << 40}
#: All that BSON can hold and the driver can write.
VALUES = (
    st.none()
    | st.booleans()
    | st.floats(allow_nan=False)
    | st.integers(-(1 << 63), (1 << 63) - 1)
    | st.text(max_size=9)
    | st.binary(max_size=9)
    | st.sampled_from([datetime(2026, 11, 1, tzinfo=UTC), ObjectId(b"123456789012"), Regex("a"), Binary(b"x", 5)])
)
NAMES = st.text("abé_", max_size=3)
NESTED = st.recursive(VALUES, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAMES, inner, max_size=2))
BODIES = st.dictionaries(NAMES, NESTED, max_size=6)


@pytest.fixture(params=["compiled", "driver"])
def reader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How replies are read."""
    if request.param == "driver":
        monkeypatch.setattr(point_replies, "point_rows", None)
    elif point_replies.point_rows is None:
        pytest.skip("there was no C compiler when the project was installed")
    name: str = request.param
    return name


def points(number: int) -> list[DataPoint]:
    kinds = ("detection", "upper_limit", "forced")
    return [
        DataPoint(
            (1 << 40) * (-1) ** n * n, kinds[n % 3], 2458349.5 + n, n, ("ZTF", f"ZTF_{n % 2}"), n, {"n": n, "x": None}
        )
        for n in range(number)
    ]


def insert(store: Store, wanted: list[DataPoint]) -> None:
    store.survey("ztf").points.insert([NewPoint(p, (7,), ("A",) if p.sensor % 5 else ("B",)) for p in wanted], META)


@pytest.mark.parametrize("size", [2, 5000])
def test_all_points_come_however_many_replies_it_takes(
    store: Store, reader: str, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(point_replies, "_BATCH", size)
    wanted = points(11)
    insert(store, wanted)
    load = store.survey("ztf").points.of_stocks
    ids = [p.id for p in wanted]
    assert load(ids, [7]) == {p.id: p for p in wanted}
    assert load(ids, [7], "A") == {p.id: p for p in wanted if p.sensor % 5}
    # Few of many: where all of a stock are too many, they are asked for one by one.
    for few in (1, 2, 5):
        assert load(ids[:few], [7]) == {p.id: p for p in wanted[:few]}
        assert load(ids[-few:], [7, 8], "A") == {p.id: p for p in wanted[-few:] if p.sensor % 5}
    assert load([], [7]) == {}
    assert load([1 << 50], [7]) == {}


def test_other_documents_than_ours_are_the_drivers_business(store: Store, reader: str) -> None:
    """A sensor that is no whole number, fields in another order, no body."""
    collection = store.survey("ztf").points.collection
    documents: list[dict[str, Any]] = [
        {"body": {"a": 1}, "tag": ["T"], "kind": "forced", "rank": 1, "sensor": 2.5, "jd": 1.5, "_id": 1},
        {"_id": 2, "jd": 2, "sensor": 1 << 40, "rank": 1, "kind": "forced", "tag": []},
    ]
    collection.insert_many(documents)
    assert sorted(find_points(collection, {}), key=lambda p: p.id) == [point_of(d) for d in documents]


def test_where_the_connection_breaks_the_driver_asks_again(
    store: Store, reader: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = points(5)
    insert(store, wanted)

    def broken(*_: object) -> None:
        raise AutoReconnect("gone")

    monkeypatch.setattr(point_replies, "_replies", broken)
    assert store.survey("ztf").points.of_stocks([p.id for p in wanted], [7]) == {p.id: p for p in wanted}


# --- bodies


def row_of(body: Mapping[str, Any]) -> Any:
    rows = pytest.importorskip("ampel_dagster.storage.point_rows", reason="there was no C compiler")
    return rows.BodyRow(encode(body))


@given(BODIES, st.lists(NAMES, max_size=5))
def test_a_body_is_a_mapping_that_equals_its_fields(body: dict[str, Any], names: list[str]) -> None:
    expected = decode(encode(body))
    row = row_of(body)
    for _ in range(3):  # more looks than a body is looked through for
        assert [row.get(name, 7) for name in names] == [expected.get(name, 7) for name in names]
    assert row_of(body).pick(tuple(names)) == row.pick(tuple(names)) == tuple(expected.get(name) for name in names)
    row = row_of(body)
    assert isinstance(row, Mapping)
    assert row == expected == row == copy.deepcopy(row) == pickle.loads(pickle.dumps(row))
    assert (dict(row), list(row), len(row), repr(row)) == (expected, list(expected), len(expected), repr(expected))
    assert (list(row.items()), list(row.values())) == (list(expected.items()), list(expected.values()))
    assert all(name in row_of(body) and row_of(body)[name] == value for name, value in expected.items())


def test_what_a_body_has_not() -> None:
    row = row_of({"fid": None})
    assert (row.get("rcid"), row.get("rcid", 7), row["fid"], row.get(1), "rcid" in row) == (None, 7, None, None, False)
    with pytest.raises(KeyError, match="rcid"):
        row["rcid"]
    with pytest.raises(TypeError):
        row["fid"] = 2
    assert row != 1


@settings(max_examples=300)
@given(BODIES, st.data())
def test_damaged_bodies_and_replies_raise_what_is_foreseen(body: dict[str, Any], data: st.DataObject) -> None:
    rows = pytest.importorskip("ampel_dagster.storage.point_rows", reason="there was no C compiler")
    document = {"_id": 1 << 40, "jd": 1.5, "sensor": 1, "rank": 1, "kind": "forced", "tag": ["T"], "body": body}
    raw = bytearray(encode({"firstBatch": [document], "id": 0, "ns": "t0"}))
    for _ in range(data.draw(st.integers(1, 3))):
        # Not the length of all: a reply of another length than it says is no reply.
        raw[data.draw(st.integers(4, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        points, _ = rows.ReplyReader(DataPoint, point_of).read(bytes(raw))
        for point in points:
            point.body.get("a")
            dict(point.body)
    except (ValueError, KeyError, TypeError, AttributeError, BSONError):
        return


@pytest.mark.parametrize("raw", [b"", b"\x05\0\0\0", b"\x06\0\0\0\0", b"\x04\0\0\0"])
def test_what_is_no_document_is_refused(raw: bytes) -> None:
    rows = pytest.importorskip("ampel_dagster.storage.point_rows", reason="there was no C compiler")
    with pytest.raises(ValueError, match="not a document"):
        rows.BodyRow(raw)
    with pytest.raises(ValueError, match="not a document"):
        rows.ReplyReader(DataPoint, point_of).read(raw)
