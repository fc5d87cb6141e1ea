"""Alerts on budgets. Without any, none of their metrics has a sample."""

from typing import Final

from tidegate.monitoring.dashboards.links import CALLERS
from tidegate.monitoring.rules.rule import Alert, Group, duration
from tidegate.observe.metrics import catalogue, thresholds

__all__ = ["BUDGETS"]

_BY: Final = "max by (job, budget)"
_SHARE: Final = f"{_BY} ({catalogue.BUDGET_SPENT.name})\n  / {_BY} ({catalogue.BUDGET_LIMIT.name})"
_USED_UP: Final = f"{_BY} ({catalogue.BUDGET_USED_UP.name})"
_PACE: Final = duration(thresholds.BUDGET_PACE_SECONDS)
_SECONDS_LEFT: Final = (
    f"{_BY} ({catalogue.BUDGET_LIMIT.name} - {catalogue.BUDGET_SPENT.name})\n"
    # Not `increase`: a service that has just started shows 0 for a moment, and then all that was spent.
    f"  / ({_BY} (delta({catalogue.BUDGET_SPENT.name}[{_PACE}])) / {thresholds.BUDGET_PACE_SECONDS})"
)
"""Negative in the hour in which a period begins."""
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
            name="TidegateBudgetRunsOut",
            severity="warning",
            expr=(
                f"0 < {_SECONDS_LEFT}\n  < {thresholds.BUDGET_AHEAD_SECONDS}\n"
                # A budget that lasts until its next period is enough.
                f"unless on (job, budget) {_SECONDS_LEFT}\n"
                f"  >= on (job, budget) {_BY} ({catalogue.BUDGET_ENDS.name}) - time()\n"
                f"and {_USED_UP} >= 0"
            ),
            for_seconds=600,
            keep_firing_seconds=_KEEP_FIRING_SECONDS,
            summary="A budget will soon be used up.",
            description=(
                f"At the pace of the last {_PACE}, the budget {{{{ $labels.budget }}}} lasts for another "
                "{{ $value | humanizeDuration }}, which ends before its period does."
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
