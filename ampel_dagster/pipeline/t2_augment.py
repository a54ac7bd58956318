"""T2: take tickets in batches, load what their units need in bulk, compute, and write the results in bulk."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, NamedTuple

from ampel_dagster.instruments.base import Instrument
from ampel_dagster.model.codes import OPEN, DocumentCode
from ampel_dagster.model.datapoint import DataPoint
from ampel_dagster.model.ids import hash_ints, hash_json
from ampel_dagster.model.run import RunInfo
from ampel_dagster.model.stock import State, Stock
from ampel_dagster.pipeline.guard import Failure, guarded
from ampel_dagster.pipeline.t2_values import checked, digest
from ampel_dagster.pipeline.tally import Tally
from ampel_dagster.storage.store import Store, SurveyStore
from ampel_dagster.storage.tickets import Outcome, Ticket
from ampel_dagster.units.base import LightCurveUnit, PointUnit, StateUnit, StockUnit, Tied
from ampel_dagster.units.bound import Product

#: Workers that may die of a ticket before it is given up.
MAX_ATTEMPTS = 5
_OPEN = frozenset(code.value for code in OPEN)


@dataclass(frozen=True)
class Augmentation:
    """What a T2 run is about."""

    store: Store
    instrument: Instrument
    products: Sequence[Product]
    run: RunInfo
    #: Restricts tickets to channels and nights; empty: all.
    where: Mapping[str, Any]
    #: Names of the processes that are to hear of new results, by channel.
    reactions: Mapping[str, Sequence[str]] = field(default_factory=dict)
    #: Tickets a batch.
    size: int = 500
    #: Seconds after which a ticket whose worker died is taken up by another.
    lease_s: float = 600.0

    @property
    def survey(self) -> SurveyStore:
        """Collections of the survey."""
        return self.store.survey(self.instrument.survey)


class Results(NamedTuple):
    """A batch of tickets that were worked on."""

    product: Product
    outcomes: list[Outcome]
    #: Tickets to give back, with the reason.
    waiting: list[Ticket]


def augment(augmentation: Augmentation) -> Iterator[Results]:
    """Work on all tickets there are, product by product in the order of their dependencies.

    Results may be written one behind: what is yielded is written when the next but one is asked for.
    """
    tickets, run = augmentation.survey.tickets, augmentation.run
    claim = (run.run, augmentation.size, augmentation.lease_s, dict(augmentation.where))
    under_way = False
    for product in augmentation.products:
        if product.requires and under_way:
            yield Results(product, [], [])  # nothing; when it has been taken, all before it is written
        tickets.wake(product.id)
        while True:
            batch = augmentation.store.steadily(lambda _, id_=product.id: tickets.claim(id_, *claim))  # type: ignore[misc]
            if not batch:
                break
            yield _work(augmentation, product, batch)
            under_way = True


def write_results(augmentation: Augmentation, results: Results) -> Tally:
    """Write outcomes and journal; tell reactions about stocks whose results are new or changed."""
    product, outcomes = results.product, results.outcomes
    survey, run = augmentation.survey, augmentation.run
    if results.waiting:
        survey.tickets.release(results.waiting, DocumentCode.PENDING_DEPENDENCY)
    tally = _tally(results)
    if not outcomes:
        return tally
    # One batch a claim: what an earlier computation of the same tickets announced stays announced.
    batch_id = hash_json(["t2", run.run, product.id, outcomes[0].ticket.token])
    versions = dict(product.unit.data_versions())
    meta = dict(run.meta(batch=batch_id, **({"data": versions} if versions else {})))
    if tally.touched:
        touched = {channel: sorted(stocks) for channel, stocks in tally.touched.items()}
        reactions = augmentation.reactions
        due = [f"{name}|{channel}" for channel in tally.touched for name in reactions.get(channel, ())]
        augmentation.store.batches.announce(
            batch_id,
            "t2",
            augmentation.instrument.survey,
            run.mode,
            tally.nights,
            touched,
            meta,
            tally.partition_keys,
            due,
        )
    unit = {"unit": type(product.unit).__name__, "version": product.version}
    refused = survey.tickets.finish(outcomes, unit, meta)
    if refused:
        failed = {id_: f"{unit['unit']}: the database refuses the result ({why})" for id_, why in refused.items()}
        outcomes = [
            _failed(o.ticket, DocumentCode.ERROR, failed[o.ticket.id]) if o.ticket.id in failed else o for o in outcomes
        ]
        survey.tickets.finish([o for o in outcomes if o.ticket.id in failed], unit, meta)
        tally = _tally(results._replace(outcomes=outcomes))
    augmentation.store.journal.write([_entry(augmentation, product, o, batch_id, meta) for o in outcomes])
    return tally


def _tally(results: Results) -> Tally:
    tally = Tally()
    name = results.product.name
    for outcome in results.outcomes:
        ticket = outcome.ticket
        tally.counts["computed" if outcome.code >= 0 else "failed"] += 1
        if outcome.error is not None:
            tally.failures[(f"product {name}", outcome.error["message"])] += 1
        for channel in ticket.channel:
            if outcome.digest != ticket.digest:
                tally.touch(channel, [ticket.stock])
            for night in ticket.nights:
                tally.partition(channel, night)["computed"] += 1
    tally.counts["waiting"] += len(results.waiting)
    return tally


def _entry(
    augmentation: Augmentation, product: Product, outcome: Outcome, batch: int, meta: Mapping[str, Any]
) -> dict[str, Any]:
    entry = {
        "_id": hash_ints(batch, outcome.ticket.id),
        "run": augmentation.run.run,
        "tier": 2,
        "survey": augmentation.instrument.survey,
        "stock": outcome.ticket.stock,
        "channel": list(outcome.ticket.channel),
        "action": "compute",
        "product": product.name,
        "t2": outcome.ticket.id,
        "code": outcome.code,
        "duration_s": outcome.duration_s,
        "batch": batch,
        "ts": meta["ts"],
    }
    return entry if outcome.note is None else {**entry, "note": outcome.note}


def _work(augmentation: Augmentation, product: Product, batch: list[Ticket]) -> Results:
    """Compute one batch of tickets of one product."""
    worn_out = [t for t in batch if t.attempts > MAX_ATTEMPTS]
    message = f"given up: {MAX_ATTEMPTS} workers died while they had this ticket"
    outcomes = [_failed(ticket, DocumentCode.TOO_MANY_TRIALS, message) for ticket in worn_out]
    waiting: list[Ticket] = []
    ready: list[tuple[Ticket, Tied]] = []
    tied = _Dependencies(augmentation, product, batch)
    for ticket in batch:
        if ticket.attempts > MAX_ATTEMPTS:
            continue
        found = tied.of(ticket)
        if isinstance(found, dict):
            ready.append((ticket, found))
        elif found == DocumentCode.PENDING_DEPENDENCY:
            waiting.append(ticket)
        else:
            outcomes.append(_failed(ticket, found, f"a product that it requires: {found.name}"))
    inputs = _Inputs(augmentation, product, [ticket for ticket, _ in ready])
    outcomes += [_compute(inputs, ticket, found) for ticket, found in ready]
    return Results(product, outcomes, waiting)


class _Dependencies:
    """Results that the tickets of a tied unit build upon, loaded in one query."""

    def __init__(self, augmentation: Augmentation, product: Product, batch: Sequence[Ticket]) -> None:
        self._required = product.requires
        units = Counter(type(required.unit).__name__ for required in product.requires)
        self._alone = {name for name, n in units.items() if n == 1}
        inputs = {ticket.input for ticket in batch} | {ticket.stock for ticket in batch}
        ids = [required.id for required in self._required]
        self._found = augmentation.survey.tickets.results(ids, inputs) if ids else {}

    def of(self, ticket: Ticket) -> dict[str, Mapping[str, Any]] | DocumentCode:
        """Bodies by unit, or the code that says why they are not there."""
        bodies: dict[str, Mapping[str, Any]] = {}
        for required in self._required:
            input_ = ticket.stock if required.of_stock else ticket.input
            document = self._found.get((required.id, input_))
            if document is None:
                return DocumentCode.MISSING_DEPENDENCY
            if document["code"] in _OPEN:
                return DocumentCode.PENDING_DEPENDENCY
            if document["code"] < 0:
                return DocumentCode.FAILED_DEPENDENCY
            bodies[required.name] = document["result"]
            if type(required.unit).__name__ in self._alone:
                bodies[type(required.unit).__name__] = document["result"]
        return bodies


class _Missing(NamedTuple):
    """What a ticket is computed on is not there."""

    code: DocumentCode


class _Inputs:
    """What the tickets of one batch are computed on, loaded in one query each."""

    def __init__(self, augmentation: Augmentation, product: Product, batch: Sequence[Ticket]) -> None:
        self.unit = product.unit
        self._instrument = augmentation.instrument
        survey, ids = augmentation.survey, [ticket.input for ticket in batch]
        self._states: dict[int, State] = {}
        self._points: dict[int, DataPoint] = {}
        self._stocks: dict[int, Stock] = {}
        if isinstance(self.unit, StockUnit):
            self._stocks = survey.stocks.load(ids)
        elif isinstance(self.unit, PointUnit):
            self._points = survey.points.load(ids, self.unit.needs)
        else:
            self._states = survey.states.load(ids)
            needs = self.unit.needs if isinstance(self.unit, StateUnit) else self._instrument.light_curve_fields
            if needs is None or needs:
                dps = {id_ for state in self._states.values() for id_ in state.dps}
                self._points = survey.points.load(dps, needs)
        self._without_points = isinstance(self.unit, StateUnit) and self.unit.needs == ()

    def process(self, ticket: Ticket, tied: Tied) -> Any | Failure | _Missing:
        """What the unit returns or raises; units are foreign code, and may return anything."""
        unit = self.unit
        if isinstance(unit, StockUnit):
            stock = self._stocks.get(ticket.input)
            return _Missing(DocumentCode.UNKNOWN_LINK) if stock is None else guarded(unit.process, stock, tied)
        if isinstance(unit, PointUnit):
            point = self._points.get(ticket.input)
            return _Missing(DocumentCode.UNKNOWN_LINK) if point is None else guarded(unit.process, point, tied)
        state = self._states.get(ticket.input)
        if state is None:
            return _Missing(DocumentCode.UNKNOWN_LINK)
        points: list[DataPoint] = []
        if not self._without_points:
            points = [self._points[id_] for id_ in state.dps if id_ in self._points]
            if len(points) < len(state.dps):
                return _Missing(DocumentCode.MISSING_INFO)
            points.sort(key=lambda point: (point.jd, point.id))
        if isinstance(unit, LightCurveUnit):
            return guarded(self._on_light_curve, unit, state, points, tied)
        if isinstance(unit, StateUnit):
            return guarded(unit.process, state, points, tied)
        raise TypeError(f"{type(unit).__name__} is of no kind that T2 knows")

    def _on_light_curve(self, unit: LightCurveUnit, state: State, points: Sequence[DataPoint], tied: Tied) -> Any:
        return unit.process(self._instrument.light_curve(state.stock, points), tied)


def _compute(inputs: _Inputs, ticket: Ticket, tied: Tied) -> Outcome:
    start = perf_counter()
    answer = inputs.process(ticket, tied)
    duration_s = round(perf_counter() - start, 6)
    if isinstance(answer, _Missing):
        return _failed(ticket, answer.code, f"{type(inputs.unit).__name__}: its input is not there")
    if isinstance(answer, Failure):
        error = {"message": answer.message, "traceback": answer.traceback}
        return _failed(ticket, DocumentCode.EXCEPTION, error, duration_s)
    try:
        found = checked(answer)
    except TypeError as wrong:
        return _failed(ticket, DocumentCode.ERROR, f"{type(inputs.unit).__name__}: {wrong}", duration_s)
    changed = digest(found.code, found.body)
    return Outcome(ticket, found.code, found.body, changed, None, found.tags, found.note, duration_s)


def _failed(ticket: Ticket, code: DocumentCode, error: str | Mapping[str, str], duration_s: float = 0.0) -> Outcome:
    details = {"message": error} if isinstance(error, str) else error
    return Outcome(ticket, code.value, None, digest(code.value, None), details, (), None, duration_s)


def status(survey: SurveyStore, products: Sequence[Product]) -> dict[str, Counter[int]]:
    """Number of documents by product and code."""
    found = survey.tickets.count_by_code()
    return {product.name: Counter(found.get(product.id, {})) for product in products}
