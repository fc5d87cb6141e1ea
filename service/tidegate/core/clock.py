"""The one source of time."""

from typing import Protocol

__all__ = ["NS_PER_MINUTE", "NS_PER_SECOND", "Clock", "to_ns", "to_seconds"]

NS_PER_SECOND = 1_000_000_000
NS_PER_MINUTE = 60 * NS_PER_SECOND


class Clock(Protocol):
    """Tells the time. Decisions use the monotonic clock; the wall clock only reads dates that the upstream sends."""

    def monotonic_ns(self) -> int:
        """Nanoseconds since an arbitrary start; never goes back."""
        ...

    def wall_seconds(self) -> float:
        """Seconds since 1970-01-01 UTC; may jump."""
        ...


def to_ns(seconds: float) -> int:
    """Seconds as whole nanoseconds, rounded to the nearest."""
    return round(seconds * NS_PER_SECOND)


def to_seconds(ns: int) -> float:
    """Nanoseconds as seconds."""
    return ns / NS_PER_SECOND
