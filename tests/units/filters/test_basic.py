import tarfile
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from ampel_dagster.instruments.ztf import ZTF
from ampel_dagster.model.alert import Alert, Packet
from ampel_dagster.model.cut import Cut
from ampel_dagster.model.datapoint import DataPoint, Kind
from ampel_dagster.testing import encode_packet, make_alert
from ampel_dagster.units.filters.basic import BasicFilter

ARCHIVE = Path(__file__).resolve().parents[4] / "shared/data/ztf/ztf_public_20180819_mod1000.tar.gz"


def point(kind: Kind, **body: Any) -> DataPoint:
    return DataPoint(1, kind, 2458349.7, 4, ("ZTF", "ZTF_PUB"), 300, MappingProxyType(body))


def unread() -> tuple[DataPoint, ...]:
    pytest.fail("the history was decoded")


def alert_of(read_points: Callable[[], tuple[DataPoint, ...]] = unread, /, **candidate: Any) -> Alert:
    return Alert(
        id=1,
        stock=2,
        name="ZTF18aagtntk",
        jd=2458349.7,
        night="2018-08-19",
        tag=("ZTF", "ZTF_PUB"),
        rank=300,
        candidate=MappingProxyType(candidate),
        packet=Packet(b"", "a.avro", 0),
        read_points=read_points,
    )


def criterion(attribute: str, operator: str, value: Any = None) -> dict[str, Any]:
    return {"attribute": attribute, "operator": operator} | ({} if value is None else {"value": value})


def accepts(condition: dict[str, Any], **candidate: Any) -> bool:
    return BasicFilter(all_of=(condition,)).accept(alert_of(**candidate))


@pytest.mark.parametrize(
    ("operator", "below", "equal", "above"),
    [
        (">", False, False, True),
        ("<", True, False, False),
        (">=", False, True, True),
        ("<=", True, True, False),
        ("==", False, True, False),
        ("!=", True, False, True),
    ],
)
def test_a_comparison_is_of_the_field_with_the_value(operator: str, below: bool, equal: bool, above: bool) -> None:
    condition = criterion("rb", operator, 0.5)
    assert [accepts(condition, rb=rb) for rb in (0.4, 0.5, 0.6)] == [below, equal, above]


def test_contains_looks_into_texts_and_lists() -> None:
    assert accepts(criterion("rbversion", "contains", "f5"), rbversion="t8_f5_c3")
    assert not accepts(criterion("rbversion", "contains", "f6"), rbversion="t8_f5_c3")
    assert accepts(criterion("flags", "contains", 3), flags=[1, 3])
    assert not accepts(criterion("rb", "contains", 3), rb=0.3)


def test_exists_tells_what_is_there() -> None:
    for there in (criterion("drb", "exists"), criterion("drb", "exists", True)):
        assert accepts(there, drb=0.0)
        assert not accepts(there)
    absent = {"attribute": "drb", "operator": "exists", "value": False}
    assert accepts(absent)
    assert not accepts(absent, drb=0.0)


@pytest.mark.parametrize("candidate", [{}, {"drb": None}, {"drb": float("nan")}], ids=["absent", "null", "nan"])
@pytest.mark.parametrize("operator", [">", "<", ">=", "<=", "==", "!=", "contains"])
def test_what_is_missing_fulfils_nothing_but_its_absence(operator: str, candidate: dict[str, Any]) -> None:
    assert not accepts(criterion("drb", operator, 0.5), **candidate)
    assert accepts({"attribute": "drb", "operator": "exists", "value": False}, **candidate)


def test_a_text_does_not_compare_with_a_number() -> None:
    assert not accepts(criterion("rb", ">", 0.5), rb="0.9")
    assert not accepts(criterion("ssnamenr", "==", 0), ssnamenr="null")
    assert accepts(criterion("ssnamenr", "==", "null"), ssnamenr="null")


@given(st.booleans(), st.booleans(), st.booleans(), st.booleans())
def test_groups_are_and_and_or_to_any_depth(a: bool, b: bool, c: bool, d: bool) -> None:
    alert = alert_of(**{name: int(value) for name, value in zip("abcd", (a, b, c, d), strict=True)})
    one = {name: criterion(name, "==", 1) for name in "abcd"}

    def accept(**config: Any) -> bool:
        return BasicFilter(**config).accept(alert)

    assert accept(all_of=[one["a"], one["b"]]) == (a and b)
    assert accept(any_of=[one["a"], one["b"]]) == (a or b)
    assert accept(all_of=[one["a"], one["b"]], any_of=[one["c"], one["d"]]) == (a and b and (c or d))
    nested = {"any_of": [one["b"], {"all_of": [one["c"], {"any_of": [one["d"]]}]}]}
    assert accept(all_of=[one["a"], nested]) == (a and (b or (c and d)))


