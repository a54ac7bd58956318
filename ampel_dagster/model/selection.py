"""Conditions on what a reaction selects."""

import operator
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import date, timedelta
from functools import cached_property
from math import asin, cos, degrees, radians, sin, sqrt
from typing import Any, Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from ampel_dagster.model.cut import Cut
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
        return self.judge(view).passed

    def judge(self, view: TransientView) -> Cut:
        """The view's value beside what is asked for."""
        found = view.value(self.path)
        try:
            passed = found is not None and bool(_OPERATORS[self.operator](found, self.value))
        except TypeError:
            passed = False
        return Cut(self.path, found, f"{self.operator} {self.value}", passed)


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


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class Tags(_Part):
    """Tags of the stock."""

    with_: tuple[str, ...] = Field((), alias="with", description="all of these")
    without: tuple[str, ...] = Field((), description="none of these")


class Channels(_Part):
    """Which channels have accepted an alert of the object by then; each must take part in the process."""

    any_of: tuple[str, ...] = Field((), description="at least one of these")
    all_of: tuple[str, ...] = Field((), description="all of these")
    one_of: tuple[str, ...] = Field((), description="exactly one of these")

    @property
    def names(self) -> tuple[str, ...]:
        """All that are named."""
        return tuple(dict.fromkeys((*self.any_of, *self.all_of, *self.one_of)))

    def judge(self, there: Collection[str]) -> Iterator[Cut]:
        """The conditions, for an object that these channels took."""
        for name, wanted in (("any_of", self.any_of), ("all_of", self.all_of), ("one_of", self.one_of)):
            if wanted:
                found = [channel for channel in wanted if channel in there]
                passed = {"any_of": bool(found), "all_of": len(found) == len(wanted), "one_of": len(found) == 1}[name]
                yield Cut(f"channels {name}", ", ".join(found), ", ".join(wanted), passed)


class Nights(_Part):
    """Nights that the process is about; others are passed over, however new."""

    first: date | None = Field(None, description="not before this night")
    last: date | None = Field(None, description="not after this night")
    last_days: int | None = Field(None, ge=1, description="so many nights up to today's")

    def hold(self, night: str, today: date) -> bool:
        """Whether a night is among them."""
        first = max(self.first or date.min, today - timedelta(days=self.last_days - 1) if self.last_days else date.min)
        return first <= date.fromisoformat(night) <= (self.last or date.max)


class Cone(_Part):
    """A circle on the sky."""

    ra_deg: float = Field(ge=0, lt=360)
    dec_deg: float = Field(ge=-90, le=90)
    radius_deg: float = Field(gt=0, le=180)

    def contains(self, ra_deg: float, dec_deg: float) -> bool:
        """Whether a position is in it, by the haversine formula, which is exact for small angles too."""
        ra, dec, ra0, dec0 = map(radians, (ra_deg, dec_deg, self.ra_deg, self.dec_deg))
        h = sin((dec - dec0) / 2) ** 2 + cos(dec) * cos(dec0) * sin((ra - ra0) / 2) ** 2
        return degrees(2 * asin(min(1.0, sqrt(h)))) <= self.radius_deg


class Healpix(_Part):
    """Pixels of HEALPix in the nested scheme, in equatorial coordinates (ICRS)."""

    order: int = Field(ge=0, le=29, description="2**order pixels along a side of a base pixel")
    pixels: tuple[int, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _are_pixels(self) -> Self:
        there = 12 * 4**self.order
        wrong = [pixel for pixel in self.pixels if not 0 <= pixel < there]
        if wrong:
            raise ValueError(f"{wrong[0]} is no pixel of order {self.order}: there are {there}")
        return self


class Region(_Part):
    """A part of the sky: one of the three."""

    cone: Cone | None = None
    moc: str | None = Field(None, description="file with a MOC (FITS, JSON or text), below the instance")
    healpix: Healpix | None = None

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if sum(kind is not None for kind in (self.cone, self.moc, self.healpix)) != 1:
            raise ValueError("say one of cone, moc, healpix")
        return self

    def __str__(self) -> str:
        if self.cone:
            return f"cone of {self.cone.radius_deg:g} deg around {self.cone.ra_deg:g}, {self.cone.dec_deg:g}"
        if self.healpix:
            return f"{len(self.healpix.pixels)} pixels of order {self.healpix.order}"
        return f"moc {self.moc}"


#: Whether a position (ra, dec in degrees) is in a region.
Inside = Callable[[float, float], bool]


class Select(BaseModel):
    """Which of a channel's objects a process is about."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    updated: Literal["since_last_run", "any"] = Field(
        "any", description="since_last_run: what is new since the last run; any: all of the nights with news"
    )
    created: Literal["in_night", "any"] = Field(
        "any", description="in_night: only objects whose first alert for the channel is of the night"
    )
    nights: Nights = Field(default_factory=Nights, description="nights that the process is about")
    channels: Channels = Field(default_factory=Channels, description="which channels have taken the object, too")
    tags: Tags = Field(default_factory=Tags, description="tags that the stock must or must not have")
    where: tuple[str, ...] = Field(
        (), description="conditions that must all hold, as in 'light_curve_summary.ndet >= 3'"
    )
    region: tuple[Region, ...] = Field((), description="parts of the sky; the object is in one of them")
    order: str | None = Field(
        None, pattern=r"^-?[A-Za-z_][\w.]*$", description="value to sort by; with a minus, largest first"
    )
    limit: int | None = Field(None, ge=1, description="so many objects of a night, the first in this order")

    @field_validator("where")
    @classmethod
    def _parses(cls, where: tuple[str, ...]) -> tuple[str, ...]:
        for text in where:
            Condition.parse(text)
        return where

    @cached_property
    def conditions(self) -> tuple[Condition, ...]:
        """The parsed conditions."""
        return tuple(Condition.parse(text) for text in self.where)

    def holds(self, view: TransientView, there: Collection[str] = (), inside: Sequence[Inside] = ()) -> bool:
        """Whether a view is selected, apart from `updated`, `nights`, `order` and `limit`.

        `there` are the channels among `channels` that have taken the object by then, `inside` the tests of `region`.
        """
        return all(cut.passed for cut in self.judge(view, there, inside))

    def judge(self, view: TransientView, there: Collection[str] = (), inside: Sequence[Inside] = ()) -> Iterator[Cut]:
        """The conditions one by one, each with the object's value and what is asked for."""
        if self.created == "in_night":
            yield Cut("created in_night", view.is_new, True, view.is_new)
        yield from self.channels.judge(there)
        tags = set(view.tag)
        for tag in self.tags.with_:
            yield Cut("tags with", ", ".join(sorted(tags)), tag, tag in tags)
        for tag in self.tags.without:
            yield Cut("tags without", ", ".join(sorted(tags)), tag, tag not in tags)
        if self.region:
            where = f"{view.ra_deg:.5f}, {view.dec_deg:.5f}"
            found = any(test(view.ra_deg, view.dec_deg) for test in inside)
            yield Cut("region", where, " or ".join(map(str, self.region)), found)
        for condition in self.conditions:
            yield condition.judge(view)

    def sort_key(self, view: TransientView) -> tuple[bool, Any]:
        """Place of a view among others: by `order`, without a number last."""
        path = (self.order or "").removeprefix("-")
        value = view.value(path) if path else None
        if isinstance(value, bool) or not isinstance(value, int | float):
            return (True, 0.0)
        return (False, -value if self.order and self.order[0] == "-" else value)
