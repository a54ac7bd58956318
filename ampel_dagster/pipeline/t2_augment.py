"""T2: take tickets in batches, load what their units need in bulk, compute, and write the results in bulk."""

from collections import Counter
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from ampel_dagster.instruments.base import Instrument
from ampel_dagster.model.codes import DocumentCode
from ampel_dagster.model.ids import hash_ints, hash_json
from ampel_dagster.model.run import RunInfo, utc_now
from ampel_dagster.model.ticket import Outcome, Postponed, Ticket
from ampel_dagster.pipeline.ahead import one_ahead
from ampel_dagster.pipeline.t2_compute import compute, failed, missing_dependency
from ampel_dagster.pipeline.t2_inputs import Dependencies, Inputs, Recent
from ampel_dagster.pipeline.t2_isolated import Pool, isolated
from ampel_dagster.pipeline.t2_lease import Leases, kept
from ampel_dagster.pipeline.tally import Tally
from ampel_dagster.storage.figures import t2_codes
from ampel_dagster.storage.store import Store, SurveyStore
from ampel_dagster.units.base import Tied
from ampel_dagster.units.bound import Product


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
    lease_s: float = 120.0
    #: Seconds after which a worker that has not finished a batch is taken for stuck.
    stuck_s: float = 3600.0
    #: All products of the survey, of which those that build upon results are woken; none: `products`.
    known: Sequence[Product] = ()
    #: Name of this worker among those of the run; who has it after another takes over what that one held.
    worker: str = ""

    @property
    def survey(self) -> SurveyStore:
        """Collections of the survey."""
        return self.store.survey(self.instrument.survey)


class Results(NamedTuple):
    """A batch of tickets that were worked on."""

    product: Product
    outcomes: list[Outcome]
    #: Tickets to give back until their dependencies are there.
    waiting: list[Ticket]
    #: Tickets to take up later.
    postponed: list[Postponed]


def augment(augmentation: Augmentation) -> Iterator[Results]:
    """Work on all tickets there are; products that build upon others come when those are written.

    Products that don't depend on each other take turns, batch by batch, so that what was loaded for one serves the
    next. Results may be written one behind: what is yielded is written when the next but one is asked for.
    """
    if augmentation.worker:
        augmentation.survey.tickets.leave(augmentation.run.run, augmentation.worker)
    leases = Leases(augmentation.survey.tickets, augmentation.lease_s, augmentation.stuck_s)
    under_way = False
    catalogs = augmentation.store.catalogs
    bound = [replace(product, unit=product.unit.bind(catalogs)) for product in augmentation.products]
    with kept(leases, augmentation.lease_s), ExitStack() as pools:
        for products in levels(bound):
            if under_way:
                yield Results(products[0], [], [], [])  # nothing; when it has been taken, all before it is written
            # Who wakes those that wait for a result may have died before it came to that.
            augmentation.survey.tickets.wake({"product_id": {"$in": [product.id for product in products]}})
            pool = {
                product.id: pools.enter_context(isolated(product.unit, product.limits))
                for product in products
                if product.limits.isolate
            }
            fresh = one_ahead(_loaded(augmentation, products, leases, {"attempts": 0}))
            with closing(fresh):
                for load in fresh:
                    yield _work(load, pool.get(load.product.id))
                    under_way = True
            # Somebody may have died of one of those that are left: nothing else is in our hands meanwhile.
            for load in _loaded(augmentation, products, leases, {"attempts": {"$gt": 0}}):
                yield Results(load.product, [], [], [])
                yield _work(load, pool.get(load.product.id))
                under_way = True


class Load(NamedTuple):
    """A batch of tickets with all that they are computed on."""

    product: Product
    batch: list[Ticket]
    dependencies: Dependencies
    inputs: Inputs


def levels(products: Sequence[Product]) -> list[list[Product]]:
    """Products in groups: those of a group build at most upon those of earlier groups."""
    depth: dict[int, int] = {}

    def of(product: Product) -> int:
        if product.id not in depth:
            depth[product.id] = 1 + max((of(required) for required in product.requires), default=-1)
        return depth[product.id]

    found: dict[int, list[Product]] = {}
    for product in products:
        found.setdefault(of(product), []).append(product)
    return [found[key] for key in sorted(found)]


def _loaded(
    augmentation: Augmentation, products: Sequence[Product], leases: Leases, which: Mapping[str, Any]
) -> Generator[Load]:
    """Batches of these products, in turn, until there is no ticket left of those that are wanted."""
    survey, run = augmentation.survey, augmentation.run.run
    recent, left = Recent(augmentation.size), list(products)
    while left:
        for product in tuple(left):
            size = product.limits.batch or augmentation.size
            where = {**augmentation.where, **which}
            claim = (product.id, run, size, augmentation.lease_s, where, augmentation.worker)
            batch = augmentation.store.steadily(lambda _, claim=claim: survey.tickets.claim(*claim))  # type: ignore[misc]
            if not batch:
                left.remove(product)
                continue
            leases.hold(batch)
            yield augmentation.store.patiently(
                lambda product=product, batch=batch: _load(augmentation, product, batch, recent)  # type: ignore[misc]
            )


