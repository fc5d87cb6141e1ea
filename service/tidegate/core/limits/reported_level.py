"""The upstream's bucket as its reports describe it: limit, capacity, error of the level, and use by others."""

import math
from dataclasses import dataclass
from typing import Final, Self

from msgspec import Struct

from tidegate.core.domain.dimension import MICRO, Dimension
from tidegate.core.domain.limit_report import DimensionReport
from tidegate.core.domain.nanoseconds import NS_PER_MINUTE, NS_PER_SECOND
from tidegate.core.limits.charge_log import ChargeLog, ChargeLogState, Replay
from tidegate.core.limits.competing_traffic import CompetingTraffic, CompetingTrafficState
from tidegate.core.limits.fixed_window import FixedWindow, FixedWindowState, FixedWindowVotes
from tidegate.core.limits.level_error import LevelError, LevelErrorState, distance
from tidegate.core.limits.token_bucket import TokenBucket

__all__ = ["ReportedHistory", "ReportedLevel", "ReportedLevelSettings", "ReportedLevelState"]

_RESET_ROUNDING_NS: Final = NS_PER_SECOND // 2
"""`…-reset` is rounded up to a whole second, which adds half a second on average."""
_ROUNDED_TO: Final = {Dimension.REQUESTS: 0, Dimension.INPUT_TOKENS: 500, Dimension.OUTPUT_TOKENS: 500}
"""Token figures are rounded to the nearest thousand ("Rate limits", read 2026-10-08)."""


@dataclass(frozen=True, slots=True)
class ReportedLevelSettings:
    """Parameters of `ReportedLevel`.

    Attributes:
        newest_weight: weight of the newest figure in running means, which then cover about ten reports.
        newest_price_weight: the same for errors of prices, which come twice per request.
        gain: share of its error by which a report corrects the level. A report may be off by what is in flight.
        fresh_ns: a 429 takes no longer than this. A report of a request this young describes the level after the 429.
        competitor_seconds: use of others for which quota is left: it is unknown until the next report.
        shallow_seconds: reports on a bucket of fewer seconds are about as old as what it holds, so they show no others.
        full_seconds: error of a capacity that follows from times rounded to a second.
        full_share: upper bound of that error, for buckets of few seconds, whose capacity many reports have averaged.
        wrong_prices: mean relative error of prices above which a line through our charges shows nothing of others.
    """

    newest_weight: float = 0.1
    newest_price_weight: float = 0.05
    gain: float = 0.4
    fresh_ns: int = NS_PER_SECOND // 4
    competitor_seconds: float = 2.0
    shallow_seconds: float = 0.5
    full_seconds: int = 1
    full_share: float = 0.25
    wrong_prices: float = 0.35


_DEFAULTS: Final = ReportedLevelSettings()


class ReportedLevelState(Struct, frozen=True, array_like=True):
    """The dump of a `ReportedLevel`."""

    per_minute: float | None
    capacity: float | None
    level_error: LevelErrorState
    competing: CompetingTrafficState
    window: FixedWindowState
    charges: ChargeLogState
    last: tuple[int, int] | None
    """The remainder at the last report, and its age."""
    refused_ago_ns: int | None
    uncertainty: float
    price_error: float
    usual: float


class ReportedHistory(Struct, frozen=True, array_like=True):
    """The charges of the last two minutes and the reports of the last seconds, as they were."""

    charges: ChargeLogState
    competing: CompetingTrafficState


