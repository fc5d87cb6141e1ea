"""The configuration of a pool."""

from dataclasses import dataclass, field
from typing import Final, TypeVar

from tidegate.core.domain.dimension import Dimension
from tidegate.core.domain.errors import ConfigurationError

T = TypeVar("T")

__all__ = ["LEAST_UNITS", "AdaptiveSettings", "LimitSettings", "PoolSettings", "QueueCaps", "RetrySettings"]

_MOST_UNITS: Final = 10**12
"""More per minute than any upstream grants. Keeps integers in micro-units small."""
LEAST_UNITS: Final = 0.001
"""Less per minute than anybody intends: one request in 17 hours. Keeps waits computable."""


@dataclass(frozen=True, slots=True)
class LimitSettings:
    """A limit in one dimension: refilled continuously at `per_minute`, holding at most `capacity` units.

    Raises:
        ConfigurationError: a value is below 0.001, or more than 10^12.
    """

    per_minute: float
    capacity: float

    def __post_init__(self) -> None:
        for name in ("per_minute", "capacity"):
            if not LEAST_UNITS <= getattr(self, name) <= _MOST_UNITS:
                raise ConfigurationError(name, getattr(self, name), f"a number, {LEAST_UNITS} to {_MOST_UNITS:,}")


@dataclass(frozen=True, slots=True)
class AdaptiveSettings:
    """Parameters by which the rate of a pool follows the upstream's responses.

    Attributes:
        learning_rate: the share of the rate that a 429 cuts, 0 to below 1; 0 switches adaptation off.
        recovery: the share of `learning_rate`, of the configured rate, that one success gives back; 0 to 1.
        floor: the lowest share of the configured rate, above 0 up to 1.
    """

    learning_rate: float = 0.1
    recovery: float = 0.1
    floor: float = 0.1


@dataclass(frozen=True, slots=True)
class QueueCaps:
    """The most that waits for a pool at a time. Requests beyond it are refused as `queue_full`. None: no cap.

    Requests that return after a failure are exempt. Tokens are input and output, by estimate.
    """

    requests: int = 10_000
    requests_per_caller: int | None = None
    tokens: int | None = None
    tokens_per_caller: int | None = None


@dataclass(frozen=True, slots=True)
class RetrySettings:
    """The retries of a pool: number and times. Pools ignore these settings: they are for those who send the calls.

    Attributes:
        max_attempts: including the first.
        base_delay_seconds: before the first retry.
        max_delay_seconds: before any retry.
        jitter_factor: the random share by which a delay is longer or shorter, 0 to 1.
    """

    max_attempts: int
    base_delay_seconds: float
    max_delay_seconds: float
    jitter_factor: float

    def updated(self, before: "RetrySettings", after: "RetrySettings") -> "RetrySettings":
        """As `PoolSettings.updated`, for each field."""
        return RetrySettings(
            _updated(self.max_attempts, before.max_attempts, after.max_attempts),
            _updated(self.base_delay_seconds, before.base_delay_seconds, after.base_delay_seconds),
            _updated(self.max_delay_seconds, before.max_delay_seconds, after.max_delay_seconds),
            _updated(self.jitter_factor, before.jitter_factor, after.jitter_factor),
        )


@dataclass(frozen=True, slots=True)
class PoolSettings:
    """The configuration of a pool. An absent dimension is `auto`: the limit that the upstream reports, if any.

    Attributes:
        limits: configured limit per dimension.
        adaptive: how the rate follows 429s and successes; None: the pool learns its limits from answers.
        caps: the most that waits at a time.
        allow_debt: a request larger than the bucket is admitted when the bucket is full, and leaves it in debt;
            otherwise it is refused as `cost_exceeds_capacity`.
        retries: of the calls of the pool `default`; None: they are not part of the pool's configuration.
    """

    limits: dict[Dimension, LimitSettings] = field(default_factory=dict)
    adaptive: AdaptiveSettings | None = None
    caps: QueueCaps = QueueCaps()
    allow_debt: bool = True
    retries: RetrySettings | None = None

    def updated(self, before: "PoolSettings", after: "PoolSettings") -> "PoolSettings":
        """These settings with the differences between `before` and `after`. Each dimension counts separately."""
        limits = {
            dimension: limit
            for dimension in Dimension
            if (limit := _updated(*(each.limits.get(dimension) for each in (self, before, after)))) is not None
        }
        return PoolSettings(
            limits,
            _updated(self.adaptive, before.adaptive, after.adaptive),
            _updated(self.caps, before.caps, after.caps),
            _updated(self.allow_debt, before.allow_debt, after.allow_debt),
            self._updated_retries(before.retries, after.retries),
        )

    def _updated_retries(self, before: RetrySettings | None, after: RetrySettings | None) -> RetrySettings | None:
        if self.retries is None or before is None or after is None:
            return _updated(self.retries, before, after)
        return self.retries.updated(before, after)


def _updated(now: T, before: T, after: T) -> T:
    return now if before == after else after
