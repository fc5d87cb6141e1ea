"""How often requests join a class, and what that adds to the work ahead of a demand."""

from itertools import accumulate

import hypothesis.strategies as st
import pytest
from hypothesis import example, given

from support.dumps import assert_continues
from tidegate.core.domain.caller import Caller
from tidegate.core.domain.demand import Demand
from tidegate.core.domain.dimension import Cost
from tidegate.core.domain.nanoseconds import NS_PER_SECOND as S
from tidegate.core.queue.arrivals import Arrivals, ArrivalsState, ClassArrivals
from tidegate.core.queue.fair_queue import FairQueue
from tidegate.core.queue.waiter import Waiter

ONE = Cost(1, 1_000)
SMALL, BIG = Caller("small"), Caller("big", weight=4.0)


def steady(per_second: int, seconds: int, caller: str = "ann") -> ClassArrivals:
    arrivals = ClassArrivals()
    for number in range(per_second * seconds):
        arrivals.observe(caller, number * S // per_second)
    return arrivals.at(seconds * S)


def test_a_steady_rate_is_found() -> None:
    arrivals = steady(5, 40)
    assert arrivals.per_ns("ann") * S == pytest.approx(5, rel=0.05)
    assert arrivals.total_per_ns * S == pytest.approx(5, rel=0.05)
    assert arrivals.per_ns("nobody") == ClassArrivals().total_per_ns == 0


@pytest.mark.parametrize("after_s", [0, 9, 17, 25, 100])
def test_many_at_once_are_no_rate(after_s: int) -> None:
    arrivals = ClassArrivals()
    for _ in range(500):
        arrivals.observe("ann", S)
    assert arrivals.at(S + after_s * S).per_ns("ann") == 0


def test_a_rate_ends_with_its_requests() -> None:
    arrivals = steady(5, 40)
    assert 0 < arrivals.at(44 * S).per_ns("ann") * S < 4
    assert arrivals.at(60 * S).per_ns("ann") == 0


def test_the_caller_that_was_silent_for_longest_is_dropped_first() -> None:
    arrivals = steady(5, 40, "old")
    for number in range(63):
        arrivals.observe(f"{number}", 40 * S)
    assert arrivals.per_ns("old") > 0
    arrivals.observe("64", 40 * S)
    assert arrivals.per_ns("old") == 0
    assert arrivals.total_per_ns > 0


QUARTERS = st.sampled_from([0, 0, 0, 1, 2, 3, 4, 5, 9, 40])
"""Quarters of a window of eight seconds."""


@given(st.lists(QUARTERS, max_size=60), QUARTERS)
@example([0, 0, 4, 4, 0, 0, 0, 0], 0)
def test_the_rate_is_the_lowest_of_three(steps: list[int], more: int) -> None:
    arrivals, times = ClassArrivals(), list(accumulate([5, *steps]))
    for quarters in times:
        arrivals.observe("ann", quarters * 2 * S)
    now = times[-1] + more

    def between(start: int, end: int) -> int:
        return sum(start <= quarters < end for quarters in times)

    began = 5 + (now - 5) // 4 * 4
    last, present = between(began - 4, began), between(began, now + 1)
    lowest = min(last, between(began - 8, began - 4), present + last * (began + 4 - now) / 4)
    assert arrivals.at(now * 2 * S).per_ns("ann") * 8 * S == pytest.approx(lowest)
    assert arrivals.total_per_ns == arrivals.per_ns("ann")


CALLERS = st.sampled_from(["ann", "ben", "x" * 90])
STEPS = st.lists(st.tuples(st.sampled_from([0, S // 3, 7 * S, 20 * S]), st.tuples(st.integers(0, 2), CALLERS)))


def join(arrivals: Arrivals, step: tuple[int, str], now_ns: int) -> object:
    own = arrivals.of_class(step[0])
    own.observe(step[1], now_ns)
    return own.at(now_ns).per_ns(step[1]), own.total_per_ns


@given(STEPS, STEPS, st.integers(-(10**15), 10**15))
def test_arrivals_continue_from_their_dump(
    history: list[tuple[int, tuple[int, str]]], continuation: list[tuple[int, tuple[int, str]]], shift_ns: int
) -> None:
    assert_continues(Arrivals(), join, Arrivals.restore, history, continuation, shift_ns)


def test_a_very_long_name_is_not_dumped() -> None:
    arrivals = Arrivals()
    for length in (100, 101):
        arrivals.of_class(0).observe("x" * length, 0)
    state: ArrivalsState = arrivals.dump(0)
    assert [len(name) for name, _ in state.classes[0].callers] == [100]
    assert state.classes[0].total is not None


def queue_of(*callers: Caller) -> FairQueue:
    queue = FairQueue(lambda: (0.0, S / 1_000, 0.0), lambda _now_ns: 1)
    for number, caller in enumerate(callers):
        queue.push(Waiter(f"{number}", Demand("p", caller, ONE)))
    return queue


def known(rates: dict[Caller, float]) -> Arrivals:
    """After a minute of steady arrivals, in requests a second."""
    arrivals = Arrivals()
    times = [
        (round(number * S / per_second), caller)
        for caller, per_second in rates.items()
        for number in range(round(60 * per_second))
    ]
    for now_ns, caller in sorted(times, key=lambda each: each[0]):
        arrivals.of_class(caller.rank).observe(caller.name, now_ns)
    return arrivals


class TestAhead:
    """One request takes a second."""

    @staticmethod
    def seconds(queue: FairQueue, caller: Caller, arrivals: Arrivals | None) -> float:
        return queue.ahead(Demand("p", caller, ONE), 60 * S, arrivals)[1] / 1_000

    def test_rivals_that_keep_sending_get_their_weighted_share(self) -> None:
        queue = queue_of(*[SMALL] * 10, *[BIG] * 10)
        assert self.seconds(queue, SMALL, None) == 20
        assert self.seconds(queue, SMALL, known({BIG: 0.8})) == pytest.approx(10 + 40 + 1, rel=0.15)

    def test_but_not_more_than_will_arrive(self) -> None:
        queue = queue_of(*[SMALL] * 10, *[BIG] * 10)
        assert self.seconds(queue, SMALL, known({BIG: 0.2})) == pytest.approx(20 / (1 - 0.2), rel=0.1)

    def test_many_rivals_likewise(self) -> None:
        rivals = [Caller(f"rival {number}") for number in range(40)]
        queue = queue_of(*[SMALL] * 5, *rivals)
        assert self.seconds(queue, SMALL, None) == 45
        assert self.seconds(queue, SMALL, known(dict.fromkeys(rivals, 0.5))) == 5 + 5 * 40 + 40
        assert self.seconds(queue, SMALL, known({rivals[0]: 0.5, SMALL: 5})) == pytest.approx(90, rel=0.1)
        for as_much_as_is_served in (1.0, 1.25):
            assert self.seconds(queue, SMALL, known({rivals[0]: as_much_as_is_served})) == 5 + 5 * 40 + 40
        assert self.seconds(queue_of(*rivals), SMALL, None) == 40

    def test_of_a_waiter(self) -> None:
        queue, arrivals = queue_of(*[SMALL] * 10, *[BIG] * 10), known({BIG: 0.8})
        last = queue.waiting["9"]
        assert queue.before(last, 60 * S)[1] == 19_000
        assert queue.before(last, 60 * S, arrivals)[1] == pytest.approx(9_000 * 5, rel=0.15)

    def test_different_dimensions_are_no_sum_of_times(self) -> None:
        queue = FairQueue(lambda: (S, S / 1_000, 0.0), lambda _now_ns: 1)
        for number in range(10):
            queue.push(Waiter(f"s{number}", Demand("p", SMALL, Cost(1, 0))))
            queue.push(Waiter(f"b{number}", Demand("p", Caller("b"), Cost(0, 1_000))))
        assert queue.ahead(Demand("p", SMALL, Cost(1, 0)), 0) == (10, 10_000, 0)

    @pytest.mark.parametrize("count", [3, 40])
    def test_rivals_without_cost_all_count(self, count: int) -> None:
        queue = FairQueue(lambda: (0.0, 0.0, 0.0), lambda _now_ns: 1)
        for number in range(count):
            queue.push(Waiter(f"{number}", Demand("p", Caller(f"{number}"), ONE)))
        assert queue.ahead(Demand("p", SMALL, ONE), 0) == (count, 1_000 * count, 0)
