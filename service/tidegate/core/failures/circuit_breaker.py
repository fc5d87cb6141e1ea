"""A circuit breaker for outages: after several failures in a row only probes are sent, until one is answered."""

from typing import Final, Self

from msgspec import Struct

from tidegate.core.domain.nanoseconds import NS_PER_SECOND
from tidegate.core.failures.probing import Probing, ProbingState

__all__ = ["CircuitBreaker", "CircuitBreakerState"]

_OUTAGE_FAILURES: Final = 5
"""This many failures without an answer between them are an outage and not chance."""
_FIRST_PAUSE_NS: Final = NS_PER_SECOND // 4
_LONGEST_PAUSE_NS: Final = NS_PER_SECOND
"""The end of an outage is noticed within this time."""


class CircuitBreakerState(Struct, frozen=True, array_like=True):
    """The dump of a `CircuitBreaker`. Ages and remaining times are relative to the time of the dump."""

    probing: ProbingState
    failures: int
    failed_ago_ns: int
    pause_ns: int
    pause_ends_in_ns: int


class CircuitBreaker:
    """Closed; open for a pause after the fifth failure in a row; half-open, with few probes; closed again.

    It never stays open: after each pause of at most a second a probe may go, and an answer closes it.
    """

    __slots__ = ("_failed_ns", "_failures", "_pause_ends_ns", "_pause_ns", "_probing")

    def __init__(self, now_ns: int) -> None:
        self._probing = Probing(now_ns)
        self._failures = 0
        self._failed_ns = now_ns
        self._pause_ns = _FIRST_PAUSE_NS
        self._pause_ends_ns = now_ns

    def dump(self, now_ns: int) -> CircuitBreakerState:
        """The state, for `restore`."""
        return CircuitBreakerState(
            self._probing.dump(now_ns),
            self._failures,
            now_ns - self._failed_ns,
            self._pause_ns,
            self._pause_ends_ns - now_ns,
        )

    @classmethod
    def restore(cls, state: CircuitBreakerState, now_ns: int) -> Self:
        """A circuit breaker that continues from `state`."""
        breaker = cls(now_ns)
        breaker._probing = Probing.restore(state.probing, now_ns)
        breaker._failures = state.failures
        breaker._failed_ns = now_ns - state.failed_ago_ns
        breaker._pause_ns = state.pause_ns
        breaker._pause_ends_ns = now_ns + state.pause_ends_in_ns
        return breaker

    @property
    def is_open(self) -> bool:
        """Whether an outage is assumed. Half-open counts as open."""
        return self._probing.active

    @property
    def is_in_doubt(self) -> bool:
        """Whether there is an outage, or failures that may become one."""
        return self._failures > 0 or self.is_open

    def is_next_alone(self, now_ns: int) -> bool:
        """Whether the next probe goes even if requests from before the outage are unanswered."""
        return self._probing.is_next_alone(now_ns)

    def failed(self, sent_ns: int, now_ns: int) -> bool:
        """A request that was sent at `sent_ns` got 529, 5xx or no answer. Returns whether that opened the breaker."""
        if self._probing.predates(sent_ns):
            return False
        self._failures += 1
        self._failed_ns = sent_ns
        if self._failures < _OUTAGE_FAILURES:
            return False
        was_open = self.is_open
        self._probing.refused(now_ns, sent_ns, waves=True)
        self._pause_ends_ns = now_ns + self._pause_ns
        self._pause_ns = min(2 * self._pause_ns, _LONGEST_PAUSE_NS)
        return not was_open

    def answered(self, sent_ns: int) -> bool:
        """A request that was sent at `sent_ns` was answered. Returns whether that closed the breaker."""
        if sent_ns > self._failed_ns:
            self._failures = 0
        if not self._probing.answered(sent_ns):
            return False
        self._failures = 0
        self._pause_ns = _FIRST_PAUSE_NS
        return True

    def sent(self, now_ns: int) -> None:
        """A request goes. If the breaker is open, it is a probe."""
        self._probing.sent(now_ns)

    def ended(self, sent_ns: int) -> None:
        """A request that was sent at `sent_ns` ended. If it was a probe, the next may go at once."""
        self._probing.ended(sent_ns)

    def wait_ns(self, now_ns: int) -> int:
        """Time until a request may go; 0 while the breaker is closed."""
        if not self._probing.active:
            return 0
        return max(self._pause_ends_ns - now_ns, self._probing.wait_ns(now_ns))
