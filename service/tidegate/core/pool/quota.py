"""What a pool may spend now: three limits, a freeze, a slope, and what answers teach about all of them."""

import math
from collections.abc import Sequence
from typing import Final

from tidegate.core.acceleration.acceleration_limit import AccelerationLimit
from tidegate.core.claude.rate_limit_groups import is_endpoint_pool
from tidegate.core.domain.anomaly import AnomalyKind
from tidegate.core.domain.dimension import DIMENSIONS, ONE_REQUEST, Cost, Dimension, NsPerUnit, service_time_ns
from tidegate.core.domain.events import Anomaly, Event, Frozen, LimitLearned, Thawed
from tidegate.core.domain.feedback import RateLimited
from tidegate.core.domain.limit_report import LimitReport
from tidegate.core.domain.nanoseconds import NS_PER_MINUTE, NS_PER_SECOND
from tidegate.core.domain.pool_settings import PoolSettings
from tidegate.core.domain.snapshots import DimensionSnapshot
from tidegate.core.failures.probing import Probing
from tidegate.core.limits.adaptive_factor import AdaptiveFactor
from tidegate.core.limits.dimension_limit import DimensionLimit
from tidegate.core.limits.fixed_window import FixedWindowVotes
from tidegate.core.limits.reported_limit import ReportedLimit
from tidegate.core.pool.rate_changes import WORTH_TELLING, RateChanges
from tidegate.core.rate_search.rate_search import ENDPOINT_PER_SECOND, START_PER_SECOND, RateSearch

__all__ = ["Quota"]

_NEWS_NS: Final = NS_PER_SECOND // 4
"""A volley of 429s prolongs a freeze by moments: that is not worth an event each."""
_SILENCE_NS: Final = 2 * NS_PER_SECOND
_OUTPUT: Final = DIMENSIONS.index(Dimension.OUTPUT_TOKENS)


