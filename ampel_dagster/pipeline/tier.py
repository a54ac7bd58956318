"""What a tier hands to its IO manager: batches that are made while they are written."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from ampel_dagster.pipeline.tally import Tally
from ampel_dagster.pipeline.write_ahead import Passed, Progress, write_overlapping
from ampel_dagster.storage.figures import Figures
from ampel_dagster.storage.writes import storage_errors


@dataclass(frozen=True)
class PartitionFacts:
    """What is stored of one channel and night, for people and for "did it change"."""

    figures: Figures
    #: The first rows, with the object's name.
    preview: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class TierOutput:
    """A lazy sequence of document batches, with the function that writes one of them."""

    #: Name of the collection that the tier is about, for people.
    collection: str
    items: Iterable[Any]
    #: Writes an item; may say early that the next may be begun.
    write: Callable[[Any, Passed], Tally]
    #: What is stored of (channel, night).
    facts: Callable[[str, str], "PartitionFacts"]
    #: Called after each batch, for progress bars.
    progress: Progress | None = None
    #: Called after the last batch.
    finish: Callable[[], None] | None = None

    def consume(self) -> Tally:
        """Make and write everything with bounded memory; return what it did."""
        with storage_errors(f"writing {self.collection}"):
            tally = write_overlapping(self.items, self.write, self.progress)
            if self.finish is not None:
                self.finish()
        return tally
