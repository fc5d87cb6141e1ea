"""How many failed requests may be repeated: a tenth of what succeeds, plus a few; more would be a storm."""

from collections import deque
from dataclasses import dataclass
from typing import Final

from tidegate.core.domain.nanoseconds import NS_PER_SECOND

__all__ = ["RetryBudget"]

_SHARE: Final = 0.1
"""Retries per success. Source: the aims of the project; Google's SRE book, "Handling Overload", has the same figure."""
_FLOOR: Final = 10
"""So many may go in any window whatever succeeds: a pool with little traffic must be able to retry at all."""
_SLICE_NS: Final = 10 * NS_PER_SECOND
_SLICES: Final = 30
"""Five minutes: what is in flight when an outage begins is repeated afterwards on the successes before it."""


@dataclass(slots=True)
class _Slice:
    number: int
    successes: int = 0
    retries: int = 0


class RetryBudget:
    """Counts successes and retries in a window of five minutes, by slices of ten seconds."""

    __slots__ = ("_ends_ns", "_newest", "_retries", "_slices", "_successes")

    def __init__(self) -> None:
        self._slices: deque[_Slice] = deque()
        self._newest = _Slice(0)
        self._ends_ns = 0  # of that one, which is none of them yet
        self._successes = 0
        self._retries = 0

    def succeeded(self, now_ns: int) -> None:
        """The upstream answered a request."""
        if now_ns >= self._ends_ns:
            self._begin_slice(now_ns)
        self._newest.successes += 1
        self._successes += 1

    def retried(self, now_ns: int) -> None:
        """A failed request goes once more."""
        if now_ns >= self._ends_ns:
            self._begin_slice(now_ns)
        self._newest.retries += 1
        self._retries += 1

    def left(self, now_ns: int) -> float:
        """How many may be repeated now; below 0 when probes have used more."""
        self._forget(now_ns)
        return _FLOOR + _SHARE * self._successes - self._retries

    def wait_ns(self, now_ns: int) -> int:
        """How long until one more may be repeated, even if nothing succeeds meanwhile; 0 if it may now."""
        left, waited_ns = self.left(now_ns), 0
        for each in self._slices:
            if left >= 1:
                break
            left += each.retries - _SHARE * each.successes
            waited_ns = max(1, (each.number + _SLICES) * _SLICE_NS - now_ns)
        return waited_ns

    def _begin_slice(self, now_ns: int) -> None:
        self._forget(now_ns)
        self._newest = _Slice(now_ns // _SLICE_NS)
        self._slices.append(self._newest)
        self._ends_ns = (self._newest.number + 1) * _SLICE_NS

    def _forget(self, now_ns: int) -> None:
        oldest = now_ns // _SLICE_NS - _SLICES
        while self._slices and self._slices[0].number <= oldest:
            gone = self._slices.popleft()
            self._successes -= gone.successes
            self._retries -= gone.retries
