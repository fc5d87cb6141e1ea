"""Failed requests that come back to a pool: ahead of all others, within the budget, and never refused."""

import pytest
from msgspec import structs

from tidegate.core.domain.caller import DEFAULT_CALLER, Caller, Priority
from tidegate.core.domain.cause import Cause
from tidegate.core.domain.demand import GRANTED, Demand, Outcome, Refused, Wait
from tidegate.core.domain.dimension import ONE_REQUEST, Cost, Dimension
from tidegate.core.domain.feedback import Failed, SpendCapped
from tidegate.core.domain.limit_report import DimensionReport, LimitReport
from tidegate.core.domain.nanoseconds import NS_PER_SECOND as S
from tidegate.core.domain.pool_settings import AdaptiveSettings, LimitSettings, PoolSettings
from tidegate.core.pool.pool import Pool
from tidegate.core.ports.store import Change

ONE = Demand("p", DEFAULT_CALLER, ONE_REQUEST)
RETRY = structs.replace(ONE, retry=True)
PLENTY = LimitReport(DimensionReport(60_000, 60_000))
WINDOW = 300 * S


@pytest.fixture
def state() -> Pool:
    """A pool with plenty of quota, and one answer."""
    state = Pool("p", PoolSettings(), 0)
    state.learn(PLENTY, 0)
    return state


def spend_budget(state: Pool, now_ns: int = 0) -> None:
    """Uses up what may be repeated: the ten that always may, and a probe."""
    for number in range(11):
        assert state.reserve(f"spent-{number}", RETRY, now_ns) == GRANTED
        state.end(f"spent-{number}", Outcome.RELEASED, None, now_ns)


def test_within_the_budget_it_goes_at_once(state: Pool) -> None:
    assert state.reserve("r", RETRY, 0) == GRANTED
    assert state.snapshot(0).retries_left == pytest.approx(9.1)


def test_beyond_it_waits_and_others_go_on(state: Pool) -> None:
    spend_budget(state)
    assert state.reserve("r1", RETRY, 0) == Wait(5 * S)
    assert state.reserve("r2", RETRY, 0).binding == "retry_budget"  # type: ignore[union-attr]
    assert state.next_in_ns(0) is not None
    assert state.reserve("new", ONE, 0) == GRANTED
    snapshot = state.snapshot(0)
    assert (snapshot.waiting, snapshot.retries_waiting) == (2, 2)


def test_successes_let_the_next_go_in_their_order(state: Pool) -> None:
    spend_budget(state)
    state.reserve("r1", RETRY, 0)
    state.reserve("r2", RETRY, 0)
    for _ in range(9):
        state.learn(PLENTY, S)
    assert state.advance(S) == ("r1",)
    for _ in range(10):
        state.learn(PLENTY, S)
    assert state.advance(S) == ("r2",)
    assert state.next_in_ns(0) is None


def test_beyond_the_budget_one_goes_every_five_seconds_as_a_probe(state: Pool) -> None:
    spend_budget(state)
    state.reserve("r1", RETRY, 0)
    state.reserve("r2", RETRY, 0)
    assert state.next_in_ns(S) == 4 * S
    assert state.advance(5 * S - 1) == ()
    assert state.advance(5 * S) == ("r1",)
    assert state.next_in_ns(5 * S) == 5 * S
    assert state.advance(10 * S) == ("r2",)
    assert state.snapshot(10 * S).retries_left == pytest.approx(0.1), "probes cost nothing"


def test_time_gives_the_budget_back(state: Pool) -> None:
    spend_budget(state)
    assert state.reserve("r0", RETRY, WINDOW - 1) == GRANTED, "as a probe"
    for number in range(1, 3):
        state.reserve(f"r{number}", RETRY, WINDOW - 1)
    assert state.advance(WINDOW) == ("r1", "r2")


