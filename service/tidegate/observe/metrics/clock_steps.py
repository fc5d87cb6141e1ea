"""Notices when a clock steps: the monotonic one and the wall clock go apart."""

from typing import Final

from tidegate.core.domain.nanoseconds import to_seconds

__all__ = ["ClockSteps"]

_MOST_SECONDS: Final = 2.0
"""So much is corrected without a step: NTP slews a clock by half a millisecond a second."""


class ClockSteps:
    """Compares two readings of both clocks; which of them stepped, nobody can say from here.

    A machine that was suspended looks the same: its monotonic time may stand still meanwhile.
    """

    __slots__ = ("_apart_seconds",)

    def __init__(self, monotonic_ns: int, wall_seconds: float) -> None:
        self._apart_seconds = wall_seconds - to_seconds(monotonic_ns)

    def stepped(self, monotonic_ns: int, wall_seconds: float) -> bool:
        """Whether they went apart by more than two seconds since the last reading."""
        before, self._apart_seconds = self._apart_seconds, wall_seconds - to_seconds(monotonic_ns)
        return abs(self._apart_seconds - before) > _MOST_SECONDS
