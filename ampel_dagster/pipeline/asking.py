"""Ask a channel's filter about an alert: what it raises is an answer, and one that fails too often is left out."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from ampel_dagster.model.alert import Alert
from ampel_dagster.model.cut import Cut
from ampel_dagster.pipeline.guard import Failure, guarded
from ampel_dagster.units.bound import ChannelRules

R = TypeVar("R")


class Disabled(NamedTuple):
    """A filter that is left out for the rest of a run."""

    channel: str
    #: Class and version.
    filter: str
    #: What it raised last.
    message: str
    #: How often in a row.
    failures: int


@dataclass
class Breakers:
    """Which filters of a run still work: too many failures in a row, and a channel's filter is asked no more."""

    disabled: dict[str, Disabled] = field(default_factory=dict)
    _in_a_row: dict[str, int] = field(default_factory=dict)

    def ask(self, rules: ChannelRules, alert: Alert, most: int) -> bool | int | Failure | None:
        """The filter's answer or what it raised; `most` failures in a row disable it."""
        answer = ask(rules, alert)
        channel = rules.channel
        if not isinstance(answer, Failure):
            self._in_a_row.pop(channel, None)
            return answer
        failures = self._in_a_row[channel] = self._in_a_row.get(channel, 0) + 1
        if failures >= most:
            self.disabled[channel] = Disabled(channel, rules.filter_name, answer.message, failures)
        return answer


def ask(rules: ChannelRules, alert: Alert) -> bool | int | Failure | None:
    """The answer of a channel's filter (none: True), or what it raised.

    Raises AlertFormatError where the filter looks into a part of the packet that cannot be read.
    """
    return True if rules.filter is None else _sealed(rules, rules.filter.accept, alert)


def stages(rules: ChannelRules, alert: Alert) -> list[Cut] | Failure:
    """The stages of a channel's filter for one alert, or what it raised. Raises as `ask` does."""
    return [] if rules.filter is None else _sealed(rules, rules.filter.explain, alert)


def _sealed(rules: ChannelRules, call: Callable[[Alert], R], alert: Alert) -> R | Failure:
    """A filter that says that it reads the candidate alone gets no more."""
    if not rules.candidate_only:
        return guarded(call, alert)
    alert.seal(True)
    try:
        return guarded(call, alert)
    finally:
        alert.seal(False)
