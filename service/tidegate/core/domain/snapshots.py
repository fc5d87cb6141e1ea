"""The state of a pool at one moment, for status and gauges."""

from dataclasses import dataclass, field, replace

from tidegate.core.domain.dimension import Dimension

__all__ = ["ClassSnapshot", "DimensionSnapshot", "PoolSnapshot", "QueueSnapshot", "WaitLeft", "WaitingGroup"]


@dataclass(frozen=True, slots=True)
class DimensionSnapshot:
    """One dimension of a pool now. Rates are per minute; None means that no limit is known.

    `binding` is the source of the effective rate: `configured`, `upstream`, `adaptive` or `none`. `used_share_…` is
    what the upstream has charged in that time, divided by its limit, or by the effective rate if it reports none. In a
    burst it may be more than 1.
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
        """The same with the used shares over 1 and 10 minutes."""
        return replace(self, used_share_1_minute=shares[0], used_share_10_minutes=shares[1])


@dataclass(frozen=True, slots=True)
class ClassSnapshot:
    """The waiters of a priority class now.

    `tokens` is their estimated cost. `oldest_seconds` is the wait of the oldest so far; None if nobody waits.
    """

    waiting: int = 0
    tokens: int = 0
    oldest_seconds: float | None = None
    by_caller: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PoolSnapshot:
    """A pool now, for status and gauges.

    Attributes:
        probing: a few requests find out whether the upstream accepts any, and all others wait.
        oldest_lease_seconds: the age of the oldest open lease; None if there is none.
        granted, rate_limited, succeeded: counts since the pool began.
        open_circuits: why only probes are admitted (`spend_cap`, `upstream_outage`), and in how many seconds a call may
            succeed again.
        unanswered: requests without the head of an answer.
        concurrency_limit: the most that may be unanswered; None if failures have led to none.
        retries_waiting: how many waiters are failed requests that return.
        retries_left: how many of those may go now.
        binding: what the waiter that goes next waits for, as in `core.domain.demand.Wait`; empty if nobody waits.
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
    binding: str = ""


@dataclass(frozen=True, slots=True)
class WaitLeft:
    """The approximate place of one waiter, and its remaining wait.

    `place`: in the queue of its pool, of `waiting` requests; 1 goes next. `seconds`: None while no limit is known to
    predict by. `binding`: what it waits for, as in `core.domain.demand.Wait`.
    """

    pool: str
    place: int
    waiting: int
    seconds: float | None
    binding: str


@dataclass(frozen=True, slots=True)
class WaitingGroup:
    """The waiting requests of one caller in one class.

    `tokens`: what they will probably cost. `oldest_seconds`: how long the oldest has been waiting. `next_in_seconds`
    and `last_in_seconds`: when its oldest and its newest request will probably be admitted; None while no limit is
    known to predict by. `binding`: what the oldest waits for, as in `core.domain.demand.Wait`.
    """

    priority: str
    caller: str
    waiting: int
    tokens: int
    oldest_seconds: float
    next_in_seconds: float | None
    last_in_seconds: float | None
    binding: str


@dataclass(frozen=True, slots=True)
class QueueSnapshot:
    """The requests that wait for a pool. `left_off` of them wait in groups that the snapshot has no room for."""

    pool: str
    waiting: int
    groups: tuple[WaitingGroup, ...]
    left_off: int
