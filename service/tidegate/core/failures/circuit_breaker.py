"""A circuit breaker for outages: after some failures in a row nothing is sent but probes, until one is answered."""

from typing import Final

from tidegate.core.domain.nanoseconds import NS_PER_SECOND
from tidegate.core.failures.probing import Probing

__all__ = ["CircuitBreaker"]

_OUTAGE_FAILURES: Final = 5
"""So many failures without an answer between them are an outage, not bad luck."""
_FIRST_PAUSE_NS: Final = NS_PER_SECOND // 4
_LONGEST_PAUSE_NS: Final = NS_PER_SECOND
"""An outage that ends is noticed within this time."""


class CircuitBreaker:
    """Closed; open for a pause after the fifth failure in a row; half-open, with few probes; closed again.

    It never stays open: after each pause, of a second at most, a probe may go, and an answer closes it.
    """

    __slots__ = ("_failed_ns", "_failures", "_pause_ns", "_pauses_until_ns", "_prober")

    def __init__(self, now_ns: int) -> None:
        self._prober = Probing(now_ns)
        self._failures = 0
        self._failed_ns = now_ns
        self._pause_ns = _FIRST_PAUSE_NS
        self._pauses_until_ns = now_ns

    @property
    def is_open(self) -> bool:
        """Whether there is an outage, as far as is known; half-open counts as open."""
        return self._prober.active

    @property
    def is_in_doubt(self) -> bool:
        """Whether there is an outage, or failures that may become one."""
        return self._failures > 0 or self.is_open

    def is_next_alone(self, now_ns: int) -> bool:
        """Whether the next probe goes whatever hangs since the outage began."""
        return self._prober.is_next_alone(now_ns)

    def failed(self, sent_ns: int, now_ns: int) -> bool:
        """A request that was sent then got 529, 5xx or no answer. Returns whether that opened the breaker."""
        if self._prober.predates(sent_ns):
            return False
        self._failures += 1
        self._failed_ns = sent_ns
        if self._failures < _OUTAGE_FAILURES:
            return False
        was_open = self.is_open
        self._prober.begin(now_ns, sent_ns, waves=True)
        self._pauses_until_ns = now_ns + self._pause_ns
        self._pause_ns = min(2 * self._pause_ns, _LONGEST_PAUSE_NS)
        return not was_open

    def answered(self, sent_ns: int) -> bool:
        """A request that was sent then was answered. Returns whether that closed the breaker."""
        if sent_ns > self._failed_ns:
            self._failures = 0
        if not self._prober.answered(sent_ns):
            return False
        self._failures = 0
        self._pause_ns = _FIRST_PAUSE_NS
        return True

    def sent(self, now_ns: int) -> None:
        """A request goes: a probe, if the breaker is open."""
        self._prober.sent(now_ns)

    def ended(self, sent_ns: int) -> None:
        """A request that was sent then ended: if it was a probe, the next may go at once."""
        self._prober.ended(sent_ns)

    def wait_ns(self, now_ns: int) -> int:
        """How long until a request may go; 0 while the breaker is closed."""
        if not self._prober.active:
            return 0
        return max(self._pauses_until_ns - now_ns, self._prober.wait_ns(now_ns))
