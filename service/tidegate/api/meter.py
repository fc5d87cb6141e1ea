"""What a generation has waited and tried so far: its answer says so even when it fails."""

from tidegate.core.domain.nanoseconds import to_seconds
from tidegate.core.ports.clock import Clock
from tidegate.generation.request import AttemptStarted, Progress, WaitPredicted

__all__ = ["CallMeter"]


class CallMeter:
    """Measures one call by its progress.

    Attributes:
        attempts: attempts at the upstream.
    """

    def __init__(self, clock: Clock) -> None:
        self.attempts = 0
        self._clock = clock
        self._queued_ns = 0
        self._waiting_since_ns: int | None = None

    @property
    def queued_ns(self) -> int:
        """Time spent waiting for quota, a wait that goes on included."""
        return self._queued_ns + self._wait_ns()

    @property
    def queued_ms(self) -> int:
        """The same in whole milliseconds."""
        return round(to_seconds(self.queued_ns) * 1000)

    def note(self, progress: Progress) -> None:
        """Takes in progress."""
        if isinstance(progress, WaitPredicted) and self._waiting_since_ns is None:
            self._waiting_since_ns = self._clock.monotonic_ns()
        elif isinstance(progress, AttemptStarted):
            self.attempts += 1
            self._queued_ns += self._wait_ns()
            self._waiting_since_ns = None

    def _wait_ns(self) -> int:
        return 0 if self._waiting_since_ns is None else self._clock.monotonic_ns() - self._waiting_since_ns
