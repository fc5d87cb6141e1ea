"""A big request at the head has a reserved start: others fill in before it, nobody postpones it."""

import pytest

from tidegate.core.caller import Caller, Priority
from tidegate.core.clock import NS_PER_SECOND as S
from tidegate.core.dimension import MICRO, Cost, Dimension
from tidegate.core.headers import DimensionReport, LimitReport
from tidegate.core.limit import DimensionLimit
from tidegate.core.pool import Pool
from tidegate.core.store import GRANTED, AdaptiveSettings, Demand, LimitSettings, PoolSettings, Wait
from tidegate.core.window import WindowVotes

LIMITS = {
    Dimension.REQUESTS: LimitSettings(per_minute=600, capacity=20),
    Dimension.INPUT_TOKENS: LimitSettings(per_minute=60_000, capacity=10_000),
    Dimension.OUTPUT_TOKENS: LimitSettings(per_minute=60_000, capacity=10_000),
}
"""Ten requests, and a thousand tokens of each kind, a second."""

BIG, SMALL, OTHER = Caller("big"), Caller("small"), Caller("other")
URGENT = Caller("urgent", priority=Priority.INTERACTIVE)


def demand(caller: Caller, *cost: int, front: bool = False) -> Demand:
    return Demand("p", caller, Cost(*cost), front=front)


def pool(adaptive: AdaptiveSettings | None = AdaptiveSettings()) -> Pool:  # noqa: B008 - a frozen value
    """A pool with nothing left in input tokens, where a request of 8,000 waits: its start is in 8 seconds."""
    state = Pool("p", PoolSettings(LIMITS, adaptive), 0)
    assert state.reserve("first", demand(OTHER, 1, 10_000), 0) == GRANTED
    assert state.reserve("big", demand(BIG, 1, 8_000, 100), 0) == Wait(8 * S)
    return state


def test_nobody_who_comes_later_postpones_it() -> None:
    state = pool()
    for number in range(50):
        state.reserve(f"small-{number}", demand(SMALL, 1, 10), 0)
        state.reserve(f"urgent-{number}", demand(URGENT, 1, 10), 0)
    for second in range(8):
        assert state.advance(second * S) == ()
        assert state.next_in_ns(second * S) == (8 - second) * S
    assert state.advance(8 * S)[0] == "big"


def test_who_needs_nothing_of_what_it_waits_for_goes_before_it() -> None:
    state = pool()
    state.reserve("free", demand(SMALL, 1), 0)
    assert state.next_in_ns(0, if_it_is="free") == 0
    assert state.advance(0) == ("free",)
    assert state.next_in_ns(0) == 8 * S
    assert state.advance(8 * S) == ("big",)


def test_so_does_one_that_is_larger_than_the_bucket_of_which_it_needs_nothing() -> None:
    state = pool()
    state.withdraw("big", 0)
    assert state.reserve("only-input", demand(BIG, 1, 8_000), 0) == Wait(8 * S)
    state.reserve("huge", demand(SMALL, 1, 0, 50_000), 0)
    assert state.advance(0) == ("huge",)
    assert state.advance(8 * S) == ("only-input",)


def test_what_a_full_bucket_loses_meanwhile_is_not_promised_to_others() -> None:
    state = pool()
    state.reserve("many", demand(OTHER, 18), 0)
    assert state.advance(0) == ("many",)
    # Of 18,000 output tokens until its start the head needs 100, but this one has to wait 1.6 seconds for 17 requests;
    # by then, the bucket having been full all the time, only 16,400 are left to come.
    state.reserve("later", demand(SMALL, 17, 0, 16_500), 0)
    assert state.next_in_ns(0, if_it_is="later") is None
    state.reserve("less", demand(URGENT, 17, 0, 16_300), 0)
    assert state.next_in_ns(0, if_it_is="less") == 1_600_000_000
    assert state.advance(1_600_000_000) == ("less",)


def test_not_if_that_takes_what_it_needs_later() -> None:
    state = pool()
    # 10,000 output tokens are there, and 18,000 would be by the start, of which the head needs 100.
    state.reserve("greedy", demand(SMALL, 1, 0, 17_901), 0)
    state.reserve("modest", demand(OTHER, 1, 0, 9_000), 0)
    assert state.advance(0) == ("modest",)
    assert state.advance(7 * S) == ()
    assert state.advance(8 * S) == ("big",)


def test_who_will_fit_before_it_is_looked_at_then() -> None:
    state = pool()
    state.reserve("a", demand(SMALL, 1, 0, 9_500), 0)
    state.reserve("b", demand(OTHER, 1, 0, 2_500), 0)
    assert state.advance(0) == ("a",)
    assert state.next_in_ns(0) == 2 * S
    assert state.next_in_ns(0, if_it_is="b") == 2 * S
    assert state.next_in_ns(0, if_it_is="a") is None
    assert state.advance(2 * S) == ("b",)


