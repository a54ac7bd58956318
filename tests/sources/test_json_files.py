"""JSON: a packet is the text of its object, wherever it stands; what is broken is told, and ends in quarantine."""

import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ampel_dagster.model.alert import Packet
from ampel_dagster.sources import json_files
from ampel_dagster.sources.files import BrokenSourceError, read_file

#: Spelt as no program would write them: the text must come through as it is.
OBJECTS = (
    '{"a":  1.50, "b": "}],{"}',
    "{}",
    '{"deep": {"list": [1, [2], {"x": "\\u00e9"}]}}',
    '{"nan": NaN, "é": "ü"}',
)


def read(folder: Path, content: str | bytes, name: str = "alerts.json") -> tuple[list[str], list[str]]:
    """(packets, messages about what is broken) of a file."""
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    found = list(read_file(path))
    packets = [item for item in found if isinstance(item, Packet)]
    assert [packet.offset for packet in packets] == list(range(len(packets)))
    assert {packet.source for packet in packets} <= {name}
    return [p.data.decode() for p in packets], [e.message for e in found if isinstance(e, BrokenSourceError)]


@pytest.mark.parametrize(
    "join",
    [
        lambda objects: "[" + ",".join(objects) + "]",
        lambda objects: " [\n  " + "\n ,\t".join(objects) + "\n]\n",
        "".join,
        "\n\n".join,
    ],
    ids=["list", "list with space", "one after the other", "by lines"],
)
@pytest.mark.parametrize("chunk", [1, 7, 1 << 18])
def test_objects_come_as_they_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, join: Callable[[tuple[str, ...]], str], chunk: int
) -> None:
    monkeypatch.setattr(json_files, "_CHUNK", chunk)
    assert read(tmp_path, join(OBJECTS)) == (list(OBJECTS), [])


def test_one_alert_is_a_file(tmp_path: Path) -> None:
    assert read(tmp_path, OBJECTS[2]) == ([OBJECTS[2]], [])


@pytest.mark.parametrize("name", ["alerts.jsonl", "alerts.ndjson"])
def test_a_line_is_a_packet_whatever_it_holds(tmp_path: Path, name: str) -> None:
    """A broken line must not cost the others: the instrument says of each what is wrong with it."""
    lines = [OBJECTS[0], '{"cut', "", "  ", "[1]", OBJECTS[1]]
    assert read(tmp_path, "\n".join(lines), name) == ([OBJECTS[0], '{"cut', "[1]", OBJECTS[1]], [])


@pytest.mark.parametrize("name", ["alerts.json.gz", "alerts.jsonl.gz", "alerts.ndjson.gz"])
def test_gzipped_json(tmp_path: Path, name: str) -> None:
    packed = gzip.compress("\n".join(OBJECTS).encode())
    assert read(tmp_path, packed, name) == (list(OBJECTS), [])
    packets, (message,) = read(tmp_path, packed[:-6], name)
    assert packets == list(OBJECTS)[: len(packets)]
    assert f"breaks off after {len(packets)} packets" in message


def test_a_list_may_be_empty(tmp_path: Path) -> None:
    assert read(tmp_path, "[ ]") == ([], [])
    assert read(tmp_path, "", "alerts.jsonl") == ([], [])


@pytest.mark.parametrize(
    ("content", "packets", "says"),
    [
        ("", 0, "empty"),
        ("[1, 2]", 0, "an object is expected, '1' is there"),
        ("[{}, {}", 2, "']' is expected, the end is there"),
        ("[{} {}]", 1, "',' is expected, '{' is there"),
        ("[{}] {}", 1, "something follows the list"),
        ("[{},]", 1, "an object is expected, ']' is there"),
        ('[{}, {"a": 1', 1, "breaks off after 1 packets"),
        ("<html>", 0, "an object is expected, '<' is there"),
        ('{"a": ' + "[" * 200_000, 0, "recursion"),
    ],
)
def test_what_is_broken_is_told_after_what_is_sound(tmp_path: Path, content: str, packets: int, says: str) -> None:
    found, (message,) = read(tmp_path, content)
    assert len(found) == packets
    assert says in message


def test_a_packet_without_end_does_not_fill_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_files, "MAX_PACKET_BYTES", 1000)
    monkeypatch.setattr(json_files, "_CHUNK", 100)
    for name in ("alerts.json", "alerts.jsonl"):
        path = tmp_path / name
        path.write_text(json.dumps({"a": 1}) + "\n" + '{"a": "' + "x" * 100_000)
        with path.open("rb" if name.endswith("l") else "r") as file:
            read_packets = json_files.read_lines if name.endswith("l") else json_files.read_objects
            packets = read_packets(file)  # type: ignore[operator]  # each has its kind of file
            assert next(packets) == b'{"a": 1}'
            with pytest.raises(ValueError, match=r"Unterminated|more than"):
                next(packets)
            assert file.tell() < 10_000


def test_bytes_that_are_no_text_stay_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "alerts.json"
    path.write_bytes(b'[{"name": "\xff\xfe"}, {}]')
    assert [packet.data for packet in read_file(path) if isinstance(packet, Packet)] == [b'{"name": "\xff\xfe"}', b"{}"]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.dictionaries(st.text(), VALUES, max_size=4), max_size=6),
    st.booleans(),
    st.booleans(),
    st.integers(1, 50),
)
def test_whatever_the_objects_and_however_the_file_is_read(
    objects: list[dict[str, Any]], ascii_only: bool, as_list: bool, chunk: int
) -> None:
    texts = [json.dumps(item, ensure_ascii=ascii_only) for item in objects]
    content = "[" + " ,\n".join(texts) + " ]" if as_list or not texts else "\n".join(texts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_files, "_CHUNK", chunk)
        file = io.TextIOWrapper(io.BytesIO(content.encode("utf-8", "surrogatepass")), "utf-8", errors="surrogateescape")
        found = [data.decode("utf-8", "surrogatepass") for data in json_files.read_objects(file)]
    assert found == texts
