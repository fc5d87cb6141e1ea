"""Keeps budgets in step with the calendar, the configuration and the ledger, for the store that decides by them."""

from tidegate.cli.budgets.keeper import BudgetKeeper, running_budgets

__all__ = ["BudgetKeeper", "running_budgets"]
