"""A pool: the quota that a family of models shares, as a state machine. One call is one atomic step."""

from collections.abc import Iterator
from typing import Final

from tidegate.core.cause import Cause
from tidegate.core.clock import NS_PER_SECOND
from tidegate.core.dimension import DIMENSIONS, Cost, Dimension
from tidegate.core.drain import DrainRatio
from tidegate.core.events import CircuitClosed, CircuitOpened, Event, LeaseEnded
from tidegate.core.headers import LimitReport
from tidegate.core.limit import DimensionLimit
from tidegate.core.queue import FairQueue, Waiter
from tidegate.core.quota import Quota
from tidegate.core.spend_cap import SpendCapCircuit
from tidegate.core.store import (
    GRANTED,
    Demand,
    Failed,
    Feedback,
    Granted,
    Outcome,
    PoolSettings,
    PoolSnapshot,
    RateLimited,
    Refused,
    SpendCapped,
    Wait,
)

__all__ = ["Pool"]

_INPUT: Final = DIMENSIONS.index(Dimension.INPUT_TOKENS)
_OUTPUT: Final = DIMENSIONS.index(Dimension.OUTPUT_TOKENS)
_NOTHING_SPENT: Final = frozenset({Outcome.RELEASED, Outcome.THROTTLED})


class _Lease:
    """What was granted: the demand, what it is charged, what is known of it so far, and the limits that were charged.

    A limit that is learned while the lease lives does not count it: what the upstream reported as remaining does.
    """

    __slots__ = ("charged", "demand", "granted_ns", "known", "limits", "open_input_tokens", "open_output_tokens")

    def __init__(self, demand: Demand, limits: tuple[tuple[int, DimensionLimit], ...], granted_ns: int) -> None:
        self.demand = demand
        self.charged = demand.cost
        self.known = Cost()
        _, self.open_input_tokens, self.open_output_tokens = demand.cost
        self.limits = limits
        self.granted_ns = granted_ns


