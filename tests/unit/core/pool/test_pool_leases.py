"""A lease is charged what was really used, and ends once."""

import pytest

from tidegate.core.domain.caller import DEFAULT_CALLER, Caller, CallerLimits
from tidegate.core.domain.cause import Cause
from tidegate.core.domain.demand import GRANTED, Demand, Outcome, Refused, Wait
from tidegate.core.domain.dimension import ONE_REQUEST, Cost, Dimension
from tidegate.core.domain.events import Frozen, LeaseEnded
from tidegate.core.domain.feedback import RateLimited, Succeeded
from tidegate.core.domain.limit_report import DimensionReport, LimitReport
from tidegate.core.domain.nanoseconds import NS_PER_SECOND as S
from tidegate.core.domain.pool_settings import LimitSettings, PoolSettings
from tidegate.core.pool.pool import Pool

RESERVED = Cost(1, 4_000, 1_000)
FULL = Cost(5, 10_000, 3_000)


@pytest.fixture
def pool() -> Pool:
    """A pool with one lease, `a`; refills one unit a minute, which is nothing within these tests."""
    limits = {
        dimension: LimitSettings(per_minute=1, capacity=capacity)
        for dimension, capacity in zip(Dimension, FULL, strict=True)
    }
    state = Pool("p", PoolSettings(limits), now_ns=0)
    assert state.reserve("a", Demand("p", DEFAULT_CALLER, RESERVED), 0) == GRANTED
    return state


def charged(state: Pool) -> Cost:
    return FULL.minus(Cost(*(int(dimension.available or 0) for dimension in state.snapshot(0).dimensions)))


@pytest.mark.parametrize(
    ("outcome", "used", "final"),
    [
        (Outcome.SETTLED, Cost(1, 3_000, 1_500), Cost(1, 3_000, 1_500)),
        (Outcome.SETTLED, None, RESERVED),
        (Outcome.ABANDONED, Cost(1, 4_000, 10), Cost(1, 4_000, 10)),
        (Outcome.ABANDONED, None, RESERVED),
        (Outcome.RELEASED, None, Cost()),
        (Outcome.RELEASED, RESERVED, Cost()),
        (Outcome.THROTTLED, None, Cost()),
        (Outcome.OVERLOADED, None, Cost(1, 4_000, 0)),
        (Outcome.OVERLOADED, Cost(1, 7), Cost(1, 7)),
    ],
)
def test_each_outcome_charges_what_it_says(pool: Pool, outcome: Outcome, used: Cost | None, final: Cost) -> None:
    assert pool.end("a", outcome, used, 0)
    assert charged(pool) == final
    assert pool.drain_events() == (LeaseEnded("p", DEFAULT_CALLER, str(outcome), RESERVED, final),)
    assert pool.snapshot(0).in_flight == 0


@pytest.mark.parametrize("outcome", Outcome)
def test_lengths_are_learned_from_whole_answers_only(pool: Pool, outcome: Outcome) -> None:
    pool.end("a", outcome, Cost(1, 4_000, 700), S)
    answers = pool.dump(S).forecast.answers
    assert answers is not None
    assert answers.count == (outcome is Outcome.SETTLED)


def test_those_whose_holders_are_gone_are_abandoned_or_refused(pool: Pool) -> None:
    for lease_id in ("gone", "stays"):
        assert pool.reserve(lease_id, Demand("p", DEFAULT_CALLER, Cost(5)), 0) != GRANTED
    pool.abandon({"a", "gone"}.__contains__, 0)
    change = pool.take_changes()
    assert change is not None
    assert change.refused == (("gone", Refused(Cause.STORE_UNAVAILABLE)),)
    assert change.events == (LeaseEnded("p", DEFAULT_CALLER, "abandoned", RESERVED, RESERVED),)
    assert (pool.snapshot(0).in_flight, pool.snapshot(0).waiting) == (0, 1)


def test_a_lease_ends_once(pool: Pool) -> None:
    assert pool.end("a", Outcome.RELEASED, None, 0)
    pool.drain_events()
    for outcome in Outcome:
        assert not pool.end("a", outcome, RESERVED, 0)
    assert charged(pool) == Cost()
    assert pool.drain_events() == ()


def test_an_unknown_lease_ends_without_effect(pool: Pool) -> None:
    assert not pool.end("nobody's", Outcome.RELEASED, None, 0)
    pool.charge("nobody's", FULL, 0)
    assert charged(pool) == RESERVED


def test_a_stream_is_charged_as_it_goes_where_it_is_more(pool: Pool) -> None:
    pool.charge("a", Cost(1, 4_000, 900), 0)
    assert charged(pool) == RESERVED
    pool.charge("a", Cost(1, 4_000, 2_500), 0)
    assert charged(pool) == Cost(1, 4_000, 2_500)
    pool.charge("a", Cost(1, 4_000, 2_000), 0)
    assert charged(pool) == Cost(1, 4_000, 2_500)


