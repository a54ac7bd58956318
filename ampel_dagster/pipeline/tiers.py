"""The tiers as outputs for an IO manager: what is made, how it is written, and how a partition's content is told."""

from collections.abc import Iterable, Iterator, Sequence

from ampel_dagster.instruments.base import Instrument
from ampel_dagster.model.alert import Packet
from ampel_dagster.model.run import RunInfo
from ampel_dagster.pipeline.ingest import CombinationWriter, Progress, SelectionWriter
from ampel_dagster.pipeline.t0_ingest import Ingestion, select
from ampel_dagster.pipeline.t1_combine import combine_stored
from ampel_dagster.pipeline.t2_augment import Augmentation, augment, write_results
from ampel_dagster.pipeline.tier import TierOutput
from ampel_dagster.sources.files import BrokenSourceError
from ampel_dagster.storage.figures import Figures, alert_figures, result_figures, state_figures
from ampel_dagster.storage.ledger import AlertRecord
from ampel_dagster.storage.store import Store
from ampel_dagster.units.bound import ChannelRules


def ingest(
    ingestion: Ingestion, packets: Iterable[Packet | BrokenSourceError], progress: Progress | None = None
) -> TierOutput:
    """T0 over packets, with T1 batch by batch where the ingestion says so."""
    survey = ingestion.store.survey(ingestion.survey)
    return TierOutput(
        collection=f"{ingestion.survey}.alert",
        items=select(ingestion, packets),
        write=SelectionWriter(ingestion).write,
        figures=lambda channel, night: alert_figures(survey, channel, night),
        progress=progress,
    )


def combine(
    store: Store,
    instrument: Instrument,
    rules: Sequence[ChannelRules],
    run: RunInfo,
    alerts: Iterable[AlertRecord],
    nights: Sequence[str],
) -> TierOutput:
    """T1 over accepted alerts; at the end the batches that waited for their states are done."""
    name = instrument.survey
    survey, channels = store.survey(name), [r.channel for r in rules]

    def finish() -> None:
        store.batches.finish_stored(store.batches.stored(name, channels, nights))

    return TierOutput(
        collection=f"{name}.t1",
        items=combine_stored(survey, instrument, rules, alerts),
        write=CombinationWriter(store, name, run).write,
        figures=lambda channel, night: state_figures(survey, channel, night),
        finish=finish,
    )


def compute(augmentation: Augmentation, progress: Progress | None = None) -> TierOutput:
    """T2 over the tickets of some products."""

    def figures(channel: str, night: str) -> Figures:
        found = Figures()
        for product in augmentation.products:
            found.merge(result_figures(augmentation.survey, product.id, channel, night))
        return found

    return TierOutput(
        collection=f"{augmentation.instrument.survey}.t2",
        items=augment(augmentation),
        write=lambda results: write_results(augmentation, results),
        figures=figures,
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
        write=lambda pair: pair[0].write(pair[1]),
        figures=lambda _channel, _night: Figures(),
        progress=progress,
    )