def test_who_fills_in_before_its_turn_does_not_let_later_callers_start_behind_it() -> None:
    state = pool()
    state.reserve("much", demand(SMALL, 1, 0, 8_000), 0)
    state.reserve("some", demand(OTHER, 1, 0, 1_500), 0)
    assert state.advance(0) == ("much", "some")
    state.reserve("out of turn", demand(SMALL, 1, 0, 100), S)
    state.reserve("waits", demand(OTHER, 1, 500), S)
    assert state.advance(S) == ("out of turn",)
    state.reserve("new", demand(Caller("new"), 1, 500), S)
    assert state.advance(8 * S) == ("big",)
    assert state.advance(8 * S + S // 2) == ("new",), "who waits has had more"


def test_its_own_caller_does_not_overtake_itself() -> None:
    state = pool()
    state.reserve("own", demand(BIG, 1), 0)
    assert state.advance(7 * S) == ()
    assert state.advance(8 * S) == ("big", "own")


def test_one_larger_than_the_bucket_waits_until_it_is_full() -> None:
    state = Pool("p", PoolSettings(LIMITS, AdaptiveSettings()), 0)
    state.reserve("first", demand(OTHER, 1, 10_000), 0)
    assert state.reserve("huge", demand(BIG, 1, 50_000), 0) == Wait(10 * S)
    for second in range(10):
        state.reserve(f"small-{second}", demand(SMALL, 1, 100), second * S)
        assert state.advance(second * S) == ()
    assert state.advance(10 * S) == ("huge",)


def test_who_comes_back_after_a_429_goes_before_it_with_what_was_its_own() -> None:
    state = pool()
    assert state.reserve("back", demand(OTHER, 1, 1_000, front=True), 0) == Wait(S)
    assert state.advance(S) == ("back",)
    assert state.advance(8 * S) == ()
    assert state.advance(9 * S) == ("big",)


def test_a_freeze_reserves_nothing() -> None:
    state = Pool("p", PoolSettings(LIMITS, AdaptiveSettings()), 0)
    state.freeze(5 * S, 0)
    state.reserve("big", demand(BIG, 1, 8_000), 0)
    state.reserve("urgent", demand(URGENT, 1, 10), 0)
    assert state.next_in_ns(0, if_it_is="urgent") == 5 * S
    assert state.advance(5 * S) == ("urgent", "big")


@pytest.mark.parametrize("leave", ["withdraw", "release"])
def test_when_it_leaves_the_others_go_on(leave: str) -> None:
    state = pool()
    state.reserve("small", demand(SMALL, 1, 1_000), 0)
    assert state.advance(2 * S) == ()
    if leave == "withdraw":
        state.withdraw("big", 2 * S)
    else:
        state.release("big", None, 2 * S)
    assert state.advance(2 * S) == ("small",)


def test_beside_a_competitor_only_our_own_share_of_the_rate_is_left_to_others() -> None:
    limit = DimensionLimit(Dimension.INPUT_TOKENS, WindowVotes())
    limit.learn(DimensionReport(60_000, 60_000), 0, 0, 0)
    limit.take(30_000, 0)
    for half_second in range(41):  # a thousand a second come back, and somebody takes half of it
        limit.learn(DimensionReport(60_000, 30_000 + 250 * half_second), 0, 0, half_second * S // 2)
    # Half a second's worth of our share at once, and a second's refill, less what the head needs.
    spare = limit.spare_micro(100, S, 20 * S, 0)
    assert spare is not None
    assert spare / MICRO == pytest.approx(250 + 500 - 100, rel=0.02)


def test_a_window_that_begins_anew_before_its_start_leaves_all_of_the_old_one_to_others() -> None:
    state = Pool("p", PoolSettings(), 0)
    state.reserve("probe", demand(OTHER, 1), 0)
    now_ns = 0
    for round_ in range(8):  # the reset stands still while what remains falls: a fixed window
        now_ns = (round_ + 1) * S
        remaining = 60_000 - 6_000 * (round_ + 1)
        report = DimensionReport(60_000, remaining, 60 * S - now_ns)
        state.learn(LimitReport(input_tokens=report), now_ns)
    level = state.snapshot(now_ns).dimensions[1].available
    assert level is not None
    assert isinstance(state.reserve("big", demand(BIG, 1, round(level) + 1_000), now_ns), Wait)
    state.reserve("small", demand(SMALL, 1, 500), now_ns)
    assert state.advance(now_ns) == ("small",)
    assert state.next_in_ns(now_ns) == 60 * S - now_ns
