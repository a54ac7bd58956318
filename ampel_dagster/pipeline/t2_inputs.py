"""T2: what a batch of tickets is computed on, loaded in one query each."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import chain, islice
from typing import Any, NamedTuple

from ampel_dagster.instruments.base import Instrument
from ampel_dagster.model.codes import DocumentCode
from ampel_dagster.model.datapoint import DataPoint
from ampel_dagster.model.ids import hash_ints
from ampel_dagster.model.light_curve import LightCurve
from ampel_dagster.model.stock import State, Stock
from ampel_dagster.model.ticket import Ticket
from ampel_dagster.pipeline.guard import Failure, guarded
from ampel_dagster.storage.store import SurveyStore
from ampel_dagster.units.base import LightCurveUnit, PointUnit, StateUnit, StockUnit, Tied
from ampel_dagster.units.bound import Product


class Dependencies:
    """Results that the tickets of a tied unit build upon, loaded in one query."""

    def __init__(self, survey: SurveyStore, product: Product, batch: Sequence[Ticket]) -> None:
        self._required = product.requires
        units = Counter(type(required.unit).__name__ for required in product.requires)
        self._alone = {name for name, n in units.items() if n == 1}
        ids = list({self._id(required, ticket) for required in product.requires for ticket in batch})
        # In this order: a ticket that becomes a result between the two is seen.
        self._open = survey.tickets.by_id(ids, {"_id": 1}) if ids else {}
        self._found = survey.results.by_id(ids, {"code": 1, "result": 1})

    def of(self, ticket: Ticket) -> dict[str, Mapping[str, Any]] | DocumentCode:
        """Bodies by product and unit, or the code that says why they are not there."""
        bodies: dict[str, Mapping[str, Any]] = {}
        for required in self._required:
            id_ = self._id(required, ticket)
            if id_ in self._open:
                return DocumentCode.PENDING_DEPENDENCY
            document = self._found.get(id_)
            if document is None:
                return DocumentCode.MISSING_DEPENDENCY
            if document["code"] < 0:
                return DocumentCode.FAILED_DEPENDENCY
            bodies[required.name] = document["result"]
            if type(required.unit).__name__ in self._alone:
                bodies[type(required.unit).__name__] = document["result"]
        return bodies

    def are_there(self, ticket: Ticket) -> bool:
        """Whether the ticket can be computed."""
        return not self._required or isinstance(self.of(ticket), dict)

    @staticmethod
    def _id(required: Product, ticket: Ticket) -> int:
        return hash_ints(required.id, ticket.stock if required.of_stock else ticket.input)


#: Light curves that are made at once: what is looked at stays in the processor's cache.
_TOGETHER = 50


class Missing(NamedTuple):
    """What a ticket is computed on is not there."""

    code: DocumentCode


#: One input, and what else the unit is called with, but for the tied results.
Arguments = tuple[Any, ...]


class Recent:
    """Light curves that were made a moment ago, for the next product that is computed on the same states."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._curves: dict[int, LightCurve] = {}

    def of(self, links: Sequence[int]) -> dict[int, LightCurve]:
        """Those that are there."""
        return {link: self._curves[link] for link in links if link in self._curves}

    def keep(self, curves: Mapping[int, LightCurve]) -> None:
        """Keep these, and forget the oldest."""
        self._curves |= curves
        for link in list(islice(self._curves, max(0, len(self._curves) - self._size))):
            del self._curves[link]


