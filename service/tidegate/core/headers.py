"""Reads what response headers of the upstream say about limits: what cannot be read is left out, never raised."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final, NamedTuple

from tidegate.core.clock import to_ns
from tidegate.core.dimension import Dimension
from tidegate.core.header_names import RATE_LIMIT_PREFIX, RETRY_AFTER, RETRY_AFTER_MS

__all__ = ["DimensionReport", "LimitReport", "read_limits", "read_retry_after_seconds"]

_FAMILY: Final = {
    Dimension.REQUESTS: "requests",
    Dimension.INPUT_TOKENS: "input-tokens",
    Dimension.OUTPUT_TOKENS: "output-tokens",
}
_SANE_PER_MINUTE: Final = 10**12
_SANE_WAIT_SECONDS: Final = 40 * 86_400.0
"""No rate limit lasts longer than a month; a later date is a fault of the header."""


class DimensionReport(NamedTuple):
    """What the headers say of one dimension: the limit a minute, what is left, and in how long it is all back."""

    per_minute: int
    remaining: int | None = None
    full_in_ns: int | None = None


class LimitReport(NamedTuple):
    """What one answer says about its pool; dimensions without a usable limit are absent."""

    requests: DimensionReport | None = None
    input_tokens: DimensionReport | None = None
    output_tokens: DimensionReport | None = None
    sent_ago_ns: int = 0
    """Age of the request that was answered: when the figures were true is somewhere in that time."""
    answered: bool = True
    """Whether it was a real answer, and no error that happens to have these headers."""
    lease_id: str = ""
    """The lease of the request that was answered."""

    @property
    def dimensions(self) -> tuple[DimensionReport | None, ...]:
        """The reports in the order of `DIMENSIONS`."""
        return self.requests, self.input_tokens, self.output_tokens


def read_limits(headers: Mapping[str, str], wall_seconds: float) -> LimitReport | None:
    """The `anthropic-ratelimit-*` headers (lower-case names) as a report; None when no dimension is readable."""
    requests, input_tokens, output_tokens = (_dimension(headers, family, wall_seconds) for family in _FAMILY.values())
    report = LimitReport(requests, input_tokens, output_tokens)
    return None if report == LimitReport() else report


def read_retry_after_seconds(headers: Mapping[str, str], wall_seconds: float) -> float | None:
    """How long the upstream asks to wait: `retry-after-ms`, else `retry-after` as seconds or HTTP date.

    None when absent or senseless; never negative; at most 40 days.
    """
    milliseconds = _number(headers.get(RETRY_AFTER_MS))
    if milliseconds is not None:
        return min(milliseconds / 1000, _SANE_WAIT_SECONDS)
    raw = headers.get(RETRY_AFTER)
    seconds = _number(raw)
    if seconds is None and raw is not None:
        seconds = _http_date_in_seconds(raw, wall_seconds)
    return None if seconds is None else min(seconds, _SANE_WAIT_SECONDS)


def _dimension(headers: Mapping[str, str], family: str, wall_seconds: float) -> DimensionReport | None:
    prefix = f"{RATE_LIMIT_PREFIX}{family}-"
    limit = _number(headers.get(f"{prefix}limit"))
    if limit is None or not 1 <= limit <= _SANE_PER_MINUTE:
        return None
    remaining = _number(headers.get(f"{prefix}remaining"))
    reset = _rfc3339_in_seconds(headers.get(f"{prefix}reset"), wall_seconds)
    return DimensionReport(
        int(limit),
        None if remaining is None or remaining > _SANE_PER_MINUTE else int(remaining),
        None if reset is None else to_ns(reset),
    )


def _number(raw: str | None) -> float | None:
    try:
        value = float(raw or "")
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None


def _rfc3339_in_seconds(raw: str | None, wall_seconds: float) -> float | None:
    try:
        return _in_seconds(datetime.fromisoformat(raw or ""), wall_seconds)
    except (ValueError, OverflowError):
        return None


def _http_date_in_seconds(raw: str, wall_seconds: float) -> float | None:
    try:
        return _in_seconds(parsedate_to_datetime(raw), wall_seconds)
    except (ValueError, OverflowError):
        return None


def _in_seconds(when: datetime, wall_seconds: float) -> float | None:
    aware = when if when.tzinfo else when.replace(tzinfo=UTC)
    seconds = aware.timestamp() - wall_seconds
    return max(0.0, seconds) if seconds <= _SANE_WAIT_SECONDS else None
