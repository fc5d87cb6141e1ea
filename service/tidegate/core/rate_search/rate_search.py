"""Finds the rate of a limit that the upstream does not report, from 429s alone."""

from collections import deque
from math import sqrt
from typing import Annotated, Final, Self

from msgspec import Meta, Struct

from tidegate.core.domain.dimension import DIMENSIONS, ONE_REQUEST, Cost
from tidegate.core.domain.nanoseconds import NS_PER_SECOND
from tidegate.core.rate_search.bucket_depth import BucketDepth, BucketDepthState
from tidegate.core.rate_search.limiting_dimension import LimitingDimension, LimitingDimensionState
from tidegate.core.rate_search.output_debt import OutputDebt, OutputDebtState
from tidegate.core.rate_search.proven_rate import ProvenRate, ProvenRateState
from tidegate.core.rate_search.rate_bounds import Measurement, RateLimitHit, RateLimitHitState, Use, bounds, measure
from tidegate.core.rate_search.search_settings import ENDPOINT_PER_SECOND, START_PER_SECOND, RateSearchSettings
from tidegate.core.rate_search.trials import Trials, TrialsState
from tidegate.core.rate_search.use_counter import UseCounter

__all__ = ["ENDPOINT_PER_SECOND", "START_PER_SECOND", "RateSearch", "RateSearchState"]

_OUTPUT: Final = len(DIMENSIONS) - 1
_MOST_HITS: Final = 12
_DEFAULTS: Final = RateSearchSettings()

_Rate = Annotated[float, Meta(gt=0)]


class RateSearchState(Struct, frozen=True, array_like=True):
    """The dump of a `RateSearch`, without the requests in flight."""

    limiting: LimitingDimensionState
    rate: _Rate
    measured: _Rate
    uncertainty: float | None
    upper: float | None
    highest: float
    used: Cost
    counted_ago_ns: int
    hits: Annotated[tuple[RateLimitHitState, ...], Meta(max_length=_MOST_HITS)]
    depth: BucketDepthState
    trials: TrialsState
    proven: ProvenRateState
    debt: OutputDebtState


