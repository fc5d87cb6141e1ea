"""Finds a rate that nobody tells: from the refusals alone.

At a 429 the upstream's bucket is short of one request, and its `retry-after` says for how long. Between two of them it
was refilled by exactly what was used, so two measure the rate: used ÷ time from the end of one wait to the end of the
other. Until it is measured the rate grows exponentially; afterwards it stays a little below, and is tried upwards now
and then, so that a limit that rose is found.
"""

from collections import deque
from typing import Final

from tidegate.core.clock import NS_PER_SECOND
from tidegate.core.dimension import DIMENSIONS, ONE_REQUEST, Cost
from tidegate.core.refusals import Mark, Measurement, measure
from tidegate.core.steadiest import Steadiest

__all__ = ["ENDPOINT_PER_SECOND", "START_PER_SECOND", "RateSearch"]

START_PER_SECOND: Final = 2.0
"""For a Messages pool, of which nothing is known."""
ENDPOINT_PER_SECOND: Final = 16.0
"""For other endpoints: the lowest limit that is published for one, 1,000 requests a minute (batches, Start tier)."""
_REQUESTS, _, _OUTPUT = range(len(DIMENSIONS))
_GROWTH_PER_SECOND: Final = 1.6
_MOST_CUT: Final = 0.25
"""A 429 cuts the rate to no less: growth has overshot by an unknown factor, or what is in flight still drains."""
_LEAST_BELOW: Final = 0.005
_MOST_BELOW: Final = 0.03
_LEAST_PER_SECOND: Final = (0.05, 1.0, 1.0)
_TRIAL_SHARE: Final = 0.04
_LARGEST_TRIAL: Final = 0.6
_TRIAL_EVERY_NS: Final = 20 * NS_PER_SECOND
_TRIAL_EVERY_REQUESTS: Final = 150
"""A trial ends in a 429 or two: no more than about ten of them in a thousand answers."""
_LEAST_PATIENCE: Final = 0.05
_LEAST_REQUESTS: Final = 3
"""Sooner, or over fewer, a trial cannot have shown anything."""
_WELL_MEASURED: Final = 0.1
_POORLY_MEASURED: Final = 0.5
_ENOUGH_REQUESTS: Final = 10
"""Over fewer requests, sizes vary too much to tell which dimension is limited."""
_CONTRADICTION_SECONDS: Final = 2.0
"""If nothing was used in a dimension for longer than rounding explains, and the wait goes on, it is another's."""
_FORGET: Final = 0.9
_PLAUSIBLE: Final = 0.25
_SHALLOW_SECONDS: Final = 4
_LARGEST_BUCKET_SECONDS: Final = 60
_MARKS: Final = 12
_LEAST_SHARE: Final = 0.02
"""Nearer to a rate that failed it is not worth trying."""
_MOST_OWED_SECONDS: Final = 60


