"""The way to the upstream that all calls share, and an answer that came along it."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Final

from msgspec import Struct

from tidegate.core.failures.retry_policy import RetryPolicy
from tidegate.core.ports.observer import NULL_SCOPE, Scope
from tidegate.core.ports.transport import Transport
from tidegate.engine.admission import Admission, Lease
from tidegate.gateway.attempt.limit_updates import LimitUpdates
from tidegate.gateway.attempt.reachability import Reachability
from tidegate.gateway.deadlines import DeadlineTimers
from tidegate.gateway.relay.response_start import ResponseStart
from tidegate.gateway.relay_limits import RelayLimits

__all__ = ["NO_SCOPES", "RelayContext", "Reply"]

NO_SCOPES: Final = nullcontext()
"""What is open of a call that nobody traces."""


@dataclass(frozen=True, slots=True)
class RelayContext:
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
    lessons: LimitUpdates = field(default_factory=LimitUpdates)
    deadlines: DeadlineTimers = field(default_factory=DeadlineTimers)


class Reply(Struct):
    """An answer that will be relayed, with the lease it draws on; must be settled by `Attempts.settle`.

    Attributes:
        started_ns: when its request was sent.
        scope: of the attempt that was answered.
        scopes: what ends with it.
        learned: whether the pool has heard of its head.
    """

    answer: ResponseStart
    lease: Lease
    started_ns: int
    scope: Scope = NULL_SCOPE
    scopes: AbstractContextManager[object] = NO_SCOPES
    learned: bool = False
