"""Corrects predicted waits by the ratio of real to predicted waits.

A prediction is computed from costs and rates that may both be wrong. The real waits of admitted requests show by how
much.
"""

from typing import Final, Self

from msgspec import Struct

from tidegate.core.domain.nanoseconds import NS_PER_SECOND

__all__ = ["WaitCalibration", "WaitCalibrationState"]

_WEIGHT: Final = 0.05
"""Largest weight of the newest ratio in the running mean."""
_PRIOR: Final = 20
_WAITS: Final = 3
"""The mean follows within so many waits. It would swing if it were faster, because a wait shows its ratio only at its
end."""
_ENOUGH: Final = 10
"""Nobody is refused on predictions that were compared with fewer real waits."""
_LEAST_NS: Final = NS_PER_SECOND // 2
"""Shorter predictions are not compared: rounding and timers weigh too much."""
_MOST: Final = 1.2
"""The formula knows the queue and the rates. Experience adds later requests and wrong prices. It corrects the formula
by no more than this factor: a burst that has passed says nothing about a queue that nobody joins."""


class WaitCalibrationState(Struct, frozen=True, array_like=True):
    """The dump of a `WaitCalibration`."""

    ratio: float
    count: int
    observed_ago_ns: int | None = None


class WaitCalibration:
    """The running mean of real ÷ predicted wait.

    Args:
        most: its upper bound.
        prior: for how many waits the formula itself counts.
    """

    __slots__ = ("_count", "_most", "_observed_ns", "_prior", "_ratio")

    def __init__(self, most: float = _MOST, prior: int = _PRIOR) -> None:
        self._prior = prior
        self._most = most
        self._ratio = 1.0
        self._count = 0
        self._observed_ns: int | None = None  # when the last wait was observed

    def dump(self, now_ns: int) -> WaitCalibrationState:
        """The state, for `restore`."""
        observed_ns = self._observed_ns
        return WaitCalibrationState(self._ratio, self._count, None if observed_ns is None else now_ns - observed_ns)

    @classmethod
    def restore(cls, state: WaitCalibrationState, now_ns: int, most: float = _MOST, prior: int = _PRIOR) -> Self:
        """A calibration that continues from `state`."""
        calibration = cls(most, prior)
        calibration._ratio = state.ratio
        calibration._count = state.count
        if state.observed_ago_ns is not None:
            calibration._observed_ns = now_ns - state.observed_ago_ns
        return calibration

    def observe(self, predicted_ns: int, waited_ns: int, now_ns: int) -> None:
        """Takes in the real wait of an admitted request and the uncorrected prediction for it."""
        if predicted_ns >= _LEAST_NS:
            self._count += 1
            ratio = min(max(waited_ns / predicted_ns, 1 / _MOST), self._most)
            passed_ns = 0 if self._observed_ns is None else max(0, now_ns - self._observed_ns)
            self._observed_ns = now_ns
            weight = min(passed_ns / (_WAITS * max(waited_ns, 1)), _WEIGHT)
            self._ratio += max(weight, 1 / (self._count + self._prior)) * (ratio - self._ratio)

    def corrected_ns(self, predicted_ns: int) -> int:
        """The corrected prediction."""
        return round(predicted_ns * self._ratio)

    @property
    def is_tested(self) -> bool:
        """Whether enough requests were observed to refuse others on a prediction."""
        return self._count >= _ENOUGH
