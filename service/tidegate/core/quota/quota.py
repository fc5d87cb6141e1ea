"""The quota of a pool: three limits, a freeze, limits on growth, and the updates from responses."""

from typing import Final, Self

from tidegate.core.acceleration.acceleration_limit import AccelerationLimit
from tidegate.core.claude.rate_limit_groups import is_endpoint_pool
from tidegate.core.domain.anomaly import AnomalyKind
from tidegate.core.domain.dimension import ONE_REQUEST, Cost, Dimension
from tidegate.core.domain.events import Anomaly, Event
from tidegate.core.domain.feedback import RateLimited
from tidegate.core.domain.limit_report import LimitReport
from tidegate.core.domain.nanoseconds import NS_PER_MINUTE, NS_PER_SECOND
from tidegate.core.domain.pool_settings import PoolSettings
from tidegate.core.failures.probing import Probing
from tidegate.core.leases.output_ahead import OutputAhead
from tidegate.core.limits.adaptive_factor import AdaptiveFactor
from tidegate.core.limits.dimension_limit import DimensionLimit
from tidegate.core.queue.work_ahead import Work
from tidegate.core.quota.freeze import Freeze
from tidegate.core.quota.limit_reports import LimitReports
from tidegate.core.quota.pool_limits import PoolLimits
from tidegate.core.quota.quota_state import QuotaState, QuotaWork
from tidegate.core.quota.rate_changes import NOTABLE_SHARE, RateChanges
from tidegate.core.rate_search.rate_search import ENDPOINT_PER_SECOND, START_PER_SECOND, RateSearch

__all__ = ["Quota"]

_SILENCE_NS: Final = 2 * NS_PER_SECOND


