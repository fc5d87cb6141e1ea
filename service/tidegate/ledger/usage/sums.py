"""Sums of usage in memory, which wait to be written."""

from typing import Final

from msgspec import Struct, field

__all__ = [
    "SLOT_SECONDS",
    "WAIT_BOUNDS_SECONDS",
    "Pending",
    "SessionKey",
    "SessionSums",
    "SpendingKey",
    "SpendingSums",
    "Sums",
    "UsageKey",
]

WAIT_BOUNDS_SECONDS: Final = (0.1, 1.0, 10.0, 60.0, 600.0)
"""The longest wait of each bucket; one more is for longer waits."""

SLOT_SECONDS: Final = 900
"""Spending is added up by the quarter of an hour: hours, days and months begin with one in every time zone."""

SpendingKey = tuple[int, str, str, str]
"""Beginning of the quarter of an hour, in seconds since 1970-01-01 UTC; team, caller and session."""

SpendingSums = tuple[int, int]
"""The sums of the fields of `Spending`."""

UsageKey = tuple[int, str, str, str, str, str]
"""Beginning of the hour, in seconds since 1970-01-01 UTC; team, caller, model, pool and priority."""


class Sums(Struct):
    """The usage under one key. `refusals` are counted by cause."""

    calls: int = 0
    refused: int = 0
    failed: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_creation_tokens: int = 0
    cost_micro_usd: int = 0
    unpriced_tokens: int = 0
    waits: list[int] = field(default_factory=lambda: [0] * (len(WAIT_BOUNDS_SECONDS) + 1))
    refusals: dict[str, int] = field(default_factory=dict)

    def row(self) -> tuple[int, ...]:
        """The values of the columns `tables.SUMS`."""
        return (
            *(self.calls, self.refused, self.failed),
            *(self.input_tokens, self.output_tokens, self.cache_read_tokens, self.cache_creation_tokens),
            *(self.cost_micro_usd, self.unpriced_tokens),
            *self.waits,
        )


SessionKey = tuple[str, str]
"""Label of the caller, and session."""


class SessionSums(Struct):
    """The usage of one session. `first_at` and `last_at` are in seconds since 1970-01-01 UTC."""

    team: str
    first_at: int
    last_at: int
    answers: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_creation_tokens: int = 0
    cost_micro_usd: int = 0


class Pending(Struct, frozen=True):
    """Sums that are not written yet, and the monotonic time of the first event in them."""

    sums: dict[UsageKey, Sums]
    sessions: dict[SessionKey, SessionSums]
    since_ns: int
    spending: dict[SpendingKey, SpendingSums] = {}
