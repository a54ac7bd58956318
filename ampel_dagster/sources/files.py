"""Packets in files: one packet in a file, an archive (tar, tar.gz) of those, JSON, Parquet, or a folder with any.

A file of one packet ends in ``.avro``, whatever the form of the packet is (a container, or a Confluent frame).
Everything is streamed: nothing is extracted to disk, and names inside are only shown, never used as paths.
"""

import gzip
import tarfile
import zlib
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BufferedReader, BytesIO, TextIOWrapper
from pathlib import Path
from tarfile import InvalidHeaderError, ReadError, TruncatedHeaderError  # type: ignore[attr-defined]
from typing import IO, Any, Self, cast

from ampel_dagster.model.alert import MAX_ALERT_BYTES, Packet
from ampel_dagster.model.errors import AlertFormatError, UserError
from ampel_dagster.sources.json_files import read_lines, read_objects

_GzipFile: Any = gzip.GzipFile
#: What is raised of a file that is not what it claims to be, or cannot be read.
_DAMAGED: tuple[type[Exception], ...] = (
    tarfile.TarError,
    EOFError,
    OSError,
    ValueError,
    RecursionError,
    zlib.error,
)
try:  # unpacks twice as fast; there is none for rare processors
    from isal import igzip, isal_zlib
except ImportError:
    pass
else:
    _GzipFile, _DAMAGED = igzip.GzipFile, (*_DAMAGED, cast("type[Exception]", isal_zlib.error))

_ARCHIVES = (".tar", ".tar.gz", ".tgz")
_JSON_LINES = (".jsonl", ".ndjson", ".jsonl.gz", ".ndjson.gz")
_JSON = (".json", ".json.gz")
_PARQUET = (".parquet",)
_SUFFIXES = (*_ARCHIVES, ".avro", *_JSON, *_JSON_LINES, *_PARQUET)
#: Bytes of a broken archive that are kept beside its quarantine record: enough to recognise it.
_KEPT_BYTES = 4096
#: Bytes of a file that is read as one packet, in memory; it may hold several alerts.
MAX_PACKET_BYTES = 64_000_000
_GZIP = b"\x1f\x8b"
_CHUNK_BYTES = 1 << 16
#: Chunks that are unpacked at once, while those before are decoded.
_CHUNKS_AHEAD = 16


class BrokenSourceError(AlertFormatError):
    """What of a file cannot be read; `packet` holds its beginning, and where it stands.

    TRUNCATED_ARCHIVE: the rest of an archive. TOO_LARGE: one packet, of `size_bytes`; reading goes on after it.
    """

    def __init__(
        self, message: str, packet: Packet, *, reason: str = "TRUNCATED_ARCHIVE", size_bytes: int | None = None
    ) -> None:
        super().__init__(reason, message)
        self.packet = packet
        self.size_bytes = len(packet.data) if size_bytes is None else size_bytes


class _Ahead:
    """A packed stream of which the next piece is unpacked in another thread, while the one before is looked at.

    What goes wrong is raised behind all that could be unpacked.
    """

    def __init__(self, stream: IO[bytes], unpacker: ThreadPoolExecutor) -> None:
        self._stream = stream
        self._unpacker = unpacker
        self._piece = BytesIO()
        self._broken: Exception | None = None
        self._coming = unpacker.submit(self._unpack)

    def read(self, size: int) -> bytes:
        """At most so many bytes; none at the end."""
        found = self._piece.read(size)
        if not found and self._broken is None:
            piece, self._broken = self._coming.result()
            if piece and self._broken is None:
                self._coming = self._unpacker.submit(self._unpack)
            self._piece = BytesIO(piece)
            found = self._piece.read(size)
        if not found and self._broken is not None:
            raise self._broken
        return found

    def _unpack(self) -> tuple[bytes, Exception | None]:
        parts: list[bytes] = []
        try:
            while len(parts) < _CHUNKS_AHEAD:
                parts.append(self._stream.read(_CHUNK_BYTES))
        except _DAMAGED as error:
            return b"".join(parts), error
        return b"".join(parts), None


class _Member(tarfile.TarInfo):
    """Entry of an archive; one that is damaged or cut off is an error, which `tarfile` takes for a good end."""

    @classmethod
    def fromtarfile(cls, tarfile: tarfile.TarFile) -> Self:  # the name of the argument is the library's
        """The next entry. Raises ReadError."""
        try:
            return super().fromtarfile(tarfile)
        except (InvalidHeaderError, TruncatedHeaderError) as error:
            raise ReadError(str(error)) from error