class RateSearch:
    """The rate to try, in units of one dimension a second. Time is the monotonic clock in nanoseconds."""

    __slots__ = (
        "_base",
        "_base_from",
        "_before_trial",
        "_began_ns",
        "_ceiling",
        "_changed_ns",
        "_doubt",
        "_failed",
        "_first",
        "_in_flight",
        "_level",
        "_level_ns",
        "_limited",
        "_marks",
        "_most",
        "_rate",
        "_trial_base",
        "_trials",
        "_under_way",
        "_used",
    )

    def __init__(self, now_ns: int, start_per_second: float = START_PER_SECOND) -> None:
        self._limited = Steadiest()
        self._rate = start_per_second
        self._doubt: float | None = None  # by what share the rate may be off; None: it was not measured
        self._ceiling: float | None = None  # until it was: what a refusal has shown to be too much
        self._used = Cost()
        self._in_flight = 0
        self._under_way = 0  # how many were in flight when the rate was last changed
        self._began_ns = now_ns
        self._first = Mark(now_ns, Cost())  # the first 429: the burst is used up
        self._marks: deque[Mark] = deque(maxlen=_MARKS)
        self._changed_ns = now_ns
        self._trial_base = Cost()
        self._trials = 0  # how many in a row have met no 429
        self._base = start_per_second  # the rate that was measured, or has stood the test
        self._most = 0.0  # the highest base so far, or what was measured when it is first needed
        self._base_from = Mark(now_ns, Cost())  # since when more than that is tried
        self._before_trial = start_per_second  # the rate that met none for a while
        self._failed: float | None = None  # the lowest that met one at a bucket that is always full
        self._level: float | None = None  # of output, in the upstream's bucket
        self._level_ns = now_ns

    def sent(self, cost: Cost) -> None:
        """A request is sent: it and its input are used at once, its output as it comes."""
        self._in_flight += 1
        self.corrected(cost._replace(output_tokens=0))

    def ended(self) -> None:
        """A request that was sent has ended."""
        self._in_flight -= 1

    def corrected(self, units: Cost) -> None:
        """So much more was used; negative: less."""
        self._used = self._used.plus(units)
        if self._level is not None:
            self._level -= units.output_tokens

    def refused(
        self, sent_ns: int, now_ns: int, *, retry_after_ns: int | None, pause_ns: int, needed: Cost = ONE_REQUEST
    ) -> None:
        """The upstream answered 429 to a request that was sent at that moment, after the last 429; it used nothing.

        `retry_after_ns` is what it said, if it did; the pool pauses for `pause_ns`. There is to be room then for what
        that request `needed`: one request, and its input.
        """
        self._refill(now_ns)
        told = retry_after_ns is not None
        end = Mark(sent_ns + (retry_after_ns or 0), self._used.plus(Cost(0, needed.input_tokens)), told, pause_ns)
        trials, self._trials = self._trials, 0
        self._begin_trial(now_ns)
        if not self._marks:
            self._first = end
            self._rate *= _MOST_CUT
        if self._doubt is None and retry_after_ns is not None:
            self._limit_growth(retry_after_ns, now_ns)
        if self._marks and end.at_ns <= self._marks[-1].at_ns:
            self._marks.clear()  # nothing has come back since, or the clock went back: here a measurement begins
        found = measure(self._marks, end, shallow=False)
        if found is not None and not told and self._is_shallow(found.per_second[self._limited.index]):
            found = measure(self._marks, end, shallow=True)
        self._marks.append(end)
        if found is not None:
            self._learn(found, trials, now_ns)
        if told:
            self._level, self._level_ns = 0.0, end.at_ns

    def _learn(self, found: Measurement, trials: int, now_ns: int) -> None:
        if not (trials and self._is_shallow(found.per_second[self._limited.index])):
            self._choose(found, now_ns)  # else what was used is only what was tried: the rest was lost
        measured = found.per_second[self._limited.index]
        if not measured or not (found.lately or self._limited.index == _OUTPUT):
            return  # others were faster
        self._ceiling = None
        doubt = found.doubts[self._limited.index]
        rate, before = self._rate, self._before_trial
        below = 1 - min(max(doubt, _LEAST_BELOW), _MOST_BELOW)
        self._rate = below * min(max(rate, measured * (1 - doubt)), measured * (1 + doubt))
        shallow = self._is_shallow(measured)
        if shallow and not trials and self._limited.index == _REQUESTS and doubt <= _WELL_MEASURED:
            # It was full when the measurement began, and at its end a second is missing at most: this is no more than
            # the rate, and what is kept in hand is lost.
            self._failed = rate
            self._rate = (1 - _LEAST_BELOW) * min(max(rate, measured * (1 - doubt)), measured)
        if trials and shallow:
            # Such a bucket is full after any pause, and what is lost then does not count. But the rate before was fine.
            self._failed = rate if self._failed is None else min(rate, self._failed)
            before = self._base if self._limited.index == _OUTPUT else before  # output shows late what a rate does
            if not found.told:
                before = min(before, measured * (1 + doubt))
            self._rate, doubt = max(self._rate, before), max(doubt, (rate / before - 1) / 2)
        elif self._rate < _MOST_CUT * rate:
            # The rate was far too low before, and the bucket full; or what was in flight still drains it.
            self._rate, doubt = _MOST_CUT * rate, max(doubt, _POORLY_MEASURED)
        self._doubt, self._base = doubt, self._rate
        self._most = max(self._base, _FORGET * self._most)

    def _limit_growth(self, retry_after_ns: int, now_ns: int) -> None:
        """A bucket of requests is never short of more than one: who has to wait for long has a low rate.

        Unless so many were let in before that its bucket would be worth more than a minute: then it is tokens that are
        short, or a window has to end.
        """
        seconds = (retry_after_ns - NS_PER_SECOND) / NS_PER_SECOND
        known_seconds = _LARGEST_BUCKET_SECONDS + (now_ns - self._began_ns) / NS_PER_SECOND
        if seconds > 0 and self._used.requests * seconds <= known_seconds:
            self._ceiling = 1 / seconds

    def refused_too(self) -> None:
        """Another 429 to a request that had been sent before the last one: it used nothing either."""
        if self._marks:
            last = self._marks[-1]
            self._marks[-1] = last._replace(units=last.units.minus(ONE_REQUEST))

    def per_second(self, now_ns: int) -> tuple[float | None, ...]:
        """The rate now, for the dimension that is limited. Asked for when somebody waits: only then may it be tried."""
        self._refill(now_ns)
        elapsed_ns = now_ns - self._changed_ns
        if self._doubt is None:
            grown_s = min(elapsed_ns, NS_PER_SECOND) / NS_PER_SECOND  # a pause without demand does not count
            self._rate *= _GROWTH_PER_SECOND**grown_s
            if self._ceiling is not None:
                self._rate = min(self._rate, self._ceiling)
            self._changed_ns = now_ns
        elif self._is_time_for_trial(self._doubt, elapsed_ns):
            self._try(self._doubt, now_ns)
            self._begin_trial(now_ns)
        limited = self._limited.index
        rate = max(self._rate, _LEAST_PER_SECOND[limited])
        return tuple(rate if index == limited else None for index in range(len(DIMENSIONS)))

    def wait_ns(self, now_ns: int) -> int:
        """How long until the output that has come is paid off, as far as is known; 0 where output is not limited."""
        if self._level is None or self._limited.index != _OUTPUT:
            return 0
        self._refill(now_ns)
        missing = 1.0 - self._level
        if missing <= 0:
            self._level = None  # from here on it only goes by the rate
            return 0
        return round(min(missing / self._rate, _MOST_OWED_SECONDS) * NS_PER_SECOND)

    @property
    def is_measured(self) -> bool:
        """Whether the rate changes by trials and refusals only: before it was measured, it grows with time."""
        return self._doubt is not None

    @property
    def is_sure(self) -> bool:
        """Whether the rate is known well enough to tell somebody how long he will wait."""
        return self._doubt is not None and self._doubt < _POORLY_MEASURED

    def _refill(self, now_ns: int) -> None:
        if self._level is None or now_ns <= self._level_ns:
            return
        self._level += (now_ns - self._level_ns) / NS_PER_SECOND * self._rate
        self._level_ns = now_ns

    def _usual_output(self, now_ns: int) -> float:
        """A second, since the beginning; 1 at least."""
        return max(1.0, self._used.output_tokens * NS_PER_SECOND / max(1, now_ns - self._began_ns))

    def _choose(self, found: Measurement, now_ns: int) -> None:
        """Compares the figures of all dimensions, and goes by the rate of another if that is steadier."""
        moved, per_second = found.moved, found.per_second
        if not moved.requests and found.seconds >= _CONTRADICTION_SECONDS:
            if moved.output_tokens < found.seconds * _PLAUSIBLE * self._usual_output(now_ns):
                return  # answers tell late what they have produced
            per_second = (0.0, 0.0, per_second[_OUTPUT])
        elif moved.requests < _ENOUGH_REQUESTS:
            return
        believed = self._limited.index
        self._limited.add(per_second, found.seconds)
        if self._limited.index != believed and found.per_second[believed]:
            scale = found.per_second[self._limited.index] / found.per_second[believed]
            self._rate *= scale
            self._before_trial *= scale
            self._base *= scale
            self._most = 0.0
            self._failed = None
        elif self._limited.index != believed:
            self._rate = self._before_trial = self._base = found.per_second[self._limited.index]
            self._most = 0.0
            self._failed = None

    def _begin_trial(self, now_ns: int) -> None:
        self._changed_ns, self._trial_base, self._under_way = now_ns, self._used, self._in_flight

    def _try(self, doubt: float, now_ns: int) -> None:
        """Goes faster: by little at first, then by more; half-way to what failed before.

        Not by more than a known share, until a whole bucket would have been used up by that.
        """
        index = self._limited.index
        if not self._trials:
            self._base_from = Mark(now_ns, self._used)
        elapsed_s = (now_ns - self._base_from.at_ns) / NS_PER_SECOND
        used = self._used[index] - self._base_from.units[index]
        if used - self._base * elapsed_s > self._capacity_seconds() * self._base:
            self._base, self._base_from = used / elapsed_s, Mark(now_ns, self._used)
        most = (1 + _LARGEST_TRIAL) * self._base
        if self._rate >= most:
            return
        self._before_trial = self._rate
        step = min(max(_TRIAL_SHARE, doubt) * 2**self._trials, _LARGEST_TRIAL)
        if self._failed is not None:
            near = (self._failed / self._rate - 1) / 2
            if near < _LEAST_SHARE:
                self._failed = None
            else:
                step = min(step, near)
        self._rate = min(self._rate * (1 + step), most)
        self._trials += 1

    def _is_time_for_trial(self, doubt: float, elapsed_ns: int) -> bool:
        """One that was measured well is tried seldom and a little; a poor one, or after a success, sooner and more."""
        certainty = min(1.0, _TRIAL_SHARE / doubt)
        eagerness = 0.5**self._trials
        patience = max(certainty * eagerness, _LEAST_PATIENCE)
        used = self._used.minus(self._trial_base)
        if self._limited.index == _OUTPUT and used.requests < 2 * min(self._under_way, self._in_flight):
            return False  # what was sent has not been produced yet
        hope = min(1.0, self._base / self._most) if self._most else 1.0  # what was possible may well be so again
        enough = max(_LEAST_REQUESTS, certainty**2 * eagerness * hope * _TRIAL_EVERY_REQUESTS)
        return elapsed_ns >= patience * _TRIAL_EVERY_NS and used.requests >= enough

    def _capacity_seconds(self) -> float:
        """What the upstream's bucket is worth, a second at least, judged by what it gave until the first 429."""
        seconds = (self._first.at_ns - self._began_ns) / NS_PER_SECOND
        return max(1.0, self._first.units[self._limited.index] / max(self._most, self._base) - seconds)

    def _is_shallow(self, per_second: float) -> bool:
        """Whether the upstream's bucket is worth a few seconds of that."""
        seconds = (self._first.at_ns - self._began_ns) / NS_PER_SECOND
        return self._first.units[self._limited.index] < per_second * (seconds + _SHALLOW_SECONDS)
