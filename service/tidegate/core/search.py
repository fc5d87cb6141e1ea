"""Finds a rate that nobody tells: from the refusals alone.

At a 429 the upstream's bucket is empty. Between two 429s it was refilled by exactly what was accepted, so two of them
measure the rate: accepted ÷ time. Until it is measured the rate grows exponentially; afterwards it stays a little
below, and is tried upwards now and then, so that a limit that rose is found.
"""

from math import sqrt
from typing import Final

from tidegate.core.clock import NS_PER_SECOND

__all__ = ["ENDPOINT_PER_SECOND", "START_PER_SECOND", "RateSearch"]

START_PER_SECOND: Final = 2.0
"""For a Messages pool, of which nothing is known."""
ENDPOINT_PER_SECOND: Final = 16.0
"""For other endpoints: the lowest limit that is published for one, 1,000 requests a minute (batches, Start tier)."""
_GROWTH_PER_SECOND: Final = 1.6
_AFTER_FIRST: Final = 0.25
"""The first 429 only says that the burst is used up: growth has overshot the rate by an unknown factor."""
_BELOW_MEASURED: Final = 0.97
_TRIAL_SHARE: Final = 0.04
_TRIAL_EVERY_NS: Final = 20 * NS_PER_SECOND
_TRIAL_EVERY_ANSWERS: Final = 150
"""A trial ends in a 429 or two: no more than about ten of them in a thousand answers."""
_DOUBT: Final = 0.5
"""A measurement over n answers of mixed sizes is off by about this ÷ √n."""
_ENOUGH_ANSWERS: Final = 10
_ENOUGH_NS: Final = 5 * NS_PER_SECOND
"""A measurement over fewer answers, or a shorter time, would be off by more than the margins that follow from it."""


class RateSearch:
    """The rate to try, in requests a second. Time is the monotonic clock in nanoseconds."""

    __slots__ = ("_accepted", "_accepted_then", "_changed_ns", "_evidence", "_per_second", "_refused_ns", "_trial_base")

    def __init__(self, now_ns: int, start_per_second: float = START_PER_SECOND) -> None:
        self._per_second = start_per_second
        self._changed_ns = now_ns
        self._refused_ns: int | None = None
        self._accepted = 0
        self._accepted_then = 0
        self._trial_base = 0
        self._evidence = 0  # answers that the last measurement counted; 0: there was none

    def accepted(self) -> None:
        """The upstream accepted a request."""
        self._accepted += 1

    def refused(self, now_ns: int) -> None:
        """The upstream answered 429, to a request that was sent after the last 429."""
        accepted, elapsed_ns = self._accepted - self._accepted_then, now_ns - (self._refused_ns or 0)
        self._changed_ns, self._trial_base = now_ns, self._accepted
        if self._refused_ns is not None:
            if accepted < _ENOUGH_ANSWERS and elapsed_ns < _ENOUGH_NS:
                self._per_second *= _BELOW_MEASURED
                return  # the earlier 429 stays where the measurement starts
            self._evidence = accepted
            self._per_second = _BELOW_MEASURED * accepted * NS_PER_SECOND / elapsed_ns
        else:
            self._per_second *= _AFTER_FIRST
        self._refused_ns, self._accepted_then = now_ns, self._accepted

    def per_second(self, now_ns: int) -> float:
        """The rate now, asked for because somebody waits: without demand there is nothing to try."""
        elapsed_ns = now_ns - self._changed_ns
        if not self._evidence:
            grown_s = min(elapsed_ns, NS_PER_SECOND) / NS_PER_SECOND  # a pause without demand does not count
            self._per_second *= _GROWTH_PER_SECOND**grown_s
            self._changed_ns = now_ns
        elif self._is_time_for_trial(elapsed_ns):
            self._per_second *= 1 + max(_TRIAL_SHARE, _DOUBT / sqrt(self._evidence))
            self._changed_ns, self._trial_base = now_ns, self._accepted
        return max(self._per_second, 0.05)

    def _is_time_for_trial(self, elapsed_ns: int) -> bool:
        """A rate that was measured well is tried seldom and a little; a poor one soon, by as much as it may be off."""
        certainty = min(1.0, self._evidence / _TRIAL_EVERY_ANSWERS)
        answers = self._accepted - self._trial_base
        return elapsed_ns >= certainty * _TRIAL_EVERY_NS and answers >= certainty * _TRIAL_EVERY_ANSWERS
