"""How many events the last minute saw."""

import threading
from typing import Final

from tidegate.core.clock import NS_PER_SECOND

__all__ = ["WINDOW_SECONDS", "SlidingCount"]

WINDOW_SECONDS: Final = 60


class SlidingCount:
    """Counts events in the last 60 seconds, to the second: a ring with one count per second. Thread-safe."""

    def __init__(self) -> None:
        self._per_second = [0] * WINDOW_SECONDS
        self._latest_second = 0
        self._lock = threading.Lock()

    def add(self, now_ns: int) -> None:
        """Counts one event at `now_ns` of a monotonic clock."""
        with self._lock:
            if now_ns // NS_PER_SECOND > self._latest_second:
                self._move_to(now_ns)
            self._per_second[self._latest_second % WINDOW_SECONDS] += 1

    def total(self, now_ns: int) -> int:
        """Events of the current second and the 59 before it."""
        with self._lock:
            self._move_to(now_ns)
            return sum(self._per_second)

    def _move_to(self, now_ns: int) -> None:
        second = now_ns // NS_PER_SECOND
        for passed in range(self._latest_second + 1, min(second, self._latest_second + WINDOW_SECONDS) + 1):
            self._per_second[passed % WINDOW_SECONDS] = 0
        self._latest_second = max(second, self._latest_second)
