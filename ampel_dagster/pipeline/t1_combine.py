"""T1: join datapoints to states, and make the tickets for what is to be computed on them.

A state never sees the future: it joins points with jd <= the alert's jd. Alerts of a stock are taken in the order of
(jd, id), and a point becomes visible with the first alert of the work that carries it, so that states are the same
however the work is cut into batches. A point that comes late gives later alerts of its stock one more state.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ampel_dagster.instruments.base import Instrument
from ampel_dagster.model.datapoint import DataPoint
from ampel_dagster.model.ids import hash_ints, state_link
from ampel_dagster.model.stock import State
from ampel_dagster.storage.ledger import AlertRecord, Outcome
from ampel_dagster.storage.points import PointRow
from ampel_dagster.storage.store import SurveyStore
from ampel_dagster.units.base import PointUnit
from ampel_dagster.units.bound import ChannelRules, Product, StateValue, in_order

#: A point as it is stored, or as a packet tells it.
Row = PointRow | DataPoint


@dataclass
class StateDraft:
    """A state that shall be there."""

    stock: int
    dps: tuple[int, ...]
    night: str
    jd: float
    channels: set[str] = field(default_factory=set)
    alerts: set[int] = field(default_factory=set)
    #: What its channels want to have computed on it.
    values: set[StateValue] = field(default_factory=set)


@dataclass
class TicketDraft:
    """A ticket that shall be there."""

    product: Product
    stock: int
    input: int
    link: int
    night: str
    channels: set[str] = field(default_factory=set)
    #: 'channel|night' of the alerts that ask for it.
    members: set[str] = field(default_factory=set)


@dataclass
class Combination:
    """What T1 makes of some alerts."""

    states: dict[int, StateDraft] = field(default_factory=dict)
    tickets: dict[int, TicketDraft] = field(default_factory=dict)
    #: What became of each alert.
    outcomes: dict[int, Outcome] = field(default_factory=dict)
    #: Channels that points of the states lack, by point.
    point_channels: dict[int, set[str]] = field(default_factory=dict)
    #: Stocks with new alerts by channel, whose stock products are to be computed anew.
    renewed: set[int] = field(default_factory=set)


class Combiner:
    """Makes states and tickets by the rules of some channels."""

    def __init__(self, instrument: Instrument, rules: Sequence[ChannelRules]) -> None:
        self.instrument = instrument
        self._rules = {r.channel: r for r in rules}
        self._products = {
            r.channel: [(request, product) for request in r.requests for product in in_order(request.product)]
            for r in rules
        }
        self._sees = {r.view: _Sight(instrument, r.access) for r in rules}

    def combine(
        self,
        work: Iterable[AlertRecord],
        rows: Iterable[PointRow],
        later: Iterable[AlertRecord] = (),
        found: Combination | None = None,
    ) -> Combination:
        """States of the alerts in `work`; `rows` are all points of their stocks.

        `later`: alerts that have a state already and may get one more, because a point came late. `found`: to which
        these are added.
        """
        found = Combination() if found is None else found
        by_stock: dict[int, list[PointRow]] = {}
        for row in rows:
            for stock in row.stock:
                by_stock.setdefault(stock, []).append(row)
        alerts: dict[int, list[AlertRecord]] = {}
        for alert in work:
            alerts.setdefault(alert.stock, []).append(alert)
        stated: dict[int, list[AlertRecord]] = {}
        for alert in later:
            stated.setdefault(alert.stock, []).append(alert)
        for stock, mine in alerts.items():
            self._stock(found, sorted(mine, key=_in_time), by_stock.get(stock, []), stated.get(stock, []))
        return found

    def _stock(
        self, found: Combination, work: list[AlertRecord], rows: list[PointRow], later: list[AlertRecord]
    ) -> None:
        batches = frozenset[int]().union(*(alert.batches for alert in work))
        carried = {id_ for alert in work for id_ in alert.dps}
        stock = work[0].stock
        hidden = {row.id: row for row in rows if row.brought(stock) in batches and row.id in carried}
        visible = [row for row in rows if row.id not in hidden]
        done = [alert for alert in later if alert.id not in {a.id for a in work}]
        for alert in work:
            fresh = [hidden.pop(id_) for id_ in alert.dps if id_ in hidden]
            visible += fresh
            self._state(found, alert, visible)
            late = min((row.jd for row in fresh), default=float("inf"))
            for earlier in done:
                if earlier.jd >= late:
                    self._state(found, earlier, visible)
            done.append(alert)

    def fresh(self, found: Combination, alert: AlertRecord, points: Sequence[DataPoint]) -> None:
        """States of the only alert of a stock that nobody knew before: of the packet's own points."""
        self._state(found, alert, points)

    def grown(
        self,
        found: Combination,
        alert: AlertRecord,
        before: Mapping[str, tuple[int, ...]],
        newer: Sequence[DataPoint],
        told: Sequence[DataPoint],
    ) -> None:
        """States of an alert that adds newer points to the states `before`, by view; `told`: its packet's points."""
        self._state(found, alert, newer, before, told)

    def _state(
        self,
        found: Combination,
        alert: AlertRecord,
        visible: Sequence[Row],
        before: Mapping[str, tuple[int, ...]] | None = None,
        told: Sequence[Row] = (),
    ) -> None:
        links: dict[str, tuple[int, Sequence[Row]]] = {}
        left_out: dict[str, Mapping[str, list[int]]] = {}
        for channel, code in alert.channel.items():
            rules = self._rules.get(channel)
            if rules is None:
                continue
            if rules.view not in links:
                links[rules.view] = self._join(found, alert, rules, visible, before[rules.view] if before else ())
                missing = set(alert.dps).difference(found.states[links[rules.view][0]].dps)
                if missing:
                    left_out[rules.view] = self._left_out(alert, rules, missing, told or visible)
            link, rows = links[rules.view]
            state = found.states[link]
            state.channels.add(channel)
            state.alerts.add(alert.id)
            state.values.update(rules.values)
            for row in _stored(rows):
                if channel not in row.channel:
                    found.point_channels.setdefault(row.id, set()).add(channel)
            self._tickets(found, alert, channel, code, link, rows)
            if rules.combiner.retro:
                self._earlier(found, alert, rules, code, rows)
        found.outcomes[alert.id] = Outcome({view: link for view, (link, _) in links.items()}, left_out)

    def _join(
        self,
        found: Combination,
        alert: AlertRecord,
        rules: ChannelRules,
        visible: Sequence[Row],
        before: tuple[int, ...],
        jd: float | None = None,
    ) -> tuple[int, Sequence[Row]]:
        """Link and points of the state that an alert leads to; `jd`: of the one that there was at that time."""
        jd = alert.jd if jd is None else jd
        sees = self._sees[rules.view]
        # By numbers: jd and tag, then what the combiner is told. A name takes three times as long.
        mine = [row for row in visible if row[2] <= jd and sees[row[4]]]
        ids = set(rules.combiner.combine([row[:4] for row in mine]))
        dps = tuple(sorted(ids.union(before)))
        link = state_link(rules.combiner_id, alert.stock, dps)
        if link not in found.states:
            found.states[link] = StateDraft(alert.stock, dps, alert.night, jd)
        return link, mine if len(ids) == len(mine) else [row for row in mine if row.id in ids]

    def _left_out(
        self, alert: AlertRecord, rules: ChannelRules, missing: set[int], told: Sequence[Row]
    ) -> dict[str, list[int]]:
        """Points of the alert's packet that its state does not hold, by the reason.

        A point that is not stored is one that none of the channels may see.
        """
        found: dict[str, list[int]] = {}
        rows = {row.id: row for row in told if row.id in missing}
        for id_ in sorted(missing):
            row = rows.get(id_)
            if row is None or not self._sees[rules.view][row.tag]:
                reason = "data_rights"
            else:
                reason = "later" if row.jd > alert.jd else rules.combiner.reason(row.kind)
            found.setdefault(reason, []).append(id_)
        return found

    def _earlier(
        self, found: Combination, alert: AlertRecord, rules: ChannelRules, code: int, rows: Sequence[Row]
    ) -> None:
        """States as they would have been at the detections before the alert's own."""
        for jd in sorted({row.jd for row in rows if row.kind == "detection" and row.jd < alert.jd}):
            link, then = self._join(found, alert, rules, rows, (), jd)
            state = found.states[link]
            state.channels.add(rules.channel)
            state.alerts.add(alert.id)
            state.values.update(rules.values)
            self._tickets(found, alert, rules.channel, code, link, then)

    def retake(
        self, found: Combination, alert: AlertRecord, states: Mapping[int, State], rows: Iterable[PointRow]
    ) -> None:
        """Keep the states that an alert has; make the tickets that its channels ask for by now."""
        by_id = {row.id: row for row in rows}
        for channel, code in alert.channel.items():
            rules = self._rules.get(channel)
            state = states.get(alert.state.get(rules.view, 0)) if rules else None
            if rules is None or state is None:
                continue
            draft = StateDraft(state.stock, state.dps, state.night, alert.jd)
            draft = found.states.setdefault(state.link, draft)
            draft.channels.add(channel)
            draft.values.update(rules.values)
            mine = [by_id[id_] for id_ in state.dps if id_ in by_id]
            self._tickets(found, alert, channel, code, state.link, mine, renew=False)
            if rules.combiner.retro:
                self._earlier(found, alert, rules, code, mine)

    def _tickets(
        self,
        found: Combination,
        alert: AlertRecord,
        channel: str,
        code: int,
        link: int,
        rows: Sequence[Row],
        *,
        renew: bool = True,
    ) -> None:
        for request, product in self._products[channel]:
            if not request.wants(code):
                continue
            for input_ in _inputs(product, alert.stock, link, rows):
                id_ = hash_ints(product.id, input_)
                draft = found.tickets.get(id_)
                if draft is None:
                    draft = TicketDraft(product, alert.stock, input_, link, alert.night)
                    found.tickets[id_] = draft
                draft.channels.add(channel)
                draft.members.add(f"{channel}|{alert.night}")
                if renew and product.of_stock:
                    found.renewed.add(id_)


