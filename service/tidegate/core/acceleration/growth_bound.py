"""How fast the use of one quantity may rise, between what was accepted and what was refused.

The model: what is accepted in a minute may not exceed the larger of a floor and a factor times what was accepted in the
minute before. A refusal says that both were less than what was asked for, and an answer that one of them was not. In
which second a minute begins is not known: where that matters a bound is what holds for each of them.
"""

from enum import IntEnum
from math import inf
from typing import Final, Self

from msgspec import Struct

from tidegate.core.acceleration.use_history import UseHistory, UseHistoryState
from tidegate.core.domain.nanoseconds import NS_PER_MINUTE

__all__ = ["GrowthBound", "GrowthBoundState", "Room"]

_LEAST_FACTOR: Final = 1.05
"""Use that goes up and down by chance, and might only be repeated, would become less from minute to minute."""
_FIRST_ERROR: Final = 0.03
_LEAST_ERROR: Final = 0.01
"""Closer than this to what was refused nothing is tried; nor are smaller errors told from each other."""
_MOST_TRIED: Final = 2.0
"""Nor more than so many times what was accepted: answers show soon that more may be tried."""
_OLD_NS: Final = 2 * NS_PER_MINUTE
"""A refusal that is older says little of the two minutes that count now: others may have used those."""
_OLD: Final = 1.05
"""So up to so many times what was refused then is tried again."""


class Room(IntEnum):
    """Whether more may be used."""

    FREE = 0
    """It was accepted before."""
    UNTRIED = 1
    """Nobody knows: it goes gently, so that what is too much is refused soon."""
    NONE = 2
    """It was refused before."""


class GrowthBoundState(Struct, frozen=True, array_like=True):
    """A dumped `GrowthBound`."""

    history: UseHistoryState
    floor: float
    accepted: float
    refused: float
    refused_ago_ns: int
    doubt: float
    contradicted: float
    is_known: bool


class GrowthBound:
    """What was used of one quantity, and how fast that may rise; limits nothing before the first refusal.

    Attributes:
        history: what was used.
        contradicted: by what share answers and refusals have contradicted each other lately, or may have unseen.
        is_known: whether the upstream has refused.
    """

    __slots__ = ("_accepted", "_doubt", "_floor", "_refused", "_refused_ns", "contradicted", "history", "is_known")

    def __init__(self) -> None:
        self.history = UseHistory()
        self._floor = inf
        self._accepted = _LEAST_FACTOR  # the factor is this at least
        self._refused = inf  # and less than this
        self._refused_ns = 0
        self._doubt = _FIRST_ERROR  # until refusals have come where they were to be expected
        self.contradicted = _LEAST_ERROR
        self.is_known = False

    def room(self, units: int, now_ns: int, share: float = 0.0) -> Room:
        """Whether so much more may be used, and this share of the last minute's; anything after a minute of none."""
        room = Room.FREE
        is_old = self._is_old(now_ns)
        half_way = (self._accepted + self._refused) / 2
        below = self._refused * (_OLD if is_old else 1 - self.error)
        most = max(self._accepted, min(below if is_old else half_way, below, _MOST_TRIED * self._accepted))
        for last, before in self.history.minutes(now_ns):
            needed = last * (1 + share) + units
            if not last or needed <= max(self._floor, self._accepted * before):
                continue
            if needed > max(most * before, self._floor * _OLD if is_old else 0):
                return Room.NONE
            room = Room.UNTRIED
        return room

    @property
    def error(self) -> float:
        """What the bounds may be wrong by, as a share of them."""
        return max(self._doubt, self.contradicted)

    def answered(self, sent_ns: int) -> None:
        """What was sent until then was accepted, but for what has been taken back."""
        minutes = list(self.history.minutes(sent_ns))
        if any(last <= max(self._floor, self._accepted * before) for last, before in minutes):
            return
        last = min(last for last, _ in minutes)
        factor = min(last / before if before else inf for last, before in minutes)
        is_old = self._is_old(sent_ns)
        if factor == inf or (is_old and last * self._accepted < factor * self._floor):
            self._floor = last  # one of both was too low: rather the one that was not by much
            return
        self._accepted = factor
        if factor >= self._refused:
            if not is_old:
                self.contradicted = max(self.contradicted, 1 - self._refused / factor)
            self._refused = inf

    def refused(self, units: int, sent_ns: int, now_ns: int) -> None:
        """So much more was too much, when it was sent; what was refused before it has been taken back."""
        minutes = list(self.history.minutes(sent_ns))
        factor = max((last + units) / before if before else inf for last, before in minutes)
        known = inf if self._is_old(now_ns) else self._refused
        if factor < self._accepted:
            self.contradicted = max(self.contradicted, 1 - factor / self._accepted)
            self._accepted = max(_LEAST_FACTOR, factor * (1 - self.error))
        elif known < inf and sent_ns > self._refused_ns:
            # As was to be expected; however many are refused at once, that is one sign.
            self._doubt = max(self._doubt / 2, _LEAST_ERROR)
            self.contradicted = max(self.contradicted / 2, _LEAST_ERROR)
        self._refused = min(known, factor)
        self._floor = min(self._floor, max(last for last, _ in minutes))
        self._refused_ns = now_ns
        self.is_known = True

    def dump(self, now_ns: int) -> GrowthBoundState:
        """The state at `now_ns`."""
        return GrowthBoundState(
            history=self.history.dump(now_ns),
            floor=self._floor,
            accepted=self._accepted,
            refused=self._refused,
            refused_ago_ns=now_ns - self._refused_ns,
            doubt=self._doubt,
            contradicted=self.contradicted,
            is_known=self.is_known,
        )

    @classmethod
    def restore(cls, state: GrowthBoundState, now_ns: int) -> Self:
        """Continues exactly from a dumped state."""
        bound = cls()
        bound.history = UseHistory.restore(state.history, now_ns)
        bound._floor, bound._accepted, bound._refused = state.floor, state.accepted, state.refused
        bound._refused_ns = now_ns - state.refused_ago_ns
        bound._doubt, bound.contradicted, bound.is_known = state.doubt, state.contradicted, state.is_known
        return bound

    def _is_old(self, now_ns: int) -> bool:
        """Whether the last refusal is long ago."""
        return now_ns - self._refused_ns > _OLD_NS
