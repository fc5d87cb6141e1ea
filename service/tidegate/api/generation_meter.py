"""Measures waits and attempts of a generation, which are reported even if it fails."""

from tidegate.core.domain.nanoseconds import to_seconds
from tidegate.core.ports.clock import Clock
from tidegate.generation.request import AttemptStarted, Progress, WaitPredicted

__all__ = ["GenerationMeter"]


class GenerationMeter:
    """Measures one generation from its progress.

    Attributes:
        attempts: requests to the upstream.
    """

    def __init__(self, clock: Clock) -> None:
        self.attempts = 0
        self._clock = clock
        self._queue_wait_ns = 0
        self._waiting_since_ns: int | None = None

    @property
    def queue_wait_ns(self) -> int:
        """Time spent waiting for quota, including a wait in progress."""
        return self._queue_wait_ns + self._wait_ns()

    @property
    def queued_ms(self) -> int:
        """`queue_wait_ns` in milliseconds."""
        return round(to_seconds(self.queue_wait_ns) * 1000)

    def observe(self, progress: Progress) -> None:
        """Updates the measurements."""
        if isinstance(progress, WaitPredicted) and self._waiting_since_ns is None:
            self._waiting_since_ns = self._clock.monotonic_ns()
        elif isinstance(progress, AttemptStarted):
            self.attempts += 1
            self._queue_wait_ns += self._wait_ns()
            self._waiting_since_ns = None

    def _wait_ns(self) -> int:
        return 0 if self._waiting_since_ns is None else self._clock.monotonic_ns() - self._waiting_since_ns
