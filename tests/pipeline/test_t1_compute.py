"""T1 units: a value is there with its state; a bad unit costs its value; channels with other configurations share."""

from collections.abc import Mapping
from typing import Any, ClassVar

import pytest

from ampel_dagster.model.light_curve import LightCurve
from ampel_dagster.testing import make_alert, make_detection
from ampel_dagster.units.base import T1Compute
from ampel_dagster.units.bound import StateValue
from ampel_dagster.units.t1.retro import RetroCombiner
from ampel_dagster.units.t1.state_facts import StateFacts

JD = 2458349.7
NIGHT = "2018-08-19"


class Brighter(T1Compute):
    """How many points are brighter than a magnitude."""

    than: float = 18.0

    def compute(self, light_curve: LightCurve) -> Mapping[str, Any]:
        return {"n": int((light_curve.mag < self.than).sum())}


class Newer(Brighter):
    """The same of a later version, which says more."""

    version: ClassVar[str] = "2"

    def compute(self, light_curve: LightCurve) -> Mapping[str, Any]:
        return {**super().compute(light_curve), "of": len(light_curve)}


class Unruly(T1Compute):
    """Does what it is told, nothing of it right."""

    how: str

    def compute(self, light_curve: LightCurve) -> Mapping[str, Any]:
        answers: dict[str, Any] = {
            "object": {"a": object()},
            "number": 5,
            "large": {"a": "x" * 200_000},
            "deep": {"a": [[[[[[[[[[[1]]]]]]]]]]]},
        }
        answer: Mapping[str, Any] = answers[self.how]  # raises KeyError for any other
        return answer


def rules(world: Any, channel: str, *units: T1Compute, **more: Any) -> Any:
    """What a channel wants, with values named v0, v1 …"""
    made = world.rules(channel, **more)
    return type(made)(**{**made.__dict__, "values": tuple(StateValue(f"v{n}", u) for n, u in enumerate(units))})


def packet(day: int = 0) -> dict[str, Any]:
    """An object of magnitude 18.5, three days before of 17.5."""
    history = [make_detection(jd=JD - 3, mag=17.5), *([make_detection(jd=JD, mag=18.5)] if day else [])]
    return make_alert(jd=JD + day, mag=18.5, history=history, cutouts=False)


def computed(world: Any) -> list[dict[str, Any]]:
    """Values of all states, oldest first."""
    return [d.get("computed", {}) for d in world.ztf.states.collection.find().sort("jd", 1)]


def test_value_is_there_with_its_state(world: Any) -> None:
    channel = rules(world, "A", Brighter(), StateFacts())
    world.ingest(channel, packet(), run="night")
    (view,) = world.views(channel, NIGHT)
    assert view.t1["v0"] == {"n": 1}
    assert view.value("t1.v1.n_detections") == 2
    assert view.value("t1.v1.age_days") == pytest.approx(3.0)
    assert (view.value("t1.v2.n"), view.value("t1.v0.other")) == (None, None)
    (found,) = computed(world)
    assert {v["meta"]["run"] for v in found.values()} == {"night"}


def test_each_state_has_its_own_also_where_it_grew_from_another(world: Any) -> None:
    channel = rules(world, "A", StateFacts())
    world.ingest(channel, packet())
    world.ingest(channel, packet(1))
    assert [v["body"]["n_detections"] for found in computed(world) for v in found.values()] == [2, 3]


def test_states_of_the_past_have_theirs(world: Any) -> None:
    world.ingest(rules(world, "A", StateFacts(), combiner=RetroCombiner()), packet())
    assert [v["body"]["n_detections"] for found in computed(world) for v in found.values()] == [1, 2]


def test_channels_share_a_state_and_not_the_configuration(world: Any) -> None:
    one, other = rules(world, "A", Brighter()), rules(world, "B", Brighter(than=19.0))
    world.ingest([one, other], packet())
    (found,) = computed(world)
    assert len(found) == 2
    assert [world.views(r, NIGHT)[0].t1["v0"]["n"] for r in (one, other)] == [1, 2]


def test_channel_that_comes_later_adds_its_value_and_repeats_none(world: Any) -> None:
    world.ingest(rules(world, "A", Brighter()), packet(), run="first")
    world.ingest(rules(world, "B", Brighter(), StateFacts()), packet(), run="second")
    (found,) = computed(world)
    assert {v["unit"]: v["meta"]["run"] for v in found.values()} == {"Brighter": "first", "StateFacts": "second"}


def test_new_version_is_computed_on_request(lab: Any) -> None:
    lab.ingest(rules(lab, "A", Brighter()), packet())
    newer = rules(lab, "A", type("Brighter", (Newer,), {"__module__": __name__})())
    lab.ingest(newer, packet())
    assert next(iter(computed(lab)[0].values()))["version"] == "1"  # known: nothing is done
    lab.combine([newer], [NIGHT])
    assert [v["body"] for v in computed(lab)[0].values()] == [{"n": 1, "of": 2}]


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("raise", "KeyError: 'raise'"),
        ("object", "a object cannot be stored"),
        ("number", "a T1 unit returns a dict, not int"),
        ("large", "what is large belongs into T2"),
        ("deep", "deeper than 10 levels"),
    ],
)
def test_bad_unit_costs_its_value_and_nothing_else(world: Any, how: str, said: str) -> None:
    channel = rules(world, "A", Brighter(), Unruly(how=how))
    tally = world.ingest(channel, packet())
    assert (tally.counts["t1"], tally.counts["t1_failed"]) == (1, 1)
    (view,) = world.views(channel, NIGHT)
    assert list(view.t1) == ["v0"]
    (bad,) = (v for v in computed(world)[0].values() if v["code"] < 0)
    assert (bad["unit"], bad["code"]) == ("Unruly", -4)
    assert said in bad["error"]["message"]


def test_replay_computes_nothing_anew(world: Any) -> None:
    channel = rules(world, "A", StateFacts())
    world.ingest(channel, packet(), run="first")
    before = computed(world)
    world.ingest(channel, packet(), run="again")
    assert computed(world) == before


def test_channel_sees_its_values_only(world: Any) -> None:
    one, other = rules(world, "A", StateFacts()), rules(world, "B")
    world.ingest([one, other], packet())
    assert not world.views(other, NIGHT)[0].t1
