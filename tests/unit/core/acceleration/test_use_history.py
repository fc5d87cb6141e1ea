"""The use of the last two minutes, in each way in which an upstream may count them."""

from hypothesis import given
from hypothesis import strategies as st

from tidegate.core.acceleration.use_history import SLICE_NS, UseHistory
from tidegate.core.domain.nanoseconds import NS_PER_SECOND as S


def test_nothing_was_used_at_first() -> None:
    assert set(UseHistory().minutes(10 * S)) == {(0, 0)}


def test_the_minute_begins_up_to_a_second_later_than_ours() -> None:
    uses = UseHistory()
    uses.add(0, 5)
    uses.add(S // 2, 1)
    uses.add(S // 2, 2)
    assert list(uses.minutes(60 * S)) == [(8, 0), (3, 5), (3, 5), (0, 8), (0, 8)]


def test_what_came_to_nothing_is_taken_back_where_it_was_used() -> None:
    uses = UseHistory()
    uses.add(0, 5)
    uses.add(30 * S, 7)
    uses.add(0, -2)
    assert set(uses.minutes(59 * S)) == {(10, 0)}
    assert set(uses.minutes(80 * S)) == {(7, 3)}


def test_the_minutes_of_a_moment_that_has_passed_are_those_of_then() -> None:
    uses = UseHistory()
    uses.add(10 * S, 5)
    uses.add(90 * S, 7)
    assert set(uses.minutes(40 * S)) == {(5, 0)}
    assert set(uses.minutes(90 * S)) == {(7, 5)}


def test_a_minute_later_the_two_minutes_before_are_all_there() -> None:
    uses = UseHistory()
    for number in range(4 * 240 + 1):
        uses.add(number * SLICE_NS, 1)
    expected = [(241 - number, 240) for number in range(5)]
    assert list(uses.minutes(180 * S)) == expected
    uses.add(59 * S, 9)
    assert list(uses.minutes(180 * S)) == expected, "that is older than what is kept"
    assert list(uses.minutes(150 * S)) == [(241 - number, 120 + number) for number in range(5)], "so is a part of this"


def test_nothing_is_left_after_a_long_time_and_nothing_is_negative() -> None:
    uses = UseHistory()
    uses.add(0, 5)
    assert set(uses.minutes(10_000 * S)) == {(0, 0)}
    assert set(uses.minutes(9_940 * S)) == {(0, 0)}, "nor a minute ago"
    uses.add(9_000 * S, 5)
    assert set(uses.minutes(10_000 * S)) == {(0, 0)}, "older than what is kept"
    uses.add(10_000 * S, -5)
    assert set(uses.minutes(10_000 * S)) == {(0, 0)}


@given(st.lists(st.tuples(st.integers(0, 90 * 4), st.integers(0, 50)), min_size=1, max_size=40))
def test_the_minutes_are_those_that_a_list_of_all_uses_shows(steps: list[tuple[int, int]]) -> None:
    uses, now, used = UseHistory(), 0, []
    for pause, count in steps:
        now += pause
        uses.add(now * SLICE_NS, count)
        used.append((now, count))
    for number, (last, before) in enumerate(uses.minutes(now * SLICE_NS)):
        begin = now - 240 + number
        assert last == sum(count for at, count in used if at >= begin)
        assert before == sum(count for at, count in used if begin - 240 <= at < begin)


def test_a_dump_has_all_slices_that_still_count() -> None:
    uses, now_ns = UseHistory(), 1_000 * S
    for number in range(800):
        uses.add(now_ns + number * SLICE_NS, number + 1)
    now_ns += 799 * SLICE_NS
    state = uses.dump(now_ns)
    assert len(state.used) == 721
    later_ns = 5 * now_ns
    restored = UseHistory.restore(state, later_ns)
    for ago_ns in (0, 60 * S):
        assert list(restored.minutes(later_ns - ago_ns)) == list(uses.minutes(now_ns - ago_ns))
