"""Figures: counts for people, and digests that change with the content and with nothing else."""

from collections.abc import Sequence
from datetime import date
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ampel_dagster.instruments.ztf import ZTF
from ampel_dagster.model.alert import Packet
from ampel_dagster.model.datapoint import DataPoint
from ampel_dagster.model.run import RunInfo
from ampel_dagster.model.stock import State
from ampel_dagster.model.stream import Stream
from ampel_dagster.pipeline.t0_ingest import Ingestion
from ampel_dagster.pipeline.t2_augment import Augmentation
from ampel_dagster.pipeline.tiers import compute, ingest
from ampel_dagster.storage.figures import (
    Figures,
    alert_figures,
    channel_counts,
    codes_of,
    counts,
    result_figures,
    state_figures,
)
from ampel_dagster.storage.store import Store
from ampel_dagster.testing import encode_packet, make_alert, make_detection, make_limit
from ampel_dagster.units.base import StateUnit, T2Return, Tied
from ampel_dagster.units.bound import ChannelRules, Product, Request
from ampel_dagster.units.t1.simple import SimpleCombiner

JD, NIGHT, NEXT = 2458349.7, "2018-08-19", "2018-08-20"
INT64 = st.integers(-(1 << 63), (1 << 63) - 1)


class Answer(StateUnit):
    needs: ClassVar[tuple[str, ...] | None] = ()
    #: What it answers; may change while the configuration stays.
    value: ClassVar[Any] = 1

    def process(self, state: State, points: Sequence[DataPoint], tied: Tied) -> T2Return:
        if isinstance(self.value, Exception):
            raise self.value
        return {"value": self.value}


PRODUCT = Product("answer", Answer())


@pytest.fixture(autouse=True)
def _first_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Answer, "value", 1)


def rules(channel: str) -> ChannelRules:
    return ChannelRules.make(
        channel,
        "ztf",
        filter=None,
        known_stocks="filter",
        access=frozenset({"ZTF", "ZTF_PUB"}),
        combiner=SimpleCombiner(),
        requests=(Request(PRODUCT),),
    )


def alert(number: int, jd: float = JD, **more: Any) -> dict[str, Any]:
    return make_alert(name=f"ZTF18aaaaaa{'abcdef'[number]}", jd=jd, tblid=number + 1, cutouts=False, **more)


def read(
    store: Store, *alerts: dict[str, Any], channels: Sequence[str] = ("A",), source: str = "a", run: str = "r"
) -> None:
    stream = Stream(survey="ztf", start_date=date(2017, 11, 1))
    packets = [Packet(encode_packet(packet), source, n) for n, packet in enumerate(alerts)]
    ingest(Ingestion(store, ZTF(), stream, [rules(c) for c in channels], RunInfo(run, 1)), packets).consume()


def run_t2(store: Store, run: str = "t2") -> None:
    compute(Augmentation(store, ZTF(), [PRODUCT], RunInfo(run, 1), {})).consume()


def digests(store: Store, channel: str = "A", night: str = NIGHT) -> tuple[str, str, str]:
    survey = store.survey("ztf")
    found = (
        alert_figures(survey, channel, night),
        state_figures(survey, channel, night),
        result_figures(survey, PRODUCT.id, channel, night),
    )
    return tuple(figures.content_digest for figures in found)  # type: ignore[return-value]


# --- digests


@given(st.lists(st.lists(INT64, min_size=1, max_size=4)), st.randoms(use_true_random=False))
def test_digest_does_not_depend_on_the_order(documents: list[list[int]], random: Any) -> None:
    def digest(order: list[list[int]], parts: int) -> tuple[int, str]:
        total = Figures()
        for part in range(parts):
            mine = Figures()
            for content in order[part::parts]:
                mine.add(*content)
            total.merge(mine)
        return total.documents, total.content_digest

    shuffled = random.sample(documents, len(documents))
    assert digest(documents, 1) == digest(shuffled, 1) == digest(documents, 3)


@given(st.lists(INT64, min_size=1, max_size=4), st.lists(INT64, min_size=1, max_size=4))
def test_digest_depends_on_the_content(one: list[int], other: list[int]) -> None:
    first, second = Figures(), Figures()
    first.add(*one)
    second.add(*other)
    assert (first.content_digest == second.content_digest) is (one == other)
    first.add(*one)
    assert first.content_digest != second.content_digest  # twice is not once


