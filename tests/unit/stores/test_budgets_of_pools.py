"""Budgets over restarts and take-overs of a store."""

from msgspec import structs

from support.virtual_time import VirtualClock
from tidegate.core.domain.budget import BudgetRule, BudgetUnit, BudgetWindow, Each, Spending
from tidegate.core.domain.caller import Caller
from tidegate.core.domain.demand import Demand, Outcome, Wait
from tidegate.core.domain.dimension import Cost
from tidegate.core.domain.feedback import Succeeded
from tidegate.core.ports.store import Change
from tidegate.stores.memory import MemoryStore

RULE = BudgetRule("b", BudgetUnit.USD, 1_000)
NEW = BudgetRule("new", BudgetUnit.USD, 100, each=Each.CALLER)
DEMAND = Demand("p", Caller("ann", label="ann"), Cost(1), spending=Spending(600, 1))


def used_store(clock: VirtualClock) -> MemoryStore:
    """300 are spent and 600 reserved; another call waits."""
    store = MemoryStore(clock)
    store.set_budgets((BudgetWindow(RULE, 0, None, {}),))
    store.learn_now("p", Succeeded(0))
    store.spend(DEMAND.spender, Spending(300, 0))
    assert store.try_admit("r-1", DEMAND)
    assert isinstance(store.reserve_now("r-2", structs.replace(DEMAND, spending=Spending(500, 1))), Wait)
    return store


def left(store: MemoryStore) -> list[tuple[str, int, int, int]]:
    return [(each.rule.name, each.rule.limit, each.spent, each.reserved) for each in store.budgets_now()]


def test_a_process_that_takes_over_continues_with_what_was_spent_reserved_and_waits() -> None:
    clock = VirtualClock()
    state = used_store(clock).dump(work=True)
    heir, changes = MemoryStore(clock), list[Change]()
    heir.watch(changes.append)
    heir.restore(state)
    assert left(heir) == [("b", 1_000, 300, 600)]
    heir.end_now("p", "r-1", Outcome.SETTLED, Cost(1), (), Spending(100, 0))
    assert [change.granted for change in changes if change.granted] == [("r-2",)]
    assert left(heir) == [("b", 1_000, 400, 500)]


def test_a_process_that_takes_over_keeps_its_own_configuration() -> None:
    clock = VirtualClock()
    state = used_store(clock).dump(work=True)
    heir = MemoryStore(clock)
    own = BudgetWindow(structs.replace(RULE, limit=2_000), 0, None, {"": 250})
    unread = BudgetWindow(structs.replace(NEW, name="unread"))
    heir.set_budgets((own, BudgetWindow(NEW, 0, None, {"ann": 7, "bob": 8}), unread))
    heir.restore(state)
    assert left(heir) == [("b", 2_000, 300, 600), ("new", 100, 7, 600), ("new", 100, 8, 0), ("unread", 100, 0, 600)]
    heir = MemoryStore(clock)
    heir.set_budgets(())
    heir.restore(state)
    assert left(heir) == []


def test_after_a_restart_the_ledger_says_what_was_spent() -> None:
    clock = VirtualClock()
    state = used_store(clock).dump()
    restarted = MemoryStore(clock)
    restarted.restore(state)
    assert left(restarted) == []
    restarted.set_budgets((BudgetWindow(RULE, 0, None, {"": 310}),))
    assert left(restarted) == [("b", 1_000, 310, 0)]
