"""T3: a view holds what its channel may see, as of its night, and nothing else."""

from dataclasses import fields
from typing import Any, ClassVar

import pytest

from ampel_dagster.model.datapoint import DataPoint
from ampel_dagster.model.result import UnitResult
from ampel_dagster.model.selection import Select, Tags
from ampel_dagster.model.stock import Stock
from ampel_dagster.model.view import TransientView
from ampel_dagster.pipeline.t3_react import react_to_night
from ampel_dagster.pipeline.t3_views import view_of_stock
from ampel_dagster.testing import make_detection, make_limit
from ampel_dagster.units.base import PointUnit, StockUnit, T2Return, Tied
from ampel_dagster.units.bound import Process, Product

NIGHT, NEXT = "2018-08-19", "2018-08-20"
PUBLIC = ("ZTF", "ZTF_PUB")
ALL = ("ZTF", "ZTF_PUB", "ZTF_PRIV")


def names(views: list[TransientView]) -> list[str]:
    return sorted(view.name for view in views)


def everything(view: TransientView) -> str:
    """All that can be read of a view, as text."""
    found = [repr(getattr(view, field.name)) for field in fields(view)]
    return " ".join([*found, repr(view.light_curve), repr(view.cutouts), repr(view.history)])


# --- as of the night


def test_view_shows_the_object_as_it_was_in_its_night(world: Any) -> None:
    product = world.product(lambda state, *_: {"n": len(state.dps)})
    rules = world.rules("A", product)
    first = world.star(0, mag=18.0, ra=150.0, history=[make_limit(jd=world.jd(-2))])
    later = world.star(0, world.jd(1), mag=17.0, ra=150.001, history=[make_detection(jd=world.jd(0), mag=18.0)])
    world.ingest(rules, first, source="night1.tar", run="run 1")
    world.compute(product)
    (before,) = world.views(rules, NIGHT)
    world.ingest(rules, later, source="night2.tar", run="run 2")
    world.compute(product)
    (view,) = world.views(rules, NIGHT)
    assert view == before
    assert (view.name, view.night, view.source, view.offset, view.run) == (
        "ZTF18aaaaaaa",
        NIGHT,
        "night1.tar",
        0,
        "run 1",
    )
    assert [point.kind for point in view.points] == ["upper_limit", "detection"]
    assert view.light_curve.mag[-1] == pytest.approx(18.0)
    assert (view.ra_deg, view.dec_deg) == (pytest.approx(150.0), pytest.approx(20.0))
    assert view.t2["probe"].body == {"n": 2}
    assert view.states == (view.link,)
    (after,) = world.views(rules, NEXT)
    assert after.ra_deg == pytest.approx(150.001)
    assert after.t2["probe"].body == {"n": 3}
    assert after.states == (view.link, after.link)


def test_view_is_of_the_last_alert_of_the_night(world: Any) -> None:
    rules = world.rules("A")
    world.ingest(rules, world.star(0, world.jd(0.1), mag=17.0), world.star(0, mag=18.0), world.star(1))
    first, second = world.views(rules, NIGHT)
    assert [len(view.alerts) for view in (first, second)] == [2, 1]
    assert first.light_curve.mag == pytest.approx([18.0, 17.0])
    assert len(first.states) == 2
    assert first.link == first.states[-1]


def test_one_object_as_its_channel_saw_it_last_or_in_a_state(world: Any) -> None:
    rules, other = world.rules("A"), world.rules("B")
    world.ingest(rules, world.star(0, mag=18.0, candid=11), world.star(0, world.jd(0.1), mag=17.5, candid=12))
    world.ingest([rules, other], world.star(0, world.jd(1), mag=17.0, candid=13))
    stock = world.views(rules, NIGHT)[0].stock

    def look(*which: Any) -> TransientView | None:
        return view_of_stock(world.ztf, world.instrument, *which)

    last = look(rules, stock)
    assert last == world.views(rules, NEXT)[0]
    assert [(s.n_points, s.alerts, s.night) for s in last.history] == [
        (1, (11,), NIGHT),
        (2, (12,), NIGHT),
        (3, (13,), NEXT),
    ]
    first = look(rules, stock, last.states[0])
    assert (first.night, first.alerts, len(first.points), len(first.history)) == (NIGHT, (11,), 1, 1)
    # The other channel took the last alert alone; the states before are none of its business.
    (mine,) = look(other, stock).history
    assert (mine.alerts, mine.link) == ((13,), look(other, stock).link)
    assert look(other, stock, last.states[0]) is None
    assert look(world.rules("C"), stock) is None


def test_stamps_are_those_of_the_last_alert(world: Any) -> None:
    world.stream = world.stream.model_copy(update={"cutouts": "accepted"})
    rules = world.rules("A")
    world.ingest(rules, world.star(0, cutouts=True))
    (view,) = world.views(rules, NIGHT)
    assert set(view.cutouts) == {"science", "template", "difference"}
    assert all(stamp.startswith(b"\x1f\x8b") for stamp in view.cutouts.values())


