"""The quota of a pool: several limits at once, hidden headers, limits on growth, outages, refusals."""

import pytest
from msgspec import structs

from tidegate.core.domain.dimension import ONE_REQUEST, Cost, Dimension
from tidegate.core.domain.events import Frozen, LimitLearned, Thawed
from tidegate.core.domain.feedback import RateLimited
from tidegate.core.domain.limit_report import DimensionReport, LimitReport
from tidegate.core.domain.nanoseconds import NS_PER_SECOND as S
from tidegate.core.domain.pool_settings import AdaptiveSettings, LimitSettings, PoolSettings
from tidegate.core.quota.quota import Quota

HEADERLESS = LimitReport()
REPORTED = LimitReport(DimensionReport(6_000, 3_000, 30 * S))
BOTH = PoolSettings({Dimension.REQUESTS: LimitSettings(60, 2), Dimension.INPUT_TOKENS: LimitSettings(6_000, 1_000)})
ADAPTING = PoolSettings(adaptive=AdaptiveSettings())


def quota(settings: PoolSettings | None = None) -> Quota:
    return Quota("p", settings or PoolSettings(), 0)


def answered(*reports: LimitReport) -> Quota:
    """A pool that learns, whose first request has been answered."""
    made = quota()
    for report in reports or (REPORTED,):
        made.learn_limits(report, 0)
    made.events.clear()
    return made


def requests_per_second(made: Quota, now_ns: int) -> float:
    return (made.limits.snapshot(now_ns)[0].effective_per_minute or 0.0) / 60


class TestSeveralLimits:
    def test_all_must_hold_it(self) -> None:
        made = quota(BOTH)
        made.answer_came(0)
        assert made.fits(Cost(2, 1_000), 0)
        made.charge(Cost(1, 600), 0)
        assert not made.fits(Cost(1, 500), 0)
        assert made.wait_ns(Cost(1, 500), 0) == S
        assert made.fits(Cost(1, 400), 0)
        assert made.fits(Cost(1, 0, 10**9), 0), "output has no limit"

    def test_the_tightest_sets_the_size(self) -> None:
        made = quota(BOTH)
        assert made.limits.service_time_ns(Cost(1, 50)) == S
        assert made.limits.service_time_ns(Cost(1, 500)) == 5 * S
        assert quota().limits.service_time_ns(Cost(1, 500)) == 0

    def test_the_smallest_bucket_sets_what_a_freeze_lets_refill(self) -> None:
        assert quota(BOTH).limits.full_in_ns(Cost(1, 500)) == 2 * S
        assert quota(BOTH).limits.full_in_ns(Cost(0, 500)) == 10 * S
        assert quota(BOTH).limits.full_in_ns(Cost()) == 0

    def test_a_dimension_that_never_fits_is_named(self) -> None:
        assert quota(BOTH).limits.never_fits(Cost(1, 1_001)) is Dimension.INPUT_TOKENS
        assert quota(BOTH).limits.never_fits(Cost(3, 1_000)) is Dimension.REQUESTS
        assert quota(BOTH).limits.never_fits(Cost(2, 1_000, 10**9)) is None


