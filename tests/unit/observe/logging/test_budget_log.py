"""Log lines for budgets."""

import pytest

from tidegate.core.domain.budget import BudgetRule, BudgetSnapshot, BudgetUnit, OnExceed, Period
from tidegate.core.domain.events import BudgetReached
from tidegate.observe.logging.budget_log import log_budget_reached

USD = BudgetRule("search-month", BudgetUnit.USD, 500_000_000, Period.MONTH)
TOKENS = BudgetRule("sessions", BudgetUnit.TOKENS, 1_000)


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (
            BudgetReached(80, BudgetSnapshot(USD, "", 400_120_000, 0, 1_798_761_600)),
            "budget search-month: 80 % is spent ($400.12 of $500.00; begins anew at 2027-01-01 00:00 UTC)",
        ),
        (
            BudgetReached(100, BudgetSnapshot(TOKENS, "web/s", 990, 0, None)),
            "budget sessions of web/s: calls are refused (990 tokens of 1,000 tokens; begins anew never)",
        ),
    ],
)
def test_a_threshold_is_a_warning(event: BudgetReached, line: str, caplog: pytest.LogCaptureFixture) -> None:
    log_budget_reached(event)
    assert [(each.levelname, each.getMessage()) for each in caplog.records] == [("WARNING", line)]


@pytest.mark.parametrize(
    ("on_exceed", "what"), [(OnExceed.WARN, "it is spent"), (OnExceed.BATCH, "calls wait in class batch")]
)
def test_the_line_says_what_happens_to_calls(on_exceed: OnExceed, what: str, caplog: pytest.LogCaptureFixture) -> None:
    rule = BudgetRule("b", BudgetUnit.USD, 1, on_exceed=on_exceed)
    log_budget_reached(BudgetReached(100, BudgetSnapshot(rule, "", 1, 0, None)))
    assert f"budget b: {what} (" in caplog.text
