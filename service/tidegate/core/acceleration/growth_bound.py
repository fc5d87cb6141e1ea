"""Bounds on the growth of one quantity: how fast its use may rise."""

from dataclasses import dataclass
from enum import IntEnum
from math import inf
from typing import Final, Self

from msgspec import Struct

from tidegate.core.acceleration.use_history import UseHistory, UseHistoryState
from tidegate.core.domain.nanoseconds import NS_PER_MINUTE

__all__ = ["GrowthBound", "GrowthBoundSettings", "GrowthBoundState", "Room"]


@dataclass(frozen=True, slots=True)
class GrowthBoundSettings:
    """Parameters of `GrowthBound`.

    Attributes:
        least_factor: the accepted factor is at least this. Use that varies by chance, and might only be repeated, would
            fall from minute to minute otherwise.
        first_error: relative error of the bounds until 429s have come where they were expected.
        least_error: smallest relative error. Nothing closer than this to the refused factor is tried.
        most_tried: nothing above this multiple of the accepted factor is tried: responses soon allow more.
        old_ns: a 429 that is older says little of the two minutes that count now, which others may have used.
        old_factor: after that time, up to this multiple of the refused factor is tried again.
    """

    least_factor: float = 1.05
    first_error: float = 0.03
    least_error: float = 0.01
    most_tried: float = 2.0
    old_ns: int = 2 * NS_PER_MINUTE
    old_factor: float = 1.05


_DEFAULTS: Final = GrowthBoundSettings()


class Room(IntEnum):
    """Whether more may be used."""

    FREE = 0
    """The upstream accepted as much before."""
    UNTRIED = 1
    """Unknown. It is tried slowly, so that a 429 comes before much is sent."""
    NONE = 2
    """The upstream refused as much before."""


class GrowthBoundState(Struct, frozen=True, array_like=True):
    """The dump of a `GrowthBound`."""

    history: UseHistoryState
    floor: float
    accepted: float
    refused: float
    refused_ago_ns: int
    uncertainty: float
    contradicted: float
    is_known: bool


class GrowthBound:
    """The use of one quantity, and how fast it may rise. Nothing is limited before the first 429.

    The model of the upstream: the use of a minute may not exceed the larger of a floor and a factor times the use of
    the minute before:

        use of this minute <= max(floor, factor × use of the minute before)

    A 429 bounds floor and factor from above, a response bounds one of them from below. In which second the upstream's
    minute begins is unknown. Where that matters, a bound holds for every possible second.

    Attributes:
        history: the use.
        contradicted: relative amount by which responses and 429s have recently contradicted each other, or may have
            without being noticed.
        is_known: whether the upstream has refused.
    """

    __slots__ = (
        "_accepted",
        "_floor",
        "_refused",
        "_refused_ns",
        "_settings",
        "_uncertainty",
        "contradicted",
        "history",
        "is_known",
    )

    def __init__(self, settings: GrowthBoundSettings = _DEFAULTS) -> None:
        self._settings = settings
        self.history = UseHistory()
        self._floor = inf
        self._accepted = settings.least_factor  # the factor is at least this
        self._refused = inf  # and less than this
        self._refused_ns = 0
        self._uncertainty = settings.first_error
        self.contradicted = settings.least_error
        self.is_known = False

    def dump(self, now_ns: int) -> GrowthBoundState:
        """The state, for `restore`."""
        return GrowthBoundState(
            history=self.history.dump(now_ns),
            floor=self._floor,
            accepted=self._accepted,
            refused=self._refused,
            refused_ago_ns=now_ns - self._refused_ns,
            uncertainty=self._uncertainty,
            contradicted=self.contradicted,
            is_known=self.is_known,
        )

    @classmethod
    def restore(cls, state: GrowthBoundState, now_ns: int, settings: GrowthBoundSettings = _DEFAULTS) -> Self:
        """Continues exactly from `state`."""
        restored = cls(settings)
        restored.history = UseHistory.restore(state.history, now_ns)
        restored._floor, restored._accepted, restored._refused = state.floor, state.accepted, state.refused
        restored._refused_ns = now_ns - state.refused_ago_ns
        restored._uncertainty, restored.contradicted = state.uncertainty, state.contradicted
        restored.is_known = state.is_known
        return restored

    def room(self, units: int, now_ns: int, share: float = 0.0) -> Room:
        """Whether another `units` and this share of the last minute's use may be used.

        After a minute without use, anything may be.
        """
        settings, room = self._settings, Room.FREE
        is_old = self._is_old(now_ns)
        # Each trial halves what is unknown. Without this bound some runs of the scenario ramp_input have half as many
        # 429s more.
        half_way = (self._accepted + self._refused) / 2
        below = self._refused * (settings.old_factor if is_old else 1 - self.error)
        most = max(self._accepted, min(below if is_old else half_way, below, settings.most_tried * self._accepted))
        for last, before in self.history.minutes(now_ns):
            needed = last * (1 + share) + units
            if not last or needed <= max(self._floor, self._accepted * before):
                continue
            if needed > max(most * before, self._floor * settings.old_factor if is_old else 0):
                return Room.NONE
            room = Room.UNTRIED
        return room

    @property
    def error(self) -> float:
        """Relative error of the bounds."""
        return max(self._uncertainty, self.contradicted)

    def answered(self, sent_ns: int) -> None:
        """The upstream has accepted all use until `sent_ns`, except for what has been taken back."""
        minutes = list(self.history.minutes(sent_ns))
        if any(last <= max(self._floor, self._accepted * before) for last, before in minutes):
            return
        last = min(last for last, _ in minutes)
        factor = min(last / before if before else inf for last, before in minutes)
        is_old = self._is_old(sent_ns)
        if factor == inf or (is_old and last * self._accepted < factor * self._floor):
            self._floor = last  # floor or factor was too low: the one that was off by less is raised
            return
        self._accepted = factor
        if factor >= self._refused:
            if not is_old:
                self.contradicted = max(self.contradicted, 1 - self._refused / factor)
            self._refused = inf

    def refused(self, units: int, sent_ns: int, now_ns: int) -> None:
        """The upstream refused another `units` at `sent_ns`. Use that was refused before has been taken back."""
        settings = self._settings
        minutes = list(self.history.minutes(sent_ns))
        factor = max((last + units) / before if before else inf for last, before in minutes)
        known = inf if self._is_old(now_ns) else self._refused
        if factor < self._accepted:
            self.contradicted = max(self.contradicted, 1 - factor / self._accepted)
            self._accepted = max(settings.least_factor, factor * (1 - self.error))
        elif known < inf and sent_ns > self._refused_ns:
            # The 429 was expected. However many requests are refused at once, they are one sign.
            self._uncertainty = max(self._uncertainty / 2, settings.least_error)
            self.contradicted = max(self.contradicted / 2, settings.least_error)
        self._refused = min(known, factor)
        self._floor = min(self._floor, max(last for last, _ in minutes))
        self._refused_ns = now_ns
        self.is_known = True

    def _is_old(self, now_ns: int) -> bool:
        """Whether the last 429 is long ago."""
        return now_ns - self._refused_ns > self._settings.old_ns
