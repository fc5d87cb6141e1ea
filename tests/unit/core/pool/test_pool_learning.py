"""A pool learns from answers and operators while callers wait."""

import pytest
from msgspec import structs

from tidegate.core.domain.caller import DEFAULT_CALLER
from tidegate.core.domain.demand import GRANTED, Demand, Outcome, Wait
from tidegate.core.domain.dimension import ONE_REQUEST, Cost, Dimension
from tidegate.core.domain.events import Frozen, LimitLearned, RateChanged
from tidegate.core.domain.feedback import RateLimited, Succeeded
from tidegate.core.domain.limit_report import DimensionReport, LimitReport
from tidegate.core.domain.nanoseconds import NS_PER_SECOND as S
from tidegate.core.domain.pool_settings import AdaptiveSettings, LimitSettings, PoolSettings
from tidegate.core.pool.pool import Pool

ONE = Demand("p", DEFAULT_CALLER, ONE_REQUEST)


def settings(per_minute: float, capacity: float, adaptive: AdaptiveSettings | None = None) -> PoolSettings:
    limits = {Dimension.REQUESTS: LimitSettings(per_minute, capacity)}
    return PoolSettings(limits, adaptive or AdaptiveSettings())


def requests_per_minute(state: Pool) -> float | None:
    return state.snapshot(0).dimensions[0].effective_per_minute


@pytest.fixture
def waited_for() -> Pool:
    """A pool of 20 a minute and burst 5, drained, with three waiters."""
    state = Pool("p", settings(20, 5), now_ns=0)
    for number in range(5):
        state.reserve(f"burst-{number}", ONE, 0)
    for number in range(3):
        assert isinstance(state.reserve(f"w{number}", ONE, 0), Wait)
    return state


class TestAdaptation:
    def test_a_429_cuts_a_tenth_and_freezes(self, waited_for: Pool) -> None:
        waited_for.learn(RateLimited(4 * S), 0)
        assert requests_per_minute(waited_for) == pytest.approx(18)
        assert waited_for.drain_events() == (
            Frozen("p", 4 * S),
            RateChanged("p", Dimension.REQUESTS, 20, 18, "rate_limited"),
        )
        assert waited_for.next_in_ns(0) == 4 * S
        assert waited_for.snapshot(0).rate_limited == 1

    def test_a_429_slows_waiters_down_at_once(self, waited_for: Pool) -> None:
        waited_for.learn(RateLimited(), 0)
        assert waited_for.next_in_ns(0) == 3_333_333_334

    @pytest.mark.parametrize("retry_after_ns", [None, 0])
    def test_a_429_without_a_time_does_not_freeze(self, waited_for: Pool, retry_after_ns: int | None) -> None:
        waited_for.learn(RateLimited(retry_after_ns), 0)
        assert waited_for.snapshot(0).frozen_seconds == 0

    def test_429s_of_one_overrun_cut_once(self, waited_for: Pool) -> None:
        waited_for.learn(RateLimited(sent_ago_ns=2 * S), 10 * S)
        waited_for.learn(RateLimited(sent_ago_ns=2 * S), 10 * S + 1)
        assert waited_for.snapshot(0).adaptive_factor == 0.9, "it was sent before the cut"
        waited_for.learn(RateLimited(S, sent_ago_ns=2 * S), 11 * S)
        assert waited_for.snapshot(11 * S).frozen_seconds == 1, "its retry-after counts all the same"
        waited_for.learn(RateLimited(sent_ago_ns=2 * S), 12 * S)
        assert waited_for.snapshot(0).adaptive_factor == pytest.approx(0.81)
        assert waited_for.snapshot(0).rate_limited == 4

    def test_never_under_the_floor(self, waited_for: Pool) -> None:
        for _ in range(100):
            waited_for.learn(RateLimited(), 0)
        assert requests_per_minute(waited_for) == pytest.approx(2)
        waited_for.drain_events()
        waited_for.learn(RateLimited(), 0)
        assert waited_for.drain_events() == ()

    def test_a_429_for_acceleration_counts_what_its_request_needed(self) -> None:
        """A hundred thousand tokens were let in the minute before, and twice as many now were too much."""
        state = Pool("p", PoolSettings(), 0)
        state.learn(LimitReport(input_tokens=DimensionReport(10**7, 10**7)), 0)
        for number in range(44):
            part = structs.replace(ONE, cost=Cost(1, 2_500), settle_at_once=True)
            assert state.reserve(f"{number}", part, 0 if number < 40 else 61 * S) == GRANTED
        assert state.reserve("a", structs.replace(ONE, cost=Cost(1, 200_000)), 61 * S) == GRANTED
        state.learn(RateLimited(acceleration=True, sent_ago_ns=0, lease_id="a"), 61 * S)
        wait = state.reserve("b", structs.replace(ONE, cost=Cost(1, 190_000)), 61 * S)
        assert isinstance(wait, Wait)
        assert wait.binding == "acceleration"
        state.withdraw("b", 61 * S)
        assert state.reserve("c", structs.replace(ONE, cost=Cost(1, 140_000)), 61 * S) == GRANTED

    def test_successes_bring_exactly_the_configured_rate_back_and_no_more(self, waited_for: Pool) -> None:
        waited_for.learn(RateLimited(), 0)
        rates = []
        for _ in range(15):
            waited_for.learn(Succeeded(), 0)
            rates.append(requests_per_minute(waited_for) or 0)
        assert rates == sorted(rates)
        assert rates[0] == pytest.approx(18.2)
        assert rates[-1] == 20
        assert waited_for.snapshot(0).adaptive_factor == 1.0
        assert waited_for.snapshot(0).succeeded == 15

    def test_without_any_limit_a_429_only_freezes(self) -> None:
        state = Pool("p", PoolSettings(adaptive=AdaptiveSettings()), 0)
        state.learn(RateLimited(S), 0)
        assert state.reserve("a", ONE, S) == GRANTED
        assert state.snapshot(S).dimensions[0].binding == "none"

    def test_a_success_at_the_full_rate_changes_nothing(self, waited_for: Pool) -> None:
        waited_for.learn(Succeeded(), 0)
        assert waited_for.drain_events() == ()


