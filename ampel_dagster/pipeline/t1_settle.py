"""T1 once more for stocks that two runs have worked on at the same time.

Each run reads the points of its stocks, writes, and may not have seen what the other one was just writing. So a batch
that brings points tells all batches under way about it, and one that was told so looks again before it is done: at
that time all points that it could have missed are there.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from ampel_dagster.pipeline.t1_combine import Combiner
from ampel_dagster.pipeline.t1_write import write_combination
from ampel_dagster.storage.points import PointRow
from ampel_dagster.storage.store import SurveyStore


def mark(survey: SurveyStore, stocks: Sequence[int]) -> list[PointRow]:
    """Mark what is superseded among all points of these stocks; return the points."""
    rows = survey.points.rows_of_stocks(stocks)
    survey.points.supersede(_unmarked(rows, set(stocks)))
    return rows


def settle(survey: SurveyStore, combiner: Combiner, stocks: Sequence[int], meta: Mapping[str, Any]) -> dict[str, int]:
    """Mark what is superseded, and give all alerts of these stocks the states that follow from all points there are.

    Returns how many states and tickets are new. States of before stay.
    """
    rows = mark(survey, stocks)
    alerts = survey.ledger.later_alerts(dict.fromkeys(stocks, 0.0))
    # No batch is theirs: so every point is an old one, which all later alerts see.
    found = combiner.combine([alert._replace(batches=frozenset()) for alert in alerts], rows)
    new = write_combination(survey, combiner.instrument, found, meta)
    survey.ledger.set_states(found.outcomes)
    return new


def _unmarked(rows: Sequence[PointRow], stocks: set[int]) -> dict[int, list[int]]:
    """Points of which another of the same exposure has a larger id, and that do not say so: {id: the larger ids}."""
    exposures: dict[tuple[int, float, int, bool], list[PointRow]] = {}
    for row in rows:
        for stock in stocks.intersection(row.stock):
            exposures.setdefault((stock, row.jd, row.sensor, row.kind == "forced"), []).append(row)
    found: dict[int, set[int]] = {}
    for mine in exposures.values():
        for row in mine:
            larger = {other.id for other in mine if other.id > row.id}
            if not larger <= set(row.superseded_by):
                found.setdefault(row.id, set()).update(larger)
    return {id_: sorted(ids) for id_, ids in found.items()}
