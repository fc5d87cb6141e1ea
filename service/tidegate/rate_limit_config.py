"""The configuration of the older limiter."""

import math
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Self

from tidegate.core.domain.dimension import Dimension
from tidegate.core.domain.errors import ConfigurationError
from tidegate.core.domain.pool_settings import (
    LEAST_UNITS,
    AdaptiveSettings,
    LimitSettings,
    PoolSettings,
    QueueCaps,
    RetrySettings,
)
from tidegate.core.failures.retry_policy import RetryPolicy

__all__ = ["LONGEST_SECONDS", "RateLimitConfig", "is_number"]

LONGEST_SECONDS: Final = 40 * 86_400
"""No rate limit lasts longer than a month."""
_MOST_WAITING: Final = 1_000_000
_MOST_REQUESTS: Final = 10**9


def _seconds_from_environment(name: str, otherwise: float) -> float:
    raw = os.environ.get(name, "").strip()
    if not raw:
        return otherwise
    try:
        seconds = float(raw)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds <= LONGEST_SECONDS:
        raise ConfigurationError(name, raw, f"a number of seconds, 0 to {LONGEST_SECONDS:,}")
    return seconds


@dataclass(slots=True)
class RateLimitConfig:
    """The limits, adaptation and retries of the `default` pool.

    Attributes:
        requests_per_minute: the refill rate, at least 0.001.
        burst_limit: the requests that may go at once after a pause, at least 1.
        base_delay: seconds before the first retry, at least 0; default from `CLAUDE_RATE_LIMIT_DELAY`, else 2.0.
        max_delay: the longest wait between retries in seconds, at least `base_delay`; default from
            `MAX_RATE_LIMIT_DELAY`, else 30.0.
        jitter_factor: the random share by which a retry's wait is longer or shorter, 0 to 1.
        learning_rate: the share of the rate that a 429 cuts, 0 (no adaptation) to below 1.
        adaptive_floor: the lowest share of `requests_per_minute` after cuts, 0.001 to 1.
        max_attempts: the number of attempts, including the first, at least 1.

    Raises:
        ConfigurationError: a value is outside its range.
    """

    requests_per_minute: float = 20
    burst_limit: int = 5
    base_delay: float = field(default_factory=lambda: _seconds_from_environment("CLAUDE_RATE_LIMIT_DELAY", 2.0))
    max_delay: float = field(default_factory=lambda: _seconds_from_environment("MAX_RATE_LIMIT_DELAY", 30.0))
    jitter_factor: float = 0.25
    learning_rate: float = 0.1
    adaptive_floor: float = 0.1
    max_attempts: int = 5

    def __post_init__(self) -> None:
        _require(
            self,
            "requests_per_minute",
            f"a number, {LEAST_UNITS} to {_MOST_REQUESTS:,}",
            lambda n: LEAST_UNITS <= n <= _MOST_REQUESTS,
        )
        _require(
            self,
            "burst_limit",
            f"a whole number, 1 to {_MOST_REQUESTS:,}",
            lambda n: 1 <= n <= _MOST_REQUESTS and n % 1 == 0,
        )
        seconds = f"a number of seconds, 0 to {LONGEST_SECONDS:,}"
        _require(self, "base_delay", seconds, lambda delay: 0 <= delay <= LONGEST_SECONDS)
        _require(self, "max_delay", seconds, lambda delay: 0 <= delay <= LONGEST_SECONDS)
        _require(self, "max_delay", f"at least base_delay ({self.base_delay})", lambda delay: delay >= self.base_delay)
        _require(self, "jitter_factor", "0 to 1", lambda jitter: 0 <= jitter <= 1)
        _require(self, "learning_rate", "0 to below 1", lambda share: 0 <= share < 1)
        _require(self, "adaptive_floor", "0.001 to 1", lambda share: 0.001 <= share <= 1)
        _require(self, "max_attempts", "a whole number, 1 to 1,000", lambda n: 1 <= n <= 1_000 and n % 1 == 0)

    def pool_settings(self) -> PoolSettings:
        """The settings of the pool `default`."""
        return PoolSettings(
            limits={Dimension.REQUESTS: LimitSettings(self.requests_per_minute, self.burst_limit)},
            adaptive=AdaptiveSettings(learning_rate=self.learning_rate, floor=self.adaptive_floor),
            caps=QueueCaps(requests=_MOST_WAITING),
            retries=RetrySettings(int(self.max_attempts), self.base_delay, self.max_delay, self.jitter_factor),
        )

    @classmethod
    def of_pool(cls, settings: PoolSettings) -> Self | None:
        """The configuration with these `pool_settings`; None if no configuration has them."""
        limit, adaptive, retries = settings.limits.get(Dimension.REQUESTS), settings.adaptive, settings.retries
        if limit is None or adaptive is None or retries is None:
            return None
        try:
            return cls(
                requests_per_minute=limit.per_minute,
                burst_limit=int(limit.capacity),
                base_delay=retries.base_delay_seconds,
                max_delay=retries.max_delay_seconds,
                jitter_factor=retries.jitter_factor,
                learning_rate=adaptive.learning_rate,
                adaptive_floor=adaptive.floor,
                max_attempts=retries.max_attempts,
            )
        except ConfigurationError:  # values of two replicas that do not fit together
            return None

    def retry_policy(self) -> RetryPolicy:
        """The retry policy of this configuration."""
        return RetryPolicy(int(self.max_attempts), self.base_delay, self.max_delay, self.jitter_factor)


def _require(config: RateLimitConfig, name: str, allowed: str, test: Callable[[float], bool]) -> None:
    value = getattr(config, name)
    if not is_number(value) or not test(value):
        raise ConfigurationError(name, value, allowed)


def is_number(value: object) -> bool:
    """Whether a value is a number, and no boolean."""
    return isinstance(value, int | float) and not isinstance(value, bool)
