"""All pools of a store as one state machine, without a clock, a lock or I/O."""

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from tidegate.core.accounts.account_waits import AccountWaits
from tidegate.core.accounts.accounts import Accounts
from tidegate.core.accounts.budgets import Budgets
from tidegate.core.claude.rate_limit_groups import overflow_pool
from tidegate.core.domain.budget import BudgetWindow, Spender, Spending
from tidegate.core.domain.caller import CallerLimits
from tidegate.core.domain.demand import GRANTED, Demand, Granted, Outcome, Refused, Wait
from tidegate.core.domain.dimension import Cost
from tidegate.core.domain.errors import UnreadableState
from tidegate.core.domain.feedback import Feedback
from tidegate.core.domain.nanoseconds import NS_PER_MINUTE, to_ns
from tidegate.core.domain.pool_settings import PoolSettings
from tidegate.core.domain.snapshots import PoolSnapshot, QueueSnapshot, WaitLeft
from tidegate.core.pool.pool import Pool
from tidegate.core.pool.pool_state import POOL_STATE_VERSION
from tidegate.core.ports.store import Change
from tidegate.stores.pool_configuration import PoolConfiguration
from tidegate.stores.runtime_settings import SetAtRuntime
from tidegate.stores.store_state import StoreState, StoreWork

__all__ = ["Pools"]

_MOST_POOLS: Final = 200
"""Invented model names must not fill the memory. At this bound a pool without any answer is dropped. If there is none,
further names share the overflow pool."""


