"""Overview: is it us, Claude, or one caller?"""

from typing import Final

from tidegate.monitoring.dashboards import levels, units
from tidegate.monitoring.dashboards.board import Board, Row
from tidegate.monitoring.dashboards.callers import BUSIEST_CALLER, BUSIEST_CALLERS, CALLER_COLUMNS, COST_OF_CALLERS
from tidegate.monitoring.dashboards.links import CALLERS, LIMITER, MODELS, OVERVIEW, SLO
from tidegate.monitoring.dashboards.panel_types import stat, states, timeseries
from tidegate.monitoring.dashboards.queries import (
    Query,
    increase,
    nonzero_per_minute,
    quantile,
    rate,
    ratio,
    select,
    shared,
    total,
)
from tidegate.monitoring.dashboards.tables import Column, table
from tidegate.observe.metrics import catalogue, thresholds

__all__ = ["OVERVIEW_BOARD"]

_STATES: Final = {0: ("fine", units.GOOD), 1: ("degraded", units.WARNING), 2: ("bad", units.CRITICAL)}
_UP: Final = 'up{job=~"$job",instance=~"$instance"}'
_FIRING: Final = (
    'label_replace(label_join(ALERTS{job=~"$job",alertname=~"Tidegate.+",alertstate="firing"},'
    ' "about", " ", "class", "dimension", "cause", "model", "route", "window", "instance"),'
    ' "about", "", "about", " *")'
)
"""`about` is what tells alerts of one name apart, beside their pool."""
_CALLS: Final = rate(catalogue.REQUESTS)
_ATTEMPTS: Final = rate(catalogue.UPSTREAM_ATTEMPTS)
_OTHER_FAILURES: Final = "=~50.|error"
"""Of Claude, 529 aside, which has a number of its own."""
_NOT_BATCH: Final = "!=batch"

_LIMITED_SHARE: Final = ratio(rate(catalogue.UPSTREAM_ATTEMPTS, status="429"), _ATTEMPTS)
_OVERLOADED_SHARE: Final = ratio(rate(catalogue.UPSTREAM_ATTEMPTS, status="529"), _ATTEMPTS)
_FAILED_SHARE: Final = ratio(rate(catalogue.UPSTREAM_ATTEMPTS, status=_OTHER_FAILURES), _ATTEMPTS)
_ANSWERED_SHARE: Final = ratio(
    rate(catalogue.REQUESTS, outcome="ok"), rate(catalogue.REQUESTS, outcome="=~ok|upstream_error")
)
_REFUSED_SHARE: Final = ratio(rate(catalogue.REFUSED), _CALLS)
_WAIT_P95: Final = quantile(0.95, catalogue.QUEUE_WAIT, class_=_NOT_BATCH)


def _state(value: str, degraded: float, bad: float) -> str:
    return f"({value} >bool {degraded:g}) + ({value} >bool {bad:g})"


_HEALTH: Final = (
    Query(
        f"max(2 * (1 - {_UP})"
        f" or ({quantile(0.99, catalogue.OVERHEAD)} >bool {thresholds.OVERHEAD_P99_SECONDS:g})"
        f" or ({quantile(0.99, catalogue.EVENT_LOOP_LAG)} >bool {thresholds.LOOP_LAG_P99_SECONDS:g}))",
        "Us: process",
    ),
    Query(
        _state(_WAIT_P95, thresholds.QUEUE_WAIT_P95_WARNING_SECONDS, thresholds.QUEUE_WAIT_P95_CRITICAL_SECONDS),
        "Us: queue",
    ),
    Query(f"{_REFUSED_SHARE} >bool {thresholds.REFUSED_SHARE:g}", "Us: refusals"),
    Query(
        _state(_LIMITED_SHARE, thresholds.RATE_LIMITED_SHARE_WARNING, thresholds.RATE_LIMITED_SHARE_CRITICAL),
        "Claude: 429",
    ),
    Query(
        _state(_OVERLOADED_SHARE, thresholds.OVERLOADED_SHARE_WARNING, thresholds.OVERLOADED_SHARE_CRITICAL),
        "Claude: 529",
    ),
    Query(
        _state(_FAILED_SHARE, thresholds.UPSTREAM_ERROR_SHARE_WARNING, thresholds.UPSTREAM_ERROR_SHARE_CRITICAL),
        "Claude: other errors",
    ),
)

