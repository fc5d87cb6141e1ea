"""A slope limit: how fast usage may rise, learned when the upstream shows one (429 `ramp_limit_exceeded`).

The model: what is accepted in a minute may not exceed the larger of a floor and a factor times what was accepted in the
minute before. A refusal measures whichever of the two was in force.
"""

from collections import deque
from typing import Final

from tidegate.core.clock import NS_PER_SECOND

__all__ = ["RampLimit"]

_SLICE_NS: Final = NS_PER_SECOND
_SLICES: Final = 120
_BELOW: Final = 0.97
_FIRST_FACTOR: Final = 2.0
"""Until it is measured: a refusal at the very first rise only tells the floor."""


class RampLimit:
    """Counts what was accepted, by the second; limits nothing until the upstream has refused for acceleration."""

    __slots__ = ("_counts", "_factor", "_first", "_floor")

    def __init__(self) -> None:
        self._counts: deque[int] = deque([0] * _SLICES, maxlen=_SLICES)
        self._first = 0  # number of the newest slice
        self._floor: float | None = None
        self._factor = _FIRST_FACTOR

    def accepted(self, now_ns: int, count: int = 1) -> None:
        """So many were sent; negative takes back what was refused after all."""
        self._roll(now_ns)
        self._counts[-1] = max(0, self._counts[-1] + count)

    def refused(self, now_ns: int) -> None:
        """The upstream refused because usage rose too fast."""
        last, before = self._minutes(now_ns)
        if self._floor is None:
            self._floor = _BELOW * last
        elif before > self._floor / 2:
            self._factor = max(1.05, min(self._factor, _BELOW * last / before))

    @property
    def is_known(self) -> bool:
        """Whether the upstream has shown that it limits the slope."""
        return self._floor is not None

    def wait_ns(self, now_ns: int) -> int:
        """How long until one more may be sent."""
        if self._floor is None:
            return 0
        last, before = self._minutes(now_ns)
        if last + 1 <= max(1.0, self._floor, self._factor * before):
            return 0
        return _SLICE_NS - now_ns % _SLICE_NS

    def _minutes(self, now_ns: int) -> tuple[int, int]:
        self._roll(now_ns)
        counts = list(self._counts)
        return sum(counts[_SLICES // 2 :]), sum(counts[: _SLICES // 2])

    def _roll(self, now_ns: int) -> None:
        newest = now_ns // _SLICE_NS
        for _ in range(min(_SLICES, newest - self._first)):
            self._counts.append(0)
        self._first = max(newest, self._first)