class Pools:
    """The pools, callers' accounts across them, and the settings. One method call is one step, as in `Store`.

    `now_ns` is the time of a step, which must not go back. The same steps at the same times have the same results in
    every process.

    A step admits the waiters that fit after it, in all pools. `take_changes` returns its effects.

    Args:
        configured: settings by name of pool. The settings of `other_endpoints` also apply to each further endpoint.
        otherwise: settings of every other pool.

    Attributes:
        settings: of all pools.
        drained_ns: when `drain` was last called; None: never.
    """

    def __init__(
        self, configured: Mapping[str, PoolSettings] | None = None, otherwise: PoolSettings | None = None
    ) -> None:
        self.settings = PoolConfiguration(configured or {}, otherwise or PoolSettings())
        self._pools: dict[str, Pool] = {}
        self._accounts = Accounts()
        self._changes: list[Change] = []
        self._reports_leases = True
        self._has_budgets = False  # own ones, which hold after another process was taken over from
        self.drained_ns: int | None = None

    def __contains__(self, name: str) -> bool:
        """Whether a pool exists, or has settings of its own."""
        return name in self._pools or name in self.settings

    @property
    def callers_limits(self) -> Mapping[str, CallerLimits | None]:
        """The limits that `limit_callers` has set."""
        return self._accounts.configured

    def take_changes(self) -> list[Change]:
        """The changes since the last call."""
        if not (changes := self._changes):
            return changes
        self._changes = []
        return changes

    def report_leases(self, *, enabled: bool) -> None:
        """Sets whether the end of each lease is an event. By default it is."""
        self._reports_leases = enabled
        for pool in self._pools.values():
            pool.report_leases(enabled=enabled)

    def reserve(self, lease_id: str, demand: Demand, now_ns: int) -> Granted | Wait | Refused:
        """As `Store.reserve`."""
        pool = self._pools.get(demand.pool) or self._make_pool(demand.pool, now_ns)
        result = pool.reserve(lease_id, demand, now_ns)
        self._collect(pool.take_changes(), now_ns)
        return result

    def try_admit(self, lease_id: str, demand: Demand, now_ns: int) -> bool:
        """As `Store.try_admit`."""
        pool = self._pools.get(demand.pool) or self._make_pool(demand.pool, now_ns)
        admitted = pool.try_admit(lease_id, demand, now_ns)
        self._collect(pool.take_changes() if admitted else None, now_ns)
        return admitted

    def withdraw(self, name: str, lease_id: str, now_ns: int) -> Refused | None:
        """As `Store.withdraw`."""
        pool = self._begun(name, now_ns)
        refused = pool.withdraw(lease_id, now_ns)
        self._collect(pool.advance_and_collect(now_ns), now_ns)
        return refused

    def charge(self, name: str, lease_id: str, known: Cost, spent: Spending | None, now_ns: int) -> None:
        """As `Store.charge`."""
        pool = self._begun(name, now_ns)
        pool.charge(lease_id, known, now_ns, spent)
        self._collect(pool.advance_and_collect(now_ns), now_ns)

    def end(
        self,
        name: str,
        lease_id: str,
        outcome: Outcome,
        used: Cost | None,
        feedback: tuple[Feedback, ...],
        spent: Spending | None,
        now_ns: int,
    ) -> bool:
        """As `Store.end`."""
        pool = self._begun(name, now_ns)
        has_ended = pool.end(lease_id, outcome, used, now_ns, feedback, spent)
        self._collect(pool.advance_and_collect(now_ns), now_ns)
        return has_ended

    def release(self, name: str, lease_id: str, now_ns: int) -> None:
        """As `Store.release`."""
        pool = self._begun(name, now_ns)
        pool.release(lease_id, now_ns)
        self._collect(pool.advance_and_collect(now_ns), now_ns)

    def learn(self, name: str, feedback: Feedback, now_ns: int) -> None:
        """As `Store.learn`."""
        pool = self._begun(name, now_ns)
        pool.learn(feedback, now_ns)
        self._collect(pool.advance_and_collect(now_ns), now_ns)

    def advance(self, name: str, now_ns: int) -> None:
        """As `Store.advance`."""
        self._collect(self._begun(name, now_ns).advance_and_collect(now_ns), now_ns)

    def advance_all(self, now_ns: int) -> None:
        """`advance` for every pool."""
        for name in tuple(self._pools):
            self.advance(name, now_ns)

    def reprice(self, name: str, lease_id: str, cost: Cost, now_ns: int) -> None:
        """The cost of a waiter was estimated anew. No effect on a request that does not wait."""
        pool = self._begun(name, now_ns)
        pool.reprice(lease_id, cost, now_ns)
        self._collect(pool.advance_and_collect(now_ns), now_ns)

    def configure(self, name: str, settings: PoolSettings, origin: SetAtRuntime | None, now_ns: int) -> None:
        """As `Store.configure`. `origin`: who sets them, and when; None: it is not recorded."""
        self.settings.set_at_runtime(name, settings, origin)
        self._apply_settings(name, now_ns)

    def set_initial(self, name: str, settings: PoolSettings, now_ns: int) -> None:
        """Sets the settings of a pool by configuration, as if the pools had been made with them."""
        self.settings.set_initial(name, settings)
        self._apply_settings(name, now_ns)

    def reload(self, configured: Mapping[str, PoolSettings], otherwise: PoolSettings, now_ns: int) -> None:
        """Replaces the settings by configuration, as if the pools had been made with them, also for waiting requests.

        Values that `configure` has set for a pool hold in each dimension whose configuration stays the same.
        """
        before = {name: self.settings.of(name) for name in self._pools}
        self.settings.reload(configured, otherwise)
        for name, settings in before.items():
            if self.settings.of(name) != settings:
                self._apply_settings(name, now_ns)

    def limit_callers(self, limits: Mapping[str, CallerLimits | None], now_ns: int) -> None:
        """Replaces callers' own limits by name of caller, also for waiting requests."""
        self._accounts.configure(limits, now_ns)
        self._collect(None, now_ns)

    @property
    def budgets(self) -> Budgets:
        """The budgets, to read."""
        return self._accounts.budgets

    def set_budgets(self, windows: Iterable[BudgetWindow], now_ns: int) -> None:
        """As `Budgets.configure`."""
        self._has_budgets = True
        self.budgets.configure(windows)
        self._collect(None, now_ns)

    def turn_budgets(self, periods: Mapping[str, tuple[int, int | None]], now_ns: int) -> None:
        """As `Budgets.begin`."""
        self.budgets.begin(periods)
        self._collect(None, now_ns)

    def spend(self, spender: Spender, spending: Spending, now_ns: int) -> None:
        """As `Budgets.spend`."""
        self.budgets.spend(spender, spending)
        self._collect(None, now_ns)

    def abandon(self, is_gone: Callable[[str], bool], now_ns: int) -> None:
        """The holders of some leases are gone: refuses the waiters and ends the leases with such ids."""
        for name in tuple(self._pools):
            pool = self._begun(name, now_ns)
            pool.abandon(is_gone, now_ns)
            self._collect(pool.advance_and_collect(now_ns), now_ns)

    def hold(self, lease_id: str, demand: Demand, known: Cost, now_ns: int) -> None:
        """Adds an open lease that was granted and charged elsewhere, of whose cost this much is `known`."""
        pool = self._begun(demand.pool, now_ns)
        pool.hold(lease_id, demand, known, now_ns)
        self._collect(pool.advance_and_collect(now_ns), now_ns)

    def use_elsewhere(self, name: str, cost: Cost, now_ns: int) -> None:
        """Takes this much of what is available in a pool, without a lease."""
        pool = self._begun(name, now_ns)
        pool.limits.charge(cost, now_ns, 0)
        self._collect(pool.advance_and_collect(now_ns), now_ns)

    def set_aside(self, count: int, from_ns: int, to_ns: int, now_ns: int, *, of_level: bool) -> None:
        """Takes one of `count` equal shares of what all pools refill between two ages of a silence.

        `of_level`: of what is available now as well.
        """
        for name, pool in self._pools.items():
            cost = [0, 0, 0]
            for index, limit in pool.limits.limited:
                per_ns = (limit.per_minute or 0.0) / NS_PER_MINUTE / count
                cost[index] = int(per_ns * to_ns) - int(per_ns * from_ns)
                if of_level:
                    cost[index] += max(0, int((limit.snapshot(now_ns).available or 0.0) / count))
            self.use_elsewhere(name, Cost(*cost), now_ns)

    def drain(self, now_ns: int) -> None:
        """Leaves nothing available, also in pools that are made later, because it is unknown how much was used."""
        self.drained_ns = now_ns
        for pool in self._pools.values():
            pool.limits.drain(now_ns)

    def pool_for(self, name: str, now_ns: int) -> str:
        """As `Store.pool_for`."""
        if name in self:
            return name
        while len(self._pools) >= _MOST_POOLS:
            unused = next(
                (key for key, pool in self._pools.items() if pool.is_unused and key not in self.settings), None
            )
            if unused is None:
                return overflow_pool(name)
            del self._pools[unused]
        self._make_pool(name, now_ns)
        return name

    def standing(self, name: str, lease_id: str, now_ns: int) -> Granted | Wait | None:
        """`Granted` for an open lease, `Wait` for a waiter; None if there is neither of this id."""
        if (left := self.wait_left(name, lease_id, now_ns)) is not None:
            return Wait(to_ns(left.seconds or 0.0), left.binding)
        return GRANTED if self.holds(name, lease_id) else None

    def holds(self, name: str, lease_id: str) -> bool:
        """Whether a pool has an open lease or a waiter of this id."""
        pool = self._pools.get(name)
        return pool is not None and pool.holds(lease_id)

    def snapshot(self, name: str | None, now_ns: int) -> tuple[PoolSnapshot, ...]:
        """As `Store.snapshot`."""
        chosen = tuple(self._pools.values()) if name is None else tuple(filter(None, [self._pools.get(name)]))
        for pool in chosen:
            pool.expire(now_ns)  # a pool without further steps has no other occasion
        self._collect(None, now_ns)
        snapshots = tuple(pool.snapshot(now_ns) for pool in chosen)
        for pool in chosen:
            self._collect(pool.take_changes(), now_ns)
        return snapshots

    def wait_left(self, name: str, lease_id: str, now_ns: int) -> WaitLeft | None:
        """As `Store.wait_left`."""
        pool = self._pools.get(name)
        return None if pool is None else pool.queue.left(lease_id, now_ns)

    def queues(self, now_ns: int) -> tuple[QueueSnapshot, ...]:
        """As `Store.queues`."""
        found = [pool.queue.snapshot(now_ns) for pool in self._pools.values()]
        return tuple(each for each in found if each.waiting)

    def dump(self, now_ns: int, *, work: bool = False) -> StoreState:
        """The learned state of all pools, for `restore`; with `work` also all waiters and leases."""
        for pool in self._pools.values():
            self._collect(pool.take_changes(), now_ns)
        return StoreState(
            tuple(pool.dump(now_ns) for pool in self._pools.values()),
            self._accounts.dump(now_ns),
            self.settings.dump(),
            self._dump_work(now_ns) if work else None,
        )

    def _dump_work(self, now_ns: int) -> StoreWork:
        pools = tuple(pool.dump_work(now_ns) for pool in self._pools.values())
        return StoreWork(pools, self._accounts.dump_work(), budgets=self.budgets.dump())

    def restore(self, state: StoreState, now_ns: int) -> None:
        """Continues from `state`. Called once, before the first call is admitted.

        Values that `configure` had set hold in each dimension whose configuration is the same as then. Requests in
        flight at the dump stay charged. With the work of a dump, all leases and waiters are restored, and under the
        same settings the pools then behave exactly as the original.

        Raises:
            RuntimeError: a call was admitted or waits already.
            UnreadableState: another version has dumped a pool. Nothing was restored.
        """
        for dumped in state.pools:
            if dumped.version != POOL_STATE_VERSION:
                raise UnreadableState(f"pool {dumped.pool!r} has version {dumped.version}, not {POOL_STATE_VERSION}")
        if not all(pool.is_unused for pool in self._pools.values()):
            raise RuntimeError("the state of a store can only be restored before its first call")
        self.settings.restore(state.configured)
        own = self.budgets.dump()
        self._accounts = Accounts.restore(state.accounts, now_ns, self._accounts.configured)
        for name in tuple(self._pools):
            self._make_pool(name, now_ns)  # under the restored settings and accounts
        for dumped in state.pools:
            self._add_pool(Pool.restore(dumped, now_ns, self.settings.of(dumped.pool), self._accounts))
        if state.work is not None:
            for work in state.work.pools:
                self._pools[work.pool].restore_work(work, now_ns, self._accounts.known)
            self._accounts.restore_work(state.work.accounts, self._account_waits)
        self.budgets.restore(own if state.work is None else state.work.budgets, self._account_waits)
        if state.work is not None and self._has_budgets:
            self.budgets.configure(meter.known_window() for meter in own.meters)

    def _account_waits(self, name: str) -> AccountWaits:
        pool = self._pools.get(name)
        return AccountWaits(name) if pool is None else pool.account_waits

    def _begun(self, name: str, now_ns: int) -> Pool:
        """The pool in which a step begins."""
        pool = self._pools.get(name) or self._make_pool(name, now_ns)
        pool.expire(now_ns)
        return pool

    def _apply_settings(self, name: str, now_ns: int) -> None:
        pool = self._begun(name, now_ns)
        pool.configure(self.settings.of(name), now_ns)
        self._collect(pool.advance_and_collect(now_ns), now_ns)

    def _collect(self, change: Change | None, now_ns: int) -> None:
        """Keeps a change. Admits requests where callers' own limits allow more, or less, since the last step."""
        if change is not None:
            self._changes.append(change)
        freed = self._accounts.freed
        while freed:
            names = tuple(freed)
            freed.clear()
            for name in names:
                pool = self._pools.get(name)
                if pool is not None and (moved := pool.advance_and_collect(now_ns)) is not None:
                    self._changes.append(moved)
        if events := self.budgets.events:
            self._changes.append(Change("", events=tuple(events)))
            events.clear()

    def _make_pool(self, name: str, now_ns: int) -> Pool:
        if (drained_ns := self.drained_ns) is None:
            return self._add_pool(Pool(name, self.settings.of(name), now_ns, self._accounts))
        pool = self._add_pool(Pool(name, self.settings.of(name), drained_ns, self._accounts))  # it refills since then
        pool.limits.drain(drained_ns)
        return pool

    def _add_pool(self, pool: Pool) -> Pool:
        pool.report_leases(enabled=self._reports_leases)
        self._pools[pool.name] = pool
        return pool
