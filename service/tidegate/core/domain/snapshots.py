"""The state of a pool at one moment, for the status and for gauges."""

from dataclasses import dataclass, field, replace

from tidegate.core.domain.dimension import Dimension

__all__ = ["ClassSnapshot", "DimensionSnapshot", "PoolSnapshot"]


@dataclass(frozen=True, slots=True)
class DimensionSnapshot:
    """One dimension of a pool now. Rates are per minute; None means that no limit is known.

    `binding` says which source sets the effective rate: `configured`, `upstream`, `adaptive` or `none`.
    `used_share_…`: what the upstream has charged in that time, divided by its limit, or by the effective rate where it
    tells none; at a burst it may be more than 1.
    """

    dimension: Dimension
    configured_per_minute: float | None
    upstream_per_minute: float | None
    effective_per_minute: float | None
    available: float | None
    capacity: float | None
    binding: str
    used_share_1_minute: float | None = None
    used_share_10_minutes: float | None = None

    def with_shares(self, shares: tuple[float | None, ...]) -> "DimensionSnapshot":
        """The same with what was used, over 1 and 10 minutes."""
        return replace(self, used_share_1_minute=shares[0], used_share_10_minutes=shares[1])


@dataclass(frozen=True, slots=True)
class ClassSnapshot:
    """Who of a priority class waits now.

    `tokens` is what they will probably cost. `oldest_seconds` is how long the oldest has been waiting; None: nobody is.
    """

    waiting: int = 0
    tokens: int = 0
    oldest_seconds: float | None = None
    by_caller: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PoolSnapshot:
    """A pool now, for status and gauges; `granted`, `rate_limited` and `succeeded` count since the pool began.

    `probing`: single requests find out whether the upstream answers; all others wait for that.
    `oldest_lease_seconds` is the age of the oldest lease that has not ended; None where there is none.
    `open_circuits`: why nothing but probes is admitted (`spend_cap`, `upstream_outage`), and in how many seconds a call
    may succeed again. `unanswered`: requests without the head of an answer; at most `concurrency_limit` at a time where
    failures have led to one. `retries_waiting` of those that wait are failed requests that come back; `retries_left` of
    them may go now.
    """

    pool: str
    dimensions: tuple[DimensionSnapshot, ...]
    adaptive_factor: float
    frozen_seconds: float
    probing: bool
    waiting: int
    classes: dict[str, ClassSnapshot]
    in_flight: int
    oldest_lease_seconds: float | None
    granted: int
    rate_limited: int
    succeeded: int
    open_circuits: dict[str, float] = field(default_factory=dict)
    unanswered: int = 0
    concurrency_limit: int | None = None
    retries_waiting: int = 0
    retries_left: float = 0.0
