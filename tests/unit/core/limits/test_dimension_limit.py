"""One dimension of a pool: which source sets its rate and its capacity. What reports teach of its level: next file."""

from tidegate.core.domain.dimension import MICRO, Dimension
from tidegate.core.domain.limit_report import DimensionReport
from tidegate.core.domain.nanoseconds import NS_PER_MINUTE, NS_PER_SECOND
from tidegate.core.domain.nanoseconds import NS_PER_SECOND as S
from tidegate.core.domain.pool_settings import LimitSettings
from tidegate.core.domain.snapshots import DimensionSnapshot
from tidegate.core.limits.dimension_limit import DimensionLimit
from tidegate.core.limits.fixed_window import FixedWindowVotes

INPUT = Dimension.INPUT_TOKENS


def limit(configured: LimitSettings | None = None) -> DimensionLimit:
    made = DimensionLimit(INPUT, FixedWindowVotes())
    made.configure(configured, 0)
    return made


def learn(made: DimensionLimit, report: DimensionReport, now_ns: int = 0) -> bool:
    return made.observe(report, sent_ago_ns=0, outstanding=0, now_ns=now_ns)


def levels(made: DimensionLimit, now_ns: int = 0) -> tuple[float | None, float | None, float | None, str]:
    """Effective rate, level, capacity, and what binds."""
    state = made.snapshot(now_ns)
    return state.effective_per_minute, state.available, state.capacity, state.binding


def test_nothing_is_limited_on_a_guess() -> None:
    assert DimensionLimit(INPUT, FixedWindowVotes()).share == 1
    made = limit()
    assert not made.is_limited
    assert (made.capacity, made.share) == (None, 1)
    assert made.snapshot(0) == DimensionSnapshot(INPUT, None, None, None, None, None, "none")


def test_a_configured_limit() -> None:
    made = limit(LimitSettings(per_minute=6_000, capacity=1_000))
    assert made.snapshot(0) == DimensionSnapshot(INPUT, 6_000, None, 6_000, 1_000, 1_000, "configured")


def test_what_is_spare_is_the_refill_time_of_what_is_available_beside_a_request() -> None:
    """100 tokens refill in a second at the configured limit, 50 at the reported one, of which a margin is kept."""
    assert limit().spare_ns(100, 0) == 0, "nothing is limited"
    made = limit(LimitSettings(6_000, 1_000))
    made.charge(300, 0)
    assert [made.spare_ns(units, 0) for units in (0, 200, 700, 800)] == [7 * S, 5 * S, 0, 0]
    reported = limit()
    learn(reported, DimensionReport(3_000, remaining=500, full_in_ns=0))
    margin = reported.margin_micro / MICRO
    assert margin > 0
    spare = [round((500 - margin - units) * S / 50) for units in (0, 200)]
    assert [reported.spare_ns(units, 0) for units in (0, 200, 600)] == [*spare, 0]
    for settings, least in ((LimitSettings(6_000, 1_000), spare[0]), (LimitSettings(6_000, 100), S)):
        reported.configure(settings, 0)
        assert reported.spare_ns(0, 0) == least, "of both limits, the tighter one"
    assert reported.spare_ns(50, 0) == S // 2


def test_removing_the_only_limit_removes_the_bucket() -> None:
    made = limit(LimitSettings(6_000, 1_000))
    made.configure(None, 0)
    assert levels(made) == (None, None, None, "none")


def test_a_limit_that_comes_back_is_not_refilled() -> None:
    made = limit(LimitSettings(6_000, 1_000))
    made.charge(700, 0)
    made.configure(None, 0)
    made.configure(LimitSettings(6_000, 1_000), 0)
    assert levels(made) == (6_000, 300, 1_000, "configured")


def test_the_first_report_makes_a_bucket_with_what_it_says_is_left() -> None:
    made = limit()
    assert learn(made, DimensionReport(6_000, remaining=400))
    assert levels(made) == (6_000, 400, 400, "upstream")


def test_the_same_limit_again_is_no_news_another_is() -> None:
    made = limit()
    assert learn(made, DimensionReport(6_000))
    assert not learn(made, DimensionReport(6_000))
    assert learn(made, DimensionReport(8_000))


