"""The three dimensions in which the Claude API limits use, and costs in them."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Final, NamedTuple, Self

__all__ = ["DIMENSIONS", "MICRO", "ONE_REQUEST", "Cost", "Dimension", "NsPerUnit", "service_time_ns"]

MICRO: Final = 1_000_000
"""Micro-units in one request or token. Levels and rates of buckets are integers in micro-units, so that none drifts."""


class Dimension(StrEnum):
    """A quantity that the upstream limits per minute. Source: Claude Platform Docs, "Rate limits" (read 2026-10-08)."""

    REQUESTS = "requests"
    INPUT_TOKENS = "input_tokens"
    OUTPUT_TOKENS = "output_tokens"


DIMENSIONS: Final = tuple(Dimension)
"""All dimensions, in the order of the fields of `Cost`."""


class Cost(NamedTuple):
    """An amount in every dimension, in whole requests and tokens. A price is never negative."""

    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0

    @property
    def tokens(self) -> int:
        """Input and output tokens."""
        return self.input_tokens + self.output_tokens

    def plus(self, other: Self, times: int = 1) -> "Cost":
        """The sum per dimension, with `times` times the other."""
        return Cost(
            self.requests + times * other.requests,
            self.input_tokens + times * other.input_tokens,
            self.output_tokens + times * other.output_tokens,
        )

    def minus(self, other: Self) -> "Cost":
        """The difference per dimension. It may be negative."""
        return self.plus(other, -1)


NsPerUnit = tuple[float, float, float]
"""The refill time of one unit in each dimension, in nanoseconds; 0 where nothing is limited."""


def service_time_ns(cost: Sequence[float], ns_per_unit: NsPerUnit) -> int:
    """The refill time of a cost in its tightest dimension."""
    # No `max`: each waiter passes here, several times.
    longest = cost[0] * ns_per_unit[0]
    if (other := cost[1] * ns_per_unit[1]) > longest:
        longest = other
    if (other := cost[2] * ns_per_unit[2]) > longest:
        longest = other
    return round(longest)


ONE_REQUEST: Final = Cost(requests=1)
"""The cost of a call that only counts as a request: in the older limiter, and at endpoints without tokens."""
