"""Priority classes in the queue: who goes first, what each class gets, and what is predicted of it."""

from collections import Counter
from collections.abc import Sequence

import pytest

from tidegate.core.caller import Caller, Priority
from tidegate.core.clock import NS_PER_SECOND as S
from tidegate.core.dimension import Cost
from tidegate.core.queue import FairQueue, Waiter
from tidegate.core.store import Demand

PEOPLE = Caller("people", priority=Priority.INTERACTIVE)
TEAM = Caller("team")
NIGHT = Caller("night", priority=Priority.BATCH)
ONE = Cost(1, 1_000)
"""A second of the pool's rate."""


def size_ns(cost: Sequence[int]) -> int:
    return cost[1] * (S // 1_000)


def queue_of(*callers: Caller, cost: Cost = ONE) -> FairQueue:
    queue = FairQueue(size_ns)
    for number, caller in enumerate(callers):
        queue.push(Waiter(f"{caller.name}-{number}", Demand("p", caller, cost)))
    return queue


def go(queue: FairQueue, now_ns: int = 0) -> str:
    head = queue.head()
    assert head is not None
    queue.take(head, now_ns)
    return head.demand.caller.name


def test_the_highest_class_goes_first() -> None:
    queue = queue_of(NIGHT, TEAM, PEOPLE)
    assert [go(queue) for _ in range(3)] == ["people", "team", "night"]


def test_each_class_gets_its_guaranteed_share_and_the_highest_the_rest() -> None:
    queue = queue_of(*[PEOPLE] * 200, *[TEAM] * 200, *[NIGHT] * 200)
    went = Counter(go(queue) for _ in range(200))
    assert went == {"people": 152, "team": 39, "night": 9}, "a fifth and a twentieth, less one each"


def test_what_no_class_above_wants_goes_to_the_next() -> None:
    queue = queue_of(*[TEAM] * 200, *[NIGHT] * 200)
    assert Counter(go(queue) for _ in range(101)) == {"team": 96, "night": 5}


def test_a_share_is_one_of_cost_not_of_requests() -> None:
    queue = queue_of(*[PEOPLE] * 400)
    for number in range(40):
        queue.push(Waiter(f"big-{number}", Demand("p", NIGHT, Cost(1, 10_000))))
    assert [go(queue) for _ in range(201)] == ["people"] * 200 + ["night"]
    assert [go(queue) for _ in range(191)] == ["people"] * 190 + ["night"], "10 of 200 seconds: a twentieth"


def test_a_class_of_full_age_gets_twice_its_share() -> None:
    queue = queue_of(*[PEOPLE] * 200, *[NIGHT] * 200)
    assert Counter(go(queue, 60 * S) for _ in range(101)) == {"people": 91, "night": 10}


def test_a_class_ages_by_the_wait_of_its_own_next_request() -> None:
    queue = FairQueue(size_ns)
    queue.push(Waiter("night", Demand("p", NIGHT, ONE), since_ns=40 * S))
    for number in range(40):
        queue.push(Waiter(f"people-{number}", Demand("p", PEOPLE, ONE), since_ns=100 * S))
    assert [go(queue, 100 * S) for _ in range(11)] == ["people"] * 10 + ["night"]


def test_a_class_that_comes_new_is_not_aged_whatever_the_clock_says() -> None:
    queue = FairQueue(size_ns)
    for number in range(40):
        queue.push(Waiter(f"people-{number}", Demand("p", PEOPLE, ONE), since_ns=0))
    queue.push(Waiter("night", Demand("p", NIGHT, ONE), since_ns=100 * S))
    assert [go(queue, 100 * S) for _ in range(21)] == ["people"] * 20 + ["night"]


def test_one_who_waits_earns_also_while_one_at_a_time_goes_before_it() -> None:
    queue = queue_of(NIGHT)
    for number in range(20):
        queue.push(Waiter(f"people-{number}", Demand("p", PEOPLE, ONE)))
        assert go(queue) == "people"
    queue.push(Waiter("people", Demand("p", PEOPLE, ONE)))
    assert go(queue) == "night"


def test_a_class_that_comes_now_and_then_earns_nothing_in_between() -> None:
    queue = queue_of(*[PEOPLE] * 100)
    for number in range(3):
        queue.push(Waiter(f"night-{number}", Demand("p", NIGHT, ONE)))
        assert [go(queue) for _ in range(18)] == ["people"] * 18
        queue.remove(f"night-{number}")


def test_classes_share_too_where_nothing_costs_anything() -> None:
    queue = queue_of(*[PEOPLE] * 100, *[NIGHT] * 100, cost=Cost())
    assert Counter(go(queue) for _ in range(101)) == {"people": 96, "night": 5}


def test_coming_back_to_the_front_costs_no_class_anything() -> None:
    queue = queue_of(*[PEOPLE] * 40, NIGHT)
    for number in range(100):
        queue.push(Waiter(f"back-{number}", Demand("p", TEAM, ONE, front=True)))
    assert [go(queue) for _ in range(100)] == ["team"] * 100
    assert [go(queue) for _ in range(20)] == ["people"] * 20


class TestHeld:
    def test_nobody_who_comes_later_takes_the_place_of_a_held_head(self) -> None:
        queue = queue_of(NIGHT, NIGHT)
        head = queue.head()
        assert head is not None
        queue.hold(head)
        queue.hold(head)
        queue.push(Waiter("p", Demand("p", PEOPLE, ONE)))
        assert [go(queue) for _ in range(3)] == ["night", "people", "night"]

    def test_a_held_head_that_leaves_gives_its_place_back(self) -> None:
        queue = queue_of(NIGHT, NIGHT, PEOPLE)
        for expected in ("people-2", "night-0"):
            head = queue.head()
            assert head is not None
            assert head.lease_id == expected
            queue.hold(head)
            queue.remove(expected)
        assert [go(queue)] == ["night"]

    def test_after_it_has_left_the_next_head_can_be_held(self) -> None:
        queue = queue_of(NIGHT, NIGHT)
        for lease_id in ("night-0", "night-1"):
            head = queue.head()
            assert head is not None
            assert head.lease_id == lease_id
            queue.hold(head)
            if lease_id == "night-0":
                queue.remove(lease_id)
        queue.push(Waiter("p", Demand("p", PEOPLE, ONE)))
        assert [go(queue) for _ in range(2)] == ["night", "people"]

    def test_who_came_back_is_at_the_front_and_needs_not_be_held(self) -> None:
        queue = queue_of(TEAM)
        back = Waiter("back", Demand("p", NIGHT, ONE, front=True))
        queue.push(back)
        queue.hold(back)
        assert [go(queue) for _ in range(2)] == ["night", "team"]

    def test_a_held_head_ages_and_its_class_is_counted(self) -> None:
        queue = queue_of(NIGHT)
        head = queue.head()
        assert head is not None
        queue.hold(head)
        for number in range(30):
            queue.push(Waiter(f"p-{number}", Demand("p", PEOPLE, ONE)))
        filler = queue.filler(lambda _cost: 0)
        assert filler is not None
        queue.take(filler.waiter, 0)
        assert go(queue) == "night"

    def test_who_comes_back_goes_before_a_held_head(self) -> None:
        queue = queue_of(TEAM, TEAM)
        head = queue.head()
        assert head is not None
        queue.hold(head)
        back = Waiter("back", Demand("p", NIGHT, ONE, front=True))
        queue.push(back)
        queue.hold(back)
        assert [go(queue) for _ in range(3)] == ["night", "team", "team"]


class TestFiller:
    def test_is_the_first_of_a_line_by_class_and_turn(self) -> None:
        queue = queue_of(TEAM, TEAM, NIGHT, Caller("other"), Caller("third"))
        head = queue.head()
        assert head is not None
        queue.hold(head)
        names = []
        while (filler := queue.filler(lambda _cost: 7)) is not None:
            assert filler.wait_ns == 7
            queue.take(filler.waiter, 0)
            names.append(filler.waiter.demand.caller.name)
        assert names == ["other", "third", "night"], "never the second of the head's own line"

    @pytest.mark.parametrize("dimension", range(3))
    def test_one_who_costs_less_in_one_dimension_is_enough(self, dimension: int) -> None:
        queue = queue_of(TEAM, cost=Cost(300, 300, 300))
        head = queue.head()
        assert head is not None
        queue.hold(head)
        less = Cost(*[299 if each == dimension else 300 for each in range(3)])
        queue.push(Waiter("less", Demand("p", Caller("other"), less)))
        filler = queue.filler(lambda cost: None if cost[dimension] > 299 else 0)
        assert filler is not None
        assert filler.waiter.lease_id == "less"

    def test_after_the_first_of_a_line_has_left_the_next_one_counts(self) -> None:
        queue = queue_of(TEAM)
        head = queue.head()
        assert head is not None
        queue.hold(head)
        other = Caller("other")
        for tokens in (10, 5_000):
            queue.push(Waiter(f"{tokens}", Demand("p", other, Cost(1, tokens))))

        def wait_ns(cost: Cost) -> int | None:
            return 0 if cost.input_tokens <= 10 else None

        assert queue.filler(wait_ns) is not None
        queue.remove("10")
        assert queue.filler(wait_ns) is None

    def test_nobody_may_where_nobody_costs_little_enough(self) -> None:
        queue = queue_of(TEAM, NIGHT)
        asked: list[Cost] = []

        def refuse(cost: Cost) -> None:
            asked.append(cost)

        assert queue.filler(refuse) is None
        assert asked == [ONE], "the least of all costs decides at once"


class TestAhead:
    """What goes before a new waiter; everything here is in seconds of the pool's rate."""

    def test_of_higher_classes_all_but_what_the_own_share_leaves(self) -> None:
        assert queue_of(*[PEOPLE] * 3).ahead_ns(TEAM, ONE) == 3 * S
        assert queue_of(*[PEOPLE] * 30).ahead_ns(TEAM, ONE) == 4 * S, "a fifth is guaranteed"
        assert queue_of(*[PEOPLE] * 300, TEAM).ahead_ns(TEAM, ONE) == 9 * S

    def test_of_lower_classes_what_they_are_owed(self) -> None:
        assert queue_of(*[NIGHT] * 30).ahead_ns(TEAM, ONE) == 0
        assert queue_of(*[TEAM] * 20, *[NIGHT] * 30).ahead_ns(TEAM, ONE) == 21 * S
        assert queue_of(*[TEAM] * 200, NIGHT).ahead_ns(TEAM, ONE) == 201 * S
        assert queue_of(*[PEOPLE] * 20, *[TEAM] * 30, *[NIGHT] * 30).ahead_ns(PEOPLE, ONE) == (20 + 4 + 1) * S

    def test_of_lower_classes_a_head_that_is_held(self) -> None:
        queue = queue_of(NIGHT, NIGHT, cost=Cost(1, 30_000))
        head = queue.head()
        assert head is not None
        queue.hold(head)
        assert queue.ahead_ns(TEAM, ONE) == 30 * S
