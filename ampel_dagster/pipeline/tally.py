"""What a piece of work did, in numbers, as it adds up over batches."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice

#: Different failures of which the traceback is kept.
_KEPT_TRACEBACKS = 20


@dataclass
class Tally:
    """Counts of one or many batches."""

    #: read, new, known, rejected, quarantined; documents written by collection; bytes.
    counts: Counter[str] = field(default_factory=Counter)
    #: The ledger by source.
    sources: dict[str, Counter[str]] = field(default_factory=dict)
    #: Stocks by channel that something new happened to.
    touched: dict[str, set[int]] = field(default_factory=dict)
    #: Counts by (channel, night).
    partitions: dict[tuple[str, str], Counter[str]] = field(default_factory=dict)
    #: Failures of units by (who, message): a few messages are enough to act upon.
    failures: Counter[tuple[str, str]] = field(default_factory=Counter)
    #: Where they happened; of some of them, the first time.
    tracebacks: dict[tuple[str, str], str] = field(default_factory=dict)
    #: Filters that were left out, by channel: what they are called and what they raised.
    disabled: dict[str, str] = field(default_factory=dict)

    def add(self, other: "Tally") -> None:
        """Add another tally to this one."""
        self.counts.update(other.counts)
        self.failures.update(other.failures)
        self.tracebacks = dict(islice((self.tracebacks | other.tracebacks).items(), _KEPT_TRACEBACKS))
        self.disabled |= other.disabled
        for source, counts in other.sources.items():
            self.source(source).update(counts)
        for channel, stocks in other.touched.items():
            self.touched.setdefault(channel, set()).update(stocks)
        for partition, counts in other.partitions.items():
            self.partition(*partition).update(counts)

    def source(self, source: str) -> Counter[str]:
        """Counts of one source."""
        return self.sources.setdefault(source, Counter())

    def partition(self, channel: str, night: str) -> Counter[str]:
        """Counts of one partition."""
        return self.partitions.setdefault((channel, night), Counter())

    def touch(self, channel: str, stocks: Iterable[int]) -> None:
        """Say that something new happened to stocks."""
        self.touched.setdefault(channel, set()).update(stocks)

    @property
    def nights(self) -> list[str]:
        """Nights with work, sorted."""
        return sorted({night for _, night in self.partitions})

    @property
    def partition_keys(self) -> list[str]:
        """'channel|night' of the partitions with work, sorted."""
        return sorted(f"{channel}|{night}" for channel, night in self.partitions)

    @property
    def balanced(self) -> bool:
        """Whether every packet that was read is accounted for."""
        counts = self.counts
        return counts["read"] == sum(counts[key] for key in ("new", "known", "rejected", "quarantined"))
