"""Use of one quantity in the last minutes, in slices of a quarter of a second."""

from collections.abc import Iterator
from itertools import accumulate, dropwhile
from operator import not_
from typing import Annotated, Final, Self

from msgspec import Meta, Struct

from tidegate.core.domain.nanoseconds import NS_PER_MINUTE, NS_PER_SECOND

__all__ = ["SLICE_NS", "UseHistory", "UseHistoryState"]

SLICE_NS: Final = NS_PER_SECOND // 4
_SECOND: Final = NS_PER_SECOND // SLICE_NS
_MINUTE: Final = NS_PER_MINUTE // SLICE_NS
_KEPT: Final = 3 * _MINUTE + 2
"""Two minutes before the sending of a request whose response took up to a minute, and a slice at either end."""


class UseHistoryState(Struct, frozen=True, array_like=True):
    """The dump of a `UseHistory`: the use of each slice, from the first one with any use to the newest."""

    is_used: bool
    newest_ago_ns: int
    """Time since the newest slice began."""
    used: Annotated[tuple[int, ...], Meta(max_length=_KEPT - 1)]


class UseHistory:
    """Use by the time at which its request was sent. That time is monotonic, and may be up to a minute ago.

    The history stores running totals, so that the use of any period is one subtraction.

    Attributes:
        is_used: whether there ever was any use.
    """

    __slots__ = ("_newest", "_origin_ns", "_totals", "is_used")

    def __init__(self) -> None:
        self.is_used = False
        self._origin_ns = 0  # when slice 0 begins
        self._newest = 0  # number of the newest slice
        self._totals = [0] * _KEPT  # use of all slices up to each

    def add(self, at_ns: int, units: int) -> None:
        """Counts use. A negative number takes back what was counted before."""
        if units > 0:
            self.is_used = True
        if (at_ns - self._origin_ns) // SLICE_NS == self._newest:  # nearly always
            self._totals[self._newest % _KEPT] += units
            return
        index = self._rolled_to(at_ns)
        for later in range(max(index, self._newest - _KEPT + 1), self._newest + 1):
            self._totals[later % _KEPT] += units

    def minutes(self, at_ns: int) -> Iterator[tuple[int, int]]:
        """Yields the use of the last minute and of the minute before it, for each possible start of the minute.

        An upstream that counts whole seconds begins its minute up to a second later than we would.
        """
        index = self._rolled_to(at_ns)
        until = self._until(index)
        for begin in range(index - _MINUTE, index - _MINUTE + _SECOND + 1):
            since = self._until(begin - 1)
            yield max(0, until - since), max(0, since - self._until(begin - 1 - _MINUTE))

    def last_minute(self, at_ns: int) -> int:
        """The use of the last minute at `at_ns`, for the start at which it is highest."""
        return max(last for last, _ in self.minutes(at_ns))

    def next_slice_ns(self, now_ns: int) -> int:
        """Time until the next slice begins."""
        return SLICE_NS - (now_ns - self._origin_ns) % SLICE_NS

    def dump(self, now_ns: int) -> UseHistoryState:
        """The state, for `restore`."""
        oldest = self._newest - _KEPT + 1
        used = (self._until(index) - self._until(index - 1) for index in range(oldest + 1, self._newest + 1))
        newest_ago_ns = now_ns - self._origin_ns - self._newest * SLICE_NS
        return UseHistoryState(self.is_used, newest_ago_ns, tuple(dropwhile(not_, used)))

    @classmethod
    def restore(cls, state: UseHistoryState, now_ns: int) -> Self:
        """Continues exactly from `state`."""
        restored = cls()
        restored.is_used = state.is_used
        restored._origin_ns = now_ns - state.newest_ago_ns
        for index, total in zip(range(1 - len(state.used), 1), accumulate(state.used), strict=True):
            restored._totals[index % _KEPT] = total
        return restored

    def _until(self, index: int) -> int:
        """All use up to the end of a slice."""
        return self._totals[max(index, self._newest - _KEPT + 1) % _KEPT]

    def _rolled_to(self, at_ns: int) -> int:
        """Creates all slices up to `at_ns`. Returns the number of its slice."""
        index = (at_ns - self._origin_ns) // SLICE_NS
        if index > self._newest:
            total = self._totals[self._newest % _KEPT]
            for later in range(max(self._newest + 1, index - _KEPT + 1), index + 1):
                self._totals[later % _KEPT] = total
            self._newest = index
        return index
