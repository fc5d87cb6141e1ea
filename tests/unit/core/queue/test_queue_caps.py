"""The caps on the queue of a pool, in all and of one caller."""

import pytest

from tidegate.core.domain.caller import Caller
from tidegate.core.domain.cause import Cause
from tidegate.core.domain.demand import GRANTED, Demand, Refused, Wait
from tidegate.core.domain.dimension import Cost, Dimension
from tidegate.core.domain.pool_settings import LimitSettings, PoolSettings, QueueCaps
from tidegate.core.pool.pool import Pool

ONE_PER_MINUTE = {Dimension.REQUESTS: LimitSettings(1, 1)}


def answers(caps: QueueCaps, *asked: tuple[str, int]) -> list[str | None]:
    """Who comes after the bucket is empty, by name and tokens: None, or what is full."""
    pool = Pool("p", PoolSettings(ONE_PER_MINUTE, caps=caps), 0)
    assert pool.reserve("first", Demand("p", Caller("first"), Cost(1)), 0) is GRANTED
    exceeded: list[str | None] = []
    for number, (name, tokens) in enumerate(asked):
        answer = pool.reserve(f"{number}", Demand("p", Caller(name), Cost(1, tokens - tokens // 2, tokens // 2)), 0)
        if isinstance(answer, Refused):
            assert answer.cause is Cause.QUEUE_FULL
            assert answer.retry_after_ns is not None
            assert answer.retry_after_ns > 0
            exceeded.append(answer.full)
        else:
            assert isinstance(answer, Wait)
            exceeded.append(None)
    return exceeded


@pytest.mark.parametrize(
    ("caps", "asked", "full"),
    [
        (QueueCaps(requests=2), [("a", 1), ("b", 1), ("c", 1)], [None, None, "2 requests"]),
        (
            QueueCaps(requests_per_caller=1),
            [("a", 1), ("a", 1), ("b", 1)],
            [None, "1 requests of one caller", None],
        ),
        (QueueCaps(tokens=1000), [("a", 400), ("b", 600), ("c", 1)], [None, None, "1,000 tokens"]),
        (
            QueueCaps(tokens_per_caller=1000),
            [("a", 999), ("a", 2), ("a", 1), ("b", 1000)],
            [None, "1,000 tokens of one caller", None, None],
        ),
        (QueueCaps(tokens=10), [("a", 5000), ("b", 1)], [None, "10 tokens"]),
        (QueueCaps(tokens_per_caller=10), [("a", 5000), ("a", 1)], [None, "10 tokens of one caller"]),
    ],
)
def test_a_demand_above_a_cap_is_refused_with_the_name_of_the_cap(
    caps: QueueCaps, asked: list[tuple[str, int]], full: list[str | None]
) -> None:
    assert answers(caps, *asked) == full


def test_a_request_that_returns_to_the_front_is_let_in_beyond_every_cap() -> None:
    pool = Pool("p", PoolSettings(ONE_PER_MINUTE, caps=QueueCaps(0, 0, 0, 0)), 0)
    assert pool.reserve("first", Demand("p", Caller("a"), Cost(1)), 0) is GRANTED
    assert isinstance(pool.reserve("back", Demand("p", Caller("a"), Cost(1, 9, 9), front=True), 0), Wait)


def test_a_waiter_that_leaves_makes_room() -> None:
    pool = Pool("p", PoolSettings(ONE_PER_MINUTE, caps=QueueCaps(requests_per_caller=1)), 0)
    pool.reserve("first", Demand("p", Caller("a"), Cost(1)), 0)
    assert isinstance(pool.reserve("second", Demand("p", Caller("a"), Cost(1)), 0), Wait)
    assert isinstance(pool.reserve("third", Demand("p", Caller("a"), Cost(1)), 0), Refused)
    pool.withdraw("second", 0)
    assert isinstance(pool.reserve("third", Demand("p", Caller("a"), Cost(1)), 0), Wait)
