"""Filters (T0): which alerts a channel wants; one file, one class, one line here."""

from ampel_dagster.units.filters.basic import BasicFilter
from ampel_dagster.units.filters.decent import DecentFilter

UNITS = (BasicFilter, DecentFilter)
