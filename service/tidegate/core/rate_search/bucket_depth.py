"""The depth of the upstream's bucket, in seconds of its rate."""

from typing import Self

from msgspec import Struct

from tidegate.core.domain.dimension import Cost
from tidegate.core.domain.nanoseconds import NS_PER_SECOND
from tidegate.core.rate_search.rate_bounds import RateLimitHit, RateLimitHitState

__all__ = ["BucketDepth", "BucketDepthState"]


class BucketDepthState(Struct, frozen=True, array_like=True):
    """The dump of a `BucketDepth`."""

    began_ago_ns: int
    first: RateLimitHitState
    fixed_seconds: float | None


class BucketDepth:
    """Estimates the depth from all use until the first 429, which emptied a bucket that was full at first.

    depth = use until the first 429 / rate - time until it, at least 1 s

    `shallow_seconds`: a bucket of less is called shallow. Pauses after 429s may fill it, and then it loses refill.
    """

    __slots__ = ("_fixed_seconds", "_shallow_seconds", "began_ns", "first")

    def __init__(self, began_ns: int, shallow_seconds: float = 4) -> None:
        self._shallow_seconds = shallow_seconds
        self._fixed_seconds: float | None = None
        self.began_ns = began_ns
        self.first = RateLimitHit(began_ns, Cost(), counted_ns=began_ns)

    def dump(self, now_ns: int) -> BucketDepthState:
        """The state, for `restore`."""
        return BucketDepthState(now_ns - self.began_ns, self.first.dump(now_ns), self._fixed_seconds)

    @classmethod
    def restore(cls, state: BucketDepthState, now_ns: int) -> Self:
        """Continues exactly from `state`."""
        restored = cls(now_ns - state.began_ago_ns)
        restored.first = RateLimitHit.restore(state.first, now_ns)
        restored._fixed_seconds = state.fixed_seconds
        return restored

    def recount(self, units: Cost, sent_ns: int) -> None:
        """The use of a request that was sent at `sent_ns` turned out to be larger by `units`."""
        self.first = self.first.recounted(units, sent_ns)

    def seconds(self, dimension: int, per_second: float) -> float:
        """The depth, at a rate in a dimension."""
        if self._fixed_seconds is not None:
            return self._fixed_seconds
        return max(1.0, self.first.units[dimension] / per_second - self._first_seconds)

    def is_shallow(self, dimension: int, per_second: float) -> bool:
        """Whether the bucket holds only a few seconds of this rate."""
        return self.first.units[dimension] < per_second * (self._first_seconds + self._shallow_seconds)

    def fix(self, dimension: int, per_second: float) -> None:
        """Keeps the present depth from now on, because the rate is known well."""
        self._fixed_seconds = self.seconds(dimension, per_second)

    def release(self) -> None:
        """Estimates the depth anew, because another dimension is limited."""
        self._fixed_seconds = None

    @property
    def _first_seconds(self) -> float:
        return (self.first.at_ns - self.began_ns) / NS_PER_SECOND