def test_result_that_failed_or_is_to_come_is_not_shown(world: Any) -> None:
    def broken(*_: Any) -> T2Return:
        raise ValueError("no")

    class Later(StockUnit):
        def process(self, stock: Stock, tied: Tied) -> T2Return:
            return {}

    good, later = world.product(lambda *_: UnitResult({"a": 1}, code=4), "good"), Product("later", Later())
    bad = Product("bad", world.product(broken).unit, (good,))
    rules = world.rules("A", good, bad, later)
    world.ingest(rules, world.star(0))
    world.compute(good, bad, run="run 9")
    (view,) = world.views(rules, NIGHT)
    assert set(view.t2) == {"good"}
    result = view.t2["good"]
    assert (result.code, result.body, result.unit, result.version, result.run) == (4, {"a": 1}, "Probe", "1", "run 9")
    assert (result.input, result.product) == (view.link, "good")


def test_last_valid_result_stays_in_view(world: Any) -> None:
    answers = iter([{"n": 1}])
    product = world.product(lambda *_: next(answers))  # the second time it raises
    rules = world.rules("A", product)
    world.ingest(rules, world.star(0))
    world.compute(product, run="good")
    world.ztf.tickets.reset({})
    world.compute(product, run="bad")
    (view,) = world.views(rules, NIGHT)
    assert (view.t2["probe"].body, view.t2["probe"].run, view.t2["probe"].code) == ({"n": 1}, "good", 0)


def test_result_of_a_point_product_is_that_of_the_newest_point(world: Any) -> None:
    class Magnitude(PointUnit):
        needs: ClassVar[tuple[str, ...] | None] = ("magpsf",)

        def process(self, point: DataPoint, tied: Tied) -> T2Return:
            return {"mag": point.body["magpsf"]}

    product = Product("magnitude", Magnitude())
    rules = world.rules("A", product)
    world.ingest(rules, world.star(0, mag=17.0, history=[make_detection(jd=world.jd(-1), mag=18.0)]))
    world.compute(product)
    (view,) = world.views(rules, NIGHT)
    assert view.t2["magnitude"].body == {"mag": pytest.approx(17.0)}


# --- rights


def test_channel_sees_its_own_objects_only(world: Any) -> None:
    a, b = world.rules("A"), world.rules("B")
    world.ingest(a, world.star(0), world.star(1))
    world.ingest(b, world.star(1), world.star(2))
    assert names(world.views(a, NIGHT)) == ["ZTF18aaaaaaa", "ZTF18aaaaaab"]
    assert names(world.views(b, NIGHT)) == ["ZTF18aaaaaab", "ZTF18aaaaaac"]
    assert world.views(a, NEXT) == []


def test_points_without_rights_are_not_shown(world: Any) -> None:
    public, full = world.rules("PUBLIC", access=PUBLIC), world.rules("FULL", access=ALL)
    secret = make_detection(jd=world.jd(-1), mag=15.0, programid=2)
    hidden = make_limit(jd=world.jd(-2), programid=2)
    world.ingest([public, full], world.star(0, mag=18.0, history=[secret, hidden]))
    (mine,), (theirs,) = world.views(public, NIGHT), world.views(full, NIGHT)
    assert [point.body["magpsf"] for point in mine.points] == [pytest.approx(18.0)]
    assert len(mine.light_curve) == 1
    assert len(theirs.points) == 3
    assert mine.link != theirs.link
    assert theirs.link not in mine.states


def test_point_that_is_not_the_channels_is_not_shown_though_its_state_holds_it(world: Any) -> None:
    rules = world.rules("A")
    world.ingest(rules, world.star(0, history=[make_detection(jd=world.jd(-1))]))
    (before,) = world.views(rules, NIGHT)
    assert len(before.points) == 2
    world.ztf.points.collection.update_one({"_id": before.points[0].id}, {"$set": {"channel": ["B"]}})
    (view,) = world.views(rules, NIGHT)
    assert view.points == before.points[1:]
    assert len(view.light_curve) == 1


def test_private_alert_leaves_no_trace_in_a_public_view(world: Any) -> None:
    """Another channel follows the object with data that this one has no right to."""
    product = world.product(lambda state, *_: {"n": len(state.dps)})

    class Where(StockUnit):
        def process(self, stock: Stock, tied: Tied) -> T2Return:
            return {"ra": stock.ra_deg}

    stock_product = Product("where", Where())
    public = world.rules("PUBLIC", product, access=PUBLIC)
    full = world.rules("HIDDEN_PROGRAMME", product, stock_product, access=ALL)
    world.ingest([public, full], world.star(0, ra=150.0))
    (before,) = world.views(public, NIGHT)
    late = world.star(0, world.jd(0.1), ra=150.002, mag=15.5, programid=2)
    world.ingest([public, full], late, run="secret run")
    world.compute(product, stock_product)
    (view,) = world.views(public, NIGHT)
    (theirs,) = world.views(full, NIGHT)
    assert len(theirs.alerts) == 2
    assert (view.points, view.alerts, view.link, view.ra_deg) == (
        before.points,
        before.alerts,
        before.link,
        pytest.approx(150.0),
    )
    assert view.t2["probe"].body == {"n": 1}
    seen = everything(view)
    for trace in ("HIDDEN_PROGRAMME", "secret run", str(theirs.alerts[-1]), str(theirs.link), "where", "15.5"):
        assert trace in everything(theirs)
        assert trace not in seen


