"""The caller of a request: its name, weight, class and own limits."""

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

__all__ = ["DEFAULT_CALLER", "DEFAULT_TEAM", "Caller", "CallerLimits", "Priority", "Role"]


DEFAULT_TEAM: Final = "default"
"""The team of callers without one."""


class Priority(StrEnum):
    """Priority class of a request, the highest first. Also a label of the queue's metrics."""

    INTERACTIVE = "interactive"
    STANDARD = "standard"
    BATCH = "batch"


class Role(StrEnum):
    """The rights of a key of the ledger: to make calls, to read usage and state, or both and administration."""

    CALLER = "caller"
    VIEWER = "viewer"
    ADMIN = "admin"


_RANKS: Final = {priority: rank for rank, priority in enumerate(Priority)}


@dataclass(frozen=True, slots=True)
class CallerLimits:
    """A caller's own limits. They span all pools. None: no limit.

    Attributes:
        requests_per_minute, input_tokens_per_minute, output_tokens_per_minute: rates of three token buckets.
        max_concurrent: the most calls that hold a lease at a time.
    """

    requests_per_minute: float | None = None
    input_tokens_per_minute: float | None = None
    output_tokens_per_minute: float | None = None
    max_concurrent: int | None = None


@dataclass(frozen=True, slots=True)
class Caller:
    """A party that shares the quota.

    Attributes:
        name: unique; the key of fair sharing.
        label: the name in metrics, logs and spans: that of a configured caller, `default` for any other.
        weight: share relative to other callers' weights; > 0.
        priority: class of this caller's requests.
        limits: the caller's own limits; None: only those of the pools.
        models: the models that the caller may use; empty: all.
        team: the team that the caller belongs to, for the ledger.
        key: id of the key that this request presented, if the ledger holds it; else empty.
        is_admin: whether its key is an admin's, who sees the objects of all callers.
        rank: of the class; 0 is the highest.
    """

    name: str
    label: str = "default"
    weight: float = 1.0
    priority: Priority = Priority.STANDARD
    limits: CallerLimits | None = None
    models: tuple[str, ...] = ()
    team: str = DEFAULT_TEAM
    key: str = ""
    is_admin: bool = False
    rank: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "rank", _RANKS[self.priority])

    def lowered(self, priority: Priority) -> "Caller":
        """The same caller in this class, or in its own if that is lower: a request cannot raise its class."""
        return replace(self, priority=priority) if _RANKS[priority] > self.rank else self


DEFAULT_CALLER: Final = Caller("default")
"""The caller of the older API, and of the service's own routes if no key is presented."""