class RateSearch:
    """The rate to try, in units of one dimension per second. Time is monotonic nanoseconds.

    At a 429 the upstream's bucket lacks one request, and `retry-after` says for how long. Between two 429s it was
    refilled by exactly what was used, so each pair of them gives bounds of the rate (`rate_bounds`). The search has
    three states:

    - Growing, before two 429s: the rate grows by 1.6 per second, as far as it is used.
    - Measured: the rate is the mean of its bounds, plus a small excess. The excess is so small that the refill of the
      wait after a 429 lasts for 150 requests or 20 s, and so large that the limit is measured again and again.
    - Trial: no 429 came by then, so the limit has risen. The rate goes up by ever larger steps (`trials`).

    Output in flight causes further 429s. So an output rate stays below the measured rate, and output after a 429 is
    paid off first (`output_debt`). `use` is all use since the search began.
    """

    __slots__ = (
        "_counted_ns",
        "_debt",
        "_depth",
        "_highest",
        "_hits",
        "_limiting",
        "_measured",
        "_proven",
        "_rate",
        "_settings",
        "_trials",
        "_uncertainty",
        "_upper",
        "use",
    )

    def __init__(
        self,
        now_ns: int,
        start_per_second: float = START_PER_SECOND,
        counted_ns: int | None = None,
        settings: RateSearchSettings = _DEFAULTS,
    ) -> None:
        """Begins at `now_ns`. Requests are counted that are sent from `counted_ns` on, if that is later."""
        self._settings = settings
        self._limiting = LimitingDimension()
        self._rate = start_per_second  # what is tried
        self._measured = start_per_second
        self._uncertainty: float | None = None  # relative, of the measured rate; None before it was measured
        self._upper: float | None = None  # a rate that was too high
        self._highest = 0.0  # highest recent measured rate
        self.use = UseCounter(Cost(), in_flight=0)
        self._counted_ns = now_ns if counted_ns is None else counted_ns
        self._hits: deque[RateLimitHit] = deque(maxlen=_MOST_HITS)
        self._depth = BucketDepth(now_ns)
        self._trials = Trials(now_ns, settings)
        self._proven = ProvenRate(now_ns)
        self._debt = OutputDebt(now_ns)

    def dump(self, now_ns: int) -> RateSearchState:
        """The state, for `restore`, without the requests in flight, which end with the process."""
        return RateSearchState(
            limiting=self._limiting.dump(),
            rate=self._rate,
            measured=self._measured,
            uncertainty=self._uncertainty,
            upper=self._upper,
            highest=self._highest,
            used=self.use.used,
            counted_ago_ns=now_ns - self._counted_ns,
            hits=tuple(hit.dump(now_ns) for hit in self._hits),
            depth=self._depth.dump(now_ns),
            trials=self._trials.dump(now_ns),
            proven=self._proven.dump(now_ns),
            debt=self._debt.dump(now_ns),
        )

    @classmethod
    def restore(
        cls, state: RateSearchState, now_ns: int, in_flight: int = 0, settings: RateSearchSettings = _DEFAULTS
    ) -> Self:
        """Continues exactly from `state`, with `in_flight` requests, each of which is to end."""
        restored = cls(now_ns, state.rate, now_ns - state.counted_ago_ns, settings)
        restored._limiting = LimitingDimension.restore(state.limiting)
        restored._measured, restored._uncertainty = state.measured, state.uncertainty
        restored._upper, restored._highest = state.upper, state.highest
        restored.use = UseCounter(state.used, in_flight)
        restored._hits.extend(RateLimitHit.restore(hit, now_ns) for hit in state.hits)
        restored._depth = BucketDepth.restore(state.depth, now_ns)
        restored._trials = Trials.restore(state.trials, now_ns, settings)
        restored._proven = ProvenRate.restore(state.proven, now_ns)
        restored._debt = OutputDebt.restore(state.debt, now_ns)
        return restored

    def sent(self, cost: Cost, now_ns: int) -> None:
        """A request is sent. The request and its input are used at once, its output as it is produced."""
        self.use.in_flight += 1
        self.corrected(cost._replace(output_tokens=0))
        self._proven.sent(self.use.used, now_ns)

    def ended(self) -> None:
        """A request has ended. It may have been sent before the search began."""
        self.use.in_flight = max(0, self.use.in_flight - 1)

    def corrected(self, units: Cost, sent_ns: int | None = None) -> None:
        """Counts more use, or less if negative.

        Args:
            units: the difference to what was counted before.
            sent_ns: given if a request turned out to have used more or less when it was sent, such as nothing. Then
                429s since then are recounted. Otherwise more might be given back between two of them than was used.
        """
        if sent_ns is not None:
            if sent_ns < self._counted_ns:
                return
            self._recount(units, sent_ns)
        self.use.add(units)

    def refused(
        self, sent_ns: int, now_ns: int, *, retry_after_ns: int | None, pause_ns: int, needed: Cost = ONE_REQUEST
    ) -> None:
        """The upstream answered 429 to a request that was sent after the last 429. That request used nothing.

        Args:
            sent_ns: when the request was sent.
            now_ns: the time.
            retry_after_ns: the wait that the upstream asks for, if it does. Then there is room for what is `needed`.
            pause_ns: how long the pool pauses.
            needed: the cost of the request; its output does not count.
        """
        has_retry_after, half_done = retry_after_ns is not None, self.use.half_done_output()
        units = self.use.used.plus(Cost(0, needed.input_tokens, half_done))
        hit = RateLimitHit(sent_ns + (retry_after_ns or 0), units, has_retry_after, pause_ns, self._rate, now_ns)
        passed = self._trials.refused(self.use.used, self._enough())
        self._proven.refused(sent_ns)
        if not self._is_tight or self._rate <= self._proven.per_second:
            self._proven.forget()
        self._trials.begin(now_ns, self.use)
        if not self._hits:
            self._depth.first = hit
            self._measured = self._rate = self._possible(self._rate * self._settings.most_cut)
            self._guess(hit, now_ns)
        if self._hits and hit.at_ns <= self._hits[-1].at_ns:
            self._hits.clear()  # nothing was refilled since, or the clock went back: a measurement begins here
        found = measure(self._hits, hit, shallow=False)
        if found is not None and not has_retry_after and self._is_shallow(found):
            found = measure(self._hits, hit, shallow=True)
        self._hits.append(hit)
        if found is not None:
            self._learn(found, passed, now_ns)
        if has_retry_after:
            self._debt.owe(half_done, hit.at_ns)  # the other half is still to come

    def per_second(self, now_ns: int) -> tuple[float | None, ...]:
        """The rate now, for the limiting dimension. It is called while requests wait: only then may the rate grow."""
        elapsed_ns = now_ns - self._trials.changed_ns
        if self._uncertainty is None:
            self._grow(elapsed_ns, now_ns)
        elif self._is_trial_due(self._uncertainty, elapsed_ns):
            self._prove()
            self._try(self._uncertainty)
            self._trials.begin(now_ns, self.use)
        return tuple(self._rate if index == self._limiting.index else None for index in range(len(DIMENSIONS)))

    def wait_ns(self, now_ns: int) -> int:
        """Time until output after the last 429 is paid off; 0 if output is not the limiting dimension."""
        return self._debt.wait_ns(self._rate, now_ns) if self._limiting.index == _OUTPUT else 0

    @property
    def is_measured(self) -> bool:
        """Whether the rate changes by trials and 429s only. Before, it grows with time."""
        return self._uncertainty is not None

    @property
    def is_sure(self) -> bool:
        """Whether the rate is known well enough to predict a wait."""
        return self._uncertainty is not None and self._uncertainty < self._settings.poorly_measured / 2

    @property
    def share(self) -> float:
        """The measured rate divided by the highest recent one, which may be possible again."""
        return min(1.0, self._measured / self._highest) if self._highest else 1.0

    def _guess(self, hit: RateLimitHit, now_ns: int) -> None:
        """Guesses the rate from the first 429. A bucket of requests lacks one at most, so a long wait is a low rate.

        The unit of the last request is refilled when the wait ends. If so many requests were admitted before that the
        bucket would hold more than a minute, tokens are limited, or a window has to end.
        """
        seconds = (hit.at_ns - self._proven.last_ns) / NS_PER_SECOND
        known_seconds = self._settings.largest_bucket_seconds + (now_ns - self._depth.began_ns) / NS_PER_SECOND
        if hit.at_ns > now_ns + NS_PER_SECOND and self.use.used.requests * seconds <= known_seconds:
            self._upper = 1 / (seconds - 1)
            self._measured = self._rate = self._possible(min(self._rate, 1 / seconds))
            self._uncertainty = self._settings.poorly_measured

    def _possible(self, per_second: float) -> float:
        """The nearest rate that may be tried in the limiting dimension."""
        index, settings = self._limiting.index, self._settings
        return min(max(per_second, settings.least_per_second[index]), settings.most_per_second[index])

    def _recount(self, units: Cost, sent_ns: int) -> None:
        """Corrects the use of a request wherever it was counted since it was sent."""
        self._hits = deque((hit.recounted(units, sent_ns) for hit in self._hits), maxlen=_MOST_HITS)
        self._depth.recount(units, sent_ns)
        self._proven.recounted(units, sent_ns)
        self._trials.recount(units, sent_ns)

    def _grow(self, elapsed_ns: int, now_ns: int) -> None:
        # Pauses do not count, nor time in which something else has kept the rate from being tried.
        index, settings = self._limiting.index, self._settings
        tried_s = (self.use.used[index] - self._trials.used[index]) / self._rate
        growth = settings.growth_per_second ** max(0.0, min(elapsed_ns / NS_PER_SECOND, tried_s, 1.0))
        if self._hits:
            requests = self.use.used.requests - self._trials.used.requests
            growth = min(growth, settings.growth_per_request**requests)
        if growth > 1:
            self._prove()
            self._rate = self._possible(self._rate * growth)
            self._trials.begin(now_ns, self.use)

    def _learn(self, found: Measurement, passed: int, now_ns: int) -> None:
        """Computes the measured rate, its uncertainty and the rate to try, after a 429."""
        settings, trials = self._settings, self._trials
        if passed < settings.lossy_trials or not self._is_shallow(found):
            self._choose(found, now_ns)
        measured = found.per_second[self._limiting.index]
        if not measured or not (found.lately > 0 or self._limiting.index == _OUTPUT):
            return  # other clients were faster
        *hits, hit = self._hits
        if trials.early > 1 and self._is_tight and hit.has_retry_after:
            del hits[:-1]  # they have measured a limit that has since fallen
        low, high = bounds(hits, hit, self._known_use(measured))
        high = max(high, settings.most_cut * self._rate)
        low = min(max(low, self._proven.per_second), high)
        if passed or self._uncertainty is None or trials.early:
            self._measured = self._between(max(low, settings.most_cut * settings.most_cut * high), high)
        else:
            self._measured = min(max(self._measured, low), high)
        if passed:
            is_vain = self._upper is not None and self._measured <= self._upper and not hit.has_retry_after
            more = trials.vain + (trials.vain > 0 or self._limiting.is_clear)
            trials.vain = min(more, settings.most_vain) if is_vain else 0
        uncertainty = (high - low) / (2 * self._measured)
        if not (self._limiting.is_clear or self._is_tight):
            uncertainty = max(uncertainty, settings.vague / sqrt(max(1, found.moved.requests)))  # as sizes vary
        if self._measured < settings.most_cut * self._rate:
            # The rate was far too low before, and the bucket full; or output in flight still drains it.
            self._measured, uncertainty = settings.most_cut * self._rate, settings.poorly_measured
        self._measured = self._possible(self._measured)
        self._uncertainty = min(max(uncertainty, settings.least_uncertainty), settings.poorly_measured)
        self._upper, self._highest = high, max(self._measured, settings.forget * self._highest)
        self._rate = self._possible(self._measured * (1 + self._excess(hit)))
        if self._uncertainty <= settings.well_measured:
            self._depth.fix(self._limiting.index, self._highest)

    def _choose(self, found: Measurement, now_ns: int) -> None:
        """Compares the rates of all dimensions. If another one is steadier, the search continues in that one."""
        settings, moved, per_second = self._settings, found.moved, found.per_second
        if not moved.requests and found.seconds >= settings.contradiction_seconds:
            usual = self.use.output_per_second(now_ns - self._depth.began_ns)
            if moved.output_tokens < found.seconds * settings.plausible * usual:
                return  # output is reported late
            per_second = (0.0, 0.0, per_second[_OUTPUT])
        elif moved.requests < settings.enough_requests:
            return
        believed = self._limiting.index
        self._limiting.observe(per_second, found.seconds)
        if self._limiting.index == believed:
            return
        before, now = found.per_second[believed], found.per_second[self._limiting.index]
        scale = now / before if before else 0.0
        self._rate = self._possible(self._rate * scale or now)
        self._measured = self._possible(self._measured * scale or now)
        self._highest, self._upper, self._trials.vain = 0.0, None, 0
        self._depth.release()
        self._proven.forget()
        scaled = (hit._replace(highest_rate=scale * hit.highest_rate) for hit in self._hits)
        self._hits = deque(scaled, maxlen=_MOST_HITS)

    def _between(self, low: float, high: float) -> float:
        """The rate that is as likely too high as too low; a lower one where too high a rate is refused at once."""
        if not self._is_tight:
            return 2 / (1 / low + 1 / high)
        is_narrow = high < (1 + self._settings.well_measured) * low
        return low if is_narrow else low + (high - low) * self._settings.part_of_way

    def _excess(self, hit: RateLimitHit) -> float:
        """The relative excess over the measured rate, at which the refill of the wait after a 429 is used up slowly."""
        settings = self._settings
        if self._limiting.index == _OUTPUT:
            return -min(self._uncertainty or settings.most_below, settings.most_below)
        wait_s = 1.0 if hit.has_retry_after else hit.pause_ns / NS_PER_SECOND
        refilled = min(self._spare(), self._measured * wait_s) / self._size
        return min(refilled / (2 * self._enough()), settings.trial_share)

    def _prove(self) -> None:
        """Keeps the rate that the upstream has granted so far, because the rate is about to change."""
        if not self._hits:
            return
        self._proven.changed(self._known_use(self._rate))
        if self._upper is not None and self._proven.per_second > self._upper:
            self._upper, self._uncertainty = None, self._settings.poorly_measured  # the limit has risen

    def _try(self, uncertainty: float) -> None:
        """Raises the rate: part of the way to a rate that was too high, or else by small and then larger steps."""
        near, settings = self._near(), self._settings
        least = settings.least_uncertainty if self._is_tight else settings.trial_share
        step = self._trials.step(uncertainty, near, least)
        self._rate = self._possible(self._rate * (1 + step))
        if near >= settings.least_step and len(self._hits) > 1:  # with a single 429 the rate was only guessed
            self._uncertainty = near

    def _near(self) -> float:
        """The relative step towards a rate that was too high; 0 where there is no such bound."""
        if self._upper is None or not self._is_tight:
            return 0.0
        return (self._upper / self._rate - 1) * self._settings.part_of_way

    def _is_trial_due(self, uncertainty: float, elapsed_ns: int) -> bool:
        if self._limiting.index == _OUTPUT and self._trials.is_pending(self.use):
            return False
        near, share, enough = self._near(), self.share, self._enough()
        return self._trials.is_due(elapsed_ns, self.use.used, uncertainty, near, share=share, enough=enough)

    def _enough(self) -> float:
        """The number of requests over which one 429 is acceptable."""
        settings = self._settings
        return max(settings.every_requests, settings.every_seconds * self._measured / self._size)

    @property
    def _is_tight(self) -> bool:
        """Whether the upstream's bucket holds so little that a rate above the limit is refused at once."""
        return self._limiting.index != _OUTPUT and self._spare() < self._size

    def _is_shallow(self, found: Measurement) -> bool:
        """Whether the upstream's bucket holds only a few seconds of the rate found."""
        return self._depth.is_shallow(self._limiting.index, found.per_second[self._limiting.index])

    @property
    def _size(self) -> float:
        """Mean use of a request in the limiting dimension."""
        return self.use.size(self._limiting.index)

    def _spare(self) -> float:
        """The content of the upstream's bucket beside one request."""
        depth_s = self._depth.seconds(self._limiting.index, max(self._highest, self._measured))
        return max(0.0, depth_s * self._measured - self._size)

    def _known_use(self, per_second: float) -> Use:
        index, size, vague = self._limiting.index, self._size, self._settings.vague
        units = (0.0, vague * size, vague * sqrt(1 + max(0, self.use.in_flight)) * size)[index]
        if self._hits and not self._hits[-1].has_retry_after:
            units += size  # the refused request may have lacked all of its cost, or next to nothing
        return Use(index, self._spare(), units, per_second)
