"""The table of firing alerts: who causes each fault, what happens, and where."""

from collections.abc import Iterator
from typing import Final

from tidegate.core.domain.cause import Cause
from tidegate.monitoring.dashboards import units
from tidegate.monitoring.dashboards.inhibitions import without_inhibited
from tidegate.monitoring.dashboards.links import LIMITER, RUNBOOK
from tidegate.monitoring.dashboards.panels import Panel
from tidegate.monitoring.dashboards.tables import Column, table
from tidegate.monitoring.rules.burn_causes import CAUSES, LIMIT_FELL
from tidegate.monitoring.rules.files import alert_groups
from tidegate.monitoring.rules.rule import Alert, Installation, duration
from tidegate.observe.metrics import catalogue, thresholds
from tidegate.observe.metrics.catalogue import Metric

__all__ = ["FIRING_ALERTS"]

_ALERTS: Final = 'job=~"$job",alertname=~"Tidegate.+"'
_FIRING: Final = (
    f'(time() - ALERTS_FOR_STATE{{{_ALERTS}}} and ignoring (alertstate) ALERTS{{{_ALERTS},alertstate="firing"}})'
)
"""For how long each alert has been active, in seconds."""
_NOTHING: Final = "nothing"
"""Stands for no alert, while the Watchdog shows that alerting works."""
_FILTER: Final = 'job=~"$job",instance=~"$instance"'
_BURNS: Final = {"availability": "TidegateAvailabilityBurn", "latency": "TidegateLatencyBurn"}
_BY: Final = "job, pool, cause, model"
"""Labels that select the explanation of an alert, besides its name."""
_WINDOW: Final = duration(max(thresholds.UPSTREAM_WINDOW_SECONDS, thresholds.REFUSED_WINDOW_SECONDS) + 300)
"""In which explanations are searched, whatever the time range is: alerts look back so far, and fire for 5 minutes more
than their fault lasts."""
_NOT_SEEN: Final = 1e-9
"""An explanation that remains if no other has an event."""

_NO_RESPONSE: Final = "no connection, or broken off"
_US, _CLAUDE, _NETWORK, _OUR_KEY, _CALLERS = "Us", "Claude", "Claude or network", "Our key", "Callers"
_COLOURS: Final = {_US: "light-blue", _CLAUDE: "purple", _NETWORK: "purple", _OUR_KEY: "red", _CALLERS: "yellow"}
_ORIGINS: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    (_OUR_KEY, ("KeyRejected", "SpendCapReached", "Refusals (upstream_credentials|spend_cap)", ".*rejects the key")),
    (
        _US,
        (
            f"Refusals ({Cause.DRAINING}|{Cause.PAUSED}|.*_unavailable)",
            ".*shared store",
            ".*ledger cannot",
            "Anomalies .*clock",
        ),
    ),
    (_CLAUDE, (f"Refusals {Cause.UPSTREAM_OUTAGE}",)),
    (_NETWORK, (f".*{_NO_RESPONSE}", ".*cannot be reached")),
    (
        _CALLERS,
        ("Refusals", "KeyExpires", "NoTraffic", "QuotaRunsOut", "QueueWaitHigh", "QueueGrowing", "ClassStarved"),
    ),
    (_CALLERS, ("Spend", "Budget", "UnpricedModel", ".*more is asked")),
    (_CLAUDE, ("Upstream(Overloaded|Errors|Hangs|Slow)", "ResponsesSlow", "ModelNotFound", "Anomalies", ".*Burn")),
    (_CLAUDE, ("RateLimitSpike", "PoolFrozen", "AdaptiveRateLow", "LimitFell")),
    (_US, ("",)),
)
"""The origin of a fault, by regular expressions of its alert, the cause of refusals, and the explanation.

The first that fits counts.
"""


def _burn(objective: str) -> str:
    """The biggest cause of a burning error budget, by pool."""
    causes, otherwise = CAUSES[objective]
    found = [
        _explained(f"sum by (job, pool) (increase({name}{{{_FILTER},{which}}}[{_WINDOW}]))", text)
        for text, name, which in causes
    ]
    if objective == "latency":
        fell = 'ALERTS{job=~"$job",alertname="TidegateLimitFell",alertstate="firing"}'
        found.append(_explained(f"1e9 * count by (job, pool) ({fell})", LIMIT_FELL))
    failed = f"increase({catalogue.FAILED_CALLS.name}{{{_FILTER}}}[{_WINDOW}])"
    found.append(_explained(f"0 * sum by (job, pool) ({failed}) + {_NOT_SEEN:g}", otherwise))
    return _about_alert(f"topk by (job, pool) (1, ({' or '.join(found)}) > 0)", _BURNS[objective])


def _explained(value: str, text: str) -> str:
    return f'label_replace({value}, "explained", "{text}", "", "")'


def _about_alert(explained: str, alert: str) -> str:
    return f'label_replace({explained}, "alertname", "{alert}", "", "")'


def _most(metric: Metric, label: str, by: str, named: str = "", **matchers: str) -> str:
    """The value of a label with most events, such as `caller search`. `named` replaces the name of the label."""
    conditions = ",".join((_FILTER, *(f'{name}=~"{value}"' for name, value in matchers.items())))
    events = f"sum by ({by}, {label}) (increase({metric.name}{{{conditions}}}[{_WINDOW}]))"
    most = f'label_replace(topk by ({by}) (1, {events} > 0), "named", "{named or label}", "", "")'
    return f'label_join({most}, "explained", " ", "named", "{label}")'


