"""Dashboard "SLO": service level objectives, error budgets and use of the quota."""

from collections.abc import Callable
from typing import Final

from tidegate.monitoring.dashboards import units
from tidegate.monitoring.dashboards.board import Board, Row
from tidegate.monitoring.dashboards.links import CALLERS, LIMITER, MODELS, OVERVIEW, SLO, Link
from tidegate.monitoring.dashboards.panel_types import stat, timeseries
from tidegate.monitoring.dashboards.panels import Panel, Step
from tidegate.monitoring.dashboards.queries import (
    Query,
    availability,
    increase,
    nonzero_per_minute,
    rate,
    ratio,
    recorded,
)
from tidegate.monitoring.rules.recording import QUOTA_USED, bad_share
from tidegate.monitoring.rules.rule import duration
from tidegate.observe.metrics import catalogue, thresholds

__all__ = ["SLO_BOARD"]

_TARGETS: Final = {"availability": thresholds.AVAILABILITY_TARGET, "latency": thresholds.LATENCY_TARGET}
_OUR_FAULT: Final = "=~store_unavailable|ledger_unavailable|upstream_credentials|upstream_outage"
_OBJECTIVE: Final = str(thresholds.LATENCY_OBJECTIVE_SECONDS)
_WITHIN: Final = f"{thresholds.LATENCY_OBJECTIVE_SECONDS:g} s"
_BY_JOB: Final = "Of several jobs, the worst; not filtered by instance."
"""Recording rules add up the replicas of each job."""
_BUDGET_STEPS: Final[tuple[Step, ...]] = ((None, units.CRITICAL), (0.0, units.GOOD))
"""Red when the budget is spent. Alerts watch the burn rate, which has its own panels."""


def _admitted_in_time(over: Callable[..., str], by: str = "") -> str:
    """The share of admissions within the objective; leaves out class batch and callers that flood a pool.

    `over` is `rate` or `increase`.
    """

    def counted(**matchers: str) -> str:
        waits = over(catalogue.QUEUE_WAIT, by=by, class_="!=batch", **matchers)
        return f"({waits} - {over(catalogue.EXCESS_WAIT, by=by, **matchers)})"

    return ratio(counted(suffix="_bucket", le=_OBJECTIVE), counted(suffix="_count"))


def _objective_steps(objective: str) -> tuple[Step, ...]:
    return (None, units.CRITICAL), (_TARGETS[objective], units.GOOD)


def _budget_panel(title: str, objective: str, description: str, link: Link) -> Panel:
    return stat(
        title,
        f"Remaining share of the 30-day budget for {description} {_BY_JOB}",
        units.SHARE,
        Query(f"min({recorded(f'tidegate:{objective}_budget:remaining30d')})"),
        link,
        steps=_BUDGET_STEPS,
        width=6,
        decimals=1,
        no_value="Rules not loaded",
    )


def _burn(objective: str, window_seconds: int) -> str:
    """The burn rate: 1 spends the budget in exactly its period. It is absent without calls, instead of NaN."""
    return f"(max({recorded(bad_share(objective, window_seconds))}) >= 0) / {1 - _TARGETS[objective]:.4g}"


def _burn_panel(objective: str) -> Panel:
    return timeseries(
        f"Burn rate: {objective}",
        "1 spends the 30-day budget in 30 days. Below 1 is good. Dashed: the factors of the alerts. An alert fires"
        f" while both of its windows are above its factor; the longer ones are drawn. {_BY_JOB}",
        units.RATIO,
        [
            Query(_burn(objective, burn.long_seconds), f"{duration(burn.long_seconds)}: alert above {burn.factor:g}")
            for burn in thresholds.BURN_WINDOWS
        ],
        OVERVIEW,
        limits=tuple(
            (burn.factor, units.CRITICAL if burn.severity == "critical" else units.WARNING)
            for burn in sorted(thresholds.BURN_WINDOWS, key=lambda burn: burn.factor)
        ),
        no_value="No traffic, or the recording rules are not loaded",
    )


