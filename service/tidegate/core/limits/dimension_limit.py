"""One dimension of a pool: its buckets, what fills them, and what the answers teach about them.

What an operator has configured is one bucket, kept whatever the upstream does. Another copies the upstream's, by dead
reckoning: every charge of ours is taken, the rate is added. Answers then say what really remains; that figure is true,
but old, and it is not documented whether it belongs to the moment of admission or of the answer. So it gives an
interval, and the level is moved towards it only when it lies outside. What the level was off by, on average, is kept as
a margin: the level only has to stay between empty and full, and draining it to the last unit would bring nothing but
429s.
"""

import math
from typing import Final, Self

from msgspec import Struct

from tidegate.core.domain.dimension import MICRO, Dimension
from tidegate.core.domain.limit_report import DimensionReport
from tidegate.core.domain.nanoseconds import NS_PER_MINUTE, NS_PER_SECOND
from tidegate.core.domain.pool_settings import LimitSettings
from tidegate.core.domain.snapshots import DimensionSnapshot
from tidegate.core.limits.charge_log import ChargeLog, ChargeLogState, Replay
from tidegate.core.limits.competing_traffic import Competitor, CompetitorState
from tidegate.core.limits.fixed_window import FixedWindow, FixedWindowState, FixedWindowVotes
from tidegate.core.limits.level_error import LevelError, LevelErrorState, distance
from tidegate.core.limits.token_bucket import TokenBucket, TokenBucketState, changed

__all__ = ["DimensionLimit", "DimensionLimitState"]

_GAIN: Final = 0.4
"""How far an answer moves the level towards what it says: it may be wrong by what is in flight."""
_FORGET: Final = 0.1
"""Weight of the newest figure in running means."""
_COMPETITOR_SECONDS: Final = 2.0
"""What others take in this time is left to them: nobody knows of it before the next answers come."""
_RESET_ROUNDING_NS: Final = NS_PER_SECOND // 2
"""`…-reset` is rounded up to a whole second: half of one, on average."""
_ROUNDING_MICRO: Final = 2
_FRESH_NS: Final = NS_PER_SECOND // 4
"""A refusal comes within this time: nearly nothing has changed since its figures were true."""
_SHALLOW_SECONDS: Final = 0.5
"""Of so small a bucket every figure is about as old as what it holds."""
_FULL_SECONDS: Final = 1
"""What a capacity may be wrong by, as it follows from times that are rounded to a second."""
_FULL_SHARE: Final = 0.25
"""Of a bucket of few seconds that would be most of it. The error is not, once some answers have told its capacity."""
_WRONG_PRICES: Final = 0.35
"""Mean error of prices above which a line through what was charged says nothing about others."""
_ROUNDED_TO: Final = {Dimension.REQUESTS: 0, Dimension.INPUT_TOKENS: 500, Dimension.OUTPUT_TOKENS: 500}
"""Token figures are rounded to the nearest thousand ("Rate limits", read 2026-10-08)."""


class DimensionLimitState(Struct, frozen=True, array_like=True):
    """A dumped `DimensionLimit`, without its configuration. Rates are in units, levels in the states of buckets."""

    margin_micro: int
    doubt_micro: int
    refused_ago_ns: int | None
    unknown: float
    own: TokenBucketState | None
    upstream: TokenBucketState | None
    pace: TokenBucketState | None
    factor: float
    price_error: float
    usual: float
    searched_per_second: float | None
    searched_share: float
    upstream_per_minute: float | None
    capacity: float | None
    level_error: LevelErrorState
    competitor: CompetitorState
    reported: tuple[int, int] | None
    """What remained at the last report, and its age."""
    window: FixedWindowState
    charges: ChargeLogState


