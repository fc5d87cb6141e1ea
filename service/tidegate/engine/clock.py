"""The real clock."""

import time

__all__ = ["SystemClock"]


class SystemClock:
    """Implements `core.clock.Clock` with the clocks of the operating system."""

    monotonic_ns = staticmethod(time.monotonic_ns)
    wall_seconds = staticmethod(time.time)
