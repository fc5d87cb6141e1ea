"""Spreads a sharp rise in use over a second or two, until the upstream has shown how fast use may rise."""

from typing import Final, Self

from msgspec import Struct

from tidegate.core.acceleration.use_history import UseHistory
from tidegate.core.domain.nanoseconds import NS_PER_SECOND

__all__ = ["SlowStart", "SlowStartState"]

_BURST: Final = 50
"""The lowest published limit is 50 requests per minute ("Rate limits"). This many at once are no sharp rise."""
_GROWTH: Final = 0.25
"""Growth of use per step: of a rise that is too sharp, this share is sent before a 429 shows it."""
_STEP_NS: Final = NS_PER_SECOND // 10
"""A step is the time that a 429 takes. A response takes longer: it comes once the output has begun."""


class SlowStartState(Struct, frozen=True, array_like=True):
    """The dump of a `SlowStart`."""

    next_in_ns: int
    level: float
    sent_ago_ns: int
    per_ns: float
    rated_ago_ns: int


class SlowStart:
    """A token bucket of requests that holds 50 and gains a quarter of the last minute's requests in 0.1 s.

        rate = 0.25 × max(1, requests of the last minute) / 0.1 s

    So use grows exponentially, as in TCP's slow start (RFC 5681, 3.1). The rate is 150 times that of the last minute,
    so steady use never waits. A burst of 1,000 requests after an idle minute takes 1.4 seconds.

    Attributes:
        next_ns: when the next request may be sent.
    """

    __slots__ = ("_level", "_per_ns", "_rated_ns", "_sent_ns", "next_ns")

    def __init__(self) -> None:
        self.next_ns = 0
        self._level = float(_BURST)
        self._sent_ns = 0
        self._per_ns = 0.0
        self._rated_ns = 0

    def dump(self, now_ns: int) -> SlowStartState:
        """The state, for `restore`."""
        sent_ago_ns, rated_ago_ns = now_ns - self._sent_ns, now_ns - self._rated_ns
        return SlowStartState(self.next_ns - now_ns, self._level, sent_ago_ns, self._per_ns, rated_ago_ns)

    @classmethod
    def restore(cls, state: SlowStartState, now_ns: int) -> Self:
        """Continues exactly from `state`."""
        restored = cls()
        restored.next_ns, restored._level = now_ns + state.next_in_ns, state.level
        restored._sent_ns, restored._rated_ns = now_ns - state.sent_ago_ns, now_ns - state.rated_ago_ns
        restored._per_ns = state.per_ns
        return restored

    def sent(self, now_ns: int, requests: UseHistory) -> None:
        """A request is sent. `requests` has already counted it."""
        if now_ns - self._rated_ns >= NS_PER_SECOND:
            self._update_rate(now_ns, requests)
        self._level = min(self._level + (now_ns - self._sent_ns) * self._per_ns, _BURST) - 1
        self._sent_ns = now_ns
        if self._level < 1:
            self._update_rate(now_ns, requests)
            self.next_ns = now_ns + round((1 - self._level) / self._per_ns)

    def _update_rate(self, now_ns: int, requests: UseHistory) -> None:
        self._per_ns = _GROWTH * max(1, requests.last_minute(now_ns)) / _STEP_NS
        self._rated_ns = now_ns
