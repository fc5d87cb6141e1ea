"""The store that keeps pools in the memory of one process, shared by all its threads and event loops."""

import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TypeVar

from tidegate.core.domain.budget import BudgetSnapshot, BudgetWindow, Spender, Spending
from tidegate.core.domain.caller import CallerLimits
from tidegate.core.domain.demand import Demand, Granted, Outcome, Refused, Wait
from tidegate.core.domain.dimension import Cost
from tidegate.core.domain.feedback import Feedback
from tidegate.core.domain.pool_settings import PoolSettings
from tidegate.core.domain.snapshots import PoolSnapshot, QueueSnapshot, WaitLeft
from tidegate.core.ports.clock import Clock
from tidegate.core.ports.store import Change
from tidegate.stores.fold import Fold
from tidegate.stores.pools import Pools
from tidegate.stores.runtime_settings import SetAtRuntime
from tidegate.stores.steps import Batch, Folded
from tidegate.stores.store_state import StoreState

__all__ = ["MemoryStore"]

T = TypeVar("T")


class MemoryStore:
    """Implements `Store` by `Pools`, a clock and a lock. The methods whose names end in `_now` are synchronous.

    The lock guards each step, for microseconds. No caller waits for quota while holding it.

    The garbage collector may run the `finally` of an abandoned coroutine in the middle of a step, in the thread that
    holds the lock. Its calls are then deferred until right after the step.

    Args:
        clock: the time of all pools.
        configured: settings by name of pool. The settings of `other_endpoints` also apply to each further endpoint.
        otherwise: settings of every other pool.
    """

    def __init__(
        self,
        clock: Clock,
        configured: Mapping[str, PoolSettings] | None = None,
        otherwise: PoolSettings | None = None,
    ) -> None:
        self._clock = clock
        self._lock = threading.RLock()  # re-entrant, because of finalizers
        self._in_step = False
        self._deferred: list[Callable[[], object]] = []
        self._listeners: tuple[
            tuple[Callable[[Change], None], bool], ...
        ] = ()  # each with whether it wants ends of leases
        self._pools = Pools(configured, otherwise)
        self._pools.report_leases(enabled=False)
        self._fold = Fold(self._pools)

    async def reserve(self, lease_id: str, demand: Demand) -> Granted | Wait | Refused:
        """As `Store.reserve`."""
        return self.reserve_now(lease_id, demand)

    async def withdraw(self, pool: str, lease_id: str) -> Refused | None:
        """As `Store.withdraw`."""
        return self.withdraw_now(pool, lease_id)

    async def charge(self, pool: str, lease_id: str, known: Cost, spent: Spending | None = None) -> None:
        """As `Store.charge`."""
        self.charge_now(pool, lease_id, known, spent)

    async def end(
        self,
        pool: str,
        lease_id: str,
        outcome: Outcome,
        used: Cost | None = None,
        feedback: tuple[Feedback, ...] = (),
        spent: Spending | None = None,
    ) -> bool:
        """As `Store.end`."""
        return self.end_now(pool, lease_id, outcome, used, feedback, spent)

    async def learn(self, pool: str, feedback: Feedback) -> None:
        """As `Store.learn`."""
        self.learn_now(pool, feedback)

    async def configure(self, pool: str, settings: PoolSettings, by: str | None = None) -> None:
        """As `Store.configure`."""
        self.configure_now(pool, settings, by)

    async def snapshot(self, pool: str | None = None) -> tuple[PoolSnapshot, ...]:
        """As `Store.snapshot`."""
        return self.snapshot_now(pool)

    async def wait_left(self, pool: str, lease_id: str) -> WaitLeft | None:
        """As `Store.wait_left`."""
        return self._step(self._pools.wait_left, pool, lease_id)

    async def queues(self) -> tuple[QueueSnapshot, ...]:
        """As `Store.queues`."""
        return self._step(self._pools.queues)

    def reserve_now(self, lease_id: str, demand: Demand) -> Granted | Wait | Refused:
        """`reserve`, synchronously."""
        return self._step(self._pools.reserve, lease_id, demand)

    def try_admit(self, lease_id: str, demand: Demand) -> bool:
        """As `Store.try_admit`."""
        return self._step(self._pools.try_admit, lease_id, demand)

    def withdraw_now(self, pool: str, lease_id: str) -> Refused | None:
        """`withdraw`, synchronously."""
        return self._step_or_defer(self._pools.withdraw, pool, lease_id)

    def charge_now(self, pool: str, lease_id: str, known: Cost, spent: Spending | None = None) -> None:
        """`charge`, synchronously."""
        self._step_or_defer(self._pools.charge, pool, lease_id, known, spent)

    def end_now(
        self,
        pool: str,
        lease_id: str,
        outcome: Outcome,
        used: Cost | None = None,
        feedback: tuple[Feedback, ...] = (),
        spent: Spending | None = None,
    ) -> bool:
        """`end`, synchronously."""
        return self._step_or_defer(self._pools.end, pool, lease_id, outcome, used, feedback, spent) is not False

    def release(self, pool: str, lease_id: str) -> None:
        """As `Store.release`."""
        self._step_or_defer(self._pools.release, pool, lease_id)

    def learn_now(self, pool: str, feedback: Feedback) -> None:
        """`learn`, synchronously."""
        self._step_or_defer(self._pools.learn, pool, feedback)

    def set_initial(self, pool: str, settings: PoolSettings) -> None:
        """Sets the settings of a pool by configuration, as if the store had been made with them."""
        self._step_or_defer(self._pools.set_initial, pool, settings)

    def configure_now(self, pool: str, settings: PoolSettings, by: str | None = None) -> None:
        """`configure`, synchronously."""
        origin = None if by is None else SetAtRuntime(by, self._clock.wall_seconds())
        self._step_or_defer(self._pools.configure, pool, settings, origin)

    def reload(self, configured: Mapping[str, PoolSettings], otherwise: PoolSettings) -> None:
        """Replaces the settings by configuration, as if the store had been made with them, also for waiting requests.

        Values that `configure` has set for a pool hold in each dimension whose configuration stays the same.
        """
        self._step(self._pools.reload, configured, otherwise)

    def limit_callers(self, limits: Mapping[str, CallerLimits | None]) -> None:
        """Replaces callers' own limits by name of caller, also for waiting requests."""
        self._step(self._pools.limit_callers, limits)

    def set_budgets(self, windows: tuple[BudgetWindow, ...]) -> None:
        """As `Store.set_budgets`."""
        self._step(self._pools.set_budgets, windows)

    def turn_budgets(self, periods: Mapping[str, tuple[int, int | None]]) -> None:
        """As `Store.turn_budgets`."""
        self._step(self._pools.turn_budgets, periods)

    def spend(self, spender: Spender, spending: Spending) -> None:
        """As `Store.spend`."""
        self._step_or_defer(self._pools.spend, spender, spending)

    @property
    def has_budgets(self) -> bool:
        """As `Store.has_budgets`."""
        return bool(self._pools.budgets)

    @property
    def has_low_budgets(self) -> bool:
        """As `Store.has_low_budgets`."""
        return self._pools.budgets.some_low

    def budgets_now(self, spender: Spender | None = None) -> tuple[BudgetSnapshot, ...]:
        """As `Store.budgets_now`."""
        return self._step(lambda _now_ns: self._pools.budgets.snapshot(spender))

    def reserved_now(self) -> dict[Spender, Spending]:
        """The reservations of calls in progress, by spender."""
        return self._step(lambda _now_ns: self._pools.budgets.reserved())

    def advance(self, pool: str) -> None:
        """As `Store.advance`."""
        self._step_or_defer(self._pools.advance, pool)

    def use_elsewhere(self, pool: str, cost: Cost) -> None:
        """As `Pools.use_elsewhere`."""
        self._step(self._pools.use_elsewhere, pool, cost)

    def drain(self) -> None:
        """As `Pools.drain`."""
        self._step(self._pools.drain)

    def pool_for(self, name: str) -> str:
        """As `Store.pool_for`."""
        return name if name in self._pools else self._step(self._pools.pool_for, name)

    def snapshot_now(self, pool: str | None = None) -> tuple[PoolSnapshot, ...]:
        """`snapshot`, synchronously."""
        return self._step(self._pools.snapshot, pool)

    def settings_now(self, pool: str) -> PoolSettings:
        """The settings of a pool, whether it exists yet or not."""
        return self._pools.settings.of(pool)

    def set_at_runtime(self, pool: str) -> dict[str, SetAtRuntime]:
        """The author of each limit that `configure` set, by name of the setting. Without those of the configuration."""
        return {f"{dimension}_per_minute": origin for dimension, origin in self._pools.settings.origins(pool).items()}

    def fold(self, batch: Batch) -> Folded:
        """Folds the steps of another process, as `Fold.fold`. Their changes are reported to the listeners as well."""
        folded = self._step(self._fold.fold, batch)
        self._notify(folded.changes)
        return folded

    def dump(self, *, work: bool = False) -> StoreState:
        """The learned state of all pools, for `restore`; with `work` also all waiters and leases."""
        return self._step(partial(self._fold.dump_store, work=work))

    def restore(self, state: StoreState, age_ns: int = 0) -> None:
        """Continues from `state`, which was dumped `age_ns` ago. Called once, before the first call is admitted.

        Values that `configure` had set hold in each dimension whose configuration is the same as then. Requests in
        flight at the dump stay charged. With the work of a dump, all leases and waiters are restored: then `advance`
        every pool in which somebody waits, so that the time of its next grant is reported.

        Raises:
            RuntimeError: a call was admitted or waits already.
            UnreadableState: another version has dumped a pool. Nothing was restored.
        """
        self._step(lambda now_ns: self._fold.restore_store(state, now_ns - age_ns))

    def watch(self, listener: Callable[[Change], None], *, leases: bool = True) -> Callable[[], None]:
        """As `Store.watch`."""
        entry = listener, leases
        with self._lock:
            self._listen((*self._listeners, entry))

        def stop() -> None:
            with self._lock:
                self._listen(tuple(known for known in self._listeners if known is not entry))

        return stop

    def _listen(self, listeners: tuple[tuple[Callable[[Change], None], bool], ...]) -> None:
        self._listeners = listeners
        self._pools.report_leases(enabled=any(leases for _, leases in listeners))

    def _step(self, operation: Callable[..., T], *arguments: object) -> T:
        """Runs a step with these arguments and the time. Then notifies.

        Raises:
            RuntimeError: a finalizer interrupts another step.
        """
        with self._lock:
            if self._in_step:
                raise RuntimeError(
                    "a finalizer that interrupts a step of the store may only end leases and pass feedback"
                )
            result, changes = self._run(operation, arguments)
        if changes or self._deferred:
            self._notify(changes)
        return result

    def _step_or_defer(self, operation: Callable[..., T], *arguments: object) -> T | None:
        """As `_step`. If it interrupts another step, it runs after that, and there is no result."""
        with self._lock:
            if self._in_step:
                self._deferred.append(partial(self._step_or_defer, operation, *arguments))
                return None
            result, changes = self._run(operation, arguments)
        if changes or self._deferred:
            self._notify(changes)
        return result

    def _run(self, operation: Callable[..., T], arguments: tuple[object, ...]) -> tuple[T, list[Change]]:
        self._in_step = True
        try:
            result = operation(*arguments, self._clock.monotonic_ns())
            return result, self._pools.take_changes()
        finally:
            self._in_step = False

    def _notify(self, changes: Sequence[Change]) -> None:
        """Passes changes to the listeners. Then runs what finalizers have deferred."""
        for change in changes:
            for listener, _ in self._listeners:
                listener(change)
        if self._deferred:
            with self._lock:  # nothing is added meanwhile: deferring only happens within a step
                deferred, self._deferred = self._deferred, []
            for operation in deferred:
                operation()
