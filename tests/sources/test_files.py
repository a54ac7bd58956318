"""Files of packets: archives, folders, single files, and what is left of broken ones."""

import gzip
import io
import os
import tarfile
import threading
import tracemalloc
from collections import deque
from collections.abc import Generator
from itertools import islice
from pathlib import Path
from random import Random
from typing import ClassVar

import pytest

from ampel_dagster.model.alert import Packet
from ampel_dagster.model.errors import UserError
from ampel_dagster.sources.files import BrokenSourceError, is_alert_file, list_files, read_file

Members = dict[str, bytes]
#: Four packets; what is in them is nobody's business here. The second ends where a block of the archive does.
MEMBERS = {"1.avro": b"one", "2.avro": b"x" * 1024, "3.avro": bytes(range(256)) * 9, "4.avro": b"four" * 200}


def tar(members: Members) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def read(path: Path, name: str | None = None) -> tuple[list[Packet], list[BrokenSourceError]]:
    found = list(read_file(path, name))
    errors = [item for item in found if isinstance(item, BrokenSourceError)]
    assert errors == found[len(found) - len(errors) :], "what is broken comes last"
    return [item for item in found if isinstance(item, Packet)], errors


@pytest.fixture(params=[".tar", ".tar.gz", ".tgz"])
def archive(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / f"night{request.param}"
    path.write_bytes(tar(MEMBERS) if request.param == ".tar" else gzip.compress(tar(MEMBERS)))
    return path


# --- sound files ---


def test_an_archive_gives_its_packets_in_order(archive: Path) -> None:
    packets, errors = read(archive)
    assert not errors
    assert packets == [Packet(data, archive.name, n, name) for n, (name, data) in enumerate(MEMBERS.items())]


def test_a_single_file_is_one_packet(tmp_path: Path) -> None:
    path = tmp_path / "595147624915010001.avro"
    path.write_bytes(b"packet")
    assert list(read_file(path)) == [Packet(b"packet", path.name, 0, path.name)]


def test_the_ledger_may_know_a_file_by_another_name(archive: Path) -> None:
    packets, _ = read(archive, "2018/night")
    assert {packet.source for packet in packets} == {"2018/night"}


def test_what_is_not_a_file_in_an_archive_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "night.tar"
    with tarfile.open(path, "w") as archive:
        for name, kind in (("folder", tarfile.DIRTYPE), ("link", tarfile.SYMTYPE), ("hard", tarfile.LNKTYPE)):
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = kind, "/etc/passwd"
            archive.addfile(entry)
        entry = tarfile.TarInfo("folder/1.avro")
        entry.size = 3
        archive.addfile(entry, io.BytesIO(b"one"))
    assert list(read_file(path)) == [Packet(b"one", "night.tar", 0, "folder/1.avro")]


def test_an_archive_without_packets_is_sound(tmp_path: Path) -> None:
    path = tmp_path / "night.tar.gz"
    path.write_bytes(gzip.compress(tar({})))
    assert read(path) == ([], [])


def test_names_in_an_archive_are_never_paths(tmp_path: Path) -> None:
    names = ["../../escaped.avro", "/absolute.avro", "a/../../b.avro", "~/home.avro"]
    folder = tmp_path / "deep" / "inside"
    folder.mkdir(parents=True)
    path = folder / "night.tar"
    path.write_bytes(tar({name: name.encode() for name in names}))
    packets, errors = read(path)
    assert not errors
    assert [packet.member for packet in packets] == names
    assert [packet.data.decode() for packet in packets] == names
    assert {file for file in tmp_path.rglob("*") if file.is_file()} == {path}
    assert not Path("/absolute.avro").exists()


def test_memory_does_not_grow_with_the_archive(tmp_path: Path) -> None:
    path = tmp_path / "night.tar.gz"
    path.write_bytes(gzip.compress(tar({f"{n}.avro": b"x" for n in range(4000)}), 1))
    packets = read_file(path)
    next(packets)
    tracemalloc.start()
    try:
        last = deque(islice(packets, 3998), maxlen=1)[0]
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert isinstance(last, Packet)
    assert last.offset == 3998
    assert held < 1_000_000


def test_a_real_night(data: Path) -> None:
    packets, errors = read(data / "ztf" / "ztf_public_20180819_mod1000.tar.gz")
    assert (len(packets), errors) == (30, [])
    assert [packet.offset for packet in packets] == list(range(30))
    assert all(packet.data.startswith(b"Obj\x01") for packet in packets)


# --- broken files ---


def test_a_real_night_cut_in_the_middle(data: Path, tmp_path: Path) -> None:
    whole = data / "ztf" / "ztf_public_20180819_mod1000.tar.gz"
    path = tmp_path / "night.tar.gz"
    path.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    packets, (error,) = read(path)
    assert 10 < len(packets) < 20
    assert packets == [packet._replace(source=path.name) for packet in read(whole)[0][: len(packets)]]
    assert (error.reason, error.packet.source, error.packet.offset) == ("TRUNCATED_ARCHIVE", path.name, len(packets))
    assert path.name in error.message


def test_an_archive_cut_anywhere_loses_nothing_in_silence(archive: Path) -> None:
    """Each packet is read, or an error says that something is missing."""
    whole = archive.read_bytes()
    step = 64 if archive.suffix == ".tar" else 1
    for cut in range(0, len(whole), step):
        archive.write_bytes(whole[:cut])
        packets, errors = read(archive)
        assert [packet.data for packet in packets] == list(MEMBERS.values())[: len(packets)]
        assert len(errors) == 1 or (not errors and len(packets) == len(MEMBERS)), cut
        if errors:
            assert errors[0].packet.offset == len(packets)


@pytest.mark.parametrize("member", range(1, len(MEMBERS)))
def test_a_damaged_header_in_the_middle_is_noticed(tmp_path: Path, member: int) -> None:
    data = bytearray(tar(MEMBERS))
    data[data.index(f"{member + 1}.avro".encode()) + 110] ^= 0x55
    path = tmp_path / "night.tar"
    path.write_bytes(data)
    packets, errors = read(path)
    assert [packet.data for packet in packets] == list(MEMBERS.values())[:member]
    assert len(errors) == 1


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz", ".tgz"])
@pytest.mark.parametrize("content", [b"", b"no archive", b"<html>" * 1000, b"\x1f\x8b", bytes(100)])
def test_what_only_claims_to_be_an_archive(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"night{suffix}"
    path.write_bytes(content)
    packets, errors = read(path)
    assert (packets, len(errors)) == ([], 1)
    assert errors[0].packet.data == content[:4096]


def test_the_beginning_of_a_broken_file_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "night.tar.gz"
    path.write_bytes(b"x" * 100_000)
    _, (error,) = read(path)
    assert error.packet.data == b"x" * 4096


def test_damage_to_compressed_bytes_is_noticed(data: Path, tmp_path: Path) -> None:
    whole = (data / "ztf" / "ZTF18acruwxq.tar.gz").read_bytes()
    sound, _ = read(data / "ztf" / "ZTF18acruwxq.tar.gz")
    path = tmp_path / "night.tar.gz"
    for place in range(20, len(whole) - 8, len(whole) // 60):
        damaged = bytearray(whole)
        damaged[place] ^= 0xFF
        path.write_bytes(damaged)
        packets, errors = read(path)
        assert len(errors) == 1 or [p.data for p in packets] == [p.data for p in sound]


class TestUnpackedAhead:
    """Archives are unpacked a megabyte ahead of what is looked at; that must not be seen."""

    MEMBERS: ClassVar = {f"{n}.avro": Random(n).randbytes(20_000) for n in range(150)}

    def test_all_is_read(self, tmp_path: Path) -> None:
        path = tmp_path / "night.tar.gz"
        path.write_bytes(gzip.compress(tar(self.MEMBERS), 1))
        packets, errors = read(path)
        assert [packet.data for packet in packets] == list(self.MEMBERS.values())
        assert errors == []

    @pytest.mark.parametrize("kept", [50_000, 700_000, 1_500_000, 2_900_000])
    def test_what_can_be_unpacked_is_read(self, tmp_path: Path, kept: int) -> None:
        """Random bytes do not shrink, the header and zeros of a member to below 500; the last chunk may be lost."""
        path = tmp_path / "night.tar.gz"
        path.write_bytes(gzip.compress(tar(self.MEMBERS), 1)[:kept])
        packets, (error,) = read(path)
        assert error.reason == "TRUNCATED_ARCHIVE"
        assert (kept - 70_000) // 20_500 <= len(packets) <= kept // 20_000
        assert [packet.data for packet in packets] == list(self.MEMBERS.values())[: len(packets)]

    def test_a_wrong_checksum_is_noticed(self, tmp_path: Path) -> None:
        path = tmp_path / "night.tar.gz"
        data = bytearray(gzip.compress(tar(self.MEMBERS), 1))
        data[-7] ^= 1
        path.write_bytes(data)
        packets, errors = read(path)
        assert len(errors) == 1
        assert len(packets) >= len(self.MEMBERS) - 4

    def test_who_stops_early_leaves_no_thread(self, tmp_path: Path) -> None:
        path = tmp_path / "night.tar.gz"
        path.write_bytes(gzip.compress(tar(self.MEMBERS), 1))
        before = set(threading.enumerate())
        packets = read_file(path)
        next(packets)
        assert isinstance(packets, Generator)
        packets.close()
        assert set(threading.enumerate()) <= before


# --- which files ---


def test_folders_are_searched_in_depth_and_in_order(tmp_path: Path) -> None:
    for name in ("b/2.avro", "b/c/1.tar.gz", "a.tgz", "d.tar", "readme.txt", ".hidden.avro", "e.avro.part"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    found = list_files([tmp_path])
    assert [str(path.relative_to(tmp_path)) for path in found] == ["a.tgz", "b/2.avro", "b/c/1.tar.gz", "d.tar"]


def test_a_file_that_is_named_twice_is_read_once(tmp_path: Path) -> None:
    path = tmp_path / "1.avro"
    path.touch()
    assert list_files([path, tmp_path, path]) == [path]


@pytest.mark.parametrize(
    "suffix",
    ["avro", "tar", "tar.gz", "tgz", "json", "json.gz", "jsonl", "jsonl.gz", "ndjson", "ndjson.gz", "parquet"],
)
def test_kinds_of_files(suffix: str) -> None:
    name = f"night.{suffix}"
    assert is_alert_file(Path(name))
    assert not is_alert_file(Path(f".{name}"))
    assert not is_alert_file(Path(f"{name}.part"))


def test_wrong_paths_are_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").touch()
    for name, complaint in (
        ("missing.avro", "no such file"),
        ("notes.txt", "not an alert file"),
        ("empty", "no alert file"),
    ):
        with pytest.raises(UserError, match=complaint) as caught:
            list_files([tmp_path / name])
        assert name in str(caught.value)
        assert "\n" not in str(caught.value)


def test_names_that_are_no_text_come_as_text(tmp_path: Path) -> None:
    """On a disk and in an archive a name may be any bytes; what is stored is text, and different names stay so."""
    names = [b"a\xff.avro", b"a\xfe.avro"]
    for name in names:
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).write_bytes(b"x")
    found = [packet for path in list_files([tmp_path]) for packet in read_file(path)]
    assert sorted(p.source for p in found if isinstance(p, Packet)) == [r"a\udcfe.avro", r"a\udcff.avro"]
    with tarfile.open(tmp_path / "night.tar", "w") as archive:
        archive.addfile(tarfile.TarInfo(os.fsdecode(names[0])))
    (packet,) = read_file(tmp_path / "night.tar")
    assert isinstance(packet, Packet)
    assert packet.member == r"a\udcff.avro"