class Quota:
    """The limits of a pool. `events` collects what happened, until somebody takes it.

    `limited` are the limits that are known, by index: another tuple whenever one of them, or its rate, has changed.
    `ns_per_unit` says how long a unit takes to come back, in each dimension; 0 where nothing is limited.

    A pool with adaptive settings follows them, as the older limiter is documented. Any other learns: it begins with one
    request, goes by what headers report, and searches the rate where there are none.
    """

    __slots__ = (
        "_adaptive",
        "_answered",
        "_cut_ns",
        "_frozen_until_ns",
        "_is_endpoint",
        "_learns",
        "_limits",
        "_name",
        "_news",
        "_open_input_tokens",
        "_open_output_tokens",
        "_probing",
        "_ramp",
        "_search",
        "_taken_ns",
        "_told",
        "events",
        "limited",
        "ns_per_unit",
    )

    def __init__(self, name: str, settings: PoolSettings, now_ns: int) -> None:
        self.events: list[Event] = []
        self._taken_ns = now_ns
        self._name = name
        # Endpoints never tell their limits, and those are high: nothing is held back before the first 429.
        self._is_endpoint = is_endpoint_pool(name)
        votes = FixedWindowVotes()
        self._limits = tuple(DimensionLimit(dimension, votes) for dimension in DIMENSIONS)
        self._told = tuple(ReportedLimit() for _ in DIMENSIONS)
        self.limited: tuple[tuple[int, DimensionLimit], ...] = ()
        self.ns_per_unit: NsPerUnit = (0.0, 0.0, 0.0)
        self._adaptive: AdaptiveFactor | None = None
        self._learns = True
        self._answered = False
        self._probing = Probing(now_ns)
        self._frozen_until_ns: int | None = None
        self._cut_ns = now_ns
        self._open_input_tokens = self._open_output_tokens = 0  # of what was taken, what is an estimate still
        self._search: RateSearch | None = None
        self._ramp = AccelerationLimit()
        self._follow(settings, now_ns)
        self._news = RateChanges(name, self.events, self._limits)

    def configure(self, settings: PoolSettings, now_ns: int) -> None:
        """Goes on under other settings: keeps levels, and what was learned."""
        self._follow(settings, now_ns)
        self._news.tell("configured")

    def _follow(self, settings: PoolSettings, now_ns: int) -> None:
        self._learns = settings.adaptive is None
        if settings.adaptive is None:
            self._adaptive = None
        elif self._adaptive is None:
            self._adaptive = AdaptiveFactor(settings.adaptive)
        else:
            self._adaptive.configure(settings.adaptive)
        # What an operator has configured, and how much at once, is taken at its word.
        self._ramp.starts_slowly = not (settings.limits or self._is_endpoint)
        for limit in self._limits:
            limit.configure(settings.limits.get(limit.dimension), now_ns)
        self._adapt(now_ns)
        if not self._learns:
            self._probing.stop()
        elif not self._answered:
            # Also where limits are configured: they say nothing about what the upstream's bucket holds.
            self._probing.start(now_ns)

    def fits(self, cost: Cost, now_ns: int) -> bool:
        """Whether this much may be spent now, in all dimensions."""
        for index, limit in self.limited:
            if cost[index] and not limit.fits(cost[index], now_ns):
                return False
        if self._frozen_until_ns is not None and not self._is_thawed(now_ns):
            return False
        if not self._learns:
            return True
        if self._search is not None and self._search.wait_ns(now_ns):
            return False
        if self._probing.active and self._probing.wait_ns(now_ns):
            return False
        return not self._ramp.wait_ns(now_ns, cost[1])

    def wait_ns(self, cost: Cost, now_ns: int) -> int:
        """How long until this much may be spent, at the latest."""
        longest_ns = self.level_wait_ns(cost, now_ns)
        if self._frozen_until_ns is not None:
            longest_ns = max(longest_ns, self._frozen_until_ns - now_ns)
        return max(longest_ns, self._wait_for_answers_ns(cost, now_ns)) if self._learns else longest_ns

    def level_wait_ns(self, cost: Cost, now_ns: int) -> int:
        """How long until the levels allow this much, whatever else there is to wait for."""
        longest_ns = 0  # no `max` here, and none over a generator: each waiter comes by
        for index, limit in self.limited:
            if cost[index] and (wait_ns := limit.wait_ns(cost[index], now_ns)) > longest_ns:
                longest_ns = wait_ns
        return longest_ns

    def only_levels_bind(self, now_ns: int) -> bool:
        """Whether nothing but levels keeps anything from being spent: no freeze, and no single requests that probe."""
        return not (self.frozen_ns(now_ns) or (self._learns and (self._probing.active or self._ramp.binds(now_ns))))

    def binding(self, cost: Cost, now_ns: int) -> str:
        """What keeps this much from being spent now, as in `Wait`; where several do, what lasts longest."""
        waits: dict[str, int] = {"frozen": self.frozen_ns(now_ns)}
        waits |= {limit.dimension: limit.wait_ns(cost[i], now_ns) for i, limit in self.limited}
        waits["probe"] = self._probing.wait_ns(now_ns)
        if self._learns:
            waits["acceleration"] = self._ramp.wait_ns(now_ns, cost.input_tokens)
        return max(waits, key=lambda name: waits[name])

    def silent_ns(self, cost: Cost, now_ns: int) -> int | None:
        """How long until a request goes whatever was learned, if nothing is in flight: who is silent learns nothing.

        What was learned of others may be out of date then, but not what we took: not before its cost fits as if nobody
        else had taken any, a minute at most, for no bucket holds more. What an operator has configured is kept all the
        same. None for a pool that does not learn.
        """
        if not self._learns:
            return None
        kept = (limit.own_wait_ns(cost[i], now_ns) for i, limit in self.limited if cost[i])
        fits_ns = (limit.unshared_wait_ns(cost[i], self._taken_ns, now_ns) for i, limit in self.limited if cost[i])
        silent_ns = self._taken_ns - now_ns
        silence_ns = max(silent_ns + _SILENCE_NS, min(max(fits_ns, default=0), silent_ns + NS_PER_MINUTE))
        ramp_ns = self._ramp.wait_ns(now_ns, cost.input_tokens)
        waits = [silence_ns, self.frozen_ns(now_ns), ramp_ns, *kept]
        return max(waits if self._search is None else [*waits, self._search.wait_ns(now_ns)])

    def service_time_ns(self, cost: Sequence[int]) -> int:
        """How long it takes to refill this much, in the tightest dimension."""
        return service_time_ns(cost, self.ns_per_unit)

    def held_ns(self, cost: Cost, *, above: bool = False) -> int:
        """How long it takes to fill the smallest of the buckets that this cost draws on; `above`: once it fits."""
        return min((limit.full_ns(cost[index] * above) for index, limit in self.limited if cost[index]), default=0)

    def never_fits(self, cost: Cost) -> Dimension | None:
        """The dimension in which this is more than the bucket can ever hold."""
        for index, limit in self.limited:
            if cost[index] > (limit.capacity or 0.0):
                return limit.dimension
        return None

    def take(self, cost: Cost, now_ns: int, overdraw_tokens: int = 0) -> tuple[tuple[int, DimensionLimit], ...]:
        """Spends this much, into debt if need be; output may be so much more. Returns the limits that were charged."""
        for index, limit in self.limited:
            limit.take(cost[index], now_ns, overdraw_tokens if index == _OUTPUT else 0)
        if self._learns:
            self._taken_ns = now_ns
            self._open_input_tokens += cost[1]
            self._open_output_tokens += cost[2]
            self._ramp.sent(now_ns, cost[1])
            if self._search is not None:
                self._search.sent(cost, now_ns)
            if self._probing.active:
                self._probing.sent(now_ns, self.service_time_ns(cost))
        return self.limited

    def give_back(self, cost: Cost, now_ns: int) -> None:
        """Undoes a `take` of just now."""
        for index, limit in self.limited:
            limit.correct(-cost[index], now_ns)
        self.correct_use(-cost[0], -cost[1], 0, now_ns)

    def correct_use(self, requests: int, input_tokens: int, output_tokens: int, at_ns: int) -> None:
        """So much more was used then than was known: input that had been estimated, output as it comes."""
        if not self._learns:
            return
        if requests or input_tokens:
            self._ramp.corrected(at_ns, requests, input_tokens)
        if self._search is not None:
            sent_ns = at_ns if requests else None
            self._search.corrected(Cost(requests, input_tokens, output_tokens), sent_ns)

    def forget(self, input_tokens: int, output_tokens: int) -> None:
        """So much less of what was taken is an estimate still: it was used or produced, or never will be."""
        self._open_input_tokens -= input_tokens
        self._open_output_tokens -= output_tokens

    def request_ended(self, granted_ns: int) -> None:
        """A request that was granted then ended: if it was a probe, the next may go at once."""
        if self._probing.active:
            self._probing.ended(granted_ns)
        if self._search is not None:
            self._search.ended()

    def freeze(self, duration_ns: int, now_ns: int) -> None:
        """Admits nobody for that long, or until an earlier freeze ends."""
        until_ns, known_ns = now_ns + max(0, duration_ns), self._frozen_until_ns or 0
        if until_ns > max(now_ns, known_ns):
            self._frozen_until_ns = until_ns
            if known_ns <= now_ns or until_ns - known_ns > _NEWS_NS:
                self.events.append(Frozen(self._name, until_ns - now_ns))

    def frozen_ns(self, now_ns: int) -> int:
        """How much longer the freeze lasts; 0 if there is none."""
        return 0 if self._frozen_until_ns is None else max(0, self._frozen_until_ns - now_ns)

    def learn_limits(self, report: LimitReport, now_ns: int) -> None:
        """Takes in what an answer's headers say; nothing, if the report is empty: then the rate has to be searched."""
        for fault in report.faults:
            if fault is not AnomalyKind.LIMITS_MISSING or not self._is_endpoint:
                self.events.append(Anomaly(self._name, fault))
        if report.answered:
            self.answer_came(now_ns - report.sent_ago_ns)
        if not any(report.dimensions):
            if not self._knows_upstream() and self._search is None and not self._is_endpoint:
                self._search = self._new_search(now_ns, now_ns)
                self._go_by_search(self._search, now_ns)
                self._news.tell("untold")
            return
        if self._search is not None:
            self._search = None
            for limit in self._limits:
                limit.search(None, now_ns)
        is_news = self._learn_told(report, now_ns)
        self._find_limited()
        self._news.tell("told" if is_news else "others", 0.0 if is_news else WORTH_TELLING)

    def answer_came(self, sent_ns: int) -> None:
        """An answer to a request that was sent since the last refusal ends probing."""
        self._answered = True
        if self._probing.active:
            self._probing.answered(sent_ns)
        if self._ramp.is_known:
            self._ramp.answered(sent_ns)

    def learn_success(self, now_ns: int) -> None:
        """The upstream answered well."""
        if self._adaptive is not None:
            self._change_factor(self._adaptive, grow=True, now_ns=now_ns)

    def learn_refusal(self, refusal: RateLimited, now_ns: int, needed: Cost = ONE_REQUEST) -> None:
        """The upstream answered 429 to a request that needed so much."""
        self.freeze(max(refusal.retry_after_ns or 0, refusal.pause_ns), now_ns)
        is_new = self._is_new_overrun(refusal, now_ns)
        if not self._learns:
            if is_new and self._adaptive is not None:
                self._change_factor(self._adaptive, grow=False, now_ns=now_ns)
            return
        sent_ns = now_ns - (refusal.sent_ago_ns or 0)
        # An answer tells what is left of a limit, where that is told at all, but nothing of one to the slope.
        nothing_told = refusal.acceleration or not self._knows_upstream()
        self._probing.refused(now_ns, sent_ns, waves=nothing_told, is_bounded=refusal.acceleration)
        if refusal.acceleration:
            self._ramp.refused(sent_ns, now_ns, needed.input_tokens)
        elif not is_new:
            return  # what that request was counted for has been given back
        elif self._knows_upstream():
            for limit in self._limits:
                limit.overrun(now_ns)
        else:
            self._search = self._search or self._new_search(sent_ns, now_ns)
            told_ns, pause_ns = refusal.retry_after_ns, refusal.pause_ns
            self._search.refused(sent_ns, now_ns, retry_after_ns=told_ns, pause_ns=pause_ns, needed=needed)
            self._go_by_search(self._search, now_ns)
            self._news.tell("rate_limited")
            for limit in self._limits:
                limit.empty(max(told_ns or 0, pause_ns), now_ns)

    def demand_seen(self, now_ns: int) -> None:
        """Somebody waits: a rate that is being searched may grow."""
        if self._search is not None and not self._probing.active and self._is_thawed(now_ns):
            self._go_by_search(self._search, now_ns)
            self._news.tell("demand", 0.0 if self._search.is_measured else WORTH_TELLING)

    @property
    def is_probing(self) -> bool:
        """Whether single requests find out if the upstream answers."""
        return self._probing.active

    @property
    def is_known(self) -> bool:
        """Whether limits are known, by configuration or from answers."""
        return self._answered or not self._learns

    @property
    def is_sure(self) -> bool:
        """Whether a wait can be told from the rates: not while one is searched that was not measured well."""
        return self._search is None or self._search.is_sure

    @property
    def factor(self) -> float:
        """The adaptive factor; 1 for a pool that learns."""
        return 1.0 if self._adaptive is None else self._adaptive.value

    def snapshot(self, now_ns: int) -> tuple[DimensionSnapshot, ...]:
        """The state of each dimension."""
        return tuple(limit.snapshot(now_ns) for limit in self._limits)

    def per_minute(self, now_ns: int) -> list[float | None]:
        """The quota in each dimension: what the upstream grants, or what is gone by where it tells nothing."""
        return [each.upstream_per_minute or each.effective_per_minute for each in self.snapshot(now_ns)]

    def _wait_for_answers_ns(self, cost: Cost, now_ns: int) -> int:
        if self._frozen_until_ns is not None and not self._is_thawed(now_ns):
            return self._frozen_until_ns - now_ns
        if self._probing.active and (probe_ns := self._probing.wait_ns(now_ns)):
            return probe_ns
        if slope_ns := self._ramp.wait_ns(now_ns, cost[1]):
            return slope_ns
        return 0 if self._search is None else self._search.wait_ns(now_ns)

    def _is_thawed(self, now_ns: int) -> bool:
        if self._frozen_until_ns is not None and now_ns >= self._frozen_until_ns:
            self._frozen_until_ns = None
            self.events.append(Thawed(self._name))
        return self._frozen_until_ns is None

    def _new_search(self, began_ns: int, now_ns: int) -> RateSearch:
        return RateSearch(began_ns, ENDPOINT_PER_SECOND if self._is_endpoint else START_PER_SECOND, now_ns)

    def _go_by_search(self, search: RateSearch, now_ns: int) -> None:
        for limit, per_second in zip(self._limits, search.per_second(now_ns), strict=True):
            limit.search(per_second, now_ns, search.share)
        self._find_limited()

    def _learn_told(self, report: LimitReport, now_ns: int) -> bool:
        """Whether the limits themselves are news."""
        is_news = False
        estimated = (0, max(0, self._open_input_tokens), max(0, self._open_output_tokens))
        for limit, told, said, expected in zip(self._limits, self._told, report.dimensions, estimated, strict=True):
            believed, was_wrong = told.checked(said)
            if was_wrong:
                self.events.append(Anomaly(self._name, AnomalyKind.LIMITS))
            if believed is not None and limit.learn(believed, report.sent_ago_ns, expected, now_ns):
                is_news = True
                self.events.append(LimitLearned(self._name, limit.dimension, float(believed.per_minute)))
            is_readable = AnomalyKind.LIMITS not in report.faults
            if said is None and is_readable and limit.told_per_minute is not None and told.is_silent():
                is_news = True
                limit.forget_told(now_ns)
        return is_news

    def _knows_upstream(self) -> bool:
        return any(limit.told_per_minute is not None for limit in self._limits)

    def _is_new_overrun(self, refusal: RateLimited, now_ns: int) -> bool:
        """Whether the refused request was sent after the last cut: one overrun, however many 429s, is one cut."""
        if refusal.sent_ago_ns is not None and now_ns - refusal.sent_ago_ns < self._cut_ns:
            return False
        self._cut_ns = now_ns
        return True

    def _change_factor(self, adaptive: AdaptiveFactor, *, grow: bool, now_ns: int) -> None:
        if adaptive.grow() if grow else adaptive.cut():
            self._adapt(now_ns)
            self._news.tell("succeeded" if grow else "rate_limited")

    def _adapt(self, now_ns: int) -> None:
        for limit in self._limits:
            limit.adapt(self.factor, now_ns)
        self._find_limited()

    def _find_limited(self) -> None:
        limits = self._limits
        self.limited = tuple((index, limit) for index, limit in enumerate(limits) if limit.is_limited)
        requests, input_tokens, output_tokens = (NS_PER_MINUTE / (limit.per_minute or math.inf) for limit in limits)
        self.ns_per_unit = (requests, input_tokens, output_tokens)
