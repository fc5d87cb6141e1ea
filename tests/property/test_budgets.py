"""Budgets over several pools: never overspent by more than calls in progress cost beyond their estimates."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from msgspec import structs

from support.virtual_time import VirtualClock
from tidegate.core.domain.budget import (
    BudgetRule,
    BudgetUnit,
    BudgetWindow,
    Each,
    OnExceed,
    Period,
    Spender,
    Spending,
)
from tidegate.core.domain.caller import Caller, CallerLimits
from tidegate.core.domain.demand import Demand, Granted, Outcome, Refused, Wait
from tidegate.core.domain.dimension import Cost, Dimension
from tidegate.core.domain.pool_settings import AdaptiveSettings, LimitSettings, PoolSettings
from tidegate.core.ports.store import Change
from tidegate.stores.memory import MemoryStore

CALLERS = {
    name: Caller(name, label=name, team=team, limits=CallerLimits(max_concurrent=2) if name == "c" else None)
    for name, team in {"a": "one", "b": "one", "c": "two"}.items()
}
POOLS = {name: PoolSettings({Dimension.REQUESTS: LimitSettings(600, 5)}, AdaptiveSettings()) for name in "pq"}
DAY = BudgetRule("day", BudgetUnit.USD, 1_000, Period.DAY)
RULES = (
    DAY,
    BudgetRule("team", BudgetUnit.TOKENS, 400, team="one"),
    BudgetRule("session", BudgetUnit.USD, 300, each=Each.SESSION),
    BudgetRule("warned", BudgetUnit.USD, 50, on_exceed=OnExceed.WARN),
)
AMOUNTS = st.sampled_from([0, 1, 20, 90, 250, 700])
SESSIONS = st.sampled_from(["", "s", "t"])
SPENDINGS = st.builds(Spending, AMOUNTS, AMOUNTS)
OUTCOMES = st.sampled_from([Outcome.SETTLED, Outcome.SETTLED, *Outcome])


def amount(spending: Spending, budget: BudgetRule) -> int:
    return spending.micro_usd if budget.unit is BudgetUnit.USD else spending.tokens


class BudgetMachine(RuleBasedStateMachine):
    """Reserves, leaves, charges, ends, turns periods and restarts. Keeps the books of each amount by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = VirtualClock()
        self.periods = 0
        self.store = MemoryStore(self.clock, POOLS)
        self.store.watch(self.on_change)
        self.store.set_budgets(tuple(BudgetWindow(each, 0, 1, {}) for each in RULES))
        self.waiting: dict[str, Demand] = {}
        self.held: dict[str, Spending] = {}  # with what is reserved
        self.demands: dict[str, Demand] = {}
        self.spent: dict[tuple[str, str], int] = {}
        self.excess: dict[tuple[str, str], int] = {}
        self.made = 0

    def on_change(self, change: Change) -> None:
        for lease_id in change.granted:
            self.granted(lease_id, self.waiting.pop(lease_id))
        for lease_id, refused in change.refused:
            assert refused.budget is not None
            del self.waiting[lease_id]

    def granted(self, lease_id: str, demand: Demand) -> None:
        self.held[lease_id], self.demands[lease_id] = demand.spending, demand

    @rule(
        name=st.sampled_from("abc"),
        pool=st.sampled_from("pq"),
        session=SESSIONS,
        spending=SPENDINGS,
        way=st.sampled_from(["try", "reserve", "front", "retry"]),
    )
    def reserve(self, name: str, pool: str, session: str, spending: Spending, way: str) -> None:
        self.ask(name, pool, session, spending, way)

    def ask(self, name: str, pool: str, session: str, spending: Spending, way: str) -> None:
        demand = Demand(pool, CALLERS[name], Cost(1), session=session, spending=spending)
        if way in {"front", "retry"}:
            demand = structs.replace(demand, **{way: True})
        self.made += 1
        lease_id = f"r-{self.made}"
        if way == "try" and self.store.try_admit(lease_id, demand):
            self.granted(lease_id, demand)
            return
        result = self.store.reserve_now(lease_id, demand)
        if isinstance(result, Granted):
            self.granted(lease_id, demand)
        elif isinstance(result, Wait):
            self.waiting[lease_id] = demand
        elif isinstance(result, Refused):
            assert result.budget is not None
            assert result.budget.rule.on_exceed is OnExceed.REFUSE

    @rule(pool=st.sampled_from("pq"), names=st.lists(st.sampled_from("abc"), min_size=2, max_size=5), session=SESSIONS)
    def rush(self, pool: str, names: list[str], session: str) -> None:
        """Most of them wait for a budget."""
        for name in names:
            self.ask(name, pool, session, Spending(140, 140), "reserve")

    @precondition(lambda self: self.held)
    @rule(data=st.data(), spending=SPENDINGS)
    def charge(self, data: st.DataObject, spending: Spending) -> None:
        lease_id = data.draw(st.sampled_from(sorted(self.held)))
        self.store.charge_now(self.demands[lease_id].pool, lease_id, Cost(1), spending)
        if self.demands[lease_id].spending != Spending():
            self.held[lease_id] = Spending(*map(max, self.held[lease_id], spending))

    @precondition(lambda self: self.held)
    @rule(data=st.data(), outcome=OUTCOMES, real=st.none() | SPENDINGS)
    def end(self, data: st.DataObject, outcome: Outcome, real: Spending | None) -> None:
        lease_id = data.draw(st.sampled_from(sorted(self.held)))
        reserved, demand = self.held.pop(lease_id), self.demands.pop(lease_id)
        used = reserved if real is None else real
        if outcome in {Outcome.RELEASED, Outcome.THROTTLED}:
            used = Spending()
        for budget, key in self.keys(demand.spender):
            real_amount, estimate = amount(used, budget), amount(demand.spending, budget)
            self.spent[key] = self.spent.get(key, 0) + real_amount
            self.excess[key] = self.excess.get(key, 0) + max(0, real_amount - estimate)
        self.store.end_now(demand.pool, lease_id, outcome, Cost(1), (), real)

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        lease_id = data.draw(st.sampled_from(sorted(self.waiting)))
        demand = self.waiting.pop(lease_id)
        assert self.store.withdraw_now(demand.pool, lease_id) is not None

    @rule(seconds=st.sampled_from([0.1, 1.0, 30.0]))
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)
        for pool in "pq":
            self.store.advance(pool)

    @rule()
    def turn(self) -> None:
        self.periods += 1
        for each in (self.periods, self.periods - 1):  # the second one comes late
            self.store.turn_budgets({DAY.calendar: (each, each + 1)})
        for name, subject in list(self.spent):
            if name == "day":
                self.spent[name, subject] = self.excess[name, subject] = 0

    @rule()
    def restart(self) -> None:
        state = self.store.dump(work=True)
        self.store = MemoryStore(self.clock, POOLS)
        self.store.watch(self.on_change)
        self.store.restore(state)
        for pool in "pq":
            self.store.advance(pool)

    def keys(self, spender: Spender) -> list[tuple[BudgetRule, tuple[str, str]]]:
        found = []
        for each in RULES:
            subject = each.subject(spender)
            if subject is not None and each.is_for(spender.caller, spender.team):
                found.append((each, (each.name, subject)))
        return found

    @invariant()
    def the_books_agree(self) -> None:
        reserved: dict[tuple[str, str], int] = {}
        for lease_id, amounts in self.held.items():
            for budget, key in self.keys(self.demands[lease_id].spender):
                reserved[key] = reserved.get(key, 0) + amount(amounts, budget)
        left = {(each.rule.name, each.subject): each for each in self.store.budgets_now()}
        assert self.store.has_low_budgets or not any(each.is_low for each in left.values())
        assert {key: each.spent for key, each in left.items() if each.spent} == {
            key: amount for key, amount in self.spent.items() if amount
        }
        assert {key: each.reserved for key, each in left.items() if each.reserved} == {
            key: amount for key, amount in reserved.items() if amount
        }

    @invariant()
    def no_budget_is_overspent_by_more_than_mispricing(self) -> None:
        for each in self.store.budgets_now():
            if each.rule.on_exceed is OnExceed.REFUSE:
                key = each.rule.name, each.subject
                grown = sum(
                    max(0, amount(reserved, each.rule) - amount(self.demands[lease_id].spending, each.rule))
                    for lease_id, reserved in self.held.items()
                    if each.is_of(self.demands[lease_id].spender)
                )
                assert each.spent + each.reserved <= each.rule.limit + self.excess.get(key, 0) + grown

    @invariant()
    def nobody_waits_who_may_go(self) -> None:
        """Once time has passed for the limits of the pools."""
        self.clock.advance(0.2)
        for pool in "pq":
            self.store.advance(pool)
        busy = sum(demand.caller.name == "c" for demand in self.demands.values())
        for demand in self.waiting.values():
            if demand.retry or (demand.caller.name == "c" and busy >= 2):
                continue
            assert any(self.is_blocked(each) for each in self.in_line_of(demand)), demand

    def in_line_of(self, demand: Demand) -> list[Demand]:
        """The calls of the same caller in the same pool, behind any of which a call may have to wait."""
        line = demand.pool, demand.caller.name
        return [each for each in self.waiting.values() if (each.pool, each.caller.name) == line]

    def is_blocked(self, demand: Demand) -> bool:
        return any(
            each.rule.on_exceed is OnExceed.REFUSE and each.remaining < amount(demand.spending, each.rule)
            for each in self.store.budgets_now(demand.spender)
        )


TestBudgets = BudgetMachine.TestCase
TestBudgets.settings = settings(stateful_step_count=30)
