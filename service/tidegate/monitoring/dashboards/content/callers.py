"""Dashboard "Callers": use, waits, refusals and spend by caller."""

from typing import Final

from tidegate.monitoring.dashboards import units
from tidegate.monitoring.dashboards.board import Board, Row
from tidegate.monitoring.dashboards.content.ledger import BUDGET_ROW, LEDGER_ROW
from tidegate.monitoring.dashboards.links import CALLERS, LIMITER, OVERVIEW
from tidegate.monitoring.dashboards.panel_types import timeseries
from tidegate.monitoring.dashboards.queries import (
    OTHERS,
    Query,
    increase,
    nonzero_per_minute,
    or_zero,
    quantile,
    rate,
    ratio,
    select,
    top,
    top_and_rest,
    total,
)
from tidegate.monitoring.dashboards.tables import Column, table
from tidegate.observe.metrics import catalogue, thresholds
from tidegate.observe.metrics.catalogue import Metric

__all__ = ["BUSIEST_CALLERS", "CALLERS_BOARD", "COST_OF_CALLERS"]

_CALLS: Final = rate(catalogue.REQUESTS)
_BY_CALLER: Final = increase(catalogue.REQUESTS, by="caller")
COST_OF_CALLERS: Final = f"{increase(catalogue.COST_USD, by='caller')} and {_BY_CALLER}"
"""Excludes configured callers without calls, whose counters are 0."""
# The same window as in the alert, whatever the dashboard's time range is.
_UNUSUAL: Final = (
    f"clamp_min({thresholds.SPEND_UNUSUAL_FACTOR:g} * max("
    f"3600 * {rate(catalogue.COST_USD, window=f'{thresholds.SPEND_BASELINE_SECONDS}s')}"
    f" or sum by (job) (increase({select(catalogue.COST_USD)}[{thresholds.SPEND_WINDOW_SECONDS}s]"
    f" offset {thresholds.SPEND_WEEK_SECONDS}s))),"
    f" {thresholds.SPEND_UNUSUAL_LEAST_USD_PER_HOUR:g})"
)

_MAX_SERIES: Final = 10
"""Graphs with more lines are unreadable. All other series are summed."""
_MAX_PAIRS: Final = 20
_MAX_ROWS: Final = 20
BUSIEST_CALLERS: Final = top(_MAX_ROWS, catalogue.REQUESTS, "caller")
"""The callers with most calls: the rows of tables."""


def _by_caller(expr: str, metric: Metric) -> list[Query]:
    top_series = top(_MAX_SERIES, metric, "caller")
    return top_and_rest(expr, "{{caller}}", by="caller", of=top_series)


def _by_caller_and(label: str, metric: Metric, **matchers: str) -> list[Query]:
    by = f"caller, {label}"
    legend = f"{{{{caller}}}} {{{{{label}}}}}"
    top_series = top(_MAX_PAIRS, metric, by, **matchers)
    series = nonzero_per_minute(metric, by, **matchers)
    return top_and_rest(series, legend, by=by, of=top_series, exemplars=metric is catalogue.REFUSED)


def _calls_with(outcome: str) -> str:
    return or_zero(increase(catalogue.REQUESTS, by="caller", outcome=outcome), _BY_CALLER)


_OUTCOMES: Final = {
    "refused": "Refused",
    "rate_limited": "429",
    "upstream_error": "Claude failed",
    "deadline": "Deadline",
    "client_error": "Invalid",
    "abandoned": "Abandoned",
}
"""Titles of the columns that explain why less than 100 % are answered."""

_WAITING: Final = (
    f"({total(catalogue.CALLER_WAITING, 'caller, limit')})"
    f" or 0 * sum by (caller, limit) (max_over_time({select(catalogue.CALLER_WAITING)}[$__range] @ end()))"
    f" and on () {select(catalogue.QUEUE_DEPTH)}"
)
"""A caller's series is absent while it does not wait: it is 0 then, unless the service is down."""
_LONGEST_WAITS: Final = top(_MAX_SERIES, catalogue.CALLER_WAIT, "caller", "_sum")


def _waits(expr: str, legend: str) -> list[Query]:
    """The callers that waited most in the time range, and all others together."""
    return [
        Query(f"({expr}) and on (caller) {_LONGEST_WAITS}", legend),
        Query(f"sum(({expr}) unless on (caller) {_LONGEST_WAITS})", OTHERS),
    ]


_WAITS: Final = Row(
    "Who waits",
    (
        timeseries(
            "Waiting, by caller and limit",
            "Waiting requests of the callers that waited most, and what the next request of their pool waits for: a"
            " dimension, acceleration, frozen (after a 429), outage, or caller_limit (the caller's own). One caller"
            " alone: its own load. All of them: the quota is too small, or see Limiter.",
            units.COUNT,
            _waits(_WAITING, "{{caller}}: {{limit}}"),
            LIMITER,
            stacked=True,
            no_value="Nobody waits",
        ),
        timeseries(
            "Wait until admitted, p95 by caller",
            "Of requests that had to wait. Near zero is good for interactive callers. A caller that waits much longer"
            " than others has a lower class or weight, a limit of its own, or sends more than its share. No alert looks"
            " at single callers.",
            units.SECONDS,
            [
                Query(
                    f"({quantile(0.95, catalogue.CALLER_WAIT, by='caller', end='admitted')})"
                    f" and on (caller) {_LONGEST_WAITS}",
                    "{{caller}}",
                )
            ],
            CALLERS.by("caller"),
            no_value="Nobody had to wait",
        ),
        timeseries(
            "Waits without admission, by caller",
            "Requests per minute that left the queue: refused, timed out or cancelled. They are in no other wait. None"
            " is good. Many of one caller: it sends far more than its share, or its timeout is too short.",
            units.PER_MINUTE,
            _waits(nonzero_per_minute(catalogue.CALLER_WAIT, "caller", suffix="_count", end="left"), "{{caller}}"),
            CALLERS.by("caller"),
            stacked=True,
            no_value="Every wait ended with admission",
        ),
        timeseries(
            "Active sessions",
            "Sessions of all callers with a request to Claude in the last 5 minutes. A jump while callers wait is a new"
            " fleet of agents: `tidegate usage --sessions` names the most expensive ones.",
            units.COUNT,
            [Query(f"sum({select(catalogue.SESSIONS_ACTIVE)})", "sessions")],
            LIMITER,
        ),
    ),
)

