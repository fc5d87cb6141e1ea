"""Who makes a call."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

__all__ = ["DEFAULT_CALLER", "Caller", "Priority"]


class Priority(StrEnum):
    """Class of a caller's requests, which the metrics of queues tell apart."""

    INTERACTIVE = "interactive"
    STANDARD = "standard"
    BATCH = "batch"


@dataclass(frozen=True, slots=True)
class Caller:
    """A party that shares the quota.

    Attributes:
        name: unique; what fairness goes by.
        label: what metrics, logs and spans show: the name of a configured caller, `default` for any other.
        weight: share relative to other callers' weights; > 0.
        priority: class of this caller's requests.
    """

    name: str
    label: str = "default"
    weight: float = 1.0
    priority: Priority = Priority.STANDARD


DEFAULT_CALLER: Final = Caller("default")
"""The caller of the older API, and of the service's own routes when nobody presents a key."""
