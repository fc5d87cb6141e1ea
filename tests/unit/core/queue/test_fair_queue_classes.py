"""Priority classes in the queue: who goes first, what each class gets, and what is predicted of it."""

import math
from collections import Counter

import pytest
from msgspec import structs

from support.work_ahead import ahead_ns, before_ns
from tidegate.core.domain.caller import Caller, Priority
from tidegate.core.domain.demand import Demand
from tidegate.core.domain.dimension import Cost, NsPerUnit
from tidegate.core.domain.nanoseconds import NS_PER_SECOND as S
from tidegate.core.domain.snapshots import ClassSnapshot
from tidegate.core.queue.fair_queue import FairQueue
from tidegate.core.queue.waiter import Waiter

PEOPLE = Caller("people", priority=Priority.INTERACTIVE)
TEAM = Caller("team")
NIGHT = Caller("night", priority=Priority.BATCH)
ONE = Cost(1, 1_000)
"""A second of the pool's rate."""


def rates() -> NsPerUnit:
    return 0.0, S / 1_000, 0.0


def never(_now_ns: int) -> int:
    """The retry budget of these tests: used up."""
    return S


def queue_of(*callers: Caller, cost: Cost = ONE, may_retry: bool = False) -> FairQueue:
    queue = FairQueue(rates, (lambda _now_ns: 0) if may_retry else never)
    for number, caller in enumerate(callers):
        queue.push(Waiter(f"{caller.name}-{number}", Demand("p", caller, cost)))
    return queue


def come_back(lease_id: str, caller: Caller, kind: str) -> Waiter:
    return Waiter(lease_id, structs.replace(Demand("p", caller, ONE), **{kind: True}))


def go(queue: FairQueue, now_ns: int = 0) -> str:
    head = queue.head(0)
    assert head is not None
    queue.serve(head, now_ns)
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
    queue = FairQueue(rates, never)
    queue.push(Waiter("night", Demand("p", NIGHT, ONE), since_ns=40 * S))
    for number in range(40):
        queue.push(Waiter(f"people-{number}", Demand("p", PEOPLE, ONE), since_ns=100 * S))
    assert [go(queue, 100 * S) for _ in range(11)] == ["people"] * 10 + ["night"]


def test_a_class_that_comes_new_is_not_aged_whatever_the_clock_says() -> None:
    queue = FairQueue(rates, never)
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


