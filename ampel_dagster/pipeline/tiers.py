"""The tiers as outputs for an IO manager: what is made, how it is written, and how a partition's content is told."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

from ampel_dagster.instruments.base import Instrument
from ampel_dagster.model.alert import Packet
from ampel_dagster.model.run import RunInfo
from ampel_dagster.pipeline.ingest import CombinationWriter, SelectionWriter
from ampel_dagster.pipeline.t0_ingest import Ingestion, select
from ampel_dagster.pipeline.t1_combine import Combiner, combine_stored
from ampel_dagster.pipeline.t1_settle import settle
from ampel_dagster.pipeline.t2_augment import Augmentation, augment, write_results
from ampel_dagster.pipeline.tier import PartitionFacts, TierOutput
from ampel_dagster.pipeline.write_ahead import Progress
from ampel_dagster.sources.files import BrokenSourceError
from ampel_dagster.storage.figures import Figures, alert_figures, result_figures, state_figures
from ampel_dagster.storage.frames import alert_rows, result_rows, state_rows
from ampel_dagster.storage.ledger import AlertRecord
from ampel_dagster.storage.store import Store, SurveyStore
from ampel_dagster.units.bound import ChannelRules, Product

_PREVIEW_ROWS = 5


def t0_facts(survey: SurveyStore, instrument: Instrument, channel: str, night: str) -> PartitionFacts:
    """Accepted alerts of a channel and night."""
    rows = _preview(instrument, alert_rows(survey, [channel], [night]))
    return PartitionFacts(alert_figures(survey, channel, night), rows)


def t1_facts(survey: SurveyStore, instrument: Instrument, channel: str, night: str) -> PartitionFacts:
    """States of a channel and night."""
    rows = _preview(instrument, state_rows(survey, [channel], [night]))
    return PartitionFacts(state_figures(survey, channel, night), rows)


def t2_facts(survey: SurveyStore, instrument: Instrument, product: Product, channel: str, night: str) -> PartitionFacts:
    """Results of a product for a channel and night."""
    rows = _preview(instrument, result_rows(survey, product.name, [channel], [night]))
    return PartitionFacts(result_figures(survey, product.id, channel, night), rows)


def _preview(instrument: Instrument, rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"name": instrument.stock_name(row["stock"]), **row} for row in islice(rows, _PREVIEW_ROWS)]


def ingest(
    ingestion: Ingestion,
    packets: Iterable[Packet | BrokenSourceError],
    progress: Progress | None = None,
    finish: Callable[[], None] | None = None,
) -> TierOutput:
    """T0 over packets, with T1 batch by batch where the ingestion says so; `finish` is called when all is written."""
    survey, writer = ingestion.store.survey(ingestion.survey), SelectionWriter(ingestion)

    def done() -> None:
        writer.finish()
        if finish is not None:
            finish()

    return TierOutput(
        collection=f"{ingestion.survey}.alert",
        items=select(ingestion, packets),
        write=writer.write,
        facts=lambda channel, night: t0_facts(survey, ingestion.instrument, channel, night),
        progress=progress,
        finish=done,
    )


def combine(
    store: Store,
    instrument: Instrument,
    rules: Sequence[ChannelRules],
    run: RunInfo,
    alerts: Iterable[AlertRecord],
    nights: Sequence[str],
    neighbours: Sequence[ChannelRules] = (),
) -> TierOutput:
    """T1 over accepted alerts; at the end the batches that waited for their states are done.

    `neighbours`: rules of other channels that see the same states, and so share those that are made.
    """
    name = instrument.survey
    survey, channels = store.survey(name), [r.channel for r in rules]
    sharing = [*rules, *neighbours]
    batches, combiner = store.batches, Combiner(instrument, sharing)
    writer = CombinationWriter(store, instrument, run)
    # Looked up before any alert is read: what overtook a batch until now is seen anyway.
    waiting = dict.fromkeys(batches.stored(name, channels, nights), 0)
    waiting |= {batch: times for batch, (times, _) in batches.overtaken(waiting).items()}

    def finish() -> None:
        left = waiting
        while left:
            for times in set(left.values()):
                batches.finish_stored([batch for batch in left if left[batch] == times], times)
            now = {batch: found for batch, found in batches.overtaken(left).items() if found[0] != left[batch]}
            for _, stocks in now.values():
                settle(survey, combiner, stocks, dict(run.meta()))
            left = {batch: times for batch, (times, _) in now.items()}

    return TierOutput(
        collection=f"{name}.t1",
        items=combine_stored(survey, instrument, sharing, alerts),
        write=lambda made, _: writer.write(made),
        facts=lambda channel, night: t1_facts(survey, instrument, channel, night),
        finish=lambda: store.steadily(lambda _: finish()),
    )


def compute(augmentation: Augmentation, progress: Progress | None = None) -> TierOutput:
    """T2 over the tickets of some products."""

    def facts(channel: str, night: str) -> PartitionFacts:
        found = PartitionFacts(Figures())
        for product in augmentation.products:
            one = t2_facts(augmentation.survey, augmentation.instrument, product, channel, night)
            found.figures.merge(one.figures)
            found.preview.extend(one.preview)
        return found

    return TierOutput(
        collection=f"{augmentation.instrument.survey}.t2",
        items=augment(augmentation),
        write=lambda results, _: augmentation.store.steadily(lambda _: write_results(augmentation, results)),
        facts=facts,
        progress=progress,
    )


def in_turn(collection: str, outputs: Sequence[TierOutput], progress: Progress | None = None) -> TierOutput:
    """Several outputs (of several surveys) as one."""

    def items() -> Iterator[tuple[TierOutput, object]]:
        for output in outputs:
            for item in output.items:
                yield output, item

    return TierOutput(
        collection=collection,
        items=items(),
        write=lambda pair, passed: pair[0].write(pair[1], passed),
        facts=lambda _channel, _night: PartitionFacts(Figures()),
        progress=progress,
    )
