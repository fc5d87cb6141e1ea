"""Failed requests that come back: they wait ahead of all others, but not in their way."""

from typing import Final

from tidegate.core.clock import NS_PER_SECOND
from tidegate.core.health import Health
from tidegate.core.queue import Waiter

__all__ = ["RetryLane"]

_PROBE_EVERY_NS: Final = 5 * NS_PER_SECOND


class RetryLane:
    """Waiters in the order in which they came; the first may go when the budget for retries, or a probe, lets it.

    In an outage a retry is the probe, and where the budget is used up one goes every five seconds all the same: that
    costs no budget. `now_ns` is monotonic time.

    Attributes:
        waiting: who waits, by lease id; to be read only.
    """

    __slots__ = ("_health", "_probe_ns", "waiting")

    def __init__(self, health: Health, now_ns: int) -> None:
        self._health = health
        self._probe_ns = now_ns
        self.waiting: dict[str, Waiter] = {}

    def push(self, waiter: Waiter) -> None:
        """One more, behind the others."""
        self.waiting[waiter.lease_id] = waiter

    def head(self) -> Waiter | None:
        """Who goes next; None if nobody waits."""
        return next(iter(self.waiting.values()), None)

    def wait_ns(self, now_ns: int) -> int:
        """How long until the first may go, even if nothing succeeds meanwhile."""
        if self._health.is_out:
            return 0
        return min(self._health.budget.wait_ns(now_ns), max(0, self._probe_ns - now_ns))

    def pop(self, now_ns: int) -> Waiter:
        """Takes out the first, at the cost of the budget unless it is a probe.

        Raises:
            StopIteration: nobody waits.
        """
        if not self._health.is_out:
            if self._health.budget.left(now_ns) >= 1:
                self._health.budget.retried(now_ns)
            else:
                self._probe_ns = now_ns + _PROBE_EVERY_NS
        return self.waiting.pop(next(iter(self.waiting)))

    def remove(self, lease_id: str) -> Waiter | None:
        """Takes out a waiter wherever it stands; None if it does not wait here."""
        return self.waiting.pop(lease_id, None)
