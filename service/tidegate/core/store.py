"""The protocol between the engine and the place where shared state lives, and the values that cross it.

Durations cross it, never instants: the clocks of two replicas, and of a remote store, do not agree.

None of the values leads back to itself, so the collector need not know of them: many thousands may wait.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final, Protocol

from msgspec import Struct

from tidegate.core.caller import Caller
from tidegate.core.cause import Cause
from tidegate.core.dimension import Cost, Dimension
from tidegate.core.errors import ConfigurationError
from tidegate.core.events import Event
from tidegate.core.headers import LimitReport

__all__ = [
    "GRANTED",
    "LEAST_UNITS",
    "AdaptiveSettings",
    "Change",
    "ClassSnapshot",
    "Demand",
    "DimensionSnapshot",
    "Failed",
    "Feedback",
    "Granted",
    "LimitSettings",
    "Outcome",
    "PoolSettings",
    "PoolSnapshot",
    "QueueCaps",
    "RateLimited",
    "Refused",
    "SpendCapped",
    "Store",
    "Succeeded",
    "Wait",
]


_MOST_UNITS: Final = 10**12
"""More a minute than any upstream grants; keeps integers in micro-units small."""
LEAST_UNITS: Final = 0.001
"""Less a minute than anybody means: one request in 17 hours. Keeps waits within what can be computed."""


class Outcome(StrEnum):
    """How a lease ends; each ends exactly once."""

    SETTLED = "settled"
    """Done: the real usage replaces the estimate."""
    RELEASED = "released"
    """Nothing was spent: everything is given back."""
    THROTTLED = "throttled"
    """The upstream answered 429 and counted nothing: everything is given back."""
    OVERLOADED = "overloaded"
    """529 or 5xx. Without `used`, which an error status says nothing of, an answer had begun and failed: the request
    counts, its input, by estimate where no `charge` has said more, and of its output what a `charge` has said."""
    ABANDONED = "abandoned"
    """The client left, or no answer came: what was spent is still charged, the estimate where it is unknown."""


class Demand(Struct, frozen=True, gc=False):
    """What somebody wants from a pool.

    Attributes:
        pool: name of the pool.
        caller: who asks; fairness goes by its name and weight.
        cost: the estimate; all dimensions are reserved at once or none.
        patience_ns: how long the caller would wait; None: as long as it takes.
        front: a request that the upstream refused with 429 comes back ahead of all others.
        retry: a request that failed otherwise comes back: ahead of all others as well, as soon as the pool's budget for
            retries, or a probe, lets it; it is not refused for having to wait.
        settle_at_once: the cost is exact, nobody will report usage: no lease is kept after admission.
        overdraw_tokens: how much more output it may well become.
        session: the caller's session that the request belongs to; sessions of a caller share what it gets.
        agent: the agent of that session; agents of a session share what it gets, first come, first served within one.
        session_front: continues work of its session, and goes ahead of that session's other requests.
        price: what it costs at a moment of the monotonic clock, for a store in this process: asked again for who has
            waited, before it is admitted. Others go by `cost`.
    """

    pool: str
    caller: Caller
    cost: Cost
    patience_ns: int | None = None
    front: bool = False
    retry: bool = False
    settle_at_once: bool = False
    overdraw_tokens: int = 0
    session: str = ""
    agent: str = ""
    session_front: bool = False
    price: Callable[[int], Cost] | None = None


class Granted(Struct, frozen=True, gc=False):
    """Admitted: the cost is reserved under the lease id until `Store.end`."""


GRANTED: Final = Granted()
"""The one value of its kind: admission at once is the hot path."""


@dataclass(slots=True)
class Wait:
    """Queued: a `Change` will tell of the grant.

    Attributes:
        predicted_ns: how long it will probably take.
        binding: what it waits for, for information: `queue` (others came first), a dimension, `frozen`, `probe` (an
            answer to the one request that may go), `acceleration`, `outage`, `concurrency`, or `retry_budget`.
    """

    predicted_ns: int
    binding: str = field(default="queue", compare=False)


class Refused(Struct, frozen=True, gc=False):
    """Not admitted and not queued, without any side effect.

    `full` says which cap of the queue was reached. `limit` names the field of `CallerLimits` that a caller exceeds.
    """

    cause: Cause
    retry_after_ns: int | None = None
    dimension: Dimension | None = None
    full: str | None = None
    limit: str | None = None


class Succeeded(Struct, frozen=True, gc=False):
    """The upstream answered well: an adapted rate may recover a step.

    `sent_ago_ns`: how long ago the request with that lease was sent; None where a `LimitReport` has told of its answer.
    """

    sent_ago_ns: int | None = None
    lease_id: str = ""


class RateLimited(Struct, frozen=True, gc=False):
    """The upstream answered 429: the rate is cut a step, and the pool is frozen for `retry_after_ns`, if it said so.

    `sent_ago_ns` says when the refused request was sent. One that was sent before the last cut belongs to the same
    overrun and cuts nothing more; without it every 429 cuts. `acceleration`: usage grew too fast, no level is short.
    `pause_ns`: freeze for that long at least, whatever the upstream said. `lease_id`: the lease of that request, which
    ends with it as throttled: what it gives back lets nobody in ahead of the freeze.
    """

    retry_after_ns: int | None = None
    sent_ago_ns: int | None = None
    acceleration: bool = False
    pause_ns: int = 0
    lease_id: str = ""


class Failed(Struct, frozen=True, gc=False):
    """The upstream failed, for a request that was sent `sent_ago_ns` ago: 529, 5xx, or no answer."""

    sent_ago_ns: int


class SpendCapped(Struct, frozen=True, gc=False):
    """The upstream refuses everything because a spend cap is reached, for `ends_in_ns`; None: it does not say."""

    ends_in_ns: int | None = None


Feedback = Succeeded | RateLimited | Failed | SpendCapped | LimitReport
"""What an answer teaches a pool."""


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
    """How a pool's rate follows the upstream's answers.

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
    """Most that waits for a pool at a time; what exceeds it is refused as `queue_full`. None: no cap.

    What comes back after a failure is let in beyond. Tokens are input and output, by estimate.
    """

    requests: int = 10_000
    requests_per_caller: int | None = None
    tokens: int | None = None
    tokens_per_caller: int | None = None


