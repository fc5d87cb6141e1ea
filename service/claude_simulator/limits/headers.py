"""Rate-limit response headers."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache

from claude_simulator.header_names import FAST_PREFIX, RATE_LIMIT_PREFIX
from claude_simulator.limits.dimension import Dimension
from claude_simulator.limits.pool_limits import DimensionState


def rfc3339(unix_seconds: float) -> str:
    """Formats a time like the API, rounded up to a whole second: `2026-11-24T05:31:10Z`."""
    return _rfc3339_of_second(math.ceil(unix_seconds))


def rate_limit_headers(
    state: Mapping[Dimension, DimensionState], *, unix_seconds: float, token_rounding: int = 1_000
) -> dict[str, str]:
    """The `anthropic-ratelimit-*` headers: three for each dimension, and three for input and output together.

    Remaining tokens are rounded to the nearest `token_rounding`, and a debt is shown as 0. `reset` is the time at which
    the bucket will be full. Without a workspace limit, `tokens` is the sum of input and output.
    Source: Claude Platform Docs "Rate limits".
    """
    headers: dict[str, str] = {}
    for dimension, dimension_state in state.items():
        headers |= _family(
            dimension, dimension_state, unix_seconds, 1 if dimension is Dimension.REQUESTS else token_rounding
        )
    tokens_in, tokens_out = state.get(Dimension.INPUT_TOKENS), state.get(Dimension.OUTPUT_TOKENS)
    if tokens_in is not None and tokens_out is not None:
        total = DimensionState(
            limit_per_minute=tokens_in.limit_per_minute + tokens_out.limit_per_minute,
            remaining=max(0.0, tokens_in.remaining) + max(0.0, tokens_out.remaining),
            seconds_until_full=max(tokens_in.seconds_until_full, tokens_out.seconds_until_full),
        )
        headers |= _family("tokens", total, unix_seconds, token_rounding)
    return headers


def fast_limit_headers(
    state: Mapping[Dimension, DimensionState], *, unix_seconds: float, token_rounding: int = 1_000
) -> dict[str, str]:
    """The `anthropic-fast-*` headers: three for input tokens, and three for output tokens.

    Source: Claude Platform Docs "Fast mode".
    """
    headers: dict[str, str] = {}
    for dimension, dimension_state in state.items():
        headers |= _family(dimension, dimension_state, unix_seconds, token_rounding, FAST_PREFIX)
    return headers


def no_fast_limit_headers() -> dict[str, str]:
    """The `anthropic-fast-*` headers for an account without fast mode."""
    return {
        f"{FAST_PREFIX}{dimension}-{end}": "0"
        for dimension in (Dimension.INPUT_TOKENS, Dimension.OUTPUT_TOKENS)
        for end in ("limit", "remaining")
    }


@lru_cache(maxsize=1_000)
def _rfc3339_of_second(unix_seconds: int) -> str:
    return datetime.fromtimestamp(unix_seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _family(
    name: str, state: DimensionState, unix_seconds: float, unit: int, family_prefix: str = RATE_LIMIT_PREFIX
) -> dict[str, str]:
    exact = max(0.0, state.remaining)
    remaining = math.floor(exact) if unit == 1 else math.floor(exact / unit + 0.5) * unit
    prefix = f"{family_prefix}{name}-"
    return {
        f"{prefix}limit": str(state.limit_per_minute),
        f"{prefix}remaining": str(remaining),
        f"{prefix}reset": rfc3339(unix_seconds + state.seconds_until_full),
    }