def history() -> tuple[DataPoint, ...]:
    """Four detections, of which the candidate is one, and a limit."""
    magnitudes = (17.5, 18.2, 18.8, 19.4)
    detections = [point("detection", magpsf=mag, fid=1 + at % 2, diffmaglim=20.5) for at, mag in enumerate(magnitudes)]
    return (*detections, point("upper_limit", diffmaglim=19.9, fid=1))


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        ({"over": "detections"}, True),
        ({"over": "detections", "operator": "==", "count": 4}, True),
        ({"over": "points", "operator": "==", "count": 5}, True),
        ({"over": "detections", "count": 3, "all_of": [criterion("magpsf", "<", 19)]}, True),
        ({"over": "detections", "count": 4, "all_of": [criterion("magpsf", "<", 19)]}, False),
        # fid and magnitude of the same datapoint: 17.5 and 18.8 are of band 1.
        ({"over": "detections", "operator": "==", "count": 2, "all_of": [criterion("magpsf", "<", 19),
          criterion("fid", "==", 1)]}, True),
        ({"over": "points", "operator": "==", "count": 4, "all_of": [criterion("magpsf", "exists")]}, True),
        ({"over": "points", "operator": "==", "count": 1, "all_of": [criterion("diffmaglim", "<", 20)]}, True),
        ({"over": "detections", "operator": "==", "count": 2, "any_of": [criterion("magpsf", "<", 18),
          criterion("magpsf", ">", 19)]}, True),
        ({"over": "detections", "operator": "<", "count": 1, "all_of": [criterion("magpsf", "<", 15)]}, True),
    ],
)  # fmt: skip
def test_a_count_is_of_datapoints_that_fulfil_all_conditions(count: dict[str, Any], expected: bool) -> None:
    assert BasicFilter(all_of=(count,)).accept(alert_of(history, magpsf=17.5)) is expected


def test_the_history_is_decoded_only_when_a_count_is_reached() -> None:
    chosen = BasicFilter(all_of=(criterion("rb", ">", 0.5), {"over": "detections", "count": 2}))
    assert chosen.accept(alert_of(rb=0.4)) is False
    assert chosen.accept(alert_of(history, rb=0.6)) is True


def test_needs_the_history_only_for_counts() -> None:
    rb = criterion("rb", ">", 0.5)
    assert BasicFilter(all_of=(rb, {"any_of": [rb]})).needs == "candidate"
    assert BasicFilter(any_of=(rb, {"any_of": [rb, {"over": "points"}]})).needs == "history"


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"all_of": [criterion("rb", "=>", 0.5)]}, "'>='"),
        ({"all_of": [criterion("rb", ">")]}, "needs a value"),
        ({"all_of": [criterion("rb", "exists", 3)]}, "true or false"),
        ({"all_of": [criterion("rb", ">", float("nan"))]}, "finite"),
        ({"all_of": [criterion("rb", ">", [1, 2])]}, "finite number, a text"),
        ({"all_of": [criterion("", ">", 1)]}, "at least 1 character"),
        ({"all_of": [criterion("rb", ">", 1) | {"valu": 2}]}, "Extra inputs"),
        ({"any_of": [{"all_of": []}]}, "must hold a condition"),
        ({}, "must hold a condition"),
        ({"all_of": [{"over": "limits"}]}, "'points' or 'detections'"),
        ({"all_of": [{"over": "points", "count": -1}]}, "greater than or equal to 0"),
        ({"all_of": [{"over": "points", "all_of": [{"any_of": [{"over": "points"}]}]}]}, "inside another"),
        ({"all_of": ["rb > 3"]}, "dictionary"),
    ],
)
def test_a_mistake_is_told_at_once(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message) as caught:
        BasicFilter(**config)
    # One mistake is one error: the other forms of a condition are not tried.
    assert caught.value.error_count() == 1


