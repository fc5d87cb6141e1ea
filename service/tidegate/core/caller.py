"""Who makes a call."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

__all__ = ["DEFAULT_CALLER", "Caller", "Priority"]


class Priority(StrEnum):
    """Class of a request, the highest first: whom a pool serves before whom; a label of the queue's metrics."""

    INTERACTIVE = "interactive"
    STANDARD = "standard"
    BATCH = "batch"


_RANKS: Final = {priority: rank for rank, priority in enumerate(Priority)}


@dataclass(frozen=True, slots=True)
class Caller:
    """A party that shares the quota.

    Attributes:
        name: unique; what fairness goes by.
        label: what metrics, logs and spans show: the name of a configured caller, `default` for any other.
        weight: share relative to other callers' weights; > 0.
        priority: class of this caller's requests.
        rank: of the class; 0 is the highest.
    """

    name: str
    label: str = "default"
    weight: float = 1.0
    priority: Priority = Priority.STANDARD
    rank: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "rank", _RANKS[self.priority])


DEFAULT_CALLER: Final = Caller("default")
"""The caller of the older API, and of the service's own routes when nobody presents a key."""