class _Sight(dict[tuple[str, ...], bool]):
    """Whether points of these tags may be seen, by the data rights of a view."""

    def __init__(self, instrument: Instrument, access: Collection[str]) -> None:
        super().__init__()
        self._instrument = instrument
        self._access = access

    def __missing__(self, tag: tuple[str, ...]) -> bool:
        self[tag] = found = self._instrument.covers(self._access, tag)
        return found


def _stored(rows: Sequence[Row]) -> Iterator[PointRow]:
    """Those that are stored: a packet's own points were written for all channels that may see them."""
    if rows and isinstance(rows[0], PointRow):
        yield from (row for row in rows if isinstance(row, PointRow))


def _in_time(alert: AlertRecord) -> tuple[float, int]:
    return alert.jd, alert.id


def _inputs(product: Product, stock: int, link: int, rows: Sequence[Row]) -> list[int]:
    """What a product is computed on: the state, the stock, or points of the state."""
    if product.of_state:
        return [link]
    if product.of_stock:
        return [stock]
    unit = product.unit
    if not isinstance(unit, PointUnit):
        raise TypeError(f"{type(unit).__name__} is neither a state, a stock nor a point unit")
    points = sorted((row.jd, row.id) for row in rows if row.kind in unit.kinds)
    ids = [id_ for _, id_ in points]
    return {"first": ids[:1], "last": ids[-1:], "all": ids}[unit.eligible]


