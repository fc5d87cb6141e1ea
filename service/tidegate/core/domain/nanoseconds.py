"""Durations in whole nanoseconds."""

__all__ = ["NS_PER_MINUTE", "NS_PER_SECOND", "to_ns", "to_seconds"]

NS_PER_SECOND = 1_000_000_000
NS_PER_MINUTE = 60 * NS_PER_SECOND


def to_ns(seconds: float) -> int:
    """Seconds as whole nanoseconds, rounded to the nearest."""
    return round(seconds * NS_PER_SECOND)


def to_seconds(ns: int) -> float:
    """Nanoseconds as seconds."""
    return ns / NS_PER_SECOND
