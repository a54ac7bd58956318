"""Units that do nearly nothing: what is left of the time is the platform's."""

from collections.abc import Sequence
from typing import Any, ClassVar

from ampel_dagster.model.alert import Alert
from ampel_dagster.model.datapoint import DataPoint
from ampel_dagster.model.light_curve import LightCurve
from ampel_dagster.model.stock import State
from ampel_dagster.model.view import Artefact, ReactionContext, TransientView
from ampel_dagster.units.base import AlertFilter, LightCurveUnit, Needs, Report, StateUnit, T2Unit, Tied


class RejectAll(AlertFilter):
    """Wants nothing."""

    needs: ClassVar[Needs] = "candidate"

    def accept(self, alert: Alert) -> bool:
        return False


class CountIds(StateUnit):
    """Reads the ids of a state only: no datapoint is loaded."""

    needs: ClassVar[tuple[str, ...] | None] = ()

    def process(self, state: State, points: Sequence[DataPoint], tied: Tied) -> dict[str, Any]:
        return {"len": len(state.dps)}


class CountPoints(StateUnit):
    """Has all fields of all datapoints loaded."""

    def process(self, state: State, points: Sequence[DataPoint], tied: Tied) -> dict[str, Any]:
        return {"len": len(points)}


class CountLightCurve(LightCurveUnit):
    """Has a light curve made of the fields that one needs."""

    def process(self, light_curve: LightCurve, tied: Tied) -> dict[str, Any]:
        return {"len": len(light_curve)}


class CountViews(Report):
    """Touches everything that a view holds."""

    def write(self, views: Sequence[TransientView], context: ReactionContext) -> Sequence[Artefact]:
        touch(views)
        return ()


def touch(views: Sequence[TransientView]) -> dict[str, int]:
    """Count datapoints, states and results of views."""
    return {
        "views": len(views),
        "points": sum(len(view.points) for view in views),
        "states": sum(len(view.states) for view in views),
        "t2": sum(len(view.t2) for view in views),
    }


T2_UNITS: dict[str, type[T2Unit]] = {"ids": CountIds, "points": CountPoints, "light_curve": CountLightCurve}