def _status(alert: str, statuses: str) -> str:
    """The most frequent status of failed attempts, by pool."""
    found = _most(catalogue.UPSTREAM_ATTEMPTS, "status", "job, pool", status=statuses)
    return _about_alert(f'label_replace({found}, "explained", "{_NO_RESPONSE}", "status", "error")', alert)


_EXPLANATIONS: Final = " or ".join(
    (
        *map(_burn, _BURNS),
        _status("TidegateKeyRejected", "401|403"),
        _status("TidegateUpstreamErrors", "50.|5xx|error"),
        _about_alert(
            _most(catalogue.RATE_LIMITED, "dimension", "job, pool", named="limit of"), "TidegateRateLimitSpike"
        ),
        _about_alert(_most(catalogue.RATE_LIMITED, "dimension", "job, pool", named="limit of"), "TidegatePoolFrozen"),
        _about_alert(_most(catalogue.REQUESTS, "caller", "job, pool"), "TidegateQuotaRunsOut"),
        _about_alert(_most(catalogue.COST_USD, "caller", "job"), "TidegateSpendUnusual"),
        _about_alert(_most(catalogue.REFUSED, "caller", "job, pool, cause"), "TidegateRefusals"),
        _about_alert(_most(catalogue.TOKENS, "caller", "job, model"), "TidegateUnpricedModel"),
    )
)
_TOLD: Final = without_inhibited(
    f"({_FIRING} * on ({_BY}, alertname) group_left (explained) (0 * ({_EXPLANATIONS}) + 1)"
    f" or ignoring (explained) {_FIRING})",
    "explained",
)
_NAMED: Final = f'label_replace({_TOLD}, "named", "budget", "budget", ".+")'
_ABOUT: Final = '"explained", "class", "dimension", "model", "kind", "route", "instance", "named", "budget"'
_ROWS: Final = (
    "max by (who, what, alertname, severity, pool, about) (label_replace("
    f'label_join(label_join(label_join({_NAMED}, "who", " ", "alertname", "cause", "kind", "explained"),'
    f' "what", " ", "alertname", "severity", "cause"), "about", " ", {_ABOUT}),'
    ' "about", "", "about", " *"))'
    ' or on () label_replace(0 * count(ALERTS{alertname="Watchdog",alertstate="firing"}),'
    f' "what", "{_NOTHING}", "", "")'
)
_OF_REFUSALS: Final = {
    Cause.QUEUE_FULL: "Calls are refused: too many wait already",
    Cause.DEADLINE: "Calls are refused: they would wait beyond their deadline",
    Cause.CALLER_LIMIT: "Calls are refused: a caller has used up its own limit",
    Cause.BUDGET: "Calls are refused: a budget is spent",
    Cause.COST_EXCEEDS_CAPACITY: "Calls are refused: one alone is larger than the limit",
    Cause.SPEND_CAP: "Calls are refused: a spend cap at Claude is reached",
    Cause.PAUSED: "Calls are refused: an admin has paused them",
    Cause.UPSTREAM_CREDENTIALS: "Calls are refused: Claude rejects our key",
    Cause.UPSTREAM_OUTAGE: "Calls are refused: Claude is down",
    Cause.DRAINING: "Calls are refused: the service shuts down",
    Cause.STORE_UNAVAILABLE: "Calls are refused: the shared store is lost",
    Cause.LEDGER_UNAVAILABLE: "Calls are refused: the ledger cannot be written",
    Cause.LOOP: "Calls are refused: Tidegate calls itself",
    Cause.UNAUTHENTICATED: "Calls are refused: a caller's key is wrong",
    Cause.FORBIDDEN: "Calls are refused: a caller may not do this",
}
_OF_BURNS: Final = {
    "TidegateAvailabilityBurn": "More calls fail than the objective allows",
    "TidegateLatencyBurn": "More calls wait than the objective allows",
}
"""Their summaries differ by window."""


def _texts() -> Iterator[tuple[str, str]]:
    """Sentences on what happens, by alert, severity and cause."""
    for group in alert_groups(Installation()):
        for alert in group.rules:
            if isinstance(alert, Alert) and alert.name != "Watchdog":
                summary = _OF_BURNS.get(alert.name, alert.summary.removesuffix("."))
                yield f"{alert.name} {alert.severity} ", summary
    for cause, text in _OF_REFUSALS.items():
        yield f"TidegateRefusals warning {cause}", text
    yield _NOTHING, "No alert fires"


FIRING_ALERTS: Final[Panel] = table(
    "What is wrong",
    "The firing alerts, without those that another one explains. None is good. Who is the origin of the fault: us,"
    " Claude, our key at Claude, or the callers. Click the alert to see its runbook.",
    {
        "severity": "Severity",
        "who": "Who",
        "what": "What",
        "about": "About",
        "pool": "Pool",
        "alertname": "Alert and runbook",
    },
    [Column("For", _ROWS, units.SECONDS, decimals=0)],
    {"pool": LIMITER.by("pool"), "alertname": RUNBOOK},
    LIMITER,
    sort_by="Severity",
    descending=False,  # alphabetical order puts critical first
    widths={"severity": 90, "who": 140, "about": 330, "pool": 110, "alertname": 270, "For": 80},
    words={
        "severity": {"critical": units.CRITICAL, "warning": units.WARNING, "info": units.NEUTRAL},
    },
    texts={"what": dict(_texts())},
    patterns={"who": [(f"^Tidegate({'|'.join(patterns)}).*", who, _COLOURS[who]) for who, patterns in _ORIGINS]},
    height=6,
    no_value="Alerting does not work",
)
"""The first panel of the Overview."""
