"""Objects that all calls share on their way to the upstream."""

from collections.abc import Callable
from dataclasses import dataclass, field

from tidegate.core.domain.events import Event
from tidegate.core.failures.retry_policy import RetryPolicy
from tidegate.core.ports.clock import Clock
from tidegate.core.ports.transport import Transport
from tidegate.engine.admission import Admission
from tidegate.gateway.attempt.limit_updates import LimitUpdates
from tidegate.gateway.attempt.reachability import Reachability
from tidegate.gateway.deadlines import DeadlineTimers
from tidegate.gateway.relay_limits import RelayLimits
from tidegate.gateway.upstream_key import UpstreamKey

__all__ = ["RelayContext"]


@dataclass(frozen=True, slots=True)
class RelayContext:
    """Objects that all calls share on their way to the upstream. Belongs to one event loop.

    Attributes:
        admission: reserves quota in the pools.
        transport: sends requests; retries nothing.
        retry_policy: returns the policy in effect for failures other than 429.
        random: returns random numbers from 0 to 1, for jitter.
        limits: bounds of the relay.
        upstream_key: the key for the upstream.
        reachability: tracks whether connections can be opened; None if nothing does.
        limit_updates: decides which responses update a pool's limits.
        deadline_timers: the timers of deadlines.
    """

    admission: Admission
    transport: Transport
    retry_policy: Callable[[], RetryPolicy]
    random: Callable[[], float]
    limits: RelayLimits
    upstream_key: UpstreamKey
    reachability: Reachability | None = None
    limit_updates: LimitUpdates = field(default_factory=LimitUpdates)
    deadline_timers: DeadlineTimers = field(default_factory=DeadlineTimers)

    @property
    def clock(self) -> Clock:
        """The clock of the admission."""
        return self.admission.clock

    def report(self, event: Event) -> None:
        """Sends an event to the observer, if there is one."""
        if self.admission.observer is not None:
            self.admission.observer.event(event)
