"""Looking at stored objects with pandas."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from ampel_dagster.config.instance import locate
from ampel_dagster.config.load import Config, load
from ampel_dagster.instruments import INSTRUMENTS
from ampel_dagster.model.catalog import CatalogReader
from ampel_dagster.model.cut import indented
from ampel_dagster.model.errors import UserError
from ampel_dagster.model.light_curve import LightCurve
from ampel_dagster.model.night import nights_between
from ampel_dagster.model.population import to_pandas
from ampel_dagster.model.stock import Stock
from ampel_dagster.pipeline.explain import explain
from ampel_dagster.pipeline.states import states_of_stock
from ampel_dagster.pipeline.t2_try import try_product
from ampel_dagster.pipeline.t3_select import latest_views
from ampel_dagster.storage.access import open_store
from ampel_dagster.storage.frames import result_rows
from ampel_dagster.storage.store import Store, SurveyStore
from ampel_dagster.units.base import T2Unit
from ampel_dagster.units.bound import Product


class Transient:
    """One stored object, with all that is known of it."""

    def __init__(self, survey: SurveyStore, stock: Stock) -> None:
        self._survey = survey
        self._instrument = INSTRUMENTS[survey.survey]()
        self.stock = stock

    @property
    def name(self) -> str:
        """The survey's name."""
        return self.stock.name

    def photometry(self) -> LightCurve:
        """All datapoints that count (superseded ones are left out), sorted by time."""
        rows = self._survey.points.rows_of_stocks([self.stock.id])
        points = self._survey.points.load([row.id for row in rows if "SUPERSEDED" not in row.tag])
        return self._instrument.light_curve(self.stock.id, list(points.values()))

    def light_curve(self) -> pd.DataFrame:
        """One row a datapoint: jd, kind, band, magnitude, flux, limit, position."""
        return self.photometry().to_pandas()

    def t2(self) -> pd.DataFrame:
        """One row a T2 document: product, unit, version, code, run, and its result as a dict."""
        columns = ("product", "unit", "version", "code", "input", "night", "result")
        rows = [
            {key: d.get(key) for key in columns} | {"run": d["meta"]["run"], "ts": d["meta"]["ts"]}
            for d in self._survey.t2_of_stock(self.stock.id)
        ]
        return pd.DataFrame(rows, columns=[*columns, "run", "ts"])

    def compute(self, unit: T2Unit, state: int | None = None) -> Mapping[str, Any]:
        """What a T2 unit makes of the object's newest state (or of the one with this link); nothing is written.

        A tied unit finds no results here: ``ampel-dagster unit try`` gives it those that are stored. Raises UserError
        where it fails, with its message.
        """
        product = Product("notebook", unit)
        trial = try_product(self._survey, self._instrument, product, self.stock.id, state)[-1]
        if trial.error is not None or trial.body is None:
            raise UserError(f"{type(unit).__name__}: {trial.error.message if trial.error else 'no result'}")
        return trial.body

    def states(self, channel: str | None = None) -> pd.DataFrame:
        """One row a state, oldest first: link, jd, night, points by kind, alerts, channels, what was left out, values.

        `left_out`: number of datapoints of its alerts' packets that it does not hold, by reason. `values`: what T1
        units computed on it. `channel`: only its states, and what it may see of them.
        """
        columns = ("link", "jd", "night", "n_points", "kinds", "alerts", "channel", "left_out", "values")
        found = states_of_stock(self._survey, self.stock.id, channel)
        return pd.DataFrame([{key: getattr(s, key) for key in columns} for s in found], columns=[*columns])

    def state(self, link: int) -> LightCurve:
        """The datapoints of one of the object's states, sorted by time. Raises UserError if there is no such state."""
        found = self._survey.states.load([link]).get(link)
        if found is None or found.stock != self.stock.id:
            raise UserError(f"{self.name} has no state {link}; states() lists them")
        points = self._survey.points.load(found.dps)
        return self._instrument.light_curve(self.stock.id, list(points.values()))

    def __repr__(self) -> str:
        s = self.stock
        return f"Transient({s.name}, ra_deg={s.ra_deg:.5f}, dec_deg={s.dec_deg:.5f}, channel={list(s.channel)})"


