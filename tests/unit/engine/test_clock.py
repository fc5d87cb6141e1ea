"""Time that can be relied on, whatever the machine's clock does."""

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from tidegate.engine.clock import SteadyClock, SystemClock


class ToldClock:
    """Tells the times that it is given, the last one for ever."""

    def __init__(self, *times_ns: int) -> None:
        self._times_ns = list(times_ns)

    def monotonic_ns(self) -> int:
        return self._times_ns.pop(0) if len(self._times_ns) > 1 else self._times_ns[0]

    def wall_seconds(self) -> float:
        return 12.5


def test_the_times_of_a_monotonic_clock_are_returned_unchanged() -> None:
    clock = SteadyClock(ToldClock(5, 5, 7, 1_000))
    assert [clock.monotonic_ns() for _ in range(3)] == [5, 7, 1_000]
    assert clock.wall_seconds() == 12.5


def test_a_step_back_is_left_out() -> None:
    clock = SteadyClock(ToldClock(5_000, 5_000, 200, 203, 100, 110))
    assert [clock.monotonic_ns() for _ in range(5)] == [5_000, 5_000, 5_003, 5_003, 5_013]


@given(st.lists(st.integers(), min_size=2))
def test_it_never_goes_back_and_never_jumps_by_more_than_its_clock(times_ns: list[int]) -> None:
    clock = SteadyClock(ToldClock(*times_ns))
    seen = [times_ns[0], *(clock.monotonic_ns() for _ in times_ns[1:])]
    for (before, after), (raw_before, raw_after) in zip(pairwise(seen), pairwise(times_ns), strict=True):
        assert after - before == max(0, raw_after - raw_before)


def test_threads_do_not_take_the_readings_of_others_for_steps() -> None:
    switch_interval_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    clock = SteadyClock(SystemClock())
    before_ns = time.monotonic_ns()
    apart_ns = clock.monotonic_ns() - before_ns
    try:
        with ThreadPoolExecutor(4) as threads:
            for _ in range(4):
                threads.submit(lambda: [clock.monotonic_ns() for _ in range(20_000)])
    finally:
        sys.setswitchinterval(switch_interval_s)
    assert clock.monotonic_ns() - time.monotonic_ns() <= apart_ns, "nothing was left out"


def test_the_systems_clock() -> None:
    clock = SteadyClock(SystemClock())
    before_ns = clock.monotonic_ns()
    assert clock.monotonic_ns() >= before_ns
    assert clock.wall_seconds() > 1_700_000_000
