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
_GENTLY: Final = 0.05
"""And beyond what was accepted before no more than this share goes in a second: what is too much is refused soon."""
_LEAST_FACTOR: Final = 1.05
_FIRST_ERROR: Final = 0.03
_FORGET: Final = 0.5
_CLEARLY: Final = 0.7
_USUAL_FORGET: Final = 0.3


class _Slope:
    """What was accepted of one quantity, by the second, and how fast that may rise."""

    __slots__ = ("_counts", "_factor", "_first", "_floor", "error", "is_measured", "is_used", "usual")

    def __init__(self) -> None:
        self._counts: deque[int] = deque([0] * _SLICES, maxlen=_SLICES)
        self._first = 0  # number of the newest slice
        self._floor: float | None = None
        self._factor = _FIRST_FACTOR
        self.usual = 1.0  # what a request usually adds
        self.is_measured = False
        self.is_used = False
        self.error = _FIRST_ERROR  # by what share refusals came elsewhere than they should have

    def add(self, now_ns: int, units: int) -> None:
        self._roll(now_ns)
        self._counts[-1] = max(0, self._counts[-1] + units)
        self.is_used = self.is_used or units > 0

    def refused(self, now_ns: int, needed: int) -> None:
        """One that needed so much more was too much."""
        last, before = self._minutes(now_ns)
        if self._floor is None:
            self._floor = float(last)
            return
        by_growth = self._factor * before
        allowed = max(self._floor, by_growth, 1.0)
        if self.is_measured:
            off = max(last - allowed, allowed - last - needed, 0.0) / allowed
            self.error += _FORGET * (min(off, 1.0) - self.error)
        if by_growth <= self._floor:
            self._floor = min(self._floor, float(last))
        else:
            self._factor = max(_LEAST_FACTOR, min(self._factor, last / before))
            self.is_measured = True

    def refused_too(self, now_ns: int) -> None:
        """So did another one that had been sent by then: it was no use, and less was allowed than it seemed."""
        last, before = self._minutes(now_ns)
        if self.is_measured and self._factor * before > max(last, self._floor or 0.0):
            self._factor = max(_LEAST_FACTOR, last / before)
        elif not self.is_measured and self._floor is not None:
            self._floor = min(self._floor, float(last))

    @property
    def is_known(self) -> bool:
        """Whether the upstream has shown that it limits the slope."""
        return self._floor is not None

    def wait_ns(self, now_ns: int) -> int:
        if self._floor is None:
            return 0
        last, before = self._minutes(now_ns)
        is_new = not self.is_measured and last > max(self._floor, before)
        if last + self.usual <= max(self.usual, self._floor, self._factor * before) and (
            not is_new or self.goes_gently(now_ns)
        ):
            return 0
        return _SLICE_NS - now_ns % _SLICE_NS

    def goes_gently(self, now_ns: int) -> bool:
        """Whether one more in this second is next to nothing beside what went in the last minute."""
        return self._counts[-1] + self.usual <= max(self.usual, _GENTLY * self._minutes(now_ns)[0])

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
    """Counts what was accepted; limits nothing until the upstream has refused for acceleration.

    While neither quantity has proved to be the one, a little more goes than the tighter allows: the next refusal tells.
    """

    __slots__ = ("_input", "_requests")

    def __init__(self) -> None:
        self._requests = _Slope()
        self._input = _Slope()

    def accepted(self, now_ns: int, input_tokens: int = 0) -> None:
        """One was sent, with so much input."""
        self._input.usual += _USUAL_FORGET * (input_tokens - self._input.usual)
        self.corrected(now_ns, 1, input_tokens)

    def corrected(self, now_ns: int, requests: int, input_tokens: int) -> None:
        """So much more was sent; negative: less, because it was refused, came to nothing or had been estimated."""
        self._requests.add(now_ns, requests)
        self._input.add(now_ns, input_tokens)

    def refused(self, now_ns: int, input_tokens: int = 0) -> None:
        """The upstream refused one, with so much input, because usage rose too fast."""
        self._requests.refused(now_ns, 1)
        self._input.refused(now_ns, input_tokens)

    def refused_too(self, now_ns: int) -> None:
        """Another one that had been sent before the last refusal was refused, and has been taken back."""
        self._requests.refused_too(now_ns)
        self._input.refused_too(now_ns)

    @property
    def is_known(self) -> bool:
        """Whether the upstream has shown such a limit."""
        return self._requests.is_known

    def wait_ns(self, now_ns: int) -> int:
        """How long until one more may be sent."""
        requests, tokens = self._requests, self._input
        if requests.error < _CLEARLY * tokens.error or not tokens.is_used:
            return requests.wait_ns(now_ns)
        if tokens.error < _CLEARLY * requests.error:
            return tokens.wait_ns(now_ns)
        waits_ns = requests.wait_ns(now_ns), tokens.wait_ns(now_ns)
        if min(waits_ns) or not max(waits_ns):
            return max(waits_ns)
        return 0 if requests.goes_gently(now_ns) else max(waits_ns)