def test_nothing_has_a_digest_too() -> None:
    assert (Figures().documents, Figures().content_digest) == (0, "0" * 16)


def test_replay_in_any_order_and_form_leaves_the_digests(store: Store) -> None:
    alerts = [alert(0), alert(1), alert(2)]
    read(store, *alerts)
    run_t2(store)
    before = digests(store)
    read(store, *alerts, run="replay")
    read(store, *reversed(alerts), source="another name")
    run_t2(store)
    assert digests(store) == before
    # The same results, computed again by another run.
    store.survey("ztf").tickets.reset({})
    run_t2(store, "again")
    assert digests(store) == before
    # All again, into an empty database and in another order.
    for name in store.database.list_collection_names():
        store.database[name].delete_many({})
    for packet in reversed(alerts):
        read(store, packet, source=f"alone {packet['candid']}")
    run_t2(store)
    assert digests(store) == before
    assert "0" * 16 not in before


def test_digests_of_channels_that_see_the_same_are_the_same(store: Store) -> None:
    read(store, alert(0), channels=("A", "B"))
    run_t2(store)
    assert digests(store, "A") == digests(store, "B") != digests(store, "C")


def test_what_changes_changes_its_own_digest_only(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    read(store, alert(0), alert(1))
    run_t2(store)
    before, other = digests(store), digests(store, night=NEXT)
    for value in (2, ValueError("no")):
        monkeypatch.setattr(Answer, "value", value)
        store.survey("ztf").tickets.reset({"stock": ZTF().stock_id("ZTF18aaaaaaa")})
        run_t2(store)
        after = digests(store)
        assert after[:2] == before[:2]
        assert after[2] != before[2]
        before = after
    read(store, alert(2))
    run_t2(store)
    assert all(now != then for now, then in zip(digests(store), before, strict=True))
    assert digests(store, night=NEXT) == other == ("0" * 16,) * 3


# --- counts


def test_counts_have_the_form_that_programs_read(store: Store) -> None:
    assert counts(store, ["ztf"], {}) == {
        "ztf": {
            "alert": 0,
            "rejected": 0,
            "stock": 0,
            "t0": {"total": 0, "detections": 0, "upper_limits": 0, "forced": 0, "superseded": 0},
            "t1": {"total": 0, "dps": 0},
            "t2": {},
            "cutout": 0,
        },
        "quarantine": 0,
        "t3": {},
    }


def test_counts_of_what_is_stored(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    # Object a: an alert with a detection and a limit before it, and one the night after, with the first in its
    # history. Object b: one alert. Object c: one alert, of whose exposure there is a second detection, which counts.
    history = [make_detection(jd=JD - 2), make_limit(jd=JD - 1)]
    later = alert(0, JD + 1, history=[*history, make_detection(jd=JD)])
    again = make_detection(jd=JD, tblid=9)
    read(store, alert(0, history=history), alert(1), later, alert(2, history=[again]))
    read(store, alert(0), channels=("B",), source="b")
    run_t2(store)
    monkeypatch.setattr(Answer, "value", ValueError("no"))
    store.survey("ztf").tickets.reset({"stock": ZTF().stock_id("ZTF18aaaaaab")})
    run_t2(store)
    found = counts(store, ["ztf"], {PRODUCT.id: "answer"})["ztf"]
    assert (found["alert"], found["stock"], found["rejected"], found["cutout"]) == (4, 3, 0, 0)
    assert found["t0"] == {"total": 7, "detections": 3 + 1 + 2, "upper_limits": 1, "forced": 0, "superseded": 1}
    assert found["t1"] == {"total": 4, "dps": 3 + 4 + 1 + 1}
    assert found["t2"] == {"answer": {"-4": 1, "0": 3}}
    survey = store.survey("ztf")
    assert codes_of(survey, PRODUCT.id, ["A"], [NIGHT]) == {0: 2, -4: 1}
    assert codes_of(survey, PRODUCT.id, ["B"], [NEXT]) == {}
    assert channel_counts(store, survey, "B") == {"alert": 1, "stock": 1, "t1": 1, "t2": {"answer": {0: 1}}, "t3": 0}


def test_product_that_is_no_longer_configured_is_counted_as_unknown(store: Store) -> None:
    read(store, alert(0))
    assert counts(store, ["ztf"], {})["ztf"]["t2"] == {f"unknown:{PRODUCT.id}": {"-1": 1}}
