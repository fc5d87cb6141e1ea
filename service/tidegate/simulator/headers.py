"""Response headers that tell a client its rate limits."""

import math
from datetime import UTC, datetime

from tidegate.core.header_names import RATE_LIMIT_PREFIX
from tidegate.simulator.limits import Dimension, DimensionState


def rfc3339(unix_seconds: float) -> str:
    """A moment as the API writes it, rounded up to a whole second: `2026-11-24T05:31:10Z`."""
    return datetime.fromtimestamp(math.ceil(unix_seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def rate_limit_headers(state: dict[Dimension, DimensionState], *, unix_seconds: float) -> dict[str, str]:
    """The `anthropic-ratelimit-*` headers: three for each dimension, and three for input and output together.

    Tokens that remain are rounded to the nearest thousand; debts read 0; `reset` is when the bucket is full again.
    Source: Claude Platform Docs "Rate limits". Without a workspace limit, `tokens` is the sum of input and output.
    """
    headers: dict[str, str] = {}
    for dimension, dimension_state in state.items():
        headers |= _family(dimension, dimension_state, unix_seconds)
    tokens_in, tokens_out = state.get(Dimension.INPUT_TOKENS), state.get(Dimension.OUTPUT_TOKENS)
    if tokens_in is not None and tokens_out is not None:
        total = DimensionState(
            limit_per_minute=tokens_in.limit_per_minute + tokens_out.limit_per_minute,
            remaining=max(0.0, tokens_in.remaining) + max(0.0, tokens_out.remaining),
            seconds_until_full=max(tokens_in.seconds_until_full, tokens_out.seconds_until_full),
        )
        headers |= _family("tokens", total, unix_seconds)
    return headers


def _family(name: str, state: DimensionState, unix_seconds: float) -> dict[str, str]:
    unit = 1 if name == Dimension.REQUESTS else 1000
    left = max(0.0, state.remaining)
    remaining = math.floor(left) if unit == 1 else math.floor(left / unit + 0.5) * unit
    prefix = f"{RATE_LIMIT_PREFIX}{name}-"
    return {
        f"{prefix}limit": str(state.limit_per_minute),
        f"{prefix}remaining": str(remaining),
        f"{prefix}reset": rfc3339(unix_seconds + state.seconds_until_full),
    }
