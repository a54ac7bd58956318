"""T1 combiners; one file, one class, one line here."""

from ampel_dagster.units.t1.retro import RetroCombiner
from ampel_dagster.units.t1.simple import SimpleCombiner

UNITS = (RetroCombiner, SimpleCombiner)