def list_files(paths: list[Path]) -> list[Path]:
    """Files that hold packets, folders searched in depth, in order of name.

    Raises UserError for a path that is not there, or a file of another kind.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(f for f in path.rglob("*") if f.is_file() and is_alert_file(f))
            if not inside:
                raise UserError(f"{path}: no alert file in this folder ({', '.join(_SUFFIXES)})")
            found += inside
        elif not path.is_file():
            raise UserError(f"{path}: no such file or folder")
        elif not is_alert_file(path):
            raise UserError(f"{path}: not an alert file ({', '.join(_SUFFIXES)})")
        else:
            found.append(path)
    return list(dict.fromkeys(found))


def is_alert_file(path: Path) -> bool:
    """Whether the name is that of an alert file that is complete (hidden names are not: they are being written)."""
    return path.name.endswith(_SUFFIXES) and not path.name.startswith(".")


def read_file(path: Path, name: str | None = None) -> Iterator[Packet | BrokenSourceError]:
    """Packets of one file in order. `name` is what the ledger calls the source (default: the file's name).

    A file that breaks half-way yields what could be read, then one BrokenSourceError.
    """
    source = _text(name or path.name)
    offset = 0
    try:
        for member, data, size in _packets(path):
            yield _packet(data, size, source, offset, member)
            offset += 1
    except _DAMAGED as error:
        with path.open("rb") as file:
            kept = file.read(_KEPT_BYTES)
        yield BrokenSourceError(f"{source} breaks off after {offset} packets ({error})", Packet(kept, source, offset))


def _packets(path: Path) -> Iterator[tuple[str, bytes, int]]:
    """Names (of those that have one), contents (of one that is too large, the beginning) and sizes of packets."""
    if path.name.endswith(_PARQUET):
        from ampel_dagster.sources.parquet import read_rows  # here: Arrow takes a quarter of a second to load

        yield from (("", data, len(data)) for data in read_rows(path))
        return
    if not path.name.endswith((*_ARCHIVES, *_JSON, *_JSON_LINES)):
        size = path.stat().st_size
        with path.open("rb") as file:
            yield path.name, file.read(_kept(size)), size
        return
    with path.open("rb") as file:
        if path.name.endswith(_ARCHIVES):
            yield from _members(file)
        elif path.name.endswith(_JSON_LINES):
            yield from (("", data, len(data)) for data in read_lines(_unpacked(file)))
        else:
            text = TextIOWrapper(_unpacked(file), "utf-8", errors="surrogateescape")
            yield from (("", data, len(data)) for data in read_objects(text))


def _unpacked(file: BufferedReader) -> IO[bytes]:
    """The content of a file that may be gzipped."""
    packed = file.peek(len(_GZIP)).startswith(_GZIP)
    return cast(IO[bytes], _GzipFile(fileobj=file)) if packed else file


def _text(name: str) -> str:
    """A name as text that can be stored: on disk and in archives it may be any bytes."""
    return name.encode(errors="backslashreplace").decode()


def _kept(size: int) -> int:
    """How much is read of a packet of `size` bytes."""
    return size if size <= MAX_PACKET_BYTES else MAX_ALERT_BYTES


def _packet(data: bytes, size: int, source: str, offset: int, name: str) -> Packet | BrokenSourceError:
    name = _text(name)
    packet = Packet(data, source, offset, name)
    if size <= MAX_PACKET_BYTES:
        return packet
    message = f"{name} has {size} bytes, more than {MAX_PACKET_BYTES}"
    return BrokenSourceError(message, packet, reason="TOO_LARGE", size_bytes=size)


def _members(file: BufferedReader) -> Iterator[tuple[str, bytes, int]]:
    """Names, contents (of one that is too large, the beginning) and sizes of the files in an archive."""
    stream = _unpacked(file)
    if stream is file:
        file.seek((yield from _entries(file)))
        if not file.read(1):
            raise EOFError("it has no end mark")
        return
    with ThreadPoolExecutor(1, "unpack") as unpacker:
        ahead = _Ahead(stream, unpacker)
        yield from _entries(ahead)
        while ahead.read(_CHUNK_BYTES):
            pass  # to the end, where the checksum stands


def _entries(stream: "IO[bytes] | _Ahead") -> Generator[tuple[str, bytes, int], None, int]:
    """The same of an archive that is not packed; where it ends."""
    with tarfile.open(fileobj=cast(IO[bytes], stream), mode="r|", bufsize=_CHUNK_BYTES, tarinfo=_Member) as archive:
        while (member := archive.next()) is not None:
            archive.members.clear()  # type: ignore[attr-defined]  # a night has many, and nobody asks for them again
            if not member.isfile():
                continue
            data = _content(archive, member)
            if len(data) < _kept(member.size):
                raise EOFError(f"{member.name} is cut off")
            yield member.name, data, member.size
        return archive.offset


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    """The content of the entry that was read last; of one that is too large, the beginning."""
    stream = archive.fileobj
    if member.issparse() or stream is None:
        content = archive.extractfile(member)
        return content.read(_kept(member.size)) if content is not None else b""
    # Past the library's object for random access, which copies all once more: 10 µs a packet.
    stream.seek(member.offset_data)
    return stream.read(_kept(member.size))
