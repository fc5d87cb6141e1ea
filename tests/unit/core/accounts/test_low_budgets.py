"""Whether some budget is low, which each response asks."""

import pytest
from msgspec import structs

from tidegate.core.accounts.budgets import Budgets
from tidegate.core.domain.budget import BudgetRule, BudgetUnit, BudgetWindow, Period, Spender, Spending
from tidegate.core.domain.caller import Caller
from tidegate.core.domain.demand import Demand, Outcome
from tidegate.core.domain.dimension import ONE_REQUEST

RULE = BudgetRule("b", BudgetUnit.USD, 1_000, Period.DAY)


def demand(micro_usd: int) -> Demand:
    return Demand("p", Caller("ann", label="ann", team="search"), ONE_REQUEST, spending=Spending(micro_usd))


def made(*rules: BudgetRule) -> Budgets:
    budgets = Budgets({})
    budgets.configure([BudgetWindow(rule, 100, 200) for rule in rules])
    return budgets


def test_without_budgets_none_is_low() -> None:
    assert Budgets({}).some_low is False


@pytest.mark.parametrize(("amount", "is_low"), [(699, False), (700, True)])
def test_a_budget_is_low_once_a_fifth_is_left(amount: int, *, is_low: bool) -> None:
    """100 are reserved. Another budget has plenty."""
    budgets = made(RULE, structs.replace(RULE, name="large", limit=100_000))
    budgets.reserve("l", demand(100))
    budgets.spend(Spender("ann", "search"), Spending(amount))
    assert (budgets.some_low, [each.is_low for each in budgets.snapshot()]) == (is_low, [is_low, False])


def test_a_budget_may_be_low_by_reservations_alone_and_is_not_in_a_new_period() -> None:
    budgets = made(RULE)
    assert budgets.some_low is False
    budgets.reserve("l", demand(800))
    assert budgets.some_low
    budgets.settle("l", demand(800), Outcome.SETTLED, Spending(900))
    budgets.begin({RULE.calendar: (200, 300)})
    assert budgets.some_low is False
    budgets.reserve("m", demand(10))
    budgets.grow("m", Spending(800))
    assert budgets.some_low


def test_a_lower_limit_makes_a_budget_low() -> None:
    budgets = made(RULE)
    budgets.spend(Spender("ann", "search"), Spending(100))
    budgets.configure([BudgetWindow(structs.replace(RULE, limit=125), 100, 200)])
    assert budgets.some_low
