"""A sharp rise in use is spread over a second or two, until the upstream has shown how fast use may rise."""

from typing import Final, Self

from msgspec import Struct

from tidegate.core.acceleration.use_history import UseHistory
from tidegate.core.domain.nanoseconds import NS_PER_SECOND

__all__ = ["SlowStart", "SlowStartState"]

_AT_ONCE: Final = 50
"""The lowest published limit is 50 requests a minute ("Rate limits"). So many at once are no sharp rise."""
_MORE: Final = 0.25
_STEP_NS: Final = NS_PER_SECOND // 10
"""A refusal comes after a round trip, an answer only once it has begun. In the time that a refusal takes, use rises by
no more than this share: of what is too much, that is under way before it is known."""


class SlowStartState(Struct, frozen=True, array_like=True):
    """A dumped `SlowStart`."""

    next_in_ns: int
    left: float
    age_ns: int
    """Time since the last request."""
    per_ns: float
    rated_ago_ns: int


class SlowStart:
    """A token bucket of requests: it holds `_AT_ONCE`, and gains `_MORE` × (requests of the last minute) per step.

    So use grows exponentially, as in TCP's slow start (RFC 5681, 3.1). The rate is 150 times that of the last minute:
    steady use never waits. A burst of 1,000 requests after an idle minute takes 1.4 seconds.

    Attributes:
        next_ns: when the next request may go.
    """

    __slots__ = ("_at_ns", "_left", "_per_ns", "_rated_ns", "next_ns")

    def __init__(self) -> None:
        self.next_ns = 0
        self._left = float(_AT_ONCE)
        self._at_ns = 0
        self._per_ns = 0.0
        self._rated_ns = 0

    def sent(self, now_ns: int, requests: UseHistory) -> None:
        """One request goes, which `requests` counts already."""
        if now_ns - self._rated_ns >= NS_PER_SECOND:
            self._rate(now_ns, requests)
        self._left = min(self._left + (now_ns - self._at_ns) * self._per_ns, _AT_ONCE) - 1
        self._at_ns = now_ns
        if self._left < 1:
            self._rate(now_ns, requests)
            self.next_ns = now_ns + round((1 - self._left) / self._per_ns)

    def dump(self, now_ns: int) -> SlowStartState:
        """The state at `now_ns`."""
        next_in_ns, age_ns, rated_ago_ns = self.next_ns - now_ns, now_ns - self._at_ns, now_ns - self._rated_ns
        return SlowStartState(next_in_ns, self._left, age_ns, self._per_ns, rated_ago_ns)

    @classmethod
    def restore(cls, state: SlowStartState, now_ns: int) -> Self:
        """Continues exactly from a dumped state."""
        start = cls()
        start.next_ns, start._at_ns = now_ns + state.next_in_ns, now_ns - state.age_ns
        start._left, start._per_ns, start._rated_ns = state.left, state.per_ns, now_ns - state.rated_ago_ns
        return start

    def _rate(self, now_ns: int, requests: UseHistory) -> None:
        self._per_ns = _MORE * max(1, requests.last_minute(now_ns)) / _STEP_NS
        self._rated_ns = now_ns
