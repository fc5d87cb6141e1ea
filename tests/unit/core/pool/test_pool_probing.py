"""A pool that learns finds out with single requests: at its beginning, in an outage, and after a silence."""

import pytest
from msgspec import structs

from tidegate.core.domain.caller import DEFAULT_CALLER
from tidegate.core.domain.cause import Cause
from tidegate.core.domain.demand import GRANTED, Demand, Outcome, Refused, Wait
from tidegate.core.domain.dimension import ONE_REQUEST, Cost, Dimension
from tidegate.core.domain.events import CircuitClosed, CircuitOpened
from tidegate.core.domain.feedback import Failed, RateLimited, SpendCapped, Succeeded
from tidegate.core.domain.limit_report import DimensionReport, LimitReport
from tidegate.core.domain.nanoseconds import NS_PER_SECOND as S
from tidegate.core.domain.pool_settings import AdaptiveSettings, LimitSettings, PoolSettings
from tidegate.core.pool.pool import Pool

ONE = Demand("p", DEFAULT_CALLER, ONE_REQUEST)
TOKENS = structs.replace(ONE, cost=Cost(1, 1_000))
PLENTY = LimitReport(DimensionReport(6_000, 6_000))
TOKENS_KNOWN = LimitReport(input_tokens=DimensionReport(60_000, 10_000, full_in_ns=20 * S))


