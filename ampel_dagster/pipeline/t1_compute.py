"""T1: values of states, computed while the states are stored."""

import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

from ampel_dagster.instruments.base import Instrument
from ampel_dagster.model.codes import DocumentCode
from ampel_dagster.model.light_curve import LightCurve
from ampel_dagster.pipeline.guard import Failure, guarded
from ampel_dagster.pipeline.t1_combine import StateDraft
from ampel_dagster.pipeline.t2_values import storable
from ampel_dagster.storage.store import SurveyStore
from ampel_dagster.units.bound import StateValue

#: What is stored of the values of one state, by their key.
Computed = Mapping[str, Mapping[str, Any]]
#: A value is a part of its state, which has to stay a small document.
_VALUE_BYTES = 100_000
#: The database takes documents that are some ten times as deep.
_VALUE_DEPTH = 10


def compute_values(
    survey: SurveyStore, instrument: Instrument, states: Mapping[int, StateDraft], meta: Mapping[str, Any]
) -> dict[int, Computed]:
    """The values that states are to have and have not, by link; those of another version of their unit count as none.

    A unit that fails leaves code EXCEPTION with its message. Points are read from the database, where all are by now.
    """
    wanted = {link: draft.values for link, draft in states.items() if draft.values}
    if not wanted:
        return {}
    there = survey.states.value_versions(wanted)
    missing = {
        link: found
        for link, values in wanted.items()
        if (found := [v for v in values if there.get(link, {}).get(v.key) != v.unit.version])
    }
    curves = _curves(survey, instrument, {link: states[link] for link in missing})
    return {link: _values(curves.get(link), values, meta) for link, values in missing.items()}


def _curves(
    survey: SurveyStore, instrument: Instrument, states: Mapping[int, StateDraft]
) -> dict[int, LightCurve | Failure]:
    ids = set(chain.from_iterable(state.dps for state in states.values()))
    points = survey.points.of_stocks(ids, {state.stock for state in states.values()})
    return {
        link: guarded(instrument.light_curve, state.stock, [points[id_] for id_ in state.dps])
        for link, state in states.items()
        if all(id_ in points for id_ in state.dps)
    }


def _values(
    curve: LightCurve | Failure | None, values: Iterable[StateValue], meta: Mapping[str, Any]
) -> dict[str, Mapping[str, Any]]:
    found: dict[str, Mapping[str, Any]] = {}
    for value in sorted(values, key=lambda value: value.key):
        there = Failure("a datapoint of the state is not there", "") if curve is None else curve
        made = there if isinstance(there, Failure) else guarded(_computed, value, there)
        element: dict[str, Any] = {"unit": type(value.unit).__name__, "version": value.unit.version, "meta": meta}
        if isinstance(made, Failure):
            code = DocumentCode.EXCEPTION.value
            found[value.key] = element | {"code": code, "error": {"message": made.message, "traceback": made.traceback}}
        else:
            found[value.key] = element | {"code": 0, "body": made}
    return found


def _computed(value: StateValue, curve: LightCurve) -> dict[str, Any]:
    """What the unit returns, as it can be stored. Raises TypeError with one line that says what is wrong."""
    returned: Any = value.unit.compute(curve)
    if not isinstance(returned, Mapping):
        raise TypeError(f"a T1 unit returns a dict, not {type(returned).__name__}")
    try:
        body: dict[str, Any] = storable(returned)
    except RecursionError:
        raise TypeError("the value holds itself, or is too deep") from None
    if _depth(body) > _VALUE_DEPTH:
        raise TypeError(f"the value is deeper than {_VALUE_DEPTH} levels; keep it plain")
    size = len(json.dumps(body, default=str).encode())
    if size > _VALUE_BYTES:
        raise TypeError(f"the value has {size} bytes; what is large belongs into T2")
    return body


def _depth(value: Any) -> int:
    inner: Sequence[Any] = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + max(map(_depth, inner), default=0) if isinstance(value, dict | list) else 0
