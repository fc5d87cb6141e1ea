"""Response headers that say what a call has cost, and what its budgets have left."""

from collections.abc import Iterable
from typing import Final

from tidegate.core.claude.header_names import TIDEGATE_BUDGET_REMAINING, TIDEGATE_COST_USD, TIDEGATE_REPORT
from tidegate.core.domain.budget import BudgetSnapshot, BudgetUnit
from tidegate.core.ports.transport import Fields
from tidegate.core.pricing.price_list import MICRO_USD

__all__ = ["budget_header", "cost_header", "wants"]

_REPORT: Final = TIDEGATE_REPORT.encode()


def wants(fields: Fields, what: bytes) -> bool:
    """Whether a client has asked for a report of this."""
    asked = fields.get(_REPORT)
    return asked is not None and what in (each.strip().lower() for each in asked.split(b","))


def cost_header(micro_usd: int) -> tuple[bytes, bytes]:
    """The cost of a response in US dollars, with 6 decimals."""
    return TIDEGATE_COST_USD.encode(), _usd(micro_usd).encode()


def budget_header(budgets: Iterable[BudgetSnapshot], *, all_budgets: bool) -> tuple[bytes, bytes] | None:
    """The header with the rest of budgets, after the reservations of all calls in progress; None if none is shown.

    A list of structured fields (RFC 9651): `team-month;usd=12.340000, session;tokens=9000`. Unless `all_budgets`, only
    those of which a fifth or less is left.
    """
    parts = [
        f"{each.rule.name};{each.rule.unit.value}={_amount(each)}" for each in budgets if all_budgets or each.is_low
    ]
    return (TIDEGATE_BUDGET_REMAINING.encode(), ", ".join(parts).encode()) if parts else None


def _amount(budget: BudgetSnapshot) -> str:
    left = max(0, budget.remaining)
    return _usd(left) if budget.rule.unit is BudgetUnit.USD else str(left)


def _usd(micro_usd: int) -> str:
    return f"{micro_usd // MICRO_USD}.{micro_usd % MICRO_USD:06}"