def test_the_input_is_charged_as_it_is_once_it_is_known(pool: Pool) -> None:
    pool.charge("a", Cost(1, 1_500, 1), 0)
    assert charged(pool) == RESERVED._replace(input_tokens=1_500)
    pool.charge("a", Cost(0, 0, 20), 0)
    assert charged(pool) == RESERVED._replace(input_tokens=1_500)


@pytest.mark.parametrize(("outcome", "final"), [(Outcome.ABANDONED, Cost(1, 4_000, 2_500)), (Outcome.RELEASED, Cost())])
def test_what_was_charged_meanwhile_is_corrected_at_the_end(pool: Pool, outcome: Outcome, final: Cost) -> None:
    pool.charge("a", Cost(1, 4_000, 2_500), 0)
    pool.end("a", outcome, None, 0)
    assert charged(pool) == final


def test_an_overload_in_the_middle_charges_the_request_and_what_had_come(pool: Pool) -> None:
    pool.charge("a", Cost(0, 700, 300), 0)
    pool.end("a", Outcome.OVERLOADED, None, 0)
    assert charged(pool) == Cost(1, 700, 300)


def test_using_more_than_there_was_leaves_a_debt(pool: Pool) -> None:
    pool.end("a", Outcome.SETTLED, Cost(1, 12_000, 1_000), 0)
    assert charged(pool) == Cost(1, 12_000, 1_000)


def test_giving_back_never_overfills(pool: Pool) -> None:
    assert pool.snapshot(6_000 * 60 * S).dimensions[1].available == FULL.input_tokens
    pool.end("a", Outcome.RELEASED, None, 6_000 * 60 * S)
    assert pool.snapshot(6_000 * 60 * S).dimensions[1].available == FULL.input_tokens


@pytest.mark.parametrize("used", [None, Cost(1, 3_000, 800)])
def test_what_headers_say_is_taken_in_whatever_is_known_of_the_use(pool: Pool, used: Cost | None) -> None:
    assert pool.end("a", Outcome.ABANDONED, used, 0, (LimitReport(requests=DimensionReport(60, 59)),))
    assert pool.snapshot(0).dimensions[0].upstream_per_minute == 60
    assert charged(pool) == (used or RESERVED)


def test_a_429_ends_its_lease_before_it_freezes_the_pool(pool: Pool) -> None:
    pool.learn(RateLimited(7 * S, lease_id="a"), 0)
    assert pool.snapshot(0).in_flight == 0
    assert pool.drain_events()[:2] == (
        LeaseEnded("p", DEFAULT_CALLER, "throttled", RESERVED, Cost()),
        Frozen("p", 7 * S),
    )


def test_a_lease_that_was_answered_is_not_unanswered_at_its_end(pool: Pool) -> None:
    pool.learn(Succeeded(sent_ago_ns=0, lease_id="a"), 0)
    pool.end("a", Outcome.SETTLED, None, 0)
    assert pool.snapshot(0).unanswered == 0


def test_a_demand_that_settles_at_once_is_given_back_when_it_is_released(pool: Pool) -> None:
    cost = Cost(1, 2_000, 500)
    shares = pool.snapshot(0).dimensions
    pool.reserve("b", Demand("p", DEFAULT_CALLER, cost, settle_at_once=True), 0)
    pool.release("b", 0)
    assert charged(pool) == RESERVED
    assert pool.snapshot(0).dimensions == shares, "the shares that were used as well"


def test_a_demand_that_settles_at_once_waits_for_no_answer(pool: Pool) -> None:
    demand = Demand("p", DEFAULT_CALLER, ONE_REQUEST, settle_at_once=True)
    pool.learn(Succeeded(sent_ago_ns=0), 0)
    assert pool.reserve("b", demand, 0) == GRANTED
    snapshot = pool.snapshot(0)
    assert (snapshot.in_flight, snapshot.unanswered) == (2, 1)
    pool.learn(Succeeded(sent_ago_ns=0, lease_id="b"), 0)
    assert pool.end("b", Outcome.SETTLED, None, 0)
    assert pool.snapshot(0).unanswered == 1
    assert pool.try_admit("c", demand, 0)
    assert not pool.end("c", Outcome.RELEASED, None, 0), "it was settled in the step that admitted it"


def test_correcting_refills_up_to_now_first(pool: Pool) -> None:
    pool.end("a", Outcome.SETTLED, RESERVED.minus(Cost(0, 100, 0)), 60 * S)
    assert pool.snapshot(60 * S).dimensions[1].available == 6_000 + 1 + 100


