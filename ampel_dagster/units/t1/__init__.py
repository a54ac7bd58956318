"""T1 combiners; one file, one class, one line here."""

from ampel_dagster.units.t1.simple import SimpleCombiner

UNITS = (SimpleCombiner,)
