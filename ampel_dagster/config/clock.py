"""Cron expressions and time zones: whether they mean something."""

import re
from difflib import get_close_matches
from zoneinfo import available_timezones

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_DAYS_OF_MONTH = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
#: The five places: what they are called, lowest and highest value, and names (the first has the lowest value).
_PLACES: tuple[tuple[str, int, int, tuple[str, ...]], ...] = (
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day", 1, 31, ()),
    ("month", 1, 12, _MONTHS),
    ("weekday", 0, 7, _DAYS),
)
_SHORTHANDS = ("@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@yearly", "@annually")
_ITEM = re.compile(r"(?:\*|(?P<first>[0-9a-z]+)(?:-(?P<last>[0-9a-z]+))?)(?:/(?P<step>[0-9]+))?")
#: The last day of a month (in the place of the day), and the n-th or last such weekday of a month.
_SPECIAL = {"day": re.compile("l"), "weekday": re.compile("[0-7]#[1-5]|l[0-7]")}


def check_cron(expression: str) -> str:
    """The expression, if it is a schedule that ever comes. Raises ValueError with what is wrong and what to write."""
    text = expression.strip().lower()
    if text in _SHORTHANDS:
        return expression
    places = text.split()
    if len(places) != len(_PLACES):
        names = ", ".join(name for name, *_ in _PLACES)
        raise ValueError(f"{expression!r} has {len(places)} places; write five: {names}, as in '0 8 * * *'")
    numbers = [_check_place(place, *facts) for place, facts in zip(places, _PLACES, strict=True)]
    days, months = numbers[2], numbers[3]
    if days and all(day > max(_DAYS_OF_MONTH[month - 1] for month in months or range(1, 13)) for day in days):
        raise ValueError(f"{expression!r} names a date that no month has; name another day")
    return expression


def _check_place(place: str, name: str, low: int, high: int, names: tuple[str, ...]) -> list[int]:
    """The first numbers of all items; none where an item stands for every value."""
    first: list[int] = []
    everything = False
    for item in place.split(","):
        if name in _SPECIAL and _SPECIAL[name].fullmatch(item):
            everything = True
            continue
        match = _ITEM.fullmatch(item)
        values = [_value(text, low, high, names) for text in (match["first"], match["last"]) if text] if match else []
        if match is None or None in values:
            also = f" (or {names[0]} to {names[-1]})" if names else ""
            raise ValueError(f"{item!r} is no {name}; write {low} to {high}{also}, *, a list, a range, or */step")
        if match["step"] and not 0 < int(match["step"]) <= high:
            raise ValueError(f"{item!r} has a step that no {name} reaches; write */1 to */{high}")
        everything |= not values
        first += [value for value in values[:1] if value is not None]
    return [] if everything else first


def _value(text: str, low: int, high: int, names: tuple[str, ...]) -> int | None:
    """A number or a name as its value, None where it is neither or out of range."""
    if text in names:
        return names.index(text) + low
    return int(text) if text.isdecimal() and low <= int(text) <= high else None


def check_timezone(name: str) -> str:
    """The name, if there is such a time zone. Raises ValueError that suggests the nearest."""
    known = available_timezones()
    if name not in known:
        near = get_close_matches(name, known, n=1, cutoff=0.6)
        remedy = f"did you mean {near[0]}?" if near else "write it as in Europe/Berlin, or UTC"
        raise ValueError(f"{name!r} is no time zone; {remedy}")
    return name
