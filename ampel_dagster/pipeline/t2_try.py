"""Run a T2 unit on what is stored, and write nothing."""

import tracemalloc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any

from ampel_dagster.instruments.base import Instrument
from ampel_dagster.model.codes import DocumentCode
from ampel_dagster.model.errors import UserError
from ampel_dagster.model.ids import hash_ints
from ampel_dagster.model.run import utc_now
from ampel_dagster.model.ticket import Ticket
from ampel_dagster.pipeline.guard import Failure, guarded
from ampel_dagster.pipeline.t2_inputs import Dependencies, Inputs, Missing, call
from ampel_dagster.pipeline.t2_values import checked
from ampel_dagster.storage.store import SurveyStore
from ampel_dagster.units.base import PointUnit
from ampel_dagster.units.bound import Product

_MB = 1 << 20


@dataclass(frozen=True)
class Trial:
    """What a unit made of one input."""

    #: Link of the state, id of the datapoint, or the stock.
    input: int
    code: int
    body: Mapping[str, Any] | None
    #: Message and traceback, where it failed.
    error: Failure | None
    duration_s: float
    #: Most memory that the unit's Python objects took at once.
    peak_mb: float


def try_product(
    survey: SurveyStore, instrument: Instrument, product: Product, stock: int, state: int | None = None
) -> list[Trial]:
    """Compute a product on a state of a stock (none: the newest), on its datapoints, or on the stock itself.

    Tied results are those that are stored. Raises UserError where there is no such state, or no such result yet.
    """
    product = replace(product, unit=product.unit.bind(survey.catalogs))
    tickets = _tickets(survey, product, stock, state)
    tied = Dependencies(survey, product, tickets)
    inputs = Inputs(survey, instrument, product, tickets)
    trials = []
    for ticket in tickets:
        found = tied.of(ticket)
        if isinstance(found, DocumentCode):
            names = ", ".join(required.name for required in product.requires) or ", ".join(product.unit.requires)
            raise UserError(f"there is no result of {names} for this input ({found.name}): compute it first")
        trials.append(_try(inputs, ticket, found))
    return trials


def _tickets(survey: SurveyStore, product: Product, stock: int, state: int | None) -> list[Ticket]:
    if product.of_stock:
        return [_ticket(product, stock, stock)]
    documents = survey.states.of_stock(stock)
    chosen = [d for d in documents if state is None or d["_id"] == state][-1:]
    if not chosen:
        links = ", ".join(str(d["_id"]) for d in documents) or "none"
        raise UserError(f"the object has no such state; there are: {links}")
    if product.of_state:
        return [_ticket(product, stock, chosen[0]["_id"])]
    unit, points = product.unit, survey.points.rows_by_id(chosen[0]["dps"])
    kinds = unit.kinds if isinstance(unit, PointUnit) else ()
    ids = [row.id for row in sorted(points, key=lambda row: (row.jd, row.id)) if row.kind in kinds]
    eligible = unit.eligible if isinstance(unit, PointUnit) else "all"
    return [_ticket(product, stock, id_) for id_ in {"first": ids[:1], "last": ids[-1:], "all": ids}[eligible]]


def _ticket(product: Product, stock: int, input_: int) -> Ticket:
    """A ticket that nobody has written."""
    id_ = hash_ints(product.id, input_)
    return Ticket(id_, stock, input_, 0, (), (), 1, (), 0, 0, utc_now(), {})


def _try(inputs: Inputs, ticket: Ticket, tied: Mapping[str, Any]) -> Trial:
    arguments = inputs.of(ticket)
    if isinstance(arguments, Missing):
        raise UserError(f"what it is computed on is not all there ({arguments.code.name})")
    if isinstance(arguments, Failure):
        return Trial(ticket.input, arguments.code.value, None, arguments, 0.0, 0.0)
    begin = perf_counter()
    answer = guarded(call, inputs.unit, arguments, tied)
    duration_s = perf_counter() - begin
    # Apart from the time: looking at each allocation takes longer than most units.
    tracemalloc.start()
    guarded(call, inputs.unit, arguments, tied)
    peak_mb = tracemalloc.get_traced_memory()[1] / _MB
    tracemalloc.stop()
    if isinstance(answer, Failure):
        return Trial(ticket.input, answer.code.value, None, answer, duration_s, peak_mb)
    try:
        found = checked(answer)
    except TypeError as wrong:
        failure = Failure(str(wrong), "", DocumentCode.ERROR)
        return Trial(ticket.input, failure.code.value, None, failure, duration_s, peak_mb)
    return Trial(ticket.input, found.code, found.body, None, duration_s, peak_mb)


def tied_products(unit_names: Sequence[str], products: Sequence[Product]) -> tuple[Product, ...]:
    """For each unit that is required, the product of it. Raises UserError where there is none, or more than one."""
    chosen = []
    for name in unit_names:
        there = [product for product in products if type(product.unit).__name__ == name]
        if len(there) != 1:
            told = ", ".join(product.name for product in there) or "none"
            raise UserError(f"it builds upon {name}, of which the products are: {told}; try a product that says which")
        chosen += there
    return tuple(chosen)
