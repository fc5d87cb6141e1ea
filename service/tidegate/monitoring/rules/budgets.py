"""Alerts on budgets. Without any, none of their metrics has a sample."""

from typing import Final

from tidegate.monitoring.dashboards.links import CALLERS
from tidegate.monitoring.rules.rule import Alert, Group
from tidegate.observe.metrics import catalogue, thresholds

__all__ = ["BUDGETS"]

_BY: Final = "max by (job, budget)"
_SHARE: Final = f"{_BY} ({catalogue.BUDGET_SPENT.name})\n  / {_BY} ({catalogue.BUDGET_LIMIT.name})"
_USED_UP: Final = f"{_BY} ({catalogue.BUDGET_USED_UP.name})"
_KEEP_FIRING_SECONDS: Final = 300
"""A service that has just started does not know yet what was spent before."""

BUDGETS: Final = Group(
    "tidegate-budgets",
    (
        Alert(
            name="TidegateBudgetLow",
            severity="warning",
            # The second condition leaves out budgets of each session: sessions end, whatever they have spent.
            expr=f"{_SHARE} >= {thresholds.BUDGET_LOW_SHARE}\nand {_USED_UP} >= 0",
            for_seconds=0,
            keep_firing_seconds=_KEEP_FIRING_SECONDS,
            summary="A budget is nearly used up.",
            description=(
                "{{ $value | humanizePercentage }} of the budget {{ $labels.budget }} is spent in its present period "
                f"(threshold: {thresholds.BUDGET_LOW_SHARE:.0%})."
            ),
            dashboard=CALLERS,
        ),
        Alert(
            name="TidegateBudgetUsedUp",
            severity="warning",
            expr=f"{_SHARE}\nand {_USED_UP} > 0",
            for_seconds=0,
            keep_firing_seconds=_KEEP_FIRING_SECONDS,
            summary="A budget is used up.",
            description=(
                "{{ $value | humanizePercentage }} of the budget {{ $labels.budget }} is spent, and the rest does not "
                "suffice for its calls. They are refused until its next period, unless its `on_exceed` says otherwise."
            ),
            dashboard=CALLERS,
        ),
    ),
)