class TestReports:
    def test_a_limit_that_nobody_configured_is_learned(self) -> None:
        state = Pool("p", PoolSettings(), 0)
        state.learn(LimitReport(input_tokens=DimensionReport(60_000, 10_000)), 0)
        assert state.drain_events() == (
            LimitLearned("p", Dimension.INPUT_TOKENS, 60_000.0),
            RateChanged("p", Dimension.INPUT_TOKENS, None, 60_000.0, "reported"),
        )
        assert state.reserve("a", structs.replace(ONE, cost=Cost(1, 8_000)), 0) == GRANTED
        refill_ns, margin_ns = 6 * S, S * 8 // 10
        assert state.reserve("b", structs.replace(ONE, cost=Cost(1, 8_000)), 0) == Wait(refill_ns + margin_ns)

    def test_the_same_report_again_is_no_news(self) -> None:
        state = Pool("p", PoolSettings(), 0)
        report = LimitReport(DimensionReport(50, 49), DimensionReport(60_000, 10_000), DimensionReport(8_000, 8_000))
        state.learn(report, 0)
        assert [type(event) for event in state.drain_events()] == [LimitLearned] * 3 + [RateChanged] * 3
        state.learn(report, 0)
        assert state.drain_events() == ()

    def test_others_who_use_the_same_key_are_seen_in_what_is_left(self) -> None:
        state = Pool("p", settings(20, 5), 0)
        state.learn(LimitReport(requests=DimensionReport(20, 0)), 0)
        assert state.reserve("a", ONE, 0) == Wait(3 * S)

    @pytest.mark.parametrize("adaptive", [None, AdaptiveSettings()])
    def test_what_the_upstream_has_left_does_not_widen_a_configured_limit(
        self, adaptive: AdaptiveSettings | None
    ) -> None:
        state = Pool("p", PoolSettings({Dimension.REQUESTS: LimitSettings(20, 5)}, adaptive), 0)
        state.learn(Succeeded(sent_ago_ns=0), 0)
        for number in range(5):
            assert state.reserve(f"{number}", ONE, 0) == GRANTED
        for _ in range(9):
            state.learn(LimitReport(DimensionReport(4_000, 3_990, full_in_ns=S)), 0)
        assert state.snapshot(0).dimensions[0].available == 0

    def test_a_limit_learned_later_does_not_count_a_lease_twice(self) -> None:
        state = Pool("p", PoolSettings(), 0)
        state.reserve("a", structs.replace(ONE, cost=Cost(1, 4_000)), 0)
        state.learn(LimitReport(input_tokens=DimensionReport(60_000, 10_000)), 0)
        assert state.snapshot(0).dimensions[1].available == 6_000, "the upstream may not have charged it yet"
        state.end("a", Outcome.SETTLED, Cost(1, 1_000), 0)
        assert state.snapshot(0).dimensions[1].available == 6_000, "what was charged before is not given back"

    def test_what_was_used_and_what_was_produced_is_no_estimate_any_more(self) -> None:
        state = Pool("p", PoolSettings(), 0)
        state.reserve("a", structs.replace(ONE, cost=Cost(1, 4_000, 3_000)), 0)
        state.charge("a", Cost(0, 0, 1_000), 0)
        state.learn(LimitReport(None, DimensionReport(60_000, 10_000), DimensionReport(60_000, 10_000)), 0)
        assert [one.available for one in state.snapshot(0).dimensions[1:]] == [6_000, 8_000]
        state.end("a", Outcome.SETTLED, None, 0)
        state.learn(LimitReport(None, DimensionReport(90_000, 10_000), DimensionReport(90_000, 10_000)), 0)
        assert [one.available for one in state.snapshot(0).dimensions[1:]] == [10_000, 10_000]

    def test_room_is_left_for_output_that_may_well_become_more(self) -> None:
        found = []
        for overdraw_tokens in (0, 40_000):
            state = Pool("p", PoolSettings(), 0)
            report = LimitReport(output_tokens=DimensionReport(60_000, 10_000, full_in_ns=20 * S))
            state.learn(report, 0)
            state.reserve("a", structs.replace(ONE, cost=Cost(1, 10, 1_000), overdraw_tokens=overdraw_tokens), 0)
            for _ in range(5):
                state.learn(report, 0)
            assert state.snapshot(0).dimensions[2].available == 9_000
            found.append(state.try_admit("b", structs.replace(ONE, cost=Cost(1, 10, 7_000)), 0))
        assert found == [True, False], "a tenth of what it may become"

    def test_a_report_is_no_success_and_no_429(self) -> None:
        state = Pool("p", settings(20, 5), 0)
        state.learn(LimitReport(requests=DimensionReport(20, 1)), 0)
        assert (state.snapshot(0).succeeded, state.snapshot(0).rate_limited) == (0, 0)


