"""T0: write the datapoints of a batch's accepted alerts, each once for all its stocks and channels."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

from ampel_dagster.model.datapoint import DataPoint
from ampel_dagster.pipeline.t0_ingest import Ingestion, Judged
from ampel_dagster.pipeline.t0_parts import Parts
from ampel_dagster.pipeline.tally import Tally
from ampel_dagster.pipeline.write_ahead import nothing
from ampel_dagster.storage.point_codec import NewPoint
from ampel_dagster.storage.points import PointRow, Points

Meta = Mapping[str, Any]
Wanted = dict[int, NewPoint]
Superseded = dict[int, list[int]]


#: Half the time of `NewPoint(...)`.
_new = tuple.__new__
_JD = itemgetter(2)


@dataclass
class _Changes:
    """What must be done to `t0`."""

    new: list[NewPoint] = field(default_factory=list)
    channels: dict[tuple[str, ...], list[int]] = field(default_factory=dict)
    stocks: dict[int, list[int]] = field(default_factory=dict)
    richer: list[DataPoint] = field(default_factory=list)


def store_points(
    ingestion: Ingestion, parts: Parts, meta: Meta, tally: Tally, meanwhile: Callable[[], None]
) -> dict[int, PointRow]:
    """Write the datapoints of accepted alerts; return all points of the stocks that go the long way, new and old.

    A stock that turns out to be known after all joins those. `meanwhile` is done while the database writes.
    """
    points = ingestion.store.survey(ingestion.survey).points
    carried, rows = _known(ingestion, points, parts)
    wanted = {id_: found for id_, found in carried.items() if found.channels}
    superseded = _superseded(parts, wanted, rows)
    unmarked, duplicates = _write(points, wanted, rows, superseded, meta, tally, meanwhile)
    # Another worker was faster with a point of a stock that nobody seemed to know.
    moved = parts.send_the_long_way(_known_to((rows[id_] for id_ in duplicates), wanted))
    if moved:
        rows |= {row.id: row for row in points.rows_of_stocks(sorted(moved))}
        unmarked |= _superseded(parts, wanted, rows)
    others = parts.other_stocks
    for id_, found in wanted.items():
        if not others.isdisjoint(found.stocks):
            rows[id_] = _row(found, rows.get(id_), meta["batch"])
    unmarked = {i: ids for i, ids in unmarked.items() if i not in rows or not set(ids) <= set(rows[i].superseded_by)}
    tally.counts["superseded"] += points.supersede(unmarked)
    # What no channel of this run may see can be there for others, who are glad of a richer body too.
    hidden = [found.point for id_, found in carried.items() if id_ in rows and id_ not in wanted]
    points.enrich([point for point in hidden if point.rank > rows[point.id].rank], meta)
    return rows


def _known(ingestion: Ingestion, points: Points, parts: Parts) -> tuple[Wanted, dict[int, PointRow]]:
    """Points that the alerts carry, and what the database has of them."""
    while True:
        stocks = sorted(parts.other_stocks)
        rows = {row.id: row for row in points.rows_of_stocks(stocks)} if stocks else {}
        carried = _carried(ingestion, parts)
        rows |= {row.id: row for row in points.rows_by_id(carried.keys() - rows.keys())}
        if not parts.send_the_long_way(_known_to(rows.values(), carried)):
            return carried, rows


def _known_to(rows: Iterable[PointRow], carried: Wanted) -> set[int]:
    """Stocks that have a point already which their alert was thought to bring."""
    found = ((row, carried[row.id].stocks) for row in rows if row.id in carried)
    return {stock for row, stocks in found for stock in stocks if stock in row.stock}


def _carried(ingestion: Ingestion, parts: Parts) -> Wanted:
    """Datapoints that the alerts bring, with those channels of this run that may see them."""
    wanted: Wanted = {}
    access = {rules.channel: rules.access for rules in ingestion.rules}
    covers = ingestion.instrument.covers
    visible: dict[tuple[str, ...], dict[tuple[str, ...], tuple[str, ...]]] = {}

    def carry(item: Judged, points: Iterable[DataPoint]) -> None:
        stocks, mine = (item.alert.stock,), item.channels
        mine_by_tag = visible.setdefault(mine, {})
        for point in points:
            tag = point[4]
            if tag not in mine_by_tag:
                # A channel that is not of this run has these points already; they may only be enriched.
                mine_by_tag[tag] = tuple(sorted(c for c in mine if c in access and covers(access[c], tag)))
            id_ = point[0]
            new = _new(NewPoint, (point, stocks, mine_by_tag[tag], ()))
            wanted[id_] = _merge(wanted[id_], new) if id_ in wanted else new

    for item in parts.others:
        carry(item, item.alert.points)
    for item in parts.fresh.values():
        carry(item, item.alert.points)
    for grown in parts.grown.values():
        carry(grown.judged, grown.newer)
    return wanted


def _merge(found: NewPoint, other: NewPoint) -> NewPoint:
    """One datapoint that two alerts carry."""
    return NewPoint(
        other.point if other.point.rank > found.point.rank else found.point,
        tuple(sorted({*found.stocks, *other.stocks})),
        tuple(sorted({*found.channels, *other.channels})),
    )


def _superseded(parts: Parts, wanted: Wanted, rows: Mapping[int, PointRow]) -> Superseded:
    """Points of one stock and exposure of which another has a larger id: {id: the larger ids}."""
    found: dict[int, set[int]] = {}
    for item in parts.fresh.values():
        _exposures(item.alert.points, found, wanted)
    for grown in parts.grown.values():
        _exposures(grown.newer, found, wanted)
    others = parts.other_stocks
    if others:
        _shared_exposures(others, wanted, rows, found)
    return {id_: sorted(ids) for id_, ids in found.items()}


def _exposures(points: Sequence[DataPoint], found: dict[int, set[int]], wanted: Wanted) -> None:
    """Superseded points among those of one stock."""
    if len(set(map(_JD, points))) == len(points):
        return  # nearly always
    first: dict[tuple[float, int, bool], int] = {}
    shared: dict[tuple[float, int, bool], set[int]] = {}
    for point in points:
        key = (point[2], point[3], point[1] == "forced")
        other = first.setdefault(key, point[0])
        if other != point[0]:
            shared.setdefault(key, {other}).add(point[0])
    for ids in shared.values():
        _note(ids & wanted.keys(), found)


def _note(ids: set[int], found: dict[int, set[int]]) -> None:
    ordered = sorted(ids)
    for n, id_ in enumerate(ordered[:-1]):
        found.setdefault(id_, set()).update(ordered[n + 1 :])


def _shared_exposures(
    stocks: set[int], wanted: Wanted, rows: Mapping[int, PointRow], found: dict[int, set[int]]
) -> None:
    """Superseded points among those of several stocks, new ones and old."""
    first: dict[tuple[int, float, int, bool], int] = {}
    shared: dict[tuple[int, float, int, bool], set[int]] = {}
    for id_, new in wanted.items():
        p = new.point
        for stock in stocks.intersection(new.stocks):
            key = (stock, p.jd, p.sensor, p.kind == "forced")
            other = first.setdefault(key, id_)
            if other != id_:
                shared.setdefault(key, {other}).add(id_)
    for row in rows.values():
        for stock in row.stock:
            key = (stock, row.jd, row.sensor, row.kind == "forced")
            if first.get(key, row.id) != row.id:
                shared.setdefault(key, {first[key]}).add(row.id)
    for ids in shared.values():
        _note(ids, found)


def _write(
    points: Points,
    wanted: Wanted,
    rows: dict[int, PointRow],
    superseded: Superseded,
    meta: Meta,
    tally: Tally,
    meanwhile: Callable[[], None],
) -> tuple[Superseded, set[int]]:
    """Insert what is missing, add to what is there; return marks that are still to be set, and ids of others."""
    pending: Iterable[int] = wanted
    unmarked = dict(superseded)
    foreign: set[int] = set()
    while pending:
        changes = _plan(wanted, pending, rows, superseded)
        duplicates = points.insert(changes.new, meta, meanwhile)
        meanwhile = nothing  # it is done
        tally.counts["t0"] += len(changes.new) - len(duplicates)
        points.add_channels(changes.channels)
        for stock, ids in changes.stocks.items():
            points.add_stock(stock, ids, meta["batch"])
        points.enrich(changes.richer, meta)
        for new in changes.new if unmarked else ():
            if new.point.id not in duplicates:
                unmarked.pop(new.point.id, None)
        # What another worker inserted in between is looked at again, as something that is there.
        rows |= {row.id: row for row in points.rows_by_id(duplicates)}
        foreign |= duplicates
        pending = duplicates
    return unmarked, foreign


def _plan(wanted: Wanted, ids: Iterable[int], rows: Mapping[int, PointRow], superseded: Superseded) -> _Changes:
    missing = {id_: wanted[id_] for id_ in ids if id_ not in rows}
    for id_ in missing.keys() & superseded.keys():
        missing[id_] = missing[id_]._replace(superseded_by=superseded[id_])
    changes = _Changes(list(missing.values()))
    for id_ in (id_ for id_ in ids if id_ in rows):
        row, found = rows[id_], wanted[id_]
        lacking = set(found.channels).difference(row.channel)
        if lacking:
            changes.channels.setdefault(tuple(sorted(lacking)), []).append(id_)
        for stock in found.stocks:
            if stock not in row.stock:
                changes.stocks.setdefault(stock, []).append(id_)
        if found.point.rank > row.rank:
            changes.richer.append(found.point)
    return changes


def _row(found: NewPoint, row: PointRow | None, batch: int) -> PointRow:
    """What is stored of a point now."""
    p = found.point
    if row is None:
        return PointRow(*p[:6], found.stocks, found.channels, batch)
    new = tuple(stock for stock in found.stocks if stock not in row.stock)
    if not new and set(found.channels) <= set(row.channel):
        return row
    joined = (*row.joined, *((stock, batch) for stock in new))
    return row._replace(stock=row.stock + new, channel=tuple({*row.channel, *found.channels}), joined=joined)
