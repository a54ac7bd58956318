"""New datapoints are encoded as the driver would encode them."""

import pickle
from datetime import UTC, datetime
from typing import Any

from bson import decode, encode
from hypothesis import given
from hypothesis import strategies as st

from ampel_dagster.model.datapoint import DataPoint
from ampel_dagster.storage.point_codec import NewPoint, PointEncoder
from ampel_dagster.storage.point_reader import FIELDS, LateBody, PointReader, point_of

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
    sensor=st.integers(0, 63),
    rank=st.integers(0, 2_000_000),
    body=BODIES,
    newer=st.lists(INT64, max_size=2),
)
def test_bytes_are_those_of_the_driver(id_, stocks, channels, tags, jd, sensor, rank, body, newer):
    point = DataPoint(id_, "detection", jd, sensor, tuple(tags), rank, body)
    new = NewPoint(point, tuple(stocks), tuple(channels), newer)
    encoder = PointEncoder(META)
    for _ in range(2):  # the second time with what was kept of the first
        assert encoder.encode(new).raw == encode(encoder.document(new))


def test_fields():
    body = {"jd": 2458349.5, "fid": 1}
    point = DataPoint(595147624915010012, "detection", 2458349.5, 12, ("ZTF", "ZTF_PUB"), 1_000_300, body)
    found = decode(PointEncoder(META).encode(NewPoint(point, (66098801520,), ("B", "A"))).raw)
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


# --- and read back


@given(
    ids=st.lists(INT64 | SMALL, min_size=1, max_size=5, unique=True),
    stocks=st.lists(INT64, min_size=1, max_size=2, unique=True),
    tags=NAMES,
    sensor=st.integers(0, 1 << 40),
    body=BODIES,
    newer=st.lists(INT64, max_size=2),
)
def test_points_are_read_as_the_driver_decodes_them(ids, stocks, tags, sensor, body, newer):
    documents = [
        PointEncoder(META).document(
            NewPoint(DataPoint(id_, "detection", 2.4e6 + n, sensor, tuple(tags), n, body), tuple(stocks), ("A",), newer)
        )
        for n, id_ in enumerate(ids)
    ]
    # As the server sends them: of each document the fields that were asked for, in the order in which they are stored.
    wanted = [{key: d[key] for key in d if key == "_id" or key in FIELDS} for d in documents]
    found = list(PointReader().read([b"".join(map(encode, wanted)), b""]))
    assert found == [point_of(decode(encode(d))) for d in wanted]
    assert [point.body.get("a") for point in found] == [decode(encode(d))["body"].get("a") for d in wanted]


def test_a_late_body_is_a_mapping_like_any_other():
    body = LateBody(encode({"fid": 1, "rb": None}))
    assert (body["fid"], body.get("rb"), body.get("x", 7), "rb" in body, "x" in body) == (1, None, 7, True, False)
    assert (dict(body), len(body), list(body), repr(body)) == (
        {"fid": 1, "rb": None},
        2,
        ["fid", "rb"],
        str(dict(body)),
    )
    assert body == {"fid": 1, "rb": None} == body
    assert pickle.loads(pickle.dumps(body)) == {"fid": 1, "rb": None}
    assert type(pickle.loads(pickle.dumps(body))) is dict
