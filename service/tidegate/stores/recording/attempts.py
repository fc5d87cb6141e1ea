"""The attempts of calls, and the use of the quota, while steps are folded."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from tidegate.core.domain.cause import Cause
from tidegate.core.domain.demand import Demand, Granted, Outcome, Refused, Wait
from tidegate.core.domain.dimension import Cost, Dimension
from tidegate.core.domain.events import LeaseEnded
from tidegate.core.domain.nanoseconds import NS_PER_MINUTE
from tidegate.core.domain.snapshots import PoolSnapshot
from tidegate.core.ports.store import Change
from tidegate.stores.store_state import StoreWork

__all__ = ["Attempt", "Attempts"]

_NOTHING = Cost()


@dataclass(slots=True)
class Attempt:
    """One request for quota. Times are those of the log, in nanoseconds.

    Attributes:
        lease_id: its lease.
        demand: what it asked for.
        asked_ns: when it asked.
        granted_ns: when it was admitted; None: not yet, or never.
        over_ns: when its lease ended, or when it was refused or left the queue; None: not yet.
        cause: why it was refused.
        outcome: how its lease ended.
    """

    lease_id: str
    demand: Demand
    asked_ns: int
    granted_ns: int | None = None
    over_ns: int | None = None
    cause: Cause | None = None
    outcome: Outcome | None = None

    @property
    def waited_ns(self) -> int | None:
        """The wait of the request for its admission; None if it was not admitted."""
        return None if self.granted_ns is None else self.granted_ns - self.asked_ns


@dataclass
class Attempts:
    """All attempts since the beginning, and those that were open then.

    Attributes:
        all: by lease id.
        used: what ended leases have charged, by pool and name of the caller.
        granted_quota: what the limits have allowed, by pool and dimension, in units.
    """

    all: dict[str, Attempt] = field(default_factory=dict)
    used: dict[tuple[str, str], Cost] = field(default_factory=dict)
    granted_quota: defaultdict[tuple[str, Dimension], float] = field(default_factory=lambda: defaultdict(float))
    _open: dict[str, Attempt] = field(default_factory=dict)
    _rates_ns: int | None = None

    def begin(self, work: StoreWork, now_ns: int) -> None:
        """Takes over the leases and the waiting requests of a checkpoint."""
        for pool in work.pools:
            for lease in pool.leases:
                granted_ns = now_ns - lease.granted_ago_ns
                self._add(Attempt(lease.lease_id, lease.demand, granted_ns, granted_ns))
            for waiter in pool.queue.waiters:
                self._add(Attempt(waiter.lease_id, waiter.demand, now_ns - waiter.since_ago_ns))

    def asked(self, lease_id: str, demand: Demand, result: Granted | Wait | Refused, now_ns: int) -> None:
        """Notes that a request was admitted, queued or refused."""
        self._add(Attempt(lease_id, demand, now_ns))
        if isinstance(result, Granted):
            self._grant(lease_id, now_ns)
        elif isinstance(result, Refused):
            self.refused(lease_id, result, now_ns)

    def held(self, lease_id: str, demand: Demand, now_ns: int) -> None:
        """Notes that a lease was added that was granted elsewhere."""
        if lease_id not in self._open:
            self._add(Attempt(lease_id, demand, now_ns))
        self._grant(lease_id, now_ns)

    def refused(self, lease_id: str, refused: Refused, now_ns: int) -> None:
        """Notes that a request will not be admitted."""
        if (attempt := self._close(lease_id, now_ns)) is not None:
            attempt.cause = refused.cause

    def ended(self, lease_id: str, outcome: Outcome, now_ns: int) -> None:
        """Notes that a lease has ended, or that a request has left the queue."""
        if (attempt := self._close(lease_id, now_ns)) is not None and attempt.granted_ns is not None:
            attempt.outcome = outcome

    def abandoned(self, is_gone: Callable[[str], bool], now_ns: int) -> None:
        """Notes that the leases with such ids have ended. Their waiting requests are refused by a change."""
        for lease_id in [each for each in self._open if is_gone(each)]:
            if self._open[lease_id].granted_ns is not None:
                self.ended(lease_id, Outcome.ABANDONED, now_ns)

    def changed(self, changes: Iterable[Change], now_ns: int) -> None:
        """Takes in grants, refusals and charges."""
        for change in changes:
            for lease_id in change.granted:
                self._grant(lease_id, now_ns)
            for lease_id, refused in change.refused:
                self.refused(lease_id, refused, now_ns)
            for event in change.events:
                if isinstance(event, LeaseEnded):
                    of = event.pool, event.caller.name
                    self.used[of] = self.used.get(of, _NOTHING).plus(event.used)

    def measured(self, pools: Iterable[PoolSnapshot], now_ns: int) -> None:
        """Takes in the rates of all pools, which have been in effect since the last time."""
        before_ns, self._rates_ns = self._rates_ns, now_ns
        if before_ns is None:
            return
        minutes = (now_ns - before_ns) / NS_PER_MINUTE
        for pool in pools:
            for each in pool.dimensions:
                if each.effective_per_minute is not None:
                    self.granted_quota[pool.pool, each.dimension] += each.effective_per_minute * minutes

    def _add(self, attempt: Attempt) -> None:
        self.all[attempt.lease_id] = self._open[attempt.lease_id] = attempt

    def _grant(self, lease_id: str, now_ns: int) -> None:
        if (attempt := self._open.get(lease_id)) is not None and attempt.granted_ns is None:
            attempt.granted_ns = now_ns

    def _close(self, lease_id: str, now_ns: int) -> Attempt | None:
        attempt = self._open.pop(lease_id, None)
        if attempt is not None:
            attempt.over_ns = now_ns
        return attempt
