"""The limit of a pool in one dimension, from all of its sources."""

import math
from typing import Final, Self

from msgspec import Struct

from tidegate.core.domain.dimension import MICRO, Dimension
from tidegate.core.domain.limit_report import DimensionReport
from tidegate.core.domain.nanoseconds import NS_PER_MINUTE
from tidegate.core.domain.pool_settings import LimitSettings
from tidegate.core.domain.snapshots import DimensionSnapshot
from tidegate.core.limits.fixed_window import FixedWindowVotes
from tidegate.core.limits.reported_level import ReportedHistory, ReportedLevel, ReportedLevelState
from tidegate.core.limits.token_bucket import TokenBucket, TokenBucketState, changed

__all__ = ["DimensionLimit", "DimensionLimitState"]

_ROUNDING_MICRO: Final = 2


class DimensionLimitState(Struct, frozen=True, array_like=True):
    """The dump of a `DimensionLimit`, without its configuration."""

    margin_micro: int
    uncertainty_micro: int
    own: TokenBucketState | None
    upstream: TokenBucketState | None
    pace: TokenBucketState | None
    factor: float
    searched_per_second: float | None
    searched_share: float
    reported: ReportedLevelState


class DimensionLimit:
    """Combines the configured limit, the upstream's, and the adaptive factor.

    There are two buckets. One has the configured limit, and nothing that the upstream reports changes it. The other
    copies the upstream's bucket, with the reported limit (see `ReportedLevel`) or the rate of a search. A request fits
    if both hold its cost. A bucket exists once its limit is known: nothing is limited on a guess.

    Attributes:
        margin_micro: what is left in the upstream's bucket.
        per_minute: the effective rate; None while nothing is limited.
        share: the effective rate divided by the rate without other traffic. For a searched limit: the current rate
            divided by the last rate found.
    """

    __slots__ = (
        "_configured",
        "_factor",
        "_kept_own",
        "_kept_upstream",
        "_levels",
        "_own",
        "_pace",
        "_reported",
        "_searched_per_second",
        "_searched_share",
        "_uncertainty_micro",
        "_upstream",
        "_votes",
        "dimension",
        "margin_micro",
        "per_minute",
        "share",
    )

    def __init__(self, dimension: Dimension, window_votes: FixedWindowVotes) -> None:
        self.dimension = dimension
        self.margin_micro = 0
        self.per_minute: float | None = None
        self.share = 1.0
        self._uncertainty_micro = 0  # by how much the level may be wrong
        self._configured: LimitSettings | None = None
        self._factor = 1.0
        self._own: TokenBucket | None = None
        self._upstream: TokenBucket | None = None
        self._pace: TokenBucket | None = None  # our share of the rate beside other traffic
        self._levels: tuple[TokenBucket, ...] = ()  # of `_own` and `_upstream`, those that exist
        self._kept_own: TokenBucket | None = None  # a limit that goes and comes back must not come back refilled
        self._kept_upstream: TokenBucket | None = None
        self._searched_per_second: float | None = None
        self._searched_share = 1.0
        self._votes = window_votes
        self._reported = ReportedLevel(dimension, window_votes)

    def dump(self, now_ns: int) -> DimensionLimitState:
        """The state, for `restore`."""
        return DimensionLimitState(
            margin_micro=self.margin_micro,
            uncertainty_micro=self._uncertainty_micro,
            own=_dumped(self._kept_own, now_ns),
            upstream=_dumped(self._kept_upstream, now_ns),
            pace=_dumped(self._pace, now_ns),
            factor=self._factor,
            searched_per_second=self._searched_per_second,
            searched_share=self._searched_share,
            reported=self._reported.dump(now_ns),
        )

    @classmethod
    def restore(
        cls, state: DimensionLimitState, now_ns: int, dimension: Dimension, window_votes: FixedWindowVotes
    ) -> Self:
        """Continues from `state` once `configure` is called: exactly, unless charges or reports were condensed."""
        restored = cls(dimension, window_votes)
        restored.margin_micro, restored._uncertainty_micro = state.margin_micro, state.uncertainty_micro
        restored._kept_own = _restored(state.own, now_ns)
        restored._kept_upstream = _restored(state.upstream, now_ns)
        restored._pace = _restored(state.pace, now_ns)
        restored._factor = state.factor
        restored._searched_per_second, restored._searched_share = state.searched_per_second, state.searched_share
        restored._reported = ReportedLevel.restore(state.reported, now_ns, dimension, window_votes)
        if restored._source()[0]:
            restored._upstream = restored._kept_upstream
        restored._update_rate()
        return restored

    def dump_history(self, now_ns: int) -> ReportedHistory:
        """As `ReportedLevel.dump_history`."""
        return self._reported.dump_history(now_ns)

    def restore_history(self, history: ReportedHistory, now_ns: int) -> None:
        """As `ReportedLevel.restore_history`."""
        self._reported.restore_history(history, now_ns)

    def configure(self, settings: LimitSettings | None, now_ns: int) -> None:
        """Sets or removes the configured limit."""
        self._configured = settings
        self._apply_own(now_ns)

    def adapt(self, factor: float, now_ns: int) -> None:
        """Applies the pool's adaptive factor."""
        if factor != self._factor:
            self._factor = factor
            self._apply_own(now_ns)
            self._apply(now_ns)

    @property
    def is_limited(self) -> bool:
        """Whether any limit is known."""
        return self._own is not None or self._upstream is not None

    @property
    def reported_per_minute(self) -> float | None:
        """The limit that the upstream reports; None if it does not."""
        return self._reported.per_minute

    @property
    def capacity(self) -> float | None:
        """The most that can be available at once; None while nothing is limited."""
        return min((bucket.capacity_micro / MICRO for bucket in self._levels), default=None)

    def fits(self, units: int, now_ns: int) -> bool:
        """Whether `units` and the margin are available. More than the capacity fits when the bucket is full."""
        micro, own, upstream, pace = units * MICRO, self._own, self._upstream, self._pace
        if own is not None and not own.fits(micro, now_ns):
            return False
        if upstream is None:
            return True
        if self._votes.is_fixed and self._reported.window.renewed(now_ns):
            upstream.fill(now_ns)
        if not upstream.fits(micro + self.margin_micro, now_ns) or not (pace is None or pace.fits(micro, now_ns)):
            return False
        return not self._uncertainty_micro or upstream.unbounded_micro(now_ns) >= self._surely(upstream, micro)

    def wait_ns(self, units: int, now_ns: int) -> int:
        """Time until `units` fit."""
        own, upstream, is_fixed = self._own, self._upstream, self._votes.is_fixed
        own_ns = 0 if own is None else own.wait_ns(units * MICRO, now_ns)
        if upstream is None:
            return own_ns
        window = self._reported.window
        if is_fixed and window.renewed(now_ns):
            upstream.fill(now_ns)
        upstream_ns = upstream.wait_ns(units * MICRO + self.margin_micro, now_ns)
        if self._uncertainty_micro:
            missing = self._surely(upstream, units * MICRO) - upstream.unbounded_micro(now_ns)
            upstream_ns = max(upstream_ns, -(-missing * NS_PER_MINUTE // upstream.rate_micro_per_minute))
        if is_fixed and upstream_ns:
            upstream_ns = window.ends_ns - now_ns
        paced_ns = 0 if self._pace is None else self._pace.wait_ns(units * MICRO, now_ns)
        return max(own_ns, upstream_ns, paced_ns)

    def spare_ns(self, units: int, now_ns: int) -> int:
        """The refill time of what is available beside `units`; 0 if they do not fit.

        Beside other traffic it is 0, because what is available is not ours alone.
        """
        if self._pace is not None:
            return 0
        own, upstream = self._own, self._upstream  # no loop: each waiter passes here
        if upstream is None:
            return 0 if own is None else max(0, own.spare_ns(units * MICRO, now_ns))
        upstream_ns = upstream.spare_ns(units * MICRO + self.margin_micro, now_ns)
        return max(0, upstream_ns if own is None else min(upstream_ns, own.spare_ns(units * MICRO, now_ns)))

    def own_wait_ns(self, units: int, now_ns: int) -> int:
        """Time until the configured limit allows `units`."""
        return 0 if self._own is None else self._own.wait_ns(units * MICRO, now_ns)

    def unshared_wait_ns(self, units: int, charged_ns: int, now_ns: int) -> int:
        """Time until `units` fit if others have used nothing since `charged_ns`, the time of our last charge.

        Then the level is higher by the quota that was left to others. The level at a searched rate is unknown, so there
        the refill since `charged_ns` counts.
        """
        upstream, per_minute = self._upstream, self._source()[0]
        if upstream is None:
            return 0
        rate_micro, elapsed_ns = round(per_minute * MICRO), now_ns - charged_ns
        if self._reported.per_minute is None:
            missing = min(units * MICRO, upstream.capacity_micro) - elapsed_ns * rate_micro // NS_PER_MINUTE
        else:
            needed = min(units * MICRO + self.margin_micro, upstream.capacity_micro)
            needed = max(needed, self._surely(upstream, units * MICRO))
            left_to_others = elapsed_ns * (rate_micro - upstream.rate_micro_per_minute) // NS_PER_MINUTE
            missing = needed - upstream.unbounded_micro(now_ns) - left_to_others
        # Both figures were rounded down: after the wait that was returned there must be no further wait.
        return -(-missing * NS_PER_MINUTE // max(1, rate_micro)) if missing > _ROUNDING_MICRO else 0

    def full_ns(self, units: int = 0) -> int:
        """Time in which a whole bucket refills; with `units`, the part of it above them once they fit."""
        capacity, per_minute = self.capacity, self.per_minute
        if capacity is None or per_minute is None:
            return 0
        above = capacity - units - self.margin_micro / MICRO if units else capacity
        return max(0, round(above * NS_PER_MINUTE / per_minute))

    def charge(self, units: int, now_ns: int, overdraw: int = 0) -> None:
        """Charges `units`, into debt if need be. The charge may turn out to be larger by `overdraw`."""
        micro = units * MICRO
        for bucket in self._levels:
            bucket.charge(micro)
        if self._pace is not None:
            self._pace.charge(micro)
        if self._reported.per_minute is not None:
            self._reported.charge(units, overdraw, now_ns)

    def correct(self, units: int, now_ns: int) -> None:
        """Charges another `units` for an earlier charge; a negative number gives back."""
        for bucket in self._levels:
            bucket.correct(units * MICRO, now_ns)
        if self._reported.per_minute is not None:
            self._reported.correct(units, now_ns)

    def observe_price(self, estimate: int, actual: int) -> None:
        """Compares the estimate of a charge with the actual use."""
        self._reported.observe_price(estimate, actual)

    def observe(self, report: DimensionReport, sent_ago_ns: int, outstanding: int, now_ns: int) -> bool:
        """Takes in a report. Returns whether the limit itself is new.

        Args:
            report: the rate-limit headers of a response.
            sent_ago_ns: the age of the request.
            outstanding: charges for requests in flight that the upstream will only make as it produces output. Its
                level may be higher by up to that.
            now_ns: the time.
        """
        is_new = self._reported.observe(report, now_ns)
        self._apply_upstream(now_ns)
        if report.remaining is not None and self._upstream is not None:
            self._reported.observe_level(
                self._upstream, report, report.remaining, sent_ago_ns, outstanding, now_ns, is_first=is_new
            )
            self._apply_upstream(now_ns)
        self._update_rate()
        return is_new

    def forget_report(self, now_ns: int) -> None:
        """Removes the reported limit, which the upstream no longer reports."""
        self._reported.forget()
        self._apply(now_ns)

    def search(self, per_second: float | None, now_ns: int, share: float = 1.0) -> None:
        """Applies a searched rate while no limit is reported; None ends it. A quarter of a second's worth goes at once.

        `share`: the rate divided by the last rate found, if that was higher.
        """
        if (per_second, share) != (self._searched_per_second, self._searched_share):
            self._searched_per_second, self._searched_share = per_second, share
            self._apply(now_ns)

    def empty(self, wait_ns: int, now_ns: int) -> None:
        """Empties the buckets after a 429. A searched bucket is full again after `wait_ns`."""
        if self._own is not None:
            self._own.limit_level(0, now_ns)
        if self._upstream is not None and self._reported.per_minute is None:
            self._upstream.full_in(wait_ns, now_ns)

    def drain(self, now_ns: int) -> None:
        """Empties the buckets after use of unknown extent. A report of the upstream may raise its level again."""
        for bucket in self._levels:
            bucket.limit_level(0, now_ns)

    def overrun(self, now_ns: int) -> None:
        """Trusts the level less: the upstream refused a request for which it sufficed."""
        if self._upstream is not None and self._reported.per_minute is not None:
            self._reported.observe_refusal(self._upstream.capacity_micro / MICRO, now_ns)
            self._apply(now_ns)

    def snapshot(self, now_ns: int) -> DimensionSnapshot:
        """The state now, for status and metrics."""
        levels = [each.level_micro(now_ns) / MICRO for each in self._levels]
        return DimensionSnapshot(
            dimension=self.dimension,
            configured_per_minute=self._configured.per_minute if self._configured else None,
            upstream_per_minute=self._reported.per_minute,
            effective_per_minute=self.per_minute,
            available=min(levels, default=None),
            capacity=self.capacity,
            binding=self._binding(),
        )

    def _surely(self, upstream: TokenBucket, micro: int) -> int:
        """The level at which `micro` fit even if the level is too high by its uncertainty.

        A request as large as the bucket waits for that long after the bucket is full by our count.
        """
        return min(micro, upstream.capacity_micro) + self._uncertainty_micro

    def _source(self) -> tuple[float, float]:
        """Rate per minute and capacity of the upstream, reported or searched; 0 if neither is known."""
        reported, searched = self._reported.per_minute, self._searched_per_second
        if reported is not None:
            return reported, self._reported.capacity(reported)
        if searched is not None:
            return searched * 60, max(1.0, searched / 4)
        return 0.0, 0.0

    def _binding(self) -> str:
        """The source of the effective rate."""
        if not self.is_limited:
            return "none"
        is_searched = self._upstream is not None and self._reported.per_minute is None
        if self._factor != 1.0 or (is_searched and not self._is_own()):
            return "adaptive"
        return "configured" if self._is_own() else "upstream"

    def _is_own(self) -> bool:
        """Whether the configured limit is not above the upstream's."""
        configured, upstream = self._configured, self._source()[0]
        return configured is not None and (not upstream or configured.per_minute <= upstream)

    def _update_rate(self) -> None:
        """Computes the values that every admission needs. They change only where this is called."""
        self._levels = tuple([bucket for bucket in (self._own, self._upstream) if bucket is not None])
        own = granted = left = math.inf
        if self._configured is not None:
            own = self._configured.per_minute * self._factor
        if self._upstream is not None:
            granted = self._source()[0] * self._factor
            left = self._reported.competing.left(granted)
        self.per_minute = min(own, left) if self._levels else None
        self.share = 1.0 if self.per_minute is None else self.per_minute / min(own, granted / self._searched_share)

    def _apply_own(self, now_ns: int) -> None:
        self._own = None
        if self._configured is not None:
            per_minute = self._configured.per_minute * self._factor
            self._own = self._kept_own = changed(self._kept_own, per_minute, self._configured.capacity, now_ns)
        self._update_rate()

    def _apply(self, now_ns: int) -> None:
        self._apply_upstream(now_ns)
        self._update_rate()

    def _apply_upstream(self, now_ns: int) -> None:
        rate, capacity = self._source()
        if not rate:
            self._upstream = self._pace = None
            return
        reported = self._reported
        left = 0.0 if reported.window.is_fixed else reported.competing.left(rate * self._factor)
        self._upstream = self._kept_upstream = changed(self._kept_upstream, left, capacity, now_ns)
        self.margin_micro = round(reported.margin(capacity) * MICRO)
        self._uncertainty_micro = round(reported.uncertainty(capacity) * MICRO)
        self._set_pace(self._upstream.rate_micro_per_minute, now_ns)

    def _set_pace(self, rate_micro: int, now_ns: int) -> None:
        """Follows our share of the rate, without bursts, while other traffic uses the level as well."""
        if not self._reported.competing.per_second:
            self._pace = None
            return
        self._pace = changed(self._pace, rate_micro / MICRO, rate_micro / 120 / MICRO, now_ns)


def _dumped(bucket: TokenBucket | None, now_ns: int) -> TokenBucketState | None:
    return None if bucket is None else bucket.dump(now_ns)


def _restored(state: TokenBucketState | None, now_ns: int) -> TokenBucket | None:
    return None if state is None else TokenBucket.restore(state, now_ns)
