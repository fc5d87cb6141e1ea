"""When the headers of an answer are worth reading: under load, the next answer says the same a moment later."""

from typing import Final

__all__ = ["Lessons"]

_EVERY_NS: Final = 5_000_000
"""A level is off by what is refilled in this time, at most; reading headers costs what all else in the limiter does."""
_MOST_POOLS: Final = 1_000


class Lessons:
    """Remembers when a pool has last learned its limits from an answer."""

    def __init__(self) -> None:
        self._learned_ns: dict[str, int] = {}

    def are_due(self, pool: str, now_ns: int) -> bool:
        """Whether the pool should learn again. One that has not found limits in answers learns from each."""
        return now_ns - self._learned_ns.get(pool, -_EVERY_NS) >= _EVERY_NS

    def learned(self, pool: str, now_ns: int) -> None:
        """The pool has learned limits from an answer."""
        if len(self._learned_ns) >= _MOST_POOLS:
            self._learned_ns.clear()
        self._learned_ns[pool] = now_ns
