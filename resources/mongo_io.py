"""The IO manager between tiers: writes batches as they are made, hands on documents as they are asked for."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from time import perf_counter
from typing import Any

import dagster as dg
import pandas as pd

from ampel_dagster.pipeline.tier import TierOutput
from ampel_dagster.storage.frames import alert_rows, result_rows, state_rows
from ampel_dagster.storage.ledger import AlertRecord
from resources.metadata import partition_metadata, run_metadata
from resources.mongo import MongoResource
from resources.partitions import partition_key, split_partitions

#: Previews are shown where a run is about a few partitions only: each is kept in the event log.
_MOST_PREVIEWS = 20


class Documents:
    """Documents of some channels and nights, read when they are iterated, as often as they are."""

    def __init__(self, read: Callable[[], Iterator[Any]]) -> None:
        self._read = read

    def __iter__(self) -> Iterator[Any]:
        return self._read()


class MongoIOManager(dg.ConfigurableIOManager):
    """Consumes a `TierOutput` with bounded memory; loads what a partition's channels may see.

    Downstream, a parameter annotated with `pandas.DataFrame` gets a frame, one annotated with `Documents` a lazy
    sequence of records.
    """

    mongo: dg.ResourceDependency[MongoResource]

    def handle_output(self, context: dg.OutputContext, obj: TierOutput) -> None:
        """Write all batches; say what was written, for the run and for each partition."""
        start = perf_counter()
        tally = obj.consume()
        seconds = perf_counter() - start
        context.add_output_metadata(run_metadata(tally, obj.collection, seconds))
        if not context.has_asset_partitions:
            return
        step, keys = context.step_context, context.asset_partition_keys
        for key in keys:
            channels, nights = split_partitions([key])
            channel, night = channels[0], nights[0]
            facts, counts = obj.facts(channel, night), tally.partition(channel, night)
            step.add_asset_metadata(
                partition_metadata(facts, counts, preview=len(keys) <= _MOST_PREVIEWS),
                asset_key=context.asset_key,
                partition_key=partition_key(channel, night),
            )

    def load_input(self, context: dg.InputContext) -> Any:
        """Documents of the upstream asset for this run's channels and nights."""
        upstream = context.asset_key.path
        channels, nights = split_partitions(context.asset_partition_keys)
        survey = self.mongo.store.survey(upstream[0])
        if upstream[1] == "t0":
            frame_rows = alert_rows(survey, channels, nights)
            read: Callable[[], Iterator[Any]] = lambda: _own(survey.ledger.accepted(channels, nights), channels)  # noqa: E731
        elif upstream[1] == "t1":
            frame_rows = state_rows(survey, channels, nights)
            read = lambda: iter(state_rows(survey, channels, nights))  # noqa: E731
        else:
            frame_rows = result_rows(survey, upstream[2], channels, nights)
            read = lambda: iter(result_rows(survey, upstream[2], channels, nights))  # noqa: E731
        if context.dagster_type.typing_type is pd.DataFrame:
            return pd.DataFrame(list(frame_rows))
        return Documents(read)


def _own(alerts: Iterable[AlertRecord], channels: Sequence[str]) -> Iterator[AlertRecord]:
    """Alerts without the verdicts of other channels."""
    for alert in alerts:
        yield alert._replace(channel={name: code for name, code in alert.channel.items() if name in channels})
