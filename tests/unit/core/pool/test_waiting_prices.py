"""A waiter is priced again when it is about to be admitted."""

import pytest
from msgspec import structs

from tidegate.core.domain.caller import Caller
from tidegate.core.domain.demand import Demand, Outcome
from tidegate.core.domain.dimension import Cost, Dimension
from tidegate.core.domain.events import LeaseEnded
from tidegate.core.domain.nanoseconds import NS_PER_SECOND as S
from tidegate.core.domain.pool_settings import LimitSettings, PoolSettings
from tidegate.core.pool.pool import Pool


def pool_with(price: list[int], *others: Demand) -> Pool:
    """A pool of 60 tokens a minute, 10 at once, all of them taken; one waits whose price is in the list."""
    pool = Pool("p", PoolSettings({Dimension.OUTPUT_TOKENS: LimitSettings(60, 10)}), 0)
    waiting = Demand("p", Caller("a"), Cost(1, 0, 9), price=lambda _now_ns: Cost(1, 0, price[0]))
    for number, demand in enumerate([Demand("p", Caller("b"), Cost(1, 0, 10)), waiting, *others]):
        pool.reserve(str(number), demand, 0)
    return pool


def test_a_price_that_fell_lets_it_go_sooner() -> None:
    pool = pool_with([2])
    assert pool.advance(2 * S) == ("1",)
    assert pool.snapshot(2 * S).dimensions[2].available == 0


def test_a_price_that_rose_lets_it_wait_longer() -> None:
    pool = pool_with([5])
    assert pool.advance(4 * S) == ()
    assert pool.next_in_ns(4 * S) == S
    assert pool.advance(5 * S) == ("1",)


def test_a_price_is_kept_for_a_second() -> None:
    price = [9]
    pool = pool_with(price)
    pool.advance(5 * S)
    price[0] = 1
    assert pool.advance(5 * S + S // 2) == ()
    assert pool.advance(6 * S) == ("1",)


def test_a_waiter_counts_at_its_new_price() -> None:
    pool = pool_with([8], Demand("p", Caller("a"), Cost(1, 0, 5)))
    pool.advance(S)
    assert pool.snapshot(S).classes["standard"].tokens == 13
    assert pool.advance(14 * S) == ("1",)
    assert pool.snapshot(14 * S).classes["standard"].tokens == 5


def test_the_lease_goes_by_the_new_price() -> None:
    pool = pool_with([2])
    pool.advance(2 * S)
    pool.end("1", Outcome.SETTLED, None, 2 * S)
    (ended,) = [event for event in pool.drain_events() if isinstance(event, LeaseEnded)]
    assert ended.reserved == Cost(1, 0, 2)


@pytest.mark.parametrize("field", ["front", "retry"])
def test_a_returned_request_is_priced_again(field: str) -> None:
    demand = Demand("p", Caller("a"), Cost(1, 0, 9), price=lambda _now_ns: Cost(1, 0, 1))
    pool = pool_with([9], structs.replace(demand, **{field: True}))
    assert pool.advance(S) == ("2",)


def test_a_price_that_is_told_is_kept_for_a_second_as_well() -> None:
    pool = pool_with([1])
    pool.reprice("1", Cost(1, 0, 9), 5 * S)
    assert pool.advance(5 * S + S // 2) == ()
    assert pool.advance(6 * S) == ("1",)