class TestFreeze:
    def test_nobody_goes_until_it_ends(self) -> None:
        made = quota(ADAPTING)
        made._freeze.extend(2 * S, 0)
        assert not made.fits(ONE_REQUEST, 2 * S - 1)
        assert made.wait_ns(ONE_REQUEST, S) == S
        assert made.fits(ONE_REQUEST, 2 * S)
        assert made.events == [Frozen("p", 2 * S), Thawed("p")]

    def test_the_later_end_counts(self) -> None:
        made = quota()
        made._freeze.extend(3 * S, 0)
        made._freeze.extend(S, 0)
        assert made.frozen_ns(0) == 3 * S
        assert made.events == [Frozen("p", 3 * S)]

    def test_is_news_again_only_when_it_is_longer_by_more_than_moments(self) -> None:
        made = quota()
        made._freeze.extend(3 * S, 0)
        made._freeze.extend(3 * S, S // 4)
        assert made.events == [Frozen("p", 3 * S)]
        made._freeze.extend(3 * S, S)
        assert made.events == [Frozen("p", 3 * S)] * 2
        made._freeze.extend(S, 10 * S)
        assert made.events[2:] == [Frozen("p", S)]

    @pytest.mark.parametrize("duration_ns", [0, -S])
    def test_of_no_time_is_none(self, duration_ns: int) -> None:
        made = quota()
        made._freeze.extend(duration_ns, 5 * S)
        assert (made.frozen_ns(5 * S), made.events) == (0, [])


class TestHiddenHeaders:
    def test_an_answer_without_headers_starts_a_search(self) -> None:
        made = answered(HEADERLESS)
        made.demand_seen(0)
        assert requests_per_second(made, 0) == 2
        made.charge(Cost(2), 0)
        made.demand_seen(S)
        assert requests_per_second(made, S) == pytest.approx(3.2)

    def test_nothing_grows_without_demand_or_during_a_probe_or_a_freeze(self) -> None:
        made = answered(HEADERLESS)
        made.demand_seen(0)
        made._freeze.extend(S, 0)
        made.demand_seen(S // 2)
        made.learn_429(RateLimited(), 2 * S)
        made.demand_seen(3 * S)
        assert requests_per_second(made, 3 * S) == pytest.approx(0.5), "the 429 has cut it, and nothing grown"

    def test_two_429s_measure_the_rate(self) -> None:
        made = answered(HEADERLESS)
        made.demand_seen(0)
        made.charge(Cost(500), 0)
        made.learn_429(RateLimited(sent_ago_ns=0), 10 * S)
        assert made.is_probing
        for _ in range(60):
            made.charge(ONE_REQUEST, 10 * S)
        made.learn_429(RateLimited(20 * S, sent_ago_ns=0), 20 * S)
        made.learn_limits(HEADERLESS, 40 * S)
        made.demand_seen(40 * S)
        assert requests_per_second(made, 20 * S) == pytest.approx(2, rel=0.2)
        assert not made.fits(ONE_REQUEST, 39 * S)
        assert made.fits(ONE_REQUEST, 40 * S), "the 429 says that something is left then"

    def test_a_probe_that_is_not_refused_as_fast_as_others_were_is_followed_by_more(self) -> None:
        made = answered(HEADERLESS)
        for second in range(8):
            made.demand_seen(second * S)
            made.correct_use(100, 0, 0, second * S)
        made.charge(ONE_REQUEST, 8 * S)
        made.learn_429(RateLimited(S, sent_ago_ns=S // 10), 8 * S)
        made.charge(ONE_REQUEST, 10 * S)
        assert not made.fits(ONE_REQUEST, 10 * S + S // 5 - 1)
        assert made.fits(ONE_REQUEST, 10 * S + S // 5), "though no answer has come"

    def test_what_is_used_up_meanwhile_is_learned_from_leases(self) -> None:
        made = answered(HEADERLESS)
        made.charge(Cost(500), 0)
        made.learn_429(RateLimited(S, sent_ago_ns=0), 0)
        made.charge(Cost(200), 0)
        made.correct_use(*Cost(-100), S)
        made.learn_429(RateLimited(S, sent_ago_ns=0), 10 * S)
        assert requests_per_second(made, 10 * S) <= 0.97 * 10 * 1.1

    def test_429s_of_one_overrun_are_one(self) -> None:
        made = answered(HEADERLESS)
        made.demand_seen(0)
        for _ in range(10):
            made.learn_429(RateLimited(sent_ago_ns=S), 10 * S)
        made.learn_limits(HEADERLESS, 10 * S)
        made.demand_seen(10 * S)
        assert requests_per_second(made, 10 * S) == pytest.approx(0.5)

    def test_a_429_before_any_answer_starts_a_search_too(self) -> None:
        made = quota()
        made.learn_429(RateLimited(), 0)
        made.learn_limits(HEADERLESS, 0)
        made.demand_seen(0)
        assert requests_per_second(made, 0) == pytest.approx(0.5)

    def test_headers_end_it_even_if_they_do_not_speak_of_requests(self) -> None:
        made = answered(HEADERLESS)
        made.demand_seen(0)
        made.learn_limits(LimitReport(input_tokens=DimensionReport(60_000, 10_000)), 0)
        made.demand_seen(S)
        assert made.limits.snapshot(S)[0].binding == "none"

    def test_an_answer_without_headers_among_others_changes_nothing(self) -> None:
        made = answered(REPORTED, HEADERLESS)
        made.demand_seen(0)
        assert made.limits.snapshot(0)[0].binding == "upstream"


class TestRefusals:
    def test_where_limits_are_reported_a_429_raises_the_margin(self) -> None:
        made = answered(*[REPORTED] * 60)
        assert made.fits(Cost(2_900), 0)
        made.learn_429(RateLimited(), 0)
        made.learn_limits(REPORTED, 0)
        assert not made.fits(Cost(2_900), 0)
        assert requests_per_second(made, 0) == 100, "and leaves the rate"

    def test_a_refused_request_is_followed_by_single_ones_until_an_answer_to_a_later_one(self) -> None:
        made = answered()
        made.learn_429(RateLimited(sent_ago_ns=0), 5 * S)
        made.charge(ONE_REQUEST, 5 * S)
        assert not made.fits(ONE_REQUEST, 6 * S)
        made.learn_limits(structs.replace(REPORTED, sent_ago_ns=2 * S), 6 * S)
        assert made.is_probing, "that one was sent before the refusal"
        made.learn_limits(structs.replace(REPORTED, sent_ago_ns=S), 6 * S)
        assert made.fits(ONE_REQUEST, 6 * S)

    def test_an_acceleration_limit_slows_the_rise_and_leaves_levels_and_margins(self) -> None:
        made = answered()
        for _ in range(10):
            made.charge(ONE_REQUEST, 60 * S)
        before = made.limits.snapshot(60 * S)
        made.learn_429(RateLimited(sent_ago_ns=0, acceleration=True), 60 * S)
        made.learn_limits(HEADERLESS, 60 * S)
        assert made.limits.snapshot(60 * S) == before
        assert not made.fits(ONE_REQUEST, 60 * S)
        assert made.wait_ns(ONE_REQUEST, 60 * S) == S // 4
        assert made.fits(ONE_REQUEST, 130 * S)

    def test_a_refused_request_does_not_count_as_usage(self) -> None:
        made = answered()
        for _ in range(10):
            made.charge(ONE_REQUEST, 60 * S)
        made.correct_use(*Cost(-8), 60 * S)
        made.learn_429(RateLimited(sent_ago_ns=0, acceleration=True), 60 * S)
        made.correct_use(*Cost(-1), 60 * S)
        made.learn_429(RateLimited(sent_ago_ns=1, acceleration=True), 60 * S)
        made.learn_limits(HEADERLESS, 60 * S)
        assert made.wait_ns(ONE_REQUEST, 119 * S) == S // 4, "one was accepted, one may go a minute"
        assert made.wait_ns(ONE_REQUEST, 121 * S) == 0

    def test_a_pool_that_does_not_learn_counts_no_usage(self) -> None:
        made = quota(ADAPTING)
        made.correct_use(50, 0, 0, 60 * S)
        made.configure(PoolSettings(), 60 * S)
        made.learn_limits(HEADERLESS, 60 * S)
        made.learn_429(RateLimited(sent_ago_ns=0, acceleration=True), 60 * S)
        made.learn_limits(HEADERLESS, 60 * S)
        assert made.fits(ONE_REQUEST, 60 * S), "nothing was accepted before, as far as is known: anything may be"


class TestOutputThatIsShort:
    def test_nobody_goes_before_it_is_paid_off_though_nothing_is_in_flight(self) -> None:
        made = answered(HEADERLESS)
        for _ in range(100):
            made.charge(ONE_REQUEST, 0)
        for _ in range(10):
            made.request_ended(0)
        made.learn_429(RateLimited(S, sent_ago_ns=0), 10 * S)
        assert not made.is_sure
        made.correct_use(*Cost(0, 0, 4_000), 11 * S)
        made.learn_429(RateLimited(4 * S, sent_ago_ns=0), 11 * S)
        made.learn_limits(HEADERLESS, 15 * S)
        assert made.wait_ns(ONE_REQUEST, 15 * S) > 3 * S, "ninety answers have not ended"
        assert not made.fits(ONE_REQUEST, 15 * S)
        assert made.idle_wait_ns(ONE_REQUEST, 15 * S) == made.wait_ns(ONE_REQUEST, 15 * S)

    def test_a_pool_that_searches_nothing_is_sure(self) -> None:
        assert answered().is_sure


class TestOutstanding:
    def test_what_is_charged_here_but_not_there_yet_is_expected_to_go(self) -> None:
        made = quota()
        made.charge(Cost(1, 4_000, 1_000), 0)
        made.close_estimates(1_000, 0)
        made.learn_limits(LimitReport(None, DimensionReport(60_000, 10_000), DimensionReport(60_000, 10_000)), 0)
        assert [one.available for one in made.limits.snapshot(0)[1:]] == [7_000, 9_000]

    def test_what_exceeds_the_estimates_is_not_given_back(self) -> None:
        made = quota()
        made.charge(Cost(1, 0, 1_000), 0)
        made.close_estimates(0, 3_000)
        made.learn_limits(LimitReport(output_tokens=DimensionReport(60_000, 10_000)), 0)
        assert made.limits.snapshot(0)[2].available == 10_000


class TestKinds:
    def test_a_pool_with_adaptive_settings_cuts_and_neither_probes_nor_searches(self) -> None:
        made = quota(PoolSettings(BOTH.limits, AdaptiveSettings()))
        made.learn_429(RateLimited(), 0)
        made.learn_limits(HEADERLESS, 0)
        made.demand_seen(0)
        assert not made.is_probing
        assert made.factor == pytest.approx(0.9)
        assert made.limits.snapshot(0)[0].binding == "adaptive"
        assert requests_per_second(made, 0) == pytest.approx(0.9)

    def test_a_success_means_nothing_to_a_pool_that_learns(self) -> None:
        made = answered()
        before = made.limits.snapshot(0)
        made.learn_success(0)
        assert (made.limits.snapshot(0), made.events) == (before, [])

    def test_a_limit_is_known_from_configuration_or_an_answer(self) -> None:
        assert quota(ADAPTING).is_known
        assert not quota().is_known
        assert answered().is_known

    def test_one_kind_may_become_the_other(self) -> None:
        made = quota(ADAPTING)
        made.configure(PoolSettings(), 0)
        assert made.is_probing
        made.learn_limits(REPORTED, 0)
        assert LimitLearned("p", Dimension.REQUESTS, 6_000.0) in made.events
        made.configure(ADAPTING, 0)
        made.learn_429(RateLimited(), 0)
        assert requests_per_second(made, 0) == pytest.approx(90)
        made.configure(PoolSettings(), 0)
        assert requests_per_second(made, 0) == 100
        assert not made.is_probing, "an answer came long ago"


def test_an_endpoint_that_never_tells_its_limit_is_limited_by_its_first_429_only() -> None:
    """The API's answers about files, batches and models carry no rate-limit headers (Claude Platform Docs)."""
    made = Quota("files", PoolSettings(), 0)
    made.learn_limits(HEADERLESS, 0)
    for _ in range(100):
        assert made.fits(ONE_REQUEST, 0)
        made.charge(ONE_REQUEST, 0)
    made.learn_429(RateLimited(0, sent_ago_ns=0), S)
    made.learn_limits(HEADERLESS, S)
    assert requests_per_second(made, S) == 4, "a quarter of what it begins with"
    made.demand_seen(S)
    assert requests_per_second(made, S) == pytest.approx(4)


def test_an_answer_without_headers_limits_a_burst_before_anybody_waits() -> None:
    made = answered(HEADERLESS)
    granted = 0
    while made.fits(ONE_REQUEST, S):
        made.charge(ONE_REQUEST, S)
        granted += 1
    assert granted == 1


def test_a_volley_of_429s_is_one_overrun_where_limits_are_told() -> None:
    made = answered(REPORTED)
    for _ in range(3):
        made.learn_429(RateLimited(S, sent_ago_ns=S), 2 * S)
    assert requests_per_second(made, 2 * S) == 100


@pytest.mark.parametrize("refused", [False, True])
def test_what_was_sent_before_a_search_is_not_taken_from_the_use_that_it_has_counted(*, refused: bool) -> None:
    made = quota()
    made.charge(Cost(1, 500, 20), 8 * S // 5)
    if refused:
        made.learn_429(RateLimited(sent_ago_ns=S // 2), 2 * S)
    else:
        made.learn_limits(HEADERLESS, 2 * S)
    made.charge(Cost(1, 500, 20), 3 * S)
    search = made._search
    assert search is not None
    made.correct_use(-1, -500, 0, 8 * S // 5)
    assert search.use.used == Cost(1, 500), "it was sent before"
    made.correct_use(0, 100, 5, 8 * S // 5)
    assert search.use.used == Cost(1, 600, 5), "the upstream counts it now"
    made.correct_use(-1, -600, 0, 3 * S)
    assert search.use.used == Cost(0, 0, 5)
