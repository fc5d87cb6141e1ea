"""Log lines for budgets that are nearly or wholly spent."""

import logging
from datetime import UTC, datetime

from tidegate.core.domain.budget import BudgetUnit
from tidegate.core.domain.events import BudgetReached
from tidegate.core.pricing.price_list import MICRO_USD

__all__ = ["log_budget_reached"]

logger = logging.getLogger("tidegate.budgets")


def log_budget_reached(event: BudgetReached) -> None:
    """Logs at WARNING that a threshold was reached, once per period and subject."""
    budget, rule = event.budget, event.budget.rule
    whose = f" of {budget.subject}" if budget.subject else ""
    usd = rule.unit is BudgetUnit.USD
    spent, limit = (f"${each / MICRO_USD:,.2f}" if usd else f"{each:,} tokens" for each in (budget.spent, rule.limit))
    if event.percent < 100:
        what = f"{event.percent} % is spent"
    else:
        what = {"refuse": "calls are refused", "warn": "it is spent", "batch": "calls wait in class batch"}[
            rule.on_exceed
        ]
    ends = "never" if budget.ends is None else f"at {datetime.fromtimestamp(budget.ends, UTC):%Y-%m-%d %H:%M UTC}"
    logger.warning("budget %s%s: %s (%s of %s; begins anew %s)", rule.name, whose, what, spent, limit, ends)
