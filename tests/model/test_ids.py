"""Ids: the same for ever, and the same for the same thing.

The fixed digests are of `b2sum -l 64` (GNU coreutils): stored documents are found by these ids.
"""

import enum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ampel_dagster.model.ids import hash64, hash_ints, hash_json, state_link

INT64 = st.integers(-(1 << 63), (1 << 63) - 1)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


def signed(digest: str) -> int:
    return int.from_bytes(bytes.fromhex(digest), "big", signed=True)


def test_hashes_are_those_of_another_program() -> None:
    assert hash64(b"abc") == signed("d8bb14d833d59559")
    # printf '\x00\x00\x00\x00\x00\x00\x00\x01\xff\xff\xff\xff\xff\xff\xff\xfe'
    assert hash_ints(1, -2) == signed("2f5ee120f3d06c10")
    # printf '{"a":[1,2.5,null],"b":"é"}'
    assert hash_json({"b": "é", "a": [1, 2.5, None]}) == signed("8d19465660cd71d8")


@given(st.binary())
def test_ids_fit_into_64_bits(data: bytes) -> None:
    assert -(1 << 63) <= hash64(data) < 1 << 63


@given(INT64, INT64)
def test_order_of_integers_matters(first: int, second: int) -> None:
    assert (hash_ints(first, second) == hash_ints(second, first)) is (first == second)


def _shuffled(value: Any) -> Any:
    """The same with all keys in the opposite order."""
    if isinstance(value, dict):
        return {key: _shuffled(item) for key, item in reversed(value.items())}
    return [_shuffled(item) for item in value] if isinstance(value, list) else value


@given(JSON)
def test_order_of_keys_does_not_matter(value: Any) -> None:
    assert hash_json(value) == hash_json(_shuffled(value))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ([1, 2], [2, 1]),
        ({"a": 1}, {"a": 1.5}),
        ({"a": None}, {}),
        (["ab"], ["a", "b"]),
        ("1", 1),
        (True, 1),
        ([], {}),
        ([[1], 2], [1, [2]]),
    ],
)
def test_different_things_have_different_ids(one: Any, other: Any) -> None:
    assert hash_json(one) != hash_json(other)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), [-float("inf")]])
def test_what_is_no_number_has_no_id(value: Any) -> None:
    with pytest.raises(ValueError, match="JSON"):
        hash_json(value)


@pytest.mark.parametrize("value", [object(), {1, 2}, b"bytes", enum.Enum("E", "A").A, 1j])  # type: ignore[attr-defined]
def test_what_json_cannot_hold_has_no_id(value: Any) -> None:
    with pytest.raises(TypeError):
        hash_json({"a": value})


@given(INT64, INT64, st.lists(INT64), st.randoms(use_true_random=False))
def test_state_is_a_set_of_points(combiner: int, stock: int, dps: list[int], random: Any) -> None:
    link = state_link(combiner, stock, dps)
    again = [*dps, *(random.choice(dps) for _ in dps)]
    random.shuffle(again)
    assert state_link(combiner, stock, again) == link
    assert -(1 << 63) <= link < 1 << 63


@given(INT64, INT64, st.sets(INT64, min_size=1), INT64)
def test_state_is_another_with_other_points_stock_or_combiner(
    combiner: int, stock: int, dps: set[int], new: int
) -> None:
    link = state_link(combiner, stock, dps)
    assert (state_link(combiner, stock, dps | {new}) == link) is (new in dps)
    assert (state_link(combiner, new, dps) == link) is (new == stock)
    assert (state_link(new, stock, dps) == link) is (new == combiner)
    fewer = list(dps)[1:]
    assert state_link(combiner, stock, fewer) != link


def test_empty_state_has_a_link_of_its_own() -> None:
    assert len({state_link(1, 2, []), state_link(1, 3, []), state_link(2, 2, []), state_link(1, 2, [0])}) == 4
