"""A pool admits, queues and refuses; frozen, it admits nobody."""

import pytest

from tidegate.core.domain.caller import DEFAULT_CALLER, Caller, Priority
from tidegate.core.domain.cause import Cause
from tidegate.core.domain.demand import GRANTED, Demand, Refused, Wait
from tidegate.core.domain.dimension import ONE_REQUEST, Cost, Dimension
from tidegate.core.domain.events import Frozen, Thawed
from tidegate.core.domain.feedback import Failed, Feedback, RateLimited, Succeeded
from tidegate.core.domain.nanoseconds import NS_PER_SECOND as S
from tidegate.core.domain.pool_settings import AdaptiveSettings, LimitSettings, PoolSettings, QueueCaps
from tidegate.core.domain.snapshots import ClassSnapshot
from tidegate.core.pool.pool import Pool
from tidegate.core.ports.store import Change

LIMITS = {
    Dimension.REQUESTS: LimitSettings(per_minute=20, capacity=5),
    Dimension.INPUT_TOKENS: LimitSettings(per_minute=60_000, capacity=10_000),
}


def pool(*, max_waiting: int = 10, allow_debt: bool = True) -> Pool:
    """A pool that has had an answer: it does not probe."""
    state = Pool("p", PoolSettings(LIMITS, caps=QueueCaps(max_waiting), allow_debt=allow_debt), now_ns=0)
    state.learn(Succeeded(sent_ago_ns=0), 0)
    return state


def fixed_pool() -> Pool:
    """A pool whose rate never changes."""
    return Pool("p", PoolSettings(LIMITS, AdaptiveSettings(learning_rate=0)), 0)


def demand(cost: Cost = ONE_REQUEST, patience_ns: int | None = None, *, front: bool = False) -> Demand:
    return Demand("p", DEFAULT_CALLER, cost, patience_ns, front=front)


def available(state: Pool, now_ns: int = 0) -> list[float | None]:
    return [dimension.available for dimension in state.snapshot(now_ns).dimensions]


@pytest.fixture
def drained() -> Pool:
    """A pool whose burst of five requests was just used."""
    state = pool()
    for number in range(5):
        assert state.reserve(f"burst-{number}", demand(), 0) == GRANTED
    return state


def test_all_dimensions_are_reserved_at_once() -> None:
    state = pool()
    assert state.reserve("a", demand(Cost(1, 4_000, 900)), 0) == GRANTED
    assert available(state) == [4, 6_000, None]
    assert state.snapshot(0).in_flight == 1


def test_one_dimension_too_few_reserves_none() -> None:
    state = pool()
    state.reserve("a", demand(Cost(1, 9_000)), 0)
    assert state.reserve("b", demand(Cost(1, 2_000)), 0) == Wait(S)
    assert available(state) == [4, 1_000, None]


def test_a_demand_without_tokens_passes_a_pool_that_has_none_left() -> None:
    state = pool()
    state.reserve("a", demand(Cost(1, 10_000)), 0)
    assert state.reserve("b", demand(), 0) == GRANTED


def test_a_pool_without_limits_admits_everything() -> None:
    state = Pool("p", PoolSettings(adaptive=AdaptiveSettings()), 0)
    for lease_id in ("a", "b", "c"):
        assert state.reserve(lease_id, demand(Cost(1, 10**9, 10**9)), 0) == GRANTED
    assert state.next_in_ns(0) is None


def test_waiters_are_admitted_in_order_when_they_fit_not_before(drained: Pool) -> None:
    for number in range(3):
        assert drained.reserve(f"w{number}", demand(), 0) == Wait((number + 1) * 3 * S)
    assert drained.next_in_ns(0) == 3 * S
    assert drained.advance(3 * S - 1) == ()
    assert drained.advance(3 * S) == ("w0",)
    assert drained.next_in_ns(3 * S) == 3 * S
    assert drained.advance(9 * S) == ("w1", "w2")
    assert drained.next_in_ns(0) is None
    assert drained.next_in_ns(9 * S) is None


def test_each_waiter_is_told_what_it_waits_for(drained: Pool) -> None:
    waits = [drained.reserve(f"w{number}", demand(), 0) for number in range(3)]
    assert [wait.binding for wait in waits if isinstance(wait, Wait)] == ["requests", "queue", "queue"]


def test_a_waiter_behind_others_sets_no_earlier_timer(drained: Pool) -> None:
    drained.reserve("w0", demand(), 0)
    assert drained.take_changes() == Change("p", next_in_ns=3 * S)
    drained.reserve("w1", Demand("p", Caller("ann"), ONE_REQUEST), 0)
    assert drained.take_changes() is None


def test_a_new_request_does_not_overtake_a_waiter(drained: Pool) -> None:
    drained.reserve("w0", demand(), 0)
    assert isinstance(drained.reserve("late", demand(), 3 * S), Wait)
    assert drained.advance(3 * S) == ("w0",)


def test_a_request_that_returns_after_a_429_goes_ahead(drained: Pool) -> None:
    drained.reserve("w0", demand(), 0)
    assert drained.reserve("back", demand(front=True), 0) == Wait(3 * S)
    assert drained.advance(6 * S) == ("back", "w0")


def test_withdrawing_a_waiter_takes_nothing(drained: Pool) -> None:
    drained.reserve("w0", demand(), 0)
    drained.reserve("w1", demand(), 0)
    assert drained.withdraw("w0", 2 * S) == Refused(Cause.DEADLINE, 4 * S), "from now, behind the other"
    assert drained.withdraw("w0", 2 * S) is None
    assert drained.withdraw("burst-0", 2 * S) is None, "it was granted"
    assert drained.advance(3 * S) == ("w1",)


