"""Callers that ask for more of a pool than their share."""

from collections import defaultdict
from typing import Final

from tidegate.core.domain.nanoseconds import NS_PER_SECOND
from tidegate.observe.recent.sliding_count import WINDOW_SECONDS, SlidingCount

__all__ = ["Flooders"]

_LEAST_REFUSALS: Final = 3
"""The refusals of a caller in the last minute from which on it may flood. Fewer are a burst."""
_SHARE: Final = 2 / 3
"""The share of all refusals above which a caller floods. If several are refused alike, the quota is too small."""
_WINDOW_NS: Final = WINDOW_SECONDS * NS_PER_SECOND


class Flooders:
    """Distinguishes callers that flood a pool from those that wait because quota is short.

    A caller floods a pool if, in the last minute, at least 3 of its calls were refused for lack of quota, these were
    more than two thirds of all such refusals, and calls of another caller were admitted. Its waits are its own doing:
    the fair queue serves the others first.

    Callers and pools must come from bounded sets.

    >>> flooders = Flooders()
    >>> for _ in range(3):
    ...     flooders.observe_refusal("sonnet-5-5", "nightly", 0)
    >>> flooders.observe_admission("sonnet-5-5", "web", 0)
    >>> flooders.floods("sonnet-5-5", "nightly", 0)
    True
    """

    def __init__(self) -> None:
        self._refusals: defaultdict[str, defaultdict[str, SlidingCount]] = defaultdict(
            lambda: defaultdict(SlidingCount)
        )
        self._admitted_ns: defaultdict[str, dict[str, int]] = defaultdict(dict)

    def observe_refusal(self, pool: str, caller: str, now_ns: int) -> None:
        """Counts a call that was refused for lack of quota."""
        self._refusals[pool][caller].add(now_ns)

    def observe_admission(self, pool: str, caller: str, now_ns: int) -> None:
        """Notes that a call was admitted."""
        self._admitted_ns[pool][caller] = now_ns

    def floods(self, pool: str, caller: str, now_ns: int) -> bool:
        """Whether the caller floods the pool now."""
        refusals = self._refusals.get(pool)
        if refusals is None or caller not in refusals:
            return False
        own = refusals[caller].total(now_ns)
        if own < _LEAST_REFUSALS or own <= _SHARE * sum(each.total(now_ns) for each in refusals.values()):
            return False
        return any(
            now_ns - admitted_ns < _WINDOW_NS
            for other, admitted_ns in self._admitted_ns[pool].items()
            if other != caller
        )
