"""Finds a rate that nobody tells: from the refusals alone.

At a 429 the upstream's bucket is short of one request, and its `retry-after` says for how long. Between two of them it
was refilled by exactly what was used, so each two give bounds for the rate. Until there are two the rate grows
exponentially. Afterwards it stays a little above what was measured: so little that what comes back in the wait after a
429 lasts for long, and so much that the limit is measured again and again, and nothing is lost in between. Where no 429
comes by then the limit has risen, and the rate goes up by ever larger steps.

Output is another matter: it comes seconds later, and what is under way brings more 429s. There the rate stays below.
"""

from collections import deque
from math import sqrt
from typing import Annotated, Final, Self

from msgspec import Meta, Struct

from tidegate.core.domain.dimension import DIMENSIONS, ONE_REQUEST, Cost
from tidegate.core.domain.nanoseconds import NS_PER_SECOND
from tidegate.core.rate_search.limiting_dimension import LimitingDimension, LimitingDimensionState
from tidegate.core.rate_search.output_debt import OutputDebt, OutputDebtState
from tidegate.core.rate_search.proven_rate import ProvenRate, ProvenRateState
from tidegate.core.rate_search.rate_bounds import Mark, MarkState, Measurement, Use, bounds, measure

__all__ = ["ENDPOINT_PER_SECOND", "START_PER_SECOND", "RateSearch", "RateSearchState"]

START_PER_SECOND: Final = 2.0
"""For a Messages pool, of which nothing is known."""
ENDPOINT_PER_SECOND: Final = 16.0
"""For other endpoints: the lowest limit that is published for one, 1,000 requests a minute (batches, Start tier)."""
_OUTPUT: Final = len(DIMENSIONS) - 1
_GROWTH_PER_SECOND: Final = 1.6
_GROWTH_PER_REQUEST: Final = 1.15
"""After the first 429: no more than a request that was let in can vouch for."""
_MOST_CUT: Final = 0.25
"""A 429 cuts the rate to no less: growth has overshot by an unknown factor, or what is in flight still drains."""
_MOST_BELOW: Final = 0.03
"""By so much, at most, the rate of output stays below what was measured, as that is doubtful."""
_LEAST_PER_SECOND: Final = (0.05, 1.0, 1.0)
_MOST_PER_SECOND: Final = (1e5, 1e9, 1e9)
"""No upstream grants as much. A rate that is higher than demand is never refused, and would grow for ever."""
_TRIAL_SHARE: Final = 0.04
_LARGEST_TRIAL: Final = 0.6
_MOST_LEAPS: Final = 30
"""Further doublings change neither the step nor the time until the next one."""
_EVERY_SECONDS: Final = 20
_EVERY_REQUESTS: Final = 150
"""One 429 in so much time, and in so many requests, is what measuring may cost: seven in a thousand answers."""
_LEAST_PATIENCE: Final = 0.1
_LEAST_REQUESTS: Final = 3
"""Sooner, or over fewer, a trial cannot have shown anything."""
_EARLY: Final = 0.5
"""A 429 after less than this share of what is expected: the rate was not only a little too high."""
_PART_OF_WAY: Final = 1 / 3
"""So far a trial goes towards what was too much: two of three are let in."""
_LEAST_STEP: Final = 0.011
"""Nearer to what was too much it is not worth a 429."""
_LEAST_DOUBT: Final = 0.01
_WELL_MEASURED: Final = 0.1
_POORLY_MEASURED: Final = 0.5
_VAGUE: Final = 0.5
"""By what share of a request its tokens are not known: input was estimated, output is told late."""
_LOSSY_TRIALS: Final = 2
"""After so many a shallow bucket has been full for long: what was used is only what was tried, the rest was lost."""
_MOST_VAIN: Final = 8
"""Each after the first halves the trials; after so many they are as rare as those of what was measured best."""
_ENOUGH_REQUESTS: Final = 10
"""Over fewer requests, sizes vary too much to tell which dimension is limited."""
_CONTRADICTION_SECONDS: Final = 2.0
"""If nothing was used in a dimension for longer than rounding explains, and the wait goes on, it is another's."""
_FORGET: Final = 0.9
_PLAUSIBLE: Final = 0.25
_SHALLOW_SECONDS: Final = 4
_LARGEST_BUCKET_SECONDS: Final = 60
_MARKS: Final = 12


_Rate = Annotated[float, Meta(gt=0)]


