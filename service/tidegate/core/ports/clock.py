"""The protocol of the only source of time."""

from typing import Protocol

__all__ = ["Clock"]


class Clock(Protocol):
    """Returns the time. Decisions use the monotonic clock. The wall clock only reads dates that the upstream sends."""

    def monotonic_ns(self) -> int:
        """Nanoseconds since an arbitrary start. Never goes back."""
        ...

    def wall_seconds(self) -> float:
        """Seconds since 1970-01-01 UTC. May jump."""
        ...
