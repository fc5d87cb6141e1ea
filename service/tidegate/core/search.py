"""Finds a rate that nobody tells: from the refusals alone.

At a 429 the upstream's bucket is short of one request, and its `retry-after` says for how long. Between two of them it
was refilled by exactly what was used, so two measure the rate: used ÷ time from the end of one wait to the end of the
other. Until it is measured the rate grows exponentially; afterwards it stays a little below, and is tried upwards now
and then, so that a limit that rose is found.
"""

from typing import Final, NamedTuple

from tidegate.core.clock import NS_PER_SECOND
from tidegate.core.dimension import DIMENSIONS, Cost
from tidegate.core.steadiest import Steadiest

__all__ = ["ENDPOINT_PER_SECOND", "START_PER_SECOND", "RateSearch"]

START_PER_SECOND: Final = 2.0
"""For a Messages pool, of which nothing is known."""
ENDPOINT_PER_SECOND: Final = 16.0
"""For other endpoints: the lowest limit that is published for one, 1,000 requests a minute (batches, Start tier)."""
_REQUESTS: Final = 0
_GROWTH_PER_SECOND: Final = 1.6
_MOST_CUT: Final = 0.25
"""A 429 cuts the rate to no less: growth has overshot by an unknown factor, or what is in flight still drains."""
_BELOW: Final = 0.97
_LEAST_PER_SECOND: Final = (0.05, 1.0, 1.0)
_TRIAL_SHARE: Final = 0.04
_LARGEST_TRIAL: Final = 0.6
_TRIAL_EVERY_NS: Final = 20 * NS_PER_SECOND
_TRIAL_EVERY_REQUESTS: Final = 150
"""A trial ends in a 429 or two: no more than about ten of them in a thousand answers."""
_LEAST_PATIENCE: Final = 0.05
_LEAST_REQUESTS: Final = 3
"""Sooner, or over fewer, a trial cannot have shown anything."""
_ROUNDING_SECONDS: Final = 1.0
"""`retry-after` is rounded up to a whole second."""
_WELL_MEASURED: Final = 0.1
"""A measurement that is off by no more is complete; a worse one goes on."""
_POORLY_MEASURED: Final = 0.5
_ENOUGH_REQUESTS: Final = 10
"""Over fewer requests, sizes vary too much to tell which dimension is limited."""
_SHALLOW_SECONDS: Final = 4


class _Mark(NamedTuple):
    """A moment, and what had been used by then."""

    at_ns: int
    units: Cost


