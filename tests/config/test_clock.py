"""Schedules: what is accepted here, Dagster accepts too; what never comes is refused."""

import pytest
from dagster._utils.schedules import is_valid_cron_string
from hypothesis import given
from hypothesis import strategies as st

from ampel_dagster.config.clock import check_cron, check_timezone

GOOD = (
    *("0 8 * * *", "*/15 * * * *", "5/20 * * * *", "0 6-18/2 * * mon-fri", "30 7 1,15 jan,jul *", "0 8 * * 7"),
    *("0 22-2 * * *", "0 0 L * *", "0 8 * * 5#2", "0 8 * * L5", "  0  8 * * * ", "0 8 31 2,4,5 *", "0 8 30,1 2 *"),
    *("0 0 29 2 *", "0 0 * nov-feb FRI", "*,5 * * * *"),
    *("@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@yearly", "@annually"),
)
BAD = (
    *("", "never", "0 8 * *", "0 8 * * * *", "60 * * * *", "0 24 * * *", "* * 0 * *", "0 8 32 * *", "0 8 * 13 *"),
    *(
        "0 8 * 0 *",
        "0 8 * * 8",
        "1,,3 * * * *",
        "*/0 * * * *",
        "* */x * * *",
        "-1 * * * *",
        "1.5 * * * *",
        "jan * * * *",
    ),
    *(
        "0 8 * fri *",
        "0 8 30 2 *",
        "0 8 31 feb,apr *",
        "@reboot",
        "٣ * * * *",
        "1-70 * * * *",
        "0 0 * * 5#6",
        "* * * * *;",
    ),
    *("*/90 * * * *",),
)


@pytest.mark.parametrize("expression", GOOD)
def test_what_is_accepted_is_accepted_by_dagster(expression: str) -> None:
    assert check_cron(expression) == expression
    assert is_valid_cron_string(expression)


@pytest.mark.parametrize("expression", BAD)
def test_what_is_refused_says_what_to_write(expression: str) -> None:
    with pytest.raises(ValueError, match=r"; (write|name)"):
        check_cron(expression)


_ITEM = st.one_of(
    st.just("*"),
    st.integers(0, 70).map(str),
    st.sampled_from(["jan", "mon", "L", "1#2", "L3", "x"]),
    st.tuples(st.integers(0, 35), st.integers(0, 35)).map(lambda p: f"{p[0]}-{p[1]}"),
    st.tuples(st.sampled_from(["*", "1", "2-9"]), st.integers(0, 40)).map(lambda p: f"{p[0]}/{p[1]}"),
)
_PLACE = st.lists(_ITEM, min_size=1, max_size=3).map(",".join)


@given(st.lists(_PLACE, min_size=5, max_size=5).map(" ".join))
def test_nothing_is_accepted_that_dagster_refuses(expression: str) -> None:
    try:
        check_cron(expression)
    except ValueError:
        return
    assert is_valid_cron_string(expression)


@pytest.mark.parametrize("name", ["UTC", "Europe/Berlin", "America/Los_Angeles"])
def test_time_zones(name: str) -> None:
    assert check_timezone(name) == name


@pytest.mark.parametrize("name", ["", "Europe", "Mars/Base", "../etc/passwd", "europe/berlin", "CEST "])
def test_time_zone_that_is_none(name: str) -> None:
    with pytest.raises(ValueError, match="is no time zone; "):
        check_timezone(name)
