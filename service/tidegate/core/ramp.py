"""A slope limit: how fast usage may rise, learned when the upstream shows one (429 `ramp_limit_exceeded`).

The model: what is accepted in a minute may not exceed the larger of a floor and a factor times what was accepted in the
minute before. A refusal measures whichever of the two was in force. Whether requests or input tokens are meant is not
told: the one whose measurements have agreed better is believed.
"""

from collections import deque
from typing import Final

from tidegate.core.clock import NS_PER_SECOND

__all__ = ["RampLimit"]

_SLICE_NS: Final = NS_PER_SECOND
_SLICES: Final = 120
_FIRST_FACTOR: Final = 2.0
"""Until it is measured: a refusal at the very first rise only tells the floor."""
_LEAST_FACTOR: Final = 1.05
_FIRST_ERROR: Final = 0.05
"""Of input: requests are believed to be limited until the figures for input have agreed better."""
_FORGET: Final = 0.3
_CLEARLY: Final = 0.7


class _Slope:
    """What was accepted of one quantity, by the second, and how fast that may rise."""

    __slots__ = ("_counts", "_factor", "_first", "_floor", "error", "is_measured", "usual")

    def __init__(self, first_error: float) -> None:
        self._counts: deque[int] = deque([0] * _SLICES, maxlen=_SLICES)
        self._first = 0  # number of the newest slice
        self._floor: float | None = None
        self._factor = _FIRST_FACTOR
        self.usual = 1.0  # what a request usually adds
        self.is_measured = False
        self.error = first_error  # by what share refusals came elsewhere than they should have

    def add(self, now_ns: int, units: int) -> None:
        self._roll(now_ns)
        self._counts[-1] = max(0, self._counts[-1] + units)

    def refused(self, now_ns: int) -> None:
        last, before = self._minutes(now_ns)
        if self._floor is None:
            self._floor = float(last)
            return
        by_growth = self._factor * before
        allowed = max(self._floor, by_growth, 1.0)
        if self.is_measured:
            self.error += _FORGET * (min(abs(last - allowed) / allowed, 1.0) - self.error)
        if by_growth <= self._floor:
            self._floor = min(self._floor, float(last))
        else:
            self._factor = max(_LEAST_FACTOR, min(self._factor, last / before))
            self.is_measured = True

    @property
    def is_known(self) -> bool:
        """Whether the upstream has shown that it limits the slope."""
        return self._floor is not None

    def wait_ns(self, now_ns: int) -> int:
        if self._floor is None:
            return 0
        last, before = self._minutes(now_ns)
        if last + self.usual <= max(self.usual, self._floor, self._factor * before):
            return 0
        return _SLICE_NS - now_ns % _SLICE_NS

    def _minutes(self, now_ns: int) -> tuple[int, int]:
        self._roll(now_ns)
        counts = list(self._counts)
        return sum(counts[_SLICES // 2 :]), sum(counts[: _SLICES // 2])

    def _roll(self, now_ns: int) -> None:
        newest = now_ns // _SLICE_NS
        if newest <= self._first:
            return
        for _ in range(min(_SLICES, newest - self._first)):
            self._counts.append(0)
        self._first = newest


class RampLimit:
    """Counts what was accepted; limits nothing until the upstream has refused for acceleration."""

    __slots__ = ("_believed", "_input", "_requests")

    def __init__(self) -> None:
        self._requests = self._believed = _Slope(0.0)
        self._input = _Slope(_FIRST_ERROR)

    def accepted(self, now_ns: int, input_tokens: int = 0) -> None:
        """One was sent, with so much input."""
        self._requests.add(now_ns, 1)
        self._input.usual += _FORGET * (input_tokens - self._input.usual)
        self._input.add(now_ns, input_tokens)

    def taken_back(self, now_ns: int) -> None:
        """One was refused after all, or came to nothing."""
        self._requests.add(now_ns, -1)
        self._input.add(now_ns, -round(self._input.usual))

    def refused(self, now_ns: int) -> None:
        """The upstream refused because usage rose too fast."""
        for slope in (self._requests, self._input):
            slope.refused(now_ns)
        other = self._input if self._believed is self._requests else self._requests
        if other.is_measured and other.error < _CLEARLY * self._believed.error:
            self._believed = other

    @property
    def is_known(self) -> bool:
        """Whether the upstream has shown such a limit."""
        return self._believed.is_known

    def wait_ns(self, now_ns: int) -> int:
        """How long until one more may be sent."""
        return self._believed.wait_ns(now_ns)
