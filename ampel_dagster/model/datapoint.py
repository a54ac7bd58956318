"""The smallest measurement: a detection, an upper limit or a point of forced photometry."""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

Kind = Literal["detection", "upper_limit", "forced"]


class DataPoint(NamedTuple):
    """One datapoint as an instrument reads it from a packet.

    A NamedTuple and not a pydantic model: some twenty-five are made for every alert (`docs/decisions.md`).
    Points of equal `jd` and `sensor` come from one exposure; of those the largest `id` counts.
    """

    id: int
    kind: Kind
    jd: float
    #: Read-out channel of the camera (ZTF: rcid, 0..63).
    sensor: int
    #: AMPEL's tags: survey, data rights, band ("ZTF", "ZTF_PUB", "ZTF_G").
    tag: tuple[str, ...]
    #: How much the body tells: of two bodies of one datapoint the one of higher rank is kept.
    rank: int
    body: Mapping[str, Any]
