"""T1 units: combiners, and what computes on states at once; one file, one class, one line here."""

from ampel_dagster.units.t1.retro import RetroCombiner
from ampel_dagster.units.t1.simple import SimpleCombiner
from ampel_dagster.units.t1.state_facts import StateFacts

UNITS = (RetroCombiner, SimpleCombiner, StateFacts)
