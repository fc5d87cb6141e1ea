"""A store that passes everything to another one, which can be replaced while calls wait."""

from collections.abc import Callable, Coroutine, Mapping
from typing import Protocol

from tidegate.core.domain.budget import BudgetSnapshot, BudgetWindow, Spender, Spending
from tidegate.core.domain.caller import CallerLimits
from tidegate.core.domain.demand import Demand, Granted, Outcome, Refused, Wait
from tidegate.core.domain.dimension import Cost
from tidegate.core.domain.feedback import Feedback
from tidegate.core.domain.pool_settings import PoolSettings
from tidegate.core.domain.snapshots import PoolSnapshot, QueueSnapshot, WaitLeft
from tidegate.core.ports.store import Change, Store
from tidegate.stores.runtime_settings import SetAtRuntime

__all__ = ["ProcessStore", "SwitchableStore"]

Listener = Callable[[Change], None]


class ProcessStore(Store, Protocol):
    """A store with the synchronous methods that the parts of one process use. They never fail."""

    def learn_now(self, pool: str, feedback: Feedback) -> None:
        """As `learn`."""
        ...

    def configure_now(self, pool: str, settings: PoolSettings, by: str | None = None) -> None:
        """As `configure`."""
        ...

    def set_at_runtime(self, pool: str) -> Mapping[str, SetAtRuntime]:
        """The author of each limit that `configure` set, by name of the setting."""
        ...

    def snapshot_now(self, pool: str | None = None) -> tuple[PoolSnapshot, ...]:
        """As `snapshot`."""
        ...

    def settings_now(self, pool: str) -> PoolSettings:
        """The settings of a pool, whether it exists yet or not."""
        ...

    def set_initial(self, pool: str, settings: PoolSettings) -> None:
        """Sets the settings of a pool by configuration."""
        ...

    def reload(self, configured: Mapping[str, PoolSettings], otherwise: PoolSettings) -> None:
        """Replaces the settings by configuration."""
        ...

    def limit_callers(self, limits: Mapping[str, CallerLimits | None]) -> None:
        """Replaces callers' own limits by name of caller."""
        ...


