"""Reads the rate-limit headers of responses. Impossible values are left out and reported as faults, not raised."""

import math
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final, NamedTuple

from tidegate.core.claude.header_names import FAST_PREFIX, RATE_LIMIT_PREFIX, RETRY_AFTER, RETRY_AFTER_MS
from tidegate.core.claude.server_time import http_date_seconds, server_seconds
from tidegate.core.domain.anomaly import AnomalyKind
from tidegate.core.domain.limit_report import DimensionReport, LimitReport
from tidegate.core.domain.nanoseconds import to_ns

__all__ = ["RetryAfter", "has_no_fast_quota", "header_text", "read_limits", "read_retry_after"]


class _Family(NamedTuple):
    """The headers of one dimension. No limit is above `most`; the remaining figure may be rounded up by `slack`."""

    limit: str
    remaining: str
    reset: str
    most: int
    slack: int


def _family(name: str, most: int, slack: int) -> _Family:
    return _Family(f"{name}-limit", f"{name}-remaining", f"{name}-reset", most, slack)


# A thousand times the highest published tier; token figures are rounded to the nearest thousand ("Rate limits", read
# 2026-10-08).
_FAMILIES: Final = (
    _family(f"{RATE_LIMIT_PREFIX}requests", 10**7, 0),
    _family(f"{RATE_LIMIT_PREFIX}input-tokens", 10**10, 1_000),
    _family(f"{RATE_LIMIT_PREFIX}output-tokens", 10**10, 1_000),
)
_FAST_FAMILIES: Final = (
    None,  # there is no header for requests
    _family(f"{FAST_PREFIX}input-tokens", 10**10, 1_000),
    _family(f"{FAST_PREFIX}output-tokens", 10**10, 1_000),
)
_FAST_LIMITS: Final = tuple(f"{FAST_PREFIX}{kind}-tokens-limit" for kind in ("input", "output"))
_WHOLE: Final = re.compile(r"[0-9]{1,15}")
_PAST_SECONDS: Final = 5.0
"""A reset may have passed by this much while the response was in transit."""
_LONGEST_RESET_SECONDS: Final = 1_800.0
"""A bucket fills within a minute. After long responses it may be in debt, and take longer. Half an hour is a debt of
thirty minutes' quota, and less than any mistake about the time zone."""
_WRONG_CLOCK_SECONDS: Final = 60.0
_LONGEST_RETRY_AFTER_SECONDS: Final = 300.0
"""A limit per minute never asks for more than a minute. Longer waits, up to hours, were seen only at other limits
(`retry-after` of 13,262 s for a subscription). So a wrong value costs at most five minutes. If a longer one is right,
one probe is refused each five minutes."""


class RetryAfter(NamedTuple):
    """The wait that the upstream asks for: above 0, at most five minutes; None if it asks for none.

    `is_odd`: the header has another value than that.
    """

    seconds: float | None = None
    is_odd: bool = False


def header_text(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Header values as text, by lower-case name. Different values of a repeated header are joined by commas."""
    text: dict[str, str] = {}
    for raw_name, raw_value in headers:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        known = text.get(name, value)
        text[name] = value if known == value else f"{known}, {value}"
    return text


def read_limits(headers: Mapping[str, str], wall_seconds: float, *, fast: bool = False) -> LimitReport:
    """Reads the `anthropic-ratelimit-*` headers (lower-case names).

    Args:
        headers: headers of a response.
        wall_seconds: our own time, in seconds since 1970-01-01 UTC.
        fast: whether the call was in fast mode. Then the `anthropic-fast-*` headers count instead, if there are any. A
            model without fast mode may have responded at standard speed, under its standard limits.
    """
    now_seconds = server_seconds(headers, wall_seconds)
    faults: list[AnomalyKind] = []
    families = _FAST_FAMILIES if fast and any(name in headers for name in _FAST_LIMITS) else _FAMILIES
    requests, input_tokens, output_tokens = (
        None if family is None else _dimension(headers, family, now_seconds, faults) for family in families
    )
    if not (faults or requests or input_tokens or output_tokens):
        faults.append(AnomalyKind.LIMITS_MISSING)
    if abs(now_seconds - wall_seconds) > _WRONG_CLOCK_SECONDS:
        faults.append(AnomalyKind.CLOCK)
    return LimitReport(requests, input_tokens, output_tokens, faults=tuple(dict.fromkeys(faults)))


def has_no_fast_quota(headers: Mapping[str, str]) -> bool:
    """Whether the account has no quota for fast mode: the limit is 0."""
    return any(headers.get(name) == "0" for name in _FAST_LIMITS)


def read_retry_after(headers: Mapping[str, str], wall_seconds: float) -> RetryAfter:
    """Reads `retry-after-ms`, or else `retry-after` as seconds or HTTP date.

    A value that is unreadable, or asks for no wait, counts as missing. The API sends no HTTP dates, but they are read.
    """
    milliseconds, raw = headers.get(RETRY_AFTER_MS), headers.get(RETRY_AFTER)
    seconds = _seconds(milliseconds)
    is_odd = milliseconds is not None and seconds is None
    if seconds is not None:
        seconds /= 1_000
    elif raw is not None:
        seconds = _seconds(raw)
        if seconds is None:
            is_odd, date = True, http_date_seconds(raw)
            seconds = None if date is None else date - server_seconds(headers, wall_seconds)
    if seconds is None:
        return RetryAfter(None, is_odd)
    if not 0 < seconds <= _LONGEST_RETRY_AFTER_SECONDS:
        is_odd = True
    return RetryAfter(min(seconds, _LONGEST_RETRY_AFTER_SECONDS) if seconds > 0 else None, is_odd)


def _dimension(
    headers: Mapping[str, str], family: _Family, now_seconds: float, faults: list[AnomalyKind]
) -> DimensionReport | None:
    raw_limit, raw_remaining, raw_reset = (headers.get(name) for name in family[:3])
    limit = _whole(raw_limit)
    if limit is None or not 1 <= limit <= family.most:
        if any(raw is not None for raw in (raw_limit, raw_remaining, raw_reset)):
            faults.append(AnomalyKind.LIMITS)
        return None
    remaining = _whole(raw_remaining)
    if remaining is not None:
        remaining = min(remaining, limit) if remaining <= limit + family.slack else None
    reset = _full_in_seconds(raw_reset, now_seconds)
    if (remaining is None and raw_remaining is not None) or (reset is None and raw_reset is not None):
        faults.append(AnomalyKind.LIMITS)
    return DimensionReport(limit, remaining, None if reset is None else to_ns(reset))


@lru_cache(maxsize=256)  # limits, at least, are the same in most responses
def _whole(raw: str | None) -> int | None:
    return int(raw) if raw is not None and _WHOLE.fullmatch(raw) else None


def _seconds(raw: str | None) -> float | None:
    try:
        value = float(raw or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _full_in_seconds(raw: str | None, now_seconds: float) -> float | None:
    """The time until a moment (RFC 3339); None if that is not near, or not a moment."""
    moment_seconds = _moment_seconds(raw or "")
    if moment_seconds is None:
        return None
    seconds = moment_seconds - now_seconds
    return max(0.0, seconds) if -_PAST_SECONDS <= seconds <= _LONGEST_RESET_SECONDS else None


@lru_cache(maxsize=64)  # dimensions of responses of the same second often have the same value
def _moment_seconds(raw: str) -> float | None:
    """A moment in seconds since 1970-01-01 UTC; None if the text is no moment."""
    try:
        when = datetime.fromisoformat(raw)
        return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