class DimensionLimit:
    """A limit from configuration, what the upstream reports or a search assumes, and the adaptive factor.

    A bucket exists once a limit is known, and not before: nothing is limited on a guess.

    Attributes:
        margin_micro: what is left in the upstream's bucket.
        per_minute: the effective rate; None while nothing is limited.
        share: what others on the same key leave of the rate that there would be without them; of one that is searched,
            the share of what was found before: it may be there again in a moment, and so may what others take.
    """

    __slots__ = (
        "_accuracy",
        "_capacity",
        "_charges",
        "_competitor",
        "_configured",
        "_doubt_micro",
        "_factor",
        "_kept_own",
        "_kept_upstream",
        "_levels",
        "_own",
        "_pace",
        "_price_error",
        "_refused_ns",
        "_reported",
        "_searched_per_second",
        "_searched_share",
        "_unknown",
        "_upstream",
        "_upstream_per_minute",
        "_usual",
        "_votes",
        "_window",
        "dimension",
        "margin_micro",
        "per_minute",
        "share",
    )

    def __init__(self, dimension: Dimension, window_votes: FixedWindowVotes) -> None:
        self.dimension = dimension
        self.margin_micro = 0
        self._doubt_micro = 0  # by how much the level may be wrong
        self._refused_ns: int | None = None  # when the upstream refused although the level said that it would not
        self._unknown = 0.0  # what the figures in reports leave open, on average
        self._own: TokenBucket | None = None
        self._upstream: TokenBucket | None = None
        self._levels: tuple[TokenBucket, ...] = ()  # those of both that there are
        self._kept_own: TokenBucket | None = None  # a limit that goes and comes back must not come back refilled
        self._kept_upstream: TokenBucket | None = None
        self._configured: LimitSettings | None = None
        self._factor = 1.0
        self.per_minute: float | None = None
        self.share = 1.0
        self._pace: TokenBucket | None = None
        self._price_error = 0.0
        self._usual = 0.0  # what a request usually takes, at worst
        self._searched_per_second: float | None = None
        self._searched_share = 1.0
        self._upstream_per_minute: float | None = None
        self._capacity: float | None = None
        self._accuracy = LevelError()
        self._competitor = Competitor()
        self._reported: tuple[int, int] | None = None  # what remained at the last answer, and when that came
        self._votes = window_votes
        self._window = FixedWindow(window_votes)
        self._charges = ChargeLog()

    def configure(self, settings: LimitSettings | None, now_ns: int) -> None:
        """Sets or removes the configured limit."""
        self._configured = settings
        self._apply_own(now_ns)

    def adapt(self, factor: float, now_ns: int) -> None:
        """Follows the pool's adaptive factor."""
        if factor != self._factor:
            self._factor = factor
            self._apply_own(now_ns)
            self._apply(now_ns)

    @property
    def is_limited(self) -> bool:
        """Whether any limit is known."""
        return self._own is not None or self._upstream is not None

    def fits(self, units: int, now_ns: int) -> bool:
        """Whether that much, and the margin, is there. More than a bucket holds fits when it is full."""
        micro, own, upstream, pace = units * MICRO, self._own, self._upstream, self._pace
        if own is not None and not own.fits(micro, now_ns):
            return False
        if upstream is None:
            return True
        if self._votes.is_fixed and self._window.renewed(now_ns):
            upstream.fill(now_ns)
        if not upstream.fits(micro + self.margin_micro, now_ns) or not (pace is None or pace.fits(micro, now_ns)):
            return False
        return not self._doubt_micro or upstream.unbounded_micro(now_ns) >= self._surely(upstream, micro)

    def wait_ns(self, units: int, now_ns: int) -> int:
        """How long until that much fits."""
        own, upstream, is_fixed = self._own, self._upstream, self._votes.is_fixed
        own_ns = 0 if own is None else own.wait_ns(units * MICRO, now_ns)
        if upstream is None:
            return own_ns
        if is_fixed and self._window.renewed(now_ns):
            upstream.fill(now_ns)
        upstream_ns = upstream.wait_ns(units * MICRO + self.margin_micro, now_ns)
        if self._doubt_micro:
            missing = self._surely(upstream, units * MICRO) - upstream.unbounded_micro(now_ns)
            upstream_ns = max(upstream_ns, -(-missing * NS_PER_MINUTE // upstream.rate_micro_per_minute))
        if is_fixed and upstream_ns:
            upstream_ns = self._window.ends_ns - now_ns
        paced_ns = 0 if self._pace is None else self._pace.wait_ns(units * MICRO, now_ns)
        return max(own_ns, upstream_ns, paced_ns)

    def own_wait_ns(self, units: int, now_ns: int) -> int:
        """How long until what the operator has configured allows that much."""
        return 0 if self._own is None else self._own.wait_ns(units * MICRO, now_ns)

    def unshared_wait_ns(self, units: int, taken_ns: int, now_ns: int) -> int:
        """How long until that much fits if nobody else has taken any since `taken_ns`, when we took the last.

        The level then is higher by what was left to others. Of a searched rate no level is known: that much refills.
        """
        upstream, per_minute = self._upstream, self._source()[0]
        if upstream is None:
            return 0
        rate_micro, elapsed_ns = round(per_minute * MICRO), now_ns - taken_ns
        if self._upstream_per_minute is None:
            missing = min(units * MICRO, upstream.capacity_micro) - elapsed_ns * rate_micro // NS_PER_MINUTE
        else:
            needed = min(units * MICRO + self.margin_micro, upstream.capacity_micro)
            needed = max(needed, self._surely(upstream, units * MICRO))
            left_to_others = elapsed_ns * (rate_micro - upstream.rate_micro_per_minute) // NS_PER_MINUTE
            missing = needed - upstream.unbounded_micro(now_ns) - left_to_others
        # Both figures were rounded down: who has waited for as long as told is not told to wait again.
        return -(-missing * NS_PER_MINUTE // max(1, rate_micro)) if missing > _ROUNDING_MICRO else 0

    def _surely(self, upstream: TokenBucket, micro: int) -> int:
        """The level that is needed for that much even if the level is too high by what it usually is wrong by.

        It may be above the capacity: a request as large as the bucket waits a moment longer than until that is full.
        """
        return min(micro, upstream.capacity_micro) + self._doubt_micro

    def full_ns(self, units: int = 0) -> int:
        """How long a whole bucket takes to come back; or what is above that much, where that has just come to fit."""
        capacity, per_minute = self.capacity, self.per_minute
        if capacity is None or per_minute is None:
            return 0
        above = capacity - units - self.margin_micro / MICRO if units else capacity
        return max(0, round(above * NS_PER_MINUTE / per_minute))

    @property
    def capacity(self) -> float | None:
        """The most that can be there at once; None while nothing is limited."""
        return min((bucket.capacity_micro / MICRO for bucket in self._levels), default=None)

    def take(self, units: int, now_ns: int, overdraw: int = 0) -> None:
        """Charges that much, into debt if need be; it may well become so much more."""
        micro = units * MICRO
        for bucket in self._levels:
            bucket.take(micro)
        if self._pace is not None:
            self._pace.take(micro)
        if self._upstream_per_minute is not None:
            self._usual += _FORGET * (units + overdraw - self._usual)
            self._charges.add(units, now_ns)

    def priced(self, estimate: int, truth: int) -> None:
        """The truth about something that had been charged by estimate."""
        if estimate:
            off = abs(truth - estimate)
            self._price_error += _FORGET / 2 * ((off / estimate if off < estimate else 1.0) - self._price_error)

    def correct(self, units: int, now_ns: int) -> None:
        """Charges that much more for something that was charged before; negative gives back."""
        for bucket in self._levels:
            bucket.correct(units * MICRO, now_ns)
        if self._upstream_per_minute is not None:
            self._charges.add(units, now_ns)

    def learn(self, report: DimensionReport, sent_ago_ns: int, outstanding: int, now_ns: int) -> bool:
        """Takes in what an answer says. Returns whether the limit itself is news.

        `sent_ago_ns` is the age of the request. `outstanding` is what is charged here for requests in flight, and which
        the upstream will only charge as it is produced: its level may be higher by up to that.
        """
        news = report.per_minute != self._upstream_per_minute
        if news:
            self._upstream_per_minute = float(report.per_minute)
            self._capacity = None
            self._accuracy.clear()
            self._competitor.clear()
            self._reported = None
        self._learn_capacity(report)
        self._window.add(report, now_ns)
        self._apply_upstream(now_ns)
        if report.remaining is not None and self._upstream is not None:
            self._learn_level(self._upstream, report, report.remaining, sent_ago_ns, outstanding, now_ns, first=news)
            self._apply_upstream(now_ns)
        self._note_effect()
        return news

    @property
    def told_per_minute(self) -> float | None:
        """The limit that the upstream has told, if it has."""
        return self._upstream_per_minute

    def forget_told(self, now_ns: int) -> None:
        """The upstream does not tell this limit any more: there is none."""
        self._upstream_per_minute = self._capacity = None
        self._competitor.clear()
        self._apply(now_ns)

    def search(self, per_second: float | None, now_ns: int, share: float = 1.0) -> None:
        """Goes by a rate that is being searched, as long as nobody tells one; a quarter of a second's worth at once.

        None ends the search. `share` is that of what was found before, if it is less.
        """
        if (per_second, share) != (self._searched_per_second, self._searched_share):
            self._searched_per_second, self._searched_share = per_second, share
            self._apply(now_ns)

    def empty(self, wait_ns: int, now_ns: int) -> None:
        """The upstream refused: whatever these levels were, nothing is left. After that time it has what was missing.

        A rate that is searched goes on from there.
        """
        if self._own is not None:
            self._own.limit_level(0, now_ns)
        if self._upstream is not None and self._upstream_per_minute is None:
            self._upstream.full_in(wait_ns, now_ns)

    def overrun(self, now_ns: int) -> None:
        """The upstream refused although this level said that it would not: trust it less."""
        if self._upstream is not None and self._upstream_per_minute is not None:
            self._accuracy.distrust(self._upstream.capacity_micro / MICRO)
            self._refused_ns = now_ns
            self._apply(now_ns)

    def snapshot(self, now_ns: int) -> DimensionSnapshot:
        """The state now."""
        levels = [each.level_micro(now_ns) / MICRO for each in self._levels]
        return DimensionSnapshot(
            dimension=self.dimension,
            configured_per_minute=self._configured.per_minute if self._configured else None,
            upstream_per_minute=self._upstream_per_minute,
            effective_per_minute=self.per_minute,
            available=min(levels, default=None),
            capacity=self.capacity,
            binding=self._binding(),
        )

    def dump(self, now_ns: int) -> DimensionLimitState:
        """What was learned until `now_ns`, without the configuration."""
        reported, refused_ns = self._reported, self._refused_ns
        return DimensionLimitState(
            margin_micro=self.margin_micro,
            doubt_micro=self._doubt_micro,
            refused_ago_ns=None if refused_ns is None else now_ns - refused_ns,
            unknown=self._unknown,
            own=_dumped(self._kept_own, now_ns),
            upstream=_dumped(self._kept_upstream, now_ns),
            pace=_dumped(self._pace, now_ns),
            factor=self._factor,
            price_error=self._price_error,
            usual=self._usual,
            searched_per_second=self._searched_per_second,
            searched_share=self._searched_share,
            upstream_per_minute=self._upstream_per_minute,
            capacity=self._capacity,
            level_error=self._accuracy.dump(),
            competitor=self._competitor.dump(now_ns),
            reported=reported and (reported[0], now_ns - reported[1]),
            window=self._window.dump(now_ns),
            charges=self._charges.dump(now_ns),
        )

    @classmethod
    def restore(
        cls, state: DimensionLimitState, now_ns: int, dimension: Dimension, window_votes: FixedWindowVotes
    ) -> Self:
        """Continues from a dumped state, once `configure` has been called as well.

        Exactly, unless the log of charges or the reports were condensed (see there).
        """
        limit = cls(dimension, window_votes)
        limit.margin_micro, limit._doubt_micro = state.margin_micro, state.doubt_micro
        limit._refused_ns = None if state.refused_ago_ns is None else now_ns - state.refused_ago_ns
        limit._unknown = state.unknown
        limit._kept_own = _restored(state.own, now_ns)
        limit._kept_upstream = _restored(state.upstream, now_ns)
        limit._pace = _restored(state.pace, now_ns)
        limit._factor, limit._price_error, limit._usual = state.factor, state.price_error, state.usual
        limit._searched_per_second, limit._searched_share = state.searched_per_second, state.searched_share
        limit._upstream_per_minute, limit._capacity = state.upstream_per_minute, state.capacity
        limit._accuracy = LevelError.restore(state.level_error)
        limit._competitor = Competitor.restore(state.competitor, now_ns)
        limit._reported = state.reported and (state.reported[0], now_ns - state.reported[1])
        limit._window = FixedWindow.restore(state.window, now_ns, window_votes)
        limit._charges = ChargeLog.restore(state.charges, now_ns)
        if limit._source()[0]:
            limit._upstream = limit._kept_upstream
        limit._note_effect()
        return limit

    def _learn_capacity(self, report: DimensionReport) -> None:
        """The capacity is not told, but follows from what remains and the time until all is back."""
        if report.remaining is None or report.full_in_ns is None:
            # The documentation allows enforcement by the second: less than one second's worth is never all of it.
            seen = max(report.remaining or 0.0, report.per_minute / 60)
            self._capacity = max(self._capacity or 0.0, seen)
            return
        refill = max(0, report.full_in_ns - _RESET_ROUNDING_NS) * report.per_minute / NS_PER_MINUTE
        told = min(report.remaining + refill, float(report.per_minute))
        known = self._capacity
        rounded_to = _ROUNDED_TO[self.dimension]
        if known is None:
            self._capacity = told
        elif report.remaining > rounded_to or not rounded_to:
            self._capacity = max(known + _FORGET * (told - known), float(report.remaining - rounded_to))
        else:
            # A debt reads 0 as well: what is missing then is more than the bucket holds.
            self._capacity = min(known, told + rounded_to)

    def _learn_level(
        self,
        bucket: TokenBucket,
        report: DimensionReport,
        remaining: int,
        sent_ago_ns: int,
        outstanding: int,
        now_ns: int,
        *,
        first: bool,
    ) -> None:
        sent_ns = now_ns - sent_ago_ns
        level, capacity = bucket.level_micro(now_ns) / MICRO, bucket.capacity_micro / MICRO
        low, high = self._remaining_range(report, remaining, capacity)
        if low > -math.inf:
            self._unknown += (high - low - self._unknown) * (1.0 if first else _FORGET)
        middle = remaining if first or low == -math.inf else (low + high) / 2
        replay = self._charges.replay(middle, sent_ns, bucket.rate_micro_per_minute / MICRO, capacity, now_ns)
        if first:
            off = level - max(min(remaining, replay.level) - outstanding, 0.0)
            self._accuracy.restart(capacity)
        else:
            at_answer = distance(level, low - outstanding, high)
            least = replay.level - (middle - low) - outstanding - replay.near
            at_admission = distance(level, least, replay.level + high - middle)
            off = _GAIN * self._accuracy.judge(at_answer, at_admission, capacity)
            refused_ns = self._refused_ns
            if refused_ns is not None and (sent_ns >= refused_ns or sent_ago_ns < _FRESH_NS):
                # The level was proven too high: it goes down all the way, by the lower reading.
                off = max(off, at_answer, at_admission)
                self._refused_ns = refused_ns if sent_ns < refused_ns else None
        bucket.correct(round(off * MICRO), now_ns)
        if self.dimension is not Dimension.OUTPUT_TOKENS:
            self._learn_drift(remaining, capacity, sent_ns, replay, now_ns)

    def _remaining_range(self, report: DimensionReport, remaining: int, capacity: float) -> tuple[float, float]:
        """What really remained, at least and at most.

        Tokens are rounded, and a debt reads 0: then only the time until all is back tells how deep it is. That time is
        rounded up to a second. Where the two contradict each other, the capacity is not known well yet.
        """
        rounded_to = _ROUNDED_TO[self.dimension]
        low, high = remaining - rounded_to, remaining + rounded_to
        if not rounded_to:
            return low, high
        least = -math.inf if remaining <= rounded_to else float(low)
        if report.full_in_ns is None or self._window.is_fixed:
            return least, high
        per_ns = report.per_minute / NS_PER_MINUTE
        by_reset = capacity - report.full_in_ns * per_ns
        least_by_both = max(least, by_reset)
        most_by_both = min(high, capacity - max(0, report.full_in_ns - NS_PER_SECOND) * per_ns)
        return (least_by_both, most_by_both) if least_by_both <= most_by_both else (least, high)

    def _learn_drift(self, remaining: int, capacity: float, sent_ns: int, replay: Replay, now_ns: int) -> None:
        """Learns what others take from how what remains goes up and down.

        A bucket that is full, or was since the last report, hides it, as does a shallow one, a window that starts anew,
        and prices that are far off.

        Not for output, which is charged upstream as it is produced, but here on admission: its line is no straight one.
        """
        per_minute = self._upstream_per_minute or 0.0
        rate = per_minute / 60
        full = capacity - min(rate * _FULL_SECONDS, capacity * _FULL_SHARE)
        then, self._reported = self._reported or (remaining, now_ns), (remaining, now_ns)
        hidden = self._window.is_fixed or remaining >= full or capacity < _SHALLOW_SECONDS * rate
        if hidden or self._price_error > _WRONG_PRICES or self._charges.overflows(*then, per_minute, full, now_ns):
            self._competitor.clear()
            return
        charged = self._charges.total
        # Of requests sent together half went before this one, on average, and each of them left less than the last.
        charged_then = charged - replay.later - max(0.0, replay.near - self._usual) / 2
        self._competitor.add(remaining, charged, now_ns, charged_then=charged_then, sent_ns=sent_ns, rate=rate)

    def _source(self) -> tuple[float, float]:
        """Rate per minute and capacity of the upstream: as it says, or as is searched; 0 where neither."""
        told, searched = self._upstream_per_minute, self._searched_per_second
        if told is not None:
            return told, told if self._window.is_fixed else self._capacity or told / 60
        if searched is not None:
            return searched * 60, max(1.0, searched / 4)
        return 0.0, 0.0

    def _binding(self) -> str:
        """Which source sets the effective rate."""
        if not self.is_limited:
            return "none"
        if self._factor != 1.0 or (
            self._upstream is not None and self._upstream_per_minute is None and not self._is_own()
        ):
            return "adaptive"
        return "configured" if self._is_own() else "upstream"

    def _is_own(self) -> bool:
        """Whether what is configured is less than what the upstream grants."""
        configured, upstream = self._configured, self._source()[0]
        return configured is not None and (not upstream or configured.per_minute <= upstream)

    def _note_effect(self) -> None:
        """Keeps what every admission needs, and only these changes change."""
        self._levels = tuple([bucket for bucket in (self._own, self._upstream) if bucket is not None])
        own = granted = left = math.inf
        if self._configured is not None:
            own = self._configured.per_minute * self._factor
        if self._upstream is not None:
            granted = self._source()[0] * self._factor
            left = self._competitor.left(granted)
        self.per_minute = min(own, left) if self._levels else None
        self.share = 1.0 if self.per_minute is None else self.per_minute / min(own, granted / self._searched_share)

    def _apply_own(self, now_ns: int) -> None:
        self._own = None
        if self._configured is not None:
            per_minute = self._configured.per_minute * self._factor
            self._own = self._kept_own = changed(self._kept_own, per_minute, self._configured.capacity, now_ns)
        self._note_effect()

    def _apply(self, now_ns: int) -> None:
        self._apply_upstream(now_ns)
        self._note_effect()

    def _apply_upstream(self, now_ns: int) -> None:
        rate, capacity = self._source()
        if not rate:
            self._upstream = self._pace = None
            return
        left = 0.0 if self._window.is_fixed else self._competitor.left(rate * self._factor)
        self._upstream = self._kept_upstream = changed(self._kept_upstream, left, capacity, now_ns)
        kept_back = max(_COMPETITOR_SECONDS * self._competitor.per_second, self._usual)
        self.margin_micro = round(self._accuracy.margin(capacity, kept_back) * MICRO)
        # Requests are one each, and counted exactly. A window does not fill before it ends.
        is_exact = not _ROUNDED_TO[self.dimension] or self._window.is_fixed
        self._doubt_micro = 0 if is_exact else round(self._accuracy.margin(capacity, self._unknown / 2) * MICRO)
        self._set_pace(self._upstream.rate_micro_per_minute, now_ns)

    def _set_pace(self, rate_micro: int, now_ns: int) -> None:
        """Beside a competitor what is there is not ours alone: go by our own share of the rate, without bursts."""
        if not self._competitor.per_second:
            self._pace = None
            return
        self._pace = changed(self._pace, rate_micro / MICRO, rate_micro / 120 / MICRO, now_ns)


def _dumped(bucket: TokenBucket | None, now_ns: int) -> TokenBucketState | None:
    return None if bucket is None else bucket.dump(now_ns)


def _restored(state: TokenBucketState | None, now_ns: int) -> TokenBucket | None:
    return None if state is None else TokenBucket.restore(state, now_ns)
