"""How long waiting really takes, beside what was predicted.

A prediction is made from costs and rates that may both be off. What those who were admitted really waited corrects it:
the ratio of both is learned, and predictions are multiplied by it.
"""

from typing import Final

from tidegate.core.domain.nanoseconds import NS_PER_SECOND

__all__ = ["WaitCalibration"]

_FORGET: Final = 0.05
_ENOUGH: Final = 10
"""Nobody is refused on a prediction that was never put to the test."""
_TELLING_NS: Final = NS_PER_SECOND // 2
"""Shorter predictions tell nothing: rounding and timers weigh too much."""
_MOST: Final = 1.4
"""The formula knows the queue and the rates. Experience adds who comes later and wrong prices. It corrects the formula
by no more than this factor: a burst that has passed says nothing about a queue that nobody joins."""


class WaitCalibration:
    """The mean of waited ÷ predicted, weighted towards the newest. `most` bounds it above."""

    __slots__ = ("_count", "_most", "_ratio")

    def __init__(self, most: float = _MOST) -> None:
        self._most = most
        self._ratio = 1.0
        self._count = 0

    def add(self, predicted_ns: int, waited_ns: int) -> None:
        """Somebody was admitted: what had been predicted (uncorrected), and what it was."""
        if predicted_ns >= _TELLING_NS:
            self._count += 1
            ratio = min(max(waited_ns / predicted_ns, 1 / _MOST), self._most)
            self._ratio += max(_FORGET, 1 / self._count) * (ratio - self._ratio)

    def correct(self, predicted_ns: int) -> int:
        """The prediction as experience corrects it."""
        return round(predicted_ns * self._ratio)

    @property
    def is_tested(self) -> bool:
        """Whether enough have been admitted to rely on it."""
        return self._count >= _ENOUGH
