"""What a request costs: the three dimensions in which the Claude API limits, and costs in them."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Final, NamedTuple, Self

__all__ = ["DIMENSIONS", "MICRO", "ONE_REQUEST", "Cost", "Dimension", "NsPerUnit", "service_time_ns"]

MICRO: Final = 1_000_000
"""Micro-units in one request or token: levels and rates of buckets are integers in micro-units, so nothing drifts."""


class Dimension(StrEnum):
    """A quantity that the upstream limits per minute. Source: Claude Platform Docs, "Rate limits" (read 2026-10-08)."""

    REQUESTS = "requests"
    INPUT_TOKENS = "input_tokens"
    OUTPUT_TOKENS = "output_tokens"


DIMENSIONS: Final = tuple(Dimension)
"""All dimensions, in the order of the fields of `Cost`."""


class Cost(NamedTuple):
    """An amount in every dimension, in whole requests and tokens; never negative when it is a price."""

    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0

    @property
    def tokens(self) -> int:
        """Input and output tokens."""
        return self.input_tokens + self.output_tokens

    def plus(self, other: Self, times: int = 1) -> "Cost":
        """The sum per dimension, with the other so many times."""
        return Cost(
            self.requests + times * other.requests,
            self.input_tokens + times * other.input_tokens,
            self.output_tokens + times * other.output_tokens,
        )

    def minus(self, other: Self) -> "Cost":
        """The difference per dimension; may be negative (what a settlement gives back)."""
        return self.plus(other, -1)


NsPerUnit = tuple[float, float, float]
"""How long a pool takes to refill a unit, in nanoseconds, in each dimension; 0 where nothing is limited."""


def service_time_ns(cost: Sequence[int], ns_per_unit: NsPerUnit) -> int:
    """How long a pool takes to refill a cost, in its tightest dimension."""
    # No `max`: each waiter comes by, several times.
    longest = cost[0] * ns_per_unit[0]
    if (other := cost[1] * ns_per_unit[1]) > longest:
        longest = other
    if (other := cost[2] * ns_per_unit[2]) > longest:
        longest = other
    return round(longest)


ONE_REQUEST: Final = Cost(requests=1)
"""The price of a call that only counts as a request: the older limiter, and endpoints without tokens."""
