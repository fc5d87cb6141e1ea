"""One dimension of a pool: its bucket, what fills it, and what the answers teach about it.

The bucket copies the upstream's by dead reckoning: every charge of ours is taken, the rate is added. Answers then say
what really remains; that figure is true, but old, and it is not documented whether it belongs to the moment of
admission or of the answer. So it gives an interval, and the level is moved towards it only when it lies outside. What
the level was off by, on average, is kept as a margin: the level only has to stay between empty and full, and draining
it to the last unit would bring nothing but 429s.
"""

import math
from typing import Final

from tidegate.core.accuracy import LevelAccuracy
from tidegate.core.bucket import TokenBucket
from tidegate.core.charges import ChargeLog
from tidegate.core.clock import NS_PER_MINUTE, NS_PER_SECOND
from tidegate.core.dimension import MICRO, Dimension
from tidegate.core.drift import Competitor
from tidegate.core.headers import DimensionReport
from tidegate.core.store import DimensionSnapshot, LimitSettings
from tidegate.core.window import Window, WindowVotes

__all__ = ["DimensionLimit"]

_GAIN: Final = 0.4
"""How far an answer moves the level towards what it says: it may be wrong by what is in flight."""
_FORGET: Final = 0.1
"""Weight of the newest figure in running means."""
_COMPETITOR_SECONDS: Final = 2.0
"""What others take in this time is left to them: nobody knows of it before the next answers come."""
_MOST_TAKEN: Final = 0.8
"""However much others take, a fifth of the rate is claimed: else whoever came first would keep it all."""
_RESET_ROUNDING_NS: Final = NS_PER_SECOND // 2
"""`…-reset` is rounded up to a whole second: half of one, on average."""
_SHALLOW_SECONDS: Final = 4
_WRONG_PRICES: Final = 0.35
"""Mean error of prices above which a line through what was charged says nothing about others."""
_ROUNDED_TO: Final = {Dimension.REQUESTS: 0, Dimension.INPUT_TOKENS: 500, Dimension.OUTPUT_TOKENS: 500}
"""Token figures are rounded to the nearest thousand ("Rate limits", read 2026-10-08)."""


