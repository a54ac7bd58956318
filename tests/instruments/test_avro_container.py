"""Containers: what can be read is read, what is broken is said, nothing is raised."""

import json
from collections.abc import Callable, Iterator
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import bson
import fastavro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ampel_dagster.instruments.ztf import ZTF
from ampel_dagster.instruments.ztf_schema import ALERT
from ampel_dagster.model.alert import Alert, Packet
from ampel_dagster.model.errors import AlertFormatError
from ampel_dagster.sources.files import list_files, read_file
from ampel_dagster.testing import encode_packet, make_alert, make_detection, make_limit

pytestmark = pytest.mark.usefixtures("reader")

#: One of each kind: with stamps, without, and with forced photometry.
SAMPLES = ("ztf_public_20180819_mod1000.tar.gz", "ZTF18acruwxq.tar.gz", "fp_v4/2475433850315015008.avro")
BROKEN = ("121540793515135009", "516401801315010009", "516434762915010006")
Items = list[Alert | AlertFormatError]


class Sample(NamedTuple):
    """One sound packet."""

    data: bytes
    #: Where its record begins.
    record: int

    def __repr__(self) -> str:
        return f"Sample({len(self.data)} bytes)"


GetSample = Callable[[str], Sample]


def decode(data: bytes) -> Items:
    """What the instrument says of some bytes, with all that it leaves for later."""
    found: Items = []
    for item in ZTF().decode(Packet(data, "test", 0)):
        found.append(item)
        if isinstance(item, Alert):
            try:
                _ = item.points, item.cutouts()
            except AlertFormatError as error:
                found[-1] = error
    return found


def alerts(items: Items) -> list[Alert]:
    return [item for item in items if isinstance(item, Alert)]


def errors(items: Items) -> list[AlertFormatError]:
    return [item for item in items if isinstance(item, AlertFormatError)]


def containers(records: list[dict[str, Any]], codec: str = "null", **more: Any) -> bytes:
    buffer = BytesIO()
    fastavro.writer(buffer, fastavro.parse_schema(ALERT), records, codec=codec, **more)
    return buffer.getvalue()


def night() -> list[dict[str, Any]]:
    """Three packets of three objects, each with a history."""
    history = [make_detection(jd=2458340.7), make_limit(jd=2458330.7)]
    return [make_alert(name=f"ZTF18aaaaaa{c}", tblid=n, history=history) for n, c in enumerate("abc")]


def storable(alert: Alert) -> bool:
    """Whether MongoDB can hold what was read."""
    bson.encode({"_id": alert.id, "stock": alert.stock, "jd": alert.jd, "name": alert.name})
    return all(bson.encode({"_id": point.id, "jd": point.jd, "body": point.body}) for point in alert.points)


@pytest.fixture(scope="module")
def sample(data: Path) -> GetSample:
    """The first packet of a file."""

    @cache
    def read(name: str) -> Sample:
        (packet, *_) = (packet for packet in read_file(data / "ztf" / name) if isinstance(packet, Packet))
        (alert,) = alerts(decode(packet.data))
        # The name stands near the beginning; before it are the version of the schema and the publisher.
        return Sample(packet.data, packet.data.index(alert.name.encode()) - 40)

    return read


def packets(data: Path) -> Iterator[Packet]:
    """All sound packets."""
    for path in list_files([data / "ztf"]):
        if path.parent.name != "bad":
            yield from (packet for packet in read_file(path) if isinstance(packet, Packet))


# --- sound packets ---


def test_reading_in_parts_gives_what_reading_the_whole_gives(data: Path) -> None:
    for packet in packets(data):
        (whole,) = fastavro.reader(BytesIO(packet.data))
        (alert,) = ZTF().decode(packet)
        assert isinstance(alert, Alert)
        assert repr(alert.candidate) == repr(whole["candidate"])  # NaN is not equal to itself
        bodies = {point.id: dict(point.body) for point in alert.points}
        rows = {row["candid"]: row for row in whole["prv_candidates"] or () if row["candid"] is not None}
        for candid, row in {**rows, whole["candid"]: whole["candidate"]}.items():
            changed = ("candid", "programpi", "pdiffimfilename")
            expected = {key: value for key, value in row.items() if key not in changed}
            assert repr({key: value for key, value in bodies[candid].items() if key not in changed}) == repr(expected)
        forced = sorted((point for point in alert.points if point.kind == "forced"), key=lambda point: point.jd)
        expected_forced = sorted(whole.get("fp_hists") or (), key=lambda row: row["jd"])
        assert [point.body for point in forced] == expected_forced
        stamps = {key.removeprefix("cutout").lower(): whole.get(key) for key in whole if key.startswith("cutout")}
        assert alert.cutouts() == {key: stamp["stampData"] for key, stamp in stamps.items() if stamp}


