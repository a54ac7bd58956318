"""T0: write what a `Selection` says, in the order that makes a crash harmless.

Datapoints first, then stocks, then (after T1, where it runs at once) the alerts: an alert in the ledger is complete.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from ampel_dagster.model.errors import AlertFormatError
from ampel_dagster.model.ids import hash_json
from ampel_dagster.pipeline.t0_ingest import Bad, Ingestion, Judged, Selection
from ampel_dagster.pipeline.tally import Tally
from ampel_dagster.storage.ledger import Outcome
from ampel_dagster.storage.records import quarantine_document
from ampel_dagster.storage.stocks import Seen, Sighting

Meta = Mapping[str, Any]


def store_stocks(
    ingestion: Ingestion, selection: Selection, seen: Mapping[int, Seen], meta: Meta, tally: Tally
) -> None:
    """Make or update the stocks of accepted alerts; `seen` are those that were there."""
    found: dict[int, Sighting] = {}
    instrument = ingestion.instrument
    for item in selection.judged:
        if not item.channels:
            continue
        alert, before = item.alert, found.get(item.alert.stock)
        channels = item.channels if before is None else tuple(dict.fromkeys((*before.channel, *item.channels)))
        ra, dec = instrument.position(alert.candidate)
        latest = (alert.jd, alert.id, ra, dec)
        found[alert.stock] = Sighting(alert.stock, alert.name, instrument.stock_tags, channels, *latest)
    if found:
        stocks = ingestion.store.survey(ingestion.survey).stocks
        tally.counts["stock"] += stocks.see(list(found.values()), seen, dict(meta))


def store_alerts(
    ingestion: Ingestion,
    selection: Selection,
    outcomes: Mapping[int, Outcome],
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
            document = _alert_document(item, outcomes.get(alert.id), meta)
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


def _alert_document(item: Judged, outcome: Outcome | None, meta: Meta) -> dict[str, Any]:
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
        "source": alert.packet.place,
        "meta": meta,
    }
    if outcome and outcome.state:
        document["state"] = dict(outcome.state)
    if outcome and outcome.left_out:
        document["left_out"] = outcome.left_out
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
        "source": alert.packet.place,
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
        # One a run and channel: the first batch that meets it writes it.
        + [
            {
                "_id": hash_json([ingestion.run.run, 0, survey, found.channel, "disable"]),
                "run": ingestion.run.run,
                "tier": 0,
                "survey": survey,
                "channel": [found.channel],
                "action": "disable",
                "note": f"{found.filter} raised {found.failures} times in a row: {found.message}",
                "batch": selection.id,
                "ts": meta["ts"],
            }
            for found in selection.disabled
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
    where = (p.source, p.offset, p.member)
    document = quarantine_document(bad.id, survey, *where, p.data, bad.size_bytes, bad.reason, bad.message, meta)
    return {**document, "topic": p.topic, "partition": p.partition} if p.topic else document


def count_selection(selection: Selection, tally: Tally) -> None:
    """Add a selection to the ledger's figures, by source and by partition."""
    tally.counts["bytes"] += selection.bytes
    tally.failures.update(selection.failures)
    tally.tracebacks.update(selection.tracebacks)
    tally.disabled |= {d.channel: f"{d.filter}: {d.message}" for d in selection.disabled}
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
