"""Write what T0 and T1 make: together, batch by batch (packets), or each alone (assets)."""

from collections.abc import Mapping
from threading import Lock
from typing import Any

from ampel_dagster.instruments.base import Instrument
from ampel_dagster.model.errors import StorageError
from ampel_dagster.model.run import RunInfo, utc_now
from ampel_dagster.pipeline.coverage import Rows, cover, rows_of
from ampel_dagster.pipeline.t0_ingest import Ingestion, Judged, Selection
from ampel_dagster.pipeline.t0_parts import Parts, part
from ampel_dagster.pipeline.t0_points import store_points
from ampel_dagster.pipeline.t0_store import count_selection, store_alerts, store_rest, store_stocks
from ampel_dagster.pipeline.t1_combine import Combination, Combiner, late_alerts
from ampel_dagster.pipeline.t1_settle import mark, settle
from ampel_dagster.pipeline.t1_write import write_combination
from ampel_dagster.pipeline.tally import Tally
from ampel_dagster.pipeline.under_way import Place, UnderWay
from ampel_dagster.pipeline.write_ahead import Passed, nothing
from ampel_dagster.storage.batches import LEDGER_KEYS
from ampel_dagster.storage.ledger import AlertRecord, Outcome
from ampel_dagster.storage.patience import Unbroken
from ampel_dagster.storage.points import PointRow
from ampel_dagster.storage.store import Store


class SelectionWriter:
    """Writes selections of one ingestion, each as one batch: opened, stored, combined, done.

    Two may be under way, in two threads. What comes of it is as if they were written in order: the later one waits
    where both have an object in common, or a point that objects share.
    """

    def __init__(self, ingestion: Ingestion) -> None:
        self._in = ingestion
        self._combiner = Combiner(ingestion.instrument, [*ingestion.rules, *ingestion.neighbours])
        self._began = utc_now()
        self._covered: Rows = {}
        self._told = False
        self._covering = Lock()
        self._under_way = UnderWay()

    def write(self, selection: Selection, passed: Passed = nothing) -> Tally:
        """Write one selection; return what it did. A replay that finds everything known writes nothing at all.

        `passed` is called as soon as another thread may be given the next.
        """
        if selection.has_work:
            with self._under_way.place(*_about(selection)) as place:
                passed()
                tally = self._in.store.steadily(lambda unbroken: self._write(selection, unbroken, place))
        else:
            tally = Tally()
            count_selection(selection, tally)
        with self._covering:
            cover(self._covered, selection.packets)
        return tally

    def finish(self) -> None:
        """Close batches that killed runs left open, where this one has read all of their packets, in whatever cut."""
        ingestion = self._in
        channels = [r.channel for r in ingestion.rules]
        batches = ingestion.store.batches
        batches.take_over(ingestion.survey, self._covered, channels, ingestion.run.run, self._began)

    def _write(self, selection: Selection, unbroken: Unbroken, place: Place) -> Tally:
        tally = Tally()
        count_selection(selection, tally)
        place.wait()
        batches, run = self._in.store.batches, self._in.run
        meta = dict(run.meta(batch=selection.id))
        stocks = sorted({item.alert.stock for item in selection.judged if item.channels})
        channels, holds = [r.channel for r in self._in.rules], rows_of(selection.packets)
        overtaken = batches.open(selection.id, "ingest", self._in.survey, run.mode, meta, stocks, holds, channels)
        self._tell_rules(run.meta())
        accepted = {item.alert.id for item in selection.judged if item.channels}
        outcomes = self._write_accepted(selection, accepted, meta, tally, place) if accepted else {}
        store_alerts(self._in, selection, outcomes, meta, tally)
        store_rest(self._in, selection, meta, tally)
        self._share(selection, meta, tally)
        unbroken()
        while not self._close(selection, tally, overtaken):
            overtaken = self._settle(selection, overtaken, stocks, meta, tally)
        return tally

    def _close(self, selection: Selection, tally: Tally, overtaken: int) -> bool:
        return self._in.store.batches.close(
            selection.id,
            "done" if self._in.with_states else "stored",
            {key: tally.counts[key] for key in LEDGER_KEYS},
            {source: {key: found[key] for key in LEDGER_KEYS} for source, found in tally.sources.items()},
            sorted({item.alert.night for item in selection.judged}),
            {channel: sorted(stocks) for channel, stocks in tally.touched.items()},
            tally.partition_keys,
            [f"{name}|{r.channel}" for r in self._in.rules for name in r.reactions if r.channel in tally.touched],
            [found._asdict() for found in selection.disabled],
            overtaken,
        )

    def _tell_rules(self, meta: Mapping[str, Any]) -> None:
        """Keep what the hashes in verdicts stand for, once a run."""
        if not self._told:
            self._in.store.configs.keep_all({rules.config: rules.description for rules in self._in.rules}, meta)
            self._told = True

    def _settle(
        self, selection: Selection, overtaken: int, stocks: list[int], meta: Mapping[str, Any], tally: Tally
    ) -> int:
        """Another run has brought points to the same stocks meanwhile: look again. Returns how many did so far."""
        times, _ = self._in.store.batches.overtaken([selection.id]).get(selection.id, (overtaken, []))
        if times == overtaken:
            raise StorageError(f"batch {selection.id} vanished while it was written: was the database emptied?")
        survey = self._in.store.survey(self._in.survey)
        if self._in.with_states:
            tally.counts.update(settle(survey, self._combiner, stocks, meta))
        else:
            mark(survey, stocks)  # their states are still to come
        return times

    def _share(self, selection: Selection, meta: Mapping[str, Any], tally: Tally) -> None:
        """Give alerts that a neighbour's run has taken since we looked the states that both share.

        Both write before they look again, so that the later one sees what the other did.
        """
        if not (self._in.with_states and self._in.neighbours):
            return
        survey = self._in.store.survey(self._in.survey)
        mine = {item.alert.id: item for item in selection.judged if item.channels}
        now = survey.ledger.prior(list(mine))
        stocks = {item.alert.stock for id_, item in mine.items() if not now[id_].channel <= _takers(item)}
        if stocks:
            tally.counts.update(settle(survey, self._combiner, sorted(stocks), meta))

    def _write_accepted(
        self, selection: Selection, accepted: set[int], meta: Mapping[str, Any], tally: Tally, place: Place
    ) -> dict[int, Outcome]:
        """Write datapoints, stocks, states and tickets; return what became of the accepted alerts."""
        # Points of batches that were never finished are as new as our own: their states are still to be made.
        unfinished = self._in.store.batches.unfinished()
        parts = part(self._in, selection, unfinished - {selection.id})
        found = _Ahead(self._combiner, parts, unfinished | {selection.id})
        rows = store_points(self._in, parts, meta, tally, found.combine if self._in.with_states else nothing)
        store_stocks(self._in, selection, parts.seen, meta, tally)
        # After points and stocks are there for others to see, and before we look for alerts that they concern.
        stocks = {item.alert.stock for item in selection.judged if item.channels}
        self._in.store.batches.overtake(selection.id, self._in.survey, sorted(stocks))
        place.points_are_there()
        if not self._in.with_states:
            return {}
        made = self._combine(found, parts, rows, selection.id)
        survey = self._in.store.survey(self._in.survey)
        tally.counts.update(write_combination(survey, self._in.instrument, made, meta))
        survey.ledger.set_states({i: outcome for i, outcome in made.outcomes.items() if i not in accepted})
        return {i: outcome for i, outcome in made.outcomes.items() if i in accepted}

    def _combine(self, ahead: "_Ahead", parts: Parts, rows: Mapping[int, PointRow], own: int) -> Combination:
        """States and tickets: of stocks that go the short way, and of the others."""
        found = ahead.of(parts)
        survey = self._in.store.survey(self._in.survey)
        work = [_record(item, ahead.new) for item in parts.others]
        late = late_alerts(survey, work, rows.values(), own) if work else []
        return self._combiner.combine(work, rows.values(), late, found)


