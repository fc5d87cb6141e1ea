"""Recognizes an upstream that counts in fixed windows instead of refilling continuously."""

from typing import Final, Self

from msgspec import Struct

from tidegate.core.domain.limit_report import DimensionReport
from tidegate.core.domain.nanoseconds import NS_PER_MINUTE, NS_PER_SECOND

__all__ = ["FixedWindow", "FixedWindowState", "FixedWindowVotes", "FixedWindowVotesState"]

_USED_SECONDS: Final = 3
"""Use worth this many seconds of quota moves the reset of a continuous bucket by as many seconds."""
_STILL_NS: Final = NS_PER_SECOND + NS_PER_SECOND // 2
"""Rounding to whole seconds alone moves a reset by up to one second."""
_ENOUGH_VOTES: Final = 2


class FixedWindowVotesState(Struct, frozen=True, array_like=True):
    """The dump of `FixedWindowVotes`."""

    votes: int
    is_fixed: bool


class FixedWindowState(Struct, frozen=True, array_like=True):
    """The dump of a `FixedWindow`; a time that is past is negative."""

    ends_in_ns: int
    remaining: int | None
    reset_in_ns: int


class FixedWindowVotes:
    """The observations of all dimensions of a pool, which are counted in the same way.

    Attributes:
        is_fixed: whether the upstream counts in fixed windows.
    """

    __slots__ = ("_votes", "is_fixed")

    def __init__(self) -> None:
        self.is_fixed = False
        self._votes = 0

    def dump(self) -> FixedWindowVotesState:
        """The state, for `restore`."""
        return FixedWindowVotesState(self._votes, self.is_fixed)

    @classmethod
    def restore(cls, state: FixedWindowVotesState) -> Self:
        """Continues exactly from `state`."""
        restored = cls()
        restored._votes, restored.is_fixed = state.votes, state.is_fixed
        return restored

    def observe(self, *, fixed: bool) -> None:
        """Counts one observation. Two more of one kind than of the other decide."""
        self._votes = max(-_ENOUGH_VOTES, min(_ENOUGH_VOTES, self._votes + (1 if fixed else -1)))
        if abs(self._votes) == _ENOUGH_VOTES:
            self.is_fixed = self._votes > 0


class FixedWindow:
    """The window of one dimension, if it has one.

    Use moves the reset time of a continuous bucket. In a fixed window the reset time stays until the window ends. So
    between two reports with enough use, a reset that moved by less than 1.5 s is a vote for fixed windows.

    Attributes:
        ends_ns: when the window ends, by the latest report.
    """

    __slots__ = ("_remaining", "_reset_ns", "_votes", "ends_ns")

    def __init__(self, votes: FixedWindowVotes) -> None:
        self.ends_ns = 0
        self._votes = votes
        self._remaining: int | None = None
        self._reset_ns = 0

    def dump(self, now_ns: int) -> FixedWindowState:
        """The state, for `restore`, without the votes, which all dimensions share."""
        return FixedWindowState(self.ends_ns - now_ns, self._remaining, self._reset_ns - now_ns)

    @classmethod
    def restore(cls, state: FixedWindowState, now_ns: int, votes: FixedWindowVotes) -> Self:
        """Continues exactly from `state`."""
        restored = cls(votes)
        restored.ends_ns, restored._reset_ns = now_ns + state.ends_in_ns, now_ns + state.reset_in_ns
        restored._remaining = state.remaining
        return restored

    @property
    def is_fixed(self) -> bool:
        """Whether the upstream counts in fixed windows."""
        return self._votes.is_fixed

    def observe(self, report: DimensionReport, now_ns: int) -> None:
        """Compares a new report with the last one, and votes if enough was used between them."""
        if report.remaining is None or report.full_in_ns is None:
            return
        reset_ns = self.ends_ns = now_ns + report.full_in_ns
        if self._remaining is not None and report.remaining <= self._remaining:
            if self._remaining - report.remaining < _USED_SECONDS * report.per_minute / 60:
                return
            self._votes.observe(fixed=abs(reset_ns - self._reset_ns) < _STILL_NS)
        self._remaining, self._reset_ns = report.remaining, reset_ns

    def renewed(self, now_ns: int) -> bool:
        """Whether a window has ended since the last call. The next window then begins."""
        if not self.is_fixed or now_ns < self.ends_ns:
            return False
        self.ends_ns += NS_PER_MINUTE * (1 + (now_ns - self.ends_ns) // NS_PER_MINUTE)
        return True
