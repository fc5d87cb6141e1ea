"""The freeze of a pool after a 429."""

from typing import Final, Self

from tidegate.core.domain.events import Event, Frozen, Thawed
from tidegate.core.domain.nanoseconds import NS_PER_SECOND

__all__ = ["Freeze"]

_LEAST_CHANGE_NS: Final = NS_PER_SECOND // 4
"""A burst of 429s prolongs a freeze by moments. Smaller changes are not worth an event each."""


class Freeze:
    """Admits nobody until a time. `events` collects its begin and its end. `now_ns` is monotonic time.

    Attributes:
        until_ns: the end of the freeze; None if there is none.
    """

    __slots__ = ("_events", "_pool", "until_ns")

    def __init__(self, pool: str, events: list[Event]) -> None:
        self._pool = pool
        self._events = events
        self.until_ns: int | None = None

    def dump(self, now_ns: int) -> int | None:
        """Remaining time of the freeze; None if there is none."""
        return None if self.until_ns is None else self.until_ns - now_ns

    @classmethod
    def restore(cls, state: int | None, now_ns: int, pool: str, events: list[Event]) -> Self:
        """A freeze that lasts as long as the dumped one would have."""
        freeze = cls(pool, events)
        freeze.until_ns = None if state is None else now_ns + state
        return freeze

    def extend(self, duration_ns: int, now_ns: int) -> None:
        """Freezes for the duration, or until an earlier freeze ends, whichever is later."""
        until_ns, known_ns = now_ns + max(0, duration_ns), self.until_ns or 0
        if until_ns > max(now_ns, known_ns):
            self.until_ns = until_ns
            if known_ns <= now_ns or until_ns - known_ns > _LEAST_CHANGE_NS:
                self._events.append(Frozen(self._pool, until_ns - now_ns))

    def left_ns(self, now_ns: int) -> int:
        """Remaining time of the freeze; 0 if there is none."""
        return 0 if self.until_ns is None else max(0, self.until_ns - now_ns)

    def is_over(self, now_ns: int) -> bool:
        """Whether there is no freeze. Ends one whose time has come."""
        if self.until_ns is not None and now_ns >= self.until_ns:
            self.until_ns = None
            self._events.append(Thawed(self._pool))
        return self.until_ns is None
