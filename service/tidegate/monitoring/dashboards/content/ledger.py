"""The rows of the dashboard "Callers" on budgets, and on the ledger, the database of usage."""

from typing import Final

from tidegate.monitoring.dashboards import units
from tidegate.monitoring.dashboards.board import Row
from tidegate.monitoring.dashboards.links import OVERVIEW
from tidegate.monitoring.dashboards.panel_types import states, timeseries
from tidegate.monitoring.dashboards.queries import Query, rate, select
from tidegate.observe.metrics import catalogue, thresholds

__all__ = ["BUDGET_ROW", "LEDGER_ROW"]

_NO_LEDGER: Final = "No ledger"
_NO_BUDGETS: Final = "No budgets"
_INSTANCE: Final = "{{instance}}"

BUDGET_ROW: Final = Row(
    "How much is left of the budgets?",
    (
        timeseries(
            "Left of each budget",
            "The share that is neither spent nor reserved. Of a budget for each of many, that with the least left.",
            units.SHARE,
            [Query(f"min by (budget) ({select(catalogue.BUDGET_REMAINING)})", "{{budget}}")],
            OVERVIEW,
            width=8,
            no_value=_NO_BUDGETS,
        ),
        timeseries(
            "Spent of each budget",
            "In the present period, in US dollars or tokens. The line falls to 0 where the next period begins.",
            units.COUNT,
            [
                Query(f"max by (budget, unit) ({select(catalogue.BUDGET_SPENT)})", "{{budget}} ({{unit}})"),
                Query(f"max by (budget, unit) ({select(catalogue.BUDGET_LIMIT)})", "limit of {{budget}} ({{unit}})"),
            ],
            OVERVIEW,
            width=8,
            no_value=_NO_BUDGETS,
        ),
        states(
            "Budgets that are used up",
            "Spent, or with too little left for a call that was refused. Budgets of each session are left out.",
            [Query(f"max by (budget) ({select(catalogue.BUDGET_USED_UP)})", "{{budget}}")],
            OVERVIEW,
            width=8,
            names={0: ("has some left", units.GOOD), 1: ("used up", units.WARNING)},
            no_value=_NO_BUDGETS,
        ),
    ),
)
LEDGER_ROW: Final = Row(
    "Is usage kept?",
    (
        states(
            "Ledger",
            "Whether usage is written. Late: some has been in memory alone for a minute, and is lost if the process is"
            " killed. Fails: the last write failed, and is repeated.",
            [
                Query(
                    f"2 * (1 - max by (instance) ({select(catalogue.LEDGER_UP)})) > 0"
                    f" or max by (instance) ({select(catalogue.LEDGER_UNWRITTEN)})"
                    f" >bool {thresholds.LEDGER_UNWRITTEN_SECONDS}",
                    _INSTANCE,
                )
            ],
            OVERVIEW,
            width=8,
            names={0: ("written", units.GOOD), 1: ("late", units.WARNING), 2: ("fails", units.CRITICAL)},
            no_value=_NO_LEDGER,
        ),
        timeseries(
            "Failed writes and lost usage",
            "Failed writes are repeated. Lost: ends of calls and answers that the ledger misses; none is good.",
            units.PER_MINUTE,
            [
                Query(f"60 * {rate(catalogue.LEDGER_WRITE_FAILURES)}", "failed writes"),
                Query(f"60 * {rate(catalogue.LEDGER_LOST)}", "lost"),
            ],
            OVERVIEW,
            width=8,
            no_value=_NO_LEDGER,
        ),
        timeseries(
            "Paused",
            "Callers, keys, teams, sessions and pools that an admin has paused: their calls are refused.",
            units.COUNT,
            [Query(f"max by (kind) ({select(catalogue.PAUSED)})", "{{kind}}")],
            OVERVIEW,
            width=8,
            no_value=_NO_LEDGER,
        ),
    ),
)
