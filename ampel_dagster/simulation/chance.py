"""Random numbers that are looked up by name instead of being drawn in turn.

What an object is, and how an exposure turns out, must not depend on what was simulated before. So every
random number is a hash of the seed and of what it is for.
"""

from hashlib import blake2b
from statistics import NormalDist
from struct import unpack

_STANDARD_NORMAL = NormalDist()
#: Beyond this many sigma no noise is drawn: a single outlier would make a detection of nothing.
MAX_SIGMA = 3.0


def uniforms(*key: int | str) -> tuple[float, ...]:
    """Eight independent numbers of [0, 1) that belong to `key`."""
    digest = blake2b(repr(key).encode(), digest_size=64).digest()
    return tuple((number >> 11) * 2.0**-53 for number in unpack(">8Q", digest))


def normal(uniform: float) -> float:
    """Turn a number of [0, 1) into one of the standard normal distribution, cut off at `MAX_SIGMA`."""
    value = _STANDARD_NORMAL.inv_cdf(min(max(uniform, 1e-9), 1 - 1e-9))
    return min(max(value, -MAX_SIGMA), MAX_SIGMA)


def between(low: float, high: float, uniform: float) -> float:
    """Stretch a number of [0, 1) to [low, high)."""
    return low + (high - low) * uniform
