"""T0: read packets, let every channel judge every alert once, decode in full what is wanted.

Nothing is written here: a `Selection` says what one batch of packets is to become (`t0_store` writes it).
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, NamedTuple

from ampel_dagster.instruments.base import Instrument
from ampel_dagster.model.alert import Alert, Packet
from ampel_dagster.model.codes import VerdictCode, verdict_code
from ampel_dagster.model.errors import AlertFormatError
from ampel_dagster.model.ids import hash64, hash_json
from ampel_dagster.model.night import ut_night
from ampel_dagster.model.run import RunInfo, utc_now
from ampel_dagster.model.stream import Stream
from ampel_dagster.pipeline.asking import Breakers, Disabled
from ampel_dagster.pipeline.guard import Failure
from ampel_dagster.pipeline.write_ahead import UNDER_WAY
from ampel_dagster.sources.files import BrokenSourceError
from ampel_dagster.storage.ledger import Prior
from ampel_dagster.storage.store import Store
from ampel_dagster.units.bound import ChannelRules

#: Batches whose alerts are remembered: this one, those that may still be on their way to the database, and one more.
_REMEMBERED = UNDER_WAY + 2
#: Two packets of one alert give the same time, to about a second.
_SAME_TIME_DAYS = 1e-5
_LEFT_OUT = VerdictCode.FILTER_DISABLED.value
Verdicts = dict[str, dict[str, Any]]
#: By channel and stock: from which time (jd) to which alert (jd, id) its alerts are taken without asking the filter.
Late = Mapping[str, Mapping[int, tuple[float, tuple[float, int]]]]
#: What the ledger says of an alert that it does not know.
_NOTHING = Prior({}, frozenset(), {}, 0)


@dataclass(frozen=True)
class Ingestion:
    """What an ingestion is about: whose packets, for which channels, in which run."""

    store: Store
    instrument: Instrument
    stream: Stream
    rules: Sequence[ChannelRules]
    run: RunInfo
    #: Whether states and tickets are made at once (T0 and T1 together) or by a T1 of their own.
    with_states: bool = True
    #: Channels that are not asked, and see the same states: what they took before gets the states that it has now.
    neighbours: Sequence[ChannelRules] = ()
    #: Objects that channels took late, to be completed: their earlier alerts are taken, all others passed over.
    late: Late | None = None
    #: Which filters still work, in this run.
    breakers: Breakers = field(default_factory=Breakers)

    @property
    def survey(self) -> str:
        """Name of the survey."""
        return self.instrument.survey

    def completes(self, channel: str, alert: Alert) -> bool:
        """Whether an alert is an earlier one of an object that the channel took late."""
        begin, end = (self.late or {}).get(channel, {}).get(alert.stock, (0.0, (0.0, 0)))
        return begin <= alert.jd and (alert.jd, alert.id) < end

    def wants(self, alert: Alert) -> bool:
        """Whether anybody is to judge an alert."""
        return self.late is None or any(self.completes(rules.channel, alert) for rules in self.rules)


class Judged(NamedTuple):
    """An alert with what the channels said of it."""

    alert: Alert
    #: 'new', 'known' or 'rejected', as the ledger counts it.
    status: str
    #: Verdicts given in this batch, by channel.
    verdicts: Verdicts
    #: Channels that shall have its documents.
    channels: tuple[str, ...]
    #: What the ledger said before.
    prior: Prior | None
    #: Whether the packet tells more than the one that is stored.
    richer: bool = False


class Bad(NamedTuple):
    """A packet that cannot be read."""

    id: int
    packet: Packet
    reason: str
    message: str
    #: True size of what was read; of what is too large, the packet holds the beginning.
    size_bytes: int


@dataclass
class Selection:
    """One batch of packets, judged."""

    id: int
    judged: list[Judged] = field(default_factory=list)
    bad: list[Bad] = field(default_factory=list)
    failures: Counter[tuple[str, str]] = field(default_factory=Counter)
    #: Where the failures happened, of each the first.
    tracebacks: dict[tuple[str, str], str] = field(default_factory=dict)
    #: Filters that were left out of a part of it or all.
    disabled: tuple[Disabled, ...] = ()
    bytes: int = 0
    #: Whether a crashed run began this very batch.
    resumed: bool = False
    #: Whether anything has to be written.
    has_work: bool = False

    @property
    def packets(self) -> Iterator[Packet]:
        """All packets of the batch; one with several alerts comes as often."""
        yield from (item.alert.packet for item in self.judged)
        yield from (bad.packet for bad in self.bad)


def select(ingestion: Ingestion, packets: Iterable[Packet | BrokenSourceError]) -> Iterator[Selection]:
    """Batches of packets, judged; lazily, so that one is read while the one before is written."""
    judge = _Judge(ingestion)
    for items in _slices(_records(ingestion, packets), ingestion.stream.batch_size):
        yield judge.batch(items)


def _records(
    ingestion: Ingestion, packets: Iterable[Packet | BrokenSourceError]
) -> Iterator[tuple[Packet, Alert | Bad]]:
    first, last = ingestion.stream.start_date.isoformat(), ut_night(_tomorrow_jd())
    for packet in packets:
        if isinstance(packet, BrokenSourceError):
            yield packet.packet, _bad(packet.packet, packet, salt=packet.message)
            continue
        for found in ingestion.instrument.decode(packet):
            if isinstance(found, AlertFormatError):
                yield packet, _bad(packet, found)
            elif not ingestion.wants(found):
                continue
            elif not first <= found.night <= last:
                message = f"{found.name} is of {found.night}; nights go from {first} to {last}"
                yield packet, _bad(packet, AlertFormatError("NIGHT_OUT_OF_RANGE", message))
            else:
                yield packet, found


def _tomorrow_jd() -> float:
    return utc_now().timestamp() / 86400 + 2440587.5 + 1


def _bad(packet: Packet, error: AlertFormatError, salt: str = "") -> Bad:
    size = error.size_bytes if isinstance(error, BrokenSourceError) else len(packet.data)
    return Bad(hash64(packet.data + salt.encode()), packet, error.reason, error.message, size)


def _slices(records: Iterator[tuple[Packet, Alert | Bad]], size: int) -> Iterator[list[tuple[Packet, Alert | Bad]]]:
    while items := list(islice(records, size)):
        yield items


class _Judge:
    """Judges batches in order; remembers what is on its way to the database."""

    def __init__(self, ingestion: Ingestion) -> None:
        self._in = ingestion
        self._survey = ingestion.store.survey(ingestion.survey)
        self._configs = {rules.channel: rules.config for rules in ingestion.rules}
        self._knowing = [rules.channel for rules in ingestion.rules if rules.known_stocks != "filter"]
        self._recent: list[dict[int, Prior]] = []
        self._recent_first: list[dict[tuple[int, str], tuple[float, int]]] = []

    def batch(self, items: list[tuple[Packet, Alert | Bad]]) -> Selection:
        alerts = [item for _, item in items if isinstance(item, Alert)]
        named = [(p.source, p.offset, item.id) for p, item in items]
        prior = self._prior(alerts)
        id_ = hash_json(["ingest", self._in.survey, named, self._configs])
        states = self._states(id_, prior.values())
        selection = Selection(self._own_id(id_, states))
        open_batches = {id_ for id_, state in states.items() if state == "open"}
        selection.resumed = selection.id in open_batches
        selection.bytes = sum(len(packet.data) for packet, _ in items)
        first = self._first_accepted(alerts)
        self._recent.append({})
        self._recent_first.append({})
        self._recent, self._recent_first = self._recent[-_REMEMBERED:], self._recent_first[-_REMEMBERED:]
        for _, item in sorted(items, key=_in_time):
            if isinstance(item, Bad):
                selection.bad.append(item)
                continue
            under_way = next((recent[item.id] for recent in reversed(self._recent) if item.id in recent), None)
            # What this run has judged is no leftover of a crash, though its batch may still be open.
            unfinished = open_batches if under_way is None else set()
            judged = self._judge(selection, item, under_way or prior.get(item.id), unfinished, first)
            if judged is not None:
                selection.judged.append(judged)
        known_bad = self._in.store.quarantine.known([bad.id for bad in selection.bad]) if selection.bad else set()
        new_bad = any(bad.id not in known_bad for bad in selection.bad)
        selection.disabled = tuple(d for c, d in self._in.breakers.disabled.items() if c in self._configs)
        selection.has_work = selection.resumed or new_bad or any(j.verdicts or j.channels for j in selection.judged)
        return selection

    def _own_id(self, id_: int, states: dict[int, str]) -> int:
        """This id, or one made of it whose batch is not finished: that one's news may still be unheard."""
        while states.get(id_, "open") != "open":
            id_ = hash_json(["again", id_])
            states.update(self._in.store.patiently(lambda id_=id_: self._in.store.batches.states([id_])))  # type: ignore[misc]
        return id_

    def _is_due(self, old: Mapping[str, Any], rules: ChannelRules) -> bool:
        """Whether a channel has to judge an alert once more; what completes an object may have been rejected."""
        if self._in.late is not None:
            # Of what it may not see, it has been said for good.
            without_right = old["code"] == VerdictCode.NO_ACCESS.value and old["config"] == rules.config
            return old["code"] < 0 and not without_right
        return old["config"] != rules.config or self._waits(old, rules)

    def _waits(self, old: Mapping[str, Any], rules: ChannelRules) -> bool:
        """Whether a filter that was left out has still to judge, and can."""
        return old["code"] == _LEFT_OUT and rules.channel not in self._in.breakers.disabled

    def _prior(self, alerts: Sequence[Alert]) -> dict[int, Prior]:
        ids = [alert.id for alert in alerts]
        return self._in.store.patiently(lambda: self._survey.ledger.prior(ids))

    def _states(self, own: int, prior: Iterable[Prior]) -> dict[int, str]:
        """How far the batches are that gave earlier verdicts, and this one if it was begun before."""
        ids = {own}
        for known in prior:
            ids.add(known.enriched)
            ids.update(verdict["batch"] for verdict in known.verdict.values())
        return self._in.store.patiently(lambda: self._in.store.batches.states(ids))

    def _first_accepted(self, alerts: Sequence[Alert]) -> dict[tuple[int, str], tuple[float, int]]:
        if not self._knowing:
            return {}
        stocks = [alert.stock for alert in alerts]
        first = self._in.store.patiently(lambda: self._survey.ledger.first_accepted(stocks, self._knowing))
        for recent in self._recent_first:
            for key, seen in recent.items():
                first[key] = min(first.get(key, seen), seen)
        return first

    def _judge(
        self,
        selection: Selection,
        alert: Alert,
        prior: Prior | None,
        open_batches: set[int],
        first: dict[tuple[int, str], tuple[float, int]],
    ) -> Judged | None:
        """Verdicts of the channels that have none of their present configuration yet.

        What a batch said that was never finished counts as not said: it becomes this batch's.
        """
        before = prior or _NOTHING
        verdicts: Verdicts = {}
        again: list[str] = []
        if before.stock is not None and (before.stock != alert.stock or abs(before.jd - alert.jd) > _SAME_TIME_DAYS):
            known = f"stock {before.stock} at jd {before.jd:.5f}"
            message = f"alert {alert.id} is known as {known}; this packet says stock {alert.stock} at {alert.jd:.5f}"
            selection.bad.append(_bad(alert.packet, AlertFormatError("ID_CONFLICT", message)))
            return None
        try:
            for rules in self._in.rules:
                old = before.verdict.get(rules.channel)
                if self._in.late is not None and not self._in.completes(rules.channel, alert):
                    continue
                if old is None or self._is_due(old, rules):
                    verdicts[rules.channel] = self._verdict(selection, alert, rules, first)
                elif old["batch"] in open_batches:
                    verdicts[rules.channel] = {**old, "batch": selection.id}
                elif rules.channel in before.channel and self._in.with_states and rules.view not in before.state:
                    again.append(rules.channel)
            accepted = [c for c, v in verdicts.items() if v["code"] >= 0]
            unfinished = alert.rank == before.rank and before.enriched in open_batches
            richer = bool(before.channel) and (alert.rank > before.rank or unfinished)
            channels = (*accepted, *again, *(sorted(before.channel) if richer else ()))
            if channels:
                _ = alert.points  # decoded here, so that a broken history is found before anything is written
        except AlertFormatError as error:
            selection.bad.append(_bad(alert.packet, error))
            return None
        status = "new" if accepted else "rejected" if verdicts else "known"
        self._remember(alert, verdicts, tuple(dict.fromkeys(channels)), prior, first)
        return Judged(alert, status, verdicts, tuple(dict.fromkeys(channels)), prior, richer)

    def _verdict(
        self,
        selection: Selection,
        alert: Alert,
        rules: ChannelRules,
        first: Mapping[tuple[int, str], tuple[float, int]],
    ) -> dict[str, Any]:
        verdict: dict[str, Any] = {"config": rules.config, "batch": selection.id}
        if not self._in.instrument.covers(rules.access, alert.tag):
            return verdict | {"code": VerdictCode.NO_ACCESS.value}
        if self._in.late is not None:
            return verdict | {"code": VerdictCode.ACCEPTED.value, "completed": True}
        seen = first.get((alert.stock, rules.channel))
        known = rules.known_stocks != "filter" and seen is not None and seen < (alert.jd, alert.id)
        if known and rules.known_stocks == "bypass":
            return verdict | {"code": VerdictCode.ACCEPTED.value, "known_stock": True}
        code = VerdictCode.ACCEPTED.value
        if rules.channel in self._in.breakers.disabled:
            code = _LEFT_OUT
        elif rules.filter is not None:
            answer = self._in.breakers.ask(rules, alert, self._in.stream.max_filter_failures)
            if isinstance(answer, Failure):
                key = (f"filter of {rules.channel}", answer.message)
                selection.failures[key] += 1
                selection.tracebacks.setdefault(key, answer.traceback)
                verdict["error"] = answer.message
                code = VerdictCode.EXCEPTION.value
            else:
                code = verdict_code(answer)
        if known and code < 0:
            if rules.known_stocks == "overrule":
                verdict["overruled"] = code
            return verdict | {"code": VerdictCode.ACCEPTED.value, "known_stock": True}
        return verdict | {"code": code}

    def _remember(
        self,
        alert: Alert,
        verdicts: Verdicts,
        channels: tuple[str, ...],
        prior: Prior | None,
        first: dict[tuple[int, str], tuple[float, int]],
    ) -> None:
        """A second packet of this alert, or a further alert of its stock, may come before this one is stored."""
        if not (verdicts or channels):
            return  # nothing is on its way: the database knows all
        before = prior or _NOTHING
        states = dict.fromkeys((rules.view for rules in self._in.rules), 0) if channels else before.state
        merged = Prior(
            {**before.verdict, **verdicts},
            before.channel | set(channels),
            states,
            max(before.rank, alert.rank),
            stock=alert.stock,
            jd=alert.jd,
        )
        self._recent[-1][alert.id] = merged
        for channel in channels:
            if channel in self._knowing:
                key, seen = (alert.stock, channel), (alert.jd, alert.id)
                first[key] = self._recent_first[-1][key] = min(first.get(key, seen), seen)


def _in_time(item: tuple[Packet, Alert | Bad]) -> tuple[float, int]:
    found = item[1]
    return (found.jd, found.id) if isinstance(found, Alert) else (float("inf"), found.id)