class SwitchableStore:
    """Passes each step to the present store, and the changes of that store to all listeners.

    A process hands its pools over to another one by switching to a store that sends its steps there. Users of this
    store do not notice.

    Attributes:
        present: the store that receives the steps.
    """

    def __init__(self, store: ProcessStore) -> None:
        self.present = store
        self._listeners: dict[int, tuple[Listener, bool, Callable[[], None]]] = {}
        self._watches = 0

    def switch(self, store: ProcessStore) -> None:
        """Replaces the store. No step may be under way in another thread."""
        self.present = store
        for key, (listener, leases, stop) in self._listeners.items():
            stop()
            self._listeners[key] = listener, leases, store.watch(listener, leases=leases)

    def watch(self, listener: Listener, *, leases: bool = True) -> Callable[[], None]:
        """As `Store.watch`, for the changes of each store that is present."""
        key = self._watches
        self._watches += 1
        self._listeners[key] = listener, leases, self.present.watch(listener, leases=leases)

        def stop() -> None:
            if (watched := self._listeners.pop(key, None)) is not None:
                watched[2]()

        return stop

    # Each method below is that of the present store. The coroutine of an asynchronous one is passed on as it is.

    def reserve(self, lease_id: str, demand: Demand) -> Coroutine[None, None, Granted | Wait | Refused]:
        """As `Store.reserve`."""
        return self.present.reserve(lease_id, demand)

    def withdraw(self, pool: str, lease_id: str) -> Coroutine[None, None, Refused | None]:
        """As `Store.withdraw`."""
        return self.present.withdraw(pool, lease_id)

    def charge(
        self, pool: str, lease_id: str, known: Cost, spent: Spending | None = None
    ) -> Coroutine[None, None, None]:
        """As `Store.charge`."""
        return self.present.charge(pool, lease_id, known, spent)

    def end(
        self,
        pool: str,
        lease_id: str,
        outcome: Outcome,
        used: Cost | None = None,
        feedback: tuple[Feedback, ...] = (),
        spent: Spending | None = None,
    ) -> Coroutine[None, None, bool]:
        """As `Store.end`."""
        return self.present.end(pool, lease_id, outcome, used, feedback, spent)

    def learn(self, pool: str, feedback: Feedback) -> Coroutine[None, None, None]:
        """As `Store.learn`."""
        return self.present.learn(pool, feedback)

    def configure(self, pool: str, settings: PoolSettings, by: str | None = None) -> Coroutine[None, None, None]:
        """As `Store.configure`."""
        return self.present.configure(pool, settings, by)

    def snapshot(self, pool: str | None = None) -> Coroutine[None, None, tuple[PoolSnapshot, ...]]:
        """As `Store.snapshot`."""
        return self.present.snapshot(pool)

    def wait_left(self, pool: str, lease_id: str) -> Coroutine[None, None, WaitLeft | None]:
        """As `Store.wait_left`."""
        return self.present.wait_left(pool, lease_id)

    def queues(self) -> Coroutine[None, None, tuple[QueueSnapshot, ...]]:
        """As `Store.queues`."""
        return self.present.queues()

    def pool_for(self, name: str) -> str:
        """As `Store.pool_for`."""
        return self.present.pool_for(name)

    def try_admit(self, lease_id: str, demand: Demand) -> bool:
        """As `Store.try_admit`."""
        return self.present.try_admit(lease_id, demand)

    def release(self, pool: str, lease_id: str) -> None:
        """As `Store.release`."""
        self.present.release(pool, lease_id)

    def advance(self, pool: str) -> None:
        """As `Store.advance`."""
        self.present.advance(pool)

    def learn_now(self, pool: str, feedback: Feedback) -> None:
        """As `ProcessStore.learn_now`."""
        self.present.learn_now(pool, feedback)

    def configure_now(self, pool: str, settings: PoolSettings, by: str | None = None) -> None:
        """As `ProcessStore.configure_now`."""
        self.present.configure_now(pool, settings, by)

    def set_at_runtime(self, pool: str) -> Mapping[str, SetAtRuntime]:
        """As `ProcessStore.set_at_runtime`."""
        return self.present.set_at_runtime(pool)

    def snapshot_now(self, pool: str | None = None) -> tuple[PoolSnapshot, ...]:
        """As `ProcessStore.snapshot_now`."""
        return self.present.snapshot_now(pool)

    def settings_now(self, pool: str) -> PoolSettings:
        """As `ProcessStore.settings_now`."""
        return self.present.settings_now(pool)

    def set_initial(self, pool: str, settings: PoolSettings) -> None:
        """As `ProcessStore.set_initial`."""
        self.present.set_initial(pool, settings)

    def reload(self, configured: Mapping[str, PoolSettings], otherwise: PoolSettings) -> None:
        """As `ProcessStore.reload`."""
        self.present.reload(configured, otherwise)

    def limit_callers(self, limits: Mapping[str, CallerLimits | None]) -> None:
        """As `ProcessStore.limit_callers`."""
        self.present.limit_callers(limits)

    def set_budgets(self, windows: tuple[BudgetWindow, ...]) -> None:
        """As `Store.set_budgets`."""
        self.present.set_budgets(windows)

    def turn_budgets(self, periods: Mapping[str, tuple[int, int | None]]) -> None:
        """As `Store.turn_budgets`."""
        self.present.turn_budgets(periods)

    def spend(self, spender: Spender, spending: Spending) -> None:
        """As `Store.spend`."""
        self.present.spend(spender, spending)

    @property
    def has_budgets(self) -> bool:
        """As `Store.has_budgets`."""
        return self.present.has_budgets

    @property
    def has_low_budgets(self) -> bool:
        """As `Store.has_low_budgets`."""
        return self.present.has_low_budgets

    def budgets_now(self, spender: Spender | None = None) -> tuple[BudgetSnapshot, ...]:
        """As `Store.budgets_now`."""
        return self.present.budgets_now(spender)
