"""Burn-rate alerts on the service level objectives."""

from typing import Final

from tidegate.monitoring.dashboards.links import SLO
from tidegate.monitoring.rules.burn_causes import cause_in_words
from tidegate.monitoring.rules.recording import BAD_BY_POOL, OBJECTIVES, bad_share
from tidegate.monitoring.rules.rule import Alert, Group, TopContributor, bucket, duration
from tidegate.observe.metrics import catalogue, thresholds
from tidegate.observe.metrics.thresholds import BurnWindow

__all__ = ["SLOS"]


_KNOWN_PART: Final = 8


def _known_seconds(burn: BurnWindow) -> int:
    """The time that Prometheus must have known the service.

    A window that it has seen only the end of says little: one bad minute would look like six bad hours. A bad minute is
    less than each threshold of an eighth of the window.
    """
    return burn.long_seconds // _KNOWN_PART


def _longest_waiting(window: str) -> str:
    """A template that names the caller with most waits beyond the objective, as far as the metric's buckets tell."""
    name = catalogue.CALLER_WAIT.name
    bound = bucket(catalogue.CALLER_WAIT, thresholds.CALLER_WAIT_LONG_SECONDS)
    calls = f'increase({name}_count{{job=%q,end="admitted"}}[{window}])'
    soon = f'increase({name}_bucket{{job=%q,end="admitted",le="{bound}"}}[{window}])'
    top = TopContributor("caller", f"{calls} - ignoring (le) {soon} > 0", ("job", "job"))
    return top.template(
        f" Most waits above {thresholds.CALLER_WAIT_LONG_SECONDS:g} s: "
        '{{ .Labels.caller }} ({{ .Value | printf "%.0f" }}).'
    )


def _burn(objective: str, alert: str, target: float, what: str, burn: BurnWindow) -> Alert:
    """An alert on one pair of windows: the long one shows that the burn matters, the short one that it continues."""
    budget = 1 - target
    max_share = f"{burn.factor * budget:.4g}"
    long, short = duration(burn.long_seconds), duration(burn.short_seconds)
    bad, _ = OBJECTIVES[objective]
    by_pool = BAD_BY_POOL[objective] % {"window": short}
    known = duration(_known_seconds(burn))
    return Alert(
        name=alert,
        severity=burn.severity,
        expr=(
            f"(\n  {bad_share(objective, burn.long_seconds)} > {max_share}\n"
            f"  and {bad_share(objective, burn.short_seconds)} > {max_share}\n"
            f"  and {bad % {'f': 'increase', 'window': long}} >= {thresholds.BURN_LEAST_BAD}\n"
            f"  and on (job) count by (job) ({catalogue.BUILD_INFO.name} offset {known})\n)\n"
            # The pool with most bad calls, so that an alert on its cause can inhibit this one.
            f"* on (job) group_left (pool) (0 * topk by (job) (1, {by_pool}) + 1)"
        ),
        for_seconds=180,  # longer than the alerts on causes, which inhibit it
        keep_firing_seconds=300,
        summary=f"The error budget of {objective} burns at more than {burn.factor:g}× the sustainable rate.",
        description=(
            f"{{{{ $value | humanizePercentage }}}} of the calls {what} in the last {long}, and too many "
            f"in the last {short} (objective: at most {100 * budget:g}%). Most of them now are in pool "
            "{{ $labels.pool }}."
            + cause_in_words(objective, short)
            + (_longest_waiting(short) if objective == "latency" else "")
        ),
        dashboard=SLO,
        by=("pool",),
        labels={"window": long},
    )


SLOS: Final = Group(
    "tidegate-objectives",
    (
        *(
            _burn("availability", "TidegateAvailabilityBurn", thresholds.AVAILABILITY_TARGET, "failed", burn)
            for burn in thresholds.BURN_WINDOWS
        ),
        *(
            _burn(
                "latency",
                "TidegateLatencyBurn",
                thresholds.LATENCY_TARGET,
                f"waited longer than {thresholds.LATENCY_OBJECTIVE_SECONDS:g} s for quota",
                burn,
            )
            for burn in thresholds.BURN_WINDOWS
        ),
    ),
)
"""All burn-rate alerts. Those of one objective share a name and differ in the label `window`."""