class TestThoseThatComeBack:
    """Refused with 429 (`front`), or failed and repeated (`retry`)."""

    @pytest.mark.parametrize("kind", ["front", "retry"])
    def test_go_before_the_others_of_their_class(self, kind: str) -> None:
        queue = queue_of(TEAM, TEAM, may_retry=True)
        for number in range(2):
            queue.push(come_back(f"back-{number}", Caller("other"), kind))
        assert [go(queue) for _ in range(4)] == ["other", "other", "team", "team"]

    @pytest.mark.parametrize("kind", ["front", "retry"])
    def test_never_hold_up_a_higher_class_beyond_their_classs_share(self, kind: str) -> None:
        queue = queue_of(*[PEOPLE] * 100, may_retry=True)
        for number in range(10):
            queue.push(come_back(f"back-{number}", NIGHT, kind))
        assert [go(queue) for _ in range(41)] == [*["people"] * 20, "night", *["people"] * 19, "night"], "a twentieth"

    def test_are_repeated_only_as_the_retry_budget_lets_them(self) -> None:
        queue = queue_of(TEAM)
        queue.push(come_back("back", NIGHT, "retry"))
        assert go(queue) == "team"
        assert queue.head(0) is None
        assert (len(queue), len(queue.failed)) == (1, 1)

    @pytest.mark.parametrize(
        ("kind", "may_retry", "goes"), [("front", False, 1), ("retry", True, 1), ("retry", False, 0)]
    )
    def test_go_ahead_of_a_new_one_if_they_may_go(self, kind: str, *, may_retry: bool, goes: int) -> None:
        queue = queue_of(may_retry=may_retry)
        queue.push(Waiter("back", structs.replace(Demand("p", TEAM, Cost(1, 20, 3)), **{kind: True})))
        assert queue.ahead(Demand("p", TEAM, ONE), 0) == (goes, 20 * goes, 3 * goes)

    def test_that_may_not_be_repeated_yet_hold_up_no_lower_class(self) -> None:
        queue = queue_of(TEAM)
        queue.push(come_back("back", PEOPLE, "retry"))
        assert go(queue) == "team"

    def test_go_before_one_another_in_their_order_and_before_new_ones_once_they_may(self) -> None:
        queue = FairQueue(rates, lambda now_ns: 0 if now_ns >= S else S)
        for waiter in (
            Waiter("new", Demand("p", TEAM, ONE)),
            come_back("first", TEAM, "retry"),
            come_back("second", TEAM, "retry"),
            Waiter("night", Demand("p", NIGHT, ONE)),
        ):
            queue.push(waiter)
        befores = [[before_ns(queue, each, now_ns) for each in queue.waiting.values()] for now_ns in (0, S)]
        assert befores == [[0, 0, 0, S], [2 * S, 0, S, 3 * S]]
        assert ahead_ns(queue, Demand("p", NIGHT, ONE), 0) == 2 * S
        assert ahead_ns(queue, Demand("p", NIGHT, ONE), S) == 4 * S

    def test_that_are_held_back_leave_nothing_when_they_leave(self) -> None:
        queue = queue_of(TEAM)
        queue.push(come_back("back", TEAM, "front"))
        queue.skip(queue.waiting["back"])
        queue.remove("back")
        assert queue.skipped == {}

    def test_no_longer_count_when_they_have_left(self) -> None:
        queue = queue_of(may_retry=True)
        for kind in ("front", "retry"):
            for number in range(2):
                queue.push(come_back(f"{kind}-{number}", TEAM, kind))
            queue.remove(f"{kind}-0")
        assert ahead_ns(queue, Demand("p", TEAM, ONE, front=True), 0) == 2 * S

    def test_count_in_the_places_of_others_also_while_they_may_not_go(self) -> None:
        queue = queue_of(TEAM)
        for number in range(3):
            queue.push(come_back(f"back-{number}", TEAM, "retry"))
        assert [queue.place((0.0, tokens, 0.0)) for tokens in (0.0, 1_000.0, 10_000.0)] == [1, 2, 4]

    def test_are_counted_with_their_class(self) -> None:
        queue = queue_of(TEAM)
        queue.push(come_back("back", TEAM, "retry"))
        assert queue.snapshot(5 * S)["standard"] == ClassSnapshot(2, 2_000, 5, {"team": 2})
        queue.remove("back")
        assert queue.snapshot(5 * S)["standard"] == ClassSnapshot(1, 1_000, 5, {"team": 1})

    def test_pay_what_they_cost_now(self) -> None:
        queue = FairQueue(rates, lambda _now_ns: 0)
        prices = {"back": Cost(1, 3_000), "failed": Cost(1, 4_000)}
        for name, kind in (("back", "front"), ("failed", "retry")):
            waiter = come_back(name, TEAM, kind)
            waiter.demand = structs.replace(waiter.demand, price=lambda _now_ns, name=name: prices[name])
            queue.push(waiter)
            queue.refresh_price(waiter, S)
        assert ahead_ns(queue, Demand("p", TEAM, ONE), 0) == 7 * S
        assert queue.remove("failed") is not None
        assert ahead_ns(queue, Demand("p", TEAM, ONE, front=True), 0) == 3 * S