@dataclass(frozen=True, slots=True)
class PoolSettings:
    """What an operator says of a pool. A dimension that is absent is `auto`: what the upstream reports, if it does.

    Attributes:
        limits: configured limit per dimension.
        adaptive: how the rate follows 429s and successes; None: the pool learns its limits from what answers show.
        caps: most that waits at a time.
        allow_debt: a request larger than the bucket is admitted when the bucket is full, and leaves it in debt;
            otherwise it is refused as `cost_exceeds_capacity`.
    """

    limits: dict[Dimension, LimitSettings] = field(default_factory=dict)
    adaptive: AdaptiveSettings | None = None
    caps: QueueCaps = QueueCaps()
    allow_debt: bool = True


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


class Change(Struct, frozen=True, gc=False):
    """What a step changed: leases that were granted, facts to report, and when the next waiter may fit.

    `refused` are waiters that will not be admitted after all, and why; they have left the queue.

    `next_in_ns` is None when nobody waits; otherwise somebody calls `advance` after that time, at the latest.
    """

    pool: str
    granted: tuple[str, ...] = ()
    events: tuple[Event, ...] = ()
    next_in_ns: int | None = None
    refused: tuple[tuple[str, Refused], ...] = ()


class Store(Protocol):
    """Where pools live. Each method is one atomic step, and one round trip where the store is remote.

    An unknown pool comes to be at its first use. The asynchronous methods raise `Refusal(STORE_UNAVAILABLE)` when the
    store cannot be reached; the others never fail.
    """

    async def reserve(self, lease_id: str, demand: Demand) -> Granted | Wait | Refused:
        """Admits, queues or refuses a demand; `lease_id` is the caller's choice and unique.

        Who waits is granted or refused by a later `Change`.
        """
        ...

    async def withdraw(self, pool: str, lease_id: str) -> Refused | None:
        """Takes a waiter out of the queue, without side effect; None if it does not wait (any more).

        Otherwise why it had to wait so long, and after what time the same demand would probably be admitted from now.
        """
        ...

    async def charge(self, pool: str, lease_id: str, known: Cost) -> None:
        """Charges what is known while an answer comes: its input, unless 0, and its output so far where it is more."""
        ...

    async def end(
        self,
        pool: str,
        lease_id: str,
        outcome: Outcome,
        used: Cost | None = None,
        taught: tuple[Feedback, ...] = (),
    ) -> bool:
        """Ends a lease and corrects the buckets by `used`; False if it had ended before.

        `used` None with `SETTLED` or `ABANDONED` charges the estimate. What its answer has `taught` is taken in first,
        as by `learn`, in any case.
        """
        ...

    async def freeze(self, pool: str, duration_ns: int) -> None:
        """Admits nobody for the duration, or until an earlier freeze ends, whichever is later."""
        ...

    async def learn(self, pool: str, feedback: Feedback) -> None:
        """Takes in what an answer taught."""
        ...

    async def configure(self, pool: str, settings: PoolSettings) -> None:
        """Replaces a pool's settings: on waiters too, in their order; refills nothing; ends a spend cap."""
        ...

    async def heartbeat(self, pool: str, lease_ids: tuple[str, ...]) -> None:
        """Says that these leases are alive; one that stays silent too long is ended as abandoned."""
        ...

    async def snapshot(self, pool: str | None = None) -> tuple[PoolSnapshot, ...]:
        """The state of one pool (empty if unknown) or of all."""
        ...

    def pool_for(self, name: str) -> str:
        """The name of the pool that serves `name`: `name` itself, or a shared pool once there are too many.

        All other methods take the name that this returned, so that demands, leases and changes agree on it.
        """
        ...

    def take(self, lease_id: str, demand: Demand) -> bool:
        """Admits a demand, if nobody has to wait for that, not even for a round trip; under a lease, as `reserve`.

        False, without effect, otherwise: then it is to be reserved.
        """
        ...

    def release(self, pool: str, lease_id: str, unleased: Cost | None = None) -> None:
        """Withdraws a waiter, or ends its lease as released: for where nothing can be awaited.

        `unleased` is the cost of a waiter that gets no lease (`settle_at_once`): given back if it was granted.
        """
        ...

    def advance(self, pool: str) -> None:
        """Time has passed: admits the waiters that fit now. What came of it arrives through `watch`."""
        ...

    def watch(self, listener: Callable[[Change], None], *, leases: bool = True) -> Callable[[], None]:
        """Calls `listener` with every change, from any thread, outside of any lock; returns how to stop it.

        `leases`: whether it wants to hear how each lease ended. While nobody does, no such event is made.
        """
        ...