class DimensionLimit:
    """A limit fused from configuration, what the upstream reports, and the adaptive factor.

    The bucket exists once a limit is known, and not before: nothing is limited on a guess.
    """

    __slots__ = (
        "_accuracy",
        "_capacity",
        "_charges",
        "_competitor",
        "_configured",
        "_factor",
        "_is_windowed",
        "_kept_bucket",
        "_pace",
        "_per_minute",
        "_price_error",
        "_searched_per_second",
        "_upstream_per_minute",
        "_usual",
        "_window",
        "bucket",
        "dimension",
        "margin_micro",
    )

    def __init__(self, dimension: Dimension, window_votes: WindowVotes) -> None:
        self.dimension = dimension
        self.bucket: TokenBucket | None = None
        self.margin_micro = 0
        self._kept_bucket: TokenBucket | None = None  # a limit that goes and comes back must not come back refilled
        self._configured: LimitSettings | None = None
        self._factor = 1.0
        self._pace: TokenBucket | None = None
        self._per_minute = 0.0
        self._price_error = 0.0
        self._usual = 0.0  # what a request usually takes
        self._searched_per_second: float | None = None
        self._upstream_per_minute: float | None = None
        self._capacity: float | None = None
        self._accuracy = LevelAccuracy()
        self._competitor = Competitor()
        self._window = Window(window_votes)
        self._is_windowed = False  # whether this limit is the one that is counted in fixed windows
        self._charges = ChargeLog()

    def configure(self, settings: LimitSettings | None, now_ns: int) -> None:
        """Sets or removes the configured limit."""
        self._configured = settings
        self._apply(now_ns)

    def adapt(self, factor: float, now_ns: int) -> None:
        """Follows the pool's adaptive factor."""
        if factor != self._factor:
            self._factor = factor
            self._apply(now_ns)

    def fits(self, units: int, now_ns: int) -> bool:
        """Whether that much, and the margin, is there. More than the bucket holds fits when it is full."""
        bucket = self.bucket
        if bucket is None:
            return True
        if self._is_windowed and self._window.renewed(now_ns):
            bucket.fill(now_ns)
        pace = self._pace
        return bucket.fits(units * MICRO + self.margin_micro, now_ns) and (
            pace is None or pace.fits(units * MICRO, now_ns)
        )

    def wait_ns(self, units: int, now_ns: int) -> int:
        """How long until that much fits."""
        bucket = self.bucket
        if bucket is None or self.fits(units, now_ns):
            return 0
        if self._is_windowed:
            return self._window.ends_ns - now_ns
        paced_ns = 0 if self._pace is None else self._pace.wait_ns(units * MICRO, now_ns)
        return max(paced_ns, bucket.wait_ns(units * MICRO + self.margin_micro, now_ns))

    def refill_ns(self, units: int) -> int:
        """How long that much takes to come back."""
        return round(units * NS_PER_MINUTE / self._per_minute)

    def untaken_ns(self, units: int) -> int:
        """How long that much, but no more than all, takes to come back where nobody else takes any."""
        bucket = self.bucket
        if bucket is None:
            return 0
        return round(min(units, bucket.capacity_micro / MICRO) * NS_PER_MINUTE / self._source()[0])

    def full_ns(self) -> int:
        """How long the whole bucket takes to come back."""
        return (
            0 if self.bucket is None else round(self.bucket.capacity_micro / MICRO * NS_PER_MINUTE / self._per_minute)
        )

    def take(self, units: int, now_ns: int) -> None:
        """Charges that much, into debt if need be."""
        if self.bucket is None:
            return
        self.bucket.take(units * MICRO)
        if self._pace is not None:
            self._pace.take(units * MICRO)
        if self._upstream_per_minute is not None:
            self._usual += _FORGET * (units - self._usual)
            self._charges.add(units, now_ns)

    def priced(self, estimate: int, truth: int) -> None:
        """The truth about something that had been charged by estimate."""
        if estimate:
            self._price_error += _FORGET / 2 * (min(abs(truth - estimate) / estimate, 1.0) - self._price_error)

    def correct(self, units: int, now_ns: int) -> None:
        """Charges that much more for something that was charged before; negative gives back."""
        if self.bucket is None or not units:
            return
        self.bucket.correct(units * MICRO, now_ns)
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
        self._learn_capacity(report)
        self._window.add(report, now_ns)
        self._apply(now_ns)
        if report.remaining is not None and self.bucket is not None:
            self._learn_level(self.bucket, report.remaining, sent_ago_ns, outstanding, now_ns, first=news)
        return news

    @property
    def is_configured(self) -> bool:
        """Whether an operator has set a limit."""
        return self._configured is not None

    @property
    def is_reported(self) -> bool:
        """Whether the upstream has told its limit."""
        return self._upstream_per_minute is not None

    def search(self, per_second: float | None, now_ns: int) -> None:
        """Goes by a rate that is being searched, as long as nobody tells one; a quarter of a second's worth at once.

        None ends the search.
        """
        if per_second != self._searched_per_second:
            self._searched_per_second = per_second
            self._apply(now_ns)

    def empty(self, now_ns: int) -> None:
        """The upstream refused: whatever this level was, nothing is left."""
        if self.bucket is not None:
            self.bucket.limit_level(0, now_ns)

    def overrun(self, now_ns: int) -> None:
        """The upstream refused although this level said that it would not: trust it less."""
        if self.bucket is not None and self._upstream_per_minute is not None:
            self._accuracy.distrust(self.bucket.capacity_micro / MICRO)
            self._apply(now_ns)

    def snapshot(self, now_ns: int) -> DimensionSnapshot:
        """The state now."""
        bucket, name = self.bucket, self._source()[2]
        return DimensionSnapshot(
            dimension=self.dimension,
            configured_per_minute=self._configured.per_minute if self._configured else None,
            upstream_per_minute=self._upstream_per_minute,
            effective_per_minute=self._per_minute if bucket else None,
            available=bucket.level_micro(now_ns) / MICRO if bucket else None,
            capacity=bucket.capacity_micro / MICRO if bucket else None,
            binding=name if name == "none" or self._factor == 1.0 else "adaptive",
        )

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
        self._capacity = told if known is None else max(known + _FORGET * (told - known), float(report.remaining))

    def _learn_level(
        self, bucket: TokenBucket, remaining: int, sent_ago_ns: int, outstanding: int, now_ns: int, *, first: bool
    ) -> None:
        sent_ns = now_ns - sent_ago_ns
        level, capacity = bucket.level_micro(now_ns) / MICRO, bucket.capacity_micro / MICRO
        replay = self._charges.replay(remaining, sent_ns, bucket.rate_micro_per_minute / MICRO, capacity, now_ns)
        # Where an operator allows less than the upstream, what that has left beyond it widens nothing.
        is_ours = self._source()[2] == "configured"
        if first:
            off = level - max(min(remaining, replay.level) - outstanding, 0.0)
            self._accuracy.restart(capacity)
        else:
            slack = _ROUNDED_TO[self.dimension]
            at_answer = _distance(level, remaining - slack - outstanding, remaining + slack)
            at_admission = _distance(level, replay.level - slack - outstanding - replay.near, replay.level + slack)
            if is_ours:
                at_answer, at_admission = max(0.0, at_answer), max(0.0, at_admission)
            off = _GAIN * self._accuracy.judge(at_answer, at_admission, capacity)
        bucket.correct(round((max(0.0, off) if is_ours else off) * MICRO), now_ns)
        if self.dimension is not Dimension.OUTPUT_TOKENS:
            self._learn_drift(remaining, capacity, sent_ns, replay.later, now_ns)
        self._apply(now_ns)

    def _learn_drift(self, remaining: int, capacity: float, sent_ns: int, later: int, now_ns: int) -> None:
        """Learns what others take from how what remains goes up and down.

        A full bucket hides it, as does a shallow one, which is full now and then, a window that starts anew, and prices
        that are far off.

        Not for output, which is charged upstream as it is produced, but here on admission: its line is no straight one.
        """
        rate = (self._upstream_per_minute or 0.0) / 60
        hidden = self._window.is_fixed or remaining >= 0.98 * capacity or capacity < _SHALLOW_SECONDS * rate
        if hidden or self._price_error > _WRONG_PRICES:
            self._competitor.clear()
            return
        charged = self._charges.total
        self._competitor.add(remaining, charged, now_ns, charged_then=charged - later, sent_ns=sent_ns, rate=rate)

    def _source(self) -> tuple[float, float, str]:
        """Rate per minute and capacity of the limit that binds, and its name."""
        configured, upstream, searched = self._configured, self._upstream_per_minute, self._searched_per_second
        rate, capacity, name = math.inf, math.inf, "none"
        if configured is not None:
            rate, capacity, name = configured.per_minute, configured.capacity, "configured"
        if upstream is not None:
            capacity = min(capacity, upstream if self._window.is_fixed else self._capacity or upstream / 60)
            if upstream < rate:
                rate, name = upstream, "upstream"
        elif searched is not None and searched * 60 < rate:
            rate, capacity, name = searched * 60, min(capacity, max(1.0, searched / 4)), "adaptive"
        return rate, capacity, name

    def _apply(self, now_ns: int) -> None:
        rate, capacity, name = self._source()
        if name == "none":
            self.bucket = None
            return
        # A configured limit that is lower refills all the time, however the upstream counts.
        self._is_windowed = self._window.is_fixed and name == "upstream"
        taken = self._competitor.per_second
        rate = rate * self._factor - min(taken * 60, rate * _MOST_TAKEN)
        self._per_minute = rate
        rate_micro = 1 if self._is_windowed else max(1, round(rate * MICRO))
        capacity_micro = max(MICRO, round(capacity * MICRO))
        if self._kept_bucket is None:
            self._kept_bucket = TokenBucket(rate_micro, capacity_micro, now_ns)
        else:
            self._kept_bucket.change(rate_micro, capacity_micro, now_ns)
        self.bucket = self._kept_bucket
        self.margin_micro = round(
            self._accuracy.margin(capacity, max(_COMPETITOR_SECONDS * taken, self._usual)) * MICRO
        )
        self._set_pace(rate_micro, now_ns)

    def _set_pace(self, rate_micro: int, now_ns: int) -> None:
        """Beside a competitor what is there is not ours alone: go by our own share of the rate, without bursts."""
        if not self._competitor.per_second:
            self._pace = None
            return
        capacity_micro = max(MICRO, rate_micro // 120)
        if self._pace is None:
            self._pace = TokenBucket(rate_micro, capacity_micro, now_ns)
        else:
            self._pace.change(rate_micro, capacity_micro, now_ns)


def _distance(level: float, low: float, high: float) -> float:
    """How far a level lies above (positive) or below (negative) a range."""
    return level - high if level > high else level - low if level < low else 0.0
