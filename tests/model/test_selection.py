"""Conditions of reactions, as a user writes them."""

from datetime import UTC, date, datetime
from typing import Any

import pytest
from astropy.coordinates import SkyCoord
from pydantic import ValidationError

from ampel_dagster.model.result import T2Result
from ampel_dagster.model.selection import Channels, Condition, Cone, Nights, Select
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


# --- where


def test_cone_is_what_astropy_says() -> None:
    """Across the meridian, at a pole, on the other side of the sky; and just on either side of the edge."""
    centres = [(359.99, 0.0), (10.0, 89.99), (150.0, -20.0)]
    positions = [(0.01, 0.01), (190.0, 89.98), (150.0, -20.9999), (150.0, -21.0001), (330.0, 20.0), (12.0, 89.5)]
    for ra0, dec0 in centres:
        cone = Cone(ra_deg=ra0, dec_deg=dec0, radius_deg=1.0)
        for ra, dec in positions:
            distance = SkyCoord(ra0, dec0, unit="deg").separation(SkyCoord(ra, dec, unit="deg")).deg
            assert cone.contains(ra, dec) == (distance <= 1.0), (ra0, dec0, ra, dec)


def test_object_is_in_one_of_the_regions() -> None:
    region = ({"cone": {"ra_deg": 10, "dec_deg": 0, "radius_deg": 1}}, {"healpix": {"order": 0, "pixels": [4]}})
    select = Select.model_validate({"region": region})
    (cut,) = select.judge(view(), inside=[lambda *_: False, lambda ra, dec: (ra, dec) == (150.0, -20.0)])
    assert (cut.passed, cut.value) == (True, "150.00000, -20.00000")
    assert cut.limit == "cone of 1 deg around 10, 0 or 1 pixels of order 0"
    assert not select.holds(view(), inside=[lambda *_: False, lambda *_: False])


@pytest.mark.parametrize(
    ("region", "message"),
    [
        ({}, "say one of cone, moc, healpix"),
        ({"moc": "a.fits", "cone": {"ra_deg": 1, "dec_deg": 1, "radius_deg": 1}}, "say one of cone, moc, healpix"),
        ({"healpix": {"order": 1, "pixels": [47, 48]}}, "48 is no pixel of order 1: there are 48"),
        ({"cone": {"ra_deg": 360, "dec_deg": 0, "radius_deg": 1}}, "less than 360"),
    ],
)
def test_region_that_is_none_is_refused(region: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Select.model_validate({"region": [region]})


# --- who, when


@pytest.mark.parametrize(
    ("there", "passed"),
    [("", (False, False, False)), ("A", (True, False, True)), ("AB", (True, True, False)), ("BC", (True, False, True))],
)
def test_channels_any_all_one(there: str, passed: tuple[bool, bool, bool]) -> None:
    found = [Channels.model_validate({how: ["A", "B"]}) for how in ("any_of", "all_of", "one_of")]
    assert tuple(next(channels.judge(set(there))).passed for channels in found) == passed
    assert list(Channels().judge({"A"})) == []


def test_nights() -> None:
    today = date(2018, 8, 19)
    week = Nights(last_days=7)
    assert [week.hold(f"2018-08-{day}", today) for day in (12, 13, 19, 20)] == [False, True, True, True]
    window = Nights(first=date(2018, 8, 1), last=date(2018, 8, 2))
    assert [window.hold(night, today) for night in ("2018-07-31", "2018-08-01", "2018-08-02", "2018-08-03")] == [
        False,
        True,
        True,
        False,
    ]
    assert Nights().hold("1999-01-01", today)


def test_judge_says_what_each_condition_found() -> None:
    select = Select.model_validate({"created": "in_night", "tags": {"without": ["JUNK"]}, "where": ["fit.a > 1"]})
    told = [(cut.name, cut.value, cut.limit, cut.passed) for cut in select.judge(view(("SN",), a=0.5))]
    assert told == [
        ("created in_night", False, True, False),
        ("tags without", "SN", "JUNK", True),
        ("fit.a", 0.5, "> 1.0", False),
    ]


def test_order_puts_what_has_no_value_last() -> None:
    views = [view(a=2.0), view(a=None), view(a=1), view(a=True), view()]
    for order, expected in (("fit.a", [1, 2.0]), ("-fit.a", [2.0, 1])):
        select = Select(order=order)
        found = sorted(views, key=select.sort_key)
        assert [v.value("fit.a") for v in found][:2] == expected