class TestRefusals:
    def test_a_full_queue(self) -> None:
        state = pool(max_waiting=1)
        for number in range(6):
            state.reserve(f"{number}", demand(), 0)
        assert state.reserve("one more", demand(), 0) == Refused(
            Cause.QUEUE_FULL, retry_after_ns=6 * S, full="1 requests"
        )
        assert state.snapshot(0).waiting == 1
        assert isinstance(state.reserve("back", demand(front=True), 0), Wait), "it had its place already"

    def test_a_wait_longer_than_the_patience(self, drained: Pool) -> None:
        assert drained.reserve("a", demand(patience_ns=3 * S - 1), 0) == Refused(Cause.DEADLINE, retry_after_ns=1)
        assert drained.next_in_ns(0) is None
        assert drained.reserve("b", demand(patience_ns=3 * S), 0) == Wait(3 * S)

    def test_more_than_the_bucket_can_ever_hold(self) -> None:
        state = pool(allow_debt=False)
        assert state.reserve("a", demand(Cost(1, 10_001)), 0) == Refused(
            Cause.COST_EXCEEDS_CAPACITY, dimension=Dimension.INPUT_TOKENS
        )
        assert state.reserve("b", demand(Cost(1, 10_000)), 0) == GRANTED

    def test_leave_everything_as_it_was(self) -> None:
        state = pool(max_waiting=0)
        state.reserve("a", demand(Cost(5, 9_999)), 0)
        before = state.snapshot(0)
        state.reserve("b", demand(), 0)
        state.reserve("c", demand(patience_ns=0), 0)
        assert state.snapshot(0) == before
        assert state.drain_events() == ()


def test_with_debt_an_oversized_demand_waits_for_a_full_bucket() -> None:
    state = pool()
    state.reserve("small", demand(Cost(1, 1_000)), 0)
    assert state.reserve("big", demand(Cost(1, 40_000)), 0) == Wait(S)
    assert state.advance(S) == ("big",)
    assert available(state, S)[1] == -30_000
    assert state.reserve("next", demand(Cost(1, 1_000)), S) == Wait(31 * S)


class TestFreeze:
    """A 429 freezes a pool whose rate does not adapt, and does nothing else."""

    def test_admits_nobody_until_it_ends(self) -> None:
        state = fixed_pool()
        state.learn(RateLimited(7 * S), 0)
        assert state.drain_events() == (Frozen("p", 7 * S),)
        assert state.reserve("a", demand(), 0) == Wait(7 * S)
        assert state.next_in_ns(0) == 7 * S
        assert state.snapshot(0).frozen_seconds == 7
        assert state.advance(7 * S - 1) == ()
        assert state.advance(7 * S) == ("a",)
        assert state.drain_events() == (Thawed("p"),)
        assert state.snapshot(7 * S).frozen_seconds == 0

    def test_refilling_goes_on_meanwhile(self) -> None:
        state = fixed_pool()
        state.reserve("burst", demand(Cost(5)), 0)
        state.learn(RateLimited(4 * S), 0)
        assert state.reserve("a", demand(patience_ns=4 * S), 0) == Wait(4 * S)
        assert state.reserve("b", demand(), 0) == Wait(6 * S)
        assert state.advance(4 * S) == ("a",)
        assert state.advance(6 * S) == ("b",)

    def test_no_more_is_refilled_than_the_bucket_holds(self) -> None:
        state = fixed_pool()
        state.learn(RateLimited(600 * S), 0)
        waits = [state.reserve(f"{number}", demand(), 0) for number in range(7)]
        assert waits == [Wait(600 * S)] * 5 + [Wait(603 * S), Wait(606 * S)]

    def test_a_direct_demand_thaws_too(self) -> None:
        state = fixed_pool()
        state.learn(RateLimited(S), 0)
        assert state.reserve("a", demand(), S) == GRANTED
        assert state.drain_events() == (Frozen("p", S), Thawed("p"))


def test_a_snapshot_counts_waiters_by_class_and_caller(drained: Pool) -> None:
    drained.reserve("w0", demand(Cost(1, 70, 30)), 0)
    drained.reserve("w1", Demand("p", Caller("ann"), Cost(1, 5, 5)), 0)
    snapshot = drained.snapshot(0)
    assert (snapshot.pool, snapshot.waiting) == ("p", 2)
    assert snapshot.classes["standard"] == ClassSnapshot(2, 110, 0, {"default": 1, "ann": 1})
    assert snapshot.classes["batch"] == snapshot.classes["interactive"] == ClassSnapshot()
    assert (snapshot.in_flight, snapshot.granted) == (5, 5)


@pytest.mark.parametrize("stops", [[RateLimited(3 * S)], [Failed(0)] * 5], ids=["freeze", "outage"])
def test_no_place_is_kept_for_a_head_while_nobody_may_go(drained: Pool, stops: list[Feedback]) -> None:
    for stop in stops:
        drained.learn(stop, 0)
    drained.reserve("first", demand(), 0)
    assert drained.advance(S // 10) == ()
    drained.reserve("urgent", Demand("p", Caller("a", priority=Priority.INTERACTIVE), ONE_REQUEST), S // 10)
    assert drained.advance(60 * S)[0] == "urgent"
