"""Response times."""

import random
from dataclasses import dataclass
from typing import Final

from msgspec import Struct

from claude_simulator.checks import require_number
from claude_simulator.scenarios.distributions import Distribution, sample


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Fixed response times. Zero never waits.

    Raises:
        ValueError: a value is negative or not finite.
    """

    first_token_seconds: float = 0.02
    per_token_seconds: float = 0.0005

    def __post_init__(self) -> None:
        for name in ("first_token_seconds", "per_token_seconds"):
            require_number(self, name, least=0)

    def draw(self, _rng: random.Random) -> "Latency":
        """Returns the latency of one response: always this."""
        return self


NO_LATENCY: Final = Latency(first_token_seconds=0, per_token_seconds=0)
"""For tests: responses arrive at once."""


class LatencyDistribution(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Random response times. 0 tokens per second means that all output arrives at once."""

    first_token_seconds: Distribution = 0.8
    tokens_per_second: Distribution = 80

    def draw(self, rng: random.Random) -> Latency:
        """Draws the latency of one response."""
        rate = sample(self.tokens_per_second, rng)
        return Latency(
            first_token_seconds=sample(self.first_token_seconds, rng), per_token_seconds=1 / rate if rate else 0.0
        )
