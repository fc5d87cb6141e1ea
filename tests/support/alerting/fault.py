"""A fault: how it is provoked, and which alerts it proves."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from support.alerting.stack import Stack

FAULTS: list["Fault"] = []
"""All of them, in the order in which they are written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault in a running service.

    Attributes:
        name: what happens.
        provoke: makes it happen and end, and looks at the alerts.
        proves: alerts that it must see fire and resolve: name, severity and, for burn rates, window.
        world: what it happens in: arguments of `stack`.
    """

    name: str
    provoke: Callable[[Stack], None]
    proves: frozenset[str]
    world: Mapping[str, Any]


def fault(*proves: str, **world: Any) -> Callable[[Callable[[Stack], None]], Callable[[Stack], None]]:
    """Adds what it decorates to the faults; see `Fault`."""

    def add(provoke: Callable[[Stack], None]) -> Callable[[Stack], None]:
        proved = frozenset(proves)
        FAULTS.append(Fault(name=provoke.__name__, provoke=provoke, proves=proved, world=world))
        return provoke

    return add
