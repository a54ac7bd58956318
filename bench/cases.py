"""What is measured: chains of steps, each chain beginning with an empty database.

A step is measured in a process of its own, ours and AMPEL's in turn; one without a title only prepares the next.
"""

from typing import NamedTuple


class Step(NamedTuple):
    """One step of both systems; `case` is its name in the results, empty where it is not measured."""

    case: str
    title: str
    #: Arguments of `ours.py`; none: we have no such step.
    ours: tuple[str, ...] = ()
    #: Arguments of the peer's script; none: it has no such step.
    peer: tuple[str, ...] = ()
    #: Which packets: those seen first, or the same objects an hour later.
    packets: str = "first"
    #: Case whose figures of the peer are the ones to compare with, where the peer does not do it differently.
    like: str = ""


def _ingest(case: str, title: str, source: str = "bytes", channels: int = 1, packets: str = "first") -> Step:
    options = ("--source", source, "--channels", str(channels))
    return Step(case, title, ("ingest", *options), ("ingest", *options), packets)


_BASE = _ingest("", "")

CHAINS: tuple[tuple[Step, ...], ...] = (
    (_ingest("cold_tar", "T0+T1, empty base, from tar.gz", "tar"),),
    (_ingest("cold_tar_5", "T0+T1, empty base, 5 channels, from tar.gz", "tar", 5),),
    (
        _ingest("cold_bytes", "T0+T1, empty base, from bytes"),
        Step("t2_ids", "T2, trivial unit that reads ids only", ("t2",), ("t2",)),
        Step("t3_views", "T3, counting over full views", ("t3",), ("t3",)),
        Step("t3_react", "T3, a reaction with outbox and journal", ("react",), ("t3", "--t3-unit", "DemoT3Unit")),
        Step(
            "warm_replay",
            "T0+T1, all alerts known, from bytes",
            ("ingest", "--expect", "known"),
            ("ingest", "--source", "bytes"),
        ),
    ),
    (_ingest("cold_bytes_5", "T0+T1, empty base, 5 channels, from bytes", channels=5),),
    (
        _ingest("cold_objects", "T0+T1, empty base, from decoded alerts", "objects"),
        _ingest("warm_objects", "T0+T1, history known, alert new, from decoded alerts", "objects", packets="next"),
    ),
    (_BASE, _ingest("warm_bytes", "T0+T1, history known, alert new, from bytes", packets="next")),
    (
        Step(
            "reject_bytes",
            "T0, everything is rejected, from bytes",
            ("ingest", "--reject", "--times", "5", "--expect", "rejected"),
            ("ingest", "--source", "bytes", "--filter", "rejectall"),
        ),
    ),
    (
        Step("", "", ("ingest", "--unit", "points")),
        Step("t2_points", "T2, trivial unit with all fields of all points", ("t2", "--unit", "points"), like="t2_ids"),
    ),
    (
        Step("", "", ("ingest", "--unit", "light_curve")),
        Step("t2_light_curve", "T2, trivial unit with light curves", ("t2", "--unit", "light_curve"), like="t2_ids"),
    ),
)

TITLES = {step.case: step.title for chain in CHAINS for step in chain if step.case}
#: Cases of which it is told where the time goes.
STAGED = ("cold_bytes", "cold_bytes_5", "warm_bytes", "reject_bytes")
LIKE = {step.case: step.like for chain in CHAINS for step in chain if step.like}
