"""The predicted remaining wait and place of each waiter, compared with what follows."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from tidegate.core.domain.caller import Caller
from tidegate.core.domain.demand import Demand
from tidegate.core.domain.dimension import Cost, Dimension
from tidegate.core.domain.nanoseconds import NS_PER_SECOND as S
from tidegate.core.domain.pool_settings import AdaptiveSettings, LimitSettings, PoolSettings
from tidegate.core.pool.pool import Pool

CALLERS = st.sampled_from([Caller("a"), Caller("b", weight=3.0)])
"""Of one class: what a lower class is owed comes in whole requests, at moments that no prediction hits."""
PLACES = st.sampled_from([("", ""), ("s", ""), ("s", "x"), ("s", "y"), ("t", "")])
WAYS: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
    [{}, {}, {}, {"front": True}, {"retry": True}, {"session_front": True}]
)
MOST_UNITS = 100
PER_SECOND = 100
ROUGHLY_S = 4 * MOST_UNITS / PER_SECOND
"""May be missed: a held request, one that is begun, and that requests before it count as of average size."""


@given(
    backlog=st.lists(st.tuples(CALLERS, PLACES, st.integers(20, MOST_UNITS), WAYS), min_size=1, max_size=60),
    started_s=st.integers(0, 20),
    leaves=st.sets(st.integers(0, 59)),
)
def test_predictions_for_waiters_are_within_a_factor_of_two_of_what_follows_and_places_are_in_order(
    backlog: list[tuple[Caller, tuple[str, str], int, dict[str, Any]]], started_s: int, leaves: set[int]
) -> None:
    limits = {Dimension.REQUESTS: LimitSettings(60 * PER_SECOND, MOST_UNITS)}
    pool = Pool("p", PoolSettings(limits, AdaptiveSettings()), 0)
    pool.reserve("all", Demand("p", Caller("all"), Cost(MOST_UNITS)), 0)
    for number, (caller, (session, agent), units, way) in enumerate(backlog):
        demand = Demand("p", caller, Cost(units), session=session, agent=agent)
        pool.reserve(f"{number}", structs.replace(demand, **way), 0)
    now_ns = 0
    for _ in range(started_s):
        now_ns += S
        pool.advance(now_ns)
    for number in leaves:
        pool.withdraw(f"{number}", now_ns)
    names = [f"{number}" for number in range(len(backlog))]
    predicted = {name: left for name in names if (left := pool.queue.left(name, now_ns)) is not None}
    assert all(1 <= left.place <= left.waiting == len(predicted) for left in predicted.values())
    snapshot = pool.queue.snapshot(now_ns)
    assert (snapshot.waiting, sum(group.waiting for group in snapshot.groups)) == (len(predicted), len(predicted))
    came_ns = now_ns
    while predicted:
        for name in pool.advance(now_ns):
            left_s, waited_s = predicted.pop(name).seconds, (now_ns - came_ns) / S
            assert left_s is not None
            assert waited_s <= 2 * left_s + ROUGHLY_S
            assert left_s <= 2 * waited_s + ROUGHLY_S
        next_in_ns = pool.next_in_ns(now_ns)
        if predicted:
            assert next_in_ns
            now_ns += next_in_ns
