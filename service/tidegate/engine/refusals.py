"""The errors that refused demands raise."""

from datetime import UTC, datetime
from typing import Final

from tidegate.core.domain.budget import BudgetRule, BudgetSnapshot, BudgetUnit, Period
from tidegate.core.domain.cause import Cause
from tidegate.core.domain.demand import Demand, Refused
from tidegate.core.domain.errors import Refusal
from tidegate.core.domain.nanoseconds import to_seconds
from tidegate.core.pricing.price_list import MICRO_USD

__all__ = ["refusal_of"]

_PERIODS: Final = {Period.HOUR: " for this hour", Period.DAY: " for today", Period.MONTH: " for this month"}
_MESSAGES: Final = {
    Cause.QUEUE_FULL: "the queue of {pool} is full: {full} wait already",
    Cause.DEADLINE: "the wait for {pool} would be longer than the request may take",
    Cause.CALLER_LIMIT: "caller {caller!r} is over its own limit ({limit}) for longer than the request may take",
    Cause.UPSTREAM_OUTAGE: "the upstream has an outage, and {pool} waits for longer than the request may take",
    Cause.SPEND_CAP: "the upstream refuses all requests of {pool} because a spend cap is reached; try again at {when}",
    Cause.STORE_UNAVAILABLE: "the process that decides about {pool} cannot be reached",
    Cause.COST_EXCEEDS_CAPACITY: "the request needs more {dimension} than {pool} can ever hold",
}


def refusal_of(demand: Demand, refused: Refused, wall_seconds: float) -> Refusal:
    """The error for a refused demand, at this time of the wall clock."""
    if refused.budget is not None:
        return _over_budget(demand, refused.budget, wall_seconds)
    after_seconds = None if refused.retry_after_ns is None else to_seconds(refused.retry_after_ns)
    return Refusal(
        refused.cause,
        _MESSAGES.get(refused.cause, "{pool} admits nothing now").format(
            pool=f"pool {demand.pool!r}",
            dimension=str(refused.dimension).replace("_", " "),
            full=refused.full,
            caller=demand.caller.label,
            limit=_own_limit(demand, refused),
            when=_date(wall_seconds + (after_seconds or 0.0)),
        ),
        retry_after_seconds=after_seconds,
        dimension=refused.dimension,
    )


def _own_limit(demand: Demand, refused: Refused) -> str:
    """The limit of the caller that a refusal names, with its number."""
    name = str(refused.limit)
    return f"{name} = {getattr(demand.caller.limits, name, 0):,.10g}"


def _date(wall_seconds: float) -> str:
    return datetime.fromtimestamp(round(wall_seconds), UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _over_budget(demand: Demand, budget: BudgetSnapshot, wall_seconds: float) -> Refusal:
    """The refusal that names what the budget has left, when it begins anew, and who can raise it."""
    rule = budget.rule
    whose = f" of {budget.subject!r}" if budget.subject else ""
    needed = demand.spending.micro_usd if rule.unit is BudgetUnit.USD else demand.spending.tokens
    reserved = f" and {_amount(budget.reserved, rule)} reserved for calls in progress" if budget.reserved else ""
    cost = "whose cost will be known later"
    if not demand.is_priced_later:
        cost = f"which will probably cost {_amount(needed, rule)}"
    message = (
        f"the budget {rule.name!r}{whose}{_PERIODS.get(rule.period, '')} has too little left for this call,"
        f" {cost}: of {_amount(rule.limit, rule)}, {_amount(budget.spent, rule)} are"
        f" spent{reserved}; "
    )
    message += "it does not begin anew" if budget.ends is None else f"it begins anew at {_date(budget.ends)}"
    message += f"; {rule.contact or 'the operator of this service'} can raise it"
    after_seconds = None if budget.ends is None else max(0.0, budget.ends - wall_seconds)
    return Refusal(Cause.BUDGET, message, retry_after_seconds=after_seconds)


def _amount(units: int, rule: BudgetRule) -> str:
    return f"${units / MICRO_USD:,.4f}" if rule.unit is BudgetUnit.USD else f"{units:,} tokens"