def test_the_capacity_follows_from_what_is_left_and_when_all_is_back() -> None:
    made = limit()
    learn(made, DimensionReport(6_000, remaining=400, full_in_ns=6 * NS_PER_SECOND + NS_PER_SECOND // 2))
    assert levels(made) == (6_000, 400, 1_000, "upstream")


def test_the_capacity_is_never_more_than_a_minute_of_the_rate() -> None:
    made = limit()
    learn(made, DimensionReport(6_000, remaining=5_900, full_in_ns=600 * NS_PER_SECOND))
    assert made.snapshot(0).capacity == 6_000


def test_a_capacity_once_seen_is_not_forgotten_until_the_limit_changes() -> None:
    made = limit()
    learn(made, DimensionReport(6_000, remaining=900))
    learn(made, DimensionReport(6_000, remaining=100))
    assert made.snapshot(0).capacity == 900
    learn(made, DimensionReport(8_000, remaining=500))
    assert made.snapshot(0).capacity == 500


def test_the_capacity_follows_later_resets_by_a_tenth() -> None:
    made = limit()
    learn(made, DimensionReport(6_000, remaining=1_000, full_in_ns=0))
    learn(made, DimensionReport(6_000, remaining=600, full_in_ns=14 * NS_PER_SECOND + NS_PER_SECOND // 2))
    assert made.snapshot(0).capacity == 1_100, "2,000 by this report"


def test_a_debt_reads_zero_and_says_nothing_of_the_capacity_but_that_it_is_no_more() -> None:
    made = limit()
    learn(made, DimensionReport(6_000, remaining=3_000, full_in_ns=0))
    learn(made, DimensionReport(6_000, remaining=0, full_in_ns=45 * NS_PER_SECOND))
    assert made.snapshot(0).capacity == 3_000
    learn(made, DimensionReport(6_000, remaining=0, full_in_ns=20 * NS_PER_SECOND + NS_PER_SECOND // 2))
    assert made.snapshot(0).capacity == 2_500, "2,000 are missing, and up to 500 may be left"


def test_the_capacity_is_never_less_than_what_remains() -> None:
    made = limit()
    learn(made, DimensionReport(6_000, remaining=1_000, full_in_ns=0))
    learn(made, DimensionReport(6_000, remaining=3_000, full_in_ns=0))
    assert made.snapshot(0).capacity == 2_500, "it is rounded to a thousand"


def test_the_capacity_is_never_less_than_a_second_of_the_rate() -> None:
    made = limit()
    learn(made, DimensionReport(6_000))
    assert levels(made) == (6_000, 100, 100, "upstream")
    learn(made, DimensionReport(6_000, remaining=3))
    assert levels(made) == (6_000, 100, 100, "upstream")
    empty = limit()
    learn(empty, DimensionReport(6_000, remaining=0, full_in_ns=0))
    assert levels(empty) == (6_000, 0, 100, "upstream"), "nothing is left, and all is back at once"


def test_the_smaller_of_configuration_and_upstream_binds() -> None:
    made = limit(LimitSettings(6_000, 1_000))
    learn(made, DimensionReport(9_000, remaining=5_000))
    assert levels(made) == (6_000, 1_000, 1_000, "configured")
    learn(made, DimensionReport(3_000, remaining=2_000))
    assert levels(made) == (3_000, 1_000, 1_000, "upstream")
    learn(made, DimensionReport(2_000, remaining=300))
    assert levels(made) == (2_000, 300, 300, "upstream")


def test_of_two_that_are_the_same_the_configured_one_is_named() -> None:
    made = limit(LimitSettings(6_000, 1_000))
    learn(made, DimensionReport(6_000, remaining=1_000))
    assert made.snapshot(0).binding == "configured"


def test_the_configured_capacity_caps_the_upstreams() -> None:
    made = limit(LimitSettings(6_000, 500))
    learn(made, DimensionReport(3_000, remaining=2_000))
    assert made.snapshot(0).capacity == 500


def test_a_configured_burst_is_kept_where_the_upstream_grants_less() -> None:
    """Its bucket is worth one second here, and a larger request goes when that is full: but not beyond our own."""
    made = limit(LimitSettings(6_000, 1_000))
    learn(made, DimensionReport(3_000, remaining=50))
    made.charge(900, 0)
    assert made.wait_ns(200, 0) == 18_080_000_000, "850 of the upstream's are owed, and it holds 50, give or take 4"
    learn(made, DimensionReport(60_000, remaining=1_000), NS_PER_SECOND)
    assert made.own_wait_ns(900, NS_PER_SECOND) == 7 * NS_PER_SECOND
    assert made.wait_ns(900, NS_PER_SECOND) == 7 * NS_PER_SECOND
    assert made.own_wait_ns(100, NS_PER_SECOND) == 0
    assert limit().own_wait_ns(100, 0) == 0


def test_a_wait_for_what_the_upstream_surely_holds_is_rounded_up_to_whole_nanoseconds() -> None:
    made = limit(LimitSettings(6_000, 1_000))
    learn(made, DimensionReport(7_000, remaining=50))
    made.charge(900, 0)
    assert made.wait_ns(200, 0) == 8_365_714_286, "976 are missing at 7,000 a minute: 8,365,714,285.7"


def test_adaptation_lowers_the_rate_and_says_so() -> None:
    made = limit(LimitSettings(6_000, 1_000))
    made.adapt(0.9, 0)
    assert levels(made) == (5_400, 1_000, 1_000, "adaptive")
    made.adapt(1.0, 0)
    assert levels(made) == (6_000, 1_000, 1_000, "configured")


def test_adaptation_slows_what_the_upstream_refills_too() -> None:
    made = limit()
    learn(made, DimensionReport(6_000, remaining=1_000))
    made.adapt(0.5, 0)
    made.charge(1_000, 0)
    assert made.snapshot(2 * NS_PER_SECOND).available == 100
    made.adapt(1.0, 2 * NS_PER_SECOND)
    assert made.snapshot(3 * NS_PER_SECOND).available == 200


def test_changes_keep_the_level() -> None:
    made = limit(LimitSettings(6_000, 1_000))
    made.charge(600, 0)
    made.configure(LimitSettings(60_000, 5_000), 0)
    assert levels(made) == (60_000, 400, 5_000, "configured")
    assert made.snapshot(NS_PER_SECOND).available == 1_400


def test_a_tiny_limit_still_refills_and_holds_one() -> None:
    made = limit(LimitSettings(per_minute=1e-3, capacity=1e-3))
    assert levels(made) == (1e-3, 1, 1, "configured")
    made.charge(2, 0)
    assert made.wait_ns(1, 0) == 2 * 1_000 * NS_PER_MINUTE


def test_an_adapted_rate_without_any_limit_limits_nothing() -> None:
    made = limit()
    made.adapt(0.9, 0)
    assert levels(made) == (None, None, None, "none")


def test_without_a_limit_everything_fits_and_nothing_is_counted() -> None:
    made = limit()
    made.charge(10**9, 0)
    made.correct(10**9, 0)
    made.empty(0, 0)
    made.overrun(0)
    assert made.fits(10**9, 0)
    assert (made.wait_ns(10**9, 0), made.full_ns()) == (0, 0)


def test_how_long_something_takes_to_come_back() -> None:
    made = limit(LimitSettings(6_000, 1_000))
    made.charge(1_000, 0)
    assert made.per_minute == 6_000
    assert made.full_ns() == 10 * NS_PER_SECOND
    assert (made.full_ns(400), made.full_ns(1_001)) == (6 * NS_PER_SECOND, 0), "from when that much fits"
    assert made.wait_ns(300, NS_PER_SECOND) == 2 * NS_PER_SECOND
    made.empty(NS_PER_SECOND, 20 * NS_PER_SECOND)
    assert made.wait_ns(300, 20 * NS_PER_SECOND) == 3 * NS_PER_SECOND


def test_how_long_something_takes_to_come_back_where_nobody_else_takes_any() -> None:
    made = limit()
    learn(made, DimensionReport(6_000, remaining=1_000, full_in_ns=0))
    made.charge(1_000, 0)
    at_ns = made.unshared_wait_ns(300, 0, 0)
    assert at_ns == made.wait_ns(300, 0), "nobody does"
    assert made.unshared_wait_ns(300, 0, at_ns - NS_PER_SECOND) == NS_PER_SECOND
    assert made.unshared_wait_ns(9_000, 0, 0) == made.wait_ns(9_000, 0) < 15 * NS_PER_SECOND, "no more than all"
    assert limit().unshared_wait_ns(300, 0, 0) == 0


def test_a_searched_rate_refills_what_is_needed_after_the_last_request() -> None:
    made = limit()
    made.search(100.0, 0)
    made.charge(90, 0)
    assert made.unshared_wait_ns(300, 0, 0) == NS_PER_SECOND // 4, "that is all that it holds"
    assert made.unshared_wait_ns(10, 0, NS_PER_SECOND // 20) == NS_PER_SECOND // 20


def test_a_request_as_large_as_the_bucket_waits_until_that_is_surely_full() -> None:
    made = limit()
    learn(made, DimensionReport(60_000, remaining=5_000, full_in_ns=0))
    made.charge(5_000, 0)
    assert made.wait_ns(1_000, 0) == 1_400_000_000, "with the margin"
    assert made.wait_ns(5_000, 0) == made.wait_ns(9_000, 0) == 5_000_000_000 + 400_000_000
    assert not made.fits(9_000, 5_400_000_000 - 1)
    assert made.fits(9_000, 5_400_000_000)
    made.charge(1, 5_400_000_000)
    assert not made.fits(9_000, 5_400_000_000)


def test_the_margin_of_a_reported_bucket_is_never_used() -> None:
    made = limit()
    learn(made, DimensionReport(6_000, remaining=1_000, full_in_ns=0))
    assert made.margin_micro == 80 * MICRO
    assert made.full_ns() == 10 * NS_PER_SECOND
    assert made.full_ns(400) == 52 * NS_PER_SECOND // 10, "1,000 hold 520 above these and the margin"


def test_a_charge_is_corrected_later() -> None:
    made = limit(LimitSettings(6_000, 1_000))
    made.charge(800, 0)
    made.correct(-500, 0)
    assert made.snapshot(0).available == 700
    made.correct(0, 0)
    assert made.snapshot(0).available == 700
    made.correct(900, 0)
    assert made.snapshot(0).available == -200


class TestSearching:
    def test_a_searched_rate_is_the_limit_until_it_is_withdrawn(self) -> None:
        made = limit()
        made.search(20.0, 0)
        assert levels(made) == (1_200, 5, 5, "adaptive")
        for _ in range(2):
            made.search(2.0, 0)
        assert levels(made) == (120, 1, 1, "adaptive")
        made.search(None, 0)
        assert levels(made) == (None, None, None, "none")

    def test_after_a_429_the_first_goes_when_its_wait_ends(self) -> None:
        made = limit()
        made.search(0.5, 0)
        made.empty(10 * NS_PER_SECOND, 0)
        assert made.wait_ns(1, 0) == 10 * NS_PER_SECOND
        made.charge(1, 10 * NS_PER_SECOND)
        assert made.wait_ns(1, 10 * NS_PER_SECOND) == 2 * NS_PER_SECOND

    def test_a_restored_limit_has_the_searched_rate(self) -> None:
        made = limit()
        made.search(2.0, 0, 0.5)
        restored = DimensionLimit.restore(made.dump(0), 0, INPUT, FixedWindowVotes())
        assert levels(restored) == levels(made) == (120, 1, 1, "adaptive")
        assert restored.share == 0.5
        assert restored.dump(0) == made.dump(0)

    def test_the_upstreams_word_is_better(self) -> None:
        made = limit()
        made.search(2.0, 0)
        learn(made, DimensionReport(6_000, remaining=900))
        assert levels(made)[3] == "upstream"
        made.forget_report(0)
        assert levels(made) == (120, 1, 1, "adaptive"), "as long as it lasts"

    def test_a_429_leaves_no_margin_in_a_limit_that_is_not_reported(self) -> None:
        made = limit()
        made.search(20.0, 0)
        made.overrun(0)
        made.search(10.0, 0)
        assert made.margin_micro == 0

    def test_a_configured_limit_that_is_lower_binds(self) -> None:
        made = limit(LimitSettings(60, 3))
        made.search(20.0, 0)
        assert levels(made) == (60, 3, 3, "configured")
        made.search(0.5, 0)
        assert levels(made) == (30, 1, 1, "adaptive")


class TestFixedWindows:
    """The upstream counts in windows that end with each minute, 6,000 in each."""

    @staticmethod
    def windowed(configured: LimitSettings | None = None) -> DimensionLimit:
        votes = FixedWindowVotes()
        made = DimensionLimit(INPUT, votes)
        made.configure(configured, 0)
        for second, remaining in ((0, 6_000), (10, 5_000), (20, 4_000), (30, 3_000)):
            report = DimensionReport(6_000, remaining, (60 - second) * NS_PER_SECOND)
            made.observe(report, sent_ago_ns=0, outstanding=0, now_ns=second * NS_PER_SECOND)
        return made

    def test_nothing_comes_back_before_the_window_ends(self) -> None:
        made, now_ns = self.windowed(), 30 * NS_PER_SECOND
        state = made.snapshot(now_ns)
        assert (state.effective_per_minute, state.capacity, state.binding) == (6_000, 6_000, "upstream")
        made.charge(round(state.available or 0), now_ns)
        assert made.wait_ns(1_000, now_ns) == 30 * NS_PER_SECOND
        assert made.snapshot(59 * NS_PER_SECOND).available == 0
        assert not made.fits(1_000, 60 * NS_PER_SECOND - 1)

    def test_everything_is_back_when_it_ends(self) -> None:
        made = self.windowed()
        made.empty(0, 30 * NS_PER_SECOND)
        assert made.fits(5_000, 60 * NS_PER_SECOND)
        made.charge(5_000, 60 * NS_PER_SECOND)
        assert made.wait_ns(5_000, 70 * NS_PER_SECOND) == 50 * NS_PER_SECOND

    def test_nobody_waits_once_it_has_ended(self) -> None:
        made = self.windowed()
        made.empty(0, 30 * NS_PER_SECOND)
        assert made.wait_ns(5_000, 60 * NS_PER_SECOND) == 0

    def test_a_configured_limit_that_is_lower_refills_all_the_time(self) -> None:
        made, now_ns = self.windowed(LimitSettings(600, 100)), 30 * NS_PER_SECOND
        made.empty(0, now_ns)
        assert levels(made, now_ns + NS_PER_SECOND) == (600, 10, 100, "configured")
