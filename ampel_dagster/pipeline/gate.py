"""The gate before a channel goes live: its filter must not take too much of a reference night."""

from collections.abc import Sequence

from ampel_dagster.model.errors import UserError
from ampel_dagster.model.run import Mode, RunInfo
from ampel_dagster.pipeline.filter_runs import MatchRate
from ampel_dagster.storage.store import Store
from ampel_dagster.units.bound import ChannelRules


def is_live(store: Store, rules: ChannelRules) -> bool:
    """Whether a channel takes part in live runs: it has no gate, or was activated with the filter that it has now."""
    return rules.gate is None or store.activations.find(rules.channel, rules.survey, rules.config) is not None


def split_live(store: Store, rules: Sequence[ChannelRules], mode: Mode) -> tuple[list[ChannelRules], list[str]]:
    """Rules that take part in a run of this mode, and names of the channels that are held back."""
    if mode == "archive":
        return list(rules), []
    live = [found for found in rules if is_live(store, found)]
    return live, [found.channel for found in rules if found not in live]


def activate(
    store: Store, rules: ChannelRules, rate: MatchRate, night: str, max_share: float, run: RunInfo, *, force: bool
) -> None:
    """Make a channel live, if its filter took no more than `max_share` of the night.

    Raises UserError with the figure otherwise; `force` activates all the same, and is remembered.
    """
    reason = _against(rate, night, max_share)
    if reason and not force:
        raise UserError(f"{rules.channel} is not activated: {reason}; change the filter, or say --force")
    facts = {"night": night, "total": rate.total, "passed": rate.passed, "max_share": max_share, "forced": bool(reason)}
    store.configs.keep(rules.config, rules.description, run.meta())
    store.activations.add(rules.channel, rules.survey, rules.config, facts, run.meta())


def _against(rate: MatchRate, night: str, max_share: float) -> str:
    """What speaks against a channel."""
    if rate.failures:
        message, _ = rate.failures.most_common(1)[0]
        return f"its filter raised at {rate.failures.total()} of {rate.total} alerts of {night} ({message})"
    if not rate.total:
        return f"there is no alert of {night} that it may see"
    if rate.share > max_share:
        figure = f"{rate.passed} of {rate.total} alerts of {night} ({rate.share:.1%})"
        return f"its filter accepts {figure}, more than {max_share:.1%}"
    return ""
