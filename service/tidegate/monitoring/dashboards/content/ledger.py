"""The row of the dashboard "Callers" on the ledger, the database of usage."""

from typing import Final

from tidegate.monitoring.dashboards import units
from tidegate.monitoring.dashboards.board import Row
from tidegate.monitoring.dashboards.links import OVERVIEW
from tidegate.monitoring.dashboards.panel_types import states, timeseries
from tidegate.monitoring.dashboards.queries import Query, rate, select
from tidegate.observe.metrics import catalogue, thresholds

__all__ = ["LEDGER_ROW"]

_NO_LEDGER: Final = "No ledger"
_INSTANCE: Final = "{{instance}}"

LEDGER_ROW: Final = Row(
    "Is usage kept?",
    (
        states(
            "Ledger",
            "Whether the last write of usage succeeded. A write that failed is repeated, and usage waits in memory.",
            [Query(f"max by (instance) ({select(catalogue.LEDGER_UP)})", _INSTANCE)],
            OVERVIEW,
            width=6,
            names={0: ("fails", units.CRITICAL), 1: ("written", units.GOOD)},
            no_value=_NO_LEDGER,
        ),
        timeseries(
            "Age of unwritten usage",
            "Usage that is only in memory is lost if the process is killed. Below 1 s is good.",
            units.SECONDS,
            [Query(f"max by (instance) ({select(catalogue.LEDGER_UNWRITTEN)})", _INSTANCE)],
            OVERVIEW,
            width=6,
            limits=((thresholds.LEDGER_UNWRITTEN_SECONDS, units.WARNING),),
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
            width=6,
            no_value=_NO_LEDGER,
        ),
        timeseries(
            "Paused",
            "Callers, keys, teams, sessions and pools that an admin has paused: their calls are refused.",
            units.COUNT,
            [Query(f"max by (kind) ({select(catalogue.PAUSED)})", "{{kind}}")],
            OVERVIEW,
            width=6,
            no_value=_NO_LEDGER,
        ),
    ),
)
