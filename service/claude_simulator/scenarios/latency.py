"""How long answers take."""

import random
from dataclasses import dataclass, field
from typing import Final

from claude_simulator.checks import require_number
from claude_simulator.scenarios.distributions import Constant, Distribution


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """How long one answer takes. Zero never waits.

    Raises:
        ValueError: A value is negative or not finite.
    """

    first_token_seconds: float = 0.02
    per_token_seconds: float = 0.0005

    def __post_init__(self) -> None:
        for name in ("first_token_seconds", "per_token_seconds"):
            require_number(self, name, least=0)

    def draw(self, _rng: random.Random) -> "Latency":
        """What one answer takes: always this."""
        return self


NO_LATENCY: Final = Latency(first_token_seconds=0, per_token_seconds=0)
"""For tests: every answer comes at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyDistribution:
    """How long answers take, when that varies. A rate of 0 tokens a second stands for an answer all at once."""

    first_token_seconds: Distribution = field(default=Constant(0.8))
    tokens_per_second: Distribution = field(default=Constant(80))

    def draw(self, rng: random.Random) -> Latency:
        """What one answer takes."""
        rate = self.tokens_per_second.sample(rng)
        return Latency(
            first_token_seconds=self.first_token_seconds.sample(rng), per_token_seconds=1 / rate if rate else 0.0
        )