def test_a_pool_is_unused_until_an_answer_comes() -> None:
    state = Pool("p", settings(20, 1), 0)
    assert state.is_unused
    state.reserve("a", ONE, 0)
    assert not state.is_unused
    state.reserve("b", ONE, 0)
    state.end("a", Outcome.SETTLED, None, 0)
    assert not state.is_unused
    state.withdraw("b", 0)
    assert state.is_unused
    state.learn(Succeeded(), 0)
    assert not state.is_unused


class TestWhatTheEndOfALeaseTeaches:
    LIMITS = LimitReport(requests=DimensionReport(60, 59), input_tokens=DimensionReport(100_000, 50_000))

    def test_is_taken_in_before_it_ends(self) -> None:
        """What headers say counts what was used: the level counts it before it is compared."""
        at_once, in_steps = (Pool("p", PoolSettings(), 0) for _ in range(2))
        used = Cost(1, 7_000, 300)
        for state in (at_once, in_steps):
            state.reserve("a", Demand("p", DEFAULT_CALLER, Cost(1, 1_000, 300)), 0)
        assert at_once.end("a", Outcome.SETTLED, used, S, (self.LIMITS, Succeeded()))
        in_steps.charge("a", used, S)
        in_steps.learn(self.LIMITS, S)
        in_steps.learn(Succeeded(), S)
        assert in_steps.end("a", Outcome.SETTLED, used, S)
        assert at_once.snapshot(S) == in_steps.snapshot(S)
        assert at_once.snapshot(S).dimensions[1].upstream_per_minute == 100_000

    def test_is_taken_in_if_it_has_ended_before(self) -> None:
        state = Pool("p", PoolSettings(), 0)
        assert not state.end("gone", Outcome.SETTLED, None, 0, (self.LIMITS, Succeeded()))
        assert state.snapshot(0).succeeded == 1
        assert state.snapshot(0).dimensions[0].upstream_per_minute == 60

    def test_a_success_may_say_that_it_is_the_answer(self) -> None:
        state = Pool("p", PoolSettings(), 0)
        state.reserve("a", ONE, 0)
        assert (state.snapshot(0).probing, state.snapshot(0).unanswered) == (True, 1)
        state.learn(Succeeded(sent_ago_ns=S, lease_id="a"), S)
        assert (state.snapshot(S).probing, state.snapshot(S).unanswered) == (False, 0)


