"""T3: the objects of a channel and night as the channel may see them.

Rights are enforced here and in the queries: a view holds only what carries the channel's name.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby, islice
from math import isfinite, nan
from operator import attrgetter
from typing import Any

from ampel_dagster.instruments.base import Instrument
from ampel_dagster.model.alert import place_name
from ampel_dagster.model.datapoint import DataPoint
from ampel_dagster.model.ids import hash_ints
from ampel_dagster.model.light_curve import LightCurve
from ampel_dagster.model.result import T2Result
from ampel_dagster.model.stock import State, Stock
from ampel_dagster.model.view import PastState, TransientView
from ampel_dagster.pipeline.states import states_of_stock
from ampel_dagster.pipeline.write_ahead import rare_collection
from ampel_dagster.storage.ledger import AlertRecord
from ampel_dagster.storage.store import SurveyStore
from ampel_dagster.units.base import PointUnit
from ampel_dagster.units.bound import ChannelRules, Product, in_order

#: Objects that are loaded together, with one query a collection.
CHUNK = 500
_BY_TIME = attrgetter("jd", "id")
#: Of the results of several versions only what says where they came from.
_ELEMENT = {"body.version": 1, "body.code": 1, "body.meta": 1}


def load_views(
    survey: SurveyStore,
    instrument: Instrument,
    rules: ChannelRules,
    night: str,
    stocks: frozenset[int] | None = None,
) -> Iterator[TransientView]:
    """Views of the stocks of which the channel accepted an alert in this night, in order of their id."""
    loader = ViewLoader(survey, instrument, rules, night)
    for chunk in alert_chunks(survey, rules, night, stocks):
        yield from loader.load(chunk)


def alert_chunks(
    survey: SurveyStore, rules: ChannelRules, night: str, only: frozenset[int] | None = None
) -> Iterator[list[list[AlertRecord]]]:
    """The channel's alerts of a night by stock, in chunks."""
    records = survey.ledger.accepted([rules.channel], [night])
    grouped = (list(alerts) for _, alerts in groupby(records, key=lambda alert: alert.stock))
    wanted = (alerts for alerts in grouped if only is None or alerts[-1].stock in only)
    while chunk := list(islice(wanted, CHUNK)):
        yield chunk


def view_of_stock(
    survey: SurveyStore, instrument: Instrument, rules: ChannelRules, stock: int, link: int | None = None
) -> TransientView | None:
    """One object as the channel saw it last, or in one of its states; None where the channel has no such thing."""
    own = survey.ledger.of_channel(stock, rules.channel)
    if link is None:
        ending = [alert for alert in own if rules.view in alert.state]
    else:
        # An alert may have got a newer state since; it is asked what it was.
        lines = states_of_stock(survey, stock, rules.channel)
        led = {id_ for state in lines if state.link == link for id_ in state.alerts}
        ending = [alert._replace(state={**alert.state, rules.view: link}) for alert in own if alert.id in led]
    if not ending:
        return None
    last = ending[-1]
    before = [alert for alert in own if alert.night == last.night and (alert.jd, alert.id) < (last.jd, last.id)]
    return next(iter(ViewLoader(survey, instrument, rules, last.night).load([[*before, last]])), None)


