"""A filter written in configuration alone: comparisons, joined by and / or."""

import operator
from collections.abc import Callable, Mapping
from math import isfinite
from typing import Annotated, Any, Literal, Self, Union

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, field_validator, model_validator

from ampel_dagster.model.alert import Alert
from ampel_dagster.model.cut import Cut
from ampel_dagster.units.base import AlertFilter, Needs

Comparison = Literal[">", "<", ">=", "<=", "==", "!="]
_OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    ">": operator.gt,
    "<": operator.lt,
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    "contains": operator.contains,
}


class _Form(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Criterion(_Form):
    """One comparison: ``{attribute: rb, operator: ">", value: 0.6}``.

    What is absent, null or NaN fulfils no criterion but ``{operator: exists, value: false}``; what cannot be compared
    with the value (a text with a number) fulfils none either.
    """

    attribute: str = Field(min_length=1, description="field of the candidate, in the survey's own name and unit")
    operator: Literal[">", "<", ">=", "<=", "==", "!=", "contains", "exists"] = Field(
        description="contains: the field, a text or list, contains the value; exists: the field is there"
    )
    value: bool | int | float | str | None = Field(
        None, description="what to compare with; for 'exists' true (if omitted) or false"
    )

    @field_validator("value", mode="before")
    @classmethod
    def _is_plain(cls, value: Any) -> Any:
        # Before the union, which would report one mistake once for each of its types.
        finite = isfinite(value) if isinstance(value, float) else isinstance(value, bool | int | str | None)
        if not finite:
            raise ValueError("the value is a finite number, a text, true or false")
        return value

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.operator == "exists" and not (self.value is None or isinstance(self.value, bool)):
            raise ValueError("the value of 'exists' is true or false")
        if self.operator != "exists" and self.value is None:
            raise ValueError(f"operator {self.operator!r} needs a value")
        return self

    def holds(self, body: Mapping[str, Any], alert: Alert) -> bool:
        """Whether `body` fulfils it."""
        found = body.get(self.attribute)
        exists = found is not None and found == found
        if self.operator == "exists":
            return exists is (self.value is not False)
        if not exists:
            return False
        try:
            return bool(_OPERATORS[self.operator](found, self.value))
        except TypeError:
            return False

    def explain(self, body: Mapping[str, Any], alert: Alert) -> Cut:
        """As a stage of the filter."""
        limit = f"{self.operator} {True if self.value is None else self.value}"
        return Cut(self.attribute, body.get(self.attribute), limit, self.holds(body, alert))


class Group(_Form):
    """Conditions joined by and (`all_of`) or by or (`any_of`); with both, both must hold."""

    all_of: tuple["Node", ...] = Field((), description="conditions of which each must hold")
    any_of: tuple["Node", ...] = Field((), description="conditions of which one must hold")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if not (self.all_of or self.any_of):
            raise ValueError("all_of or any_of must hold a condition")
        return self

    def holds(self, body: Mapping[str, Any], alert: Alert) -> bool:
        """Whether `body` fulfils it."""
        return _join(self.all_of, self.any_of, body, alert)

    def explain(self, body: Mapping[str, Any], alert: Alert) -> Cut:
        """As a stage of the filter, with its conditions inside."""
        inside = _stages(self.all_of, self.any_of, body, alert)
        if not self.all_of:
            return inside[0]
        held = sum(cut.passed for cut in inside)
        return Cut("all_of", held, f">= {len(inside)}", held == len(inside), inside)


class Count(_Form):
    """How many of the alert's datapoints fulfil conditions: ``{over: detections, count: 4, all_of: [...]}``.

    The candidate is one of them. All conditions apply to one datapoint; without conditions all datapoints count.
    Upper limits have few fields: times, depth, band and what else the survey says of an exposure.
    """

    over: Literal["points", "detections"] = Field(
        description="points: detections, upper limits and forced photometry; detections: these alone"
    )
    operator: Comparison = Field(">=", description="how the number of datapoints compares with `count`")
    count: int = Field(1, ge=0, description="number of datapoints")
    all_of: tuple["Node", ...] = Field((), description="conditions of which each must hold for the datapoint")
    any_of: tuple["Node", ...] = Field((), description="conditions of which one must hold for the datapoint")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if _has_count(*self.all_of, *self.any_of):
            raise ValueError("a count ('over') cannot stand inside another")
        return self

    def holds(self, body: Mapping[str, Any], alert: Alert) -> bool:
        """Whether enough of the alert's datapoints fulfil the conditions, whatever `body`."""
        return bool(_OPERATORS[self.operator](self._found(alert), self.count))

    def explain(self, body: Mapping[str, Any], alert: Alert) -> Cut:
        """As a stage of the filter: the number of datapoints."""
        limit = f"{self.operator} {self.count}"
        return Cut(f"count of {self.over}", self._found(alert), limit, self.holds(body, alert))

    def _found(self, alert: Alert) -> int:
        points = alert.points if self.over == "points" else alert.detections
        return sum(_join(self.all_of, self.any_of, point.body, alert) for point in points)


def _kind(value: Any) -> str:
    """Which form a condition has, by its keys: so a mistake is reported for that form alone."""
    keys = value if isinstance(value, Mapping) else getattr(value, "__dict__", {})
    if "over" in keys:
        return "count"
    return "group" if "all_of" in keys or "any_of" in keys else "criterion"


Node = Annotated[
    Union[  # noqa: UP007 - the members are annotated
        Annotated[Criterion, Tag("criterion")], Annotated[Group, Tag("group")], Annotated[Count, Tag("count")]
    ],
    Discriminator(_kind),
]
Group.model_rebuild()
Count.model_rebuild()


class BasicFilter(AlertFilter):
    """Accept alerts by comparisons of their fields, joined by and / or, to any depth.

    Criteria look at the candidate; those inside a count look at each datapoint of the alert::

        all_of:
          - {attribute: rb, operator: ">", value: 0.6}
          - any_of:
              - {attribute: magpsf, operator: "<", value: 18}
              - {attribute: drb, operator: exists, value: false}
          - over: detections              # 4 or more detections brighter than 19 mag
            operator: ">="
            count: 4
            all_of: [{attribute: magpsf, operator: "<", value: 19}]

    The operators are those of AMPEL's alerts, the count is that of its `BasicMultiFilter` (there ``len``). Unlike
    there, a field that is null counts as missing and does not fail. Criteria are tried in the order in which they
    stand, and the history is decoded only when a count is reached: put counts last.
    """

    all_of: tuple[Node, ...] = Field((), description="conditions of which each must hold")
    any_of: tuple[Node, ...] = Field((), description="conditions of which one must hold")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if not (self.all_of or self.any_of):
            raise ValueError("all_of or any_of must hold a condition (to accept everything, name no filter)")
        return self

    @property
    def needs(self) -> Needs:
        """'history' where something is counted."""
        return "history" if _has_count(*self.all_of, *self.any_of) else "candidate"

    def accept(self, alert: Alert) -> bool:
        """Whether the conditions hold."""
        return _join(self.all_of, self.any_of, alert.candidate, alert)

    def explain(self, alert: Alert) -> list[Cut]:
        """What each condition makes of the alert; those of `any_of` come as one stage."""
        return list(_stages(self.all_of, self.any_of, alert.candidate, alert))


def _join(all_of: tuple[Node, ...], any_of: tuple[Node, ...], body: Mapping[str, Any], alert: Alert) -> bool:
    # Plain loops: a generator expression costs more than the comparisons.
    for node in all_of:
        if not node.holds(body, alert):
            return False
    if not any_of:
        return True
    for node in any_of:  # noqa: SIM110
        if node.holds(body, alert):
            return True
    return False


def _stages(
    all_of: tuple[Node, ...], any_of: tuple[Node, ...], body: Mapping[str, Any], alert: Alert
) -> tuple[Cut, ...]:
    """Conditions as stages: one each of `all_of`, and one of all of `any_of`, with these inside."""
    found = [node.explain(body, alert) for node in all_of]
    if any_of:
        inside = tuple(node.explain(body, alert) for node in any_of)
        held = sum(cut.passed for cut in inside)
        found.append(Cut("any_of", held, ">= 1", held > 0, inside))
    return tuple(found)


def _has_count(*nodes: Node) -> bool:
    return any(
        isinstance(node, Count) or (isinstance(node, Group) and _has_count(*node.all_of, *node.any_of))
        for node in nodes
    )
