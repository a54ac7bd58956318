"""The packets to measure with: simulated or real, multiplied into alerts about further objects, or seen once more.

Run as a script, it writes them: `single` (as they came), `first` (with their copies) and `next` (an hour later).

Copies of a packet are of another object at another time, so that nothing of a copy is known when the original is:
name, time, id and read-out number are shifted, and with time and read-out number the ids of upper limits. What a
packet is for the decoder (schema, sizes, stamps, number of earlier points) stays as it was.
"""

import argparse
import tarfile
from collections.abc import Iterable, Iterator
from copy import deepcopy
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import fastavro

from ampel_dagster.model.alert import Packet
from ampel_dagster.sources.files import BrokenSourceError, list_files, read_file
from ampel_dagster.testing import simulate_night

#: Night of simulated packets.
NIGHT = "2018-08-19"
#: A candid counts 1e15 a day, a pid 1e9; times are shifted by thousandths of a day.
_CANDID, _PID = 10**12, 10**6
_DATES = ("jd", "jdstarthist", "jdendhist")
_LETTERS = 7
_NAMES = 26**_LETTERS
#: Between the numbers of two copies' names; no factor in common with 26, so that names repeat as late as can be.
_NAME_STEP = 829_362_851
#: Thousandths of a day after which an object is seen again.
_NEXT_VISIT = 40


class Original(NamedTuple):
    """A decoded packet with what is needed to encode it again."""

    schema: Any
    codec: str
    record: dict[str, Any]


def real_packets(path: Path) -> list[bytes]:
    """All packets of a file or folder."""
    found = []
    for file in list_files([path]):
        for packet in read_file(file):
            if isinstance(packet, BrokenSourceError):
                raise SystemExit(f"{file}: {packet.message}")
            found.append(packet.data)
    return found


def simulated_packets(number: int) -> list[bytes]:
    """About so many packets of one simulated night."""
    return [alert.to_bytes() for alert in simulate_night(NIGHT, number)]


def originals(packets: Iterable[bytes]) -> list[Original]:
    """Decode packets in full."""
    found = []
    for data in packets:
        reader = fastavro.reader(BytesIO(data))
        found.append(Original(reader.writer_schema, reader.codec or "null", next(reader)))
    return found


def copies(source: list[Original], numbers: Iterable[int], *, stamps: bool = True) -> Iterator[bytes]:
    """Copies of these numbers of each packet; number 0 is the packet itself, unchanged."""
    for number in numbers:
        for original in source:
            record = original.record
            if number or not stamps:
                record = deepcopy(record)
                _shift_record(record, number)
                if not stamps:
                    record |= {key: None for key in record if key.startswith("cutout")}
            yield _encode(original, record)


def next_visit(original: Original) -> bytes:
    """The packet that the survey would send an hour later about the same object, had it seen it again.

    The candidate has become the newest entry of the history, whose oldest one has left; a new candidate, like the
    old one but for time and ids, is the only datapoint that was not in the packet before.
    """
    record = deepcopy(original.record)
    candidate = record["candidate"]
    earlier = {name: candidate.get(name) for name in _history_fields(original.schema)}
    record["prv_candidates"] = [*(record.get("prv_candidates") or ())[1:], earlier]
    _shift(candidate, _NEXT_VISIT)
    # One more than a copy that many thousandths of a day later has.
    candidate["candid"] = record["candid"] = candidate["candid"] + 1
    return _encode(original, record)


def write_tar(path: Path, packets: Iterable[bytes]) -> int:
    """Write packets as a tar.gz like the survey's archives; return their number."""
    count = 0
    with tarfile.open(path, "w:gz", compresslevel=1) as archive:
        for count, data in enumerate(packets, 1):
            member = tarfile.TarInfo(f"{count:06}.avro")
            member.size = len(data)
            archive.addfile(member, BytesIO(data))
    return count


def tar_path(folder: Path, which: str) -> Path:
    """Where the packets lie: single, first or next."""
    return folder / f"{which}.tar.gz"


def load(path: Path) -> list[Packet]:
    """All packets of a tar.gz, in memory."""
    return [packet for packet in read_file(path) if isinstance(packet, Packet)]


def _shift_record(record: dict[str, Any], number: int) -> None:
    if not number:
        return
    record["objectId"] = _shift_name(record["objectId"], number)
    record["candid"] += number * _CANDID
    for point in (record["candidate"], *(record.get("prv_candidates") or ()), *(record.get("fp_hists") or ())):
        _shift(point, number)


def _shift(point: dict[str, Any], number: int) -> None:
    for key in _DATES:
        if point.get(key) is not None:
            point[key] += number / 1000
    if point.get("candid") is not None:
        point["candid"] += number * _CANDID
    if point.get("pid") is not None:
        point["pid"] += number * _PID


def _shift_name(name: str, number: int) -> str:
    value = 0
    for letter in name[-_LETTERS:]:
        value = value * 26 + ord(letter) - 97
    value = (value + number * _NAME_STEP) % _NAMES
    letters = ""
    for _ in range(_LETTERS):
        value, letter = divmod(value, 26)
        letters = chr(97 + letter) + letters
    return name[:-_LETTERS] + letters


def _history_fields(schema: dict[str, Any]) -> list[str]:
    field = next(field for field in schema["fields"] if field["name"] == "prv_candidates")
    items = next(kind["items"] for kind in field["type"] if isinstance(kind, dict) and kind["type"] == "array")
    return [field["name"] for field in items["fields"]]


def _encode(original: Original, record: dict[str, Any]) -> bytes:
    buffer = BytesIO()
    fastavro.writer(buffer, original.schema, [record], codec=original.codec, sync_marker=b"ampel_dagster_b_")
    return buffer.getvalue()


def main() -> None:
    """Write the three files; print the number of packets of `first`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--alerts", type=Path, help="real packets; without it, simulated ones")
    parser.add_argument("--number", type=int, default=600)
    parser.add_argument("--times", type=int, default=1)
    args = parser.parse_args()
    single = real_packets(args.alerts) if args.alerts else simulated_packets(args.number)
    write_tar(tar_path(args.folder, "single"), single)
    count = write_tar(tar_path(args.folder, "first"), copies(originals(single), range(args.times)))
    seen = originals(packet.data for packet in load(tar_path(args.folder, "first")))
    write_tar(tar_path(args.folder, "next"), map(next_visit, seen))
    print(count)


if __name__ == "__main__":
    main()