_PROMISE: Final = Row(
    "Are the objectives met?",
    (
        stat(
            "Answered",
            f"Share of calls that succeeded; the objective is {thresholds.AVAILABILITY_TARGET:.1%}. Excludes invalid,"
            " abandoned and refused calls, and 429s of Claude.",
            units.SHARE,
            Query(availability(increase), instant=True),
            OVERVIEW,
            steps=_objective_steps("availability"),
            width=6,
            decimals=2,
            no_value="No traffic",
        ),
        _budget_panel(
            "Error budget left",
            "availability",
            "availability, from the recording rules. Above zero is good. If it is spent, avoid risky changes until it"
            " has recovered.",
            OVERVIEW,
        ),
        stat(
            f"Admitted within {_WITHIN}",
            "Share of admissions in the time range, excluding class batch and the waits of callers that flood a pool;"
            f" the objective is {thresholds.LATENCY_TARGET:.0%}.",
            units.SHARE,
            Query(_admitted_in_time(increase), instant=True),
            LIMITER,
            steps=_objective_steps("latency"),
            width=6,
            decimals=2,
            no_value="No traffic",
        ),
        _budget_panel(
            "Latency budget left",
            "latency",
            "queue wait, from the recording rules. Above zero is good. If it is spent, the quota is too small for the"
            " demand, or a limit is wrong.",
            LIMITER,
        ),
    ),
)

_BURN: Final = Row(
    "How fast is the budget spent?",
    (*(_burn_panel(objective) for objective in _TARGETS),),
)

_CAUSES: Final = Row(
    "What spends the budget",
    (
        timeseries(
            "Calls that spend the error budget",
            "None is good. upstream_error: Claude failed, and retries did not help. The others are causes of refusals"
            " that count as failures of the service.",
            units.PER_MINUTE,
            [
                Query(
                    nonzero_per_minute(catalogue.REQUESTS, by="pool", outcome="upstream_error", caller=""),
                    "{{pool}} upstream_error",
                ),
                Query(
                    nonzero_per_minute(catalogue.REFUSED, by="pool, cause", cause=_OUR_FAULT, caller=""),
                    "{{pool}} {{cause}}",
                ),
            ],
            MODELS.by("pool"),
            stacked=True,
            shades={
                "/ upstream_error$/": units.FAILED,
                "/ upstream_(credentials|outage)$/": units.OVERLOADED,
                "/ (store|ledger)_unavailable$/": units.WARNING,
            },
            no_value="No bad calls",
        ),
        timeseries(
            f"Admitted within {_WITHIN}, by class",
            f"Share of admissions. Above the line ({thresholds.LATENCY_TARGET:.0%}) is good. Excludes class batch,"
            " which is meant to wait, and the waits of callers that flood a pool.",
            units.SHARE,
            [Query(_admitted_in_time(rate, by="class"), "{{class}}")],
            CALLERS,
            colours=units.CLASSES,
            max_value=1,
            limits=((thresholds.LATENCY_TARGET, units.GOOD),),
            calculations=("min", "lastNotNull"),
            no_value="No traffic",
        ),
    ),
)

_QUOTA: Final = Row(
    "Is the paid quota used?",
    (
        timeseries(
            "Share of the paid quota used",
            "Share of the quota granted by Claude's limits, over five minutes. High is good as long as calls do not"
            " wait long. Low while calls wait: a configured limit is too low. Above the line, the queue grows."
            f" {_BY_JOB}",
            units.SHARE,
            [Query(f"max by (pool, dimension) ({recorded(QUOTA_USED, 'pool')})", "{{pool}} {{dimension}}")],
            LIMITER.by("pool"),
            limits=((thresholds.QUOTA_USED_RUNS_OUT, units.CRITICAL),),
            height=10,
            no_value="No limit is known, or the recording rules are not loaded",
        ),
        timeseries(
            f"Predicted share in {thresholds.QUOTA_AHEAD_SECONDS // 60} minutes",
            "Extrapolates the growth of the last hour, from 0 to 200 %. Below the line is good. Above, the quota runs"
            " out soon: ask for a higher limit, or stop work that can wait. The alert also needs a used share above"
            f" {thresholds.QUOTA_USED_RISKY:.0%} now. {_BY_JOB}",
            units.SHARE,
            [
                Query(
                    "max by (pool, dimension) (clamp(predict_linear("
                    f"{recorded(QUOTA_USED, 'pool')}[{thresholds.QUOTA_TREND_SECONDS}s],"
                    f" {thresholds.QUOTA_AHEAD_SECONDS}), 0, 2))",
                    "{{pool}} {{dimension}}",
                )
            ],
            LIMITER.by("pool"),
            limits=((thresholds.QUOTA_USED_RUNS_OUT, units.CRITICAL),),
            height=10,
            no_value="No limit is known, or the recording rules are not loaded",
        ),
    ),
)

SLO_BOARD: Final = Board(
    SLO,
    "Are the objectives met, and is the quota used?",
    (_PROMISE, _BURN, _CAUSES, _QUOTA),
    time_from="now-24h",
)
