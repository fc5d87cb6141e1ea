"""The real clock, and one that can be relied on."""

import time

from tidegate.core.clock import Clock

__all__ = ["SteadyClock", "SystemClock"]


class SystemClock:
    """Implements `core.clock.Clock` with the clocks of the operating system."""

    monotonic_ns = staticmethod(time.monotonic_ns)
    wall_seconds = staticmethod(time.time)


class SteadyClock:
    """A clock whose monotonic time never goes back, whatever that of another does: it goes on from where it was.

    Python promises as much of its own, as far as the machine below keeps it: a virtual one that is restored or moved
    may not. Then no duration is negative, and no bucket waits for hours until time has caught up.
    """

    __slots__ = ("_left_out_ns", "_read_ns", "_seen_ns", "wall_seconds")

    def __init__(self, clock: Clock) -> None:
        self._read_ns = clock.monotonic_ns
        self._left_out_ns = 0
        self._seen_ns = clock.monotonic_ns()
        self.wall_seconds = clock.wall_seconds

    def monotonic_ns(self) -> int:
        """Nanoseconds since an arbitrary start."""
        now_ns = self._read_ns() + self._left_out_ns
        if now_ns < self._seen_ns:
            self._left_out_ns += self._seen_ns - now_ns
            return self._seen_ns
        self._seen_ns = now_ns
        return now_ns
