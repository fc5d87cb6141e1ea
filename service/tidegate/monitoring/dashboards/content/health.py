"""The timeline of the Overview: whether each part is fine, degraded or bad, by the thresholds of the alerts."""

from dataclasses import replace
from typing import Final

from tidegate.core.domain.cause import Cause
from tidegate.monitoring.dashboards import units
from tidegate.monitoring.dashboards.links import MODELS
from tidegate.monitoring.dashboards.panel_types import states
from tidegate.monitoring.dashboards.panels import Panel
from tidegate.monitoring.dashboards.queries import Query, quantile, rate, ratio, select
from tidegate.monitoring.rules.recording import QUEUE_WAIT_P95
from tidegate.observe.metrics import catalogue, thresholds

__all__ = ["ERROR_SHARE", "HEALTH", "IDLE", "REFUSED_SHARE", "WAIT_P95", "or_idle"]

IDLE: Final = -1
"""Stands for a value that is absent because no call has ended."""
_STATES: Final = {
    IDLE: ("none ended", units.IDLE),
    0: ("fine", units.GOOD),
    1: ("degraded", units.WARNING),
    2: ("bad", units.CRITICAL),
}
_UP: Final = 'up{job=~"$job",instance=~"$instance"}'
_STARTS: Final = (
    f'changes(process_start_time_seconds{{job=~"$job",instance=~"$instance"}}[{thresholds.RESTARTS_WINDOW_SECONDS}s])'
)
_ATTEMPTS: Final = rate(catalogue.UPSTREAM_ATTEMPTS)
_OWN_MODELS: Final = "!~none|other"
"""Models that have answered or are configured, other than names that clients may have invented."""
_OF_CALLERS: Final = (
    Cause.DEADLINE,
    Cause.QUEUE_FULL,
    Cause.CALLER_LIMIT,
    Cause.BUDGET,
    Cause.UNAUTHENTICATED,
    Cause.FORBIDDEN,
)
"""Refusals that callers cause, by asking for more than there is, or with a wrong key."""

_LEADER_SILENCE: Final = (
    f"min({select(catalogue.SNAPSHOT_AGE)} unless on (job, instance)"
    f" max_over_time({select(catalogue.DEGRADED)}[{thresholds.STORE_RETURN_WINDOW_SECONDS}s]) == 1)"
)
"""In seconds, as the alert sees it: a replica without the store hears no leader, and is degraded already."""


def _share(status: str) -> str:
    """The share of attempts with this status."""
    return ratio(rate(catalogue.UPSTREAM_ATTEMPTS, status=status), _ATTEMPTS)


def _greatest_refused_share(cause: str = "") -> str:
    """The share of calls that one pool refuses for one cause: the greatest of these shares."""
    refused = rate(catalogue.REFUSED, by="pool, cause", cause=cause)
    return f"clamp_max({ratio(f'max({refused})', rate(catalogue.REQUESTS))}, 1)"


def _alive(value: str) -> str:
    """The value, without labels; absent while no replica can be scraped: rates remain for a window."""
    return f"({value} and on () count({select(catalogue.BUILD_INFO)}))"


def or_idle(value: str) -> str:
    """The value, without labels, or `IDLE`; absent while no replica can be scraped."""
    return _alive(f"({value} or on () 0 * {rate(catalogue.REQUESTS)} + {IDLE})")


ERROR_SHARE: Final = _share("=~50.|5xx|error")
"""The share of attempts with a server error other than 529, or without a response."""
REFUSED_SHARE: Final = _greatest_refused_share()
WAIT_P95: Final = f'max({QUEUE_WAIT_P95}{{job=~"$job",pool=~"$pool",class!="batch"}} >= 0)'
"""As the alert sees it: without the excess waits of callers that flood a pool."""
_NOT_FOUND_SHARE: Final = ratio(
    rate(catalogue.UPSTREAM_ATTEMPTS, by="model", status="404", model=_OWN_MODELS),
    rate(catalogue.UPSTREAM_ATTEMPTS, by="model", model=_OWN_MODELS),
)


def _state(value: str, degraded: float, bad: float) -> str:
    return f"({value} >bool {degraded:g}) + ({value} >bool {bad:g})"


def _above(value: str, threshold: float) -> str:
    """Whether a value exceeds a threshold; absent without a value, as after a time without calls."""
    return f"({value} >bool {threshold:g})"


def _worst(*values: str) -> str:
    """The worst of several states, each of which may be absent."""
    labelled = (f'label_replace({value}, "part", "{index}", "", "")' for index, value in enumerate(values))
    return f"max({' or '.join(labelled)})"