def test_what_is_spelled_out_as_default_does_not_change_the_identity() -> None:
    short = BasicFilter(all_of=({"over": "detections"},))
    long = BasicFilter(all_of=({"over": "detections", "operator": ">=", "count": 1, "all_of": []},), any_of=())
    assert short.identity() == long.identity()
    assert short.identity() != BasicFilter(all_of=({"over": "detections", "count": 2},)).identity()


#: What AMPEL's `BasicMultiFilter` conditions (ampel-alerts 0.10.1, its comparison of counts done on the values that its
#: AmpelAlert returns) accept of the 30 alerts, by the letters of the names; run once and copied.
AMPEL = [
    (
        {
            "any_of": [
                {
                    "over": "detections",
                    "count": 4,
                    "all_of": [criterion("rb", ">", 0.5), criterion("fid", "==", 1), criterion("magpsf", "<", 18)],
                },
                {"over": "detections", "count": 4, "all_of": [criterion("magdiff", ">", 0.3)]},
            ]
        },
        "aagtntk aakyuii aaxdjuj aaxkqbx aazvbob abaqwse abjapcg abkohxu",
    ),
    (
        {
            "all_of": [
                {"over": "detections", "operator": ">", "count": 2, "all_of": [criterion("isdiffpos", "==", "f")]},
                {"over": "detections", "operator": "==", "count": 0, "all_of": [criterion("magpsf", "<", 16)]},
            ]
        },
        "aagvndv aajrzje aaxyyiy abeagzr abehhsc abhxicf abifubd abitniy abjapcg abkohxu",
    ),
    (
        {
            "all_of": [
                {
                    "over": "detections",
                    "operator": "!=",
                    "count": 3,
                    "all_of": [criterion("isdiffpos", "contains", "t"), criterion("nbad", "<=", 0)],
                },
                {
                    "over": "detections",
                    "operator": "<",
                    "count": 10,
                    "all_of": [{"attribute": "drb", "operator": "exists", "value": False}],
                },
            ]
        },
        "aagtntk aajrzje aaltwag aampvkp aaxyyiy aazvbob abcecyc abeagzr abeymeo abginyq abhxicf abjdnqd abkohxu "
        "abmqeoz abnbmzc abnvuas abnvxif abnwopm",
    ),
]


@pytest.fixture(scope="module")
def packets() -> list[bytes]:
    if not ARCHIVE.exists():
        pytest.skip(f"the real packets are not here: {ARCHIVE}")
    with tarfile.open(ARCHIVE) as archive:
        files = [archive.extractfile(member) for member in archive]
        return [file.read() for file in files if file]


@pytest.mark.parametrize(("config", "accepted"), AMPEL, ids=["or", "and", "exists"])
def test_accepts_what_ampel_accepts(packets: list[bytes], config: dict[str, Any], accepted: str) -> None:
    chosen, ztf = BasicFilter(**config), ZTF()
    alerts = [alert for data in packets for alert in ztf.decode(Packet(data, "a.avro", 0))]
    assert len(alerts) == 30
    assert sorted(a.name[5:] for a in alerts if isinstance(a, Alert) and chosen.accept(a)) == accepted.split()


def test_explain_shows_each_condition_and_those_inside() -> None:
    chosen = BasicFilter(
        all_of=[
            {"attribute": "rb", "operator": ">", "value": 0.5},
            {"any_of": [criterion("magpsf", "<", 17.0), {"attribute": "drb", "operator": "exists"}]},
            {"over": "detections", "operator": ">=", "count": 2},
        ],
        any_of=[{"all_of": [criterion("fid", "==", 2), criterion("nbad", "==", 0)]}],
    )
    packet = encode_packet(make_alert(mag=18.5, rb=0.75, drb=None, band="r", nbad=1, cutouts=False))
    (alert,) = ZTF().decode(Packet(packet, "made-up", 0))
    assert isinstance(alert, Alert)
    mag = alert.candidate["magpsf"]
    assert chosen.explain(alert) == [
        Cut("rb", 0.75, "> 0.5", True),
        Cut("any_of", 0, ">= 1", False, (Cut("magpsf", mag, "< 17.0", False), Cut("drb", None, "exists True", False))),
        Cut("count of detections", 1, ">= 2", False),
        Cut(
            *("any_of", 0, ">= 1", False),
            (Cut("all_of", 1, ">= 2", False, (Cut("fid", 2, "== 2", True), Cut("nbad", 1, "== 0", False))),),
        ),
    ]
    assert not chosen.accept(alert)
