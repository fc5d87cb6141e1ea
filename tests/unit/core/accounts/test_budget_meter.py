"""A budget in its period: what is taken in, told again, dumped and restored."""

import pytest
from msgspec import structs

from tidegate.core.accounts.account_waits import AccountWaits
from tidegate.core.accounts.budget_meter import Meter, MeterState
from tidegate.core.domain.budget import BudgetRule, BudgetUnit, BudgetWindow, Each, Period

RULE = BudgetRule("b", BudgetUnit.USD, 1_000, Period.DAY, each=Each.CALLER)
UNKNOWN = BudgetWindow(RULE, 100, 200, None, set_aside=7)


def meter(window: BudgetWindow = UNKNOWN) -> Meter:
    made = Meter(window)
    budget = made.of("ann")
    budget.spent, budget.told = 900, 1
    return made


@pytest.mark.parametrize(("limit", "told"), [(1_000, 1), (2_000, 0)])
def test_thresholds_of_another_limit_are_told_anew(limit: int, told: int) -> None:
    made = meter()
    made.replace(structs.replace(RULE, limit=limit, contact="ops"))
    assert (made.of("ann").told, made.rule.contact) == (told, "ops")


def test_a_period_begins_once_with_what_is_set_aside_and_is_known() -> None:
    made = meter()
    assert [made.begin(starts, starts + 100) for starts in (100, 200, 200, 150)] == [False, True, False, False]
    assert (made.starts, made.ends) == (200, 300)
    assert (made.of("ann").spent, made.of("ann").told) == (7, 0)
    made.learn_spent({"ann": 500})
    assert made.of("ann").spent == 7, "that was in the period before"


@pytest.mark.parametrize("is_known", [False, True])
def test_a_restored_meter_is_the_same(*, is_known: bool) -> None:
    made = meter()
    made.is_known = is_known
    made.of("ann").note_skipped(AccountWaits("p"))
    waits = {"p": AccountWaits("p")}
    restored = Meter.restore(made.dump(), waits.__getitem__)
    assert (restored.rule, restored.starts, restored.ends, restored.set_aside) == (RULE, 100, 200, 7)
    assert restored.is_known is is_known
    ann = restored.of("ann")
    assert (ann.spent, ann.told, ann.skipped_in) == (900, 1, waits)


@pytest.mark.parametrize(("spent", "known"), [(None, None), ({}, {"ann": 900, "bob": 7})])
def test_a_dump_says_as_a_window_what_was_spent_if_that_is_known(
    spent: dict[str, int] | None, known: dict[str, int] | None
) -> None:
    made = meter(structs.replace(UNKNOWN, spent=spent))
    if spent is not None:
        made.learn_spent(spent)
    made.of("bob")
    state: MeterState = made.dump()
    assert state.known_window() == structs.replace(UNKNOWN, spent=known)
