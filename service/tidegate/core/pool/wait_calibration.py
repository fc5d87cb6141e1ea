"""Corrects predicted waits by the ratio of real to predicted waits.

A prediction is computed from costs and rates that may both be wrong. The real waits of admitted requests show by how
much.
"""

from typing import Final, Self

from msgspec import Struct

from tidegate.core.domain.nanoseconds import NS_PER_SECOND

__all__ = ["WaitCalibration", "WaitCalibrationState"]

_WEIGHT: Final = 0.05
"""Weight of the newest ratio in the running mean."""
_ENOUGH: Final = 10
"""Nobody is refused on predictions that were compared with fewer real waits."""
_LEAST_NS: Final = NS_PER_SECOND // 2
"""Shorter predictions are not compared: rounding and timers weigh too much."""
_MOST: Final = 1.4
"""The formula knows the queue and the rates. Experience adds later requests and wrong prices. It corrects the formula
by no more than this factor: a burst that has passed says nothing about a queue that nobody joins."""


class WaitCalibrationState(Struct, frozen=True, array_like=True):
    """The dump of a `WaitCalibration`."""

    ratio: float
    count: int


class WaitCalibration:
    """The running mean of real ÷ predicted wait. `most` is its upper bound."""

    __slots__ = ("_count", "_most", "_ratio")

    def __init__(self, most: float = _MOST) -> None:
        self._most = most
        self._ratio = 1.0
        self._count = 0

    def dump(self, _now_ns: int) -> WaitCalibrationState:
        """The state, for `restore`."""
        return WaitCalibrationState(self._ratio, self._count)

    @classmethod
    def restore(cls, state: WaitCalibrationState, _now_ns: int, most: float = _MOST) -> Self:
        """A calibration that continues from `state`."""
        calibration = cls(most)
        calibration._ratio = state.ratio
        calibration._count = state.count
        return calibration

    def observe(self, predicted_ns: int, waited_ns: int) -> None:
        """Takes in the real wait of an admitted request and the uncorrected prediction for it."""
        if predicted_ns >= _LEAST_NS:
            self._count += 1
            ratio = min(max(waited_ns / predicted_ns, 1 / _MOST), self._most)
            self._ratio += max(_WEIGHT, 1 / self._count) * (ratio - self._ratio)

    def corrected_ns(self, predicted_ns: int) -> int:
        """The corrected prediction."""
        return round(predicted_ns * self._ratio)

    @property
    def is_tested(self) -> bool:
        """Whether enough requests were observed to refuse others on a prediction."""
        return self._count >= _ENOUGH
