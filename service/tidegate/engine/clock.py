"""The clock of the operating system, and one that never goes back."""

import threading
import time

from tidegate.core.ports.clock import Clock

__all__ = ["SteadyClock", "SystemClock"]


class SystemClock:
    """Implements `Clock` with the clocks of the operating system."""

    monotonic_ns = staticmethod(time.monotonic_ns)
    wall_seconds = staticmethod(time.time)


class SteadyClock:
    """A clock whose monotonic time never goes back. After a step back of the given clock it continues where it was.

    Python guarantees the same for its own clock, as far as the machine does. A virtual machine that is restored or
    moved may not. Any number of threads may read this clock at once.
    """

    __slots__ = ("_left_out_ns", "_lock", "_read_ns", "_seen_ns", "wall_seconds")

    def __init__(self, clock: Clock) -> None:
        # Without the lock, a thread that is suspended between its reading and the comparison would mistake the later
        # reading of another thread for a step. It is re-entrant, because a finalizer may read the time in between.
        self._lock = threading.RLock()
        self._read_ns = clock.monotonic_ns
        self._left_out_ns = 0
        self._seen_ns = clock.monotonic_ns()
        self.wall_seconds = clock.wall_seconds

    def monotonic_ns(self) -> int:
        """Nanoseconds since an arbitrary start."""
        with self._lock:
            seen_ns = self._seen_ns
            now_ns = self._read_ns() + self._left_out_ns
            if now_ns < seen_ns:
                self._left_out_ns += seen_ns - now_ns
                return seen_ns
            self._seen_ns = now_ns
            return now_ns
