"""What an answer says it used."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from tidegate.core.dimension import Cost

__all__ = ["Usage"]

_SANE_TOKENS = 100_000_000
"""More than any model's context: a larger figure is a fault of the answer, not a price."""


class Usage(NamedTuple):
    """Token counts of one answer, as the Messages API reports them (`usage`; SDK 2.12.0 `types/usage.py`).

    `input_tokens` counts only what follows the last cache breakpoint; all input is the sum of it, cache reads and cache
    creations. `cache_creation_1h_tokens` are those of `cache_creation_tokens` that are kept for an hour, at a higher
    price.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_creation_tokens: int = 0
    cache_creation_1h_tokens: int = 0

    @classmethod
    def from_json(cls, usage: Mapping[str, Any], before: "Usage | None" = None) -> "Usage":
        """Reads a `usage` object; fields that are missing, negative or absurd keep the value of `before`, or 0.

        A stream reports twice: `message_start` has the input side, `message_delta` the final, cumulative figures.
        """
        base = before or cls()
        created = usage.get("cache_creation")
        by_lifetime = created if isinstance(created, Mapping) else {}
        return cls(
            _count(usage.get("input_tokens"), base.input_tokens),
            _count(usage.get("output_tokens"), base.output_tokens),
            _count(usage.get("cache_read_input_tokens"), base.cache_read_tokens),
            _count(usage.get("cache_creation_input_tokens"), base.cache_creation_tokens),
            _count(by_lifetime.get("ephemeral_1h_input_tokens"), base.cache_creation_1h_tokens),
        )

    def cost(self) -> Cost:
        """What counts against the limits: cache reads do not (Claude Platform Docs, "Rate limits", read 2026-10-08)."""
        return Cost(1, self.input_tokens + self.cache_creation_tokens, self.output_tokens)


def _count(value: object, otherwise: int) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _SANE_TOKENS:
        return value
    return otherwise