class Quota:
    """The limits of a pool. `now_ns` is monotonic time.

    A pool with adaptive settings follows them, as the older limiter is documented. Any other pool learns: it begins
    with one request, follows the reported limits, and searches the rate where none are reported.

    Attributes:
        events: what has happened; the owner takes the events out.
        limits: the limits in all dimensions. Read only.
    """

    __slots__ = (
        "_acceleration",
        "_adaptive",
        "_answered",
        "_changes",
        "_charged_ns",
        "_cut_ns",
        "_freeze",
        "_is_endpoint",
        "_learns",
        "_name",
        "_probing",
        "_reports",
        "_search",
        "events",
        "limits",
    )

    def __init__(self, name: str, settings: PoolSettings, now_ns: int) -> None:
        self.events: list[Event] = []
        self._charged_ns = now_ns
        self._name = name
        # Endpoints report no limits, and theirs are high: nothing is held back before the first 429.
        self._is_endpoint = is_endpoint_pool(name)
        self.limits = PoolLimits()
        self._reports = LimitReports(name, self.events, self.limits)
        self._adaptive: AdaptiveFactor | None = None
        self._answered = False
        self._probing = Probing(now_ns)
        self._freeze = Freeze(name, self.events)
        self._cut_ns = now_ns
        self._search: RateSearch | None = None
        self._acceleration = AccelerationLimit()
        self._follow(settings, now_ns)
        self._changes = RateChanges(name, self.events, self.limits)

    def dump(self, now_ns: int) -> QuotaState:
        """The state, for `restore`."""
        return QuotaState(
            limits=self.limits.dump(now_ns),
            reported=self._reports.dump(),
            adaptive=None if self._adaptive is None else self._adaptive.dump(),
            acceleration=self._acceleration.dump(now_ns),
            search=None if self._search is None else self._search.dump(now_ns),
            probing=self._probing.dump(now_ns),
            freeze_ends_in_ns=self._freeze.dump(now_ns),
            is_answered=self._answered,
            cut_ago_ns=now_ns - self._cut_ns,
            charged_ago_ns=now_ns - self._charged_ns,
            reported_rates=self._changes.dump(),
        )

    @classmethod
    def restore(cls, state: QuotaState, now_ns: int, name: str, settings: PoolSettings) -> Self:
        """A quota that continues from `state`, under these settings, with no request in flight.

        Exact for equal settings, as far as the restored limits are. Other settings apply as by `configure`.
        """
        quota = cls(name, settings, now_ns)
        quota.limits = PoolLimits.restore(state.limits, now_ns)
        quota._reports = LimitReports.restore(state.reported, name, quota.events, quota.limits)
        if settings.adaptive is not None and state.adaptive is not None:
            quota._adaptive = AdaptiveFactor.restore(state.adaptive, settings.adaptive)
        quota._acceleration = AccelerationLimit.restore(state.acceleration, now_ns)
        quota._search = None if state.search is None else RateSearch.restore(state.search, now_ns)
        quota._probing = Probing.restore(state.probing, now_ns)
        quota._freeze = Freeze.restore(state.freeze_ends_in_ns, now_ns, name, quota.events)
        quota._answered = state.is_answered
        quota._cut_ns = now_ns - state.cut_ago_ns
        quota._charged_ns = now_ns - state.charged_ago_ns
        quota._changes = RateChanges.restore(state.reported_rates, name, quota.events, quota.limits)
        quota._follow(settings, now_ns)
        quota._changes.report("configured", NOTABLE_SHARE)  # smaller changes of an unchanged limit were not reported
        return quota

    def dump_work(self, now_ns: int) -> QuotaWork:
        """The estimates of requests in flight, and all that `dump` condenses."""
        return QuotaWork(
            self._reports.open_input_tokens,
            self._reports.open_output_tokens,
            0 if self._search is None else self._search.use.in_flight,
            tuple(limit.dump_history(now_ns) for limit in self.limits),
        )

    def restore_work(self, work: QuotaWork, now_ns: int) -> None:
        """Continues from `work`, which was dumped together with the restored state."""
        self._reports.open_input_tokens = work.open_input_tokens
        self._reports.open_output_tokens = work.open_output_tokens
        if self._search is not None:
            self._search.use.in_flight = work.searched_in_flight
        for limit, history in zip(self.limits, work.histories, strict=True):
            limit.restore_history(history, now_ns)

    def configure(self, settings: PoolSettings, now_ns: int) -> None:
        """Replaces the settings. Keeps levels and what was learned."""
        self._follow(settings, now_ns)
        self._changes.report("configured")

    def _follow(self, settings: PoolSettings, now_ns: int) -> None:
        self._learns = settings.adaptive is None
        if settings.adaptive is None:
            self._adaptive = None
        elif self._adaptive is None:
            self._adaptive = AdaptiveFactor(settings.adaptive)
        else:
            self._adaptive.configure(settings.adaptive)
        # A configured limit, and its burst, apply from the first request on.
        self._acceleration.starts_slowly = not (settings.limits or self._is_endpoint)
        self.limits.configure(settings, now_ns)
        self._adapt(now_ns)
        if not self._learns:
            self._probing.stop()
        elif not self._answered:
            # Also where limits are configured: they say nothing about the level of the upstream's bucket.
            self._probing.start(now_ns)

    def fits(self, cost: Cost, now_ns: int) -> bool:
        """Whether this cost may be spent now in all dimensions."""
        for index, limit in self.limits.limited:
            if cost[index] and not limit.fits(cost[index], now_ns):
                return False
        if self._freeze.until_ns is not None and not self._freeze.is_over(now_ns):
            return False
        if not self._learns:
            return True
        if self._search is not None and self._search.wait_ns(now_ns):
            return False
        if self._probing.active and self._probing.wait_ns(now_ns):
            return False
        return not self._acceleration.wait_ns(now_ns, cost[1])

    def wait_ns(self, cost: Cost, now_ns: int) -> int:
        """Time until this cost may be spent, at the latest."""
        longest_ns = max(self.limits.wait_ns(cost, now_ns), self._freeze.left_ns(now_ns))
        return max(longest_ns, self._wait_for_answers_ns(cost, now_ns)) if self._learns else longest_ns

    def wait_behind_ns(self, cost: Cost, ahead: Work, now_ns: int, outputs: OutputAhead) -> int:
        """Time until this cost may be spent after so many units were spent before it, unless there is a freeze."""
        longest_ns = self.limits.wait_behind_ns(cost, ahead, now_ns, outputs)
        if self._learns and (answers_ns := self._wait_for_answers_ns(cost, now_ns)):
            longest_ns = max(longest_ns, self.limits.service_time_ns(ahead) + answers_ns)
        return longest_ns

    def only_levels_bind(self, now_ns: int) -> bool:
        """Whether only levels can hold a request back: no freeze, no probing and no limit on growth."""
        return not (
            self.frozen_ns(now_ns) or (self._learns and (self._probing.active or self._acceleration.binds(now_ns)))
        )

    def binding(self, cost: Cost, now_ns: int) -> str:
        """The limit that binds this cost now, as in `Wait`: the one with the longest wait; `queue` if none binds."""
        waits: dict[str, int] = {"frozen": self.frozen_ns(now_ns)}
        waits |= {limit.dimension: limit.wait_ns(cost[i], now_ns) for i, limit in self.limits.limited}
        if self._learns:
            waits["probe"] = self._probing.wait_ns(now_ns)
            waits["acceleration"] = self._acceleration.wait_ns(now_ns, cost.input_tokens)
            debt_ns = 0 if self._search is None else self._search.wait_ns(now_ns)
            waits[Dimension.OUTPUT_TOKENS] = max(waits.get(Dimension.OUTPUT_TOKENS, 0), debt_ns)
        longest = max(waits, key=lambda name: waits[name])
        return longest if waits[longest] else "queue"

    def idle_wait_ns(self, cost: Cost, now_ns: int) -> int | None:
        """Time until a request goes despite competing traffic, if nothing is in flight.

        A pool that sends nothing learns nothing, and what it has learned of competing traffic may be out of date. Its
        own charges are not. So the request goes once its cost fits as if nobody else had used the key since our last
        request, after a minute at the latest, because no bucket holds more. Configured limits are kept all the same.
        None for a pool that does not learn.
        """
        if not self._learns:
            return None
        fits_ns = self.limits.unshared_wait_ns(cost, self._charged_ns, now_ns)
        since_charged_ns = self._charged_ns - now_ns
        idle_ns = max(since_charged_ns + _SILENCE_NS, min(fits_ns, since_charged_ns + NS_PER_MINUTE))
        growth_ns = self._acceleration.wait_ns(now_ns, cost.input_tokens)
        waits = [idle_ns, self.frozen_ns(now_ns), growth_ns, self.limits.own_wait_ns(cost, now_ns)]
        return max(waits if self._search is None else [*waits, self._search.wait_ns(now_ns)])

    def charge(self, cost: Cost, now_ns: int, overdraw_tokens: int = 0) -> tuple[tuple[int, DimensionLimit], ...]:
        """Charges this cost, into debt if necessary. Returns the limits that were charged.

        The output may become larger by `overdraw_tokens`.
        """
        self.limits.charge(cost, now_ns, overdraw_tokens)
        if self._learns:
            self._charged_ns = now_ns
            self._reports.open_input_tokens += cost[1]
            self._reports.open_output_tokens += cost[2]
            self._acceleration.sent(now_ns, cost[1])
            if self._search is not None:
                self._search.sent(cost, now_ns)
            if self._probing.active:
                self._probing.sent(now_ns, self.limits.service_time_ns(cost))
        return self.limits.limited

    def hold(self, input_tokens: int, output_tokens: int) -> None:
        """Another request is in flight that was charged elsewhere. The tokens are those that are still estimates."""
        if self._learns:
            self._reports.open_input_tokens += input_tokens
            self._reports.open_output_tokens += output_tokens
            if self._search is not None:
                self._search.use.in_flight += 1

    def correct_use(self, requests: int, input_tokens: int, output_tokens: int, at_ns: int) -> None:
        """Corrects the use at `at_ns`: input that had been estimated, output as it is produced."""
        if not self._learns:
            return
        if requests or input_tokens:
            self._acceleration.corrected(at_ns, requests, input_tokens)
        if self._search is not None:
            sent_ns = at_ns if requests else None
            self._search.corrected(Cost(requests, input_tokens, output_tokens), sent_ns)

    def close_estimates(self, input_tokens: int, output_tokens: int) -> None:
        """This part of the charges in flight is no longer an estimate: it was used, or never will be."""
        self._reports.open_input_tokens -= input_tokens
        self._reports.open_output_tokens -= output_tokens

    def request_ended(self, granted_ns: int) -> None:
        """A request that was granted at `granted_ns` ended. If it was a probe, the next may go at once."""
        if self._probing.active:
            self._probing.ended(granted_ns)
        if self._search is not None:
            self._search.ended()

    def frozen_ns(self, now_ns: int) -> int:
        """Remaining time of the freeze; 0 if there is none."""
        return self._freeze.left_ns(now_ns)

    def learn_limits(self, report: LimitReport, now_ns: int) -> None:
        """Takes in the limits that an answer reports. If it reports none, the rate has to be searched."""
        for fault in report.faults:
            if fault is not AnomalyKind.LIMITS_MISSING or not self._is_endpoint:
                self.events.append(Anomaly(self._name, fault))
        if report.answered:
            self.answer_came(now_ns - report.sent_ago_ns)
        if not any(report.dimensions):
            if not self._reports.has_limit and self._search is None and not self._is_endpoint:
                self._search = self._new_search(now_ns, now_ns)
                self._apply_search(self._search, now_ns)
                self._changes.report("unreported")
            return
        if self._search is not None:
            self._search = None
            for limit in self.limits:
                limit.search(None, now_ns)
        has_changed = self._reports.observe(report, now_ns)
        self.limits.refresh()
        self._changes.report("reported" if has_changed else "competing_traffic", 0.0 if has_changed else NOTABLE_SHARE)

    def answer_came(self, sent_ns: int) -> None:
        """A request sent at `sent_ns` was answered. That ends probing if it was sent after the last refusal."""
        self._answered = True
        if self._probing.active:
            self._probing.answered(sent_ns)
        if self._acceleration.is_known:
            self._acceleration.answered(sent_ns)

    def learn_success(self, now_ns: int) -> None:
        """The upstream answered well: a rate that was cut recovers a step."""
        if self._adaptive is not None:
            self._change_factor(self._adaptive, grow=True, now_ns=now_ns)

    def learn_429(self, refusal: RateLimited, now_ns: int, needed: Cost = ONE_REQUEST) -> None:
        """The upstream answered 429 to a request of cost `needed`."""
        self._freeze.extend(max(refusal.retry_after_ns or 0, refusal.pause_ns), now_ns)
        is_new = self._is_new_overrun(refusal, now_ns)
        if not self._learns:
            if is_new and self._adaptive is not None:
                self._change_factor(self._adaptive, grow=False, now_ns=now_ns)
            return
        sent_ns = now_ns - (refusal.sent_ago_ns or 0)
        # An answer reports the remainder of a reported limit, but nothing of an acceleration limit.
        only_acceptance = refusal.acceleration or not self._reports.has_limit
        self._probing.refused(now_ns, sent_ns, waves=only_acceptance, is_bounded=refusal.acceleration)
        if refusal.acceleration:
            self._acceleration.refused(sent_ns, now_ns, needed.input_tokens)
        elif not is_new:
            return  # the charge of that request has been given back
        elif self._reports.has_limit:
            for limit in self.limits:
                limit.overrun(now_ns)
        else:
            self._search = self._search or self._new_search(sent_ns, now_ns)
            retry_after_ns, pause_ns = refusal.retry_after_ns, refusal.pause_ns
            self._search.refused(sent_ns, now_ns, retry_after_ns=retry_after_ns, pause_ns=pause_ns, needed=needed)
            self._apply_search(self._search, now_ns)
            self._changes.report("rate_limited")
            for limit in self.limits:
                limit.empty(max(retry_after_ns or 0, pause_ns), now_ns)

    def demand_seen(self, now_ns: int) -> None:
        """A request waits: a searched rate may grow."""
        if self._search is not None and not self._probing.active and self._freeze.is_over(now_ns):
            self._apply_search(self._search, now_ns)
            self._changes.report("demand", 0.0 if self._search.is_measured else NOTABLE_SHARE)

    @property
    def is_probing(self) -> bool:
        """Whether a few requests find out if the upstream accepts any."""
        return self._probing.active

    @property
    def is_known(self) -> bool:
        """Whether limits are known by configuration or from answers."""
        return self._answered or not self._learns

    @property
    def is_sure(self) -> bool:
        """Whether waits can be predicted from the rates: not from a searched rate that was not measured well."""
        return self._search is None or self._search.is_sure

    @property
    def factor(self) -> float:
        """The adaptive factor; 1 for a pool that learns."""
        return 1.0 if self._adaptive is None else self._adaptive.value

    def _wait_for_answers_ns(self, cost: Cost, now_ns: int) -> int:
        if self._freeze.until_ns is not None and not self._freeze.is_over(now_ns):
            return self._freeze.left_ns(now_ns)
        if self._probing.active and (probe_ns := self._probing.wait_ns(now_ns)):
            return probe_ns
        if growth_ns := self._acceleration.wait_ns(now_ns, cost[1]):
            return growth_ns
        return 0 if self._search is None else self._search.wait_ns(now_ns)

    def _new_search(self, began_ns: int, now_ns: int) -> RateSearch:
        return RateSearch(began_ns, ENDPOINT_PER_SECOND if self._is_endpoint else START_PER_SECOND, now_ns)

    def _apply_search(self, search: RateSearch, now_ns: int) -> None:
        for limit, per_second in zip(self.limits, search.per_second(now_ns), strict=True):
            limit.search(per_second, now_ns, search.share)
        self.limits.refresh()

    def _is_new_overrun(self, refusal: RateLimited, now_ns: int) -> bool:
        """Whether the refused request was sent after the last cut: one overrun, however many 429s, is one cut."""
        if refusal.sent_ago_ns is not None and now_ns - refusal.sent_ago_ns < self._cut_ns:
            return False
        self._cut_ns = now_ns
        return True

    def _change_factor(self, adaptive: AdaptiveFactor, *, grow: bool, now_ns: int) -> None:
        if adaptive.grow() if grow else adaptive.cut():
            self._adapt(now_ns)
            self._changes.report("succeeded" if grow else "rate_limited")

    def _adapt(self, now_ns: int) -> None:
        for limit in self.limits:
            limit.adapt(self.factor, now_ns)
        self.limits.refresh()
