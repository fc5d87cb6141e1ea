"""A fault: how it is provoked, and the alerts that it must trigger."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from support.alerting.stack import Stack

FAULTS: list["Fault"] = []
"""All faults, in order of definition."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault in a running service.

    Attributes:
        name: Name of the fault.
        provoke: Causes and ends the fault, and checks the alerts.
        proves: Alerts that must fire and resolve: name, severity and, for burn rates, window.
        setup: Arguments of `stack`.
    """

    name: str
    provoke: Callable[[Stack], None]
    proves: frozenset[str]
    setup: Mapping[str, Any]


def fault(*proves: str, **setup: Any) -> Callable[[Callable[[Stack], None]], Callable[[Stack], None]]:
    """Register the decorated function as a fault; see `Fault`."""

    def add(provoke: Callable[[Stack], None]) -> Callable[[Stack], None]:
        proved = frozenset(proves)
        FAULTS.append(Fault(name=provoke.__name__, provoke=provoke, proves=proved, setup=setup))
        return provoke

    return add