class _Ahead:
    """States and tickets of the stocks that go the short way, which the packets alone decide about.

    They are made while the database writes the datapoints, and once more where a stock turns out to be known after all.
    """

    def __init__(self, combiner: Combiner, parts: Parts, new: frozenset[int]) -> None:
        #: Batches whose points have no states yet.
        self.new = new
        self._combiner = combiner
        self._parts = parts
        self._done: tuple[set[int], Combination] | None = None

    def combine(self) -> None:
        """Do it as things are."""
        found, parts = Combination(), self._parts
        for item in parts.fresh.values():
            self._combiner.fresh(found, _record(item, self.new), item.alert.points)
        for grown in parts.grown.values():
            told = grown.judged.alert.points
            self._combiner.grown(found, _record(grown.judged, self.new), grown.states, grown.newer, told)
        self._done = set(parts.fresh) | set(parts.grown), found

    def of(self, parts: Parts) -> Combination:
        """What came of it, for the stocks that are on the short way by now."""
        if self._done is None or self._done[0] != set(parts.fresh) | set(parts.grown):
            self.combine()
        assert self._done is not None
        return self._done[1]


def _about(selection: Selection) -> tuple[set[int], set[int]]:
    """Objects and points that a selection is about."""
    stocks = {item.alert.stock for item in selection.judged}
    return stocks, {point[0] for item in selection.judged if item.channels for point in item.alert.points}


def _takers(item: Judged) -> frozenset[str]:
    """Channels that take the alert, now or before."""
    return frozenset(item.channels) | (item.prior.channel if item.prior else frozenset())


def _record(item: Judged, batches: frozenset[int]) -> AlertRecord:
    alert = item.alert
    # Whoever took it before shares the states that come of it now: an alert has one for all who see the same.
    verdicts = {**(item.prior.verdict if item.prior else {}), **item.verdicts}
    codes = {c: max(verdicts[c]["code"], 0) if c in verdicts else 0 for c in sorted(_takers(item))}
    dps = tuple(point.id for point in alert.points)
    return AlertRecord(alert.id, alert.stock, alert.jd, alert.night, dps, codes, {}, batches)


class CombinationWriter:
    """Writes what a T1 of its own made."""

    def __init__(self, store: Store, instrument: Instrument, run: RunInfo) -> None:
        self._store = store
        self._instrument = instrument
        self._survey = store.survey(instrument.survey)
        self._run = run

    def write(self, made: tuple[list[AlertRecord], Combination]) -> Tally:
        """Write states and tickets of some alerts, then say so in the ledger."""
        return self._store.steadily(lambda _: self._write(made))

    def _write(self, made: tuple[list[AlertRecord], Combination]) -> Tally:
        alerts, found = made
        tally = Tally()
        tally.counts.update(write_combination(self._survey, self._instrument, found, dict(self._run.meta())))
        self._survey.ledger.set_states(found.outcomes)
        self._store.batches.journaled()
        for alert in alerts:
            for channel in alert.channel:
                tally.partition(channel, alert.night)["combined"] += 1
        tally.counts["combined"] += len(alerts)
        return tally
