"""The share of a replica in what budgets have left, while it decides alone, and what it spends of it."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from msgspec import structs

from tidegate.core.domain.budget import BudgetSnapshot, BudgetUnit, BudgetWindow
from tidegate.core.domain.demand import FREE_OUTCOMES, Demand
from tidegate.stores.steps import End, Rejoin, Reserve, SetBudgets, Step

__all__ = ["BudgetShares", "as_reported", "in_period"]

_MOST_CALLS: Final = 20_000
"""So many calls that were admitted alone are remembered until they end. The shared log learns nothing of others."""


class BudgetShares:
    """Divides budgets by the number of replicas.

    A replica may spend an equal share of what was left, and what its own open leases have reserved. All the rest counts
    as spent. A new period is divided in the same way.

    Args:
        budgets: all budgets.
        left: what is left of them, by the last report.
        count: of replicas that share them.
    """

    def __init__(self, budgets: Sequence[BudgetWindow], left: Sequence[BudgetSnapshot], count: int) -> None:
        self._budgets = budgets
        self._left = left
        self._count = count
        self._calls: dict[str, Demand] = {}  # admitted alone, or waiting: by lease id

    def in_step(self, step: Step) -> Step:
        """The step for the pools of this replica: with its share, if it carries budgets.

        By the first one it states all that it has. The share in all budgets then goes along.
        """
        if isinstance(step, SetBudgets):
            return SetBudgets(self._shares(step.windows))
        if not isinstance(step, Rejoin):
            return step
        demands = [held.demand for held in step.leases]
        known = (
            structs.replace(share, spent=self._spent(window, demands))
            for share, window in zip(self._shares(self._budgets), self._budgets, strict=True)
        )
        others = (
            SetBudgets(self._shares(each.windows)) if isinstance(each, SetBudgets) else each for each in step.steps
        )
        return structs.replace(step, steps=(SetBudgets(tuple(known)), *others))

    def _shares(self, windows: Iterable[BudgetWindow]) -> tuple[BudgetWindow, ...]:
        """Budgets of which nothing is known but this: what is for the other replicas is set aside."""
        return tuple(
            structs.replace(each, spent=None, set_aside=each.rule.limit - each.rule.limit // self._count)
            for each in windows
        )

    def reserve(self, step: Reserve) -> None:
        """A call asks for admission, or waits for it since before the server was lost."""
        self._calls[step.lease_id] = step.demand
        if len(self._calls) > _MOST_CALLS:
            del self._calls[next(iter(self._calls))]

    def end(self, step: End) -> End:
        """The end of a lease for the shared log: if the log does not know the lease, it counts what was spent."""
        demand = self._calls.pop(step.lease_id, None)
        if demand is None or step.outcome in FREE_OUTCOMES:
            return step
        return structs.replace(
            step, spent=demand.spending if step.spent is None else step.spent, spender=demand.spender
        )

    def _spent(self, window: BudgetWindow, demands: Iterable[Demand]) -> dict[str, int]:
        """The spending of each subject that was reported in the present period, or is known from the ledger."""
        rule = window.rule
        own: dict[str, int] = {}
        for demand in demands:
            subject = rule.subject(demand.spender)
            if subject is not None and rule.is_for(demand.caller.label, demand.caller.team):
                spending = demand.spending
                own[subject] = own.get(subject, 0) + (
                    spending.micro_usd if rule.unit is BudgetUnit.USD else spending.tokens
                )
        left = {
            each.subject: each.remaining
            for each in self._left
            if each.rule.name == rule.name and each.ends == window.ends
        } or {subject: rule.limit - amount for subject, amount in (window.spent or {}).items()}
        return {
            subject: rule.limit - max(0, remaining) // self._count - own.get(subject, 0)
            for subject, remaining in left.items()
        }


def in_period(window: BudgetWindow, periods: Mapping[str, tuple[int, int | None]]) -> BudgetWindow:
    """The budget in its new period, if it is among these, as of `BudgetRule.calendar`."""
    starts, ends = periods.get(window.rule.calendar, (0, None))
    return structs.replace(window, starts=starts, ends=ends, spent=None) if starts > window.starts else window


def as_reported(windows: Iterable[BudgetWindow], left: Sequence[BudgetSnapshot]) -> tuple[BudgetWindow, ...]:
    """The budgets with what was spent by the last report, if there is one of the present period."""
    found = []
    for window in windows:
        reported = [each for each in left if each.rule.name == window.rule.name and each.ends == window.ends]
        spent = {each.subject: each.spent for each in reported} if reported else window.spent
        found.append(structs.replace(window, spent=spent))
    return tuple(found)
