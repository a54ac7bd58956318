"""T3: which of a channel's objects a process is about, and their views, chunk by chunk."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple, overload

from ampel_dagster.instruments.base import Instrument
from ampel_dagster.model.cut import Cut
from ampel_dagster.model.errors import StorageError
from ampel_dagster.model.view import TransientView
from ampel_dagster.pipeline.t3_views import CHUNK, ViewLoader, alert_chunks, load_views, newest_position
from ampel_dagster.storage.ledger import AlertRecord
from ampel_dagster.storage.store import SurveyStore
from ampel_dagster.units.bound import ChannelRules, Process, Show, Stage, in_order

#: Views that stay in memory from choosing to reacting; the others are loaded again, chunk by chunk.
_KEPT = CHUNK


class Chosen(NamedTuple):
    """An object that was selected: what is needed to load its view again as it was."""

    stock: int
    name: str
    link: int
    alerts: tuple[AlertRecord, ...]


#: What is done to a view before a unit gets it.
Change = Callable[[TransientView], TransientView]


class Views(Sequence[TransientView]):
    """Selected objects; their views are loaded as one goes through them, a chunk at a time."""

    def __init__(
        self,
        loader: ViewLoader,
        chosen: Sequence[Chosen],
        kept: Mapping[int, TransientView],
        change: Change = lambda view: view,
    ) -> None:
        self.chosen = chosen
        self._loader = loader
        self._kept = kept
        self._change = change
        self._chunk: tuple[int, list[TransientView]] = (-1, [])

    def __len__(self) -> int:
        return len(self.chosen)

    @overload
    def __getitem__(self, index: int) -> TransientView: ...
    @overload
    def __getitem__(self, index: slice) -> "Views": ...
    def __getitem__(self, index: int | slice) -> "TransientView | Views":
        if isinstance(index, slice):
            return self._with(self.chosen[index])
        place = range(len(self))[index]
        if self._chunk[0] != place // CHUNK:
            begin = place // CHUNK * CHUNK
            self._chunk = (place // CHUNK, self._load(self.chosen[begin : begin + CHUNK]))
        return self._chunk[1][place % CHUNK]

    def __iter__(self) -> Iterator[TransientView]:
        for begin in range(0, len(self), CHUNK):
            yield from self._load(self.chosen[begin : begin + CHUNK])

    def of(self, stocks: Collection[int]) -> "Views":
        """Those of these stocks."""
        return self._with([entry for entry in self.chosen if entry.stock in stocks])

    def stage(self, stage: Stage, instrument: Instrument) -> "Views":
        """What a stage gets to see: those for which its conditions hold, restricted to what it is shown."""
        mine, show = self, stage.show
        if stage.where:
            mine = self.of({view.stock for view in self if all(condition.holds(view) for condition in stage.where)})
        if show is None:
            return mine
        shown = Views(self._loader, mine.chosen, self._kept, lambda view: restricted(view, show, instrument))
        # Of whom nothing may be shown, nothing is told.
        return shown if show.access is None else shown.of({view.stock for view in shown if view.points})

    def _with(self, chosen: Sequence[Chosen]) -> "Views":
        return Views(self._loader, chosen, self._kept, self._change)

    def _load(self, part: Sequence[Chosen]) -> list[TransientView]:
        missing = [entry.alerts for entry in part if entry.stock not in self._kept]
        loaded = {view.stock: view for view in self._loader.load(missing)} if missing else {}
        if len(loaded) < len(missing):
            raise StorageError("objects that were selected a moment ago are gone; run it again")
        return [self._change(loaded.get(e.stock) or self._kept[e.stock]) for e in part]


def restricted(view: TransientView, show: Show, instrument: Instrument) -> TransientView:
    """A view without what is not to be shown; its position is that of the newest detection that is left."""
    points = tuple(
        point
        for point in view.points
        if (show.points is None or point.kind in show.points)
        and (show.access is None or instrument.covers(show.access, point.tag))
    )
    results = {name: result for name, result in view.t2.items() if show.t2 is None or name in show.t2}
    ra_deg, dec_deg = newest_position(instrument, points, (view.ra_deg, view.dec_deg))
    # The numbers of points of the states count what is not shown.
    return replace(view, points=points, t2=results, ra_deg=ra_deg, dec_deg=dec_deg, read_history=lambda _: ())


@dataclass
class Selection:
    """What a process found for a channel and night."""

    views: Views
    #: Stocks with an alert that the channel accepted in the night.
    seen: int = 0
    #: Stocks that still wait for a result.
    deferred: set[int] = field(default_factory=set)


def select(
    survey: SurveyStore,
    instrument: Instrument,
    process: Process,
    rules: ChannelRules,
    night: str,
    only: frozenset[int] | None = None,
) -> Selection:
    """What a process selects of a channel's night; `only` restricts it to some stocks."""
    loader = ViewLoader(survey, instrument, rules, night)
    found, kept, chosen = Selection(Views(loader, (), {})), dict[int, TransientView](), []
    products = [p.id for request in rules.requests for p in in_order(request.product)]
    for chunk in alert_chunks(survey, rules, night, only):
        ids = [alerts[-1].stock for alerts in chunk]
        # Asked before the results are read: one that is ready by now is in the view. Also of those that are not
        # selected: the result that would select them may be the one that is still to come.
        found.deferred |= survey.tickets.stocks_with_open(ids, rules.channel, products)
        for alerts, view, there in with_company(survey, process, loader, chunk):
            found.seen += 1
            if process.select.holds(view, there, process.inside):
                chosen.append((process.select.sort_key(view), Chosen(view.stock, view.name, view.link, tuple(alerts))))
                if len(kept) < _KEPT:
                    kept[view.stock] = view
    if process.select.order:
        chosen.sort(key=lambda entry: (entry[0], entry[1].stock))
    found.views = Views(loader, [entry for _, entry in chosen[: process.select.limit]], kept)
    return found


