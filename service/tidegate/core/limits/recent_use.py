"""The share of its quota that a pool used recently."""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, Self

from msgspec import Struct

from tidegate.core.domain.dimension import DIMENSIONS
from tidegate.core.domain.nanoseconds import NS_PER_MINUTE, NS_PER_SECOND

__all__ = ["SHARE_MINUTES", "RecentUse", "RecentUseState"]

SHARE_MINUTES: Final = (1, 10)
"""The periods of the shares."""
_SLICE_NS: Final = 5 * NS_PER_SECOND
_KEPT_NS: Final = max(SHARE_MINUTES) * NS_PER_MINUTE

Rates = Sequence[float | None]
"""The quota in each dimension, in units per minute; None where it is unknown."""


class _Slice(NamedTuple):
    begun_ns: int
    ended_ns: int
    used: tuple[int, ...]
    rates: tuple[float | None, ...]


class RecentUseState(Struct, frozen=True, array_like=True):
    """The dump of a `RecentUse`: the present slice, and earlier ones as (begun ago, ended ago, use, quota)."""

    begun_ago_ns: int
    used: tuple[int, int, int]
    past: tuple[tuple[int, int, tuple[int, ...], tuple[float | None, ...]], ...]


class RecentUse:
    """Use in each dimension, in at most 122 slices of five seconds. `rates` returns the quota at a monotonic time."""

    __slots__ = ("_begun_ns", "_ends_ns", "_past", "_rates", "_used")

    def __init__(self, rates: Callable[[int], Rates], now_ns: int) -> None:
        self._rates = rates
        self._past: deque[_Slice] = deque()
        self._begin(now_ns)

    def dump(self, now_ns: int) -> RecentUseState:
        """The state, for `restore`."""
        past = tuple((now_ns - s.begun_ns, now_ns - s.ended_ns, s.used, s.rates) for s in self._past)
        requests, input_tokens, output_tokens = self._used
        return RecentUseState(now_ns - self._begun_ns, (requests, input_tokens, output_tokens), past)

    @classmethod
    def restore(cls, state: RecentUseState, now_ns: int, rates: Callable[[int], Rates]) -> Self:
        """Continues exactly from `state`."""
        restored = cls(rates, now_ns - state.begun_ago_ns)
        restored._used = list(state.used)
        for begun_ago_ns, ended_ago_ns, used, granted in state.past:
            restored._past.append(_Slice(now_ns - begun_ago_ns, now_ns - ended_ago_ns, used, granted))
        return restored

    def add(self, requests: int, input_tokens: int, output_tokens: int, now_ns: int) -> None:
        """Counts use. Negative figures take back what was counted before."""
        if now_ns >= self._ends_ns:
            self._past.append(self._present(now_ns))
            self._begin(now_ns)
            while self._past and self._past[0].ended_ns <= now_ns - _KEPT_NS:
                self._past.popleft()
        used = self._used
        used[0] += requests
        used[1] += input_tokens
        used[2] += output_tokens

    def shares(self, now_ns: int) -> list[tuple[float | None, ...]]:
        """Use divided by quota over the last `SHARE_MINUTES`, by dimension; None where no quota is known.

        A full bucket that is emptied at once can give more than 1. A quota that changed counts as it was at the time.
        Where it was unknown, or the pool did not exist yet, the present quota counts. A slice that is partly within the
        period counts in part.
        """
        present = self._present(now_ns)
        slices = (*self._past, present)
        return [
            tuple(_share(slices, index, rate, now_ns, minutes) for minutes in SHARE_MINUTES)
            for index, rate in enumerate(present.rates)
        ]

    def _begin(self, now_ns: int) -> None:
        self._begun_ns = now_ns
        self._ends_ns = now_ns + _SLICE_NS
        self._used = [0] * len(DIMENSIONS)

    def _present(self, now_ns: int) -> _Slice:
        ended_ns = max(self._begun_ns + 1, min(now_ns, self._ends_ns))
        return _Slice(self._begun_ns, ended_ns, tuple(self._used), tuple(self._rates(now_ns)))


def _share(slices: Sequence[_Slice], index: int, rate: float | None, now_ns: int, minutes: int) -> float | None:
    if rate is None:
        return None
    since_ns = now_ns - minutes * NS_PER_MINUTE
    used, granted = 0.0, minutes * rate
    for each in slices:
        within_ns = each.ended_ns - max(each.begun_ns, since_ns)
        if within_ns > 0:
            used += each.used[index] * within_ns / (each.ended_ns - each.begun_ns)
            granted += ((each.rates[index] or rate) - rate) * within_ns / NS_PER_MINUTE
    return used / granted