class Base:
    """The database of an instance."""

    def __init__(self, store: Store, config: Config) -> None:
        self.store = store
        self.config = config

    @classmethod
    def open(cls, folder: Path | None = None) -> "Base":
        """Open the instance in `folder`, or the one in force."""
        instance = locate() if folder is None else locate({**os.environ, "AMPEL_INSTANCE": str(folder)})
        config = load(instance.folder)
        return cls(open_store(instance.folder), config)

    @property
    def catalogs(self) -> CatalogReader:
        """Catalogues of the database, for ``unit.bind(base.catalogs)``."""
        return self.store.catalogs

    def __getitem__(self, name: str | int) -> Transient:
        """An object by its survey's name, or by its stock id. Raises UserError if there is none."""
        for survey in self.config.surveys:
            found = self.store.survey(survey)
            # An id may come out of a data frame, as a number of numpy.
            stock = found.stocks.by_name(name) if isinstance(name, str) else found.stocks.load([int(name)]).get(name)
            if stock is not None:
                return Transient(found, stock)
        raise UserError(f"no channel has accepted an alert of {name!r} yet")

    def __iter__(self) -> Iterator[Transient]:
        for survey in self.config.surveys:
            found = self.store.survey(survey)
            for id_ in found.stocks.all_ids():
                yield Transient(found, found.stocks.load([id_])[id_])

    def _survey(self, survey: str) -> str:
        if not survey and len(self.config.surveys) != 1:
            raise UserError(f"say which survey; there are: {', '.join(self.config.surveys) or 'none'}")
        return survey or self.config.surveys[0]

    def explain(self, alert: int, channel: str, path: Path | None = None, survey: str = "") -> pd.DataFrame:
        """What each cut of a channel's filter makes of an alert: cut, value, limit, passed; depth of those inside.

        The alert is read as by ``ampel-dagster explain``; `path` is a file or folder that holds its packet. Raises
        UserError that says what to do where it is not at hand. `survey`: by default the only one that has a stream.
        """
        survey = self._survey(survey)
        rules, folders = self.config.channels[channel].surveys[survey], self.config.packet_folders(survey)
        found = explain(self.store.survey(survey), self.config.instrument(survey), rules, alert, folders, path)
        rows = [(depth, *cut[:4]) for depth, cut in indented(found.judgement.cuts)]
        return pd.DataFrame(rows, columns=["depth", "cut", "value", "limit", "passed"])

    def results(self, product: str, channel: str, night: str, survey: str = "") -> pd.DataFrame:
        """Results of a product for a channel and night: one row a result, nested fields with dots.

        `survey`: by default the only one that has a stream. Raises UserError where it has to be said.
        """
        survey = self._survey(survey)
        rows: list[dict[str, Any]] = list(result_rows(self.store.survey(survey), product, [channel], [night]))
        return pd.DataFrame(rows)

    def population(
        self, channel: str, first: str, last: str = "", process: str | None = None, survey: str = ""
    ) -> pd.DataFrame:
        """The objects of a channel in one night, or from a first to a last: one row each, as of its last night there.

        Columns: properties of the object, facts of its light curve, and the fields of its T2 results, with dots.
        `process`: only those that it selects. `survey`: by default the only one that has a stream.
        """
        survey = self._survey(survey)
        rules, chosen = (
            self.config.channels[channel].surveys[survey],
            self.config.processes[process] if process else None,
        )
        nights = nights_between(first, last or first)
        instrument = self.config.instrument(survey)
        return to_pandas(latest_views(self.store.survey(survey), instrument, rules, nights, chosen))

    def close(self) -> None:
        """Close the connections."""
        self.store.close()
