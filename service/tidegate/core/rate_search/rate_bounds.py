"""Measures a rate between 429s: from one to the next, the upstream's bucket was refilled by exactly what was used."""

from collections.abc import Sequence
from math import inf
from typing import Final, NamedTuple

from msgspec import Struct

from tidegate.core.domain.dimension import Cost
from tidegate.core.domain.nanoseconds import NS_PER_SECOND

__all__ = ["Measurement", "RateLimitHit", "RateLimitHitState", "Use", "bounds", "measure"]

_ROUNDING_SECONDS: Final = 1.0
"""`retry-after` is rounded up to a whole second."""
_WELL_MEASURED: Final = 0.1
"""A measurement with a smaller relative error is complete. A worse one goes further back."""


class RateLimitHitState(Struct, frozen=True, array_like=True):
    """The dump of a `RateLimitHit`. An age is negative if the moment is still to come."""

    ago_ns: int
    units: Cost
    has_retry_after: bool
    pause_ns: int
    highest_rate: float
    counted_ago_ns: int


class RateLimitHit(NamedTuple):
    """A 429; of a volley of 429s only the first counts.

    Attributes:
        at_ns: when the bucket held again what the request lacked.
        units: all use until then, with the request's own.
        has_retry_after: whether the upstream has said when that is.
        pause_ns: how long the pool paused.
        highest_rate: the highest rate tried since the 429 before, in units per second of the limiting dimension.
        counted_ns: `units` counts the requests that were sent until then.
    """

    at_ns: int
    units: Cost
    has_retry_after: bool = True
    pause_ns: int = 0
    highest_rate: float = 0.0
    counted_ns: int = 0

    def dump(self, now_ns: int) -> RateLimitHitState:
        """The state, for `restore`."""
        at_ns, units, has_retry_after, pause_ns, highest_rate, counted_ns = self
        return RateLimitHitState(now_ns - at_ns, units, has_retry_after, pause_ns, highest_rate, now_ns - counted_ns)

    @classmethod
    def restore(cls, state: RateLimitHitState, now_ns: int) -> "RateLimitHit":
        """The 429 that was dumped."""
        at_ns, counted_ns = now_ns - state.ago_ns, now_ns - state.counted_ago_ns
        return cls(at_ns, state.units, state.has_retry_after, state.pause_ns, state.highest_rate, counted_ns)

    def recounted(self, units: Cost, sent_ns: int) -> "RateLimitHit":
        """This 429, after the use of a request that was sent at `sent_ns` turned out to be larger by `units`."""
        return self._replace(units=self.units.plus(units)) if sent_ns <= self.counted_ns else self


class Use(NamedTuple):
    """The knowledge about use in one dimension.

    Attributes:
        dimension: its index.
        spare: what the bucket holds beside one request.
        vague: by how much the use between two 429s may be wrong.
        per_second: the approximate rate.
    """

    dimension: int
    spare: float
    vague: float
    per_second: float


class Measurement(NamedTuple):
    """Rates between two 429s.

    Attributes:
        per_second: use divided by time, by dimension.
        moved: the use.
        seconds: the time.
        lately: number of requests since the newest 429 before.
    """

    per_second: tuple[float, ...]
    moved: Cost
    seconds: float
    lately: int


def measure(hits: Sequence[RateLimitHit], end: RateLimitHit, *, shallow: bool) -> Measurement | None:
    """The rates between the newest 429 that is far enough back, or the oldest one, and this one.

    Args:
        hits: earlier 429s, the oldest first.
        end: the latest 429.
        shallow: whether the bucket is so small that it lost refill in pauses whose length the upstream did not say.

    Returns:
        None if there are no earlier 429s.
    """
    found = None
    paused_ns = 0
    for start in reversed(hits):
        paused_ns += start.pause_ns
        seconds = (end.at_ns - start.at_ns) / NS_PER_SECOND
        moved = end.units.minus(start.units)
        unsure_s = _ROUNDING_SECONDS if end.has_retry_after else paused_ns / NS_PER_SECOND if shallow else 0.0
        lately = end.units.requests - hits[-1].units.requests
        found = Measurement(tuple(max(0, units) / seconds for units in moved), moved, seconds, lately)
        if unsure_s <= _WELL_MEASURED * seconds:
            break
    return found


def bounds(hits: Sequence[RateLimitHit], end: RateLimitHit, use: Use) -> tuple[float, float]:
    """Bounds of the rate in one dimension, from all 429s that agree with the newest.

    Between two 429s a bucket was refilled by what was used. The exceptions bound the rate: what the bucket held at
    either end, which was refilled within the rounding of the wait, and what a full bucket has lost. Corrections of
    earlier estimates may exceed the use since then, which counts as no use.

    Args:
        hits: earlier 429s, the oldest first; at least one.
        end: the latest 429.
        use: the dimension, and what is known of use in it.

    Returns:
        A lower and an upper bound: finite, at least 0.
    """
    low, high, fastest, lost_s = 0.0, inf, 0.0, 0.0
    newer = end
    for start in reversed(hits):
        fastest = max(fastest, newer.highest_rate)
        newer = start
        if not end.has_retry_after:
            lost_s += max(0.0, start.pause_ns / NS_PER_SECOND - use.spare / use.per_second)
        seconds = (end.at_ns - start.at_ns) / NS_PER_SECOND
        units = max(0, end.units[use.dimension] - start.units[use.dimension])
        rounding_s = _ROUNDING_SECONDS if end.has_retry_after else 0.0
        least = max((units - use.vague - use.spare) / seconds, (units - use.vague) / (seconds + rounding_s))
        most = (units + use.vague + use.spare) / seconds
        if seconds > rounding_s + lost_s:
            most = min(most, (units + use.vague) / (seconds - rounding_s))
            most = max(most, (units + use.vague) / (seconds - lost_s))
        most = max(most, fastest - use.spare / seconds)  # otherwise the bucket would have been full, and lost more
        if max(low, least) > min(high, most):
            break
        low, high = max(low, least), min(high, most)
    return low, high
