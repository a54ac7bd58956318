"""A made-up supernova."""

from tests.units.t2.test_light_curve_summary import detection, limit

#: Rises by 0.5 mag/day from 19 to 17 (days 10 to 14), falls by 0.1 mag/day until day 24; in r half a magnitude fainter.
RISE = [detection(10.0 + n, "g", 19.0 - 0.5 * n) for n in range(5)]


FALL = [detection(14.0 + n, "g", 17.0 + 0.1 * n) for n in range(2, 11, 2)]


RED = [detection(10.2, "r", 19.4), detection(14.2, "r", 17.5), detection(24.1, "r", 18.1)]


LIMITS = [limit(4.0, "g", 20.0), limit(8.0, "r", 20.6)]


SUPERNOVA = (*LIMITS, *RISE, *FALL, *RED)
