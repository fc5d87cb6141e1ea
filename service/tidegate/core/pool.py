"""A pool: the quota that a family of models shares, as a state machine. One call is one atomic step."""

from typing import Final

from tidegate.core.adaptive import AdaptiveFactor
from tidegate.core.bucket import TokenBucket
from tidegate.core.cause import Cause
from tidegate.core.clock import NS_PER_MINUTE, NS_PER_SECOND
from tidegate.core.dimension import DIMENSIONS, MICRO, Cost
from tidegate.core.events import Event, Frozen, LeaseEnded, LimitLearned, RateChanged, Thawed
from tidegate.core.headers import LimitReport
from tidegate.core.limit import DimensionLimit
from tidegate.core.queue import FairQueue, Waiter
from tidegate.core.store import (
    GRANTED,
    Demand,
    Feedback,
    Granted,
    Outcome,
    PoolSettings,
    PoolSnapshot,
    RateLimited,
    Refused,
    Wait,
)

__all__ = ["Pool"]

_NOTHING_SPENT: Final = frozenset({Outcome.RELEASED, Outcome.THROTTLED})


class _Lease:
    """What was granted: the demand, what it is charged and has produced so far, and the buckets that were charged.

    A limit that is learned while the lease lives does not count it: what the upstream reported as remaining does.
    """

    __slots__ = ("buckets", "charged", "demand", "granted_ns", "produced")

    def __init__(self, demand: Demand, buckets: tuple[tuple[int, TokenBucket], ...], granted_ns: int) -> None:
        self.demand = demand
        self.charged = demand.cost
        self.produced = Cost()
        self.buckets = buckets
        self.granted_ns = granted_ns