class TestHeld:
    def test_nobody_who_comes_later_takes_the_place_of_a_held_head(self) -> None:
        queue = queue_of(NIGHT, NIGHT)
        head = queue.head(0)
        assert head is not None
        queue.hold(head)
        queue.hold(head)
        queue.push(Waiter("p", Demand("p", PEOPLE, ONE)))
        assert [go(queue) for _ in range(3)] == ["night", "people", "night"]

    def test_a_held_head_that_leaves_gives_its_place_back(self) -> None:
        queue = queue_of(NIGHT, NIGHT, PEOPLE)
        for expected in ("people-2", "night-0"):
            head = queue.head(0)
            assert head is not None
            assert head.lease_id == expected
            queue.hold(head)
            queue.remove(expected)
        assert [go(queue)] == ["night"]

    def test_after_it_has_left_the_next_head_can_be_held(self) -> None:
        queue = queue_of(NIGHT, NIGHT)
        for lease_id in ("night-0", "night-1"):
            head = queue.head(0)
            assert head is not None
            assert head.lease_id == lease_id
            queue.hold(head)
            if lease_id == "night-0":
                queue.remove(lease_id)
        queue.push(Waiter("p", Demand("p", PEOPLE, ONE)))
        assert [go(queue) for _ in range(2)] == ["night", "people"]

    @pytest.mark.parametrize("caller", [Caller("other"), PEOPLE])
    def test_one_that_may_be_repeated_goes_before_a_held_head_of_its_class(self, caller: Caller) -> None:
        queue = queue_of(TEAM, may_retry=True)
        head = queue.head(0)
        assert head is not None
        queue.hold(head)
        queue.push(come_back("back", caller, "retry"))
        assert [go(queue) for _ in range(2)] == [caller.name, "team"]

    def test_one_that_came_back_needs_not_be_held(self) -> None:
        queue = queue_of(PEOPLE)
        back = come_back("back", TEAM, "front")
        queue.push(back)
        queue.hold(back)
        assert [go(queue) for _ in range(2)] == ["people", "team"]

    def test_a_held_head_ages_and_its_class_is_counted(self) -> None:
        queue = queue_of(NIGHT)
        head = queue.head(0)
        assert head is not None
        queue.hold(head)
        for number in range(30):
            queue.push(Waiter(f"p-{number}", Demand("p", PEOPLE, ONE)))
        assert go(queue) == "night"

    @pytest.mark.parametrize(("caller", "order"), [(PEOPLE, ["people", "team"]), (NIGHT, ["team", "night"])])
    def test_only_what_comes_back_to_its_class_or_a_higher_one_goes_before_it(
        self, caller: Caller, order: list[str]
    ) -> None:
        queue = queue_of(TEAM)
        head = queue.head(0)
        assert head is not None
        queue.hold(head)
        queue.push(come_back("back", caller, "front"))
        assert [go(queue) for _ in range(2)] == order

    @pytest.mark.parametrize("caller", [TEAM, NIGHT])
    def test_what_comes_back_to_a_lower_class_does_not_delay_a_higher_one_besides(self, caller: Caller) -> None:
        queue = queue_of(NIGHT)
        head = queue.head(0)
        assert head is not None
        queue.hold(head)
        queue.push(Waiter("p", Demand("p", PEOPLE, ONE)))
        for number in range(5):
            queue.push(come_back(f"back-{number}", caller, "front"))
        assert [go(queue) for _ in range(3)] == ["night", "people", caller.name]


