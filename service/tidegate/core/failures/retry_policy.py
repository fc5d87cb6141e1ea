"""Decides which upstream failures are retried, and after how long."""

import math
from dataclasses import dataclass
from typing import Final

from tidegate.core.claude.failures import status_of
from tidegate.core.claude.rate_limit_headers import has_no_fast_quota, header_text
from tidegate.core.claude.spend_cap import is_spend_cap
from tidegate.core.domain.errors import ConfigurationError, UpstreamError, UpstreamUnreachable

__all__ = ["RetryPolicy", "lacks_fast_mode", "retry_reason"]

_REASONS: Final[dict[int | None, str]] = {
    429: "rate_limited",
    500: "server_error",
    502: "server_error",
    503: "server_error",
    504: "timeout",
    529: "overloaded",
}

_FAST_MODE, _LIMIT_OF_0 = "fast mode", "rate limit of 0 "
"""From the message of a 429 to an account without fast mode: "rate limit of 0 fast mode input tokens per minute"
(alemtani/vorpal#76)."""


def retry_reason(error: UpstreamError) -> str | None:
    """The reason to retry a failure: `rate_limited`, `overloaded`, `server_error`, `timeout` or `connection`.

    None for final failures: other 4xx, a spend cap, and fast mode for accounts without it. An error event in a stream
    counts by its type.
    """
    if is_spend_cap(error) or lacks_fast_mode(error):
        return None
    if isinstance(error, UpstreamUnreachable):
        return "timeout" if error.may_have_been_accepted else "connection"
    return _REASONS.get(status_of(error))


def lacks_fast_mode(error: UpstreamError) -> bool:
    """Whether a 429 reports that the account has no fast mode: a limit of 0, for which no wait helps.

    The header alone is not enough, because an answer at standard speed may have it as well.
    """
    message = error.upstream_message
    if error.status != 429 or _FAST_MODE not in message:
        return False
    return _LIMIT_OF_0 in message or has_no_fast_quota(header_text(error.headers))


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """The number of attempts, and the delays between them.

    Attributes:
        max_attempts: the number of attempts, including the first; at least 1.
        base_delay_seconds: the wait before the first retry, doubled for each further one; at least 0.
        max_delay_seconds: the longest wait without a `retry-after`; at least `base_delay_seconds`.
        jitter_factor: the random share by which a wait is longer or shorter, 0 to 1.

    Raises:
        ConfigurationError: a value is outside its range.
    """

    max_attempts: int = 5
    base_delay_seconds: float = 2.0
    max_delay_seconds: float = 30.0
    jitter_factor: float = 0.25

    def __post_init__(self) -> None:
        if not 1 <= self.max_attempts < math.inf:
            raise ConfigurationError("max_attempts", self.max_attempts, "at least 1")
        if not 0 <= self.base_delay_seconds < math.inf:
            raise ConfigurationError("base_delay_seconds", self.base_delay_seconds, "a number of seconds, at least 0")
        if not self.base_delay_seconds <= self.max_delay_seconds < math.inf:
            raise ConfigurationError("max_delay_seconds", self.max_delay_seconds, "at least base_delay_seconds")
        if not 0 <= self.jitter_factor <= 1:
            raise ConfigurationError("jitter_factor", self.jitter_factor, "0 to 1")

    def wait_seconds(self, repetition: int, fraction: float, retry_after_seconds: float | None = None) -> float:
        """The wait before a retry (0 is the first): base × 2^repetition, ± jitter, at most the maximum.

        Never shorter than what the server asks for, even if that is more than the maximum, because an earlier retry
        would be refused again. `fraction` is a random number, 0 to 1.
        """
        jittered = self.base_delay_seconds * 2.0 ** min(repetition, 60) * (1 + self.jitter_factor * (2 * fraction - 1))
        return max(min(jittered, self.max_delay_seconds), retry_after_seconds or 0.0)