class Pool:
    """Quota, queue and leases of one pool. `now_ns` is the monotonic time of each step.

    `drain_events` hands out what happened since it was last called; the caller reports it.
    """

    __slots__ = (
        "_drain",
        "_events",
        "_granted",
        "_leases",
        "_queue",
        "_quota",
        "_rate_limited",
        "_refused",
        "_spend_cap",
        "_succeeded",
        "name",
        "settings",
    )

    def __init__(self, name: str, settings: PoolSettings, now_ns: int) -> None:
        self.name = name
        self.settings = settings
        self._quota = Quota(name, settings, now_ns)
        self._events = self._quota.events
        self._queue = FairQueue()
        self._drain = DrainRatio()
        self._spend_cap = SpendCapCircuit()
        self._refused: list[tuple[str, Refused]] = []
        self._leases: dict[str, _Lease] = {}
        self._granted = 0
        self._rate_limited = 0
        self._succeeded = 0

    @property
    def has_waiters(self) -> bool:
        """Whether anybody waits."""
        return bool(self._queue.waiting)

    @property
    def is_unused(self) -> bool:
        """Whether nothing would be lost with the pool: no answer ever came, nobody waits, nothing is in flight."""
        return not (self._queue or self._leases or self._succeeded)

    def drain_events(self) -> tuple[Event, ...]:
        """The facts since the last call."""
        if not self._events:
            return ()
        events = tuple(self._events)
        self._events.clear()
        return events

    def drain_refused(self) -> tuple[tuple[str, Refused], ...]:
        """The waiters that were refused since the last call."""
        if not self._refused:
            return ()
        refused = tuple(self._refused)
        self._refused.clear()
        return refused

    def reserve(self, lease_id: str, demand: Demand, now_ns: int) -> Granted | Wait | Refused:
        """Admits at once if nobody waits and everything fits; else queues, or refuses without side effect."""
        quota, cost = self._quota, demand.cost
        if self._is_capped(now_ns) and not self._spend_cap.lets_probe(now_ns):
            return Refused(Cause.SPEND_CAP, self._spend_cap.retry_after_ns(now_ns))
        if not self.settings.allow_debt:
            dimension = quota.never_fits(cost)
            if dimension is not None:
                return Refused(Cause.COST_EXCEEDS_CAPACITY, dimension=dimension)
        if not self._queue.waiting and quota.fits(cost, now_ns):
            limits = quota.take(cost, now_ns)
            self._granted += 1
            if not demand.settle_at_once:
                self._leases[lease_id] = _Lease(demand, limits, now_ns)
            return GRANTED
        formula_ns = self._predict_wait_ns(demand, now_ns)
        predicted_ns = self._corrected(formula_ns, now_ns)
        if len(self._queue) >= self.settings.max_waiting and not demand.front:
            return Refused(Cause.QUEUE_FULL, retry_after_ns=predicted_ns)
        if demand.patience_ns is not None and predicted_ns > demand.patience_ns and self._may_refuse(demand, now_ns):
            return Refused(Cause.DEADLINE, retry_after_ns=predicted_ns - demand.patience_ns)
        told_ns = formula_ns if quota.is_known else 0  # a guess about unknown limits proves nothing
        self._queue.push(Waiter(lease_id, demand, told_ns, now_ns))
        return Wait(predicted_ns, "queue" if len(self._queue) > 1 else quota.binding(cost, now_ns))

    def withdraw(self, lease_id: str, now_ns: int) -> int | None:
        """Takes a waiter out of the queue; None if it does not wait, else how long it would wait from now."""
        waiter = self._queue.remove(lease_id)
        return None if waiter is None else self._corrected(self._predict_wait_ns(waiter.demand, now_ns), now_ns)

    def release(self, lease_id: str, unleased: Cost | None, now_ns: int) -> None:
        """Takes a waiter out of the queue, or ends its lease as released.

        `unleased` is the cost of a waiter without a lease (`settle_at_once`), given back if it has been granted.
        """
        if self._queue.remove(lease_id) is None and not self.end(lease_id, Outcome.RELEASED, None, now_ns) and unleased:
            self._quota.give_back(unleased, now_ns)

    def advance(self, now_ns: int) -> tuple[str, ...]:
        """Admits, in order, the waiters that fit now."""
        quota = self._quota
        quota.demand_seen(now_ns)
        granted = []
        while (waiter := self._queue.head()) is not None and (
            quota.fits(waiter.demand.cost, now_ns) or self._breaks_silence(waiter.demand.cost, now_ns)
        ):
            demand = waiter.demand
            self._queue.pop(quota.size_ns(demand.cost))
            limits = quota.take(demand.cost, now_ns)
            if not demand.settle_at_once:
                self._leases[waiter.lease_id] = _Lease(demand, limits, now_ns)
            self._granted += 1
            self._drain.add(waiter.formula_ns, now_ns - waiter.since_ns)
            granted.append(waiter.lease_id)
        return tuple(granted)

    def next_in_ns(self, now_ns: int, if_it_is: str | None = None) -> int | None:
        """How long until the head of the queue may fit; None if nobody waits, or it is another than `if_it_is`."""
        head = self._queue.head()
        if head is None or (if_it_is is not None and head.lease_id != if_it_is):
            return None
        wait_ns = self._quota.wait_ns(head.demand.cost, now_ns)
        silent_ns = None if self._leases else self._quota.silent_ns(head.demand.cost, now_ns)
        return wait_ns if silent_ns is None else min(wait_ns, silent_ns)

    def charge(self, lease_id: str, known: Cost, now_ns: int) -> None:
        """Charges what is known of a lease while its answer comes: its input, and its output where that is more.

        An input of 0 is not known yet.
        """
        lease = self._leases.get(lease_id)
        if lease is None:
            return
        if known.input_tokens and not lease.known.input_tokens:
            self._compare(lease, known, _INPUT)
        known = lease.known = Cost(*map(max, lease.known, known))
        charged = Cost(*map(max, lease.charged, known))
        if known.input_tokens:
            charged = charged._replace(input_tokens=known.input_tokens)
        self._correct(lease, charged, now_ns)
        self._set_open(
            lease, 0 if known.input_tokens else charged.input_tokens, charged.output_tokens - known.output_tokens
        )

    def end(self, lease_id: str, outcome: Outcome, used: Cost | None, now_ns: int) -> bool:
        """Ends a lease and corrects the buckets; False if there is none of this id."""
        lease = self._leases.pop(lease_id, None)
        if lease is None:
            return False
        demand = lease.demand
        if outcome in _NOTHING_SPENT:
            used = Cost()
        elif used is None:
            overloaded = outcome is Outcome.OVERLOADED
            used = lease.known._replace(requests=demand.cost.requests) if overloaded else lease.charged
        elif outcome is Outcome.SETTLED:
            self._compare(lease, used, _OUTPUT, *([] if lease.known.input_tokens else [_INPUT]))
        self._quota.probe_ended()
        self._set_open(lease, 0, 0)
        self._correct(lease, used, now_ns)
        self._events.append(LeaseEnded(self.name, demand.caller, outcome, demand.cost, used))
        return True

    def freeze(self, duration_ns: int, now_ns: int) -> None:
        """Admits nobody for that long, or until an earlier freeze ends."""
        self._quota.freeze(duration_ns, now_ns)

    def learn(self, feedback: Feedback, now_ns: int) -> None:
        """Takes in a success, a 429, or the limits that an answer reports."""
        if isinstance(feedback, LimitReport):
            if feedback.answered and self._spend_cap.answered(now_ns - feedback.sent_ago_ns):
                self._events.append(CircuitClosed(self.name, Cause.SPEND_CAP))
            self._quota.learn_limits(feedback, now_ns)
        elif isinstance(feedback, RateLimited):
            self._rate_limited += 1
            self._quota.learn_refusal(feedback, now_ns)
        elif isinstance(feedback, SpendCapped):
            self._open_spend_cap(feedback.ends_in_ns, now_ns)
        elif isinstance(feedback, Failed):
            self._quota.learn_failure(feedback.sent_ago_ns, now_ns)
        else:
            self._succeeded += 1
            self._quota.learn_success(now_ns)

    def configure(self, settings: PoolSettings, now_ns: int) -> None:
        """Goes on under other settings: keeps levels, order, and what was learned.

        It also ends a spend cap as far as is known here: an operator who raised one has a way to say so.
        """
        self.settings = settings
        if self._spend_cap.is_open(now_ns):
            self._spend_cap.close()
            self._events.append(CircuitClosed(self.name, Cause.SPEND_CAP))
        self._quota.configure(settings, now_ns)

    def snapshot(self, now_ns: int) -> PoolSnapshot:
        """The state now."""
        oldest = next(iter(self._leases.values()), None)  # leases are kept in the order in which they were granted
        return PoolSnapshot(
            pool=self.name,
            dimensions=self._quota.snapshot(now_ns),
            adaptive_factor=self._quota.factor,
            frozen_seconds=self._quota.frozen_ns(now_ns) / NS_PER_SECOND,
            probing=self._quota.is_probing,
            waiting=len(self._queue),
            waiting_by_priority={str(priority): depth for priority, depth in self._queue.depth.items()},
            waiting_tokens_by_priority={str(priority): tokens for priority, tokens in self._queue.tokens.items()},
            waiting_by_caller=self._queue.by_caller(),
            in_flight=len(self._leases),
            oldest_lease_seconds=(now_ns - oldest.granted_ns) / NS_PER_SECOND if oldest else None,
            granted=self._granted,
            rate_limited=self._rate_limited,
            succeeded=self._succeeded,
            open_circuits={str(cause): ns / NS_PER_SECOND for cause, ns in self._open_circuits(now_ns)},
        )

    def _is_capped(self, now_ns: int) -> bool:
        if self._spend_cap.closes(now_ns):
            self._events.append(CircuitClosed(self.name, Cause.SPEND_CAP))
        return self._spend_cap.is_open(now_ns)

    def _open_spend_cap(self, ends_in_ns: int | None, now_ns: int) -> None:
        """Nobody is admitted, and who waits is told so at once."""
        if self._spend_cap.reached(ends_in_ns, now_ns):
            self._events.append(CircuitOpened(self.name, Cause.SPEND_CAP, ends_in_ns))
        refused = Refused(Cause.SPEND_CAP, self._spend_cap.retry_after_ns(now_ns))
        for lease_id in tuple(self._queue.waiting):
            self._queue.remove(lease_id)
            self._refused.append((lease_id, refused))

    def _open_circuits(self, now_ns: int) -> Iterator[tuple[Cause, int]]:
        """Why nothing is admitted, and after how many nanoseconds a call may succeed again."""
        if self._spend_cap.is_open(now_ns):
            yield Cause.SPEND_CAP, self._spend_cap.retry_after_ns(now_ns)

    def _breaks_silence(self, cost: Cost, now_ns: int) -> bool:
        return not self._leases and self._quota.silent_ns(cost, now_ns) == 0

    def _correct(self, lease: _Lease, cost: Cost, now_ns: int) -> None:
        """Charges a lease this much instead."""
        for index, limit in lease.limits:
            limit.correct(cost[index] - lease.charged[index], now_ns)
        lease.charged = cost

    def _set_open(self, lease: _Lease, input_tokens: int, output_tokens: int) -> None:
        """So much of what a lease is charged is an estimate still."""
        self._quota.forget(lease.open_input_tokens - input_tokens, lease.open_output_tokens - output_tokens)
        lease.open_input_tokens, lease.open_output_tokens = input_tokens, output_tokens

    @staticmethod
    def _compare(lease: _Lease, truth: Cost, *dimensions: int) -> None:
        """Shows to the limits how good the estimate was, now that the truth is known."""
        for index, limit in lease.limits:
            if index in dimensions:
                limit.priced(lease.demand.cost[index], truth[index])

    def _corrected(self, formula_ns: int, now_ns: int) -> int:
        """A freeze is certain, the rest is what experience makes of it."""
        frozen_ns = min(self._quota.frozen_ns(now_ns), formula_ns)
        return frozen_ns + self._drain.correct(formula_ns - frozen_ns)

    def _may_refuse(self, demand: Demand, now_ns: int) -> bool:
        """Whether a prediction is good enough to refuse somebody on it.

        A freeze is certain, and so is a price in requests alone; prices in tokens are estimates, which have to
        stand the test before.
        """
        is_exact = not (demand.cost.input_tokens or demand.cost.output_tokens)
        outlasts = demand.patience_ns is not None and self._quota.frozen_ns(now_ns) > demand.patience_ns
        return is_exact or outlasts or self._drain.is_tested

    def _predict_wait_ns(self, demand: Demand, now_ns: int) -> int:
        """Refilling for this demand and all who go before it; a freeze lets no more refill than the buckets hold."""
        quota = self._quota
        ahead_ns = 0 if demand.front else self._queue.ahead_ns(demand.caller, quota.size_ns)
        frozen_ns = quota.frozen_ns(now_ns)
        if not frozen_ns:
            return ahead_ns + quota.wait_ns(demand.cost, now_ns)
        refilled_ns = ahead_ns + quota.level_wait_ns(demand.cost, now_ns)
        thawed_ns = max(0, ahead_ns + quota.size_ns(demand.cost) - quota.held_ns(demand.cost))
        return max(refilled_ns, frozen_ns + thawed_ns)
