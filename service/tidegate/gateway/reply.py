"""The way to the upstream that all calls share, and an answer that came along it."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Final

from msgspec import Struct

from tidegate.core.observer import NULL_SCOPE, Scope
from tidegate.core.retry import RetryPolicy
from tidegate.core.transport import Transport
from tidegate.engine.admission import Admission, Lease
from tidegate.gateway.lessons import Lessons
from tidegate.gateway.limits import RelayLimits
from tidegate.gateway.opened import OpenedAnswer
from tidegate.gateway.patience import Deadlines
from tidegate.gateway.upstream.reachability import Reachability

__all__ = ["NO_SCOPES", "Reply", "Upstream"]

NO_SCOPES: Final = nullcontext()
"""What is open of a call that nobody traces."""


@dataclass(frozen=True, slots=True)
class Upstream:
    """The way to the upstream that all calls share.

    Attributes:
        admission: to the pools.
        transport: sends requests; repeats nothing.
        retry_policy: gives the policy in effect: how often and after how long failures other than 429 are repeated.
        random: random numbers from 0 to 1.
        limits: bounds of the relay.
        reachability: whether connections can be opened; None: nobody tracks it.
    """

    admission: Admission
    transport: Transport
    retry_policy: Callable[[], RetryPolicy]
    random: Callable[[], float]
    limits: RelayLimits
    reachability: Reachability | None = None
    lessons: Lessons = field(default_factory=Lessons)
    deadlines: Deadlines = field(default_factory=Deadlines)


class Reply(Struct):
    """An answer that will be relayed, with the lease it draws on; must be settled by `Attempts.settle`.

    Attributes:
        started_ns: when its request was sent.
        scope: of the attempt that was answered.
        scopes: what ends with it.
        learned: whether the pool has heard of its head.
    """

    answer: OpenedAnswer
    lease: Lease
    started_ns: int
    scope: Scope = NULL_SCOPE
    scopes: AbstractContextManager[object] = NO_SCOPES
    learned: bool = False
