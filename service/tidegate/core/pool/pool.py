"""A pool: the quota that a group of models shares, as a state machine. One method call is one atomic step."""

from collections.abc import Callable
from dataclasses import replace
from typing import Final, Self

from tidegate.core.accounts.account_waits import AccountWaits
from tidegate.core.accounts.accounts import Account, Accounts
from tidegate.core.domain.anomaly import AnomalyKind
from tidegate.core.domain.budget import Spending
from tidegate.core.domain.cause import Cause
from tidegate.core.domain.demand import GRANTED, Demand, Granted, Outcome, Refused, Wait
from tidegate.core.domain.dimension import ONE_REQUEST, Cost
from tidegate.core.domain.events import Anomaly, Event
from tidegate.core.domain.feedback import Feedback, RateLimited, SpendCapped, Succeeded
from tidegate.core.domain.limit_report import LimitReport
from tidegate.core.domain.nanoseconds import NS_PER_SECOND
from tidegate.core.domain.pool_settings import PoolSettings
from tidegate.core.domain.snapshots import PoolSnapshot
from tidegate.core.pool.pool_parts import PoolParts
from tidegate.core.pool.pool_state import PoolState
from tidegate.core.pool.pool_work import PoolWork
from tidegate.core.pool.queue_view import QueueView
from tidegate.core.ports.store import Change
from tidegate.core.queue.queue_caps import exceeded_cap
from tidegate.core.queue.waiter import Waiter

__all__ = ["Pool"]

_ENOUGH_FOR_PROBE_NS: Final = 5 * NS_PER_SECOND
_HOLDER_GONE: Final = Refused(Cause.STORE_UNAVAILABLE)


