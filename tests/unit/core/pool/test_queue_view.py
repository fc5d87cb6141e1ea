"""The view of a pool's queue: the waiters, what binds them, and their remaining waits."""

import pytest
from msgspec import structs

from tidegate.core.accounts.accounts import Accounts
from tidegate.core.domain.caller import Caller, CallerLimits, Priority
from tidegate.core.domain.demand import Demand, Outcome
from tidegate.core.domain.dimension import ONE_REQUEST, Cost, Dimension
from tidegate.core.domain.feedback import RateLimited, Succeeded
from tidegate.core.domain.nanoseconds import NS_PER_SECOND as S
from tidegate.core.domain.pool_settings import LimitSettings, PoolSettings
from tidegate.core.domain.snapshots import WaitingGroup, WaitLeft
from tidegate.core.pool.pool import Pool

ANN, BOB = Caller("ann"), Caller("bob", priority=Priority.BATCH)
A_SECOND_EACH = PoolSettings({Dimension.REQUESTS: LimitSettings(per_minute=60, capacity=1)}, None)


def demand(caller: Caller) -> Demand:
    return Demand("p", caller, ONE_REQUEST)


@pytest.fixture
def pool() -> Pool:
    """A pool whose bucket is empty."""
    state = Pool("p", A_SECOND_EACH, 0)
    state.reserve("burst", demand(ANN), 0)
    return state