class RateSearchState(Struct, frozen=True, array_like=True):
    """A dumped `RateSearch`, without the requests that are in flight."""

    limiting: LimitingDimensionState
    rate: _Rate
    base: _Rate
    doubt: float | None
    high: float | None
    most: float
    used: Cost
    counted_ago_ns: int
    under_way: int
    began_ago_ns: int
    first: MarkState
    depth_s: float | None
    marks: Annotated[tuple[MarkState, ...], Meta(max_length=_MARKS)]
    changed_ago_ns: int
    trial_base: Cost
    early: int
    trials: int
    vain: Annotated[int, Meta(ge=0, le=_MOST_VAIN)]
    leaps: Annotated[int, Meta(ge=0, le=_MOST_LEAPS)]
    proven: ProvenRateState
    debt: OutputDebtState


class RateSearch:
    """The rate to try, in units of one dimension a second. Time is the monotonic clock in nanoseconds."""

    __slots__ = (
        "_base",
        "_began_ns",
        "_changed_ns",
        "_counted_ns",
        "_debt",
        "_depth_s",
        "_doubt",
        "_early",
        "_first",
        "_high",
        "_in_flight",
        "_leaps",
        "_limited",
        "_marks",
        "_most",
        "_rate",
        "_stood",
        "_trial_base",
        "_trials",
        "_under_way",
        "_used",
        "_vain",
    )

    def __init__(self, now_ns: int, start_per_second: float = START_PER_SECOND, counted_ns: int | None = None) -> None:
        """Begins at `now_ns`. Requests are counted that are sent from `counted_ns` on, if that is later."""
        self._limited = LimitingDimension()
        self._rate = self._base = start_per_second  # what is tried, and what was measured
        self._doubt: float | None = None  # by what share the base may be off; None: it was not measured
        self._high: float | None = None  # what has been too much
        self._most = 0.0  # the highest base of late
        self._used = Cost()
        self._in_flight = 0
        self._counted_ns = now_ns if counted_ns is None else counted_ns
        self._under_way = 0  # how many were in flight when the rate was last changed
        self._began_ns = now_ns
        self._first = Mark(now_ns, Cost())  # the first 429: the burst is used up
        self._depth_s: float | None = None  # what the upstream's bucket is worth, once the rate is known well
        self._marks: deque[Mark] = deque(maxlen=_MARKS)
        self._changed_ns = now_ns
        self._trial_base = Cost()
        self._early = 0  # how many refusals in a row have come too soon
        self._trials = 0  # how many in a row have met no 429
        self._vain = 0  # how many in a row were refused and have shown nothing new
        self._leaps = 0  # how many of them have gone where nothing was known
        self._stood = ProvenRate(now_ns)
        self._debt = OutputDebt()

    def sent(self, cost: Cost, now_ns: int) -> None:
        """A request is sent: it and its input are used at once, its output as it comes."""
        self._in_flight += 1
        self.corrected(cost._replace(output_tokens=0))
        self._stood.sent(self._used, now_ns)

    def ended(self) -> None:
        """A request has ended. It may have been sent before the search began."""
        self._in_flight = max(0, self._in_flight - 1)

    def corrected(self, units: Cost, sent_ns: int | None = None) -> None:
        """Counts so much more as used; negative: less.

        `sent_ns` is given where a request turned out to have used more or less when it was sent, such as nothing. Then
        refusals since then are recounted as well: else more might be given back between two of them than was used.
        """
        if sent_ns is not None:
            if sent_ns < self._counted_ns:
                return
            self._recount(units, sent_ns)
        self._used = self._used.plus(units)

    def refused(
        self, sent_ns: int, now_ns: int, *, retry_after_ns: int | None, pause_ns: int, needed: Cost = ONE_REQUEST
    ) -> None:
        """The upstream answered 429 to a request that was sent at that moment, after the last 429; it used nothing.

        `retry_after_ns` is what it said, if it did; the pool pauses for `pause_ns`. There is to be room then for what
        that request `needed`: one request, and its input.
        """
        told, half_done = retry_after_ns is not None, self._half_done_output()
        units = self._used.plus(Cost(0, needed.input_tokens, half_done))
        end = Mark(sent_ns + (retry_after_ns or 0), units, told, pause_ns, self._rate, now_ns)
        is_early = self._used.requests - self._trial_base.requests < _EARLY * self._enough()
        self._early = self._early + 1 if is_early else 0
        trials, self._trials, self._leaps = self._trials, 0, 0
        self._stood.refused(sent_ns)
        if not self._is_tight or self._rate <= self._stood.per_second:
            self._stood.forget()
        self._begin_trial(now_ns)
        if not self._marks:
            self._first = end
            self._base = self._rate = self._possible(self._rate * _MOST_CUT)
            self._guess(end, now_ns)
        if self._marks and end.at_ns <= self._marks[-1].at_ns:
            self._marks.clear()  # nothing has come back since, or the clock went back: here a measurement begins
        found = measure(self._marks, end, shallow=False)
        if found is not None and not told and self._is_shallow(found.per_second[self._limited.index]):
            found = measure(self._marks, end, shallow=True)
        self._marks.append(end)
        if found is not None:
            self._learn(found, trials, now_ns)
        if told:
            self._debt.owe(half_done, end.at_ns)  # the other half is still to come

    def per_second(self, now_ns: int) -> tuple[float | None, ...]:
        """The rate now, for the dimension that is limited. Asked for when somebody waits: only then may it be tried."""
        elapsed_ns = now_ns - self._changed_ns
        if self._doubt is None:
            self._grow(elapsed_ns, now_ns)
        elif self._is_time_for_trial(self._doubt, elapsed_ns):
            self._prove()
            self._try(self._doubt)
            self._begin_trial(now_ns)
        return tuple(self._rate if index == self._limited.index else None for index in range(len(DIMENSIONS)))

    def wait_ns(self, now_ns: int) -> int:
        """How long until the output that has come is paid off, as far as is known; 0 where output is not limited."""
        return self._debt.wait_ns(self._rate, now_ns) if self._limited.index == _OUTPUT else 0

    @property
    def is_measured(self) -> bool:
        """Whether the rate changes by trials and refusals only: before it was measured, it grows with time."""
        return self._doubt is not None

    @property
    def is_sure(self) -> bool:
        """Whether the rate is known well enough to tell somebody how long he will wait."""
        return self._doubt is not None and self._doubt < _POORLY_MEASURED / 2

    @property
    def share(self) -> float:
        """What is measured now of what was, at most, of late: what was possible may well be so again."""
        return min(1.0, self._base / self._most) if self._most else 1.0

    def dump(self, now_ns: int) -> RateSearchState:
        """What was learned until `now_ns`, without the requests that are in flight: they end with the process."""
        return RateSearchState(
            limiting=self._limited.dump(),
            rate=self._rate,
            base=self._base,
            doubt=self._doubt,
            high=self._high,
            most=self._most,
            used=self._used,
            counted_ago_ns=now_ns - self._counted_ns,
            under_way=self._under_way,
            began_ago_ns=now_ns - self._began_ns,
            first=self._first.dump(now_ns),
            depth_s=self._depth_s,
            marks=tuple(mark.dump(now_ns) for mark in self._marks),
            changed_ago_ns=now_ns - self._changed_ns,
            trial_base=self._trial_base,
            early=self._early,
            trials=self._trials,
            vain=self._vain,
            leaps=self._leaps,
            proven=self._stood.dump(now_ns),
            debt=self._debt.dump(now_ns),
        )

    @classmethod
    def restore(cls, state: RateSearchState, now_ns: int, in_flight: int = 0) -> Self:
        """Continues exactly from a dumped state, with this many requests in flight, each of which is to end."""
        search = cls(now_ns - state.began_ago_ns, state.rate, now_ns - state.counted_ago_ns)
        search._limited = LimitingDimension.restore(state.limiting)
        search._base, search._doubt, search._high, search._most = state.base, state.doubt, state.high, state.most
        search._used, search._in_flight, search._under_way = state.used, in_flight, state.under_way
        search._first, search._depth_s = Mark.restore(state.first, now_ns), state.depth_s
        search._marks.extend(Mark.restore(mark, now_ns) for mark in state.marks)
        search._changed_ns, search._trial_base = now_ns - state.changed_ago_ns, state.trial_base
        search._early, search._trials, search._vain, search._leaps = state.early, state.trials, state.vain, state.leaps
        search._stood = ProvenRate.restore(state.proven, now_ns)
        search._debt = OutputDebt.restore(state.debt, now_ns)
        return search

    def _guess(self, end: Mark, now_ns: int) -> None:
        """A bucket of requests is never short of more than one: who has to wait for long has a low rate.

        What the last request took is there again when the wait ends. Unless so many were let in before that its bucket
        would be worth more than a minute: then it is tokens that are short, or a window has to end.
        """
        seconds = (end.at_ns - self._stood.last_ns) / NS_PER_SECOND
        known_seconds = _LARGEST_BUCKET_SECONDS + (now_ns - self._began_ns) / NS_PER_SECOND
        if end.at_ns > now_ns + NS_PER_SECOND and self._used.requests * seconds <= known_seconds:
            self._high = 1 / (seconds - 1)
            self._base = self._rate = self._possible(min(self._rate, 1 / seconds))
            self._doubt = _POORLY_MEASURED

    def _possible(self, per_second: float) -> float:
        """The nearest rate that may be tried in the dimension that is limited."""
        return min(max(per_second, _LEAST_PER_SECOND[self._limited.index]), _MOST_PER_SECOND[self._limited.index])

    def _recount(self, units: Cost, sent_ns: int) -> None:
        """Counts the use of a request otherwise wherever it was counted since it was sent."""
        self._marks = deque((each.recounted(units, sent_ns) for each in self._marks), maxlen=_MARKS)
        self._first = self._first.recounted(units, sent_ns)
        self._stood.recounted(units, sent_ns)
        if sent_ns < self._changed_ns:
            self._trial_base = self._trial_base.plus(units)

    def _grow(self, elapsed_ns: int, now_ns: int) -> None:
        # A pause does not count, nor what something else has kept from being tried.
        limited = self._limited.index
        tried_s = (self._used[limited] - self._trial_base[limited]) / self._rate
        grown_s = max(0.0, min(elapsed_ns / NS_PER_SECOND, tried_s, 1.0))
        growth = _GROWTH_PER_SECOND**grown_s
        if self._marks:
            growth = min(growth, _GROWTH_PER_REQUEST ** (self._used.requests - self._trial_base.requests))
        if growth > 1:
            self._prove()
            self._rate = self._possible(self._rate * growth)
            self._begin_trial(now_ns)

    def _learn(self, found: Measurement, trials: int, now_ns: int) -> None:
        if trials < _LOSSY_TRIALS or not self._is_shallow(found.per_second[self._limited.index]):
            self._choose(found, now_ns)
        measured = found.per_second[self._limited.index]
        if not measured or not (found.lately > 0 or self._limited.index == _OUTPUT):
            return  # others were faster
        *marks, end = self._marks
        if self._early > 1 and self._is_tight and end.told:
            del marks[:-1]  # a limit that fell is not what these have measured
        low, high = bounds(marks, end, self._use(measured))
        high = max(high, _MOST_CUT * self._rate)
        low = min(max(low, self._stood.per_second), high)
        if trials or self._doubt is None or self._early:
            self._base = self._between(max(low, _MOST_CUT * _MOST_CUT * high), high)
        else:
            self._base = min(max(self._base, low), high)
        if trials:
            is_vain = self._high is not None and self._base <= self._high and not end.told
            self._vain = min(self._vain + (self._vain > 0 or self._limited.is_clear), _MOST_VAIN) if is_vain else 0
        doubt = (high - low) / (2 * self._base)
        if not (self._limited.is_clear or self._is_tight):
            doubt = max(doubt, _VAGUE / sqrt(max(1, found.moved.requests)))  # as sizes vary
        if self._base < _MOST_CUT * self._rate:
            # The rate was far too low before, and the bucket full; or what was in flight still drains it.
            self._base, doubt = _MOST_CUT * self._rate, _POORLY_MEASURED
        self._base = self._possible(self._base)
        self._doubt, self._high = min(max(doubt, _LEAST_DOUBT), _POORLY_MEASURED), high
        self._most = max(self._base, _FORGET * self._most)
        self._rate = self._possible(self._base * (1 + self._excess(end)))
        if self._doubt <= _WELL_MEASURED and self._depth_s is None:
            self._depth_s = self._capacity_seconds()

    def _between(self, low: float, high: float) -> float:
        """The rate that is as likely too high as too low; a lower one where what is too high is refused at once."""
        if not self._is_tight:
            return 2 / (1 / low + 1 / high)
        return low if high < (1 + _WELL_MEASURED) * low else low + (high - low) * _PART_OF_WAY

    def _excess(self, last: Mark) -> float:
        """By what share the rate exceeds what was measured, so that what comes back in a wait lasts for long."""
        if self._limited.index == _OUTPUT:
            return -min(self._doubt or _MOST_BELOW, _MOST_BELOW)
        gift_s = 1.0 if last.told else last.pause_ns / NS_PER_SECOND
        gift = min(self._spare(), self._base * gift_s) / self._size()
        return min(gift / (2 * self._enough()), _TRIAL_SHARE)

    def _enough(self) -> float:
        """Over how many requests no more than one is to be refused."""
        return max(_EVERY_REQUESTS, _EVERY_SECONDS * self._base / self._size())

    @property
    def _is_tight(self) -> bool:
        """Whether the upstream's bucket holds so little that a rate beyond the limit is refused at once."""
        return self._limited.index != _OUTPUT and self._spare() < self._size()

    def _size(self) -> float:
        """What a request uses on average, in the dimension that is limited."""
        return max(1.0, self._used[self._limited.index] / max(1, self._used.requests))

    def _spare(self) -> float:
        """What the upstream's bucket holds beside a request."""
        depth_s = self._capacity_seconds() if self._depth_s is None else self._depth_s
        return max(0.0, depth_s * self._base - self._size())

    def _use(self, per_second: float) -> Use:
        index, size = self._limited.index, self._size()
        vague = (0.0, _VAGUE * size, _VAGUE * sqrt(1 + max(0, self._in_flight)) * size)[index]
        if self._marks and not self._marks[-1].told:
            vague += size  # the one that was refused may have lacked all of its cost, or next to nothing
        return Use(index, self._spare(), vague, per_second)

    def _half_done_output(self) -> int:
        """What answers have produced that have not told it yet; about as much of them is still to come."""
        ended = self._used.requests - self._in_flight
        return self._in_flight * max(0, self._used.output_tokens) // (2 * ended) if ended > 0 else 0

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
        if self._limited.index == believed:
            return
        before, now = found.per_second[believed], found.per_second[self._limited.index]
        scale = now / before if before else 0.0
        self._rate = self._possible(self._rate * scale or now)
        self._base = self._possible(self._base * scale or now)
        self._most, self._high, self._depth_s, self._vain = 0.0, None, None, 0
        self._stood.forget()
        self._marks = deque((each._replace(fastest=scale * each.fastest) for each in self._marks), maxlen=_MARKS)

    def _prove(self) -> None:
        """What goes on at another rate has shown before that the upstream grants so much."""
        if not self._marks:
            return
        self._stood.changed(self._use(self._rate))
        if self._high is not None and self._stood.per_second > self._high:
            self._high, self._doubt = None, _POORLY_MEASURED  # the limit has risen

    def _begin_trial(self, now_ns: int) -> None:
        self._changed_ns, self._trial_base, self._under_way = now_ns, self._used, self._in_flight

    def _try(self, doubt: float) -> None:
        """Goes faster: part of the way to what was too much; where nothing is known by little, and then by more."""
        self._trials += 1
        near = self._near()
        if near >= _LEAST_STEP:
            self._rate = self._possible(self._rate * (1 + near))
            if len(self._marks) > 1:  # else it was only guessed
                self._doubt = near
            return
        least = _LEAST_DOUBT if self._is_tight else _TRIAL_SHARE
        self._rate = self._possible(self._rate * (1 + min(max(least, doubt) * 2**self._leaps, _LARGEST_TRIAL)))
        self._leaps = min(self._leaps + 1, _MOST_LEAPS)

    def _near(self) -> float:
        """By what share a step towards what was too much goes faster; 0 where that is no bound."""
        return (self._high / self._rate - 1) * _PART_OF_WAY if self._high is not None and self._is_tight else 0.0

    def _is_time_for_trial(self, doubt: float, elapsed_ns: int) -> bool:
        """One that was measured well is tried seldom and a little; a poor one, or after a success, sooner and more."""
        used = self._used.requests - self._trial_base.requests
        patience_s = _LEAST_PATIENCE * _EVERY_SECONDS
        if self._limited.index == _OUTPUT and used < 2 * min(self._under_way, self._in_flight):
            return False  # what was sent has not been produced yet
        if self._near() >= _LEAST_STEP:
            return elapsed_ns >= patience_s * NS_PER_SECOND and used >= _LEAST_REQUESTS  # refusals would have come
        # Where a pause costs more than a bucket holds, those that come soon measure nothing well, however many.
        often = 0.5 ** max(0, self._vain - 1)
        certainty, eagerness = min(1.0, _TRIAL_SHARE / (often * doubt)), 0.5**self._leaps
        patience_s = max(patience_s, certainty * eagerness * _EVERY_SECONDS)
        enough = max(_LEAST_REQUESTS, certainty**2 * eagerness * self.share * self._enough())
        return elapsed_ns >= patience_s * NS_PER_SECOND and used >= enough

    def _capacity_seconds(self) -> float:
        """What the upstream's bucket is worth, a second at least, judged by what it gave until the first 429."""
        seconds = (self._first.at_ns - self._began_ns) / NS_PER_SECOND
        return max(1.0, self._first.units[self._limited.index] / max(self._most, self._base) - seconds)

    def _is_shallow(self, per_second: float) -> bool:
        """Whether the upstream's bucket is worth a few seconds of that."""
        seconds = (self._first.at_ns - self._began_ns) / NS_PER_SECOND
        return self._first.units[self._limited.index] < per_second * (seconds + _SHALLOW_SECONDS)
