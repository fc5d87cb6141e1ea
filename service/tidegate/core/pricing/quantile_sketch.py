"""A quantile sketch that forgets: what values were like lately, in bounded memory.

Values are counted in buckets whose bounds grow by a constant factor, so that a quantile is off by half of that at most
(the idea of DDSketch, Masson, Rim and Lee, VLDB 2019). Newer values weigh more: each counts a little more than the one
before it, and from time to time all weights are scaled down.
"""

from functools import lru_cache
from math import ceil, log
from typing import Final

__all__ = ["QuantileSketch"]

_GROWTH: Final = 1.2
_LOG_GROWTH: Final = log(_GROWTH)
_FORGET: Final = 0.02
"""Weight of the newest value: half of the whole is the last 35."""
_KEPT: Final = 1 - _FORGET
_FORGET_SLOWLY: Final = 0.005
"""The same for what lasts: half of it is the last 140."""
_BEYOND_CHANCE: Final = 2.0
"""So many standard errors apart, the latest values are others than those before."""
_CHANCE: Final = _BEYOND_CHANCE**2 * _FORGET / (2 - _FORGET)
"""The square of that, for a mean that forgets, in variances of one value."""
_STALE_AFTER: Final = 8
"""So many more values hardly move a quantile, and finding it takes a walk over all buckets."""
_LARGEST_WEIGHT: Final = 1e6


class QuantileSketch:
    """Mean and quantiles of values above 0; begins as if a prior value had been seen a few times.

    Attributes:
        count: of values so far, those before the first among them.
        mean: of the last few hundred, unless the last few dozen differ from them by more than chance: where few values
            are long and most are short, the mean of a few dozen goes up and down by a quarter.
    """

    __slots__ = (
        "_asked",
        "_buckets",
        "_lasting",
        "_latest",
        "_newest",
        "_seen",
        "_total",
        "_variance",
        "count",
        "mean",
    )

    def __init__(self, prior: float, times: int) -> None:
        self.mean = self._latest = prior
        self._lasting = self._variance = 0.0  # of what was seen, without the prior
        self._seen = 0
        self.count = times
        self._newest = 1.0
        self._total = float(times)
        self._asked: dict[float, tuple[int, float]] = {}  # quantiles by share, and how many values there were then
        self._buckets = {_bucket(prior): float(times)} if times else {}

    def add(self, value: float) -> None:
        """Takes in the newest value."""
        self.count += 1
        self._learn_mean(value)
        buckets, bucket, weight = self._buckets, _bucket(value), self._newest
        buckets[bucket] = buckets.get(bucket, 0.0) + weight
        self._total += weight
        self._newest = weight = weight / _KEPT
        if weight > _LARGEST_WEIGHT:
            self._scale_down()

    def _learn_mean(self, value: float) -> None:
        count, self._seen = self.count, (seen := self._seen + 1)
        self._latest = latest = self._latest + (_FORGET if _FORGET * count > 1 else 1 / count) * (value - self._latest)
        weight, off = _FORGET_SLOWLY if _FORGET_SLOWLY * seen > 1 else 1 / seen, value - self._lasting
        self._lasting = lasting = self._lasting + weight * off
        self._variance = variance = self._variance + weight * (off * (value - lasting) - self._variance)
        is_chance = _FORGET * seen > 1 and (latest - lasting) ** 2 <= _CHANCE * variance
        self.mean = lasting if is_chance else latest

    def quantile(self, share: float) -> float:
        """The value that this share of the weight does not exceed, as of a few values ago; without any, the prior.

        Always ask for the same few shares: their answers are kept.
        """
        kept = self._asked.get(share)
        if kept is None or self.count - kept[0] >= _STALE_AFTER:
            kept = self._asked[share] = self.count, self._find(share)
        return kept[1]

    def _find(self, share: float) -> float:
        left = share * self._total
        for bucket in sorted(self._buckets):
            left -= self._buckets[bucket]
            if left <= 0:
                return float(_GROWTH ** (bucket - 0.5))
        return self.mean

    def _scale_down(self) -> None:
        """Weights relative to the newest; what has become next to nothing is forgotten."""
        kept = {bucket: weight / self._newest for bucket, weight in self._buckets.items()}
        self._buckets = {bucket: weight for bucket, weight in kept.items() if weight > 1 / _LARGEST_WEIGHT}
        self._total = sum(self._buckets.values())
        self._newest = 1.0


@lru_cache(maxsize=4_096)  # one length is counted in several sketches, and lengths come back
def _bucket(value: float) -> int:
    """Bucket n holds what is above 1.2^(n - 1), up to 1.2^n."""
    return ceil(log(max(value, 1.0)) / _LOG_GROWTH)
