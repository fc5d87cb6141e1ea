"""The store that keeps pools in the memory of one process, shared by all its threads and event loops."""

import threading
from collections.abc import Callable, Mapping
from typing import Final, TypeVar

from tidegate.core.accounts.accounts import Accounts
from tidegate.core.claude.rate_limit_groups import overflow_pool
from tidegate.core.domain.caller import CallerLimits
from tidegate.core.domain.demand import Demand, Granted, Outcome, Refused, Wait
from tidegate.core.domain.dimension import Cost
from tidegate.core.domain.errors import UnreadableState
from tidegate.core.domain.feedback import Feedback
from tidegate.core.domain.pool_settings import PoolSettings
from tidegate.core.domain.snapshots import PoolSnapshot, QueueSnapshot, WaitLeft
from tidegate.core.pool.pool import Pool
from tidegate.core.pool.pool_state import POOL_STATE_VERSION
from tidegate.core.ports.clock import Clock
from tidegate.core.ports.store import Change
from tidegate.stores.pool_configuration import PoolConfiguration
from tidegate.stores.runtime_settings import SetAtRuntime
from tidegate.stores.store_state import StoreState

__all__ = ["MemoryStore"]

T = TypeVar("T")

_MOST_POOLS: Final = 200
"""Invented model names must not fill the memory. At this bound a pool without any answer is dropped. If there is none,
further names share the overflow pool."""