class TestConfiguring:
    def test_takes_effect_on_waiters_at_once_in_their_order(self, waited_for: Pool) -> None:
        waited_for.configure(settings(60, 5), 0)
        assert waited_for.next_in_ns(0) == S
        assert waited_for.advance(S) == ("w0",)
        assert waited_for.advance(3 * S) == ("w1", "w2")

    def test_refills_nothing(self, waited_for: Pool) -> None:
        waited_for.configure(settings(20, 500), 0)
        assert waited_for.snapshot(0).dimensions[0].available == 0
        assert waited_for.advance(0) == ()

    def test_counts_the_time_before_at_the_old_rate(self, waited_for: Pool) -> None:
        waited_for.configure(settings(60, 5), int(1.5 * S))
        assert waited_for.next_in_ns(int(1.5 * S)) == S // 2

    def test_keeps_what_was_learned(self, waited_for: Pool) -> None:
        waited_for.learn(RateLimited(), 0)
        waited_for.configure(settings(100, 5), 0)
        assert requests_per_minute(waited_for) == pytest.approx(90)

    def test_a_higher_floor_lifts_the_rate_at_once(self, waited_for: Pool) -> None:
        for _ in range(50):
            waited_for.learn(RateLimited(), 0)
        waited_for.configure(settings(20, 5, AdaptiveSettings(floor=0.5)), 0)
        assert requests_per_minute(waited_for) == 10

    def test_removing_the_limit_lets_everybody_in(self, waited_for: Pool) -> None:
        unlimited = PoolSettings(adaptive=AdaptiveSettings())
        waited_for.configure(unlimited, 0)
        assert waited_for.advance(0) == ("w0", "w1", "w2")
        assert waited_for.settings == unlimited


def test_a_report_that_comes_late_hides_no_charges_of_the_meantime() -> None:
    """It was sent at once and true within 0.1 s, but comes 2 s later, when 20 more requests were granted."""

    def available(*, age_is_known: bool) -> float:
        pool = Pool("p", PoolSettings(), now_ns=0)
        pool.reserve("first", ONE, 0)
        first = LimitReport(DimensionReport(60, 60), sent_ago_ns=0, lease_id="first")
        pool.end("first", Outcome.SETTLED, ONE_REQUEST, 0, (first,))
        pool.reserve("late", ONE, 10 * S)
        for number in range(20):
            assert pool.reserve(f"{number}", ONE, 11 * S) == GRANTED
        late = LimitReport(DimensionReport(60, 59), sent_ago_ns=2 * S if age_is_known else S // 10, lease_id="late")
        pool.end("late", Outcome.SETTLED, ONE_REQUEST, 12 * S, (late,))
        return pool.snapshot(12 * S).dimensions[0].available or 0.0

    assert available(age_is_known=False) == available(age_is_known=True) < 45