class ReportedLevel:
    """Corrects the level of a bucket that copies the upstream's.

    The copy is kept by dead reckoning: every charge is taken, the rate is added. A report says what remained, but it is
    seconds old, and it may be true at the admission or at the response. With the log of charges it gives one interval
    for each reading. The level is corrected only if it lies outside of them:

        level -= gain × distance to the believed interval

    The mean error becomes a margin: the level only has to stay between empty and full, and draining it to the last unit
    would gain nothing but 429s.

    Attributes:
        per_minute: the reported limit; None while none is reported.
        competing: use of the same quota by others.
        window: the fixed window, if the upstream counts in windows.
    """

    __slots__ = (
        "_capacity",
        "_charges",
        "_last",
        "_level_error",
        "_price_error",
        "_refused_ns",
        "_rounded_to",
        "_settings",
        "_shows_others",
        "_uncertainty",
        "_usual",
        "competing",
        "per_minute",
        "window",
    )

    def __init__(
        self, dimension: Dimension, votes: FixedWindowVotes, settings: ReportedLevelSettings = _DEFAULTS
    ) -> None:
        self._settings = settings
        self._rounded_to = _ROUNDED_TO[dimension]
        # Output is charged upstream as it is produced, but here on admission, so its line is not straight.
        self._shows_others = dimension is not Dimension.OUTPUT_TOKENS
        self.per_minute: float | None = None
        self.competing = CompetingTraffic()
        self.window = FixedWindow(votes)
        self._capacity: float | None = None
        self._level_error = LevelError()
        self._charges = ChargeLog()
        self._last: tuple[int, int] | None = None  # what remained at the last report, and its time
        self._refused_ns: int | None = None  # when a request was refused for which the level sufficed
        self._uncertainty = 0.0  # mean width of the interval that a report gives
        self._price_error = 0.0
        self._usual = 0.0  # mean charge of a request, with its possible overdraw

    def dump(self, now_ns: int) -> ReportedLevelState:
        """The state, for `restore`."""
        return ReportedLevelState(
            per_minute=self.per_minute,
            capacity=self._capacity,
            level_error=self._level_error.dump(),
            competing=self.competing.dump(now_ns),
            window=self.window.dump(now_ns),
            charges=self._charges.dump(now_ns),
            last=self._last and (self._last[0], now_ns - self._last[1]),
            refused_ago_ns=None if self._refused_ns is None else now_ns - self._refused_ns,
            uncertainty=self._uncertainty,
            price_error=self._price_error,
            usual=self._usual,
        )

    @classmethod
    def restore(
        cls,
        state: ReportedLevelState,
        now_ns: int,
        dimension: Dimension,
        votes: FixedWindowVotes,
        settings: ReportedLevelSettings = _DEFAULTS,
    ) -> Self:
        """Continues from `state`: exactly, unless its charges or reports were condensed."""
        restored = cls(dimension, votes, settings)
        restored.per_minute, restored._capacity = state.per_minute, state.capacity
        restored._level_error = LevelError.restore(state.level_error)
        restored.competing = CompetingTraffic.restore(state.competing, now_ns)
        restored.window = FixedWindow.restore(state.window, now_ns, votes)
        restored._charges = ChargeLog.restore(state.charges, now_ns)
        restored._last = state.last and (state.last[0], now_ns - state.last[1])
        restored._refused_ns = None if state.refused_ago_ns is None else now_ns - state.refused_ago_ns
        restored._uncertainty, restored._price_error = state.uncertainty, state.price_error
        restored._usual = state.usual
        return restored

    def dump_history(self, now_ns: int) -> ReportedHistory:
        """All charges and reports that `dump` may condense."""
        return ReportedHistory(self._charges.dump(now_ns, exact=True), self.competing.dump(now_ns, exact=True))

    def restore_history(self, history: ReportedHistory, now_ns: int) -> None:
        """Replaces what `dump` may have condensed."""
        self._charges = ChargeLog.restore(history.charges, now_ns)
        self.competing = CompetingTraffic.restore(history.competing, now_ns)

    def capacity(self, per_minute: float) -> float:
        """The capacity at this limit. Until reports show one, it is one second of the limit."""
        return per_minute if self.window.is_fixed else self._capacity or per_minute / 60

    def margin(self, capacity: float) -> float:
        """The margin to leave in the bucket."""
        kept_back = max(self._settings.competitor_seconds * self.competing.per_second, self._usual)
        return self._level_error.margin(capacity, kept_back)

    def uncertainty(self, capacity: float) -> float:
        """The possible error of the level beside its margin: 0 for requests, which are counted exactly.

        It is 0 in a fixed window too, which does not fill before it ends.
        """
        if not self._rounded_to or self.window.is_fixed:
            return 0.0
        return self._level_error.margin(capacity, self._uncertainty / 2)

    def charge(self, units: int, overdraw: int, now_ns: int) -> None:
        """Logs the charge of a request, which may turn out to be larger by `overdraw`."""
        self._usual += self._settings.newest_weight * (units + overdraw - self._usual)
        self._charges.add(units, now_ns)

    def correct(self, units: int, now_ns: int) -> None:
        """Logs the correction of an earlier charge."""
        self._charges.add(units, now_ns)

    def observe_price(self, estimate: int, actual: int) -> None:
        """Compares the estimate of a charge with the actual use."""
        if estimate:
            off = abs(actual - estimate)
            error = off / estimate if off < estimate else 1.0
            self._price_error += self._settings.newest_price_weight * (error - self._price_error)

    def observe_refusal(self, capacity: float, now_ns: int) -> None:
        """Trusts the level less: the upstream refused a request for which it sufficed."""
        self._level_error.distrust(capacity)
        self._refused_ns = now_ns

    def observe(self, report: DimensionReport, now_ns: int) -> bool:
        """Takes in the limit and the capacity of a report. Returns whether the limit has changed."""
        is_new = report.per_minute != self.per_minute
        if is_new:
            self.per_minute = float(report.per_minute)
            self._capacity = None
            self._level_error.clear()
            self.competing.clear()
            self._last = None
        self._observe_capacity(report)
        self.window.observe(report, now_ns)
        return is_new

    def forget(self) -> None:
        """Forgets the limit, which the upstream no longer reports."""
        self.per_minute = self._capacity = None
        self.competing.clear()

    def observe_level(
        self,
        bucket: TokenBucket,
        report: DimensionReport,
        remaining: int,
        sent_ago_ns: int,
        outstanding: int,
        now_ns: int,
        *,
        is_first: bool,
    ) -> None:
        """Corrects the level of the bucket by what remained.

        Args:
            bucket: the copy of the upstream's bucket.
            report: the report, which `observe` has taken in.
            remaining: what remained.
            sent_ago_ns: age of the request.
            outstanding: charges for requests in flight that the upstream will only make later.
            now_ns: the time.
            is_first: whether the limit is new, so that the level is set to the report.
        """
        sent_ns, settings = now_ns - sent_ago_ns, self._settings
        level, capacity = bucket.level_micro(now_ns) / MICRO, bucket.capacity_micro / MICRO
        low, high = self._interval(report, remaining, capacity)
        if low > -math.inf:
            self._uncertainty += (high - low - self._uncertainty) * (1.0 if is_first else settings.newest_weight)
        middle = remaining if is_first or low == -math.inf else (low + high) / 2
        replay = self._charges.replay(middle, sent_ns, bucket.rate_micro_per_minute / MICRO, capacity, now_ns)
        if is_first:
            error = level - max(min(remaining, replay.level) - outstanding, 0.0)
            self._level_error.restart(capacity)
        else:
            at_response = distance(level, low - outstanding, high)
            least = replay.level - (middle - low) - outstanding - replay.near
            at_admission = distance(level, least, replay.level + high - middle)
            error = settings.gain * self._level_error.observe(at_response, at_admission, capacity)
            refused_ns = self._refused_ns
            if refused_ns is not None and (sent_ns >= refused_ns or sent_ago_ns < settings.fresh_ns):
                # The level was proven too high: it is lowered all the way, by the lower reading.
                error = max(error, at_response, at_admission)
                self._refused_ns = refused_ns if sent_ns < refused_ns else None
        bucket.correct(round(error * MICRO), now_ns)
        if self._shows_others:
            self._observe_others(remaining, capacity, sent_ns, replay, now_ns)

    def _observe_capacity(self, report: DimensionReport) -> None:
        """Updates the capacity. It is not reported, but follows from what remains and the time until the bucket fills.

        The documentation allows enforcement by the second, so the capacity is at least one second of the limit.
        """
        if report.remaining is None or report.full_in_ns is None:
            seen = max(report.remaining or 0.0, report.per_minute / 60)
            self._capacity = max(self._capacity or 0.0, seen)
            return
        refill = max(0, report.full_in_ns - _RESET_ROUNDING_NS) * report.per_minute / NS_PER_MINUTE
        shown = min(report.remaining + refill, float(report.per_minute))
        known, rounded_to = self._capacity, self._rounded_to
        if known is None:
            self._capacity = shown
        elif report.remaining > rounded_to or not rounded_to:
            mean = known + self._settings.newest_weight * (shown - known)
            self._capacity = max(mean, float(report.remaining - rounded_to))
        else:
            # A debt is reported as 0 as well. Then more is missing than the bucket holds.
            self._capacity = min(known, shown + rounded_to)

    def _interval(self, report: DimensionReport, remaining: int, capacity: float) -> tuple[float, float]:
        """The least and the most that can have remained.

        Tokens are rounded, and a debt is reported as 0: only the time until the bucket is full shows how deep it is.
        That time is rounded up to a second. If both contradict each other, the capacity is not well known yet.
        """
        rounded_to = self._rounded_to
        low, high = remaining - rounded_to, remaining + rounded_to
        if not rounded_to:
            return low, high
        least = -math.inf if remaining <= rounded_to else float(low)
        if report.full_in_ns is None or self.window.is_fixed:
            return least, high
        per_ns = report.per_minute / NS_PER_MINUTE
        by_reset = capacity - report.full_in_ns * per_ns
        least_by_both = max(least, by_reset)
        most_by_both = min(high, capacity - max(0, report.full_in_ns - NS_PER_SECOND) * per_ns)
        return (least_by_both, most_by_both) if least_by_both <= most_by_both else (least, high)

    def _observe_others(self, remaining: int, capacity: float, sent_ns: int, replay: Replay, now_ns: int) -> None:
        """Updates the use by others, where the report shows it.

        It is hidden by a bucket that is full or was full since the last report, by a shallow bucket, by the start of a
        window, and by prices that are far off.
        """
        settings, per_minute = self._settings, self.per_minute or 0.0
        rate = per_minute / 60
        full = capacity - min(rate * settings.full_seconds, capacity * settings.full_share)
        last, self._last = self._last or (remaining, now_ns), (remaining, now_ns)
        hidden = self.window.is_fixed or remaining >= full or capacity < settings.shallow_seconds * rate
        if (
            hidden
            or self._price_error > settings.wrong_prices
            or self._charges.overflows(*last, per_minute, full, now_ns)
        ):
            self.competing.clear()
            return
        charged = self._charges.total
        # Of requests that were sent together, half went before this one on average, and each left less than the last.
        charged_then = charged - replay.later - max(0.0, replay.near - self._usual) / 2
        self.competing.observe(remaining, charged, now_ns, charged_then=charged_then, sent_ns=sent_ns, rate=rate)
