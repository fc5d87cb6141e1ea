"""`/api/system/budgets`: what is left of each budget."""

from datetime import UTC, datetime
from typing import Any, Final

from fastapi import APIRouter, Request

from tidegate.api.access import for_callers_and_admins
from tidegate.api.examples import BUDGETS_EXAMPLE, response_example
from tidegate.api.services import Services
from tidegate.core.domain.budget import BudgetSnapshot, BudgetUnit, Each
from tidegate.core.domain.caller import Caller
from tidegate.core.pricing.price_list import MICRO_USD

__all__ = ["BUDGETS_PATH", "budgets_left", "budgets_of", "budgets_router"]

BUDGETS_PATH: Final = "/api/system/budgets"


def budgets_router(services: Services) -> APIRouter:
    """The route that shows budgets."""
    router = APIRouter(tags=["system"], route_class=for_callers_and_admins(services))

    @router.get(
        BUDGETS_PATH,
        summary="What is left of each budget",
        responses=response_example(BUDGETS_EXAMPLE),
    )
    async def budgets(request: Request) -> dict[str, Any]:
        """All budgets in their present period, those with the least left first.

        `limit`, `spent`, `reserved` (for calls in progress) and `remaining` are in US dollars or tokens. `subject` is
        the caller, team or session that has the amount; null if all share it. If a budget is for each of many subjects,
        the 100 with the least left are shown. `opens_at` is when it begins anew; null: never. The key of a caller who
        is no admin sees the budgets of this caller only.
        """
        return {"budgets": budgets_left(services, getattr(request.state, "caller", None))}

    return router


def budgets_left(services: Services, caller: Caller | None = None) -> list[dict[str, Any]]:
    """As `budgets_of`, as objects."""
    return [_as_json(budget) for budget in budgets_of(services, caller)]


def budgets_of(services: Services, caller: Caller | None = None) -> list[BudgetSnapshot]:
    """The rest of all budgets, or of those that count the calls of one caller; the least first."""
    found = sorted(services.store.budgets_now(), key=lambda budget: budget.remaining_ratio)
    return [budget for budget in found if caller is None or _concerns(budget, caller)]


def _concerns(budget: BudgetSnapshot, caller: Caller) -> bool:
    rule = budget.rule
    own = {Each.CALLER: caller.label, Each.TEAM: caller.team}
    is_own = (
        budget.subject.startswith(f"{caller.label}/")
        if rule.each is Each.SESSION
        else rule.each is None or budget.subject == own[rule.each]
    )
    return is_own and rule.is_for(caller.label, caller.team)


def _as_json(budget: BudgetSnapshot) -> dict[str, Any]:
    rule = budget.rule
    unit = MICRO_USD if rule.unit is BudgetUnit.USD else 1
    amounts = {
        "limit": rule.limit,
        "spent": budget.spent,
        "reserved": budget.reserved,
        "remaining": budget.remaining,
    }
    return {
        "name": rule.name,
        "subject": budget.subject or None,
        "unit": rule.unit.value,
        **{name: amount if unit == 1 else amount / unit for name, amount in amounts.items()},
        "remaining_ratio": round(budget.remaining_ratio, 4),
        "per": rule.period.value,
        "time_zone": rule.time_zone,
        "opens_at": None if budget.ends is None else datetime.fromtimestamp(budget.ends, UTC).isoformat(),
        "on_exceed": rule.on_exceed.value,
        "caller": rule.caller,
        "team": rule.team,
        "contact": rule.contact or None,
    }
