"""The limits of the simulated API and the rules that enforce them.

Model, after Claude Platform Docs "Rate limits" (October 2026): requests, input tokens and output tokens each have a
bucket per model family. Input is estimated when a request starts and corrected at its first token. Cache reads are not
counted. Output is charged as it is produced; `max_tokens` has no influence. A limit may be enforced over less than a
minute, which makes the bucket smaller and leaves the rate unchanged.

Where the documentation is silent, these rules are ours: a refused request costs nothing. A request is admitted while
one output token is left, so output (and a corrected input) may push a bucket into debt, which refill pays off first. A
request larger than its bucket is admitted when the bucket is full.
"""

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from msgspec import Struct

from claude_simulator.checks import require_number
from claude_simulator.limits.dimension import Dimension

ESTIMATED_CHARACTERS_PER_TOKEN: Final = 4
"""Used by the API to estimate an input before it is read; the real ratio depends on the model."""


class Refill(StrEnum):
    """Refill behaviour of a bucket."""

    CONTINUOUS = "continuous"
    FIXED_WINDOW = "fixed_window"


class PoolLimits(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits of one model family.

    `enforcement_seconds` is how many seconds of refill a full bucket holds: at 60, an idle pool takes a minute's quota
    at once; at 1, a second's. With fixed windows it is their length.

    Raises:
        ValueError: a limit is not a whole number above 0, or the period is outside 0 < s <= 60.
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


class FastLimits(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits of each model in fast mode, separate from those of its family. Both 0: the account has no fast mode.

    Source: Claude Platform Docs, "Fast mode" (November 2026). It gives no figures; the defaults are a tenth of the
    Start tier's limits.

    Raises:
        ValueError: a limit is not a whole number from 0, or only one is 0.
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
    """One dimension at one time: the limit, the remaining amount (negative in debt), and seconds until it is full."""

    limit_per_minute: int
    remaining: float
    seconds_until_full: float


def input_tokens_estimate(charged_tokens: int, characters_per_token: float) -> int:
    """The API's charge for an input when a request starts. It knows the characters, and one ratio for all models.

    The correction at the first token charges `charged_tokens` instead.
    """
    return math.ceil(charged_tokens * characters_per_token / ESTIMATED_CHARACTERS_PER_TOKEN)