def _load(augmentation: Augmentation, product: Product, batch: list[Ticket], recent: Recent) -> Load:
    tied = Dependencies(augmentation.survey, product, batch)
    ready = [ticket for ticket in batch if tied.are_there(ticket)]
    return Load(product, batch, tied, Inputs(augmentation.survey, augmentation.instrument, product, ready, recent))


def write_results(augmentation: Augmentation, results: Results) -> Tally:
    """Write outcomes and journal; tell reactions about stocks whose results are new or changed."""
    product, outcomes = results.product, results.outcomes
    survey, run = augmentation.survey, augmentation.run
    _give_back(survey, results)
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
        why = {id_: f"{unit['unit']}: the database refuses the result ({reason})" for id_, reason in refused.items()}
        outcomes = [
            failed(o.ticket, DocumentCode.ERROR, why[o.ticket.id]) if o.ticket.id in why else o for o in outcomes
        ]
        survey.tickets.finish([o for o in outcomes if o.ticket.id in why], unit, meta)
        tally = _tally(results._replace(outcomes=outcomes))
    augmentation.store.journal.write([_entry(augmentation, product, o, batch_id, meta) for o in outcomes])
    _wake_dependents(augmentation, product, outcomes)
    return tally


def _give_back(survey: SurveyStore, results: Results) -> None:
    """Tickets that were not computed."""
    survey.tickets.postpone(results.postponed)
    if results.waiting:
        survey.tickets.release(results.waiting, DocumentCode.PENDING_DEPENDENCY)
        # Whoever wrote the result meanwhile found nobody waiting.
        now = Dependencies(survey, results.product, results.waiting)
        ready = [t.id for t in results.waiting if now.of(t) != DocumentCode.PENDING_DEPENDENCY]
        if ready:
            survey.tickets.wake({"_id": {"$in": ready}})


def _wake_dependents(augmentation: Augmentation, product: Product, outcomes: Sequence[Outcome]) -> None:
    """Let tickets be taken up that waited for these results, also those of which they once were the failure."""
    above = [p.id for p in augmentation.known or augmentation.products if product in p.requires]
    if above:
        survey, stocks = augmentation.survey, list({o.ticket.stock for o in outcomes})
        survey.tickets.wake({"product_id": {"$in": above}, "stock": {"$in": stocks}})
        mended = list({o.ticket.stock for o in outcomes if o.code >= 0 and o.ticket.document.get("again")})
        if mended:
            failure = {"code": DocumentCode.FAILED_DEPENDENCY.value, "stock": {"$in": mended}}
            survey.tickets.request_rerun({"product_id": {"$in": above}, **failure})


def _tally(results: Results) -> Tally:
    tally = Tally()
    name = results.product.name
    for outcome in results.outcomes:
        ticket = outcome.ticket
        tally.counts["computed" if outcome.code >= 0 else "failed"] += 1
        if outcome.error is not None:
            key = f"product {name}", outcome.error["message"]
            tally.failures[key] += 1
            if outcome.error.get("traceback"):
                tally.tracebacks.setdefault(key, outcome.error["traceback"])
        for channel in ticket.channel:
            if outcome.digest != ticket.digest:
                tally.touch(channel, [ticket.stock])
            for night in ticket.nights:
                tally.partition(channel, night)["computed"] += 1
    tally.counts["waiting"] += len(results.waiting)
    tally.counts["postponed"] += len(results.postponed)
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


def _work(load: Load, pool: Pool | None) -> Results:
    """Compute one batch of tickets of one product."""
    now, product, limits = utc_now(), load.product, load.product.limits
    done: list[Outcome | Postponed] = []
    waiting: list[Ticket] = []
    ready: list[tuple[Ticket, Tied]] = []
    for ticket in load.batch:
        if ticket.attempts > limits.attempts:
            # The attempts before ended without a word: whoever computed it died of it.
            message = f"given up: {limits.attempts} workers died while they had this ticket"
            done.append(failed(ticket, DocumentCode.TOO_MANY_TRIALS, message))
            continue
        found = load.dependencies.of(ticket)
        if isinstance(found, dict):
            ready.append((ticket, found))
        elif found == DocumentCode.PENDING_DEPENDENCY:
            waiting.append(ticket)
        else:
            done.append(missing_dependency(ticket, found, limits, now))
    done += compute(product, load.inputs, ready, pool, now)
    outcomes = [one for one in done if isinstance(one, Outcome)]
    return Results(product, outcomes, waiting, [one for one in done if isinstance(one, Postponed)])


def status(survey: SurveyStore, products: Sequence[Product]) -> dict[str, Counter[int]]:
    """Number of documents by product and code."""
    found = t2_codes(survey, {}, "product_id")
    return {product.name: Counter(found.get(product.id, {})) for product in products}
