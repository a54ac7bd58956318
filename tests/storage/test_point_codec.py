"""New datapoints are encoded as the driver would encode them."""

from datetime import UTC, datetime
from typing import Any

import pytest
from bson import decode, encode
from hypothesis import given
from hypothesis import strategies as st

from ampel_dagster.model.datapoint import DataPoint
from ampel_dagster.storage import point_codec
from ampel_dagster.storage.point_codec import NewPoint, PointEncoder

META = {"run": "r", "version": "1", "config": -(1 << 40), "batch": 7, "ts": datetime(2026, 11, 1, tzinfo=UTC)}
INT64 = st.integers(-(1 << 63), (1 << 63) - 1)
SMALL = st.integers(-5, 5)
NAMES = st.lists(st.text("ABCÄ_1", min_size=1, max_size=6), min_size=1, max_size=3, unique=True)
BODIES: st.SearchStrategy[dict[str, Any]] = st.dictionaries(
    st.text("abc", min_size=1, max_size=4),
    st.none() | st.floats(allow_nan=False) | INT64 | st.text(max_size=9),
    max_size=6,
)


@given(
    id_=INT64 | SMALL,
    stocks=st.lists(INT64 | SMALL, min_size=1, max_size=3, unique=True),
    channels=NAMES,
    tags=NAMES,
    jd=st.floats(2e6, 3e6),
    sensor=st.integers(0, 63) | st.integers(0, 1 << 40),
    rank=st.integers(0, 2_000_000),
    body=BODIES,
    newer=st.lists(INT64, max_size=2),
)
def test_bytes_are_those_of_the_driver(id_, stocks, channels, tags, jd, sensor, rank, body, newer):
    point = DataPoint(id_, "detection", jd, sensor, tuple(tags), rank, body)
    new = NewPoint(point, tuple(stocks), tuple(channels), newer)
    encoder = PointEncoder(META)
    for _ in range(2):  # the second time with what was kept of the first
        assert encoder.encode([new])[0].raw == encode(encoder.document(new))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(point_codec, "point_rows", None)
        assert PointEncoder(META).encode([new])[0].raw == encode(encoder.document(new))


def test_fields():
    body = {"jd": 2458349.5, "fid": 1}
    point = DataPoint(595147624915010012, "detection", 2458349.5, 12, ("ZTF", "ZTF_PUB"), 1_000_300, body)
    found = decode(PointEncoder(META).encode([NewPoint(point, (66098801520,), ("B", "A"))])[0].raw)
    assert found.pop("meta")["run"] == "r"
    assert found == {
        "_id": 595147624915010012,
        "stock": [66098801520],
        "jd": 2458349.5,
        "sensor": 12,
        "rank": 1_000_300,
        "kind": "detection",
        "channel": ["A", "B"],
        "tag": ["ZTF", "ZTF_PUB"],
        "body": body,
    }
