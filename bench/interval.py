"""A median and how sure it is."""

import random
import statistics
from collections.abc import Sequence
from typing import NamedTuple

_RESAMPLES = 2000


class Interval(NamedTuple):
    """low and high bound the median with 95 % (bootstrapped, the same every time)."""

    median: float
    low: float
    high: float


def median_interval(values: Sequence[float]) -> Interval:
    chance = random.Random(0)
    medians = sorted(
        statistics.median(chance.choices(values, k=len(values))) for _ in range(_RESAMPLES)
    )
    tail = _RESAMPLES // 40
    return Interval(statistics.median(values), medians[tail], medians[-tail])
