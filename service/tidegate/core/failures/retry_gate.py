"""Decides when a failed request may be retried."""

from typing import Final, Self

from msgspec import Struct

from tidegate.core.domain.nanoseconds import NS_PER_SECOND
from tidegate.core.failures.failure_tracker import FailureTracker

__all__ = ["RetryGate", "RetryGateState"]

_PROBE_EVERY_NS: Final = 5 * NS_PER_SECOND


class RetryGateState(Struct, frozen=True, array_like=True):
    """The dump of a `RetryGate`: how long until a retry may go without budget; negative if it may already."""

    probe_in_ns: int


class RetryGate:
    """Admits a retry when the retry budget or a probe allows it.

    In an outage each retry is a probe. Where the budget is used up, one retry goes every five seconds all the same.
    Neither costs any budget. `now_ns` is monotonic time.
    """

    __slots__ = ("_failures", "_probe_ns")

    def __init__(self, failures: FailureTracker, now_ns: int) -> None:
        self._failures = failures
        self._probe_ns = now_ns

    def dump(self, now_ns: int) -> RetryGateState:
        """The state, for `restore`."""
        return RetryGateState(self._probe_ns - now_ns)

    @classmethod
    def restore(cls, state: RetryGateState, now_ns: int, failures: FailureTracker) -> Self:
        """A gate that continues from `state`."""
        return cls(failures, now_ns + state.probe_in_ns)

    def wait_ns(self, now_ns: int) -> int:
        """Time until a retry may go, even if nothing succeeds meanwhile."""
        if self._failures.is_outage:
            return 0
        return min(self._failures.budget.wait_ns(now_ns), max(0, self._probe_ns - now_ns))

    def sent(self, now_ns: int) -> None:
        """A retry goes."""
        if self._failures.is_outage:
            return
        if self._failures.budget.left(now_ns) >= 1:
            self._failures.budget.retried(now_ns)
        else:
            self._probe_ns = now_ns + _PROBE_EVERY_NS