class TestAhead:
    """What goes before a new waiter; everything here is in seconds of the pool's rate."""

    @staticmethod
    def seconds(queue: FairQueue, caller: Caller, now_ns: int = 0) -> float:
        return ahead_ns(queue, Demand("p", caller, ONE), now_ns) / S

    def test_of_higher_classes_all_but_what_the_own_share_leaves(self) -> None:
        assert self.seconds(queue_of(*[PEOPLE] * 3), TEAM) == 3
        # A fifth is guaranteed, and grows with age to two fifths after a minute: t + t² / 120 = 5, and 10 for two.
        assert self.seconds(queue_of(*[PEOPLE] * 30), TEAM) == pytest.approx(4.807, abs=0.001)
        assert self.seconds(queue_of(*[PEOPLE] * 300, TEAM), TEAM) == pytest.approx(9.282, abs=0.001)

    def test_of_higher_classes_less_where_the_own_class_is_of_full_age(self) -> None:
        assert self.seconds(queue_of(*[PEOPLE] * 300, TEAM), TEAM, now_ns=60 * S) == pytest.approx(5)
        assert self.seconds(queue_of(*[PEOPLE] * 300, *[TEAM] * 40), TEAM, now_ns=30 * S) == pytest.approx(
            30 + (41 - 0.2 * (30 * 1.5 + 7.5)) / 0.4
        )

    def test_of_higher_classes_less_where_the_own_class_has_earned(self) -> None:
        queue = queue_of(*[PEOPLE] * 300, NIGHT)
        for _ in range(19):
            go(queue)
        assert self.seconds(queue, NIGHT) == pytest.approx((math.sqrt(1 + 2 * 1.05 / 0.05 / 60) - 1) * 60)

    def test_of_lower_classes_what_they_are_owed(self) -> None:
        assert self.seconds(queue_of(*[NIGHT] * 30), TEAM) == 0
        assert self.seconds(queue_of(*[TEAM] * 10, *[NIGHT] * 30), TEAM) == 10
        assert self.seconds(queue_of(*[TEAM] * 20, *[NIGHT] * 30), TEAM) == pytest.approx(20 + 1 + 1 / 6)
        assert ahead_ns(queue_of(*[TEAM] * 200, NIGHT), Demand("p", TEAM, ONE), 0) == 201 * S
        # In 20 seconds the shares grow by a sixth: 0.2 × (20 + 20² / 120) = 4.67 and 1.17.
        queue = queue_of(*[PEOPLE] * 20, *[TEAM] * 30, *[NIGHT] * 30)
        assert self.seconds(queue, PEOPLE) == pytest.approx(20 + 4.667 + 1.167, abs=0.001)

    def test_of_other_classes_as_they_age(self) -> None:
        queue = FairQueue(rates, never)
        for number, caller in enumerate([*[PEOPLE] * 300, *[TEAM] * 40]):
            queue.push(Waiter(f"{number}", Demand("p", caller, ONE), since_ns=70 * S))
        assert self.seconds(queue, TEAM, 100 * S) == pytest.approx(30 + (41 - 0.2 * (30 * 1.5 + 7.5)) / 0.4)
        queue = FairQueue(rates, never)
        for number, caller in enumerate([*[PEOPLE] * 10, NIGHT]):
            queue.push(Waiter(f"{number}", Demand("p", caller, ONE), since_ns=70 * S))
        assert [self.seconds(queue, PEOPLE, now_s * S) for now_s in (70, 130)] == [10, 11]

    def test_of_higher_classes_less_where_a_request_of_the_own_class_has_waited_to_be_repeated(self) -> None:
        queue = queue_of(*[PEOPLE] * 300, may_retry=True)
        queue.push(come_back("back", TEAM, "retry"))
        assert self.seconds(queue, TEAM, 60 * S) == pytest.approx(5)

    def test_of_lower_classes_what_they_are_owed_though_none_waits_between(self) -> None:
        assert self.seconds(queue_of(*[PEOPLE] * 20, NIGHT), PEOPLE) == 21

    def test_of_lower_classes_the_longer_of_what_they_are_owed_and_a_held_head(self) -> None:
        queue = queue_of(NIGHT, cost=Cost(1, 30_000))
        queue.hold(queue.waiting["night-0"])
        for number in range(3):
            queue.push(come_back(f"back-{number}", NIGHT, "front"))
        for number in range(200):
            queue.push(Waiter(f"team-{number}", Demand("p", TEAM, ONE)))
        assert self.seconds(queue, TEAM) == 230

    @pytest.mark.parametrize("kind", ["front", "retry"])
    def test_of_lower_classes_nothing_that_its_callers_own_limits_hold_back(self, kind: str) -> None:
        queue = queue_of(*[TEAM] * 20, may_retry=True)
        queue.push(come_back("night", NIGHT, kind))
        assert self.seconds(queue, TEAM) == 21
        queue.skip(queue.waiting["night"])
        assert self.seconds(queue, TEAM) == 20

    def test_of_lower_classes_a_head_that_is_held(self) -> None:
        queue = queue_of(NIGHT, NIGHT, cost=Cost(1, 30_000))
        head = queue.head(0)
        assert head is not None
        queue.hold(head)
        assert ahead_ns(queue, Demand("p", TEAM, ONE), 0) == 30 * S
