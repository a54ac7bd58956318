"""T2 units: what is computed on points, states and stocks; one file, one class, one line here."""

from ampel_dagster.units.t2.catalog_match import CatalogMatch
from ampel_dagster.units.t2.light_curve_summary import LightCurveSummary

UNITS = (CatalogMatch, LightCurveSummary)
