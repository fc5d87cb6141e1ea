"""The bound on the growth of one quantity: tables of use, refusals and answers, and the room after them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.core.acceleration.growth_bound import GrowthBound, Room
from tidegate.core.domain.nanoseconds import NS_PER_SECOND as S

MINUTE = 60 * S


@pytest.fixture
def bound() -> GrowthBound:
    return GrowthBound()


def room_at(bound: GrowthBound, now_ns: int, room: Room) -> int:
    """The largest amount for which there is at least this room."""
    units = 0
    while bound.room(units + 1, now_ns) <= room:
        units += 1
    return units


def test_limits_nothing_before_the_first_refusal(bound: GrowthBound) -> None:
    bound.history.add(0, 10_000)
    assert not bound.is_known
    assert bound.room(10_000, 0) is Room.FREE


def test_is_used_once_anything_was(bound: GrowthBound) -> None:
    bound.history.add(0, 0)
    assert not bound.history.is_used
    bound.history.add(0, 1)
    bound.history.add(0, -1)
    assert bound.history.is_used


def test_the_first_refusal_tells_the_floor(bound: GrowthBound) -> None:
    bound.history.add(S, 100)
    bound.refused(1, S, S)
    assert bound.is_known
    assert bound.room(1, 59 * S) is Room.NONE
    assert bound.room(1_000, 90 * MINUTE) is Room.FREE, "after a minute without use anything may go"
    bound.history.add(90 * MINUTE, 1)
    assert room_at(bound, 90 * MINUTE, Room.FREE) == 99


def test_growth_that_nobody_tried_goes_gently_up_to_twice_what_was_accepted(bound: GrowthBound) -> None:
    bound.history.add(0, 100)
    bound.refused(1, 0, 0)
    bound.history.add(61 * S, 10)
    assert room_at(bound, 61 * S, Room.FREE) == 95, "105 of 100 is next to nothing"
    assert room_at(bound, 61 * S, Room.UNTRIED) == 200


def grown(bound: GrowthBound, floor: int = 100, more: int = 1) -> GrowthBound:
    """Growth by a half from the floor was accepted; so much more was refused."""
    bound.history.add(0, floor)
    bound.refused(1, 0, 0)
    bound.history.add(61 * S, 3 * floor // 2)
    bound.answered(61 * S)
    bound.refused(more, 61 * S, 61 * S)
    return bound


def test_what_was_accepted_may_go_again_and_what_was_refused_may_not(bound: GrowthBound) -> None:
    grown(bound)
    bound.history.add(122 * S, 1)
    assert room_at(bound, 122 * S, Room.FREE) == 224
    assert room_at(bound, 122 * S, Room.UNTRIED) == 224


def test_between_both_it_is_tried_half_way(bound: GrowthBound) -> None:
    bound.history.add(0, 100)
    bound.refused(1, 0, 0)
    bound.history.add(61 * S, 199)
    bound.refused(1, 61 * S, 61 * S)
    bound.history.add(61 * S, -99)
    bound.history.add(122 * S, 1)
    assert room_at(bound, 122 * S, Room.FREE) == 104
    assert room_at(bound, 122 * S, Room.UNTRIED) == 151, "half-way between 1.05 and 2"


def test_nearer_to_what_was_refused_than_is_known_nothing_is_tried(bound: GrowthBound) -> None:
    grown(bound, floor=1_000, more=20)
    bound.history.add(122 * S, 1)
    assert room_at(bound, 122 * S, Room.UNTRIED) == 2_249, "half-way, 2,264, is less than 3 % below 1.52"


def test_use_at_the_floor_says_nothing_of_growth(bound: GrowthBound) -> None:
    bound.history.add(0, 100)
    bound.refused(1, 0, 10 * S)
    bound.history.add(61 * S, 50)
    bound.history.add(122 * S, 100)
    bound.answered(122 * S)
    bound.history.add(183 * S, 1)
    assert room_at(bound, 183 * S, Room.FREE) == 104


def test_what_was_refused_and_then_accepted_may_be_surpassed(bound: GrowthBound) -> None:
    bound.history.add(0, 100)
    bound.refused(1, 0, 0)
    bound.history.add(61 * S, 149)
    bound.answered(61 * S)
    bound.refused(1, 61 * S, 61 * S)
    bound.history.add(61 * S, 1)
    bound.answered(61 * S)
    bound.history.add(122 * S, 1)
    assert room_at(bound, 122 * S, Room.UNTRIED) == 449, "three times what was used before"


def test_two_minutes_later_a_little_more_than_was_refused_is_tried(bound: GrowthBound) -> None:
    grown(bound)
    bound.history.add(122 * S, 150)
    bound.history.add(190 * S, 1)
    assert room_at(bound, 190 * S, Room.FREE) == 224
    assert room_at(bound, 190 * S, Room.UNTRIED) == 236
    bound.history.add(600 * S, 1)
    assert room_at(bound, 600 * S, Room.FREE) == 99
    assert room_at(bound, 600 * S, Room.UNTRIED) == 104, "and more than the floor"


def test_a_floor_that_was_too_low_is_raised_by_answers_when_the_refusal_is_old(bound: GrowthBound) -> None:
    grown(bound)
    bound.history.add(600 * S, 104)
    bound.answered(600 * S)
    bound.history.add(900 * S, 1)
    assert room_at(bound, 900 * S, Room.FREE) == 103


def test_a_floor_is_raised_also_where_growth_would_have_been_further_off(bound: GrowthBound) -> None:
    grown(bound)
    bound.history.add(600 * S, 40)
    bound.history.add(661 * S, 110)
    bound.answered(661 * S)
    bound.history.add(900 * S, 1)
    assert room_at(bound, 900 * S, Room.FREE) == 109


@pytest.mark.parametrize("before", [100, 150])
def test_a_factor_that_was_too_low_is_raised_where_it_was_off_by_less(bound: GrowthBound, before: int) -> None:
    grown(bound)
    bound.history.add(122 * S, before)
    bound.history.add(190 * S, round(1.6 * before))
    error = bound.error
    bound.answered(190 * S)
    assert bound.error == error, "the refusal was old: that is no contradiction"
    bound.history.add(251 * S, 1)
    assert room_at(bound, 251 * S, Room.FREE) == round(1.6 * 1.6 * before) - 1
    assert bound.room(400, 251 * S) is Room.UNTRIED


def test_an_old_refusal_counts_no_more_beside_a_new_one(bound: GrowthBound) -> None:
    error = grown(bound).error
    bound.history.add(600 * S, 100)
    bound.history.add(661 * S, 250)
    bound.refused(1, 661 * S, 661 * S)
    assert bound.error == error, "nothing was to be expected"
    bound.history.add(722 * S, 1)
    assert room_at(bound, 722 * S, Room.UNTRIED) == 500, "half-way between 1.5 and 2.51"


def test_use_that_none_went_before_is_the_floor(bound: GrowthBound) -> None:
    bound.history.add(0, 100)
    bound.refused(1, 0, 0)
    bound.history.add(0, 20)
    bound.answered(0)
    bound.history.add(300 * S, 1)
    assert room_at(bound, 300 * S, Room.FREE) == 119


def test_answers_and_refusals_that_contradict_each_other_are_an_error(bound: GrowthBound) -> None:
    grown(bound)
    before = bound.error
    bound.history.add(122 * S, 300)  # twice what was used before, where half as much again was refused
    bound.answered(122 * S)
    assert bound.error == pytest.approx(1 - (151 / 100) / 2)
    assert bound.error > before
    bound.history.add(183 * S, 330)
    bound.refused(1, 183 * S, 183 * S)
    assert bound.error == pytest.approx(1 - (331 / 300) / 2)
    bound.history.add(244 * S, 1)
    assert room_at(bound, 244 * S, Room.FREE) == 346 - 1, "never less than a little growth"


def test_a_refusal_where_it_was_to_be_expected_is_trust(bound: GrowthBound) -> None:
    grown(bound)
    before = bound.error
    bound.history.add(122 * S, 225)
    bound.refused(1, 122 * S, 122 * S)
    assert bound.error == before / 2


def test_many_that_are_refused_at_once_are_one_sign(bound: GrowthBound) -> None:
    grown(bound)
    before = bound.error
    bound.history.add(122 * S, 233)
    for refused in range(8):
        bound.history.add(122 * S, -1)
        bound.refused(1, 122 * S, 122 * S + 1 + refused)
    assert bound.error == before / 2


def test_trust_has_an_end(bound: GrowthBound) -> None:
    grown(bound)
    for minute in range(2, 12):
        bound.refused(200, minute * 61 * S, minute * 61 * S)
    assert bound.error == bound.contradicted == 0.01, "nothing is known better than this"


def test_a_small_contradiction_shows_before_any_trust(bound: GrowthBound) -> None:
    grown(bound)
    bound.history.add(122 * S, 230)
    before = bound.error
    bound.answered(122 * S)
    assert bound.contradicted == pytest.approx(1 - (151 / 100) / (230 / 150))
    assert bound.error == before, "the bounds may have been wrong by as much anyway"


def test_a_contradiction_counts_half_as_much_after_each_refusal_that_was_to_be_expected(bound: GrowthBound) -> None:
    grown(bound)
    bound.history.add(122 * S, 300)  # twice what was used before
    bound.answered(122 * S)
    bound.refused(1, 123 * S, 123 * S)
    before = bound.contradicted
    bound.history.add(183 * S, 600)
    bound.refused(1, 184 * S, 184 * S)
    assert bound.contradicted == before / 2


def test_a_share_on_top_asks_whether_it_is_clear(bound: GrowthBound) -> None:
    grown(bound)
    bound.history.add(122 * S, 220)
    assert bound.room(1, 122 * S) is Room.FREE
    assert bound.room(1, 122 * S, share=0.03) is Room.NONE


def test_the_last_minute_is_the_longest_that_may_be_counted(bound: GrowthBound) -> None:
    bound.history.add(0, 5)
    bound.history.add(10 * S, 7)
    assert bound.history.last_minute(60 * S) == 12
    assert bound.history.last_minute(61 * S) == 7


@given(
    st.lists(st.tuples(st.integers(1, 40), st.integers(1, 60)), min_size=5, max_size=60),
    st.integers(20, 100),
    st.floats(1.2, 3.0),
    st.floats(0.0, 0.99),
)
def test_what_was_learned_from_an_upstream_that_counts_seconds_is_true_of_it(
    steps: list[tuple[int, int]], floor: int, growth: float, phase: float
) -> None:
    """An upstream under this very rule refuses hardly ever, in whatever second it begins to count."""
    bound, now = GrowthBound(), 130 * S
    used: list[int] = []
    refusals = 0
    for pause, count in steps:
        now += pause * S // 2
        for _ in range(count):
            if bound.room(1, now) is not Room.FREE:
                break
            second = int(now / S + phase)
            last = sum(1 for each in used if second - 60 < each)
            before = sum(1 for each in used if second - 120 < each <= second - 60)
            if last + 1 > max(floor, growth * before):
                bound.refused(1, now, now)
                refusals += 1
                break
            used.append(second)
            bound.history.add(now, 1)
        bound.answered(now)
    assert refusals <= 2 + now / (60 * S)


def test_a_refusal_before_anything_was_used_leaves_a_floor_of_nothing(bound: GrowthBound) -> None:
    bound.refused(1, 0, 0)
    for minute in (3, 4):
        bound.history.add(minute * MINUTE, 10)
    bound.answered(4 * MINUTE)
    assert bound.room(1, 5 * MINUTE) is not Room.NONE, "ten after ten"


@given(st.lists(st.tuples(st.sampled_from(["add", "refused", "answered"]), st.integers(0, 40), st.integers(0, 90))))
def test_whatever_comes_there_is_always_room_of_some_kind(steps: list[tuple[str, int, int]]) -> None:
    bound, now_ns = GrowthBound(), 0
    for what, units, seconds in steps:
        now_ns += seconds * S
        if what == "add":
            bound.history.add(now_ns, units)
        elif what == "refused":
            bound.refused(units, now_ns, now_ns)
        else:
            bound.answered(now_ns)
        assert bound.room(units, now_ns) in Room
        assert 0 < bound.error <= 1
