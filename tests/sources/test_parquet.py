"""Parquet: a row becomes the container that the survey would have sent."""

import tracemalloc
from collections import deque
from datetime import UTC, datetime
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import Any

import fastavro
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ampel_dagster.instruments.ztf import ZTF
from ampel_dagster.model.alert import Alert, Packet
from ampel_dagster.model.errors import AlertFormatError
from ampel_dagster.sources.files import BrokenSourceError, list_files, read_file
from ampel_dagster.testing import encode_packet, make_alert, make_detection, make_limit


def packets(path: Path) -> list[Packet]:
    found = list(read_file(path))
    assert not [item for item in found if isinstance(item, BrokenSourceError)]
    return [item for item in found if isinstance(item, Packet)]


def alerts(path: Path) -> list[Alert]:
    found = [alert for packet in packets(path) for alert in ZTF().decode(packet)]
    assert not [item for item in found if isinstance(item, AlertFormatError)]
    return [item for item in found if isinstance(item, Alert)]


def record(packet: Packet) -> dict[str, Any]:
    (found,) = fastavro.reader(BytesIO(packet.data))
    assert isinstance(found, dict)
    return found


def write(path: Path, rows: list[dict[str, Any]], schema: pa.Schema | None = None) -> Path:
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), path)
    return path


def a_packet(number: int = 0) -> dict[str, Any]:
    history = [make_detection(jd=2458340.7, candid=17), make_limit(jd=2458341.7, maglim=20.25)]
    return make_alert(name=f"ZTF18aaaaaa{chr(97 + number % 26)}", candid=100 + number, history=history)


def test_a_row_is_the_packet_that_was_sent(tmp_path: Path) -> None:
    sent = a_packet()
    (alert,) = alerts(write(tmp_path / "night.parquet", [sent]))
    (twin,) = ZTF().decode(Packet(encode_packet(sent), "", 0))
    assert isinstance(twin, Alert)
    for name in ("id", "stock", "jd", "night", "tag", "rank"):
        assert getattr(alert, name) == getattr(twin, name)
    assert [point[:6] for point in alert.points] == [point[:6] for point in twin.points]
    assert alert.cutouts() == twin.cutouts()
    assert alert.cutouts()
    # A table has one set of columns for all rows: what a packet leaves out is null there.
    for point, other in zip(alert.points, twin.points, strict=True):
        for key in point.body.keys() | other.body.keys():
            value = other.body.get(key)
            assert point.body.get(key) == (pytest.approx(value) if isinstance(value, float) else value)


def test_a_packet_reads_the_same_whatever_the_order_of_columns(tmp_path: Path) -> None:
    sent = a_packet()
    first = write(tmp_path / "a.parquet", [sent])
    second = write(tmp_path / "b.parquet", [dict(sorted(sent.items(), reverse=True))])
    assert [a.points for a in alerts(first)] == [a.points for a in alerts(second)]


def test_types_come_through(tmp_path: Path) -> None:
    schema = pa.schema(
        [
            ("stamp", pa.struct([("name", pa.string()), ("bytes", pa.binary())])),
            ("blob", pa.large_binary()),
            ("points", pa.list_(pa.struct([("x", pa.float32()), ("n", pa.int16())]))),
            ("few", pa.list_(pa.int32(), 2)),
            ("nested", pa.struct([("inner", pa.struct([("flag", pa.bool_())])), ("when", pa.timestamp("ns"))])),
            ("id", pa.uint64()),
            ("name", pa.dictionary(pa.int8(), pa.large_string())),
            ("nothing", pa.float64()),
            ("a.b", pa.int32()),
            ("when", pa.timestamp("ns")),
            ("by_name", pa.map_(pa.string(), pa.float32())),
        ]
    )
    row = {
        "stamp": {"name": "s", "bytes": b"\x00\xff"},
        "blob": b"\x01",
        "points": [{"x": 0.5, "n": -3}, None, {"x": None, "n": 7}],
        "few": [1, 2],
        "nested": {"inner": {"flag": True}, "when": datetime(2020, 1, 1, tzinfo=UTC)},
        "id": 2**63 - 1,
        "name": "é",
        "nothing": None,
        "a.b": 1,
        "when": datetime(2020, 1, 1, tzinfo=UTC),
        "by_name": {"k": 1.0},
    }
    (packet,) = packets(write(tmp_path / "types.parquet", [row], schema))
    kept = {key: value for key, value in row.items() if key not in ("a.b", "when", "by_name")}
    assert record(packet) == {**kept, "nested": {"inner": {"flag": True}}}
    assert list(record(packet)) == ["id", "name", "nothing", "nested", "points", "few", "stamp", "blob"]


