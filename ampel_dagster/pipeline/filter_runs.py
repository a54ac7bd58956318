"""Run filters over archived packets to learn about the filters: nothing is written."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from ampel_dagster.instruments.base import Instrument
from ampel_dagster.model.alert import Alert, Packet
from ampel_dagster.model.codes import VerdictCode, verdict_code
from ampel_dagster.model.cut import first_failure
from ampel_dagster.model.errors import AlertFormatError
from ampel_dagster.pipeline.asking import ask
from ampel_dagster.pipeline.explain import judge
from ampel_dagster.pipeline.guard import Failure
from ampel_dagster.sources.files import BrokenSourceError
from ampel_dagster.units.bound import ChannelRules

Packets = Iterable[Packet | BrokenSourceError]
#: Called now and then with the number of alerts so far.
Progress = Callable[[int], None]
_NAMES = 10
_EVERY = 500


@dataclass
class MatchRate:
    """How much of what it may see a channel's filter accepts."""

    channel: str
    #: Alerts that the channel may see.
    total: int = 0
    passed: int = 0
    #: Names of the first objects that passed.
    names: list[str] = field(default_factory=list)
    #: Alerts at which the filter raised, by message.
    failures: Counter[str] = field(default_factory=Counter)

    @property
    def share(self) -> float:
        """Accepted share of the alerts, 0 to 1; 0 where there is none."""
        return self.passed / self.total if self.total else 0.0


class Difference(NamedTuple):
    """An alert that one of two filters takes, and the other does not."""

    alert: int
    name: str
    night: str
    #: Codes of the two verdicts.
    codes: tuple[int, int]
    #: The first cut that decided against it, with what was measured and the limit.
    cut: str
    value: object
    limit: object


@dataclass
class FilterDiff:
    """Two filters over the same alerts."""

    #: Alerts by who takes them: 'both', 'a', 'b', 'neither'.
    counts: Counter[str] = field(default_factory=Counter)
    #: The first of those that one takes.
    differences: list[Difference] = field(default_factory=list)


def match_rates(
    instrument: Instrument, rules: Sequence[ChannelRules], packets: Packets, progress: Progress | None = None
) -> list[MatchRate]:
    """Match rates of channels over packets, which are decoded once for all. Unreadable ones don't count."""
    rates = [MatchRate(r.channel) for r in rules]
    for alert in _alerts(instrument, packets, progress):
        for rule, rate in zip(rules, rates, strict=True):
            if not instrument.covers(rule.access, alert.tag):
                continue
            try:
                answer = ask(rule, alert)
            except AlertFormatError:
                continue
            rate.total += 1
            if isinstance(answer, Failure):
                rate.failures[answer.message] += 1
            elif verdict_code(answer) >= 0:
                rate.passed += 1
                if len(rate.names) < _NAMES and alert.name not in rate.names:
                    rate.names.append(alert.name)
    return rates


def compare(
    instrument: Instrument,
    one: ChannelRules,
    other: ChannelRules,
    packets: Packets,
    most: int,
    progress: Progress | None = None,
) -> FilterDiff:
    """Two channels' filters (and data rights) over packets; of the alerts that differ, the first `most` are kept."""
    diff = FilterDiff()
    for alert in _alerts(instrument, packets, progress):
        try:
            codes = _code(instrument, one, alert), _code(instrument, other, alert)
            taken = codes[0] >= 0, codes[1] >= 0
            if taken[0] != taken[1] and len(diff.differences) < most:
                diff.differences.append(_difference(instrument, other if taken[0] else one, alert, codes))
        except AlertFormatError:
            continue
        diff.counts[{(True, True): "both", (True, False): "a", (False, True): "b"}.get(taken, "neither")] += 1
    return diff


def _alerts(instrument: Instrument, packets: Packets, progress: Progress | None) -> Iterator[Alert]:
    seen = 0
    for packet in packets:
        if isinstance(packet, BrokenSourceError):
            continue
        for alert in instrument.decode(packet):
            if isinstance(alert, Alert):
                seen += 1
                if progress is not None and seen % _EVERY == 0:
                    progress(seen)
                yield alert


def _code(instrument: Instrument, rules: ChannelRules, alert: Alert) -> int:
    """The verdict, without the stages that `judge` finds out."""
    if not instrument.covers(rules.access, alert.tag):
        return VerdictCode.NO_ACCESS.value
    answer = ask(rules, alert)
    return VerdictCode.EXCEPTION.value if isinstance(answer, Failure) else verdict_code(answer)


def _difference(instrument: Instrument, against: ChannelRules, alert: Alert, codes: tuple[int, int]) -> Difference:
    judgement = judge(instrument, against, alert)
    cut = first_failure(judgement.cuts)
    if cut is None:
        said = judgement.failure.message if judgement.failure else None
        return Difference(alert.id, alert.name, alert.night, codes, "raised" if said else "?", said, None)
    return Difference(alert.id, alert.name, alert.night, codes, cut.name, cut.value, cut.limit)
