"""Admission to a pool: waits until the store grants a demand, and returns its lease."""

import asyncio
import secrets
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from queue import Empty, SimpleQueue

from msgspec import structs

from tidegate.core.domain.cause import Cause
from tidegate.core.domain.demand import GRANTED, Demand, Granted, Outcome, Refused, Wait
from tidegate.core.domain.dimension import DIMENSIONS
from tidegate.core.domain.errors import Refusal
from tidegate.core.domain.events import Admitted, LeaseEnded, Queued, RefusedCall, Withdrawn
from tidegate.core.domain.nanoseconds import to_seconds
from tidegate.core.domain.pause import NO_PAUSES, Pauses
from tidegate.core.ports.clock import Clock
from tidegate.core.ports.observer import Observer, Scope, ScopeKind
from tidegate.core.ports.store import Change, Store
from tidegate.core.pricing.call_prices import CallPrices
from tidegate.core.pricing.cost_estimator import CostEstimator
from tidegate.core.pricing.price_list import PriceList
from tidegate.engine.lease import Lease
from tidegate.engine.refusals import refusal_of
from tidegate.engine.waiters import Answer, Waiters
from tidegate.engine.waiting import Waiting

__all__ = ["Admission", "Lease"]


class Admission:
    """Passes demands to a store and waits for its grants. Keeps no state of pools itself.

    May be used from several event loops and threads at once. Waiting holds no lock, costs no thread and polls nothing.

    Attributes:
        store: the store that holds the pools.
        replica: the name of this admission, unique over all time. Its lease ids begin with it.
        clock: the time that waits are measured with.
        observer: receives all events; None: nobody does.
        estimator: estimates the tokens of Messages calls before they are sent.
        prices: prices them in the units of budgets.
    """

    def __init__(
        self, store: Store, clock: Clock, observer: Observer | None = None, prices: CallPrices | None = None
    ) -> None:
        self.store = store
        self.clock = clock
        self.observer = observer
        self.estimator = CostEstimator()
        self.prices = prices or CallPrices(PriceList.bundled(), clock.wall_seconds)
        self.replica = secrets.token_urlsafe(6)
        self._pauses = NO_PAUSES
        self._numbers = count()
        self._waiters = Waiters(store.advance, self._give_back)
        self._abandoned: SimpleQueue[tuple[str, str]] = SimpleQueue()  # left behind by finalizers
        store.watch(self._on_change, leases=observer is not None)

    @property
    def pauses(self) -> Pauses:
        """The pauses in effect."""
        return self._pauses

    def pause(self, pauses: Pauses) -> None:
        """Replaces the pauses. Refuses paused demands from now on, also those that wait. From any thread."""
        self._pauses = pauses
        if pauses:
            self._waiters.refuse(self._paused)

    def try_admit(self, demand: Demand) -> bool:
        """Admits a demand that is settled at once, without a lease, if it need not wait.

        False, without effect, otherwise: then call `acquire`.
        """
        observer = self.observer
        if observer is not None and observer.traces:
            return False  # `acquire` has a scope for it
        demand = self._prepared(demand)
        if (self._pauses and self._paused(demand) is not None) or not self.store.try_admit("", demand):
            return False
        if observer is not None:
            observer.event(LeaseEnded(demand.pool, demand.caller, Outcome.SETTLED, demand.cost, demand.cost))
            observer.event(Admitted(demand.pool, demand.caller, demand.cost, 0))
        return True

    def try_acquire(self, demand: Demand) -> Lease | None:
        """A lease, if the demand need not wait; None, without effect, otherwise: then call `acquire`.

        There is no scope for it, because it would only show that it did not wait.
        """
        observer = self.observer
        lease_id = f"{self.replica}-{next(self._numbers)}"
        demand = self._prepared(demand)
        if (self._pauses and self._paused(demand) is not None) or not self.store.try_admit(lease_id, demand):
            return None
        if observer is not None:
            observer.event(Admitted(demand.pool, demand.caller, demand.cost, 0))
        return Lease(lease_id, demand, 0, self.store)

    async def acquire(
        self, demand: Demand, on_wait: Callable[[Waiting], None] | None = None, scope: Scope | None = None
    ) -> Lease:
        """Waits until the demand is admitted.

        Cancelling the wait takes nothing from the pool. A wait is cancelled if its client leaves, if the time to drain
        is over, or by `Reachability`; only the gateway knows which.

        Args:
            demand: what to reserve.
            on_wait: called if there is a wait.
            scope: receives the attributes of this admission; the observer's own scope unless given.

        Raises:
            Refusal: the store refused, the demand's patience ended first, or the demand is paused; nothing was taken.
        """
        if scope is None and self.observer is not None and self.observer.traces:
            return await self._observed(self.observer, demand, on_wait)
        # One frame for all the rest, and few objects: many thousands may wait here.
        demand = self._prepared(demand)
        lease_id = f"{self.replica}-{next(self._numbers)}"
        queued_at_ns, waited_ns, deadline, is_own_limit = None, 0, None, False
        self._waiters.expect(lease_id, demand)
        self._refuse_paused(lease_id, demand, scope)
        try:
            result = await self.store.reserve(lease_id, demand)
            if isinstance(result, Wait):
                if on_wait is not None:
                    on_wait(Waiting(demand.pool, lease_id, to_seconds(result.predicted_ns), self.store))
                if scope is not None or self.observer is not None:
                    self._report_queued(demand, result, scope)
                is_own_limit = result.binding == Cause.CALLER_LIMIT
                future = self._waiters.wait(lease_id)
                result = GRANTED
                queued_at_ns = self.clock.monotonic_ns()
                deadline = _deadline(demand, future)
                if await future is not True:
                    result = await self._leave(lease_id, demand, future.result(), queued_at_ns, scope)
                waited_ns = self.clock.monotonic_ns() - queued_at_ns
        except BaseException as error:
            self._leave_early(lease_id, demand, queued_at_ns, error)
            raise
        finally:
            if deadline is not None:
                deadline.cancel()
            self._waiters.forget(lease_id)
        if isinstance(result, Refused):
            raise self._refusal(demand, result, scope)
        if demand.settle_at_once:
            await self.store.end(demand.pool, lease_id, Outcome.SETTLED)
        self._report_admitted(demand, waited_ns, scope, is_own_limit=is_own_limit)
        return Lease(lease_id, demand, waited_ns, self.store)

    async def _observed(self, observer: Observer, demand: Demand, on_wait: Callable[[Waiting], None] | None) -> Lease:
        with observer.scope(ScopeKind.ACQUIRE, _described(demand)) as scope:
            return await self.acquire(demand, on_wait, scope)

    async def _leave(
        self, lease_id: str, demand: Demand, answer: Answer, queued_at_ns: int, scope: Scope | None
    ) -> Granted | Refused:
        """Leaves the queue after a refusal, or when patience has ended, unless the grant came first.

        Raises:
            Refusal: the demand is paused. Its place, or a grant that came meanwhile, is still to be given back.
        """
        if isinstance(answer, Refusal):
            raise self._reported(demand, answer, scope)
        refused = answer if isinstance(answer, Refused) else None
        if refused is None:
            refused = await self.store.withdraw(demand.pool, lease_id) or self._waiters.refusal(lease_id)
        if refused is None:
            return GRANTED
        self._report_withdrawn(demand, queued_at_ns)
        return refused

    def _leave_early(self, lease_id: str, demand: Demand, queued_at_ns: int | None, error: BaseException) -> None:
        """Withdraws a waiter after an error, or gives back what was granted meanwhile."""
        if isinstance(error, GeneratorExit):
            # The coroutine is garbage-collected. That may interrupt a holder of any lock, so no lock is taken and no
            # observer is called here. A waiter of a closed loop may have been given back before.
            if self._waiters.forget(lease_id):
                self._abandoned.put((demand.pool, lease_id))
        else:
            self.store.release(demand.pool, lease_id)
            if queued_at_ns is not None:
                self._report_withdrawn(demand, queued_at_ns)

    def _prepared(self, demand: Demand) -> Demand:
        """The demand with the name of the pool that serves it. First gives back what finalizers have left behind."""
        if not self._abandoned.empty():
            self._release_abandoned()
        pool = self.store.pool_for(demand.pool)
        return demand if pool == demand.pool else structs.replace(demand, pool=pool)

    def _release_abandoned(self) -> None:
        with suppress(Empty):
            while True:
                self.store.release(*self._abandoned.get_nowait())

    def _give_back(self, lease_id: str, demand: Demand) -> None:
        self.store.release(demand.pool, lease_id)

    def _report_queued(self, demand: Demand, wait: Wait, scope: Scope | None) -> None:
        if scope is not None:
            scope.set("tidegate.binding", wait.binding)
        if self.observer is not None:
            self.observer.event(Queued(demand.pool, demand.caller, demand.cost, wait.predicted_ns))

    def _report_admitted(self, demand: Demand, waited_ns: int, scope: Scope | None, *, is_own_limit: bool) -> None:
        if scope is not None:
            scope.set("tidegate.wait_seconds", to_seconds(waited_ns))
        if self.observer is not None:
            self.observer.event(Admitted(demand.pool, demand.caller, demand.cost, waited_ns, is_own_limit))

    def _report_withdrawn(self, demand: Demand, queued_at_ns: int) -> None:
        if self.observer is not None:
            self.observer.event(Withdrawn(demand.pool, demand.caller, self.clock.monotonic_ns() - queued_at_ns))

    def _refusal(self, demand: Demand, refused: Refused, scope: Scope | None) -> Refusal:
        return self._reported(demand, refusal_of(demand, refused, self.clock.wall_seconds()), scope)

    def _reported(self, demand: Demand, refusal: Refusal, scope: Scope | None) -> Refusal:
        if scope is not None:
            scope.set("tidegate.cause", refusal.cause)
        if self.observer is not None:
            self.observer.event(RefusedCall(demand.pool, demand.caller, refusal.cause))
        return refusal

    def _refuse_paused(self, lease_id: str, demand: Demand, scope: Scope | None) -> None:
        """Raises `Refusal` if the demand is paused. `pause` refuses those that are expected by then."""
        refusal = self._paused(demand)
        if refusal is not None:
            self._waiters.forget(lease_id)
            raise self._reported(demand, refusal, scope)

    def _paused(self, demand: Demand) -> Refusal | None:
        return self._pauses.refusal(demand.caller, demand.session, demand.pool)

    def _on_change(self, change: Change) -> None:
        if change.granted or change.refused or change.next_in_ns is not None:
            self._waiters.on_change(change)
        if not self._abandoned.empty():
            self._release_abandoned()
        if self.observer is not None:
            for event in change.events:
                self.observer.event(event)


def _described(demand: Demand) -> dict[str, str | float]:
    return {
        "tidegate.pool": demand.pool,
        "tidegate.caller": demand.caller.label,
        **{f"tidegate.cost.{dimension}": units for dimension, units in zip(DIMENSIONS, demand.cost, strict=True)},
    }


def _deadline(demand: Demand, answer: asyncio.Future[Answer]) -> asyncio.TimerHandle | None:
    if demand.patience_ns is None:
        return None
    return answer.get_loop().call_later(to_seconds(demand.patience_ns), _give_up, answer)


def _give_up(answer: asyncio.Future[Answer]) -> None:
    if not answer.done():
        answer.set_result(False)
