"""What a limit holds, and how it comes back: continuously, or at once when a window ends. Pure: time is an argument.

Amounts leave a bucket in two ways: taken at a moment, or flowing out at a steady rate (answers that are being
produced). Between two changes of that rate a level is linear in time, so it is exact at every moment.
"""

import math
from typing import Final, Protocol

ROUNDING: Final = 1e-6
"""An amount this small is not missing: who waits for exactly as long as told shall not be refused for rounding."""


class Bucket(Protocol):
    """One limit. It may go into debt, which is paid off before anything is left again.

    `limit_per_minute` and `capacity` are in force now; `outflow_per_second` is what flows out at present.
    """

    limit_per_minute: int
    capacity: float
    outflow_per_second: float

    def level(self, now_seconds: float) -> float:
        """What is left at this moment. A clock that steps back counts as one that stands still."""

    def granted_until(self, now_seconds: float) -> float:
        """All that could have been taken until this moment, beginning with a full bucket."""

    def forfeit(self, amount: float) -> None:
        """Take an amount back from what was granted, because it was out of anybody's reach."""

    def take(self, amount: float, now_seconds: float) -> None:
        """Take an amount, into debt if need be. A negative amount gives back, up to the capacity."""

    def seconds_until(self, level: float, now_seconds: float) -> float:
        """How long until this level, at most the capacity, is reached if nothing leaves; 0 when it is."""

    def reached_in_seconds(self, level: float, now_seconds: float) -> float:
        """How long until this level is reached while the outflow goes on as it is; 0 when it is, infinite for never.

        Windows may need more than one to reach it: then it is the time to the next.
        """

    def seconds_until_full(self, now_seconds: float) -> float:
        """What a `reset` header tells: how long until everything is back."""

    def set_limit(self, limit_per_minute: int, capacity: float, now_seconds: float) -> None:
        """Put another limit in force."""


class TokenBucket:
    """A `Bucket` that starts full and gains `limit_per_minute / 60` a second up to its capacity.

    When the capacity shrinks, what is above it is lost; when it grows, it is filled by refill alone.
    """

    __slots__ = ("_granted", "_level", "_updated_seconds", "capacity", "limit_per_minute", "outflow_per_second")

    def __init__(self, *, limit_per_minute: int, capacity: float, now_seconds: float) -> None:
        self.limit_per_minute = limit_per_minute
        self.capacity = capacity
        self._granted = capacity
        self.outflow_per_second = 0.0
        self._level = capacity
        self._updated_seconds = now_seconds

    def level(self, now_seconds: float) -> float:
        """See `Bucket.level`."""
        elapsed = now_seconds - self._updated_seconds
        if elapsed > 0:
            gained = elapsed * self.limit_per_minute / 60
            self._level = min(self.capacity, self._level + gained - elapsed * self.outflow_per_second)
            self._granted += gained
            self._updated_seconds = now_seconds
        return self._level

    def granted_until(self, now_seconds: float) -> float:
        """See `Bucket.granted_until`."""
        self.level(now_seconds)
        return self._granted

    def forfeit(self, amount: float) -> None:
        """See `Bucket.forfeit`."""
        self._granted -= amount

    def take(self, amount: float, now_seconds: float) -> None:
        """See `Bucket.take`."""
        self._level = min(self.capacity, self.level(now_seconds) - amount)

    def seconds_until(self, level: float, now_seconds: float) -> float:
        """See `Bucket.seconds_until`."""
        missing = level - self.level(now_seconds)
        return missing * 60 / self.limit_per_minute if missing > ROUNDING else 0.0

    def reached_in_seconds(self, level: float, now_seconds: float) -> float:
        """See `Bucket.reached_in_seconds`."""
        missing = level - self.level(now_seconds)
        rise_per_second = self.limit_per_minute / 60 - self.outflow_per_second
        if missing <= ROUNDING:
            return 0.0
        return missing / rise_per_second if rise_per_second > 0 else math.inf

    def seconds_until_full(self, now_seconds: float) -> float:
        """See `Bucket.seconds_until_full`."""
        return self.seconds_until(self.capacity, now_seconds)

    def set_limit(self, limit_per_minute: int, capacity: float, now_seconds: float) -> None:
        """See `Bucket.set_limit`."""
        self._level = min(capacity, self.level(now_seconds))
        self.limit_per_minute = limit_per_minute
        self.capacity = capacity


class WindowBucket:
    """A `Bucket` that is full again at the beginning of each window; what was left is lost, a debt is carried over.

    Windows follow each other from the moment of construction. A limit that changes holds for the window under way: what
    was taken in it stays taken, but is no debt if it was within the limit then.
    """

    __slots__ = (
        "_granted",
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
        self._granted = capacity
        self.outflow_per_second = 0.0
        self._level = capacity
        self._start_seconds = self._updated_seconds = now_seconds
        self._window_seconds = window_seconds
        self._windows_begun = 1

    def level(self, now_seconds: float) -> float:
        """See `Bucket.level`."""
        while now_seconds >= (window_end := self._window_end_seconds()):
            self._drain_until(window_end)
            # While nothing flows out, all the windows that have passed are alike.
            passed = 1 if self.outflow_per_second else 1 + int((now_seconds - window_end) // self._window_seconds)
            self._level = min(self.capacity, self._level + passed * self.capacity)
            self._granted += passed * self.capacity
            self._windows_begun += passed
        self._drain_until(now_seconds)
        return self._level

    def granted_until(self, now_seconds: float) -> float:
        """See `Bucket.granted_until`."""
        self.level(now_seconds)
        return self._granted

    def forfeit(self, amount: float) -> None:
        """See `Bucket.forfeit`."""
        self._granted -= amount

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

    def reached_in_seconds(self, level: float, now_seconds: float) -> float:
        """See `Bucket.reached_in_seconds`."""
        missing = level - self.level(now_seconds)
        return self.seconds_until_full(now_seconds) if missing > ROUNDING else 0.0

    def seconds_until_full(self, now_seconds: float) -> float:
        """The time until the window ends, however much is left: the moment that `reset` names stands still."""
        self.level(now_seconds)
        return self._window_end_seconds() - max(now_seconds, self._updated_seconds)

    def set_limit(self, limit_per_minute: int, capacity: float, now_seconds: float) -> None:
        """See `Bucket.set_limit`."""
        level = self.level(now_seconds)
        change = capacity - self.capacity
        self._level = min(capacity, max(level + change, min(level, 0.0)))
        self._granted += max(change, 0.0)
        self.limit_per_minute = limit_per_minute
        self.capacity = capacity

    def _window_end_seconds(self) -> float:
        return self._start_seconds + self._windows_begun * self._window_seconds

    def _drain_until(self, moment_seconds: float) -> None:
        elapsed = moment_seconds - self._updated_seconds
        if elapsed > 0:
            self._level -= elapsed * self.outflow_per_second
            self._updated_seconds = moment_seconds