_NOW: Final = Row(
    "Is it us, Claude, or one caller?",
    (
        states(
            "Health",
            "Green is good. Each row turns orange and red at the numbers of the alerts. Rows of ours: look at the"
            " Limiter dashboard. Rows of Claude: look at Models and upstream, and at status.claude.com. No row in"
            " colour, but complaints: look for one caller in the table below.",
            _HEALTH,
            LIMITER,
            names=_STATES,
            width=13,
            height=8,
            no_value="No traffic",
        ),
        table(
            "Firing alerts",
            "Good is none. Each alert links to its runbook, which says what to do.",
            {"alertname": "Alert", "severity": "Severity", "pool": "Pool", "about": "About"},
            [Column("Firing", f"sum by (alertname, severity, pool, about) ({_FIRING})", units.COUNT)],
            {"pool": LIMITER.by("pool")},
            LIMITER,
            sort_by="Severity",
            descending=False,  # critical comes first in the alphabet, too
            wide=("alertname",),
            words={"severity": {"critical": units.CRITICAL, "warning": units.WARNING, "info": units.NEUTRAL}},
            width=11,
            height=8,
            no_value="No alert fires",
        ),
        stat(
            "Calls",
            "Calls of programs per second, all outcomes. Compare with the same time of other days; a sudden zero is a"
            " fault in front of Tidegate.",
            units.PER_SECOND,
            Query(_CALLS),
            CALLERS,
        ),
        stat(
            "Answered",
            "Share of calls that got an answer; those rightly refused, wrong or given up by their client do not count."
            " Below the objective the error budget shrinks: see SLO.",
            units.SHARE,
            Query(_ANSWERED_SHARE),
            SLO,
            steps=((None, units.CRITICAL), (thresholds.AVAILABILITY_TARGET, units.GOOD)),
            no_value="No traffic",
            decimals=1,
        ),
        stat(
            "Queue wait, p95",
            "Wait for quota of 19 in 20 calls, batch class aside. Milliseconds, the lowest bucket of the histogram,"
            " are no wait; else see Limiter: which limit binds?",
            units.SECONDS,
            Query(_WAIT_P95),
            LIMITER,
            steps=levels.QUEUE_WAIT,
            no_value="No traffic",
        ),
        stat(
            "Refused by us",
            "Share of calls that Tidegate refused itself. Zero is good; else see the causes below.",
            units.SHARE,
            Query(_REFUSED_SHARE),
            LIMITER,
            steps=levels.REFUSED,
            no_value="No traffic",
            decimals=1,
        ),
        stat(
            "Claude: 429",
            "Share of attempts over Claude's limit. Next to zero is good: Tidegate should wait instead. Else something"
            " without Tidegate spends the same quota, or a limit was cut.",
            units.SHARE,
            Query(_LIMITED_SHARE),
            MODELS,
            steps=levels.LIMITED,
            no_value="No attempts",
            decimals=1,
        ),
        BUSIEST_CALLER,
    ),
)

_COURSE: Final = Row(
    "Rate, errors, duration",
    (
        timeseries(
            "Calls by outcome",
            "Good is mostly ok. refused: our own decision. rate_limited: a 429 of Claude that could not be waited out."
            " upstream_error: what was left after retries. client_error and abandoned are the programs' own.",
            units.PER_SECOND,
            [Query(rate(catalogue.REQUESTS, by="outcome"), "{{outcome}}")],
            CALLERS,
            stacked=True,
            colours={
                "ok": units.GOOD,
                "refused": units.REFUSED,
                "upstream_error": units.FAILED,
                "rate_limited": units.LIMITED,
                "client_error": units.NEUTRAL,
                "abandoned": units.UNKNOWN,
            },
        ),
        timeseries(
            "Duration of calls",
            "From arrival to the last byte, waiting for quota and writing the answer included. What answers of this"
            " length take is good; else see on Models and upstream which part grew. Diamonds are traced calls.",
            units.SECONDS,
            [
                Query(quantile(0.99, catalogue.REQUEST_DURATION), "p99", exemplars=True),
                Query(quantile(0.95, catalogue.REQUEST_DURATION), "p95"),
                Query(quantile(0.5, catalogue.REQUEST_DURATION), "p50"),
            ],
            MODELS,
        ),
        timeseries(
            "Refused by us, by cause",
            "Nothing is good. deadline and queue_full: too much demand. budget, caller_limit, forbidden: as"
            " configured, for one caller. unauthenticated: a wrong key. upstream_outage: Claude. head: never a call,"
            " being no HTTP (400), too slow (408) or too long (431); the log has the client's address.",
            units.PER_MINUTE,
            [
                Query(nonzero_per_minute(catalogue.REFUSED, by="cause"), "{{cause}}", exemplars=True),
                Query(nonzero_per_minute(catalogue.HEADS_REFUSED, by="status"), "head {{status}}"),
            ],
            CALLERS,
            stacked=True,
            colours=units.CAUSES,
            shades={"/^head/": units.NEUTRAL},
            no_value="Nothing was refused",
        ),
        timeseries(
            "Failures of Claude, by status",
            "Attempts, before retries. Nothing is good. 429: our limits. 529: Claude is overloaded for everybody. 5xx"
            " and error: Claude, or the network.",
            units.PER_MINUTE,
            [
                Query(
                    nonzero_per_minute(catalogue.UPSTREAM_ATTEMPTS, by="status", status="=~429|5..|error"), "{{status}}"
                ),
            ],
            MODELS,
            stacked=True,
            colours={"429": units.LIMITED, "529": units.OVERLOADED, "/^50/": units.FAILED, "error": units.WARNING},
            no_value="No failures",
        ),
    ),
)

