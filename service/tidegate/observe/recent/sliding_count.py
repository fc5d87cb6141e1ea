"""A count of the events of the last minute."""

from typing import Final

from tidegate.core.domain.nanoseconds import NS_PER_SECOND

__all__ = ["WINDOW_SECONDS", "SlidingCount"]

WINDOW_SECONDS: Final = 60


class SlidingCount:
    """Counts events in the last 60 seconds, with a ring of one count per second."""

    def __init__(self) -> None:
        self._per_second = [0] * WINDOW_SECONDS
        self._latest_second = 0

    def add(self, now_ns: int) -> None:
        """Counts one event at `now_ns` of a monotonic clock."""
        second = now_ns // NS_PER_SECOND
        if second > self._latest_second:
            self._move_to(second)
        self._per_second[self._latest_second % WINDOW_SECONDS] += 1

    def total(self, now_ns: int) -> int:
        """Events in the current second and the 59 before it."""
        self._move_to(now_ns // NS_PER_SECOND)
        return sum(self._per_second)

    def _move_to(self, second: int) -> None:
        for passed in range(self._latest_second + 1, min(second, self._latest_second + WINDOW_SECONDS) + 1):
            self._per_second[passed % WINDOW_SECONDS] = 0
        self._latest_second = max(second, self._latest_second)
