"""Packets in files: an Avro file, a tar or tar.gz of them, or a folder with any of these.

Archives are streamed: nothing is extracted to disk, and names inside are only shown, never used as paths.
"""

import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from ampel_dagster.model.alert import Packet
from ampel_dagster.model.errors import AlertFormatError, UserError

_ARCHIVES = (".tar", ".tar.gz", ".tgz")
_SUFFIXES = (*_ARCHIVES, ".avro")
#: Bytes of a broken archive that are kept beside its quarantine record: enough to recognise it.
_KEPT_BYTES = 4096


class BrokenSourceError(AlertFormatError):
    """The rest of a file that cannot be read; `packet` holds the beginning of the file and where reading stopped."""

    def __init__(self, message: str, packet: Packet) -> None:
        super().__init__("TRUNCATED_ARCHIVE", message)
        self.packet = packet


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
    source = name or path.name
    if not path.name.endswith(_ARCHIVES):
        yield Packet(path.read_bytes(), source, 0, path.name)
        return
    offset = 0
    try:
        with tarfile.open(path, "r|*") as archive:
            for member in archive:
                if not member.isfile():
                    continue
                stream = archive.extractfile(member)
                data = stream.read() if stream is not None else b""
                if len(data) < member.size:
                    raise EOFError(f"{member.name} is cut off")
                yield Packet(data, source, offset, member.name)
                offset += 1
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        with path.open("rb") as file:
            kept = file.read(_KEPT_BYTES)
        yield BrokenSourceError(f"{source} breaks off after {offset} packets ({error})", Packet(kept, source, offset))
