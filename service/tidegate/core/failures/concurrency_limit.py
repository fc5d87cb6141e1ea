"""How many requests may wait for the upstream's answer at a time, learned from failures: 529, 5xx and no answer at all.

Additive increase, multiplicative decrease, after the ideas of TCP and of Netflix's concurrency-limits (`AIMDLimit`):
grow only where the limit is used, remember the level that failed. What fails as often at a lower level fails by chance,
and takes nothing. What is counted are requests without the head of an
answer: an upstream that is overloaded refuses at the head, and how long an answer goes on afterwards is not its fault.
"""

from typing import Final

from tidegate.core.domain.nanoseconds import NS_PER_SECOND

__all__ = ["ConcurrencyLimit"]

_CUT: Final = 0.95
"""Each failure takes a twentieth. What failures by chance take is given back, as far as they are known to be such."""
_LEAST: Final = 4.0
"""So few are no load for any upstream; if it answers nothing at all, the breaker sees to that."""
_GROWTH: Final = 0.1
"""Each answer adds so much, a tenth of the limit in a round trip, once the level is reached that failed before."""
_SAFE: Final = 0.9
"""Up to this share of the level that was in use growth is fast: one for each answer doubles it in a round trip."""
_KEPT: Final = 1 - 0.01
"""The level in use is the highest of the last hundred answers, about."""
_FORGET_NS: Final = 30 * NS_PER_SECOND
"""Without a failure for so long the upstream is well, and nothing is limited."""

_LOW: Final = 0.9
"""Where no more than this share of the level of late is unanswered, failures are not its fault."""
_LOW_KEPT: Final = 1 - 0.002
"""The level of late is the highest of the last five hundred outcomes, about: long enough to see what a lower does."""
_CHANCE_FORGET: Final = 0.01
_MOST_CHANCE: Final = 0.2
"""What fails more often than this is no bad luck, whatever the level."""


class ConcurrencyLimit:
    """No limit at all until something fails; from then on one that stays above what is in use unless failures go on."""

    __slots__ = ("_chance", "_cut_ns", "_doubles", "_failed_ns", "_high", "_is_new", "_limit", "_safe", "_used")

    def __init__(self, now_ns: int) -> None:
        self._limit: float | None = None
        self._failed_ns = now_ns
        self._cut_ns = now_ns
        self._used = 0.0
        self._safe = 0.0
        self._is_new = False  # no limit before these failures, and no answer since
        self._doubles = False
        self._chance = 0.0  # the share that fails by chance
        self._high = 0.0  # the level of late

    def limit(self, now_ns: int) -> float | None:
        """The limit, at least 4; None where there is none."""
        if self._limit is not None and now_ns - self._failed_ns > _FORGET_NS:
            self._limit = None
        return self._limit

    def fits(self, unanswered: int, now_ns: int) -> bool:
        """Whether one more may go beside those that have no answer yet."""
        limit = self.limit(now_ns)
        return limit is None or unanswered < int(limit)

    def fits_again(self, unanswered: int) -> bool:
        """Whether one more was no load before an outage, whatever failed in it."""
        return self._limit is None or unanswered < int(max(self._limit, self._safe))

    def answered(self, unanswered: int, sent_ns: int) -> None:
        """One of so many requests, sent then, was answered."""
        # No `max`, and no look at what there is none of: each answer comes by here.
        used, high = _KEPT * self._used, _LOW_KEPT * self._high
        self._used = used if used > unanswered else unanswered  # noqa: FURB136
        self._high = high = high if high > unanswered else unanswered  # noqa: FURB136
        if self._is_new:
            self._is_new = sent_ns <= self._cut_ns
        if self._chance and unanswered < _LOW * high:
            self._chance -= _CHANCE_FORGET * self._chance
        if self._limit is not None and 2 * unanswered >= self._limit:
            self._limit += self._chance / (1 - self._chance) * (1 - _CUT) * self._limit
            self._limit += 1.0 if self._doubles or self._limit < self._safe else _GROWTH

    def failed(self, unanswered: int, sent_ns: int, now_ns: int, *, outage: bool) -> None:
        """One of so many requests, sent then, failed. In an outage probes fail whatever their number."""
        used = max(unanswered, self._used)
        if not outage:
            self._learn_chance(unanswered)
        if sent_ns >= self._cut_ns and not outage:
            self._cut_ns = now_ns  # what was sent before belongs to the same event
            self._safe = _SAFE * used
            self._doubles = False
        self._is_new = self._is_new or self._limit is None
        before = 2 * used if self._limit is None else self._limit
        self._limit = max(_LEAST, _CUT * before)
        self._failed_ns = now_ns

    def recovered(self) -> None:
        """An outage is over, which was no matter of numbers: what was in use before it is safe.

        What was not limited before it doubles in a round trip until something fails.
        """
        if self._limit is not None:
            self._limit = max(self._limit, self._safe)
            self._doubles = self._is_new

    def _learn_chance(self, unanswered: int) -> None:
        """Where few are unanswered, what fails does so by chance; each failure elsewhere makes that less sure."""
        self._high = max(unanswered, _LOW_KEPT * self._high)
        if unanswered < _LOW * self._high:
            self._chance = min(self._chance + _CHANCE_FORGET * (1 - self._chance), _MOST_CHANCE)
        else:
            self._chance *= 1 - _CHANCE_FORGET
