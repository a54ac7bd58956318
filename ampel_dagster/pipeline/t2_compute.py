"""T2: from tickets to outcomes: one by one, as a batch of light curves, or in processes of their own."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from random import uniform
from time import perf_counter
from typing import Any

import numpy as np
import pandas as pd

from ampel_dagster.model.codes import DocumentCode
from ampel_dagster.model.light_curve import COLUMNS, LightCurve
from ampel_dagster.model.ticket import Outcome, Postponed, Ticket
from ampel_dagster.pipeline.guard import Failure, guarded
from ampel_dagster.pipeline.t2_inputs import Arguments, Inputs, Missing, call
from ampel_dagster.pipeline.t2_isolated import Pool
from ampel_dagster.pipeline.t2_values import checked, digest
from ampel_dagster.units.base import LightCurveUnit, Tied
from ampel_dagster.units.bound import Limits, Product

#: Missing inputs that may come yet.
_LATER = (DocumentCode.UNKNOWN_LINK, DocumentCode.MISSING_INFO, DocumentCode.MISSING_DEPENDENCY)
#: The longest that a ticket waits for its next attempt, in seconds.
_LONGEST_S = 6 * 3600.0
Answered = tuple[Any | Failure, float]


def compute(
    product: Product, inputs: Inputs, ready: Sequence[tuple[Ticket, Tied]], pool: Pool | None, now: datetime
) -> list[Outcome | Postponed]:
    """What becomes of tickets whose dependencies are there."""
    done: list[Outcome | Postponed] = []
    jobs: list[tuple[Ticket, Arguments, Tied]] = []
    name = type(product.unit).__name__
    for ticket, tied in ready:
        arguments = inputs.of(ticket)
        if isinstance(arguments, Missing):
            done.append(again(ticket, arguments.code, f"{name}: its input is not there", product.limits, now))
        elif isinstance(arguments, Failure):
            done.append(_outcome(ticket, name, arguments, 0.0, product.limits, now))
        else:
            jobs.append((ticket, arguments, tied))
    answers = _answers(product, [(arguments, tied) for _, arguments, tied in jobs], pool)
    for (ticket, _, _), (answer, duration_s) in zip(jobs, answers, strict=True):
        done.append(_outcome(ticket, name, answer, duration_s, product.limits, now))
    return done


def again(
    ticket: Ticket, code: DocumentCode, message: str, limits: Limits, now: datetime, after_s: float | None = None
) -> Outcome | Postponed:
    """A ticket that is to be taken up later, as long as attempts are left.

    The time until then doubles with each attempt, with a little chance, so that tickets don't all come back at once.
    """
    if ticket.attempts >= limits.attempts:
        return failed(ticket, DocumentCode.TOO_MANY_TRIALS, f"after {ticket.attempts} attempts: {code.name}: {message}")
    if after_s is None:
        after_s = min(limits.retry_after_s * 2.0 ** (ticket.attempts - 1), _LONGEST_S) * uniform(0.8, 1.2)  # noqa: S311
    return Postponed(ticket, code, now + timedelta(seconds=after_s), message)


def failed(ticket: Ticket, code: DocumentCode, error: str | Mapping[str, str], duration_s: float = 0.0) -> Outcome:
    """An outcome without a result."""
    details = {"message": error} if isinstance(error, str) else error
    return Outcome(ticket, code.value, None, digest(code.value, None), details, (), None, duration_s)


def missing_dependency(ticket: Ticket, code: DocumentCode, limits: Limits, now: datetime) -> Outcome | Postponed:
    """A ticket whose dependency is not there, or failed."""
    message = f"a product that it requires: {code.name}"
    return again(ticket, code, message, limits, now) if code in _LATER else failed(ticket, code, message)


def _answers(product: Product, jobs: Sequence[tuple[Arguments, Tied]], pool: Pool | None) -> list[Answered]:
    unit = product.unit
    if pool is not None:
        start = perf_counter()
        answers = pool.compute(jobs)
        return _shared(answers, perf_counter() - start)
    if isinstance(unit, LightCurveUnit) and unit.takes_batches and len(jobs) > 1:
        start = perf_counter()
        found = guarded(_as_batch, unit, jobs)
        if not isinstance(found, Failure):
            return _shared(found, perf_counter() - start)
    return [_answer(unit, arguments, tied) for arguments, tied in jobs]


def _answer(unit: Any, arguments: Arguments, tied: Tied) -> Answered:
    start = perf_counter()
    answer = guarded(call, unit, arguments, tied)
    return answer, round(perf_counter() - start, 6)


def _shared(answers: Sequence[Any], seconds: float) -> list[Answered]:
    """Each answer with its share of the time that all took together."""
    each = round(seconds / max(1, len(answers)), 6)
    return [(answer, each) for answer in answers]


def _as_batch(unit: LightCurveUnit, jobs: Sequence[tuple[Arguments, Tied]]) -> list[Any]:
    """Results of light curves that are computed at once. Raises where the unit returns something else."""
    found = unit.process_batch(light_curves_frame([arguments[0] for arguments, _ in jobs]), [tied for _, tied in jobs])
    if len(found) != len(jobs):
        raise ValueError(f"process_batch returned {len(found)} results for {len(jobs)} light curves")
    answers = list(found)
    for answer in answers:
        checked(answer)
    return answers


def light_curves_frame(curves: Sequence[LightCurve]) -> pd.DataFrame:
    """Points of light curves, one below the other, as `process_batch` gets them."""
    lengths = [len(curve) for curve in curves]
    columns: dict[str, Any] = {"curve": np.repeat(np.arange(len(curves)), lengths)}
    for name in COLUMNS:
        columns[name] = np.concatenate([getattr(curve, name) for curve in curves]) if curves else []
    return pd.DataFrame(columns, copy=False)


def _outcome(
    ticket: Ticket, unit: str, answer: Any | Failure, duration_s: float, limits: Limits, now: datetime
) -> Outcome | Postponed:
    if isinstance(answer, Failure):
        if answer.code == DocumentCode.RERUN_REQUESTED:
            return again(ticket, answer.code, answer.message, limits, now, answer.after_s)
        return failed(ticket, answer.code, {"message": answer.message, "traceback": answer.traceback}, duration_s)
    try:
        found = checked(answer)
    except TypeError as wrong:
        return failed(ticket, DocumentCode.ERROR, f"{unit}: {wrong}", duration_s)
    changed = digest(found.code, found.body)
    return Outcome(ticket, found.code, found.body, changed, None, found.tags, found.note, duration_s)