def judge(
    survey: SurveyStore,
    instrument: Instrument,
    process: Process,
    rules: ChannelRules,
    night: str,
    only: frozenset[int] | None = None,
) -> Iterator[tuple[TransientView, list[Cut]]]:
    """Every object of a channel's night with what each condition makes of it."""
    loader = ViewLoader(survey, instrument, rules, night)
    for chunk in alert_chunks(survey, rules, night, only):
        for _, view, there in with_company(survey, process, loader, chunk):
            yield view, list(process.select.judge(view, there, process.inside))


def latest_views(
    survey: SurveyStore,
    instrument: Instrument,
    rules: ChannelRules,
    nights: Sequence[str],
    process: Process | None = None,
) -> Iterator[TransientView]:
    """One view an object, of the last of these nights in which the channel accepted an alert of it, newest first.

    With a process those that it selects.
    """
    seen: set[int] = set()
    for night in sorted(nights, reverse=True):
        if process is not None:
            views: Iterable[TransientView] = select(survey, instrument, process, rules, night).views
        else:
            views = load_views(survey, instrument, rules, night)
        for view in views:
            if view.stock not in seen:
                seen.add(view.stock)
                yield view


def with_company(
    survey: SurveyStore, process: Process, loader: ViewLoader, chunk: Sequence[Sequence[AlertRecord]]
) -> Iterator[tuple[Sequence[AlertRecord], TransientView, frozenset[str]]]:
    """Alerts, view, and those of the channels that the process asks about that had taken the object by then."""
    names = process.select.channels.names
    stocks = [alerts[-1].stock for alerts in chunk]
    first = survey.ledger.first_accepted(stocks, names) if names else {}
    by_stock = {alerts[-1].stock: alerts for alerts in chunk}
    for view in loader.load(chunk):
        alerts = by_stock[view.stock]
        then = (alerts[-1].jd, alerts[-1].id)
        yield alerts, view, frozenset(name for name in names if first.get((view.stock, name), (then[0] + 1, 0)) <= then)