class RateSearch:
    """The rate to try, in units of one dimension a second. Time is the monotonic clock in nanoseconds."""

    __slots__ = (
        "_before_trial",
        "_began_ns",
        "_burst",
        "_changed_ns",
        "_doubt",
        "_limited",
        "_paused_ns",
        "_rate",
        "_start",
        "_starts_last",
        "_trial_base",
        "_trials",
        "_used",
    )

    def __init__(self, now_ns: int, start_per_second: float = START_PER_SECOND) -> None:
        self._limited = Steadiest()
        self._rate = start_per_second
        self._doubt: float | None = None  # by what share the rate may be off; None: it was not measured
        self._used = Cost()
        self._began_ns = now_ns
        self._burst = _Mark(now_ns, Cost())  # the first 429
        self._start: _Mark | None = None  # the 429 from which is measured: when its wait ends
        self._starts_last = False  # whether that is the last one
        self._paused_ns = 0  # since then, without being told to
        self._changed_ns = now_ns
        self._trial_base = 0
        self._trials = 0  # how many in a row have met no 429
        self._before_trial = start_per_second  # the rate that met none for a while

    def sent(self, cost: Cost) -> None:
        """A request is sent: it and its input are used at once, its output as it comes."""
        self.corrected(cost._replace(output_tokens=0))

    def corrected(self, units: Cost) -> None:
        """So much more was used; negative: less."""
        self._used = self._used.plus(units)

    def refused(self, sent_ns: int, now_ns: int, *, retry_after_ns: int | None, pause_ns: int) -> None:
        """The upstream answered 429 to a request that was sent at that moment, after the last 429; it used nothing.

        `retry_after_ns` is what it said, if it did; the pool pauses for `pause_ns`.
        """
        start, end = self._start, _Mark(sent_ns + (retry_after_ns or 0), self._used)
        trials, self._trials = self._trials, 0
        self._changed_ns, self._trial_base = now_ns, self._used.requests
        if start is None:
            self._burst = end
            self._rate *= _MOST_CUT
        if start is None or end.units.requests <= start.units.requests or end.at_ns <= start.at_ns:
            # The burst is used up, or nothing has come back since: here a measurement begins.
            self._start, self._starts_last, self._paused_ns = end, True, pause_ns
            return
        measured, doubt = self._measure(start, end, told=retry_after_ns is not None)
        self._starts_last = doubt <= _WELL_MEASURED
        self._paused_ns += pause_ns
        if self._starts_last:
            self._start, self._paused_ns = end, pause_ns
        rate, before = self._rate, self._before_trial
        self._rate = _BELOW * min(max(rate, measured * (1 - doubt)), measured * (1 + doubt))
        if trials and self._is_shallow(measured):
            # Such a bucket is full after any pause, and what is lost then does not count. But the rate before was fine.
            self._rate, doubt = max(self._rate, before), max(doubt, (rate / before - 1) / 2)
        elif self._rate < _MOST_CUT * rate:
            # The rate was far too low before, and the bucket full; or what was in flight still drains it.
            self._rate, doubt = _MOST_CUT * rate, max(doubt, _POORLY_MEASURED)
        self._doubt = doubt

    def refused_too(self) -> None:
        """Another 429 to a request that had been sent before the last one: it used nothing either."""
        if self._start is not None and self._starts_last:
            self._start = self._start._replace(units=self._used)

    def per_second(self, now_ns: int) -> tuple[float | None, ...]:
        """The rate now, for the dimension that is limited. Asked for when somebody waits: only then may it be tried."""
        elapsed_ns = now_ns - self._changed_ns
        if self._doubt is None:
            grown_s = min(elapsed_ns, NS_PER_SECOND) / NS_PER_SECOND  # a pause without demand does not count
            self._rate *= _GROWTH_PER_SECOND**grown_s
            self._changed_ns = now_ns
        elif self._is_time_for_trial(self._doubt, elapsed_ns):
            self._before_trial = self._rate
            self._rate *= 1 + min(max(_TRIAL_SHARE, self._doubt) * 2**self._trials, _LARGEST_TRIAL)
            self._trials += 1
            self._changed_ns, self._trial_base = now_ns, self._used.requests
        limited = self._limited.index
        rate = max(self._rate, _LEAST_PER_SECOND[limited])
        return tuple(rate if index == limited else None for index in range(len(DIMENSIONS)))

    def _measure(self, start: _Mark, end: _Mark, *, told: bool) -> tuple[float, float]:
        """The rate in the dimension that is limited, and by what share it may be off."""
        elapsed_s = (end.at_ns - start.at_ns) / NS_PER_SECOND
        moved = end.units.minus(start.units)
        per_second = tuple(max(0, units) / elapsed_s for units in moved)
        if told:
            unsure_s = _ROUNDING_SECONDS
        else:
            unsure_s = self._paused_ns / NS_PER_SECOND if self._is_shallow(per_second[self._limited.index]) else 0.0
        doubt = unsure_s / elapsed_s
        if moved.requests >= _ENOUGH_REQUESTS and doubt <= _WELL_MEASURED:
            scale = self._limited.add(per_second)
            self._rate *= scale
            self._before_trial *= scale
        if self._limited.index != _REQUESTS or not told:
            doubt += 1 / moved.requests  # the one that was refused may have lacked all of its cost, or next to nothing
        return per_second[self._limited.index], doubt

    def _is_time_for_trial(self, doubt: float, elapsed_ns: int) -> bool:
        """One that was measured well is tried seldom and a little; a poor one, or after a success, sooner and more."""
        certainty = min(1.0, _TRIAL_SHARE / doubt)
        patience = max(certainty * 0.5**self._trials, _LEAST_PATIENCE)
        requests = self._used.requests - self._trial_base
        enough = max(_LEAST_REQUESTS, certainty**2 * _TRIAL_EVERY_REQUESTS)
        return elapsed_ns >= patience * _TRIAL_EVERY_NS and requests >= enough

    def _is_shallow(self, rate: float) -> bool:
        """Whether the upstream's bucket is worth a few seconds, judged by what it gave until the first 429."""
        seconds = (self._burst.at_ns - self._began_ns) / NS_PER_SECOND
        return self._burst.units[self._limited.index] < rate * (seconds + _SHALLOW_SECONDS)
