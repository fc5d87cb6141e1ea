from hypothesis import given
from hypothesis import strategies as st

from tidegate.core.domain.nanoseconds import NS_PER_SECOND
from tidegate.observe.recent.sliding_count import SlidingCount


def test_counts_what_the_last_sixty_seconds_saw() -> None:
    count = SlidingCount()
    start_ns = 1_000 * NS_PER_SECOND
    for second in range(100):
        count.add(start_ns + second * NS_PER_SECOND)

    assert count.total(start_ns + 99 * NS_PER_SECOND) == 60
    assert count.total(start_ns + 129 * NS_PER_SECOND) == 30
    assert count.total(start_ns + 158 * NS_PER_SECOND) == 1
    assert count.total(start_ns + 159 * NS_PER_SECOND) == 0


def test_nothing_is_counted_before_the_first_event() -> None:
    assert SlidingCount().total(0) == 0


@given(st.lists(st.integers(0, 40 * NS_PER_SECOND), max_size=60), st.integers(0, 200 * NS_PER_SECOND))
def test_agrees_with_counting_by_hand(gaps_ns: list[int], later_ns: int) -> None:
    count = SlidingCount()
    times_ns: list[int] = []
    now_ns = 0
    for gap_ns in gaps_ns:
        now_ns += gap_ns
        times_ns.append(now_ns)
        count.add(now_ns)
    now_ns += later_ns

    oldest_second = now_ns // NS_PER_SECOND - 59
    assert count.total(now_ns) == sum(time_ns // NS_PER_SECOND >= oldest_second for time_ns in times_ns)
