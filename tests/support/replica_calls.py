"""Calls through replicas that share a log, with the times of their admission."""

import asyncio

from support.replicas import Replica
from support.virtual_time import VirtualClock
from tidegate.core.domain.caller import Caller
from tidegate.core.domain.demand import Demand, Outcome
from tidegate.core.domain.dimension import Cost, Dimension
from tidegate.core.domain.errors import Refusal
from tidegate.core.domain.pool_settings import LimitSettings, PoolSettings

__all__ = ["BURST", "CONFIGURED", "PER_SECOND", "Calls", "leader_of"]

PER_SECOND, BURST = 10, 10
CONFIGURED = {"p": PoolSettings({Dimension.REQUESTS: LimitSettings(60 * PER_SECOND, BURST)})}


class Calls:
    """Calls through some replicas, with the times at which they were admitted."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self.admitted: list[tuple[float, str]] = []
        self.refused: list[Refusal] = []

    async def call(self, replica: Replica, caller: str | Caller, *, takes_seconds: float = 0.5) -> None:
        asking = Caller(caller) if isinstance(caller, str) else caller
        try:
            lease = await replica.admission.acquire(Demand("p", asking, Cost(1)))
        except Refusal as refusal:
            self.refused.append(refusal)
            return
        self.admitted.append((self._clock.elapsed_s, asking.name))
        await asyncio.sleep(takes_seconds)
        await lease.end(Outcome.SETTLED, Cost(1))

    def most_above_the_rate(self) -> float:
        """The most calls in any window, above the window's share of the rate."""
        times = sorted(time for time, _ in self.admitted)
        return max(
            last - first + 1 - PER_SECOND * (times[last] - times[first])
            for first in range(len(times))
            for last in range(first, len(times))
        )


def leader_of(running: list[Replica]) -> Replica:
    (leader,) = (each for each in running if each.leads)
    return leader