class Inputs:
    """What the tickets of one batch are computed on."""

    def __init__(
        self,
        survey: SurveyStore,
        instrument: Instrument,
        product: Product,
        batch: Sequence[Ticket],
        recent: Recent | None = None,
    ) -> None:
        self.unit = product.unit
        self._instrument = instrument
        ids = [ticket.input for ticket in batch]
        self._states: dict[int, State] = {}
        self._points: dict[int, DataPoint] = {}
        self._stocks: dict[int, Stock] = {}
        self._curves: dict[int, LightCurve] = {}
        if isinstance(self.unit, StockUnit):
            self._stocks = survey.stocks.load(ids)
        elif isinstance(self.unit, PointUnit):
            self._points = survey.points.load(ids, self.unit.needs)
        elif isinstance(self.unit, StateUnit):
            self._states = survey.states.load(ids)
            if self.unit.needs != ():
                needs = self.unit.needs
                self._points = (
                    self._whole_points(survey) if needs is None else survey.points.load(self._all_points(), needs)
                )
        else:
            self._curves = recent.of(ids) if recent else {}
            self._states = survey.states.load([id_ for id_ in ids if id_ not in self._curves])
            self._points = self._whole_points(survey)
            made = self._make_curves()
            self._curves |= made
            if recent:
                recent.keep(made)
        self._get = self._getter()

    def of(self, ticket: Ticket) -> Arguments | Missing | Failure:
        """What the unit is called with for a ticket, but for the tied results."""
        return self._get(ticket)

    def _getter(self) -> Callable[[Ticket], Arguments | Missing | Failure]:
        unit = self.unit
        if isinstance(unit, StockUnit):
            return lambda ticket: _there(self._stocks.get(ticket.input))
        if isinstance(unit, PointUnit):
            return lambda ticket: _there(self._points.get(ticket.input))
        if isinstance(unit, StateUnit) and unit.needs == ():
            return self._state
        if isinstance(unit, StateUnit):
            return self._state_points
        if isinstance(unit, LightCurveUnit):
            return self._light_curve
        raise TypeError(f"{type(unit).__name__} is of no kind that T2 knows")

    def _whole_points(self, survey: SurveyStore) -> dict[int, DataPoint]:
        return survey.points.of_stocks(self._all_points(), {state.stock for state in self._states.values()})

    def _all_points(self) -> set[int]:
        return set(chain.from_iterable(state.dps for state in self._states.values()))

    def _make_curves(self) -> dict[int, LightCurve]:
        """Light curves of the states whose points are all there; not of those made together with a bad one."""
        points = self._points
        curves: dict[int, LightCurve] = {}
        whole = iter(state for state in self._states.values() if all(id_ in points for id_ in state.dps))
        while some := list(islice(whole, _TOGETHER)):
            made = guarded(
                self._instrument.light_curves, [(state.stock, [points[id_] for id_ in state.dps]) for state in some]
            )
            if not isinstance(made, Failure):
                curves |= {state.link: curve for state, curve in zip(some, made, strict=True)}
        return curves

    def _state(self, ticket: Ticket) -> Arguments | Missing | Failure:
        state = self._states.get(ticket.input)
        return Missing(DocumentCode.UNKNOWN_LINK) if state is None else (state, [])

    def _state_points(self, ticket: Ticket) -> Arguments | Missing | Failure:
        state = self._states.get(ticket.input)
        if state is None:
            return Missing(DocumentCode.UNKNOWN_LINK)
        try:
            points = [self._points[id_] for id_ in state.dps]
        except KeyError:
            return Missing(DocumentCode.MISSING_INFO)
        points.sort(key=lambda point: (point.jd, point.id))
        return state, points

    def _light_curve(self, ticket: Ticket) -> Arguments | Missing | Failure:
        curve = self._curves.get(ticket.input)
        if curve is not None:
            return (curve,)
        found = self._state_points(ticket)
        if isinstance(found, Missing | Failure):
            return found
        state, points = found
        # One of the batch is bad, and this may be it.
        alone = guarded(self._instrument.light_curve, state.stock, points)
        return alone if isinstance(alone, Failure) else (alone,)


def call(unit: Any, arguments: Arguments, tied: Tied) -> Any:
    """What a unit of whatever kind returns."""
    return unit.process(*arguments, tied)


def _there(found: Stock | DataPoint | None) -> Arguments | Missing | Failure:
    return Missing(DocumentCode.UNKNOWN_LINK) if found is None else (found,)
