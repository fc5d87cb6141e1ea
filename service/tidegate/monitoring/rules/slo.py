"""Burn-rate alerts on the service level objectives."""

from typing import Final

from tidegate.monitoring.dashboards.links import SLO
from tidegate.monitoring.rules.recording import BAD_BY_POOL, OBJECTIVES, bad_share
from tidegate.monitoring.rules.rule import Alert, Group, TopContributor, duration
from tidegate.observe.metrics import thresholds
from tidegate.observe.metrics.thresholds import BurnWindow

__all__ = ["SLOS"]


def _burn(objective: str, alert: str, target: float, what: str, burn: BurnWindow) -> Alert:
    """An alert on one pair of windows: the long one shows that the burn matters, the short one that it continues."""
    budget = 1 - target
    max_share = f"{burn.factor * budget:.4g}"
    long, short = duration(burn.long_seconds), duration(burn.short_seconds)
    bad, _ = OBJECTIVES[objective]
    worst = TopContributor("pool", BAD_BY_POOL[objective] % {"window": long}, ("job",))
    return Alert(
        name=alert,
        severity=burn.severity,
        expr=(
            f"{bad_share(objective, burn.long_seconds)} > {max_share}\n"
            f"and {bad_share(objective, burn.short_seconds)} > {max_share}\n"
            f"and {bad % {'f': 'increase', 'window': long}} >= {thresholds.BURN_LEAST_BAD}"
        ),
        for_seconds=60,
        keep_firing_seconds=300,
        summary=f"The error budget of {objective} burns at more than {burn.factor:g}× the sustainable rate.",
        description=(
            f"{{{{ $value | humanizePercentage }}}} of the calls {what} in the last {long}, and too many "
            f"in the last {short} (objective: at most {100 * budget:g}%)."
            + worst.template(' Most of them in pool {{ .Labels.pool }} ({{ .Value | printf "%.0f" }}).')
        ),
        dashboard=SLO,
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