class MemoryStore:
    """Implements `Store`. Each asynchronous method wraps the synchronous one whose name ends in `_now`.

    A lock guards each step, for microseconds. No caller waits for quota while holding it.

    The garbage collector may run the `finally` of an abandoned coroutine in the middle of a step, in the thread that
    holds the lock. Its calls are then deferred until right after the step.

    Args:
        clock: the time of all pools.
        configured: settings by name of pool. Those of `other_endpoints` also apply to each further endpoint.
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
        self._reports_leases = False
        self._pools: dict[str, Pool] = {}
        self._accounts = Accounts()
        self._settings = PoolConfiguration(configured or {}, otherwise or PoolSettings())

    async def reserve(self, lease_id: str, demand: Demand) -> Granted | Wait | Refused:
        """As `Store.reserve`."""
        return self.reserve_now(lease_id, demand)

    async def withdraw(self, pool: str, lease_id: str) -> Refused | None:
        """As `Store.withdraw`."""
        return self.withdraw_now(pool, lease_id)

    async def charge(self, pool: str, lease_id: str, known: Cost) -> None:
        """As `Store.charge`."""
        self.charge_now(pool, lease_id, known)

    async def end(
        self,
        pool: str,
        lease_id: str,
        outcome: Outcome,
        used: Cost | None = None,
        feedback: tuple[Feedback, ...] = (),
    ) -> bool:
        """As `Store.end`."""
        return self.end_now(pool, lease_id, outcome, used, feedback)

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
        with self._lock:
            state = self._pools.get(pool)
            return None if state is None else state.queue.left(lease_id, self._clock.monotonic_ns())

    async def queues(self) -> tuple[QueueSnapshot, ...]:
        """As `Store.queues`."""
        with self._lock:
            now_ns = self._clock.monotonic_ns()
            found = [pool.queue.snapshot(now_ns) for pool in self._pools.values()]
        return tuple(each for each in found if each.waiting)

    def reserve_now(self, lease_id: str, demand: Demand) -> Granted | Wait | Refused:
        """`reserve`, synchronously. Written out, and not by `_step`, because it is the hot path."""
        with self._lock:
            self._begin_step()
            try:
                pool = self._pools.get(demand.pool) or self._make_pool(demand.pool)
                now_ns = self._clock.monotonic_ns()
                result = pool.reserve(lease_id, demand, now_ns)
                change = pool.take_changes()
                others = self._advance_freed(now_ns) if self._accounts.freed else ()
            finally:
                self._in_step = False
        if change is not None or self._deferred:
            self._notify(change)
        for other in others:
            self._notify(other)
        return result

    def try_admit(self, lease_id: str, demand: Demand) -> bool:
        """As `Store.try_admit`."""
        with self._lock:
            self._begin_step()
            try:
                pool = self._pools.get(demand.pool) or self._make_pool(demand.pool)
                now_ns = self._clock.monotonic_ns()
                admitted = pool.try_admit(lease_id, demand, now_ns)
                change = pool.take_changes() if admitted else None
                others = self._advance_freed(now_ns) if self._accounts.freed else ()
            finally:
                self._in_step = False
        if change is not None or self._deferred:
            self._notify(change)
        for other in others:
            self._notify(other)
        return admitted

    def withdraw_now(self, pool: str, lease_id: str) -> Refused | None:
        """`withdraw`, synchronously."""
        return self._step(pool, lambda state, now_ns: state.withdraw(lease_id, now_ns))

    def charge_now(self, pool: str, lease_id: str, known: Cost) -> None:
        """`charge`, synchronously."""
        self._step(pool, lambda state, now_ns: state.charge(lease_id, known, now_ns))

    def end_now(
        self,
        pool: str,
        lease_id: str,
        outcome: Outcome,
        used: Cost | None = None,
        feedback: tuple[Feedback, ...] = (),
    ) -> bool:
        """`end`, synchronously. Written out for the same reason as `reserve_now`."""
        with self._lock:
            if self._in_step:
                self._deferred.append(lambda: self.end_now(pool, lease_id, outcome, used, feedback))
                return True
            self._in_step = True
            try:
                state = self._pools.get(pool) or self._make_pool(pool)
                now_ns = self._clock.monotonic_ns()
                state.expire(now_ns)
                has_ended = state.end(lease_id, outcome, used, now_ns, feedback)
                change = state.advance_and_collect(now_ns)
                others = self._advance_freed(now_ns) if self._accounts.freed else ()
            finally:
                self._in_step = False
        if change is not None or self._deferred:
            self._notify(change)
        for other in others:
            self._notify(other)
        return has_ended

    def release(self, pool: str, lease_id: str) -> None:
        """As `Store.release`."""
        self._step(pool, lambda state, now_ns: state.release(lease_id, now_ns))

    def learn_now(self, pool: str, feedback: Feedback) -> None:
        """`learn`, synchronously."""
        self._step(pool, lambda state, now_ns: state.learn(feedback, now_ns))

    def set_initial(self, pool: str, settings: PoolSettings) -> None:
        """Sets the settings of a pool by configuration, as if the store had been made with them."""
        self._settings.set_initial(pool, settings)
        self._step(pool, self._apply_settings)

    def configure_now(self, pool: str, settings: PoolSettings, by: str | None = None) -> None:
        """`configure`, synchronously."""
        origin = None if by is None else SetAtRuntime(by, self._clock.wall_seconds())
        self._settings.set_at_runtime(pool, settings, origin)
        self._step(pool, self._apply_settings)

    def _apply_settings(self, pool: Pool, now_ns: int) -> None:
        pool.configure(self.settings_now(pool.name), now_ns)

    def reload(self, configured: Mapping[str, PoolSettings], otherwise: PoolSettings) -> None:
        """Replaces the settings by configuration, as if the store had been made with them, also for waiting requests.

        What `configure` has set for a pool holds in each dimension whose configuration stays the same.
        """
        with self._lock:
            before = {pool: self.settings_now(pool) for pool in self._pools}
            self._settings.reload(configured, otherwise)
        for pool, settings in before.items():
            if self.settings_now(pool) != settings:
                self._step(pool, self._apply_settings)

    def limit_callers(self, limits: Mapping[str, CallerLimits | None]) -> None:
        """Replaces callers' own limits by name of caller, also for waiting requests."""
        with self._lock:
            self._begin_step()
            try:
                now_ns = self._clock.monotonic_ns()
                self._accounts.configure(limits, now_ns)
                changes = self._advance_freed(now_ns)
            finally:
                self._in_step = False
        for change in changes:
            self._notify(change)
        self._notify(None)

    def advance(self, pool: str) -> None:
        """As `Store.advance`."""
        self._step(pool, lambda _state, _now_ns: None)

    def pool_for(self, name: str) -> str:
        """As `Store.pool_for`."""
        if name in self._pools or name in self._settings:
            return name
        with self._lock:
            self._begin_step()
            try:
                while len(self._pools) >= _MOST_POOLS:
                    idle = (key for key, pool in self._pools.items() if pool.is_unused and key not in self._settings)
                    unused = next(idle, None)
                    if unused is None:
                        return overflow_pool(name)
                    del self._pools[unused]
                self._make_pool(name)
            finally:
                self._in_step = False
        self._notify(None)
        return name

    def snapshot_now(self, pool: str | None = None) -> tuple[PoolSnapshot, ...]:
        """`snapshot`, synchronously."""
        with self._lock:
            self._begin_step()
            try:
                now_ns = self._clock.monotonic_ns()
                chosen = tuple(self._pools.values()) if pool is None else tuple(filter(None, [self._pools.get(pool)]))
                for state in chosen:
                    state.expire(now_ns)  # a pool without further steps has no other occasion
                freed = self._advance_freed(now_ns)
                snapshots = tuple(state.snapshot(now_ns) for state in chosen)
                changes = [*freed, *(state.take_changes() for state in chosen)]
            finally:
                self._in_step = False
        for change in changes:
            self._notify(change)
        return snapshots

    def settings_now(self, pool: str) -> PoolSettings:
        """The settings of a pool, whether it exists yet or not."""
        return self._settings.of(pool)

    def set_at_runtime(self, pool: str) -> dict[str, SetAtRuntime]:
        """Who set each limit that `configure` set, by name of the setting. Without those of the configuration."""
        return {f"{dimension}_per_minute": origin for dimension, origin in self._settings.origins(pool).items()}

    def dump(self) -> StoreState:
        """What all pools have learned, for `restore`: without waiters and leases."""
        with self._lock:
            self._begin_step()
            try:
                now_ns = self._clock.monotonic_ns()
                pools = tuple(pool.dump(now_ns) for pool in self._pools.values())
                accounts = self._accounts.dump(now_ns)
            finally:
                self._in_step = False
        self._notify(None)
        return StoreState(pools, accounts, self._settings.dump())

    def restore(self, state: StoreState, age_ns: int = 0) -> None:
        """Continues from `state`, which was dumped `age_ns` ago. Called once, before the first call is admitted.

        What `configure` had set holds in each dimension whose configuration is the same as then. Requests in flight
        at the dump stay charged.

        Raises:
            RuntimeError: a call was admitted or waits already.
            UnreadableState: another version has dumped a pool. Nothing was restored.
        """
        for dumped in state.pools:
            if dumped.version != POOL_STATE_VERSION:
                raise UnreadableState(f"pool {dumped.pool!r} has version {dumped.version}, not {POOL_STATE_VERSION}")
        with self._lock:
            self._begin_step()
            try:
                if not all(pool.is_unused for pool in self._pools.values()):
                    raise RuntimeError("the state of a store can only be restored before its first call")
                now_ns = self._clock.monotonic_ns() - age_ns
                self._settings.restore(state.configured)
                self._accounts = Accounts.restore(state.accounts, now_ns)
                for name in tuple(self._pools):
                    self._make_pool(name)  # under the restored settings and accounts
                for dumped in state.pools:
                    settings = self.settings_now(dumped.pool)
                    self._add_pool(Pool.restore(dumped, now_ns, settings, self._accounts))
            finally:
                self._in_step = False
        self._notify(None)

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
        self._reports_leases = any(leases for _, leases in listeners)
        for pool in tuple(self._pools.values()):
            pool.report_leases(enabled=self._reports_leases)

    def _step(self, name: str, operation: Callable[[Pool, int], T]) -> T | None:
        """Runs an operation on a pool, admits the waiters that fit then, and notifies. None if it is deferred."""
        with self._lock:
            if self._in_step:
                self._deferred.append(lambda: self._step(name, operation))
                return None
            self._in_step = True
            try:
                pool = self._pools.get(name) or self._make_pool(name)
                now_ns = self._clock.monotonic_ns()
                pool.expire(now_ns)
                result = operation(pool, now_ns)
                change = pool.advance_and_collect(now_ns)
                others = self._advance_freed(now_ns) if self._accounts.freed else ()
            finally:
                self._in_step = False
        if change is not None or self._deferred:
            self._notify(change)
        for other in others:
            self._notify(other)
        return result

    def _advance_freed(self, now_ns: int) -> list[Change]:
        """Admits requests in the pools where callers' own limits allow more, or less, since the last step."""
        changes = []
        while freed := self._accounts.freed:
            self._accounts.freed = {}
            moved = (pool.advance_and_collect(now_ns) for name in freed if (pool := self._pools.get(name)) is not None)
            changes += [change for change in moved if change is not None]
        return changes

    def _begin_step(self) -> None:
        if self._in_step:
            raise RuntimeError("a finalizer that interrupts a step of the store may only end leases and pass feedback")
        self._in_step = True

    def _make_pool(self, name: str) -> Pool:
        return self._add_pool(Pool(name, self.settings_now(name), self._clock.monotonic_ns(), self._accounts))

    def _add_pool(self, pool: Pool) -> Pool:
        pool.report_leases(enabled=self._reports_leases)
        self._pools[pool.name] = pool
        return pool

    def _notify(self, change: Change | None) -> None:
        """Passes a change, if there is one, to the listeners. Then runs what finalizers have deferred."""
        if change is not None:
            for listener, _ in self._listeners:
                listener(change)
        if self._deferred:
            with self._lock:  # nothing is added meanwhile: deferring only happens within a step
                deferred, self._deferred = self._deferred, []
            for operation in deferred:
                operation()
