"""A fault: how it is provoked, the alerts that it must trigger, and those that may fire beside them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from support.alerting.stack import Stack

FAULTS: list["Fault"] = []
"""All faults, in order of definition."""

WITHIN_SECONDS: Final = 20
"""Default of `Fault.within_seconds`. On an idle machine it takes 1 to 9 s."""
WINDOW_SECONDS: Final = 60
"""For alerts that need most of a long window: the short rules shorten none to more than 30 s."""

ANYWHERE: Final[Mapping[str, str]] = {
    "Watchdog": "It always fires.",
    "TidegateEventLoopLag": "The machine is busy.",
    "TidegateOverheadHigh": "The machine is busy.",
    "TidegateDown": "The machine is so busy that scrapes take longer than their second.",
    "TidegateMetricsAbsent": "Prometheus starts before its first scrape.",
    "TidegateQuotaRunsOut": "The load of a fault begins at once: to the short rules it grows.",
    "TidegateNoTraffic": "The load of a fault ends at once.",
}
"""Alerts that may fire during each fault, and why. The reasons are in the short rules or in the machine."""
FAILS: Final = {"TidegateAvailabilityBurn": "Calls fail."}
"""May fire as a consequence."""
WAITS: Final = dict.fromkeys(
    (
        "TidegateLatencyBurn",
        "TidegatePoolFrozen",
        "TidegateQueueGrowing",
        "TidegateQueueWaitHigh",
        "TidegateQuotaUnusedWhileWaiting",
        "TidegateRefusals",
    ),
    "Calls wait in the queue, and are refused at their deadlines.",
)
"""Likewise. The shipped Alertmanager inhibits most of these."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault in a running service.

    Attributes:
        name: Name of the fault.
        provoke: Causes and ends the fault, and checks the alerts.
        proves: Alerts that must fire and resolve: name, severity and, for burn rates, window.
        setup: Arguments of `stack`.
        allows: Names of alerts that may fire besides, and why. Others, except `ANYWHERE`, must stay silent.
        within_seconds: The time in which Prometheus must fire each alert, by the short rules.
            Their ranges are 60 times shorter, and they wait (`for`) for 5 s at most: a second stands for a minute of
            the shipped rules, which need the `for` of the alert, a scrape and an evaluation besides. The margin is for
            slow machines.
    """

    name: str
    provoke: Callable[[Stack], None]
    proves: frozenset[str]
    setup: Mapping[str, Any]
    allows: Mapping[str, str] = field(default_factory=dict)
    within_seconds: float = WITHIN_SECONDS


def fault(
    *proves: str, allows: Mapping[str, str] | None = None, within_seconds: float = WITHIN_SECONDS, **setup: Any
) -> Callable[[Callable[[Stack], None]], Callable[[Stack], None]]:
    """Register the decorated function as a fault; see `Fault`."""

    def add(provoke: Callable[[Stack], None]) -> Callable[[Stack], None]:
        FAULTS.append(
            Fault(
                name=provoke.__name__,
                provoke=provoke,
                proves=frozenset(proves),
                setup=setup,
                allows=allows or {},
                within_seconds=within_seconds,
            )
        )
        return provoke

    return add
