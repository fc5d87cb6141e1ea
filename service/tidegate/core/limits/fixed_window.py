"""Recognises an upstream that counts in fixed windows instead of refilling continuously.

The moment at which all is back moves on with every request of a continuous bucket; in a fixed window it stands still
until the window ends, however much is used.
"""

from typing import Final, Self

from msgspec import Struct

from tidegate.core.domain.limit_report import DimensionReport
from tidegate.core.domain.nanoseconds import NS_PER_MINUTE, NS_PER_SECOND

__all__ = ["FixedWindow", "FixedWindowState", "FixedWindowVotes", "FixedWindowVotesState"]

_USED_SECONDS: Final = 3
"""A drop by this many seconds' worth of quota moves a continuous bucket's reset by as many seconds."""
_STILL_NS: Final = NS_PER_SECOND + NS_PER_SECOND // 2
"""Rounding to whole seconds moves it by up to one by itself."""
_ENOUGH_VOTES: Final = 2


class FixedWindowVotesState(Struct, frozen=True, array_like=True):
    """A dumped `FixedWindowVotes`."""

    votes: int
    is_fixed: bool


class FixedWindowState(Struct, frozen=True, array_like=True):
    """A dumped `FixedWindow`; times are relative to the dump, and negative where they are past."""

    ends_in_ns: int
    remaining: int | None
    reset_in_ns: int


class FixedWindowVotes:
    """What all dimensions of a pool have seen: they are counted in the same way.

    Attributes:
        is_fixed: whether the upstream counts in fixed windows.
    """

    __slots__ = ("_votes", "is_fixed")

    def __init__(self) -> None:
        self.is_fixed = False
        self._votes = 0

    def cast(self, *, fixed: bool) -> None:
        """One stretch in which enough was used to tell."""
        self._votes = max(-_ENOUGH_VOTES, min(_ENOUGH_VOTES, self._votes + (1 if fixed else -1)))
        if abs(self._votes) == _ENOUGH_VOTES:
            self.is_fixed = self._votes > 0

    def dump(self) -> FixedWindowVotesState:
        """The state now."""
        return FixedWindowVotesState(self._votes, self.is_fixed)

    @classmethod
    def restore(cls, state: FixedWindowVotesState) -> Self:
        """Continues exactly from a dumped state."""
        votes = cls()
        votes._votes, votes.is_fixed = state.votes, state.is_fixed
        return votes


class FixedWindow:
    """One dimension's window, if it has one.

    Attributes:
        ends_ns: when it ends, by the latest report.
    """

    __slots__ = ("_remaining", "_reset_ns", "_votes", "ends_ns")

    def __init__(self, votes: FixedWindowVotes) -> None:
        self.ends_ns = 0
        self._votes = votes
        self._remaining: int | None = None
        self._reset_ns = 0

    @property
    def is_fixed(self) -> bool:
        """Whether the upstream counts in fixed windows."""
        return self._votes.is_fixed

    def add(self, report: DimensionReport, now_ns: int) -> None:
        """A report that has just come."""
        if report.remaining is None or report.full_in_ns is None:
            return
        reset_ns = self.ends_ns = now_ns + report.full_in_ns
        if self._remaining is not None and report.remaining <= self._remaining:
            if self._remaining - report.remaining < _USED_SECONDS * report.per_minute / 60:
                return
            self._votes.cast(fixed=abs(reset_ns - self._reset_ns) < _STILL_NS)
        self._remaining, self._reset_ns = report.remaining, reset_ns

    def renewed(self, now_ns: int) -> bool:
        """Whether a window has ended since this was last asked; then the next one has begun."""
        if not self.is_fixed or now_ns < self.ends_ns:
            return False
        self.ends_ns += NS_PER_MINUTE * (1 + (now_ns - self.ends_ns) // NS_PER_MINUTE)
        return True

    def dump(self, now_ns: int) -> FixedWindowState:
        """The state at `now_ns`, without the votes, which all dimensions share."""
        return FixedWindowState(self.ends_ns - now_ns, self._remaining, self._reset_ns - now_ns)

    @classmethod
    def restore(cls, state: FixedWindowState, now_ns: int, votes: FixedWindowVotes) -> Self:
        """Continues exactly from a dumped state."""
        window = cls(votes)
        window.ends_ns, window._reset_ns = now_ns + state.ends_in_ns, now_ns + state.reset_in_ns
        window._remaining = state.remaining
        return window
