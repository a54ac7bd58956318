"""Packets in quarantine, once more through T0: what can be read by now is stored, and leaves."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from ampel_dagster.model.alert import Packet
from ampel_dagster.model.errors import UserError
from ampel_dagster.model.ids import hash_json
from ampel_dagster.pipeline import tiers
from ampel_dagster.pipeline.t0_ingest import Bad, Ingestion, Selection
from ampel_dagster.pipeline.tier import TierOutput
from ampel_dagster.pipeline.write_ahead import Progress
from ampel_dagster.storage.collections import Document


def replay(ingestion: Ingestion, ids: Sequence[int], progress: Progress | None = None) -> TierOutput:
    """Read these records again, as packets of their own source and place.

    When all is stored, records without an error leave; the others keep their bytes, and get the error of today. A
    replay that is interrupted finds what it had done as known. Whatever cannot be replayed is passed over. Raises
    UserError where no channel would judge the alerts: they would leave unseen.
    """
    if not ingestion.rules:
        raise UserError(f"no channel of {ingestion.survey} is live; ampel-dagster channel status lists them")
    quarantine = ingestion.store.quarantine
    records = {id_: d for id_ in ids for d in quarantine.find(_id=id_, survey=ingestion.survey) if d["replayable"]}
    bad: dict[int, Bad] = {}

    def packets() -> Iterator[Packet]:
        for id_, d in records.items():
            where = {name: d[name] for name in Packet._fields[1:] if name in d}
            yield Packet(quarantine.raw(id_), **where)

    def seen(selections: Iterator[Selection]) -> Iterator[Selection]:
        for selection in selections:
            bad.update((found.id, found) for found in selection.bad)
            yield selection

    def finish() -> None:
        for found in bad.values():
            quarantine.renew(found.id, found.reason, found.message)
        read = [d for id_, d in records.items() if id_ not in bad]
        ingestion.store.journal.write([_entry(ingestion, d) for d in read])
        quarantine.remove([d["_id"] for d in read])

    output = tiers.ingest(ingestion, packets(), progress)
    return replace(output, items=seen(iter(output.items)), finish=finish)


def _entry(ingestion: Ingestion, record: Document) -> Document:
    """What the journal remembers of a packet that left."""
    run = ingestion.run
    return {
        "_id": hash_json([run.run, 0, record["survey"], record["_id"], "replay"]),
        "run": run.run,
        "tier": 0,
        "survey": record["survey"],
        "channel": sorted(rules.channel for rules in ingestion.rules),
        "action": "replay",
        "note": f"{record['source']} packet {record['offset']} left quarantine, where it was for {record['reason']}",
        "ts": run.meta()["ts"],
    }