_TABLE: Final = Row(
    "Caller by caller",
    (
        table(
            "Callers in the time range",
            f"The {_MAX_ROWS} callers with most calls. Look for a caller that stands out in share, refusals, errors or"
            " cost, and click it. Deadline: no response in the time that the call had. `default` is all calls without a"
            " key, `other` all callers without a metric label of their own: `tidegate usage --by caller` and the page"
            " /usage show each of them.",
            {"caller": "Caller"},
            [
                Column("Calls", _BY_CALLER, units.EXACT_COUNT, decimals=0),
                Column(
                    "Share",
                    f"{_BY_CALLER} / scalar({increase(catalogue.REQUESTS)})",
                    units.SHARE,
                    decimals=1,
                    gauge=True,
                ),
                Column(
                    "Answered",
                    ratio(increase(catalogue.REQUESTS, by="caller", outcome="ok"), _BY_CALLER),
                    units.SHARE,
                    decimals=1,
                ),
                *(
                    Column(title, _calls_with(outcome), units.EXACT_COUNT, decimals=0)
                    for outcome, title in _OUTCOMES.items()
                ),
                Column("Input", increase(catalogue.TOKENS, by="caller", kind="!=output"), units.COUNT, decimals=1),
                Column("Output", increase(catalogue.TOKENS, by="caller", kind="output"), units.COUNT, decimals=1),
                Column("Cost", COST_OF_CALLERS, units.DOLLARS, decimals=2),
                Column(
                    "Cost per call",
                    f"{increase(catalogue.COST_USD, by='caller')} / ({_BY_CALLER} > 0)",
                    units.DOLLARS,
                    decimals=4,
                ),
            ],
            {"caller": CALLERS.by("caller")},
            OVERVIEW,
            sort_by="Calls",
            only=BUSIEST_CALLERS,
            height=8,
        ),
    ),
)

_SHARES: Final = Row(
    "Share and outcome",
    (
        timeseries(
            "Calls by caller",
            "Calls per second of the busiest callers. A step of one caller is a new job, or a loop.",
            units.PER_SECOND,
            _by_caller(rate(catalogue.REQUESTS, by="caller"), catalogue.REQUESTS),
            CALLERS.by("caller"),
            stacked=True,
        ),
        timeseries(
            "Tokens by caller",
            "Tokens per minute of the largest callers, including cache reads. While callers wait, shares should follow"
            " the weights; otherwise see Limiter.",
            units.TOKENS_PER_MINUTE,
            _by_caller(f"60 * {rate(catalogue.TOKENS, by='caller')}", catalogue.TOKENS),
            CALLERS.by("caller"),
            stacked=True,
        ),
        timeseries(
            "Unsuccessful calls",
            "Unsuccessful calls by caller and outcome. None is good. client_error: an error of the program. abandoned:"
            " the program's timeout is shorter than the wait.",
            units.PER_MINUTE,
            _by_caller_and("outcome", catalogue.REQUESTS, outcome="!=ok"),
            CALLERS.by("caller"),
            stacked=True,
            no_value="Every call succeeded",
        ),
        timeseries(
            "Refusals by caller and cause",
            "None is good. If only one caller is refused, check its limit, key or deadline. If all are, the quota is"
            " too small or Claude is down.",
            units.PER_MINUTE,
            _by_caller_and("cause", catalogue.REFUSED),
            CALLERS.by("caller"),
            stacked=True,
            no_value="No refusals",
        ),
    ),
)

_SPEND: Final = Row(
    "Spend",
    (
        timeseries(
            "Spend per hour, by caller",
            "US dollars at list prices, stacked by caller. A batch counts when its results are downloaded. Dashed: the"
            f" threshold of the alert on total spend: {thresholds.SPEND_UNUSUAL_FACTOR:g} times the average hour of the"
            " previous day, or the same hour of the previous week, and at least"
            f" ${thresholds.SPEND_UNUSUAL_LEAST_USD_PER_HOUR:g}.",
            units.DOLLARS,
            [
                *_by_caller(f"60 * {nonzero_per_minute(catalogue.COST_USD, by='caller')}", catalogue.COST_USD),
                Query(_UNUSUAL, "unusual from"),
            ],
            CALLERS.by("caller"),
            stacked=True,
            dashed="unusual from",
            width=24,
        ),
    ),
)

CALLERS_BOARD: Final = Board(
    CALLERS,
    "Which caller uses, waits, is refused or spends how much?",
    (_WAITS, _TABLE, _SHARES, _SPEND, BUDGET_ROW, LEDGER_ROW),
)
