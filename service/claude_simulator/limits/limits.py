"""The limits of the simulated API, and the rules by which they are kept.

Model, after Claude Platform Docs "Rate limits" (October 2026): requests, input tokens and output tokens each have a
bucket per model family. Input is estimated when a request starts and corrected while it runs; cache reads are not
counted; output is charged as it is produced and `max_tokens` plays no part. A limit may be enforced over less than a
minute, which makes the bucket smaller and leaves the rate as it is.

Where the documentation is silent, this is decided here: a refused request costs nothing; a request is let in while
one output token is left, so output (and a corrected input) may push a bucket into debt, which refill pays off first;
a request larger than its bucket is let in when the bucket is full.

The simulator shares no code with `tidegate`, so that one can judge the other.
"""

from dataclasses import dataclass
from enum import StrEnum

from claude_simulator.checks import require_number
from claude_simulator.limits.dimension import Dimension


class Refill(StrEnum):
    """How a limit comes back."""

    CONTINUOUS = "continuous"
    FIXED_WINDOW = "fixed_window"


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolLimits:
    """Limits of one model family.

    `enforcement_seconds` is the period that a full bucket is worth: at 60, a pool that was idle takes a whole
    minute's quota at once; at 1, it takes one second's. With `refill` in fixed windows it is their length.

    Raises:
        ValueError: A limit is not a whole number above 0, or the period is outside 0 < s <= 60.
    """

    requests_per_minute: int
    input_tokens_per_minute: int
    output_tokens_per_minute: int
    enforcement_seconds: float = 60.0
    refill: Refill = Refill.CONTINUOUS

    def __post_init__(self) -> None:
        for name in ("requests_per_minute", "input_tokens_per_minute", "output_tokens_per_minute"):
            require_number(self, name, above=0, whole=True)
        require_number(self, "enforcement_seconds", above=0, most=60)

    def per_minute(self) -> dict[Dimension, int]:
        """The limits by dimension."""
        return {
            Dimension.REQUESTS: self.requests_per_minute,
            Dimension.INPUT_TOKENS: self.input_tokens_per_minute,
            Dimension.OUTPUT_TOKENS: self.output_tokens_per_minute,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class FastLimits:
    """Limits of each model in fast mode, apart from those of its family; both 0: the account has no fast mode.

    Source: Claude Platform Docs, "Fast mode" (November 2026), which names no figures. These are a tenth of the Start
    tier's.

    Raises:
        ValueError: A limit is not a whole number from 0, or only one is 0.
    """

    input_tokens_per_minute: int = 200_000
    output_tokens_per_minute: int = 40_000

    def __post_init__(self) -> None:
        for name in ("input_tokens_per_minute", "output_tokens_per_minute"):
            require_number(self, name, least=0, whole=True)
        if (self.input_tokens_per_minute == 0) != (self.output_tokens_per_minute == 0):
            raise ValueError("output_tokens_per_minute: one limit of 0 was given; both or neither are allowed")

    @property
    def granted(self) -> bool:
        """Whether the account has fast mode."""
        return self.input_tokens_per_minute > 0

    def per_minute(self) -> dict[Dimension, int]:
        """The limits by dimension."""
        return {
            Dimension.INPUT_TOKENS: self.input_tokens_per_minute,
            Dimension.OUTPUT_TOKENS: self.output_tokens_per_minute,
        }


@dataclass(frozen=True, slots=True)
class DimensionState:
    """One dimension at one moment: limit a minute, what is left (negative in debt), seconds to full replenishment."""

    limit_per_minute: int
    remaining: float
    seconds_until_full: float
