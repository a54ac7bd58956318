"""Surveys: one file, one class, one line here."""

from ampel_dagster.instruments.base import Instrument
from ampel_dagster.instruments.lsst import LSST
from ampel_dagster.instruments.pgir import PGIR
from ampel_dagster.instruments.ztf import ZTF

INSTRUMENTS: dict[str, type[Instrument]] = {ZTF.survey: ZTF, LSST.survey: LSST, PGIR.survey: PGIR}