_OF_CALLS: Final = (
    Query(
        _worst(
            f"2 * max({_share('=~401|403')} >bool {thresholds.KEY_REJECTED_SHARE:g})",
            f"2 * max({rate(catalogue.SPEND_CAPPED)} >bool 0)",
        ),
        "Our key and spend cap",
    ),
    Query(f"2 * max({_NOT_FOUND_SHARE} >bool {thresholds.MODEL_NOT_FOUND_SHARE:g})", "Claude: retired models"),
    Query(
        _state(ERROR_SHARE, thresholds.UPSTREAM_ERROR_SHARE_WARNING, thresholds.UPSTREAM_ERROR_SHARE_CRITICAL),
        "Claude: errors, unreachable",
    ),
    Query(
        _state(_share("529"), thresholds.OVERLOADED_SHARE_WARNING, thresholds.OVERLOADED_SHARE_CRITICAL),
        "Claude: overloaded (529)",
    ),
    Query(
        _state(_share("429"), thresholds.RATE_LIMITED_SHARE_WARNING, thresholds.RATE_LIMITED_SHARE_CRITICAL),
        "Claude: limits us (429)",
    ),
    Query(
        _worst(
            _state(_share("deadline"), thresholds.HANGING_SHARE_WARNING, thresholds.HANGING_SHARE_CRITICAL),
            _above(quantile(0.95, catalogue.TIME_TO_FIRST_TOKEN), thresholds.FIRST_TOKEN_P95_SECONDS),
            _above(quantile(0.5, catalogue.UPSTREAM_DURATION), thresholds.RESPONSE_P50_SECONDS),
        ),
        "Claude: slow or silent",
    ),
    Query(
        f"{_greatest_refused_share('=~' + '|'.join(_OF_CALLERS))} >bool {thresholds.REFUSED_SHARE:g}",
        "Callers: refused",
    ),
    Query(
        _state(WAIT_P95, thresholds.QUEUE_WAIT_P95_WARNING_SECONDS, thresholds.QUEUE_WAIT_P95_CRITICAL_SECONDS),
        "Callers: wait for quota",
    ),
)
_OF_REPLICAS: Final = (
    Query(
        _worst(
            f"2 * (1 - min({_UP}))",
            f"2 * absent({select(catalogue.BUILD_INFO)})",
            f"max({_STARTS} >=bool {thresholds.RESTARTS})",
            _above(quantile(0.99, catalogue.OVERHEAD), thresholds.OVERHEAD_P99_SECONDS),
            _above(quantile(0.99, catalogue.EVENT_LOOP_LAG), thresholds.LOOP_LAG_P99_SECONDS),
        ),
        "Us: process",
    ),
    Query(
        _alive(
            _worst(
                f"max({select(catalogue.DEGRADED)})",
                f"1 - min({select(catalogue.LEDGER_UP)})",
                f"max({select(catalogue.LEDGER_UNWRITTEN)} >bool {thresholds.LEDGER_UNWRITTEN_SECONDS})",
                _above(quantile(0.99, catalogue.STORE_LATENCY), thresholds.STORE_LATENCY_P99_SECONDS),
                f"2 * ({_LEADER_SILENCE} >bool {thresholds.LEADER_SILENT_SECONDS})",
            )
        ),
        "Us: store and ledger",
    ),
    Query(
        _worst(
            f"max({select(catalogue.RELOAD_REFUSED)})",
            f"max({select(catalogue.STATE_UNREADABLE)})",
            f"max({select(catalogue.KEY_ENDS)} <bool {thresholds.KEY_ENDS_SECONDS})",
        ),
        "Us: upkeep",
    ),
)

HEALTH: Final[Panel] = states(
    "Health",
    "Green is good. Each row turns orange and red at the thresholds of the alerts, minutes before they fire. Grey: no"
    " call has ended. Empty: unknown. The first word says whose fault it is. Our key: see the Claude Console. Claude:"
    " see Models and upstream, and status.claude.com. Callers: see the table beside. Us: process is a dead, restarting"
    " or slow replica, or no metrics; upkeep is a refused reload, an unreadable state, or a key that expires soon.",
    [*(replace(each, expr=or_idle(each.expr)) for each in _OF_CALLS), *_OF_REPLICAS],
    MODELS,
    names=_STATES,
    width=12,
    height=8,
    no_value="No data",
)
"""One row for each way in which calls fail."""
