"""The sessions of the last minutes."""

from collections import OrderedDict
from typing import Final

from tidegate.core.domain.nanoseconds import NS_PER_MINUTE

__all__ = ["MAX_SESSIONS", "SESSION_MINUTES", "RecentSessions"]

SESSION_MINUTES: Final = 5
"""Agents pause for minutes, while a tool runs or a person reads."""
MAX_SESSIONS: Final = 10_000
_WINDOW_NS: Final = SESSION_MINUTES * NS_PER_MINUTE


class RecentSessions:
    """Counts the distinct sessions that were seen in the last five minutes.

    It keeps a hash and a time of at most 10,000 sessions, about 1.5 MB. Of more, the one that was not seen for the
    longest time is forgotten, so the count is then 10,000.

    >>> sessions = RecentSessions()
    >>> sessions.see("web", "s-1", 0)
    >>> sessions.see("web", "s-1", 60 * 10**9)
    >>> sessions.count(301 * 10**9), sessions.count(361 * 10**9)
    (1, 0)
    """

    def __init__(self) -> None:
        self._seen_ns: OrderedDict[int, int] = OrderedDict()

    def see(self, caller: str, session: str, now_ns: int) -> None:
        """Notes that a session of a caller is active. `now_ns` must not decrease."""
        key = hash((caller, session))
        self._seen_ns[key] = now_ns
        self._seen_ns.move_to_end(key)
        if len(self._seen_ns) > MAX_SESSIONS:
            self._seen_ns.popitem(last=False)

    def count(self, now_ns: int) -> int:
        """The number of distinct sessions, and forgets older ones."""
        while self._seen_ns and next(iter(self._seen_ns.values())) <= now_ns - _WINDOW_NS:
            self._seen_ns.popitem(last=False)
        return len(self._seen_ns)
