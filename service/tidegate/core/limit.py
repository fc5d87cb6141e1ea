"""One dimension of a pool: its bucket, and which of several sources sets its rate."""

import math

from tidegate.core.bucket import TokenBucket
from tidegate.core.clock import NS_PER_MINUTE
from tidegate.core.dimension import MICRO, Dimension
from tidegate.core.headers import DimensionReport
from tidegate.core.store import DimensionSnapshot, LimitSettings

__all__ = ["DimensionLimit"]

_RESET_ROUNDING_NS = 500_000_000
"""`…-reset` is rounded up to a whole second: half of one, on average."""


class DimensionLimit:
    """A limit in one dimension, fused from configuration, what the upstream reports, and the adaptive factor.

    The bucket exists once a limit is known, and not before: nothing is limited on a guess.
    """

    __slots__ = (
        "_configured",
        "_factor",
        "_kept_bucket",
        "_upstream_capacity",
        "_upstream_per_minute",
        "bucket",
        "dimension",
    )

    def __init__(self, dimension: Dimension) -> None:
        self.dimension = dimension
        self.bucket: TokenBucket | None = None
        self._kept_bucket: TokenBucket | None = None  # a limit that goes and comes back must not come back refilled
        self._configured: LimitSettings | None = None
        self._upstream_per_minute: float | None = None
        self._upstream_capacity = 0.0
        self._factor = 1.0

    def configure(self, settings: LimitSettings | None, now_ns: int) -> None:
        """Sets or removes the configured limit."""
        self._configured = settings
        self._apply(now_ns)

    def adapt(self, factor: float, now_ns: int) -> None:
        """Follows the pool's adaptive factor."""
        self._factor = factor
        self._apply(now_ns)

    def learn(self, report: DimensionReport, now_ns: int) -> bool:
        """Takes in what an answer says of this dimension. Returns whether the limit itself is news.

        The capacity is not told but follows from two figures (`remaining`, and the time until all is back); one that
        was seen in `remaining` is certain. A level above `remaining` is corrected down: others may use the same key.
        """
        news = report.per_minute != self._upstream_per_minute
        if news:
            self._upstream_capacity = 0.0
        self._upstream_per_minute = float(report.per_minute)
        self._upstream_capacity = max(self._upstream_capacity, _reported_capacity(report))
        self._apply(now_ns)
        if report.remaining is not None and self.bucket is not None:
            self.bucket.limit_level(report.remaining * MICRO, now_ns)
        return news

    def snapshot(self, now_ns: int) -> DimensionSnapshot:
        """The state now."""
        bucket = self.bucket
        return DimensionSnapshot(
            dimension=self.dimension,
            configured_per_minute=self._configured.per_minute if self._configured else None,
            upstream_per_minute=self._upstream_per_minute,
            effective_per_minute=bucket.rate_micro_per_minute / MICRO if bucket else None,
            available=bucket.level_micro(now_ns) / MICRO if bucket else None,
            capacity=bucket.capacity_micro / MICRO if bucket else None,
            binding=self._source()[2],
        )

    def _source(self) -> tuple[float, float, str]:
        """Rate per minute and capacity of the limit that binds, and its name."""
        configured, upstream = self._configured, self._upstream_per_minute
        if configured is None and upstream is None:
            return 0.0, 0.0, "none"
        rate, capacity, name = math.inf, math.inf, "none"
        if configured is not None:
            rate, capacity, name = configured.per_minute, configured.capacity, "configured"
        if upstream is not None:
            capacity = min(capacity, self._upstream_capacity)
            if upstream < rate:
                rate, name = upstream, "upstream"
        return rate, capacity, name if self._factor == 1.0 else "adaptive"

    def _apply(self, now_ns: int) -> None:
        rate, capacity, name = self._source()
        if name == "none":
            self.bucket = None
            return
        rate_micro = max(1, round(rate * self._factor * MICRO))
        capacity_micro = max(MICRO, round(capacity * MICRO))
        if self._kept_bucket is None:
            self._kept_bucket = TokenBucket(rate_micro, capacity_micro, now_ns)
        else:
            self._kept_bucket.change(rate_micro, capacity_micro, now_ns)
        self.bucket = self._kept_bucket


def _reported_capacity(report: DimensionReport) -> float:
    if report.remaining is None or report.full_in_ns is None:
        # The documentation allows enforcement by the second: less than one second's worth is never the whole bucket.
        return max(report.remaining or 0.0, report.per_minute / 60)
    refilled = max(0, report.full_in_ns - _RESET_ROUNDING_NS) * report.per_minute / NS_PER_MINUTE
    return min(report.remaining + refilled, float(report.per_minute))
