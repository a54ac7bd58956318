"""Datapoints for units that read them."""

from typing import Any

from ampel_dagster.model.datapoint import DataPoint
from ampel_dagster.model.stock import State

STATE = State("ztf", 1, 2, (1, 2), "2018-08-19")


def point(jd: float = 1.0, kind: Any = "detection", **body: Any) -> DataPoint:
    return DataPoint(int(jd * 10), kind, jd, 0, (), 0, body)
