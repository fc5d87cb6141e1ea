"""The rows of the dashboard "Callers" on budgets, and on the ledger, the database of usage."""

from typing import Final

from tidegate.monitoring.dashboards import levels, units
from tidegate.monitoring.dashboards.board import Row
from tidegate.monitoring.dashboards.links import OVERVIEW
from tidegate.monitoring.dashboards.panel_types import states, timeseries
from tidegate.monitoring.dashboards.panels import Panel
from tidegate.monitoring.dashboards.queries import Query, rate, select
from tidegate.monitoring.dashboards.tables import Column, table
from tidegate.observe.metrics import catalogue, thresholds

__all__ = ["BUDGET_ROW", "LEDGER_ROW"]

_NO_LEDGER: Final = "No ledger"
_NO_BUDGETS: Final = "No budgets"
_INSTANCE: Final = "{{instance}}"

_BY_BUDGET: Final = "max by (budget, unit)"
_SPENT: Final = f"{_BY_BUDGET} ({select(catalogue.BUDGET_SPENT)})"
_LIMIT: Final = f"{_BY_BUDGET} ({select(catalogue.BUDGET_LIMIT)})"


def _spent_and_limit(words: str, unit: str, format_: str) -> Panel:
    spent, limit = (select(metric, unit=unit) for metric in (catalogue.BUDGET_SPENT, catalogue.BUDGET_LIMIT))
    return timeseries(
        f"Spent of budgets in {words}",
        "Solid: spent in the present period; it falls to 0 where the next period begins. Dashed: the limit.",
        format_,
        [
            Query(f"max by (budget) ({spent})", "{{budget}}"),
            Query(f"max by (budget) ({limit})", "limit of {{budget}}"),
        ],
        OVERVIEW,
        width=8,
        dashed="/^limit of /",
        no_value=f"No budgets in {words}",
    )


BUDGET_ROW: Final = Row(
    "How much is left of the budgets?",
    (
        table(
            "Budgets",
            "Of a budget for each of many, the one with the least left. Orange: the alert on low budgets fires. Left"
            " excludes what running calls have reserved. Resets in: until the next period; empty if there is none.",
            {"budget": "Budget", "unit": "Unit"},
            [
                Column("Limit", _LIMIT, units.COUNT, decimals=2),
                Column("Spent", _SPENT, units.COUNT, decimals=2),
                Column(
                    "Share spent",
                    f"{_SPENT} / {_LIMIT}",
                    units.SHARE,
                    steps=levels.rising(thresholds.BUDGET_LOW_SHARE),
                    decimals=1,
                    gauge=True,
                ),
                Column("Left", f"min by (budget) ({select(catalogue.BUDGET_REMAINING)})", units.SHARE, decimals=1),
                Column("Resets in", f"min by (budget) ({select(catalogue.BUDGET_ENDS)}) - time()", units.SECONDS),
            ],
            {},
            OVERVIEW,
            sort_by="Share spent",
            height=7,
            no_value=_NO_BUDGETS,
        ),
        _spent_and_limit("US dollars", "usd", units.DOLLARS),
        _spent_and_limit("tokens", "tokens", units.COUNT),
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
