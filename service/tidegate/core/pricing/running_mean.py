"""The mean of the latest values, and a value that few of them exceed, in constant memory."""

from math import sqrt
from typing import Annotated, Final, Self

from msgspec import Meta, Struct

__all__ = ["RunningMean", "RunningMeanState"]

_FAST_WEIGHT: Final = 0.02
"""Weight of the newest value in the fast mean: half of the total weight is that of the last 35 values."""
_SLOW_WEIGHT: Final = 0.005
"""The same for the slow mean: half of the total weight is that of the last 140 values."""
_BEYOND_CHANCE: Final = 2.0
"""If the means differ by this many standard errors of the fast mean, the values have changed."""
_CHANCE: Final = _BEYOND_CHANCE**2 * _FAST_WEIGHT / (2 - _FAST_WEIGHT)
"""The square of that difference, divided by the variance of one value."""
_HIGH: Final = 1.5
"""Standard deviations above the mean. Of lognormal values with a sigma of 0.4 to 1.4, 92 to 97 % are lower."""


class RunningMeanState(Struct, frozen=True, array_like=True):
    """The dump of a `RunningMean`."""

    count: Annotated[int, Meta(ge=0)]
    seen: Annotated[int, Meta(ge=0)]
    mean: float
    high: float
    fast: float
    fast_variance: Annotated[float, Meta(ge=0)]
    slow: float
    slow_variance: float


class RunningMean:
    """The mean and the spread of values; starts as if a prior value had been seen `times` times.

    Two exponentially weighted means are kept. The slow one is exact where few values are long and most are short: there
    the mean of a few dozen varies by a quarter. The fast one applies once they differ by more than chance. The slow one
    leaves the prior out, because it would keep it for hundreds of values.

    Attributes:
        count: number of values so far, including the prior ones.
        mean: the slow mean, or the fast one if the values have changed.
        high: a value that few exceed, 1.5 standard deviations above the fast mean; the prior before the first value.
    """

    __slots__ = ("_fast", "_fast_variance", "_seen", "_slow", "_slow_variance", "count", "high", "mean")

    def __init__(self, prior: float, times: int) -> None:
        self.mean = self.high = self._fast = prior
        self._slow = self._fast_variance = self._slow_variance = 0.0
        self._seen = 0
        self.count = times

    def observe(self, value: float) -> None:
        """Takes in the newest value."""
        self.count = count = self.count + 1
        self._seen = seen = self._seen + 1
        weight, off = _FAST_WEIGHT if _FAST_WEIGHT * count > 1 else 1 / count, value - self._fast
        self._fast = fast = self._fast + weight * off
        self._fast_variance += weight * (off * (value - fast) - self._fast_variance)
        weight, off = _SLOW_WEIGHT if _SLOW_WEIGHT * seen > 1 else 1 / seen, value - self._slow
        self._slow = slow = self._slow + weight * off
        self._slow_variance = variance = self._slow_variance + weight * (off * (value - slow) - self._slow_variance)
        is_chance = _FAST_WEIGHT * seen > 1 and (fast - slow) ** 2 <= _CHANCE * variance
        self.mean = slow if is_chance else fast
        self.high = fast + _HIGH * sqrt(self._fast_variance)

    def dump(self) -> RunningMeanState:
        """The state, for `restore`."""
        return RunningMeanState(
            self.count,
            self._seen,
            self.mean,
            self.high,
            self._fast,
            self._fast_variance,
            self._slow,
            self._slow_variance,
        )

    @classmethod
    def restore(cls, state: RunningMeanState) -> Self:
        """A running mean that continues exactly from `state`."""
        restored = cls(state.mean, state.count)
        restored._seen, restored.high = state.seen, state.high
        restored._fast, restored._fast_variance = state.fast, state.fast_variance
        restored._slow, restored._slow_variance = state.slow, state.slow_variance
        return restored