class Pool:
    """Quota, queue and leases of one pool. `now_ns` is the monotonic time of each step.

    Each step may cause events, grants and refusals of waiters. `take_changes` and `advance_and_collect` return them.

    Args:
        name: of the pool.
        settings: what the operator has configured.
        now_ns: the time of creation.
        accounts: callers' own limits, shared by all pools.
        parts: restored parts in place of new ones.
    """

    __slots__ = (
        "_book",
        "_events",
        "_failures",
        "_forecast",
        "_next_in_ns",
        "_own_limits",
        "_parts",
        "_queue",
        "_quota",
        "_retries",
        "limits",
        "name",
        "settings",
    )

    def __init__(
        self,
        name: str,
        settings: PoolSettings,
        now_ns: int,
        accounts: Accounts | None = None,
        parts: PoolParts | None = None,
    ) -> None:
        self.name = name
        self.settings = settings
        self._parts = parts = parts or PoolParts(name, settings, now_ns, accounts or Accounts())
        self._quota = parts.quota
        self.limits = parts.quota.limits
        self._events = parts.quota.events
        self._failures = parts.failures
        self._retries = parts.retries
        self._queue = parts.queue
        self._own_limits = parts.own_limits
        self._forecast = parts.forecast
        self._book = parts.book
        self._next_in_ns: int | None = None  # for the next change

    def dump(self, now_ns: int) -> PoolState:
        """The learned state, for `restore`: without settings, waiters and leases."""
        return self._parts.dump(now_ns)

    @classmethod
    def restore(cls, state: PoolState, now_ns: int, settings: PoolSettings, accounts: Accounts | None = None) -> Self:
        """A pool that continues from `state`, under these settings, without waiters and leases.

        Requests in flight at the dump count as unanswered no longer, because their answers cannot be attributed. Their
        charges stay: they may have reached the upstream. So the pool never sends more than the original would have.
        """
        parts = PoolParts.restore(state, now_ns, settings, accounts or Accounts())
        return cls(state.pool, settings, now_ns, parts=parts)

    def dump_work(self, now_ns: int) -> PoolWork:
        """All leases and waiters, for `restore_work`. All changes must have been collected before."""
        return self._parts.dump_work(now_ns)

    def restore_work(self, work: PoolWork, now_ns: int, account_of: Callable[[str], Account]) -> None:
        """Adds the leases and waiters of a dump to a pool that was just restored from the dump of the same moment.

        Under the same settings it then behaves exactly as the original. `account_of` returns a caller's account.
        """
        self._parts.restore_work(work, now_ns, account_of)

    @property
    def account_waits(self) -> AccountWaits:
        """The requests of this pool that wait for callers' own limits."""
        return self._own_limits.waits

    def report_leases(self, *, enabled: bool) -> None:
        """Sets whether the end of each lease is an event. By default it is."""
        self._book.reports_ends = enabled

    @property
    def is_unused(self) -> bool:
        """Whether the pool can be dropped without loss: no answer ever came, nobody waits, nothing is in flight."""
        return not (self._queue.waiting or self._book.leases or self._parts.succeeded)

    def advance_and_collect(self, now_ns: int) -> Change | None:
        """Admits the waiters that fit after the last step. Returns all changes not returned before, if any."""
        if not self._queue.waiting:
            return self.take_changes()
        granted = self.advance(now_ns)
        self._next_in_ns = self.next_in_ns(now_ns)
        return self.take_changes(granted)

    def take_changes(self, granted: tuple[str, ...] = ()) -> Change | None:
        """These grants, and all changes that were not returned before; None if there are none."""
        next_in_ns = self._next_in_ns
        refused, self._next_in_ns = self._own_limits.take_refused(), None
        if not (granted or self._events or refused) and next_in_ns is None:
            return None
        return Change(self.name, granted, self.drain_events(), next_in_ns, refused)

    def drain_events(self) -> tuple[Event, ...]:
        """The events since the last call."""
        events = tuple(self._events)
        self._events.clear()
        return events

    def try_admit(self, lease_id: str, demand: Demand, now_ns: int) -> bool:
        """Admits if nobody waits and everything fits; False, without effect, otherwise."""
        account = self._own_limits.account(demand, now_ns)
        if not self._fits_at_once(demand, account, now_ns):
            return False
        if demand.retry or self._failures.is_spend_capped or not self.settings.allow_debt:
            return False
        if demand.settle_at_once:
            self._book.settle(demand, account, now_ns)
        else:
            self._book.grant(lease_id, demand, account, now_ns)
        return True

    def reserve(self, lease_id: str, demand: Demand, now_ns: int) -> Granted | Wait | Refused:
        """Admits at once if nobody waits and everything fits. Queues otherwise, or refuses without side effect."""
        if self._failures.is_spend_capped and (refused := self._failures.refusal(now_ns)) is not None:
            return refused
        if not (has_room := self._own_limits.has_room(demand)):
            if isinstance(judged := self._own_limits.judge(demand), Refused):
                return judged
            demand = judged
        account = self._own_limits.account(demand, now_ns)
        if demand.retry:
            return self._reserve_retry(Waiter(lease_id, demand, now_ns, account), now_ns)
        if not self.settings.allow_debt and (dimension := self._quota.limits.never_fits(demand.cost)) is not None:
            return Refused(Cause.COST_EXCEEDS_CAPACITY, dimension=dimension)
        if self._fits_at_once(demand, account, now_ns, has_room=has_room):
            self._book.grant(lease_id, demand, account, now_ns)
            return GRANTED
        return self._enqueue(Waiter(lease_id, demand, now_ns, account), now_ns)

    def _fits_at_once(self, demand: Demand, account: Account | None, now_ns: int, *, has_room: bool = False) -> bool:
        """Whether a new demand can be granted: nobody in the queue may go before it, and all limits allow it."""
        queue = self._queue
        if queue.waiting and (queue.has_head(now_ns) or (account is not None and queue.load_of(demand.caller)[0])):
            return False
        is_allowed = self._own_limits.admits(demand, account, now_ns, has_room=has_room)
        return is_allowed and self._failures.admits(now_ns) and self._quota.fits(demand.cost, now_ns)

    def _enqueue(self, waiter: Waiter, now_ns: int) -> Wait | Refused:
        queue, forecast, demand = self._queue, self._forecast, waiter.demand
        predicted_ns = forecast.predict_for(waiter, now_ns)
        own = self._own_limits.exceeded_behind_others(waiter, now_ns)
        own_ns = 0 if own is None or own.wait_ns is None else own.wait_ns
        wait_ns = max(predicted_ns, own_ns)
        if not demand.front and (full := exceeded_cap(queue, self.settings.caps, demand)) is not None:
            return Refused(Cause.QUEUE_FULL, retry_after_ns=wait_ns, full=full)
        if demand.patience_ns is not None and wait_ns > demand.patience_ns:
            if own is not None and own_ns > demand.patience_ns:
                return Refused(Cause.CALLER_LIMIT, wait_ns - demand.patience_ns, limit=own.limit)
            if forecast.may_refuse(demand, now_ns):
                return Refused(self._failures.late_cause, retry_after_ns=wait_ns - demand.patience_ns)
        is_next = False
        forecast.joined(waiter, now_ns)
        if queue.push(waiter):  # otherwise timers are set already for those that go before it
            self._next_in_ns = self.next_in_ns(now_ns, only_for=waiter)
            is_next = self._own_limits.head(now_ns) is waiter
        if own is not None and (own.wait_ns is None or wait_ns == own_ns):
            return Wait(wait_ns, "caller_limit")
        if self._own_limits.waits_for_budget(waiter):
            return Wait(wait_ns, "budget")
        return Wait(wait_ns, self._binding(demand.cost, now_ns) if is_next else "queue")

    def withdraw(self, lease_id: str, now_ns: int) -> Refused | None:
        """Takes a waiter out of the queue. Returns why it had to wait and how long it would; None if there is none."""
        if (waiter := self._queue.remove(lease_id)) is None:
            return None
        if (reason := self._own_limits.reason(waiter, now_ns)) is not None:
            return reason
        predicted_ns = self._forecast.predict_ns(waiter.demand, now_ns, self._failures.wait_ns(now_ns))
        return Refused(self._failures.late_cause, predicted_ns)

    def release(self, lease_id: str, now_ns: int) -> None:
        """Takes a waiter out of the queue, or ends its lease as released."""
        if self._queue.remove(lease_id) is None:
            self.end(lease_id, Outcome.RELEASED, None, now_ns)

    def abandon(self, is_gone: Callable[[str], bool], now_ns: int) -> None:
        """The holders of some leases are gone: refuses the waiters and ends the leases with such ids."""
        for lease_id in tuple(filter(is_gone, self._queue.waiting)):
            self._own_limits.refuse(lease_id, _HOLDER_GONE)
        for lease_id in tuple(filter(is_gone, self._book.leases)):
            self.end(lease_id, Outcome.ABANDONED, None, now_ns)

    def hold(self, lease_id: str, demand: Demand, known: Cost, now_ns: int) -> None:
        """Adds an open lease that was granted and charged elsewhere, in place of a waiter, if there is one."""
        if lease_id not in self._book.leases:
            self._queue.remove(lease_id)
            self._book.hold(lease_id, demand, known, self._own_limits.account(demand, now_ns), now_ns)

    def holds(self, lease_id: str) -> bool:
        """Whether there is an open lease or a waiter of this id."""
        return lease_id in self._book.leases or lease_id in self._queue.waiting

    def reprice(self, lease_id: str, cost: Cost, now_ns: int) -> None:
        """The cost of a waiter was estimated anew. No effect on a request that does not wait."""
        if (waiter := self._queue.waiting.get(lease_id)) is not None:
            self._queue.reprice(waiter, cost, now_ns)

    def advance(self, now_ns: int) -> tuple[str, ...]:
        """Admits, in order, the waiters that fit now. No other waiter overtakes a head that does not fit."""
        self._quota.demand_seen(now_ns)
        granted: list[str] = []
        if self._failures.is_outage:
            self._probe_with_most_patient(granted, now_ns)
        while (waiter := self._own_limits.head(now_ns)) is not None:
            self._queue.refresh_price(waiter, now_ns)
            if not self._fits(waiter.demand.cost, now_ns):
                if self._failures.admits(now_ns) and self._quota.only_levels_bind(now_ns):
                    self._queue.hold(waiter)
                break
            self._admit(waiter, now_ns)
            granted.append(waiter.lease_id)
        self._own_limits.clear_freed()
        return tuple(granted)

    def next_in_ns(self, now_ns: int, only_for: Waiter | None = None) -> int | None:
        """Time until a waiter may fit; None if nobody waits, or if `only_for` is none of those that may be next."""
        head, gate_ns, retry = self._own_limits.head(now_ns), 0, None
        if self._queue.failed and (gate_ns := self._retries.wait_ns(now_ns)):
            retry = next(iter(self._queue.failed.values()))
        if only_for is not None and not (only_for is head or only_for is retry or only_for.skipped):
            return None
        waits: list[int] = []
        if head is not None:
            waits.append(self._fits_in_ns(head.demand.cost, now_ns))
        if gate_ns:
            waits.append(gate_ns)
        if (skipped_ns := self._own_limits.skipped_wait_ns(now_ns)) is not None:
            waits.append(skipped_ns)
        if not waits:
            return None
        wait_ns = min(waits)
        return wait_ns if head is None else self._forecast.batch_wait_ns(head, wait_ns)

    def charge(self, lease_id: str, known: Cost, now_ns: int, spent: Spending | None = None) -> None:
        """As `LeaseBook.charge`."""
        self._book.charge(lease_id, known, now_ns, spent)

    def end(
        self,
        lease_id: str,
        outcome: Outcome,
        used: Cost | None,
        now_ns: int,
        feedback: tuple[Feedback, ...] = (),
        spent: Spending | None = None,
    ) -> bool:
        """Takes in the feedback, then ends a lease and corrects the buckets; False if there is none of this id."""
        for each in feedback:
            # The reported remainder counts the true input, so the level here has to count it as well.
            if used is not None and isinstance(each, LimitReport) and any(each.dimensions):
                self.charge(lease_id, used, now_ns)
            self.learn(each, now_ns)
        return self._book.end(lease_id, outcome, used, now_ns, spent)

    def expire(self, now_ns: int) -> None:
        """Ends, as abandoned, the leases whose holders were silent for too long."""
        leases = self._book.leases
        while now_ns >= leases.due_ns and (lease_id := leases.next_expired(now_ns)) is not None:
            self._events.append(Anomaly(self.name, AnomalyKind.LEASE))
            self.end(lease_id, Outcome.ABANDONED, None, now_ns)

    def learn(self, feedback: Feedback, now_ns: int) -> None:
        """Takes in a success, a refusal, a failure, or the limits that an answer reports."""
        if isinstance(feedback, Succeeded):
            self._parts.succeeded += 1
            if feedback.sent_ago_ns is not None:
                self._answer_came(feedback.sent_ago_ns, feedback.lease_id, now_ns)
                self._quota.answer_came(now_ns - feedback.sent_ago_ns)
            self._quota.learn_success(now_ns)
        elif isinstance(feedback, LimitReport):
            if feedback.answered:
                self._answer_came(feedback.sent_ago_ns, feedback.lease_id, now_ns)
            self._quota.learn_limits(self._book.leases.aged(feedback, now_ns), now_ns)
        elif isinstance(feedback, RateLimited):
            self._parts.rate_limited += 1
            lease = self._book.leases.get(feedback.lease_id)
            self.end(feedback.lease_id, Outcome.THROTTLED, None, now_ns)
            self._quota.learn_429(feedback, now_ns, ONE_REQUEST if lease is None else lease.demand.cost)
        elif isinstance(feedback, SpendCapped):
            refused = self._failures.spend_cap_reached(feedback.ends_in_ns, now_ns)
            for lease_id in tuple(self._queue.waiting):
                self._own_limits.refuse(lease_id, refused)
        else:
            self._failures.failed(now_ns - feedback.sent_ago_ns, now_ns)

    def configure(self, settings: PoolSettings, now_ns: int) -> None:
        """Replaces the settings. Keeps levels, the order of waiters, and what was learned.

        Also clears a spend cap: an operator who has raised it reports that in this way.
        """
        self.settings = settings
        self._failures.clear_spend_cap(now_ns)
        self._quota.configure(settings, now_ns)

    def snapshot(self, now_ns: int) -> PoolSnapshot:
        """The state now."""
        return replace(self._parts.snapshot(now_ns), binding=self.queue.binding(now_ns))

    @property
    def queue(self) -> QueueView:
        """The waiting requests, for reports."""
        return QueueView(self.name, self._queue, self._forecast, self._own_limits, self._binding)

    def _admit(self, waiter: Waiter, now_ns: int) -> None:
        self._queue.serve(waiter, now_ns)
        if waiter.demand.retry:
            self._retries.sent(now_ns)
        self._book.grant(waiter.lease_id, waiter.demand, waiter.account, now_ns)
        self._forecast.observe(waiter, now_ns)

    def _fits(self, cost: Cost, now_ns: int) -> bool:
        """Whether the head of the queue can be granted. An idle pool may exceed its bucket, which was full."""
        if not self._failures.admits(now_ns):
            return False
        return self._quota.fits(cost, now_ns) or (not self._book.leases and self._quota.idle_wait_ns(cost, now_ns) == 0)

    def _fits_in_ns(self, cost: Cost, now_ns: int) -> int:
        wait_ns = self._quota.wait_ns(cost, now_ns)
        idle_ns = None if self._book.leases else self._quota.idle_wait_ns(cost, now_ns)
        return max(wait_ns if idle_ns is None else min(wait_ns, idle_ns), self._failures.wait_ns(now_ns))

    def _reserve_retry(self, waiter: Waiter, now_ns: int) -> Granted | Wait:
        """Admits or queues a failed request. It is never refused because of its wait."""
        demand = waiter.demand
        self._queue.push(waiter)
        if self._own_limits.head(now_ns) is waiter and self._fits(demand.cost, now_ns):
            self._admit(waiter, now_ns)
            return GRANTED
        self._next_in_ns = self.next_in_ns(now_ns, only_for=waiter)
        gate_ns = self._retries.wait_ns(now_ns)
        wait_ns = max(gate_ns, self._fits_in_ns(demand.cost, now_ns))
        return Wait(wait_ns, "retry_budget" if gate_ns else self._binding(demand.cost, now_ns))

    def _probe_with_most_patient(self, granted: list[str], now_ns: int) -> None:
        """Probes with the waiter that has the most time left, if the head is about to give up in an outage."""
        first = self._own_limits.head(now_ns)
        if first is None or first.patience_left_ns(now_ns) >= _ENOUGH_FOR_PROBE_NS or not self._failures.admits(now_ns):
            return
        admits = self._own_limits.admits
        free = (each for each in self._queue.waiting.values() if admits(each.demand, each.account, now_ns))
        waiter = max(free, key=lambda each: each.patience_left_ns(now_ns))
        if self._fits(waiter.demand.cost, now_ns):
            self._queue.remove(waiter.lease_id)
            self._book.grant(waiter.lease_id, waiter.demand, waiter.account, now_ns)
            granted.append(waiter.lease_id)

    def _binding(self, cost: Cost, now_ns: int) -> str:
        return self._quota.binding(cost, now_ns) if self._failures.admits(now_ns) else self._failures.binding()

    def _answer_came(self, sent_ago_ns: int, lease_id: str, now_ns: int) -> None:
        self._failures.answered(now_ns - sent_ago_ns, now_ns)
        self._book.answered(lease_id)
