"""Callers: who uses what, who waits, who is refused, who spends?"""

from typing import Final

from tidegate.monitoring.dashboards import levels, units
from tidegate.monitoring.dashboards.board import Board, Row
from tidegate.monitoring.dashboards.links import CALLERS, LIMITER, MODELS, OVERVIEW
from tidegate.monitoring.dashboards.panel_types import stat, timeseries
from tidegate.monitoring.dashboards.queries import (
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
)
from tidegate.monitoring.dashboards.tables import Column, table
from tidegate.observe.metrics import catalogue, thresholds
from tidegate.observe.metrics.catalogue import Metric

__all__ = ["BUSIEST_CALLER", "BUSIEST_CALLERS", "CALLERS_BOARD", "CALLER_COLUMNS", "COST_OF_CALLERS"]

_CALLS: Final = rate(catalogue.REQUESTS)
_BY_CALLER: Final = increase(catalogue.REQUESTS, by="caller")
COST_OF_CALLERS: Final = f"{increase(catalogue.COST_USD, by='caller')} and {_BY_CALLER}"
"""Callers that are configured, but do not call, have a counter at 0, too."""
# What is usual is told by the same window as in the alert, whatever the time range.
_UNUSUAL: Final = (
    f"clamp_min({thresholds.SPEND_UNUSUAL_FACTOR:g} * max("
    f"3600 * {rate(catalogue.COST_USD, window=f'{thresholds.SPEND_BASELINE_SECONDS}s')}"
    f" or sum by (job) (increase({select(catalogue.COST_USD)}[{thresholds.SPEND_WINDOW_SECONDS}s]"
    f" offset {thresholds.SPEND_WEEK_SECONDS}s))),"
    f" {thresholds.SPEND_UNUSUAL_LEAST_USD_PER_HOUR:g})"
)

_MOST_SERIES: Final = 10
"""More lines than these nobody tells apart; the others are one."""
_MOST_PAIRS: Final = 20
_MOST_ROWS: Final = 20
BUSIEST_CALLERS: Final = top(_MOST_ROWS, catalogue.REQUESTS, "caller")
"""Rows of tables: who makes most calls."""


def _by_caller(expr: str, metric: Metric) -> list[Query]:
    greatest_ones = top(_MOST_SERIES, metric, "caller")
    return top_and_rest(expr, "{{caller}}", by="caller", of=greatest_ones, rest="further callers")


def _by_caller_and(label: str, metric: Metric, **matchers: str) -> list[Query]:
    by = f"caller, {label}"
    legend = f"{{{{caller}}}} {{{{{label}}}}}"
    greatest_ones = top(_MOST_PAIRS, metric, by, **matchers)
    series = nonzero_per_minute(metric, by, **matchers)
    return top_and_rest(series, legend, by=by, of=greatest_ones, rest="others", exemplars=metric is catalogue.REFUSED)


BUSIEST_CALLER: Final = stat(
    "Busiest caller",
    "Who makes most calls, and which share of all. Far above its usual share while others wait is a flood: talk to"
    " its owner, or lower its weight.",
    units.SHARE,
    Query(f"topk(1, {rate(catalogue.REQUESTS, by='caller')} / scalar({_CALLS}))", "{{caller}}", instant=True),
    CALLERS.by("caller"),
    named=True,
    no_value="No traffic",
    decimals=0,
)
"""Names the one caller that it may be."""

CALLER_COLUMNS: Final = (
    Column("Calls", _BY_CALLER, units.EXACT_COUNT, decimals=0),
    Column("Share", f"{_BY_CALLER} / scalar({increase(catalogue.REQUESTS)})", units.SHARE, decimals=1, gauge=True),
    Column(
        "Answered", ratio(increase(catalogue.REQUESTS, by="caller", outcome="ok"), _BY_CALLER), units.SHARE, decimals=1
    ),
    Column("Refused", or_zero(increase(catalogue.REFUSED, by="caller"), _BY_CALLER), units.EXACT_COUNT, decimals=0),
    Column(
        "Upstream errors",
        or_zero(increase(catalogue.REQUESTS, by="caller", outcome="upstream_error"), _BY_CALLER),
        units.EXACT_COUNT,
        decimals=0,
    ),
)
"""How each caller fares in the time range."""

_NOW: Final = Row(
    "All chosen callers",
    (
        stat(
            "Calls",
            "Calls per second. Compare with the same time of other days.",
            units.PER_SECOND,
            Query(_CALLS),
            OVERVIEW,
        ),
        BUSIEST_CALLER,
        stat(
            "Refused",
            "Share of calls that Tidegate refused. Zero is good; the causes are below.",
            units.SHARE,
            Query(ratio(rate(catalogue.REFUSED), _CALLS)),
            LIMITER,
            steps=levels.REFUSED,
            no_value="No traffic",
            decimals=1,
        ),
        stat(
            "Tokens",
            "All kinds, per minute, cache reads included. Compare with the same time of other days.",
            units.TOKENS_PER_MINUTE,
            Query(f"60 * {rate(catalogue.TOKENS)}"),
            MODELS,
        ),
        stat(
            "Spend per hour",
            "At list prices, at the present pace. Orange: above what the alert takes for unusual at the least;"
            " compare with the days before in Spend per hour, by caller.",
            units.DOLLARS,
            Query(f"3600 * {rate(catalogue.COST_USD)}"),
            MODELS,
            steps=levels.rising(thresholds.SPEND_UNUSUAL_LEAST_USD_PER_HOUR),
            decimals=2,
        ),
        stat(
            "Spent",
            "In the time range, at list prices. Tokens of models without a known price are not in it: see Models and"
            " upstream. What a batch used is in it from when its results were downloaded.",
            units.DOLLARS,
            Query(increase(catalogue.COST_USD), instant=True),
            MODELS,
            decimals=2,
        ),
    ),
)

