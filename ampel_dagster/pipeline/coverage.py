"""Which packets of which sources a batch or a run has read, as rows of numbers without a gap."""

from bisect import bisect_right
from collections.abc import Iterable

from ampel_dagster.model.alert import Packet

#: First and last number of each row, by source, in order.
Rows = dict[str, list[tuple[int, int]]]


def rows_of(packets: Iterable[Packet]) -> Rows:
    """The places of packets as rows."""
    rows: Rows = {}
    cover(rows, packets)
    return rows


def cover(rows: Rows, packets: Iterable[Packet]) -> None:
    """Add the places of packets to rows."""
    for source, offset in sorted({(packet.source, packet.offset) for packet in packets}):
        mine = rows.setdefault(source, [])
        at = bisect_right(mine, (offset, offset))
        if (at and mine[at - 1][1] >= offset) or (at < len(mine) and mine[at][0] == offset):
            continue
        first = last = offset
        if at < len(mine) and mine[at][0] == offset + 1:
            last = mine.pop(at)[1]
        if at and mine[at - 1][1] == offset - 1:
            at -= 1
            first = mine.pop(at)[0]
        mine.insert(at, (first, last))