def test_the_oldest_lease_is_the_first_that_has_not_ended(pool: Pool) -> None:
    pool.reserve("b", Demand("p", DEFAULT_CALLER, ONE_REQUEST), 2 * S)
    assert pool.snapshot(5 * S).oldest_lease_seconds == 5
    pool.end("a", Outcome.SETTLED, None, 5 * S)
    assert pool.snapshot(5 * S).oldest_lease_seconds == 3
    pool.end("b", Outcome.SETTLED, None, 5 * S)
    assert pool.snapshot(5 * S).oldest_lease_seconds is None


def test_a_lease_that_was_charged_elsewhere_is_charged_only_what_is_more(pool: Pool) -> None:
    before = charged(pool)
    held = Demand("p", DEFAULT_CALLER, Cost(1, 1_000, 100))
    pool.hold("b", held, Cost(0, 900, 300), 0)
    assert (charged(pool), pool.snapshot(0).in_flight) == (before, 2)
    pool.hold("b", held, Cost(), 0)
    pool.charge("b", Cost(1, 950, 400), 0)
    assert charged(pool).minus(before) == Cost(0, 50, 100)
    assert pool.end("b", Outcome.SETTLED, Cost(1, 950, 250), 0)
    assert charged(pool).minus(before) == Cost(0, 50, -50)


@pytest.mark.parametrize(
    ("known", "charged", "still_open"),
    [
        (Cost(0, 900, 300), Cost(1, 900, 300), (0, 0)),
        (Cost(0, 900, 30), Cost(1, 900, 100), (0, 70)),
        (Cost(0, 0, 30), Cost(1, 1_000, 100), (1_000, 70)),
    ],
)
def test_what_is_known_of_a_lease_that_was_charged_elsewhere_is_no_estimate(
    pool: Pool, known: Cost, charged: Cost, still_open: tuple[int, int]
) -> None:
    pool.hold("b", Demand("p", DEFAULT_CALLER, Cost(1, 1_000, 100)), known, 0)
    lease = pool._book.leases["b"]
    assert (lease.charged, (lease.open_input_tokens, lease.open_output_tokens)) == (charged, still_open)


def test_by_how_much_the_output_may_become_larger_is_learned_of_the_output_alone() -> None:
    learned = []
    for overdraw_tokens in (0, 1_000):
        state, report = Pool("p", PoolSettings(), 0), DimensionReport(60_000, 9_000, S)
        state.learn(LimitReport(report, report, report), 0)
        state.reserve("a", Demand("p", DEFAULT_CALLER, Cost(1, 10, 10), overdraw_tokens=overdraw_tokens), 0)
        learned.append(state.dump(0).quota.limits.limits)
    assert [one == other for one, other in zip(*learned, strict=True)] == [True, True, False]


def test_a_waiter_becomes_a_lease_that_was_granted_elsewhere(pool: Pool) -> None:
    demand = Demand("p", DEFAULT_CALLER, Cost(5))
    assert pool.reserve("b", demand, 0) != GRANTED
    pool.hold("b", demand, Cost(), 0)
    assert (pool.snapshot(0).waiting, pool.snapshot(0).in_flight, pool.snapshot(0).unanswered) == (0, 2, 2)
    pool.learn(Succeeded(0, "b"), 0)
    pool.hold("c", demand, Cost(0, 4), 0)
    pool.hold("d", Demand("p", DEFAULT_CALLER, Cost(1), settle_at_once=True), Cost(), 0)
    assert (pool.snapshot(0).in_flight, pool.snapshot(0).unanswered) == (4, 1)


def test_a_held_lease_counts_for_its_callers_own_limit() -> None:
    state = Pool("p", PoolSettings(), 0)
    demand = Demand("p", Caller("ann", limits=CallerLimits(max_concurrent=1)), Cost(1))
    state.hold("a", demand, Cost(), 0)
    assert state.reserve("b", demand, 0) == Wait(0, "caller_limit")
    assert state.end("a", Outcome.SETTLED, Cost(1), 0)
    assert state.advance(0) == ("b",)


def test_a_held_lease_is_in_flight_for_a_rate_that_is_searched() -> None:
    state = Pool("claude-sonnet", PoolSettings(), 0)
    state.learn(LimitReport(), 0)
    state.hold("a", Demand("claude-sonnet", DEFAULT_CALLER, Cost(1, 10, 10)), Cost(), 0)
    assert state.dump_work(0).quota.searched_in_flight == 1
    state.end("a", Outcome.SETTLED, Cost(1, 10, 10), 0)
    assert state.dump_work(0).quota.searched_in_flight == 0


def test_a_drained_pool_has_nothing_available_and_keeps_its_debt(pool: Pool) -> None:
    pool.limits.drain(0)
    assert charged(pool) == FULL
    pool.charge("a", Cost(1, 15_000), 0)
    before = charged(pool)
    pool.limits.drain(0)
    assert charged(pool) == before