def test_in_an_outage_it_is_the_probe_at_no_cost_and_before_all_others(state: Pool) -> None:
    for _ in range(5):
        state.learn(Failed(0), S)
    state.reserve("new", ONE, S)
    state.reserve("r", RETRY, S)
    left = state.snapshot(S).retries_left
    assert state.advance(S + S // 4) == ("r",)
    assert state.snapshot(S).retries_left == left
    assert state.snapshot(S).retries_waiting == 0


def test_it_goes_ahead_of_all_others_who_wait_for_quota() -> None:
    state = Pool("p", PoolSettings({Dimension.REQUESTS: LimitSettings(60, 1)}), 0)
    state.learn(PLENTY, 0)
    assert state.reserve("a", ONE, 0) == GRANTED
    state.reserve("b", ONE, 0)
    assert state.reserve("r", RETRY, 0) == Wait(S)
    assert state.next_in_ns(0) == S
    assert state.advance(S) == ("r",)
    assert state.end("r", Outcome.SETTLED, None, S)
    assert state.advance(2 * S) == ("b",)


def test_nobody_goes_before_one_that_waits_for_quota_alone() -> None:
    state = Pool("p", PoolSettings({Dimension.REQUESTS: LimitSettings(60, 4)}, AdaptiveSettings()), 0)
    state.reserve("a", structs.replace(ONE, cost=Cost(3)), 0)
    wait = state.reserve("big", structs.replace(RETRY, cost=Cost(3)), 0)
    assert isinstance(wait, Wait)
    assert (wait.predicted_ns, wait.binding) == (2 * S, "requests")
    state.reserve("small", ONE, 0)
    assert state.advance(S) == ()
    assert state.advance(3 * S) == ("big", "small")


def test_a_retry_that_waits_for_quota_is_not_looked_at_in_a_loop() -> None:
    limits = {Dimension.INPUT_TOKENS: LimitSettings(60_000, 60_000)}
    state = Pool("p", PoolSettings(limits, AdaptiveSettings()), 0)
    state.reserve("all", structs.replace(ONE, cost=Cost(1, 60_000)), 0)
    state.reserve("large", structs.replace(RETRY, cost=Cost(1, 50_000)), 0)
    state.reserve("small", structs.replace(ONE, cost=Cost(1, 100)), 0)
    assert state.advance(S) == ()
    assert state.next_in_ns(S) == 49 * S, "a small one that would fit does not overtake it"


def test_retries_of_a_lower_class_hold_up_a_higher_one_by_one_of_them_at_most() -> None:
    limits = {Dimension.INPUT_TOKENS: LimitSettings(60_000, 60_000)}
    state = Pool("p", PoolSettings(limits, AdaptiveSettings()), 0)
    state.reserve("all", structs.replace(ONE, cost=Cost(1, 60_000)), 0)
    night = structs.replace(RETRY, caller=Caller("night", priority=Priority.BATCH), cost=Cost(1, 55_000))
    for number in range(10):
        state.reserve(f"night-{number}", night, 0)
    assert state.advance(S) == ()
    person = Demand("p", Caller("person", priority=Priority.INTERACTIVE), Cost(1, 100), patience_ns=30 * S)
    waits = state.reserve("person", person, S)
    assert waits == Wait(0), "nothing of a lower class goes before it"
    assert state.advance(S) == ("person",)


def test_a_retry_sets_an_earlier_timer_only_if_it_is_the_next(state: Pool) -> None:
    spend_budget(state)
    state.take_changes()
    state.reserve("r1", RETRY, 0)
    assert state.take_changes() == Change("p", next_in_ns=5 * S)
    state.reserve("r2", RETRY, 0)
    assert state.take_changes() is None


def test_it_is_never_refused_for_the_wait(state: Pool) -> None:
    spend_budget(state)
    assert isinstance(state.reserve("r", structs.replace(RETRY, patience_ns=1), 0), Wait)


def test_its_patience_may_end(state: Pool) -> None:
    spend_budget(state)
    state.reserve("r", RETRY, 0)
    refused = state.withdraw("r", S)
    assert isinstance(refused, Refused)
    assert refused.cause is Cause.DEADLINE
    assert state.withdraw("r", S) is None
    assert state.next_in_ns(0) is None


def test_it_may_be_released(state: Pool) -> None:
    spend_budget(state)
    state.reserve("r", RETRY, 0)
    state.release("r", 0)
    assert state.next_in_ns(0) is None


def test_a_spend_cap_refuses_it(state: Pool) -> None:
    spend_budget(state)
    state.reserve("r", RETRY, 0)
    state.learn(SpendCapped(), S)
    change = state.take_changes()
    assert change is not None
    assert change.refused == (("r", Refused(Cause.SPEND_CAP, 60 * S)),)
    assert state.reserve("late", RETRY, S) == Refused(Cause.SPEND_CAP, 60 * S)


class TestConcurrency:
    @pytest.fixture
    def limited(self) -> Pool:
        """A pool in which four may be unanswered, and one is."""
        state = Pool("p", PoolSettings(), 0)
        state.learn(PLENTY, 0)
        for number in range(2):
            assert state.reserve(f"{number}", ONE, 0) == GRANTED
        state.learn(Failed(0), S)
        state.end("0", Outcome.OVERLOADED, None, S)
        return state

    def test_the_heads_of_answers_make_room(self, limited: Pool) -> None:
        snapshot = limited.snapshot(S)
        assert (snapshot.in_flight, snapshot.unanswered, snapshot.concurrency_limit) == (1, 1, 4)
        assert [limited.reserve(name, ONE, S) for name in "abc"] == [GRANTED] * 3
        wait = limited.reserve("d", ONE, S)
        assert isinstance(wait, Wait)
        assert wait.binding == "concurrency"
        assert limited.next_in_ns(S) == S, "a fallback, in case that no answer wakes it"
        limited.learn(structs.replace(PLENTY, lease_id="a"), S)
        assert limited.advance(S) == ("d",)
        limited.learn(structs.replace(PLENTY, lease_id="a"), S)
        assert limited.snapshot(S).unanswered == 4, "each answer counts once"

    def test_is_forgotten_when_all_is_well_for_half_a_minute(self, limited: Pool) -> None:
        assert limited.snapshot(33 * S).concurrency_limit is None
        results = [limited.reserve(f"w{number}", ONE, 33 * S) for number in range(40)]
        assert results == [GRANTED] * 40

    def test_what_is_settled_at_once_is_not_counted(self) -> None:
        state = Pool("p", PoolSettings(), 0)
        state.reserve("a", structs.replace(ONE, settle_at_once=True), 0)
        assert state.snapshot(0).unanswered == 0


def test_a_deadline_that_an_outage_outlasts_is_refused_as_an_outage() -> None:
    state = Pool("p", PoolSettings({Dimension.REQUESTS: LimitSettings(60, 1)}), 0)
    for _ in range(5):
        state.learn(Failed(0), S)
    state.reserve("a", structs.replace(ONE, cost=Cost(1)), S)
    state.reserve("b", structs.replace(ONE, cost=Cost(1)), S)
    refused = state.reserve("c", structs.replace(ONE, patience_ns=1), S)
    assert isinstance(refused, Refused)
    assert refused.cause is Cause.UPSTREAM_OUTAGE


def test_in_an_outage_who_has_time_left_probes_where_those_in_front_have_none() -> None:
    state = Pool("p", PoolSettings(), 0)
    state.learn(PLENTY, 0)
    for _ in range(5):
        state.learn(Failed(0), S)
    for name, patience_s in (("front", 6), ("second", 60), ("third", 20)):
        state.reserve(name, structs.replace(ONE, patience_ns=patience_s * S), S)
    assert state.advance(3 * S) == ("second",)
    state.end("second", Outcome.OVERLOADED, None, 3 * S)
    assert state.advance(3 * S) == ("third",)


def test_in_an_outage_the_patience_of_a_retry_counts_from_when_it_came_back() -> None:
    state = Pool("p", PoolSettings(), 0)
    state.learn(PLENTY, 0)
    for _ in range(5):
        state.learn(Failed(0), 60 * S)
    state.reserve("r", structs.replace(RETRY, patience_ns=20 * S), 60 * S)
    state.reserve("new", structs.replace(ONE, patience_ns=30 * S), 60 * S)
    assert state.advance(61 * S) == ("r",)


def test_in_an_outage_who_has_time_left_does_not_probe_beyond_the_quota() -> None:
    state = Pool("p", PoolSettings(), 0)
    state.learn(PLENTY, 0)
    state.reserve("before", structs.replace(ONE, cost=Cost(30_000), settle_at_once=True), 0)
    for _ in range(5):
        state.learn(Failed(0), S)
    state.reserve("front", structs.replace(ONE, patience_ns=6 * S), S)
    state.reserve("huge", structs.replace(ONE, cost=Cost(50_000), patience_ns=600 * S), S)
    assert state.advance(3 * S) == ("front",)


def test_in_an_outage_the_order_stays_where_there_is_time() -> None:
    state = Pool("p", PoolSettings(), 0)
    state.learn(PLENTY, 0)
    for _ in range(5):
        state.learn(Failed(0), S)
    for name, patience_s in (("front", 10), ("second", 60)):
        state.reserve(name, structs.replace(ONE, patience_ns=patience_s * S), S)
    assert state.advance(2 * S) == ("front",)
