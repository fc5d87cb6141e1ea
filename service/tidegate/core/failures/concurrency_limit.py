"""A limit on unanswered requests, learned from failures: 529, 5xx and no answer.

Additive increase, multiplicative decrease, after the ideas of TCP and of Netflix's concurrency-limits (`AIMDLimit`).
The limit grows only where it is used, and the level that failed is remembered. Failures that are as frequent at a lower
level are chance and reduce nothing.

The limit counts requests without the head of an answer. An overloaded upstream refuses at the head, and the time that
an answer takes afterwards is no sign of overload.
"""

from typing import Final, Self

from msgspec import Struct

from tidegate.core.domain.nanoseconds import NS_PER_SECOND

__all__ = ["ConcurrencyLimit", "ConcurrencyLimitState"]

_CUT: Final = 0.95
"""Each failure takes a twentieth. Answers give back the share that failures by chance are known to take."""
_LEAST: Final = 4.0
"""This few are no load for any upstream. If it answers nothing at all, the circuit breaker opens."""
_GROWTH: Final = 0.1
"""Above the level that failed before, each answer adds this much: a tenth of the limit per round trip."""
_SAFE: Final = 0.9
"""Up to this share of the level that was in use, each answer adds one, which doubles the limit in a round trip."""
_KEPT: Final = 1 - 0.01
"""The level in use is the highest of about the last hundred answers."""
_FORGET_NS: Final = 30 * NS_PER_SECOND
"""After this time without a failure the upstream is healthy, and nothing is limited."""

_LOW: Final = 0.9
"""Failures at no more than this share of the recent level are not caused by the level."""
_LOW_KEPT: Final = 1 - 0.002
"""The recent level is the highest of about the last five hundred outcomes: long enough to see what a lower one does."""
_CHANCE_WEIGHT: Final = 0.01
_MOST_CHANCE: Final = 0.2
"""A larger share of failures is not chance, whatever the level."""


class ConcurrencyLimitState(Struct, frozen=True, array_like=True):
    """The dump of a `ConcurrencyLimit`. Ages are relative to the time of the dump."""

    limit: float | None
    failed_ago_ns: int
    cut_ago_ns: int
    used: float
    safe: float
    is_new: bool
    doubles: bool
    chance: float
    high: float


class ConcurrencyLimit:
    """No limit until a request fails. From then on the limit stays above the level in use unless failures continue."""

    __slots__ = ("_chance", "_cut_ns", "_doubles", "_failed_ns", "_high", "_is_new", "_limit", "_safe", "_used")

    def __init__(self, now_ns: int) -> None:
        self._limit: float | None = None
        self._failed_ns = now_ns
        self._cut_ns = now_ns
        self._used = 0.0
        self._safe = 0.0
        self._is_new = False  # there was no limit before these failures, and no answer since
        self._doubles = False
        self._chance = 0.0  # the share of requests that fail by chance
        self._high = 0.0  # the recent level

    def dump(self, now_ns: int) -> ConcurrencyLimitState:
        """The state, for `restore`."""
        return ConcurrencyLimitState(
            self._limit,
            now_ns - self._failed_ns,
            now_ns - self._cut_ns,
            self._used,
            self._safe,
            self._is_new,
            self._doubles,
            self._chance,
            self._high,
        )

    @classmethod
    def restore(cls, state: ConcurrencyLimitState, now_ns: int) -> Self:
        """A limit that continues from `state`."""
        restored = cls(now_ns)
        restored._limit = state.limit
        restored._failed_ns = now_ns - state.failed_ago_ns
        restored._cut_ns = now_ns - state.cut_ago_ns
        restored._used = state.used
        restored._safe = state.safe
        restored._is_new = state.is_new
        restored._doubles = state.doubles
        restored._chance = state.chance
        restored._high = state.high
        return restored

    def limit(self, now_ns: int) -> float | None:
        """The limit, at least 4; None where there is none."""
        if self._limit is not None and now_ns - self._failed_ns > _FORGET_NS:
            self._limit = None
        return self._limit

    def fits(self, unanswered: int, now_ns: int) -> bool:
        """Whether one more request may go beside the `unanswered` ones."""
        limit = self.limit(now_ns)
        return limit is None or unanswered < int(limit)

    def fits_again(self, unanswered: int) -> bool:
        """Whether one more request was no overload before an outage, ignoring the failures during the outage."""
        return self._limit is None or unanswered < int(max(self._limit, self._safe))

    def answered(self, unanswered: int, sent_ns: int) -> None:
        """One of the `unanswered` requests, sent at `sent_ns`, was answered."""
        # No `max`, and no work for a limit or a chance that does not exist: each answer passes here.
        used, high = _KEPT * self._used, _LOW_KEPT * self._high
        self._used = used if used > unanswered else unanswered  # noqa: FURB136
        self._high = high = high if high > unanswered else unanswered  # noqa: FURB136
        if self._is_new:
            self._is_new = sent_ns <= self._cut_ns
        if self._chance and unanswered < _LOW * high:
            self._chance -= _CHANCE_WEIGHT * self._chance
        if self._limit is not None and 2 * unanswered >= self._limit:
            self._limit += self._chance / (1 - self._chance) * (1 - _CUT) * self._limit
            self._limit += 1.0 if self._doubles or self._limit < self._safe else _GROWTH

    def failed(self, unanswered: int, sent_ns: int, now_ns: int, *, outage: bool) -> None:
        """One of the `unanswered` requests, sent at `sent_ns`, failed. During an outage their number says nothing."""
        used = max(unanswered, self._used)
        if not outage:
            self._learn_chance(unanswered)
        if sent_ns >= self._cut_ns and not outage:
            self._cut_ns = now_ns  # requests that were sent before belong to the same event
            self._safe = _SAFE * used
            self._doubles = False
        self._is_new = self._is_new or self._limit is None
        before = 2 * used if self._limit is None else self._limit
        self._limit = max(_LEAST, _CUT * before)
        self._failed_ns = now_ns

    def recovered(self) -> None:
        """An outage has ended. It was not caused by the level, so the level before it is safe.

        If there was no limit before the outage, the limit doubles in a round trip until a request fails.
        """
        if self._limit is not None:
            self._limit = max(self._limit, self._safe)
            self._doubles = self._is_new

    def _learn_chance(self, unanswered: int) -> None:
        """A failure at a low level is chance. A failure at a high level makes chance less likely."""
        self._high = max(unanswered, _LOW_KEPT * self._high)
        if unanswered < _LOW * self._high:
            self._chance = min(self._chance + _CHANCE_WEIGHT * (1 - self._chance), _MOST_CHANCE)
        else:
            self._chance *= 1 - _CHANCE_WEIGHT