def test_products_that_the_channel_did_not_ask_for_are_not_shown(world: Any) -> None:
    asked, other = world.product(lambda *_: {"x": 1}, "asked"), Product("other", _Named())
    mine, theirs = world.rules("A", asked), world.rules("B", other)
    both = world.rules("C", asked, other)
    world.ingest([mine, theirs, both], world.star(0))
    world.compute(asked, other)
    assert [set(world.views(rules, NIGHT)[0].t2) for rules in (mine, theirs, both)] == [
        {"asked"},
        {"other"},
        {"asked", "other"},
    ]
    (view,) = world.views(mine, NIGHT)
    assert view.value("other.name") is None
    # Not even by naming it, as long as no ticket was made for the channel.
    (view,) = world.views(world.rules("A", asked, other), NIGHT)
    assert set(view.t2) == {"asked"}


class _Named(StockUnit):
    def process(self, stock: Stock, tied: Tied) -> T2Return:
        return {"name": stock.name}


def test_stamps_of_other_alerts_cannot_be_read(world: Any) -> None:
    world.stream = world.stream.model_copy(update={"cutouts": "accepted"})
    a, b = world.rules("A"), world.rules("B")
    world.ingest(a, world.star(0, cutouts=True))
    world.ingest(b, world.star(1, cutouts=True))
    (mine,), (theirs,) = world.views(a, NIGHT), world.views(b, NIGHT)
    assert theirs.cutouts
    assert mine.read_cutouts(theirs.alerts[0]) == {}


@pytest.mark.parametrize(
    "path", ["points", "t2", "read_cutouts", "__class__", "alerts", "other.name", "probe", "", "."]
)
def test_only_listed_values_can_be_named(world: Any, path: str) -> None:
    product = world.product(lambda *_: {"n": {"m": 1}})
    rules = world.rules("A", product)
    world.ingest(rules, world.star(0))
    world.compute(product)
    (view,) = world.views(rules, NIGHT)
    assert view.value(path) is None
    assert (view.value("probe.n.m"), view.value("name"), view.value("probe.n.x.y")) == (1, "ZTF18aaaaaaa", None)


# --- selection


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ([], "abc"),
        (["probe.ndet >= 2"], "bc"),
        (["probe.ndet >= 2", "probe.ndet < 3"], "b"),
        (["name == ZTF18aaaaaac"], "c"),
        (["probe.type == 'SN Ia'"], "a"),
        (["probe.type != 'SN Ia'"], "b"),  # the third has no type: what is missing fulfils nothing
        (["probe.good == true"], "ac"),
        (["probe.nothing > 0"], ""),
        (["probe.type > 3"], ""),  # cannot be compared
        (["ra_deg > 150"], "bc"),
    ],
)
def test_selection_by_values(world: Any, where: list[str], expected: str) -> None:
    bodies = {
        "a": {"ndet": 1, "type": "SN Ia", "good": True},
        "b": {"ndet": 2, "type": "AGN", "good": False},
        "c": {"ndet": 3, "type": None, "good": True},
    }
    letters = {world.instrument.stock_id(f"ZTF18aaaaaa{letter}"): letter for letter in bodies}
    product = world.product(lambda state, *_: bodies[letters[state.stock]])
    rules = world.rules("A", product)
    world.ingest(rules, world.star(0, ra=149.9), world.star(1, ra=150.1), world.star(2, ra=150.2))
    world.compute(product)
    select = Select(where=tuple(where))
    assert "".join(letters[view.stock] for view in world.views(rules, NIGHT) if select.holds(view)) == expected


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ({}, ["a", "b", "c"]),
        ({"with": ["SN"]}, ["a", "b"]),
        ({"with": ["SN", "NEAR"]}, ["b"]),
        ({"without": ["SN"]}, ["c"]),
        ({"with": ["SN"], "without": ["NEAR"]}, ["a"]),
    ],
)
def test_selection_by_tags_of_the_stock(world: Any, tags: dict[str, list[str]], expected: list[str]) -> None:
    rules = world.rules("A")
    world.ingest(rules, *(world.star(n) for n in range(3)))
    for name, tag in (("ZTF18aaaaaaa", ["SN"]), ("ZTF18aaaaaab", ["SN", "NEAR"])):
        world.ztf.stocks.collection.update_one({"name": name}, {"$set": {"tag": tag}})
    process = Process("p", (), Select(tags=Tags.model_validate(tags)))
    done = react_to_night(world.reaction(process, rules), NIGHT)
    assert [name[-1] for name in done.names] == expected
    assert (done.counts["seen"], done.counts["selected"]) == (3, len(expected))