def test_the_order_of_looking_does_not_matter(sample: GetSample) -> None:
    data = sample(SAMPLES[0]).data
    (first,), (second,) = ZTF().decode(Packet(data, "", 0)), ZTF().decode(Packet(data, "", 0))
    assert isinstance(first, Alert)
    assert isinstance(second, Alert)
    stamps, points = first.cutouts(), first.points
    assert (second.points, second.cutouts()) == (points, stamps)
    assert first.points is points


def test_one_reader_reads_packets_of_many_schemas_in_any_order(data: Path) -> None:
    instrument, found = ZTF(), list(packets(data))
    forth = [item.id for packet in found for item in instrument.decode(packet) if isinstance(item, Alert)]
    back = [item.id for packet in reversed(found) for item in instrument.decode(packet) if isinstance(item, Alert)]
    assert forth == back[::-1]
    assert len(forth) == len(found)


@pytest.mark.parametrize("codec", ["null", "deflate"])
def test_compressed_containers_and_containers_of_many(codec: str) -> None:
    records = night()
    found = alerts(decode(containers(records, codec)))
    assert [alert.id for alert in found] == [record["candid"] for record in records]
    assert [len(alert.points) for alert in found] == [3, 3, 3]
    assert [len(alert.cutouts()) for alert in found] == [3, 3, 3]


def test_real_packets_compressed_read_as_before(data: Path) -> None:
    for packet in packets(data):
        reader = fastavro.reader(BytesIO(packet.data))
        buffer = BytesIO()
        fastavro.writer(buffer, reader.writer_schema, list(reader), codec="deflate")
        (before,), (after,) = alerts(decode(packet.data)), alerts(decode(buffer.getvalue()))
        assert repr((before.id, before.points, before.rank)) == repr((after.id, after.points, after.rank))


def test_containers_of_many_blocks() -> None:
    records = night()
    found = decode(containers(records, sync_interval=1))
    assert [alert.id for alert in alerts(found)] == [record["candid"] for record in records]
    assert not errors(found)


# --- broken packets ---


@pytest.mark.parametrize(("name", "readable"), list(zip(BROKEN, ([], [516401801315010009], []), strict=True)))
def test_packets_that_came_broken(data: Path, name: str, readable: list[int]) -> None:
    found = decode((data / "ztf" / "bad" / f"{name}.avro").read_bytes())
    assert [alert.id for alert in alerts(found)] == readable
    assert len(errors(found)) == 1
    assert isinstance(found[-1], AlertFormatError)


@pytest.mark.parametrize("name", SAMPLES)
def test_a_packet_cut_anywhere_is_an_error_and_raises_nothing(sample: GetSample, name: str) -> None:
    data, start = sample(name)
    (whole,) = alerts(decode(data))
    step = max(1, len(data) // 150)
    cuts = {*range(0, len(data), step), *range(len(data) - 40, len(data)), *range(40)}
    # The schema is most of a small packet: look closely at where it ends and the record begins.
    cuts |= set(range(start - 60, start + 60))
    assert len(cuts) >= 200
    for cut in sorted(cuts):
        found = decode(data[:cut])
        assert len(errors(found)) == 1, cut
        # A record that is whole counts, though its container is not.
        assert [alert.points for alert in alerts(found)] in ([], [whole.points]), cut


@pytest.mark.parametrize("codec", ["null", "deflate"])
def test_of_a_container_of_many_the_readable_beginning_counts(codec: str) -> None:
    records = night()
    data = containers(records, codec, sync_interval=1)
    ids, longest = [record["candid"] for record in records], 0
    for cut in range(0, len(data), len(data) // 200):
        found = decode(data[:cut])
        read = [alert.id for alert in alerts(found)]
        assert read == ids[: len(read)]
        assert len(read) >= longest
        longest = len(read)
    assert longest == 2


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "NOT_AVRO"),
        (b"Obj\x01", "TRUNCATED"),
        (b"<html>404 Not Found</html>", "NOT_AVRO"),
        (b"\x1f\x8b" + bytes(200), "NOT_AVRO"),
        (containers([]), "EMPTY"),
        (containers(night(), "bzip2"), "UNKNOWN_CODEC"),
    ],
    ids=["nothing", "magic alone", "html", "gzip", "no record", "bzip2"],
)
def test_what_is_no_packet(data: bytes, reason: str) -> None:
    (error,) = errors(decode(data))
    assert error.reason == reason


def foreign(schema: Any, record: Any) -> bytes:
    buffer = BytesIO()
    fastavro.writer(buffer, fastavro.parse_schema(schema), [record])
    return buffer.getvalue()


def header_with(schema: bytes) -> bytes:
    buffer = BytesIO(b"Obj\x01")
    buffer.seek(0, 2)
    fastavro.schemaless_writer(buffer, {"type": "map", "values": "bytes"}, {"avro.schema": schema})
    return buffer.getvalue() + bytes(64)


