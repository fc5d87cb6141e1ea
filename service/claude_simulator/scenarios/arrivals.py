"""Arrival times of requests that do not depend on earlier responses. Pure: randomness is an argument."""

import math
import random
from collections.abc import Iterator
from enum import StrEnum


class Pattern(StrEnum):
    """The distribution of open arrivals over time."""

    STEADY = "steady"  # evenly
    POISSON = "poisson"  # each independent of the others
    BURSTS = "bursts"  # several at once, the bursts evenly


def arrival_seconds(
    pattern: Pattern,
    per_second: float,
    rng: random.Random,
    *,
    start_seconds: float = 0.0,
    stop_seconds: float | None = None,
    burst_requests: int = 10,
) -> Iterator[float]:
    """Moments of arrival in order, from `start_seconds` up to but not at `stop_seconds`; without one, endless.

    `per_second` (above 0) is the mean rate over all. `burst_requests` is how many come at once in a burst.
    """
    end_seconds = math.inf if stop_seconds is None else stop_seconds
    at_once = burst_requests if pattern is Pattern.BURSTS else 1
    moment_seconds = start_seconds
    if pattern is Pattern.POISSON:
        moment_seconds += rng.expovariate(per_second)
    count = 0
    while moment_seconds < end_seconds:
        for _ in range(at_once):
            yield moment_seconds
        count += at_once
        if pattern is Pattern.POISSON:
            moment_seconds += rng.expovariate(per_second)
        else:
            moment_seconds = start_seconds + count / per_second
