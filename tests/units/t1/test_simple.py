"""SimpleCombiner: all points, but one of each exposure."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from ampel_dagster.units.t1.simple import SimpleCombiner

Row = tuple[int, str, float, int]


def combine(*rows: Row) -> list[int]:
    return sorted(SimpleCombiner().combine(rows))  # type: ignore[arg-type]


def test_points_of_different_exposures_all_count() -> None:
    assert combine((1, "detection", 5.0, 0), (2, "detection", 5.0, 1), (3, "detection", 6.0, 0)) == [1, 2, 3]


def test_of_one_exposure_the_largest_id_counts() -> None:
    assert combine((3, "detection", 5.0, 0), (7, "detection", 5.0, 0), (5, "detection", 5.0, 0)) == [7]


def test_detection_beats_the_limit_of_its_exposure() -> None:
    # Limits have negative ids, in ZTF.
    assert combine((-9, "upper_limit", 5.0, 0), (7, "detection", 5.0, 0), (-9, "upper_limit", 5.0, 0)) == [7]


def test_forced_photometry_competes_with_itself_only() -> None:
    assert combine((7, "detection", 5.0, 0), (1, "forced", 5.0, 0), (4, "forced", 5.0, 0)) == [4, 7]


def test_nothing_gives_nothing() -> None:
    assert combine() == []


_ROWS = st.lists(
    st.tuples(
        st.integers(-(1 << 63), (1 << 63) - 1),
        st.sampled_from(["detection", "upper_limit", "forced"]),
        st.sampled_from([1.0, 2.0, 2458349.70001]),
        st.integers(0, 2),
    ),
    unique_by=lambda row: row[0],
)


@given(_ROWS, st.randoms())
def test_order_does_not_matter(rows: list[Row], random: Random) -> None:
    expected = combine(*rows)
    random.shuffle(rows)
    assert combine(*rows) == expected


@given(_ROWS)
def test_one_point_an_exposure_and_kind(rows: list[Row]) -> None:
    chosen = combine(*rows)
    exposures = {(jd, sensor, kind == "forced") for _, kind, jd, sensor in rows}
    assert len(chosen) == len(exposures)
    assert set(chosen) <= {id_ for id_, *_ in rows}
