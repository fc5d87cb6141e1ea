"""A budget for retries of failed requests: a tenth of the successes, plus a few. More would be a retry storm."""

from collections import deque
from dataclasses import dataclass
from typing import Final, Self

from msgspec import Struct

from tidegate.core.domain.nanoseconds import NS_PER_SECOND

__all__ = ["RetryBudget", "RetryBudgetState"]

_SHARE: Final = 0.1
"""Retries per success. Source: the aims of the project; Google's SRE book, "Handling Overload", has the same figure."""
_FLOOR: Final = 10
"""This many may go in any window without successes: a pool with little traffic must be able to retry at all."""
_SLICE_NS: Final = 10 * NS_PER_SECOND
_SLICES: Final = 30
"""Five minutes: requests in flight when an outage begins are retried afterwards on the successes before it."""


class RetryBudgetState(Struct, frozen=True, array_like=True):
    """The dump of a `RetryBudget`.

    Attributes:
        slice_age_ns: how long ago the present slice began.
        slices: age in slices, successes and retries of each slice, oldest first.
    """

    slice_age_ns: int
    slices: tuple[tuple[int, int, int], ...] = ()


@dataclass(slots=True)
class _Slice:
    number: int
    successes: int = 0
    retries: int = 0


class RetryBudget:
    """Counts successes and retries in a window of five minutes, by slices of ten seconds."""

    __slots__ = ("_ends_ns", "_newest", "_origin_ns", "_retries", "_slices", "_successes")

    def __init__(self) -> None:
        self._origin_ns = 0  # slices are numbered from here
        self._slices: deque[_Slice] = deque()
        self._newest = _Slice(0)
        self._ends_ns = 0  # the end of `_newest`, which is not in `_slices` yet
        self._successes = 0
        self._retries = 0

    def dump(self, now_ns: int) -> RetryBudgetState:
        """The state, for `restore`."""
        self._forget(now_ns)
        present, slice_age_ns = divmod(now_ns - self._origin_ns, _SLICE_NS)
        slices = tuple((present - each.number, each.successes, each.retries) for each in self._slices)
        return RetryBudgetState(slice_age_ns, slices)

    @classmethod
    def restore(cls, state: RetryBudgetState, now_ns: int) -> Self:
        """A budget that continues from `state`."""
        budget = cls()
        budget._origin_ns = now_ns - state.slice_age_ns
        budget._slices.extend(_Slice(-age, successes, retries) for age, successes, retries in state.slices)
        if budget._slices:
            budget._newest = budget._slices[-1]
        budget._ends_ns = budget._origin_ns + (budget._newest.number + 1) * _SLICE_NS if budget._slices else now_ns
        budget._successes = sum(each.successes for each in budget._slices)
        budget._retries = sum(each.retries for each in budget._slices)
        return budget

    def succeeded(self, now_ns: int) -> None:
        """The upstream answered a request."""
        if now_ns >= self._ends_ns:
            self._begin_slice(now_ns)
        self._newest.successes += 1
        self._successes += 1

    def retried(self, now_ns: int) -> None:
        """A failed request is sent again."""
        if now_ns >= self._ends_ns:
            self._begin_slice(now_ns)
        self._newest.retries += 1
        self._retries += 1

    def left(self, now_ns: int) -> float:
        """The number of retries that may go now; below 0 when probes have used more."""
        self._forget(now_ns)
        return _FLOOR + _SHARE * self._successes - self._retries

    def wait_ns(self, now_ns: int) -> int:
        """Time until one more retry may go, even if nothing succeeds meanwhile; 0 if it may go now."""
        left, wait_ns = self.left(now_ns), 0
        for each in self._slices:
            if left >= 1:
                break
            left += each.retries - _SHARE * each.successes
            wait_ns = max(1, self._origin_ns + (each.number + _SLICES) * _SLICE_NS - now_ns)
        return wait_ns

    def _begin_slice(self, now_ns: int) -> None:
        self._forget(now_ns)
        self._newest = _Slice((now_ns - self._origin_ns) // _SLICE_NS)
        self._slices.append(self._newest)
        self._ends_ns = self._origin_ns + (self._newest.number + 1) * _SLICE_NS

    def _forget(self, now_ns: int) -> None:
        oldest = (now_ns - self._origin_ns) // _SLICE_NS - _SLICES
        while self._slices and self._slices[0].number <= oldest:
            gone = self._slices.popleft()
            self._successes -= gone.successes
            self._retries -= gone.retries
