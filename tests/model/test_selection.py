"""Conditions of reactions, as a user writes them."""

from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from ampel_dagster.model.result import T2Result
from ampel_dagster.model.selection import Condition, Select
from ampel_dagster.model.view import TransientView


def view(tag: tuple[str, ...] = (), **body: Any) -> TransientView:
    result = T2Result("fit", "Fit", "1", 0, body, 1, 2, "run", 3, datetime(2018, 8, 19, tzinfo=UTC))
    return TransientView(
        survey="ztf",
        channel="A",
        night="2018-08-19",
        stock=7,
        name="ZTF18aaaaaaa",
        tag=tag,
        ra_deg=150.0,
        dec_deg=-20.0,
        alerts=(1,),
        source="file",
        offset=0,
        run="run",
        link=2,
        points=(),
        states=(2,),
        t2={"fit": result},
        build_light_curve=lambda _: None,  # type: ignore[arg-type, return-value]
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("fit.chi2 >= 3", ("fit.chi2", ">=", 3.0)),
        ("fit.chi2<=-1.5e-3", ("fit.chi2", "<=", -0.0015)),
        ("  a.b.c_d  ==  true ", ("a.b.c_d", "==", True)),
        ("a.b != false", ("a.b", "!=", False)),
        ("name == ZTF18aaaaaaa", ("name", "==", "ZTF18aaaaaaa")),
        ("a.type == 'SN Ia'", ("a.type", "==", "SN Ia")),
        ('a.type == "SN > Ia"', ("a.type", "==", "SN > Ia")),
        ("a.type == ''", ("a.type", "==", "")),
        ("a.type == '3'", ("a.type", "==", "3")),
        ("night > 2018-08-19", ("night", ">", "2018-08-19")),
        ("a.x > 5", ("a.x", ">", 5.0)),
        ("a.x < 5", ("a.x", "<", 5.0)),
    ],
)
def test_condition_is_a_path_an_operator_and_a_value(text: str, expected: tuple[str, str, Any]) -> None:
    assert tuple(Condition.parse(text)) == expected
    assert type(Condition.parse(text).value) is type(expected[2])


@pytest.mark.parametrize(
    "text",
    [
        *("", "fit.chi2", "fit.chi2 =", "fit.chi2 = 3", "fit.chi2 => 3", "> 3", "3 < fit.chi2", "fit.chi2 >"),
        *("fit chi2 > 3", "fit.chi2 > 3 and fit.chi2 < 5", "fit.chi2 >== 3", "a.type == SN Ia", "a.type == 'SN"),
        "a.b > 3, a.c > 4",
    ],
)
def test_what_is_no_condition_is_refused_with_the_way_to_write_it(text: str) -> None:
    with pytest.raises(ValueError, match=r"; (write|quote)"):
        Condition.parse(text)


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("fit.chi2 >= 2.5", True),
        ("fit.chi2 > 2.5", False),
        ("fit.chi2 != 2", True),
        ("fit.ok == true", True),
        ("fit.ok == false", False),
        ("fit.type == 'SN Ia'", True),
        ("fit.deep.er < 0", True),
        ("dec_deg < 0", True),
        ("stock == 7", True),
        ("name == ZTF18aaaaaaa", True),
        ("fit.none > 0", False),
        ("fit.none == 0", False),
        ("fit.none != 0", False),
        ("fit.missing != 0", False),
        ("other.chi2 != 0", False),
        ("fit.type > 3", False),
        ("fit.list > 3", False),
        ("fit.deep == 3", False),
        ("fit.chi2.x == 3", False),
    ],
)
def test_condition_on_a_view(text: str, holds: bool) -> None:
    found = view(chi2=2.5, ok=True, type="SN Ia", none=None, deep={"er": -1}, list=[5])
    assert Condition.parse(text).holds(found) is holds


def test_all_conditions_must_hold() -> None:
    select = Select(where=("fit.a > 1", "fit.b > 1"))
    assert [select.holds(view(a=a, b=b)) for a, b in ((2, 2), (2, 1), (1, 2))] == [True, False, False]
    assert Select().holds(view())


def test_tags() -> None:
    select = Select.model_validate({"tags": {"with": ["SN", "NEAR"], "without": ["JUNK"]}})
    tags = (("SN", "NEAR"), ("SN", "NEAR", "X"), ("SN",), (), ("SN", "NEAR", "JUNK"))
    assert [select.holds(view(tag)) for tag in tags] == [True, True, False, False, False]


@pytest.mark.parametrize(
    "content",
    [{"where": ["fit.chi2"]}, {"updated": "yesterday"}, {"tags": {"has": ["SN"]}}, {"were": []}, {"where": "a.b > 3"}],
)
def test_selection_that_is_none_is_refused(content: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Select.model_validate(content)
