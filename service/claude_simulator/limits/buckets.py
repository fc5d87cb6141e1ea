"""Buckets that hold the quota of one limit. Pure: time is an argument.

A bucket is drained at once (`take`), or at a constant rate while responses are produced (`outflow_per_second`). Between
two changes of that rate the level is linear in time, and therefore exact at any time.
"""

import math
from typing import Final, Protocol

ROUNDING: Final = 1e-6
"""A smaller shortage is a rounding error: a client that waits exactly as long as told must be admitted."""


class Bucket(Protocol):
    """The quota of one limit. It may go into debt, which refill pays off first."""

    limit_per_minute: int
    capacity: float
    outflow_per_second: float

    def level(self, now_seconds: float) -> float:
        """The remaining amount. A clock that steps back counts as one that stands still."""

    def take(self, amount: float, now_seconds: float) -> None:
        """Takes an amount, into debt if necessary. A negative amount is a refund, up to the capacity."""

    def seconds_until(self, level: float, now_seconds: float) -> float:
        """Time until this level (at most the capacity) is reached without further outflow; 0 if it is."""

    def seconds_until_full(self, now_seconds: float) -> float:
        """Time until the bucket is full, as reported by `reset` headers."""

    def set_limit(self, limit_per_minute: int, capacity: float, now_seconds: float) -> None:
        """Changes the limit."""


class TokenBucket:
    """A `Bucket` that starts full and gains `limit_per_minute / 60` per second up to its capacity.

    A lower capacity discards the amount above it; a higher one is filled by refill alone.
    """

    __slots__ = ("_level", "_updated_seconds", "capacity", "limit_per_minute", "outflow_per_second")

    def __init__(self, *, limit_per_minute: int, capacity: float, now_seconds: float) -> None:
        self.limit_per_minute = limit_per_minute
        self.capacity = capacity
        self.outflow_per_second = 0.0
        self._level = capacity
        self._updated_seconds = now_seconds

    def level(self, now_seconds: float) -> float:
        """See `Bucket.level`."""
        elapsed = now_seconds - self._updated_seconds
        if elapsed > 0:
            gained = elapsed * self.limit_per_minute / 60
            self._level = min(self.capacity, self._level + gained - elapsed * self.outflow_per_second)
            self._updated_seconds = now_seconds
        return self._level

    def take(self, amount: float, now_seconds: float) -> None:
        """See `Bucket.take`."""
        self._level = min(self.capacity, self.level(now_seconds) - amount)

    def seconds_until(self, level: float, now_seconds: float) -> float:
        """See `Bucket.seconds_until`."""
        missing = level - self.level(now_seconds)
        return missing * 60 / self.limit_per_minute if missing > ROUNDING else 0.0

    def seconds_until_full(self, now_seconds: float) -> float:
        """See `Bucket.seconds_until_full`."""
        return self.seconds_until(self.capacity, now_seconds)

    def set_limit(self, limit_per_minute: int, capacity: float, now_seconds: float) -> None:
        """See `Bucket.set_limit`."""
        self._level = min(capacity, self.level(now_seconds))
        self.limit_per_minute = limit_per_minute
        self.capacity = capacity


class WindowBucket:
    """A `Bucket` that is refilled at the start of each window. The rest is lost, a debt is carried over.

    Windows follow each other from the time of construction. A new limit applies to the current window: what was taken
    in it stays taken, but is no debt if it was within the old limit.
    """

    __slots__ = (
        "_level",
        "_start_seconds",
        "_updated_seconds",
        "_window_seconds",
        "_windows_begun",
        "capacity",
        "limit_per_minute",
        "outflow_per_second",
    )

    def __init__(self, *, limit_per_minute: int, capacity: float, now_seconds: float, window_seconds: float) -> None:
        self.limit_per_minute = limit_per_minute
        self.capacity = capacity
        self.outflow_per_second = 0.0
        self._level = capacity
        self._start_seconds = self._updated_seconds = now_seconds
        self._window_seconds = window_seconds
        self._windows_begun = 1

    def level(self, now_seconds: float) -> float:
        """See `Bucket.level`."""
        while now_seconds >= (window_end := self._window_end_seconds()):
            self._drain_until(window_end)
            # Without outflow, all windows that have passed are alike.
            passed = 1 if self.outflow_per_second else 1 + int((now_seconds - window_end) // self._window_seconds)
            self._level = min(self.capacity, self._level + passed * self.capacity)
            self._windows_begun += passed
        self._drain_until(now_seconds)
        return self._level

    def take(self, amount: float, now_seconds: float) -> None:
        """See `Bucket.take`."""
        self._level = min(self.capacity, self.level(now_seconds) - amount)

    def seconds_until(self, level: float, now_seconds: float) -> float:
        """See `Bucket.seconds_until`."""
        missing = level - self.level(now_seconds)
        if missing <= ROUNDING:
            return 0.0
        windows = math.ceil(missing / self.capacity)
        return self.seconds_until_full(now_seconds) + (windows - 1) * self._window_seconds

    def seconds_until_full(self, now_seconds: float) -> float:
        """The time until the window ends, whatever the level: the time in the `reset` header stays the same."""
        self.level(now_seconds)
        return self._window_end_seconds() - max(now_seconds, self._updated_seconds)

    def set_limit(self, limit_per_minute: int, capacity: float, now_seconds: float) -> None:
        """See `Bucket.set_limit`."""
        level = self.level(now_seconds)
        self._level = min(capacity, max(level + capacity - self.capacity, min(level, 0.0)))
        self.limit_per_minute = limit_per_minute
        self.capacity = capacity

    def _window_end_seconds(self) -> float:
        return self._start_seconds + self._windows_begun * self._window_seconds

    def _drain_until(self, moment_seconds: float) -> None:
        elapsed = moment_seconds - self._updated_seconds
        if elapsed > 0:
            self._level -= elapsed * self.outflow_per_second
            self._updated_seconds = moment_seconds