class Pool:
    """Buckets, queue, leases and adaptive factor of one pool. `now_ns` is the monotonic time of each step.

    `drain_events` hands out what happened since it was last called; the caller reports it.
    """

    __slots__ = (
        "_adaptive",
        "_buckets",
        "_cut_ns",
        "_events",
        "_frozen_until_ns",
        "_granted",
        "_leases",
        "_limits",
        "_queue",
        "_rate_limited",
        "_succeeded",
        "name",
        "settings",
    )

    def __init__(self, name: str, settings: PoolSettings, now_ns: int) -> None:
        self.name = name
        self.settings = settings
        self._adaptive = AdaptiveFactor(settings.adaptive)
        self._limits = tuple(DimensionLimit(dimension) for dimension in DIMENSIONS)
        self._buckets: tuple[tuple[int, TokenBucket], ...] = ()
        self._queue = FairQueue()
        self._leases: dict[str, _Lease] = {}
        self._frozen_until_ns: int | None = None
        self._cut_ns = now_ns
        self._events: list[Event] = []
        self._granted = 0
        self._rate_limited = 0
        self._succeeded = 0
        self.configure(settings, now_ns)

    @property
    def has_waiters(self) -> bool:
        """Whether anybody waits."""
        return bool(self._queue.waiting)

    def drain_events(self) -> tuple[Event, ...]:
        """The facts since the last call."""
        if not self._events:
            return ()
        events, self._events = tuple(self._events), []
        return events

    def reserve(self, lease_id: str, demand: Demand, now_ns: int) -> Granted | Wait | Refused:
        """Admits at once if nobody waits and everything fits; else queues, or refuses without side effect."""
        if not self.settings.allow_debt:
            for index, bucket in self._buckets:
                if demand.cost[index] * MICRO > bucket.capacity_micro:
                    return Refused(Cause.COST_EXCEEDS_CAPACITY, dimension=DIMENSIONS[index])
        if not self._queue.waiting and self._is_open(now_ns) and self._fits(demand.cost, now_ns):
            taken = self._take(demand.cost)
            if not demand.settle_at_once:
                self._leases[lease_id] = _Lease(demand, taken, now_ns)
            return GRANTED
        predicted_ns = self._predict_wait_ns(demand, now_ns)
        if len(self._queue) >= self.settings.max_waiting and not demand.front:
            return Refused(Cause.QUEUE_FULL, retry_after_ns=predicted_ns)
        if demand.patience_ns is not None and predicted_ns > demand.patience_ns:
            return Refused(Cause.DEADLINE, retry_after_ns=predicted_ns - demand.patience_ns)
        self._queue.push(Waiter(lease_id, demand, self._size_ns(demand.cost)))
        return Wait(predicted_ns)

    @property
    def is_unused(self) -> bool:
        """Whether nothing would be lost with the pool: no answer ever came, nobody waits, nothing is in flight."""
        return not (self._queue or self._leases or self._succeeded)

    def withdraw(self, lease_id: str, now_ns: int) -> int | None:
        """Takes a waiter out of the queue; None if it does not wait, else how long it would wait from now."""
        waiter = self._queue.remove(lease_id)
        return None if waiter is None else self._predict_wait_ns(waiter.demand, now_ns)

    def advance(self, now_ns: int) -> tuple[str, ...]:
        """Admits, in order, the waiters that fit now."""
        if not self._is_open(now_ns):
            return ()
        granted = []
        while (waiter := self._queue.head()) is not None and self._fits(waiter.demand.cost, now_ns):
            self._queue.pop()
            self._leases[waiter.lease_id] = _Lease(waiter.demand, self._take(waiter.demand.cost), now_ns)
            granted.append(waiter.lease_id)
        return tuple(granted)

    def next_in_ns(self, now_ns: int) -> int | None:
        """How long until the head of the queue may fit; None if nobody waits."""
        head = self._queue.head()
        if head is None:
            return None
        return max(self._frozen_ns(now_ns), self._wait_ns(head.demand.cost, now_ns))

    def charge(self, lease_id: str, produced: Cost, now_ns: int) -> None:
        """Raises what a lease is charged to what it has produced so far, where that is more."""
        lease = self._leases.get(lease_id)
        if lease is not None:
            lease.produced = Cost(*map(max, lease.produced, produced))
            self._correct(lease, Cost(*map(max, lease.charged, produced)), now_ns)

    def end(self, lease_id: str, outcome: Outcome, used: Cost | None, now_ns: int) -> bool:
        """Ends a lease and corrects the buckets; False if there is none of this id."""
        lease = self._leases.pop(lease_id, None)
        if lease is None:
            return False
        demand = lease.demand
        if outcome in _NOTHING_SPENT:
            used = Cost()
        elif used is None:
            used = (
                lease.charged
                if outcome is not Outcome.OVERLOADED
                else lease.produced._replace(requests=demand.cost.requests)
            )
        self._correct(lease, used, now_ns)
        self._events.append(LeaseEnded(self.name, demand.caller, outcome, demand.cost, used))
        return True

    def freeze(self, duration_ns: int, now_ns: int) -> None:
        """Admits nobody for that long, or until an earlier freeze ends."""
        until_ns = now_ns + max(0, duration_ns)
        if until_ns > max(now_ns, self._frozen_until_ns or 0):
            self._frozen_until_ns = until_ns
            self._events.append(Frozen(self.name, until_ns - now_ns))

    def learn(self, feedback: Feedback, now_ns: int) -> None:
        """Takes in a success, a 429, or the limits that an answer reports."""
        if isinstance(feedback, LimitReport):
            self._learn_limits(feedback, now_ns)
            return
        before = self._adaptive.value
        if isinstance(feedback, RateLimited):
            self._rate_limited += 1
            changed, reason = self._is_new_overrun(feedback, now_ns) and self._adaptive.cut(), "rate_limited"
            if feedback.retry_after_ns:
                self.freeze(feedback.retry_after_ns, now_ns)
        else:
            self._succeeded += 1
            changed, reason = self._adaptive.grow(), "succeeded"
        if changed:
            self._adapt(now_ns)
            self._events.append(RateChanged(self.name, before, self._adaptive.value, reason))

    def _is_new_overrun(self, refusal: RateLimited, now_ns: int) -> bool:
        """Whether the refused request was sent after the last cut: one overrun, however many 429s, is one cut."""
        if refusal.sent_ago_ns is not None and now_ns - refusal.sent_ago_ns < self._cut_ns:
            return False
        self._cut_ns = now_ns
        return True

    def configure(self, settings: PoolSettings, now_ns: int) -> None:
        """Goes on under other settings: keeps levels, order and the adaptive factor."""
        self.settings = settings
        self._adaptive.configure(settings.adaptive)
        for limit in self._limits:
            limit.configure(settings.limits.get(limit.dimension), now_ns)
        self._adapt(now_ns)

    def snapshot(self, now_ns: int) -> PoolSnapshot:
        """The state now."""
        oldest = next(iter(self._leases.values()), None)  # leases are kept in the order in which they were granted
        return PoolSnapshot(
            pool=self.name,
            dimensions=tuple(limit.snapshot(now_ns) for limit in self._limits),
            adaptive_factor=self._adaptive.value,
            frozen_seconds=self._frozen_ns(now_ns) / NS_PER_SECOND,
            waiting=len(self._queue),
            waiting_by_priority={str(priority): depth for priority, depth in self._queue.depth.items()},
            waiting_tokens_by_priority={str(priority): tokens for priority, tokens in self._queue.tokens.items()},
            waiting_by_caller=self._queue.by_caller(),
            in_flight=len(self._leases),
            oldest_lease_seconds=(now_ns - oldest.granted_ns) / NS_PER_SECOND if oldest else None,
            granted=self._granted,
            rate_limited=self._rate_limited,
            succeeded=self._succeeded,
        )

    def _learn_limits(self, report: LimitReport, now_ns: int) -> None:
        for limit, said in zip(self._limits, report, strict=True):
            if said is not None and limit.learn(said, now_ns):
                self._events.append(LimitLearned(self.name, limit.dimension, float(said.per_minute)))
        self._find_buckets()

    def _adapt(self, now_ns: int) -> None:
        for limit in self._limits:
            limit.adapt(self._adaptive.value, now_ns)
        self._find_buckets()

    def _find_buckets(self) -> None:
        self._buckets = tuple(
            (index, limit.bucket) for index, limit in enumerate(self._limits) if limit.bucket is not None
        )

    def _fits(self, cost: Cost, now_ns: int) -> bool:
        for index, bucket in self._buckets:
            if cost[index] and not bucket.fits(cost[index] * MICRO, now_ns):
                return False
        return True

    def _is_open(self, now_ns: int) -> bool:
        if self._frozen_until_ns is None:
            return True
        if now_ns < self._frozen_until_ns:
            return False
        self._frozen_until_ns = None
        self._events.append(Thawed(self.name))
        return True

    def _take(self, cost: Cost) -> tuple[tuple[int, TokenBucket], ...]:
        for index, bucket in self._buckets:
            bucket.take(cost[index] * MICRO)
        self._granted += 1
        return self._buckets

    def _correct(self, lease: _Lease, cost: Cost, now_ns: int) -> None:
        """Charges a lease this much instead."""
        for index, bucket in lease.buckets:
            difference = cost[index] - lease.charged[index]
            if difference:
                bucket.correct(difference * MICRO, now_ns)
        lease.charged = cost

    def _wait_ns(self, cost: Cost, now_ns: int) -> int:
        return max((b.wait_ns(cost[i] * MICRO, now_ns) for i, b in self._buckets if cost[i]), default=0)

    def _frozen_ns(self, now_ns: int) -> int:
        return 0 if self._frozen_until_ns is None else max(0, self._frozen_until_ns - now_ns)

    def _size_ns(self, cost: Cost) -> int:
        """How long the pool needs to refill this cost, in its tightest dimension."""
        return max(
            (cost[i] * MICRO * NS_PER_MINUTE // bucket.rate_micro_per_minute for i, bucket in self._buckets), default=0
        )

    def _predict_wait_ns(self, demand: Demand, now_ns: int) -> int:
        """Refilling for this demand and all who go before it; a freeze lets no more refill than the buckets hold."""
        ahead_ns = 0 if demand.front else self._queue.ahead_ns(demand.caller)
        predicted_ns = ahead_ns + self._wait_ns(demand.cost, now_ns)
        frozen_ns = self._frozen_ns(now_ns)
        if not frozen_ns:
            return predicted_ns
        held_ns = min(
            (b.capacity_micro * NS_PER_MINUTE // b.rate_micro_per_minute for i, b in self._buckets if demand.cost[i]),
            default=0,
        )
        return max(predicted_ns, frozen_ns + max(0, ahead_ns + self._size_ns(demand.cost) - held_ns))