@pytest.mark.parametrize(
    "schema",
    [
        b"",
        b"{}",
        b"[]",
        b'"long"',
        b"not json",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"type": "record", "name": "a", "fields": [{"name": "candidate", "type": "nonsense"}]}',
        b'{"type": "record", "name": "a", "fields": "candidate"}',
    ],
)
def test_a_schema_that_is_none(schema: bytes) -> None:
    (error,) = errors(decode(header_with(schema)))
    assert error.reason == "INVALID_SCHEMA"


def doubled(depth: int) -> dict[str, Any]:
    """Types each of which names the next one twice, down to one of no fields: no byte, two to the `depth` values."""
    kind: dict[str, Any] = {"type": "record", "name": f"t{depth}", "fields": []}
    for n in reversed(range(depth)):
        fields = [{"name": "a", "type": kind}, {"name": "b", "type": f"t{n + 1}"}]
        kind = {"type": "record", "name": f"t{n}", "fields": fields}
    return kind


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (doubled(30), bytes(100)),
        ("loop", bytes(100)),
        ({"type": "array", "items": "loop"}, b"\x02" * 1_000_000),
        (["null", "loop"], b"\x02" * 1_000_000),
        ({"type": "map", "values": "loop"}, b"\x02" * 1_000_000),
        ({"type": "array", "items": "null"}, b"\xfe" * 7 + b"\x01" + bytes(20)),
        ({"type": "array", "items": {"type": "record", "name": "void", "fields": []}}, b"\xfe" * 7 + b"\x01"),
    ],
)
def test_a_schema_without_end_is_refused(kind: Any, body: bytes) -> None:
    """A few bytes of such a record keep a reader busy for ever, or bring it down."""
    loop = {"type": "record", "name": "loop", "fields": [{"name": "x", "type": kind}]}
    fields = [{"name": "again", "type": loop}, {"name": "candidate", "type": "int"}]
    header = header_with(json.dumps({"type": "record", "name": "a", "fields": fields}).encode())
    block = BytesIO()
    for number in (1, len(body)):
        fastavro.schemaless_writer(block, "long", number)
    (error,) = errors(decode(header.removesuffix(bytes(48)) + block.getvalue() + body + bytes(16)))
    assert error.reason == "INVALID_SCHEMA"


def test_packets_of_other_surveys_and_invalid_schemas(data: Path) -> None:
    for path in sorted((data / "other_surveys").rglob("*.avro")):
        found = decode(path.read_bytes())
        assert not alerts(found)
        assert errors(found)


@pytest.mark.parametrize(
    "field", [{"candid": "x" * 30}, {"objectId": None}, {"schemavsn": "9" * 400}, {"candidate": {"jd": float("nan")}}]
)
def test_fields_of_wrong_types_or_values(field: dict[str, Any]) -> None:
    record = {"schemavsn": "4.02", "objectId": "ZTF18aaaaaaa", "candid": "1", "candidate": {"jd": 2458349.7}} | field
    text: dict[str, Any] = {"type": ["null", "string"]}
    body = {"type": "record", "name": "c", "fields": [{"name": "jd", "type": "double"}]}
    names = ("schemavsn", "objectId", "candid")
    fields: list[dict[str, Any]] = [{"name": name, **text} for name in names]
    schema = {"type": "record", "name": "a", "fields": [*fields, {"name": "candidate", "type": body}]}
    (error,) = errors(decode(foreign(schema, record)))
    assert error.reason == "INVALID_FIELD"


@pytest.mark.parametrize("row", [{"jd": 1e300}, {"jd": -1e15}, {"diffmaglim": 3e38}, {"rcid": 2**31 - 1, "jd": 1e9}])
def test_limits_that_no_id_can_name(row: dict[str, Any]) -> None:
    """Ids are 64-bit integers; a damaged number must not stop the database later."""
    packet = make_alert(history=[{**make_limit(jd=2458330.7), **row}])
    found = decode(encode_packet(packet))
    assert all(storable(alert) for alert in alerts(found))
    assert errors(found) or alerts(found)


@settings(max_examples=400, deadline=None)
@given(
    name=st.sampled_from(SAMPLES),
    where=st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=4),
    values=st.lists(st.integers(1, 255), min_size=4, max_size=4),
    in_record=st.booleans(),
)
def test_damaged_bytes_raise_nothing(
    sample: GetSample, name: str, where: list[float], values: list[int], in_record: bool
) -> None:
    data = bytearray(sample(name).data)
    # Half of the damage goes to the record; the schema before it is long.
    start = sample(name).record if in_record else 0
    for place, value in zip(where, values, strict=False):
        data[start + int(place * (len(data) - start))] ^= value
    found = decode(bytes(data))
    assert found
    assert all(storable(alert) for alert in alerts(found))