def test_what_no_packet_can_hold_is_kept_for_quarantine(tmp_path: Path) -> None:
    """An id beyond 64 bits: the row is no container, and the instrument refuses it, with its content beside."""
    schema = pa.schema([("candid", pa.uint64()), ("jd", pa.float64())])
    sound, broken = packets(write(tmp_path / "ids.parquet", [{"candid": 5}, {"candid": 2**63}], schema))
    assert record(sound) == {"candid": 5, "jd": None}
    assert broken.data == b'{"candid": 9223372036854775808, "jd": null}'
    (error,) = ZTF().decode(broken)
    assert isinstance(error, AlertFormatError)


def test_the_same_row_gives_the_same_bytes(tmp_path: Path) -> None:
    one = packets(write(tmp_path / "a.parquet", [a_packet(0), a_packet(1)]))
    two = packets(write(tmp_path / "b.parquet", [a_packet(0), a_packet(1)]))
    assert [packet.data for packet in one] == [packet.data for packet in two]
    assert [packet.offset for packet in one] == [0, 1]


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "night.parquet"
    stamp = bytes(40_000)
    pq.write_table(pa.table({"n": range(2000), "stamp": [stamp] * 2000}), path, row_group_size=100)
    found = read_file(path)
    next(found)
    pool, before = pa.default_memory_pool(), pa.total_allocated_bytes()
    tracemalloc.start()
    try:
        last = deque(islice(found, 1998), maxlen=1)[0]
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert isinstance(last, Packet)
    assert last.offset == 1998
    assert held < 10_000_000
    assert pool.bytes_allocated() - before < 20_000_000


@pytest.mark.parametrize("content", [b"", b"PAR1", b"no parquet at all", b"PAR1" + bytes(100) + b"PAR1"])
def test_what_only_claims_to_be_parquet(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "night.parquet"
    path.write_bytes(content)
    (error,) = read_file(path)
    assert isinstance(error, BrokenSourceError)
    assert error.packet.data == content


def test_a_file_that_is_damaged_half_way(tmp_path: Path) -> None:
    path = tmp_path / "night.parquet"
    rows = [{"candid": n, "text": f"{n:09}" * 50} for n in range(1000)]
    pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=100, compression="zstd", use_dictionary=False)
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 2 : len(whole) // 2 + 2000] = bytes(2000)
    path.write_bytes(whole)
    found = list(read_file(path))
    assert isinstance(found[-1], BrokenSourceError)
    assert 300 < found[-1].packet.offset == len(found) - 1 < 700
    assert all(isinstance(item, Packet) for item in found[:-1])


def test_real_packets_of_a_broker(data: Path) -> None:
    """Fink's files: raw ones are ZTF's packets; science files add columns of the broker's own."""
    found = {path.name: alerts(path) for path in list_files([data / "fink"])}
    assert {name: len(some) for name, some in found.items()} == {
        "raw_20200101_part0.parquet": 9,
        "raw_20200101_part1.parquet": 3,
        "science_20190903.parquet": 2,
        "science_20200101.parquet": 1,
    }
    assert {alert.rank for some in found.values() for alert in some} == {330}
    assert [len(alert.points) for alert in found["science_20190903.parquet"]] == [10, 24]
    stamps = {name for some in found.values() for alert in some for name in alert.cutouts()}
    assert stamps == {"science", "template", "difference"}
    # One alert is in two files: raw, and with the broker's columns.
    (rich,) = found["science_20200101.parquet"]
    (raw,) = (alert for alert in found["raw_20200101_part0.parquet"] if alert.id == rich.id)
    assert (rich.name, rich.night) == ("ZTF18acqucmw", "2020-01-01")
    assert rich.points == raw.points
