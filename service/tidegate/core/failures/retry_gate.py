"""When failed requests may be repeated."""

from typing import Final

from tidegate.core.domain.nanoseconds import NS_PER_SECOND
from tidegate.core.failures.failure_state import FailureState

__all__ = ["RetryGate"]

_PROBE_EVERY_NS: Final = 5 * NS_PER_SECOND


class RetryGate:
    """Lets a failed request go when the retry budget or a probe allows it.

    In an outage a retry is the probe. Where the budget is used up, one request goes every five seconds all the same.
    Neither costs any budget. `now_ns` is monotonic time.
    """

    __slots__ = ("_health", "_probe_ns")

    def __init__(self, health: FailureState, now_ns: int) -> None:
        self._health = health
        self._probe_ns = now_ns

    def wait_ns(self, now_ns: int) -> int:
        """How long until one may go, even if nothing succeeds meanwhile."""
        if self._health.is_out:
            return 0
        return min(self._health.budget.wait_ns(now_ns), max(0, self._probe_ns - now_ns))

    def went(self, now_ns: int) -> None:
        """One goes."""
        if self._health.is_out:
            return
        if self._health.budget.left(now_ns) >= 1:
            self._health.budget.retried(now_ns)
        else:
            self._probe_ns = now_ns + _PROBE_EVERY_NS
