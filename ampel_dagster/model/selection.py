"""Conditions on what a reaction selects."""

import operator
import re
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator

from ampel_dagster.model.view import TransientView

_OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
}
_QUOTED = re.compile(r"(['\"])(.*)\1")
_WORD = re.compile(r"[\w.:+-]+")
_FORM = re.compile(r"\s*([A-Za-z_][\w.]*)\s*(>=|<=|==|!=|>|<)\s*(.+?)\s*")


class Condition(NamedTuple):
    """``product.field >= number``: one comparison of a value of a view."""

    path: str
    operator: str
    value: float | str | bool

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a condition. Raises ValueError with the form that is expected."""
        match = _FORM.fullmatch(text)
        if match is None:
            raise ValueError(f"{text!r} is no condition; write it as 'product.field >= 3' (>= <= == != > <)")
        return cls(match[1], match[2], _literal(match[3]))

    def holds(self, view: TransientView) -> bool:
        """Whether the view fulfils it; a value that is missing, or cannot be compared, does not."""
        found = view.value(self.path)
        if found is None:
            return False
        try:
            return bool(_OPERATORS[self.operator](found, self.value))
        except TypeError:
            return False


def _literal(text: str) -> float | str | bool:
    if text in ("true", "false"):
        return text == "true"
    try:
        return float(text)
    except ValueError:
        pass
    quoted = _QUOTED.fullmatch(text)
    if quoted is None and _WORD.fullmatch(text) is None:
        raise ValueError(f"{text!r} is neither a number nor a word; quote text, and write one condition a line")
    return quoted[2] if quoted else text


class Tags(BaseModel):
    """Tags of the stock."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    with_: tuple[str, ...] = Field((), alias="with", description="all of these")
    without: tuple[str, ...] = Field((), description="none of these")


class Select(BaseModel):
    """Which of a channel's objects a process is about."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    updated: Literal["since_last_run", "any"] = Field(
        "any", description="since_last_run: what is new since the last run; any: all of the nights with news"
    )
    where: tuple[str, ...] = Field(
        (), description="conditions that must all hold, as in 'light_curve_summary.ndet >= 3'"
    )
    tags: Tags = Field(default_factory=Tags, description="tags that the stock must or must not have")

    @field_validator("where")
    @classmethod
    def _parses(cls, where: tuple[str, ...]) -> tuple[str, ...]:
        for text in where:
            Condition.parse(text)
        return where

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """The parsed conditions."""
        return tuple(Condition.parse(text) for text in self.where)

    def holds(self, view: TransientView) -> bool:
        """Whether a view is selected, apart from `updated`."""
        tags = set(view.tag)
        if not set(self.tags.with_) <= tags or set(self.tags.without) & tags:
            return False
        return all(condition.holds(view) for condition in self.conditions)