def late_alerts(
    survey: SurveyStore, work: Sequence[AlertRecord], rows: Iterable[PointRow], own: int = 0
) -> list[AlertRecord]:
    """Alerts outside `work` that have a state and are not earlier than a point that the work brings.

    `own` is the batch of the work: points of other batches may belong to alerts that are complete by now.
    """
    batches = frozenset[int]().union(*(alert.batches for alert in work)) if work else frozenset()
    stocks = {alert.stock for alert in work}
    newest: dict[int, float] = {}
    earliest: dict[int, float] = {}
    for row in rows:
        for stock in stocks.intersection(row.stock):
            if row.brought(stock) in batches:
                earliest[stock] = min(earliest.get(stock, row.jd), row.jd)
            if row.kind != "forced" and row.brought(stock) != own:
                newest[stock] = max(newest.get(stock, row.jd), row.jd)
    concerned = {stock: jd for stock, jd in earliest.items() if newest.get(stock, float("-inf")) >= jd}
    return survey.ledger.later_alerts(concerned)


def combine_stored(
    survey: SurveyStore,
    instrument: Instrument,
    rules: Sequence[ChannelRules],
    alerts: Iterable[AlertRecord],
    size: int = 500,
) -> Iterator[tuple[list[AlertRecord], Combination]]:
    """T1 by itself: alerts come from the database, sorted by stock; a stock is never split over two chunks.

    Alerts that lack a state of one of their channels get it; for the others only missing tickets are made.
    """
    combiner = Combiner(instrument, rules)
    views = {r.channel: r.view for r in rules}
    for chunk in _chunks(alerts, size):
        rows = survey.points.rows_of_stocks(sorted({alert.stock for alert in chunk}))
        lacking = [a for a in chunk if any(views[c] not in a.state for c in a.channel if c in views)]
        found = combiner.combine(lacking, rows, late_alerts(survey, lacking, rows))
        having = [alert for alert in chunk if alert.id not in found.outcomes]
        states = survey.states.load({link for alert in having for link in alert.state.values()})
        for alert in having:
            combiner.retake(found, alert, states, rows)
        yield chunk, found


def _chunks(alerts: Iterable[AlertRecord], size: int) -> Iterator[list[AlertRecord]]:
    chunk: list[AlertRecord] = []
    for alert in alerts:
        if len(chunk) >= size and chunk[-1].stock != alert.stock:
            yield chunk
            chunk = []
        chunk.append(alert)
    if chunk:
        yield chunk