class ViewLoader:
    """Loads what a channel may see of objects; every query is restricted to the channel."""

    def __init__(self, survey: SurveyStore, instrument: Instrument, rules: ChannelRules, night: str) -> None:
        self._survey = survey
        self._instrument = instrument
        self._rules = rules
        self._night = night
        products = [product for request in rules.requests for product in in_order(request.product)]
        self._products = {product.id: product for product in products}

    def load(self, chunk: Sequence[Sequence[AlertRecord]]) -> list[TransientView]:
        """Views of some stocks, with one query a collection."""
        with rare_collection():
            return list(self._load(chunk))

    def _load(self, chunk: Sequence[Sequence[AlertRecord]]) -> Iterator[TransientView]:
        channel, view = self._rules.channel, self._rules.view
        sources = self._sources([alert.id for alerts in chunk for alert in alerts])
        own = [[alert for alert in alerts if alert.id in sources] for alerts in chunk]
        with_state = [alerts for alerts in own if alerts and view in alerts[-1].state]
        links = [alerts[-1].state[view] for alerts in with_state]
        ids = [alerts[-1].stock for alerts in with_state]
        states = self._survey.states.load(links, channel)
        history = self._survey.states.of_stocks(ids, channel)
        stocks = self._survey.stocks.load(ids, channel)
        values = self._values(links)
        points = self._points(states.values())
        results = self._results(states, points)
        for alerts in with_state:
            last = alerts[-1]
            state, stock = states.get(last.state[view]), stocks.get(last.stock)
            if state is not None and stock is not None and state.stock == stock.id:
                past = [(jd, link) for jd, link in history.get(stock.id, ()) if jd <= last.jd]
                seen = self._view(alerts, state, stock, points[state.link], past, results, sources[last.id])
                yield replace(seen, t1=values.get(state.link, {})) if values else seen

    def _values(self, links: Sequence[int]) -> dict[int, dict[str, Mapping[str, Any]]]:
        """Values of states by the channel's names for them."""
        names = {value.key: value.name for value in self._rules.values}
        if not names:
            return {}
        found = self._survey.states.values(links, self._rules.channel, list(names))
        return {link: {names[key]: body for key, body in values.items()} for link, values in found.items()}

    def _points(self, states: Collection[State]) -> dict[int, tuple[DataPoint, ...]]:
        """Points by state, oldest first."""
        dps = {id_ for state in states for id_ in state.dps}
        loaded = self._survey.points.of_stocks(dps, {state.stock for state in states}, self._rules.channel)
        return {
            state.link: tuple(sorted((loaded[i] for i in state.dps if i in loaded), key=_BY_TIME)) for state in states
        }

    def _view(
        self,
        alerts: Sequence[AlertRecord],
        state: State,
        stock: Stock,
        points: tuple[DataPoint, ...],
        past: Sequence[tuple[float, int]],
        results: Mapping[int, T2Result],
        source: Mapping[str, Any],
    ) -> TransientView:
        found = {}
        for product in self._products.values():
            for id_ in reversed(self._result_ids(product, state, points)):
                if id_ in results:
                    found[product.name] = results[id_]
                    break
        # The stock's own may come from a point of another channel, or from later.
        ra_deg, dec_deg = newest_position(self._instrument, points, (stock.ra_deg, stock.dec_deg))
        return TransientView(
            survey=self._survey.survey,
            channel=self._rules.channel,
            night=self._night,
            stock=stock.id,
            name=stock.name,
            tag=stock.tag,
            ra_deg=ra_deg,
            dec_deg=dec_deg,
            alerts=tuple(alert.id for alert in alerts),
            source=place_name(source["source"]),
            offset=source["source"]["offset"],
            run=source["meta"]["run"],
            link=state.link,
            points=points,
            states=tuple(link for _, link in past),
            first_jd=past[0][0] if past else nan,
            jd=alerts[-1].jd,
            is_new=bool(past) and past[0][0] >= alerts[0].jd,
            t2=found,
            build_light_curve=self._light_curve,
            read_cutouts=self._stamps_of({alert.id for alert in alerts}),
            read_history=self._history,
        )

    def _stamps_of(self, mine: Collection[int]) -> Callable[[int], Mapping[str, bytes]]:
        """A reader of the stamps of these alerts and no others."""
        load = self._survey.cutouts.load
        return lambda alert: load(alert) if alert in mine else {}

    def _light_curve(self, view: TransientView) -> LightCurve:
        return self._instrument.light_curve(view.stock, view.points)

    def _history(self, view: TransientView) -> list[PastState]:
        found = states_of_stock(self._survey, view.stock, self._rules.channel)
        return [PastState(s.link, s.jd, s.night, s.n_points, s.alerts) for s in found if s.link in view.states]

    def _sources(self, alerts: Sequence[int]) -> dict[int, dict[str, Any]]:
        """Where the alerts among these were read that the channel accepted, by id."""
        query = {"_id": {"$in": list(alerts)}, "channel": self._rules.channel}
        return {d["_id"]: d for d in self._survey.ledger.alert.find(query, {"source": 1, "meta.run": 1})}

    def _result_ids(self, product: Product, state: State, points: Sequence[DataPoint]) -> list[int]:
        """Ids of the documents that a product may have for a state; of points the newest comes last."""
        if product.of_state:
            return [hash_ints(product.id, state.link)]
        if product.of_stock:
            return [hash_ints(product.id, state.stock)]
        kinds = product.unit.kinds if isinstance(product.unit, PointUnit) else ()
        return [hash_ints(product.id, point.id) for point in points if point.kind in kinds]

    def _results(self, states: Mapping[int, State], points: Mapping[int, Sequence[DataPoint]]) -> dict[int, T2Result]:
        ids: list[int] = []
        for state in states.values():
            for product in self._products.values():
                ids += self._result_ids(product, state, points[state.link])
        channel = self._rules.channel
        fields = {"product": 1, "unit": 1, "version": 1, "code": 1, "result": 1, "input": 1}
        return {
            id_: _result(d, self._products[d["product_id"]].name)
            for id_, d in self._survey.results.by_id(ids, {**fields, "product_id": 1, **_ELEMENT}, channel).items()
            if d.get("result") is not None
        }


def newest_position(
    instrument: Instrument, points: Sequence[DataPoint], otherwise: tuple[float, float]
) -> tuple[float, float]:
    """(ra, dec) in degrees of the newest detection among points that are sorted by time."""
    for point in reversed(points):
        ra_deg, dec_deg = instrument.position(point.body) if point.kind == "detection" else (nan, nan)
        if isfinite(ra_deg) and isfinite(dec_deg):
            return ra_deg, dec_deg
    return otherwise


def _result(d: Mapping[str, Any], product: str) -> T2Result:
    """The newest valid result: of a document whose last attempt failed, the one before."""
    element = d["body"][-1]
    for candidate in d["body"]:
        if candidate["version"] == d["version"]:
            element = candidate
    meta = element["meta"]
    return T2Result(
        product=product,
        unit=d["unit"],
        version=d["version"],
        code=element["code"],
        body=d["result"],
        id=d["_id"],
        input=d["input"],
        run=meta["run"],
        config=meta["config"],
        ts=meta["ts"],
    )