class TestBeginning:
    @pytest.fixture
    def begun(self) -> Pool:
        """A pool of which nothing is known, with a probe on its way and three who wait for it."""
        state = Pool("p", PoolSettings(), 0)
        assert state.reserve("probe", ONE, 0) == GRANTED
        for number in range(3):
            assert state.reserve(f"w{number}", ONE, 0) == Wait(S // 4)
        return state

    def test_one_request_goes_and_all_others_wait_for_its_answer(self, begun: Pool) -> None:
        assert begun.advance(S // 8) == ()
        assert begun.snapshot(S // 8).probing
        assert begun.next_in_ns(S // 8) == S // 8

    def test_its_answer_lets_everybody_in(self, begun: Pool) -> None:
        begun.learn(PLENTY, S)
        assert begun.advance(S) == ("w0", "w1", "w2")
        assert not begun.snapshot(S).probing

    def test_an_answer_without_headers_does_so_too_at_a_rate_that_is_searched(self, begun: Pool) -> None:
        begun.learn(LimitReport(sent_ago_ns=S), S)
        assert begun.advance(S) == ("w0",)
        assert begun.next_in_ns(S) == S // 2, "two a second, to begin with"
        assert begun.snapshot(S).dimensions[0].binding == "adaptive"

    def test_an_answer_to_what_was_sent_before_a_429_tells_nothing_about_now(self, begun: Pool) -> None:
        begun.learn(RateLimited(sent_ago_ns=0), S)
        begun.learn(Succeeded(sent_ago_ns=S), S + S // 4)
        assert begun.snapshot(S + S // 4).probing
        begun.learn(Succeeded(sent_ago_ns=S), 2 * S)
        assert not begun.snapshot(2 * S).probing

    def test_an_error_with_headers_is_no_answer(self, begun: Pool) -> None:
        begun.learn(structs.replace(PLENTY, answered=False), S // 8)
        assert begun.advance(S // 8) == ()
        assert begun.snapshot(S // 8).probing

    def test_a_probe_that_ends_without_an_answer_is_followed_by_the_next(self, begun: Pool) -> None:
        begun.learn(Failed(sent_ago_ns=S // 8), S // 8)
        begun.end("probe", Outcome.OVERLOADED, None, S // 8)
        assert begun.advance(S // 8) == ("w0",)
        assert begun.advance(S // 4) == ()

    def test_a_probe_that_takes_long_is_followed_by_the_next(self, begun: Pool) -> None:
        assert begun.advance(S // 4 - 1) == ()
        assert begun.advance(S // 4) == ("w0",)
        assert begun.next_in_ns(S // 4) == S // 4

    def test_a_configured_limit_says_nothing_about_the_upstreams_bucket(self) -> None:
        state = Pool("p", PoolSettings({Dimension.REQUESTS: LimitSettings(600, 600)}), 0)
        assert [state.reserve(f"{n}", ONE, 0) for n in range(2)] == [GRANTED, Wait(S // 10)]
        assert state.snapshot(0).probing
        state.learn(LimitReport(DimensionReport(600, 99, full_in_ns=S)), 0)
        assert state.advance(0) == ("1",)

    @pytest.mark.parametrize("limits", [{}, {Dimension.REQUESTS: LimitSettings(60, 5)}])
    def test_configuring_the_pool_does_not_end_it(self, begun: Pool, limits: dict[Dimension, LimitSettings]) -> None:
        begun.configure(PoolSettings(limits), 0)
        assert begun.advance(0) == ()
        assert begun.snapshot(0).probing

    def test_a_pool_that_begins_to_learn_begins_with_a_probe(self) -> None:
        state = Pool("p", PoolSettings({Dimension.REQUESTS: LimitSettings(60, 1)}, AdaptiveSettings()), 0)
        for lease_id in ("a", "w0", "w1"):
            state.reserve(lease_id, ONE, 0)
        state.configure(PoolSettings(), 0)
        assert state.advance(0) == ("w0",)
        assert state.snapshot(0).probing


class TestAfterRefusal:
    """Where headers tell limits, a 429 is followed by one probe, and no other goes until that is answered."""

    @pytest.fixture
    def thawed(self) -> Pool:
        """A pool at its thaw after a 429: forty older requests are under way, a hundred wait, one probe has gone."""
        state = Pool("p", PoolSettings(), 0)
        state.learn(PLENTY, 0)
        for number in range(41):
            assert state.reserve(f"old{number}", ONE, 0) == GRANTED
        state.learn(RateLimited(S, sent_ago_ns=S, lease_id="old40"), S)
        for number in range(100):
            assert isinstance(state.reserve(f"w{number}", ONE, S), Wait)
        assert state.advance(2 * S) == ("w0",)
        return state

    @pytest.mark.parametrize("outcome", [Outcome.SETTLED, Outcome.RELEASED, Outcome.ABANDONED])
    def test_no_second_probe_goes_when_older_requests_end(self, thawed: Pool, outcome: Outcome) -> None:
        granted: list[str] = []
        for number in range(40):
            now_ns = 2 * S + (number + 1) * S // 1_000
            thawed.end(f"old{number}", outcome, None, now_ns)
            granted += thawed.advance(now_ns)
        assert granted == []

    def test_no_second_probe_goes_when_older_requests_are_refused(self, thawed: Pool) -> None:
        for number in range(40):
            now_ns = 2 * S + (number + 1) * S // 1_000
            thawed.learn(RateLimited(sent_ago_ns=now_ns, lease_id=f"old{number}"), now_ns)
            assert thawed.advance(now_ns) == ()
        thawed.learn(structs.replace(PLENTY, sent_ago_ns=S // 2, lease_id="w0"), 2 * S + S // 2)
        assert len(thawed.advance(2 * S + S // 2)) > 1, "the probe was sent after the thaw: its answer counts"

    def test_the_next_goes_when_the_probe_itself_ends_without_an_answer(self, thawed: Pool) -> None:
        thawed.end("w0", Outcome.RELEASED, None, 2 * S + 1)
        assert thawed.advance(2 * S + 1) == ("w1",)

    @pytest.mark.parametrize("limits", [{}, {Dimension.REQUESTS: LimitSettings(6_000, 6_000)}])
    def test_configuring_the_pool_does_not_end_it(self, thawed: Pool, limits: dict[Dimension, LimitSettings]) -> None:
        thawed.configure(PoolSettings(limits), 2 * S)
        assert thawed.snapshot(2 * S).probing
        assert thawed.advance(2 * S) == ()

    def test_a_pool_that_does_not_learn_does_not_probe(self, thawed: Pool) -> None:
        thawed.configure(PoolSettings(adaptive=AdaptiveSettings()), 2 * S)
        assert not thawed.snapshot(2 * S).probing
        assert len(thawed.advance(2 * S)) == 99


class TestOutage:
    @pytest.fixture
    def failing(self) -> Pool:
        """A pool that had an answer, then five failures; ten wait, nothing is in flight."""
        state = Pool("p", PoolSettings(), 0)
        state.learn(PLENTY, 0)
        state.drain_events()
        for _ in range(5):
            state.learn(Failed(sent_ago_ns=S), 2 * S)
        for number in range(3):
            state.reserve(f"w{number}", ONE, 2 * S)
        return state

    def test_four_failures_are_bad_luck(self) -> None:
        state = Pool("p", PoolSettings(), 0)
        state.learn(PLENTY, 0)
        for _ in range(4):
            state.learn(Failed(sent_ago_ns=S), 2 * S)
        assert (state.snapshot(2 * S).probing, state.snapshot(2 * S).open_circuits) == (False, {})

    def test_five_in_a_row_pause_the_pool_then_one_request_goes(self, failing: Pool) -> None:
        assert failing.drain_events() == (CircuitOpened("p", Cause.UPSTREAM_OUTAGE, None),)
        snapshot = failing.snapshot(2 * S)
        assert (snapshot.probing, snapshot.frozen_seconds, snapshot.open_circuits) == (
            True,
            0.0,
            {"upstream_outage": 0.25},
        )
        assert failing.next_in_ns(2 * S) == S // 4
        assert failing.advance(2 * S + S // 4) == ("w0",)
        assert failing.next_in_ns(2 * S + S // 4) == 2 * S

    def test_an_answer_ends_it(self, failing: Pool) -> None:
        failing.advance(3 * S)
        failing.learn(structs.replace(PLENTY, lease_id="w0"), 3 * S)
        assert failing.advance(3 * S) == ("w1", "w2")
        assert failing.drain_events()[-1] == CircuitClosed("p", Cause.UPSTREAM_OUTAGE)

    def test_an_answer_to_what_was_sent_before_does_not(self, failing: Pool) -> None:
        failing.learn(structs.replace(PLENTY, sent_ago_ns=S), 2 * S + S // 2)
        assert failing.snapshot(3 * S).probing

    def test_older_requests_that_end_let_no_second_probe_go(self) -> None:
        state = Pool("p", PoolSettings(), 0)
        state.learn(PLENTY, 0)
        for number in range(10):
            state.reserve(f"old{number}", ONE, 0)
        for _ in range(5):
            state.learn(Failed(sent_ago_ns=S), 2 * S)
        for number in range(10):
            state.reserve(f"w{number}", ONE, 2 * S)
        assert state.advance(3 * S) == ("w0",)
        for number in range(10):
            state.end(f"old{number}", Outcome.SETTLED, None, 3 * S)
        assert state.advance(3 * S) == ()

    def test_a_waiter_whose_patience_ends_in_an_outage_is_told_of_it(self, failing: Pool) -> None:
        refused = failing.withdraw("w1", 2 * S)
        assert refused is not None
        assert (refused.cause, refused.retry_after_ns) == (Cause.UPSTREAM_OUTAGE, S // 4)


class TestSilence:
    """A pool that sends nothing learns nothing: after a while one request goes despite competing traffic."""

    @pytest.fixture
    def silent(self) -> Pool:
        """At 4 s: others seem to take nearly all of 1,000 tokens a second; two wait, nothing is in flight."""
        state = Pool("p", PoolSettings(), 0)
        for step in range(9):
            missing = 1_000 * (step + 1)
            report = DimensionReport(60_000, 10_000 - missing, full_in_ns=missing * S // 1_000 + S // 2)
            state.learn(LimitReport(input_tokens=report), step * S // 2)
        assert state.reserve("a", ONE, 4 * S) == GRANTED
        state.end("a", Outcome.SETTLED, None, 4 * S)
        for number in range(2):
            assert isinstance(state.reserve(f"w{number}", structs.replace(ONE, cost=Cost(1, 3_000)), 4 * S), Wait)
        return state

    def test_is_broken_by_one_request_once_it_fits_if_nobody_else_has_taken_any(self, silent: Pool) -> None:
        wait_ns = silent.next_in_ns(4 * S) or 0
        assert 3 * S < wait_ns < 4 * S, "beside others it takes five times as long"
        assert silent.advance(4 * S + wait_ns - S // 1_000) == ()
        assert silent.advance(4 * S + wait_ns) == ("w0",)

    def test_lasts_two_seconds_at_least(self, silent: Pool) -> None:
        silent.release("w0", 4 * S)
        silent.release("w1", 4 * S)
        silent.reserve("small", structs.replace(ONE, cost=Cost(1, 100)), 4 * S)
        assert silent.next_in_ns(4 * S) == 2 * S

    @pytest.mark.parametrize(("used", "seconds"), [(30_000, 22), (300_000, 60)])
    def test_lasts_as_long_as_it_takes_to_pay_off_what_we_owe_but_no_longer_than_a_minute(
        self, used: int, seconds: int
    ) -> None:
        state = Pool("p", PoolSettings(), 0)
        state.learn(TOKENS_KNOWN, 0)
        state.reserve("a", ONE, 0)
        state.end("a", Outcome.SETTLED, Cost(1, used), 0)
        state.reserve("w0", structs.replace(ONE, cost=Cost(1, 1)), 0)  # beside the margin, which is worth 2 s
        assert seconds * S <= (state.next_in_ns(0) or 0) < (seconds + 1) * S

    def test_is_not_waited_for_where_the_level_suffices_sooner(self) -> None:
        state = Pool("p", PoolSettings(), 0)
        state.learn(LimitReport(requests=DimensionReport(60, 0)), 0)
        state.reserve("w0", TOKENS, 0)
        assert state.next_in_ns(0) == S, "a second's worth is all that the bucket holds"
        assert state.advance(S) == ("w0",)

    def test_waits_for_the_answer_to_that_request(self, silent: Pool) -> None:
        silent.advance(8 * S)
        assert silent.advance(12 * S) == ()
        assert (silent.next_in_ns(12 * S) or 0) > 10 * S, "something is in flight: the levels alone count"
        silent.end("w0", Outcome.RELEASED, None, 12 * S)
        assert silent.advance(12 * S) == ("w1",)

    def test_is_broken_at_once_by_the_next_when_nothing_was_sent_for_long(self, silent: Pool) -> None:
        assert silent.advance(11 * S) == ("w0",), "and no more than one"

    def test_is_kept_during_a_freeze(self, silent: Pool) -> None:
        silent.learn(RateLimited(6 * S), 4 * S)
        assert silent.next_in_ns(4 * S) == 6 * S
        assert silent.advance(9 * S) == ()
        assert silent.advance(10 * S) == ("w0",)

    def test_is_kept_where_an_operator_has_set_the_limit(self) -> None:
        state = Pool("p", PoolSettings({Dimension.REQUESTS: LimitSettings(1, 1)}), 0)
        assert state.try_admit("a", structs.replace(ONE, settle_at_once=True), 0)
        state.reserve("w0", ONE, 0)
        assert state.next_in_ns(0) == 60 * S
        assert state.advance(60 * S - 1) == ()
        assert state.advance(60 * S) == ("w0",)

    def test_another_dimension_that_is_configured_changes_nothing(self, silent: Pool) -> None:
        silent.configure(PoolSettings({Dimension.OUTPUT_TOKENS: LimitSettings(1, 1)}), 4 * S)
        assert silent.advance(8 * S) == ("w0",)

    def test_is_never_broken_in_a_pool_that_does_not_learn(self, silent: Pool) -> None:
        silent.configure(PoolSettings(adaptive=AdaptiveSettings()), 4 * S)
        assert silent.advance(8 * S) == ()
        assert (silent.next_in_ns(8 * S) or 0) > 5 * S

    def test_a_slope_is_kept(self) -> None:
        state = Pool("p", PoolSettings(), 0)
        state.learn(PLENTY, 0)
        state.learn(RateLimited(acceleration=True, sent_ago_ns=0), 60 * S)
        assert state.reserve("a", ONE, 60 * S) == GRANTED
        state.end("a", Outcome.SETTLED, None, 60 * S)
        state.reserve("w0", ONE, 60 * S)
        assert state.advance(63 * S) == (), "one a minute, as long as no more was ever accepted"
        assert (state.next_in_ns(63 * S) or 0) > 0


class TestSpendCap:
    """Nothing can be had until the cap ends: nobody waits in vain."""

    def test_waiters_and_new_requests_are_refused_at_once(self) -> None:
        state = Pool("p", PoolSettings(), 0)
        assert state.reserve("first", ONE, 0) == GRANTED
        state.reserve("a", ONE, 0)
        state.reserve("b", structs.replace(ONE, front=True), 0)
        state.learn(SpendCapped(3_600 * S), S)
        refused = Refused(Cause.SPEND_CAP, 3_600 * S)
        change = state.take_changes()
        assert change is not None
        assert sorted(change.refused) == [("a", refused), ("b", refused)]
        assert CircuitOpened("p", Cause.SPEND_CAP, 3_600 * S) in change.events
        assert state.take_changes() is None
        assert state.reserve("late", ONE, 2 * S) == Refused(Cause.SPEND_CAP, 3_599 * S)
        assert state.next_in_ns(0) is None
        assert state.snapshot(2 * S).open_circuits == {"spend_cap": 3_599.0}

    def test_closes_at_the_date(self) -> None:
        state = Pool("p", PoolSettings(), 0)
        state.learn(SpendCapped(60 * S), 0)
        state.learn(SpendCapped(60 * S), 1)
        assert state.drain_events() == (CircuitOpened("p", Cause.SPEND_CAP, 60 * S),)
        assert state.snapshot(61 * S).open_circuits == {}
        assert state.reserve("a", ONE, 61 * S) == GRANTED
        assert state.drain_events() == (CircuitClosed("p", Cause.SPEND_CAP),)

    def test_a_probe_that_is_answered_closes_it(self) -> None:
        state = Pool("p", PoolSettings(), 0)
        state.learn(SpendCapped(), 0)
        assert state.reserve("early", ONE, 59 * S) == Refused(Cause.SPEND_CAP, S)
        assert state.reserve("probe", ONE, 60 * S) == GRANTED
        assert state.reserve("other", ONE, 60 * S) == Refused(Cause.SPEND_CAP, 120 * S)
        state.drain_events()
        state.learn(structs.replace(PLENTY, sent_ago_ns=S), 61 * S)
        assert CircuitClosed("p", Cause.SPEND_CAP) in state.drain_events()
        assert state.reserve("a", ONE, 61 * S) == GRANTED

    @pytest.mark.parametrize("ends_in_ns", [None, 60 * S])
    def test_an_operator_ends_it_by_configuring_the_pool(self, ends_in_ns: int | None) -> None:
        state = Pool("p", PoolSettings(), 0)
        state.learn(SpendCapped(ends_in_ns), 0)
        state.configure(PoolSettings(), S)
        assert state.drain_events()[-1] == CircuitClosed("p", Cause.SPEND_CAP)
        assert state.reserve("a", ONE, S) == GRANTED
        state.configure(PoolSettings(), S)
        assert not state.drain_events()

    def test_an_error_with_headers_is_no_answer(self) -> None:
        state = Pool("p", PoolSettings(), 0)
        state.learn(SpendCapped(), 0)
        state.learn(structs.replace(PLENTY, answered=False), S)
        assert state.snapshot(S).open_circuits == {"spend_cap": 59.0}