_CALLERS: Final = Row(
    "Who",
    (
        table(
            "Callers",
            "In the time range. A caller with a large share, many refusals or many errors stands out: a click leads"
            " to it. They are those that call most. `other` are all that have no name in the configuration.",
            {"caller": "Caller"},
            [
                *CALLER_COLUMNS,
                Column("Tokens", increase(catalogue.TOKENS, by="caller"), units.COUNT, decimals=1),
                Column("Cost", COST_OF_CALLERS, units.DOLLARS, decimals=2),
            ],
            {"caller": CALLERS.by("caller")},
            CALLERS,
            sort_by="Calls",
            only=BUSIEST_CALLERS,
            height=7,
        ),
    ),
)

_SATURATION: Final = Row(
    "How full",
    (
        timeseries(
            "Fullest limit of each pool",
            "Share of the quota in use of the dimension that is nearest to its limit. Near 100 % calls wait; that is"
            " fine for a while, and with nobody waiting it is a quota well spent. Beyond the line a full"
            " bucket is being spent; for long, the queue only grows.",
            units.SHARE,
            [
                Query(
                    f"max by (pool) (60 * {rate(catalogue.QUOTA_CHARGED, by='pool, dimension')}"
                    f" / {shared(catalogue.LIMIT_PER_MINUTE, 'pool, dimension', source='effective')})",
                    "{{pool}}",
                )
            ],
            LIMITER.by("pool"),
            width=8,
            limits=((thresholds.QUOTA_USED_RUNS_OUT, units.CRITICAL),),
        ),
        timeseries(
            "Waiting calls",
            "Calls in the queue. Zero or short bursts are good. Growing for long: demand is above the quota; see which"
            " caller, or ask for a higher limit.",
            units.COUNT,
            [Query(total(catalogue.QUEUE_DEPTH, "pool"), "{{pool}}")],
            LIMITER.by("pool"),
            width=8,
            limits=((thresholds.QUEUE_GROWING_DEPTH, units.WARNING),),
        ),
        timeseries(
            "Event loop lag",
            "How late the process runs what is due. Milliseconds are good. More: the CPU is too small, or something"
            " blocks it.",
            units.SECONDS,
            [
                Query(quantile(0.99, catalogue.EVENT_LOOP_LAG, by="instance"), "p99 {{instance}}"),
            ],
            OVERVIEW,
            width=8,
            limits=((thresholds.LOOP_LAG_P99_SECONDS, units.WARNING),),
        ),
        timeseries(
            "CPU",
            "Of one core, by replica: the process has one thread of work. Below 0.7 is good; above, add replicas.",
            units.SHARE,
            [
                Query(
                    'rate(process_cpu_seconds_total{job=~"$job",instance=~"$instance"}[$__rate_interval])',
                    "{{instance}}",
                )
            ],
            OVERVIEW,
            width=6,
            height=7,
        ),
        timeseries(
            "Memory",
            "Resident memory by replica. A plateau is good; growth over days is a leak: restart, and report it.",
            units.BYTES,
            [Query('process_resident_memory_bytes{job=~"$job",instance=~"$instance"}', "{{instance}}")],
            OVERVIEW,
            width=6,
            height=7,
        ),
        timeseries(
            "Tasks of the loop",
            "A few for each call under way is good. Growth while calls do not grow is a leak: report it.",
            units.COUNT,
            [Query(select(catalogue.EVENT_LOOP_TASKS), "{{instance}}")],
            OVERVIEW,
            width=6,
            height=7,
        ),
        timeseries(
            "Scrapes that failed",
            "Replicas that Prometheus cannot reach. Zero is good. Anything else: the numbers above are incomplete.",
            units.COUNT,
            [Query(f"1 - {_UP}", "{{instance}}")],
            OVERVIEW,
            width=6,
            height=7,
            colours={"/.*/": units.CRITICAL},
            most=1,
        ),
    ),
)

OVERVIEW_BOARD: Final = Board(OVERVIEW, "Is it us, Claude, or one caller?", (_NOW, _COURSE, _CALLERS, _SATURATION))