_TABLE: Final = Row(
    "Caller by caller",
    (
        table(
            "Callers in the time range",
            "A caller that stands out in share, refusals, errors or cost is where to look; a click shows it alone. The"
            f" {_MOST_ROWS} that call most are here. `other` are all without a name in the configuration, `default` all"
            " without a key.",
            {"caller": "Caller"},
            [
                *CALLER_COLUMNS,
                Column(
                    "Abandoned",
                    or_zero(increase(catalogue.REQUESTS, by="caller", outcome="abandoned"), _BY_CALLER),
                    units.EXACT_COUNT,
                    decimals=0,
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
            "Who asks how much; the greatest by name. Even use is good; a step of one caller is a new job, or a loop.",
            units.PER_SECOND,
            _by_caller(rate(catalogue.REQUESTS, by="caller"), catalogue.REQUESTS),
            CALLERS.by("caller"),
            stacked=True,
        ),
        timeseries(
            "Tokens by caller",
            "Who uses how much of the quota, cache reads included; the greatest by name. Shares that follow the weights"
            " while callers wait are good; else see the limiter.",
            units.TOKENS_PER_MINUTE,
            _by_caller(f"60 * {rate(catalogue.TOKENS, by='caller')}", catalogue.TOKENS),
            CALLERS.by("caller"),
            stacked=True,
        ),
        timeseries(
            "Calls that were not answered",
            "By caller and outcome. Nothing is good. client_error: the program's own mistake. abandoned: its timeout"
            " is shorter than the wait.",
            units.PER_MINUTE,
            _by_caller_and("outcome", catalogue.REQUESTS, outcome="!=ok"),
            CALLERS.by("caller"),
            stacked=True,
            shades={
                "/ refused$/": units.REFUSED,
                "/ upstream_error$/": units.FAILED,
                "/ rate_limited$/": units.LIMITED,
                "/ client_error$/": units.NEUTRAL,
                "/ abandoned$/": units.UNKNOWN,
            },
            no_value="Every call was answered",
        ),
        timeseries(
            "Refusals by caller and cause",
            "Nothing is good. Of one caller only: its own limit, key or deadline. Of all: the quota is too small, or"
            " Claude is down.",
            units.PER_MINUTE,
            _by_caller_and("cause", catalogue.REFUSED),
            CALLERS.by("caller"),
            stacked=True,
            shades={f"/ {cause}$/": colour for cause, colour in units.CAUSES.items()},
            no_value="Nothing was refused",
        ),
    ),
)

_WAIT_AND_SPEND: Final = Row(
    "Wait and spend",
    (
        timeseries(
            "Wait of callers, by priority class",
            "Callers have a priority, and wait in its class; the wait of a single caller is no metric. Near zero is"
            " good for interactive callers; batch may wait.",
            units.SECONDS,
            [
                Query(quantile(0.5, catalogue.QUEUE_WAIT, by="class"), "{{class}} p50"),
                Query(quantile(0.95, catalogue.QUEUE_WAIT, by="class"), "{{class}} p95", exemplars=True),
            ],
            LIMITER,
            shades={f"/^{priority} /": colour for priority, colour in units.CLASSES.items()},
            limits=((thresholds.QUEUE_WAIT_P95_WARNING_SECONDS, units.WARNING),),
        ),
        timeseries(
            "Spend per hour, by caller",
            "US dollars at list prices, one caller on top of the other; what a batch used comes when its results are"
            " downloaded. Dashed: where the alert on all of"
            f" them begins, {thresholds.SPEND_UNUSUAL_FACTOR:g} times the average hour of the day before or the same"
            f" hour of the week before, at least ${thresholds.SPEND_UNUSUAL_LEAST_USD_PER_HOUR:g}.",
            units.DOLLARS,
            [
                *_by_caller(f"60 * {nonzero_per_minute(catalogue.COST_USD, by='caller')}", catalogue.COST_USD),
                Query(_UNUSUAL, "unusual from"),
            ],
            CALLERS.by("caller"),
            stacked=True,
            dashed="unusual from",
        ),
    ),
)

CALLERS_BOARD: Final = Board(
    CALLERS, "Who uses what, who waits, who is refused, who spends?", (_NOW, _TABLE, _SHARES, _WAIT_AND_SPEND)
)
