"""Counts use since a search began."""

from tidegate.core.domain.dimension import Cost
from tidegate.core.domain.nanoseconds import NS_PER_SECOND

__all__ = ["UseCounter"]


class UseCounter:
    """All use since a search began.

    Attributes:
        used: requests, their input, and the output that they have reported.
        in_flight: number of requests that have not ended.
    """

    __slots__ = ("in_flight", "used")

    def __init__(self, used: Cost, in_flight: int) -> None:
        self.used = used
        self.in_flight = in_flight

    def add(self, units: Cost) -> None:
        """Counts more use, or less if negative."""
        self.used = self.used.plus(units)

    def size(self, dimension: int) -> float:
        """Mean use of a request in a dimension, at least 1."""
        return max(1.0, self.used[dimension] / max(1, self.used.requests))

    def half_done_output(self) -> int:
        """Output that requests in flight have produced and not reported. About as much is still to come."""
        ended = self.used.requests - self.in_flight
        return self.in_flight * max(0, self.used.output_tokens) // (2 * ended) if ended > 0 else 0

    def output_per_second(self, elapsed_ns: int) -> float:
        """Mean output per second, at least 1."""
        return max(1.0, self.used.output_tokens * NS_PER_SECOND / max(1, elapsed_ns))