def test_each_waiter_knows_its_place_and_the_time_left(pool: Pool) -> None:
    for number in range(3):
        pool.reserve(f"{number}", demand(ANN), 0)
    assert [pool.queue.left(f"{number}", S // 2) for number in range(3)] == [
        WaitLeft("p", 1, 3, 0.5, "requests"),
        WaitLeft("p", 2, 3, 1.5, "queue"),
        WaitLeft("p", 3, 3, 2.5, "queue"),
    ]
    assert pool.advance(S) == ("0",)
    assert pool.queue.left("0", S) is None
    assert pool.queue.left("1", S) == WaitLeft("p", 1, 2, 1.0, "requests")


def test_a_request_that_came_back_goes_first_and_others_of_its_kind_follow_in_their_order(pool: Pool) -> None:
    pool.reserve("new", demand(ANN), 0)
    for name in ("first", "second"):
        pool.reserve(name, structs.replace(demand(BOB), front=True), 0)
    lefts = [pool.queue.left(name, 0) for name in ("new", "first", "second")]
    assert [None if left is None else left.seconds for left in lefts] == [1.0, 2.0, 3.0], (
        "of another class, after the higher one"
    )


def test_a_snapshot_says_what_the_next_request_waits_for(pool: Pool) -> None:
    assert pool.snapshot(0).binding == "", "nobody waits"
    pool.reserve("a", demand(ANN), 0)
    pool.reserve("b", demand(BOB), 0)
    assert pool.snapshot(0).binding == "requests"
    pool.learn(RateLimited(10 * S), 0)
    assert pool.snapshot(0).binding == "frozen"


def test_a_snapshot_tells_a_callers_own_limit_from_those_of_the_pool() -> None:
    pool = Pool("p", PoolSettings({}, None), 0)
    limited = Caller("ann", limits=CallerLimits(max_concurrent=1))
    pool.reserve("a", demand(limited), 0)
    pool.reserve("b", demand(limited), 0)
    assert (pool.snapshot(0).waiting, pool.snapshot(0).binding) == (1, "caller_limit")


def test_a_snapshot_passes_over_those_that_wait_for_their_callers_own_limit() -> None:
    pool = Pool("p", A_SECOND_EACH, 0)
    limited = Caller("ann", limits=CallerLimits(max_concurrent=1))
    pool.reserve("a", demand(limited), 0)
    pool.reserve("b", demand(limited), 0)
    pool.reserve("c", demand(Caller("bob")), 0)
    assert pool.snapshot(0).binding == "requests"


def test_a_head_whose_caller_has_used_up_its_limit_in_another_pool_waits_for_that() -> None:
    accounts, limited = Accounts(), Caller("ann", limits=CallerLimits(requests_per_minute=1))
    frozen, other = Pool("p", A_SECOND_EACH, 0, accounts), Pool("q", PoolSettings({}, None), 0, accounts)
    frozen.learn(RateLimited(20 * S), 0)
    frozen.reserve("a", demand(limited), 0)
    assert frozen.queue.binding(0) == "frozen"
    other.reserve("b", demand(limited), 0)
    assert frozen.queue.binding(0) == "caller_limit"


def test_a_freeze_counts(pool: Pool) -> None:
    pool.reserve("a", demand(ANN), 0)
    pool.learn(RateLimited(10 * S), 0)
    left = pool.queue.left("a", 0)
    assert left is not None
    assert (left.seconds, left.binding) == (10.0, "frozen")


@pytest.mark.parametrize(
    ("limits", "left_seconds"),
    [(CallerLimits(requests_per_minute=1), 60.0), (CallerLimits(max_concurrent=1), 1.0)],
    ids=["rate", "concurrency: nobody knows when the other call ends"],
)
def test_a_limit_of_the_callers_own_counts(limits: CallerLimits, left_seconds: float) -> None:
    state = Pool("p", A_SECOND_EACH, 0)
    for name in ("a", "b"):
        state.reserve(name, demand(Caller("ann", limits=limits)), 0)
    left = state.queue.left("b", 0)
    assert left is not None
    assert (left.seconds, left.binding) == (left_seconds, "caller_limit")


def test_places_of_requests_that_left_do_not_count(pool: Pool) -> None:
    for number in range(4):
        pool.reserve(f"{number}", demand(ANN), 0)
    pool.withdraw("0", 0)
    assert pool.queue.left("1", 0) == WaitLeft("p", 1, 3, 1.0, "requests")
    assert pool.queue.left("3", 0) == WaitLeft("p", 3, 3, 3.0, "queue")


def test_a_large_request_that_is_held_goes_before_the_requests_of_others() -> None:
    state = Pool("p", PoolSettings({Dimension.REQUESTS: LimitSettings(per_minute=60, capacity=8)}, None), 0)
    state.reserve("burst", structs.replace(demand(ANN), cost=Cost(8)), 0)
    state.end("burst", Outcome.SETTLED, None, 0)
    state.learn(Succeeded(0), 0)
    large = structs.replace(demand(ANN), cost=Cost(8), session="s", agent="x")
    state.reserve("large", large, 0)
    state.advance(0)
    for agent in ("x", "y"):
        state.reserve(agent, structs.replace(large, cost=Cost(1), agent=agent), 0)
    state.reserve("other", demand(Caller("bob")), 0)
    lefts = [state.queue.left(name, S) for name in ("large", "other")]
    assert [None if left is None else left.seconds for left in lefts] == [7.0, 8.0]


def test_while_no_limit_is_known_no_time_is_predicted() -> None:
    state = Pool("p", PoolSettings(), 0)
    for number in range(3):
        state.reserve(f"{number}", demand(ANN), 0)
    assert state.queue.left("2", 0) == WaitLeft("p", 1, 2, None, "probe"), "nothing is known to take any time"
    assert state.queue.snapshot(0).groups == (WaitingGroup("standard", "ann", 2, 0, 0.0, None, None, "probe"),)


def test_the_snapshot_groups_by_class_and_caller(pool: Pool) -> None:
    pool.reserve("a", demand(ANN), 0)
    pool.reserve("b", demand(BOB), S // 4)
    pool.reserve("c", demand(ANN), S // 2)
    snapshot = pool.queue.snapshot(S // 2)
    assert (snapshot.pool, snapshot.waiting, snapshot.left_off) == ("p", 3, 0)
    assert snapshot.groups == (
        WaitingGroup("standard", "ann", 2, 0, 0.5, 0.5, 1.5, "requests"),
        WaitingGroup("batch", "bob", 1, 0, 0.25, 2.5, 2.5, "queue"),
    )


def test_a_snapshot_shows_the_groups_that_wait_longest(pool: Pool) -> None:
    for number in range(103):
        pool.reserve(f"{number}", demand(Caller(f"caller {number}")), number)
    snapshot = pool.queue.snapshot(103)
    assert [group.caller for group in snapshot.groups] == [f"caller {number}" for number in range(100)]
    assert (snapshot.waiting, snapshot.left_off) == (103, 3)


def test_nobody_waits() -> None:
    snapshot = Pool("p", A_SECOND_EACH, 0).queue.snapshot(0)
    assert (snapshot.waiting, snapshot.groups, snapshot.left_off) == (0, (), 0)


def test_a_group_that_may_go_now_waits_no_longer() -> None:
    state = Pool("p", PoolSettings({Dimension.REQUESTS: LimitSettings(per_minute=60, capacity=2)}, None), 0)
    state.learn(Succeeded(0), 0)
    state.reserve("burst", structs.replace(demand(ANN), cost=Cost(2)), 0)
    for name in "ab":
        state.reserve(name, demand(ANN), 0)
    (group,) = state.queue.snapshot(10 * S).groups
    assert (group.next_in_seconds, group.last_in_seconds) == (0, 0)


def test_a_limit_of_the_callers_own_does_not_bind_where_the_pool_takes_longer() -> None:
    state = Pool("p", A_SECOND_EACH, 0)
    for name in ("a", "b"):
        state.reserve(name, demand(Caller("ann", limits=CallerLimits(requests_per_minute=6))), 0)
    state.learn(RateLimited(20 * S), 0)
    left = state.queue.left("b", 0)
    assert left is not None
    assert (left.seconds, left.binding) == (20.0, "frozen")
