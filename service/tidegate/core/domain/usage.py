"""The token usage that an answer reports."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple, TypeGuard

from tidegate.core.domain.dimension import Cost

__all__ = ["Usage", "reports_output", "settled_cost"]

_CONTEXT_TOKENS: Final = 1_000_000
"""The largest context window ("Models", October 2026). No answer reads more new input, or is longer if `max_tokens` is
unknown."""
_MOST_CACHE_READS: Final = 10_000_000
"""A loop of server tools reads its context from the cache several times in one answer, and each time counts."""
_COUNTS: Final = ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")


class Usage(NamedTuple):
    """Token counts of one answer, as the Messages API reports them (`usage`; SDK 2.12.0 `types/usage.py`).

    `input_tokens` counts only the input after the last cache breakpoint. All input is the sum of it, cache reads and
    cache creations. `cache_creation_1h_tokens` are those of `cache_creation_tokens` that are kept for an hour, at a
    higher price. `batch`: it was requested in a batch, at lower prices. `fast`: it was sent in fast mode.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_creation_tokens: int = 0
    cache_creation_1h_tokens: int = 0
    batch: bool = False
    fast: bool = False

    @classmethod
    def from_json(cls, usage: Mapping[str, Any], before: "Usage | None" = None) -> "Usage":
        """Reads a `usage` object. Fields that are missing or not counts keep the value of `before`, or 0.

        A stream reports twice: `message_start` has the input side, `message_delta` the final, cumulative figures.
        """
        base = before or _NONE
        created = usage.get("cache_creation")
        counts = list(base[: len(_COUNTS)])
        for index, name in enumerate(_COUNTS):  # a loop without calls: every answer passes here
            value = usage.get(name)
            if type(value) is int and value >= 0:
                counts[index] = value
        uncached, output, read, created_tokens = counts
        kept_1h = base.cache_creation_1h_tokens
        if isinstance(created, dict) and _is_count(given := created.get("ephemeral_1h_input_tokens")):
            kept_1h = given
        is_batch = base.batch or usage.get("service_tier") == "batch"
        is_fast = base.fast or usage.get("speed") == "fast"
        return cls(uncached, output, read, created_tokens, kept_1h, is_batch, is_fast)

    @staticmethod
    def is_odd(usage: Mapping[str, Any]) -> bool:
        """Whether a `usage` object holds values that are not counts."""
        for name in _COUNTS:
            value = usage.get(name)
            if value is not None and not (type(value) is int and value >= 0):
                return True
        return False

    @property
    def all_input_tokens(self) -> int:
        """All input, cached or not."""
        return self.input_tokens + self.cache_read_tokens + self.cache_creation_tokens

    def possible(self, max_tokens: int | None) -> "Usage":
        """The same without impossible figures: more input than any model reads, or more output than `max_tokens`.

        Such a figure counts as missing and becomes 0.
        """
        usage, output = self, self.output_tokens
        counted, read = self.input_tokens + self.cache_creation_tokens, self.cache_read_tokens
        if counted > _CONTEXT_TOKENS or read > _MOST_CACHE_READS:
            usage = Usage(output_tokens=self.output_tokens)
        elif self.cache_creation_1h_tokens > self.cache_creation_tokens:
            usage = self._replace(cache_creation_1h_tokens=0)
        is_too_long = output > (_CONTEXT_TOKENS if max_tokens is None else max_tokens) and output > 1
        return usage._replace(output_tokens=0) if is_too_long else usage

    def cost(self) -> Cost:
        """The cost against limits: without cache reads (Claude Platform Docs, "Rate limits", read 2026-10-08)."""
        return Cost(1, self.input_tokens + self.cache_creation_tokens, self.output_tokens)


def reports_output(usage: Mapping[str, Any]) -> bool:
    """Whether a `usage` object reports the output."""
    return _is_count(usage.get("output_tokens"))


def settled_cost(usage: Usage, estimate: Cost, text_tokens: int = 0) -> Cost:
    """The cost of a complete answer: its usage, and the estimate for what it does not report.

    Every answer uses input and output ("output_tokens will be non-zero, even for an empty string response": the SDKs'
    `Usage`), so 0 means missing. `text_tokens`: the output is at least this much.
    """
    input_tokens = usage.input_tokens + usage.cache_creation_tokens
    if not input_tokens + usage.cache_read_tokens:
        input_tokens = estimate.input_tokens
    return Cost(1, input_tokens, usage.output_tokens or max(estimate.output_tokens, text_tokens))


def _is_count(value: object) -> TypeGuard[int]:
    return type(value) is int and value >= 0  # not a bool, which `isinstance` accepts as an int


_NONE: Final = Usage()
