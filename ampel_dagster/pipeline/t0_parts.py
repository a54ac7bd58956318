"""Accepted alerts of a batch, sorted by how much has to be asked about their stocks.

Deciding about supersession, late points and states needs all points of a stock, and reading these costs more than
everything else. Two kinds of alerts, nearly all of a stream, don't need it:

- *fresh*: nobody has taken an alert of the stock before, so its points are those of the packet;
- *grown*: the packet tells what the one of the stock's latest alert told, and some points that are newer than that
  alert. The state is that of the latest alert and these points.

The documents that come of it are the same; what does not fit exactly goes the long way with the *others*.
"""

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from ampel_dagster.model.datapoint import DataPoint
from ampel_dagster.model.stock import State
from ampel_dagster.pipeline.t0_ingest import Ingestion, Judged, Selection
from ampel_dagster.storage.ledger import Latest
from ampel_dagster.storage.stocks import Seen
from ampel_dagster.storage.store import SurveyStore
from ampel_dagster.units.base import PointUnit
from ampel_dagster.units.bound import ChannelRules, in_order


class Grown(NamedTuple):
    """An alert of a stock of which the database knows the latest alert, and what this one adds to it."""

    judged: Judged
    #: Points that are newer than the latest alert.
    newer: list[DataPoint]
    #: Datapoints of the latest alert's states, by view.
    states: dict[str, tuple[int, ...]]


@dataclass
class Parts:
    """The accepted alerts of one batch."""

    #: Stocks that the database knows.
    seen: dict[int, Seen]
    fresh: dict[int, Judged] = field(default_factory=dict)
    grown: dict[int, Grown] = field(default_factory=dict)
    others: list[Judged] = field(default_factory=list)

    @property
    def other_stocks(self) -> set[int]:
        """Stocks of which all points have to be known."""
        return {item.alert.stock for item in self.others}

    def send_the_long_way(self, stocks: Iterable[int]) -> set[int]:
        """Give up the short way for those of these stocks that are on it; return which."""
        moved = set()
        for stock in stocks:
            item = self.fresh.pop(stock, None)
            if item is None and stock in self.grown:
                item = self.grown.pop(stock).judged
            if item is not None:
                self.others.append(item)
                moved.add(stock)
        return moved


def part(ingestion: Ingestion, selection: Selection, unfinished: Collection[int]) -> Parts:
    """Sort the accepted alerts of a batch; `unfinished` are batches that were begun and not ended."""
    survey = ingestion.store.survey(ingestion.survey)
    accepted = [item for item in selection.judged if item.channels]
    times = Counter(item.alert.stock for item in accepted)
    parts = Parts(survey.stocks.seen(list(times)) if times else {})
    candidates: list[Judged] = []
    for item in accepted:
        stock = item.alert.stock
        # What a crashed run has begun with is asked about in full, and so is what others know of the alert.
        if times[stock] > 1 or item.prior is not None or selection.resumed:
            parts.others.append(item)
        elif stock not in parts.seen:
            parts.fresh[stock] = item
        else:
            candidates.append(item)
    for item, grown in _grown(ingestion, survey, candidates, parts.seen, unfinished):
        if grown is None:
            parts.others.append(item)
        else:
            parts.grown[item.alert.stock] = grown
    return parts


def _grown(
    ingestion: Ingestion,
    survey: SurveyStore,
    items: list[Judged],
    seen: dict[int, Seen],
    unfinished: Collection[int],
) -> Iterable[tuple[Judged, Grown | None]]:
    rules = {r.channel: r for r in ingestion.rules if _grows(r)}
    latest = survey.ledger.latest([seen[item.alert.stock].alert for item in items]) if items and rules else {}
    links = {link for found in latest.values() for link in found.state.values()} if ingestion.with_states else set()
    states = survey.states.load(links)
    for item in items:
        found = latest.get(seen[item.alert.stock].alert)
        if found is None or not found.batches.isdisjoint(unfinished) or not _fits(item, found, rules):
            yield item, None
            continue
        newer = _newer(item, found)
        kept = _kept(item, found, rules, states) if ingestion.with_states else {}
        yield item, None if newer is None or kept is None else Grown(item, newer, kept)


def _grows(rules: ChannelRules) -> bool:
    """Whether the channel's states grow by what is newer, and no product asks for single points of them."""
    products = (p for request in rules.requests for p in in_order(request.product))
    return rules.combiner.grows and not any(isinstance(p.unit, PointUnit) for p in products)


def _fits(item: Judged, latest: Latest, rules: dict[str, ChannelRules]) -> bool:
    """Whether the latest alert was earlier, as rich, and taken by all these channels as they are now."""
    alert = item.alert
    if latest.stock != alert.stock or latest.jd >= alert.jd or latest.rank < alert.rank:
        return False
    return all(c in rules and latest.config.get(c) == rules[c].config for c in item.channels)


def _newer(item: Judged, latest: Latest) -> list[DataPoint] | None:
    """Points that are newer than the latest alert; None unless all others were in its packet, and none of these."""
    known, jd = latest.dps, latest.jd
    newer = []
    for point in item.alert.points:
        if point.jd > jd:
            newer.append(point)
        elif point.id not in known:
            return None
    return newer if known.isdisjoint([point.id for point in newer]) else None


def _kept(
    item: Judged, latest: Latest, rules: dict[str, ChannelRules], states: dict[int, State]
) -> dict[str, tuple[int, ...]] | None:
    """Datapoints of the states of the latest alert, by view; None where one of them is not there."""
    kept: dict[str, tuple[int, ...]] = {}
    for channel in item.channels:
        view = rules[channel].view
        state = states.get(latest.state.get(view, 0))
        if state is None:
            return None
        kept[view] = state.dps
    return kept
