"""Channels that go through an archive one after the other share the states of the alerts that both take."""

from typing import Any

from ampel_dagster.model.alert import Alert
from ampel_dagster.model.run import RunInfo
from ampel_dagster.pipeline.ingest import SelectionWriter
from ampel_dagster.pipeline.t0_ingest import Ingestion, select
from ampel_dagster.pipeline.tiers import combine
from ampel_dagster.pipeline.write_ahead import write_overlapping
from ampel_dagster.testing import make_alert, make_limit
from ampel_dagster.units.base import AlertFilter

JD = 2458349.7
NIGHTS = ("2018-08-19", "2018-08-20")


class Bright(AlertFilter):
    """Takes what is brighter than magnitude 18."""

    def accept(self, alert: Alert) -> bool:
        return bool(alert.candidate["magpsf"] < 18)


def packets(world: Any) -> list[Any]:
    """A faint alert whose packet knows a limit, and a bright one of the next night whose packet does not."""
    first = make_alert(jd=JD, mag=18.5, history=[make_limit(jd=JD - 3)], cutouts=False)
    found: list[Any] = world.packets(first, make_alert(jd=JD + 1, mag=17.5, cutouts=False), source="nights.tar")
    return found


def alone(world: Any, rules: Any, other: Any, *, apart: bool) -> None:
    """One channel goes through all packets."""
    who = RunInfo(f"run of {rules.channel}", 1)
    ingestion = Ingestion(
        world.store, world.instrument, world.stream, [rules], who, with_states=not apart, neighbours=[other]
    )
    write_overlapping(select(ingestion, packets(world)), SelectionWriter(ingestion).write)
    if apart:
        accepted = world.ztf.ledger.accepted([rules.channel], NIGHTS)
        combine(world.store, world.instrument, [rules], who, accepted, NIGHTS, [other]).consume()


def check(lab: Any, *, apart: bool) -> None:
    product = lab.product(lambda state, *_: {"n": len(state.dps)})
    bright, every = lab.rules("BRIGHT", product, filter=Bright()), lab.rules("EVERY")
    alone(lab, bright, every, apart=apart)
    lab.compute(product)
    (view,) = lab.views(bright, NIGHTS[1])
    assert (len(view.points), view.t2["probe"].body) == (1, {"n": 1})
    alone(lab, every, bright, apart=apart)
    # What EVERY's packets brought is known of the object now, to both: the limit, and the fainter detection.
    lab.compute(product)
    (view,), (same,) = lab.views(bright, NIGHTS[1]), lab.views(every, NIGHTS[1])
    assert (len(view.points), view.t2["probe"].body) == (3, {"n": 3})
    assert view.link == same.link
    assert len(view.states) == 2
    assert lab.unsound([bright, every]) == []


def test_packet_by_packet(lab: Any) -> None:
    check(lab, apart=False)


def test_one_tier_after_the_other(lab: Any) -> None:
    check(lab, apart=True)
