"""T0: write what a `Selection` says, in the order that makes a crash harmless.

Datapoints first, then stocks, then (after T1, where it runs at once) the alerts: an alert in the ledger is complete.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from ampel_dagster.model.datapoint import DataPoint
from ampel_dagster.model.errors import AlertFormatError
from ampel_dagster.model.ids import hash_json
from ampel_dagster.pipeline.t0_ingest import Bad, Ingestion, Judged, Selection
from ampel_dagster.pipeline.tally import Tally
from ampel_dagster.storage.points import PointRow, Points
from ampel_dagster.storage.records import quarantine_document
from ampel_dagster.storage.stocks import Sighting

Meta = Mapping[str, Any]


@dataclass
class _Wanted:
    """A datapoint that a batch wants to be there, for these stocks and channels."""

    point: DataPoint
    stocks: set[int]
    channels: set[str]


@dataclass
class _Changes:
    """What must be done to `t0`."""

    documents: list[dict[str, Any]] = field(default_factory=list)
    channels: dict[tuple[str, ...], list[int]] = field(default_factory=dict)
    stocks: dict[int, list[int]] = field(default_factory=dict)
    richer: list[DataPoint] = field(default_factory=list)


def store_points(ingestion: Ingestion, selection: Selection, meta: Meta, tally: Tally) -> dict[int, PointRow]:
    """Write the datapoints of accepted alerts; return all points of their stocks, new ones and old."""
    points = ingestion.store.survey(ingestion.survey).points
    carried = _carried(ingestion, selection.judged)
    wanted = {id_: found for id_, found in carried.items() if found.channels}
    stocks = sorted({judged.alert.stock for judged in selection.judged if judged.channels})
    rows = {row.id: row for row in points.rows_of_stocks(stocks)} if stocks else {}
    rows |= {row.id: row for row in points.rows_by_id(carried.keys() - rows.keys())}
    pending: Iterable[int] = wanted
    superseded = _superseded(wanted, rows)
    unmarked = dict(superseded)
    while pending:
        changes = _plan(wanted, pending, rows, superseded, meta)
        duplicates = points.insert(changes.documents)
        tally.counts["t0"] += len(changes.documents) - len(duplicates)
        _apply(points, changes, meta)
        for document in changes.documents:
            if document["_id"] not in duplicates:
                unmarked.pop(document["_id"], None)
        for id_ in pending:
            if id_ not in duplicates:
                rows[id_] = _row(wanted[id_], rows.get(id_), selection.id)
        # What another worker inserted in between is looked at again, as something that is there.
        rows |= {row.id: row for row in points.rows_by_id(duplicates)}
        pending = duplicates
    unmarked = {i: ids for i, ids in unmarked.items() if not set(ids).issubset(rows[i].superseded_by)}
    tally.counts["superseded"] += points.supersede(unmarked)
    # What no channel of this run may see can be there for others, who are glad of a richer body too.
    others = [found.point for id_, found in carried.items() if id_ in rows and id_ not in wanted]
    points.enrich([point for point in others if point.rank > rows[point.id].rank], meta)
    return rows


def _carried(ingestion: Ingestion, judged: Sequence[Judged]) -> dict[int, _Wanted]:
    """All datapoints of accepted alerts, with those channels of this run that may see them."""
    access = {rules.channel: rules.access for rules in ingestion.rules}
    wanted: dict[int, _Wanted] = {}
    for item in judged:
        if not item.channels:
            continue
        stock = item.alert.stock
        by_tag: dict[tuple[str, ...], list[str]] = {}
        for point in item.alert.points:
            channels = by_tag.get(point.tag)
            if channels is None:
                # A channel that is not of this run has these points already; they may only be enriched.
                channels = [
                    c for c in item.channels if c in access and ingestion.instrument.covers(access[c], point.tag)
                ]
                by_tag[point.tag] = channels
            found = wanted.get(point.id)
            if found is None:
                wanted[point.id] = _Wanted(point, {stock}, set(channels))
                continue
            found.stocks.add(stock)
            found.channels.update(channels)
            if point.rank > found.point.rank:
                found.point = point
    return wanted


def _superseded(wanted: Mapping[int, _Wanted], rows: Mapping[int, PointRow]) -> dict[int, list[int]]:
    """Points of one stock and exposure of which another has a larger id: {id: the larger ids}."""
    first: dict[tuple[int, float, int, bool], int] = {}
    shared: dict[tuple[int, float, int, bool], set[int]] = {}
    for id_, found in wanted.items():
        p = found.point
        for stock in found.stocks:
            key = (stock, p.jd, p.sensor, p.kind == "forced")
            other = first.setdefault(key, id_)
            if other != id_:
                shared.setdefault(key, {other}).add(id_)
    for row in rows.values():
        for stock in row.stock:
            key = (stock, row.jd, row.sensor, row.kind == "forced")
            if first.get(key, row.id) != row.id:
                shared.setdefault(key, {first[key]}).add(row.id)
    found_ids: dict[int, set[int]] = {}
    for ids in shared.values():
        ordered = sorted(ids)
        for n, id_ in enumerate(ordered[:-1]):
            found_ids.setdefault(id_, set()).update(ordered[n + 1 :])
    return {id_: sorted(ids) for id_, ids in found_ids.items()}


def _plan(
    wanted: Mapping[int, _Wanted],
    ids: Iterable[int],
    rows: Mapping[int, PointRow],
    superseded: Mapping[int, list[int]],
    meta: Meta,
) -> _Changes:
    changes = _Changes()
    for id_ in ids:
        found, row = wanted[id_], rows.get(id_)
        if row is None:
            changes.documents.append(_document(found, superseded.get(id_), meta))
            continue
        missing = found.channels.difference(row.channel)
        if missing:
            changes.channels.setdefault(tuple(sorted(missing)), []).append(id_)
        for stock in found.stocks.difference(row.stock):
            changes.stocks.setdefault(stock, []).append(id_)
        if found.point.rank > row.rank:
            changes.richer.append(found.point)
    return changes


def _document(found: _Wanted, superseded: list[int] | None, meta: Meta) -> dict[str, Any]:
    point = found.point
    document: dict[str, Any] = {
        "_id": point.id,
        "kind": point.kind,
        "stock": sorted(found.stocks),
        "channel": sorted(found.channels),
        "tag": list(point.tag),
        "jd": point.jd,
        "sensor": point.sensor,
        "rank": point.rank,
        "body": point.body,
        "meta": meta,
    }
    if superseded:
        document["tag"].append("SUPERSEDED")
        document["superseded_by"] = superseded
    return document


def _apply(points: Points, changes: _Changes, meta: Meta) -> None:
    points.add_channels(changes.channels)
    for stock, ids in changes.stocks.items():
        points.add_stock(stock, ids, meta["batch"])
    points.enrich(changes.richer, meta)


def _row(found: _Wanted, row: PointRow | None, batch: int) -> PointRow:
    p = found.point
    if row is None:
        stocks, channels = tuple(found.stocks), tuple(found.channels)
        return PointRow(p.id, stocks, channels, p.tag, p.kind, p.jd, p.sensor, p.rank, batch)
    if found.channels.issubset(row.channel) and found.stocks.issubset(row.stock):
        return row
    new = tuple(found.stocks.difference(row.stock))
    joined = (*row.joined, *((stock, batch) for stock in new))
    return row._replace(stock=row.stock + new, channel=tuple({*row.channel, *found.channels}), joined=joined)


def store_stocks(ingestion: Ingestion, selection: Selection, meta: Meta, tally: Tally) -> None:
    """Make or update the stocks of accepted alerts."""
    seen: dict[int, Sighting] = {}
    instrument = ingestion.instrument
    for item in selection.judged:
        if not item.channels:
            continue
        alert, before = item.alert, seen.get(item.alert.stock)
        channels = item.channels if before is None else tuple(dict.fromkeys((*before.channel, *item.channels)))
        ra, dec = instrument.position(alert.candidate)
        latest = (alert.jd, alert.id, ra, dec)
        seen[alert.stock] = Sighting(alert.stock, alert.name, instrument.stock_tags, channels, *latest)
    if seen:
        tally.counts["stock"] += ingestion.store.survey(ingestion.survey).stocks.see(list(seen.values()), dict(meta))


def store_alerts(
    ingestion: Ingestion,
    selection: Selection,
    states: Mapping[int, Mapping[str, int]],
    meta: Meta,
    tally: Tally,
) -> None:
    """Write the ledger: accepted alerts with their states, rejected ones with their verdicts."""
    ledger = ingestion.store.survey(ingestion.survey).ledger
    accepted: list[dict[str, Any]] = []
    merged: list[dict[str, Any]] = []
    rejected: list[dict[str, Any]] = []
    moved: list[int] = []
    later: dict[bool, dict[int, Any]] = {True: {}, False: {}}
    for item in selection.judged:
        alert = item.alert
        there = item.prior is not None and bool(item.prior.channel)
        if item.channels:
            document = _alert_document(item, states.get(alert.id, {}), meta)
            (merged if there else accepted).append(document)
            if item.prior is not None:
                moved.append(alert.id)  # also of one that is there: a crash may have come between the two
                document["verdict"] = document["verdict"] if there else {**item.prior.verdict, **document["verdict"]}
        elif item.verdicts and item.prior is not None:
            later[there][alert.id] = item.verdicts
        elif item.verdicts:
            rejected.append(_rejected_document(item, ingestion.stream.rejected_days, meta))
    tally.counts["alert"] += ledger.write_accepted(accepted)
    ledger.merge(merged)
    ledger.forget_rejected(moved)
    if ingestion.stream.rejected_days:
        ledger.write_rejected(rejected)
    for accepted_before, verdicts in later.items():
        ledger.add_verdicts(verdicts, accepted=accepted_before)


def _alert_document(item: Judged, states: Mapping[str, int], meta: Meta) -> dict[str, Any]:
    alert = item.alert
    document: dict[str, Any] = {
        "_id": alert.id,
        "stock": alert.stock,
        "jd": alert.jd,
        "night": alert.night,
        "dps": [point.id for point in alert.points],
        "channel": sorted(item.channels),
        "verdict": item.verdicts,
        "rank": alert.rank,
        "source": {"file": alert.packet.source, "offset": alert.packet.offset, "member": alert.packet.member},
        "meta": meta,
    }
    if states:
        document["state"] = dict(states)
    if item.richer:
        document["enriched"] = meta
    return document


def _rejected_document(item: Judged, days: int, meta: Meta) -> dict[str, Any]:
    alert = item.alert
    expire = meta["ts"] + timedelta(days=days)
    return {
        "_id": alert.id,
        "stock": alert.stock,
        "jd": alert.jd,
        "night": alert.night,
        "verdict": item.verdicts,
        "source": {"file": alert.packet.source, "offset": alert.packet.offset, "member": alert.packet.member},
        "meta": meta,
        "expire": expire,
    }


def store_rest(ingestion: Ingestion, selection: Selection, meta: Meta, tally: Tally) -> None:
    """Quarantine, stamps and journal."""
    store, survey = ingestion.store, ingestion.survey
    tally.counts["quarantine"] += store.quarantine.write([_quarantined(bad, survey, meta) for bad in selection.bad])
    if ingestion.stream.cutouts == "accepted":
        days = ingestion.stream.cutout_days
        expire = meta["ts"] + timedelta(days=days) if days else None
        store.survey(survey).cutouts.write(_stamps(selection, tally), expire, meta)
    by_stock: dict[int, tuple[set[str], list[int]]] = {}
    for item in selection.judged:
        if item.channels:
            channels, alerts = by_stock.setdefault(item.alert.stock, (set(), []))
            channels.update(item.channels)
            alerts.append(item.alert.id)
    store.journal.write(
        [
            {
                "_id": hash_json([ingestion.run.run, 0, survey, stock, selection.id]),
                "run": ingestion.run.run,
                "tier": 0,
                "survey": survey,
                "stock": stock,
                "channel": sorted(channels),
                "action": "ingest",
                "alert": alerts,
                "batch": selection.id,
                "ts": meta["ts"],
            }
            for stock, (channels, alerts) in by_stock.items()
        ]
    )


def _stamps(selection: Selection, tally: Tally) -> dict[int, Mapping[str, bytes]]:
    """Stamps of accepted alerts; broken ones are counted, and cost the alert nothing else."""
    found: dict[int, Mapping[str, bytes]] = {}
    for item in selection.judged:
        if item.channels:
            try:
                found[item.alert.id] = item.alert.cutouts()
            except AlertFormatError as error:
                tally.failures[("stamps", error.message)] += 1
    return found


def _quarantined(bad: Bad, survey: str, meta: Meta) -> dict[str, Any]:
    p = bad.packet
    return quarantine_document(bad.id, survey, p.source, p.offset, p.member, p.data, bad.reason, bad.message, meta)


def count_selection(selection: Selection, tally: Tally) -> None:
    """Add a selection to the ledger's figures, by source and by partition."""
    tally.counts["bytes"] += selection.bytes
    tally.failures.update(selection.failures)
    for item in selection.judged:
        _count(tally, item.alert.packet.source, item.status)
        for channel in item.channels:
            tally.touch(channel, [item.alert.stock])
            tally.partition(channel, item.alert.night)["accepted"] += 1
        for channel, verdict in item.verdicts.items():
            if verdict["code"] < 0:
                tally.partition(channel, item.alert.night)["rejected"] += 1
    for bad in selection.bad:
        _count(tally, bad.packet.source, "quarantined")


def _count(tally: Tally, source: str, status: str) -> None:
    for key in ("read", status):
        tally.counts[key] += 1
        tally.source(source)[key] += 1
