"""The work that goes before a request, by example."""

import pytest

from support.queues import ANN, BEN, COST, MS, never, order, pop, queue_of, rates, waiter
from support.work_ahead import ahead_ns, before_ns
from tidegate.core.domain.caller import Caller
from tidegate.core.domain.demand import Demand
from tidegate.core.domain.dimension import Cost
from tidegate.core.queue.fair_queue import FairQueue
from tidegate.core.queue.waiter import Waiter


def test_nothing_goes_before_in_an_empty_queue() -> None:
    assert ahead_ns(FairQueue(rates, never), Demand("pool", ANN, COST), 0) == 0


def test_all_of_ones_own_goes_before() -> None:
    assert ahead_ns(queue_of(waiter(f"{n}") for n in range(7)), Demand("pool", ANN, COST), 0) == 700 * MS


def test_one_request_of_each_other_caller_goes_before_a_newcomer() -> None:
    queue = queue_of([waiter(f"ann-{n}") for n in range(50)] + [waiter("ben", BEN)])
    assert ahead_ns(queue, Demand("pool", Caller("new"), COST), 0) == 200 * MS


def test_others_get_their_weighted_share_meanwhile() -> None:
    heavy = Caller("heavy", weight=3.0)
    queue = queue_of([waiter("a"), waiter("b"), *(waiter(f"heavy-{n}", heavy) for n in range(50))])
    assert ahead_ns(queue, Demand("pool", ANN, COST), 0) == (200 + 3 * 200 + 100) * MS


def test_a_callers_own_weight_lets_fewer_of_others_go_meanwhile() -> None:
    heavy = Caller("heavy", weight=2.0)
    queue = queue_of([*(waiter(f"heavy-{n}", heavy) for n in range(4)), *(waiter(f"{n}") for n in range(50))])
    assert ahead_ns(queue, Demand("pool", heavy, COST), 0) == (400 + 400 / 2 + 100) * MS


def test_many_others_get_about_their_share() -> None:
    queue = queue_of(waiter(f"{n}-{turn}", Caller(f"caller-{n}")) for n in range(40) for turn in range(3))
    newcomer, member = (Demand("pool", Caller(name), COST) for name in ("new", "caller-0"))
    one_ns = 100 * MS
    assert ahead_ns(queue, newcomer, 0) == 40 * one_ns
    assert ahead_ns(queue, member, 0) == (3 + 39 * 3) * one_ns
    queue.push(waiter("ann"))
    assert ahead_ns(queue, Demand("pool", ANN, COST), 0) == (1 + 40 + 40) * one_ns


def test_those_who_have_left_are_no_rivals() -> None:
    heavy = Caller("heavy", weight=3.0)
    queue = queue_of([waiter("a"), waiter("b"), waiter("heavy", heavy)])
    queue.remove("heavy")
    for n in range(50):
        queue.push(waiter(f"ben-{n}", BEN))
    assert ahead_ns(queue, Demand("pool", ANN, COST), 0) == (200 + 200 + 100) * MS


def test_callers_from_before_the_queue_was_empty_are_no_rivals() -> None:
    queue = queue_of([waiter("a"), *(waiter(f"ben-{n}", BEN) for n in range(5))])
    order(queue)
    for one in [waiter("a"), *(waiter(f"ben-{n}", BEN) for n in range(50))]:
        queue.push(one)
    assert ahead_ns(queue, Demand("pool", ANN, COST), 0) == (100 + 100 + 100) * MS


@pytest.mark.parametrize("index", range(3), ids=["requests", "input", "output"])
def test_work_counts_in_the_dimension_that_the_pool_is_short_of(index: int) -> None:
    cost = Cost(1, 88, 12)
    queue = FairQueue(lambda: (MS * (index == 0), MS * (index == 1), MS * (index == 2)), never)
    for n in range(7):
        queue.push(Waiter(f"{n}", Demand("pool", ANN, cost)))
    for n in range(3):
        queue.remove(f"{n}")
    assert ahead_ns(queue, Demand("pool", ANN, cost), 0) == 4 * cost[index] * MS
    assert ahead_ns(queue, Demand("pool", Caller("new"), cost), 0) == cost[index] * MS


def test_a_request_that_continues_a_session_goes_before_all_its_agents() -> None:
    queue = queue_of(Waiter(name, Demand("pool", ANN, COST, session="s", agent=name)) for name in ("", "x", "y"))
    new = Demand("pool", ANN, COST, session="s", agent="z")
    before = ahead_ns(queue, new, 0)
    queue.push(Waiter("next", Demand("pool", ANN, COST, session="s", session_front=True)))
    assert ahead_ns(queue, new, 0) == before + 100 * MS


def test_nothing_goes_before_of_others_who_had_more_than_their_share() -> None:
    queue = queue_of([waiter("large", BEN, 500), waiter("ben", BEN), waiter("ann")])
    assert pop(queue) == "large"
    assert ahead_ns(queue, Demand("pool", Caller("new"), COST), 0) == 100 * MS


def test_a_held_head_goes_before_a_new_caller_even_if_its_caller_had_more_than_its_share() -> None:
    queue = queue_of([waiter("large", BEN, 500), waiter("ann"), waiter("ben", BEN)])
    assert (pop(queue), pop(queue)) == ("large", "ann")
    head = queue.head(0)
    assert head is queue.waiting["ben"]
    assert ahead_ns(queue, Demand("pool", Caller("new"), COST), 0) == 0
    queue.hold(head)
    assert ahead_ns(queue, Demand("pool", Caller("new"), COST), 0) == 100 * MS


@pytest.fixture
def with_late_held_head() -> FairQueue:
    """Ben's head is held although he had more than his share: 500 more than ann, who is gone."""
    queue = queue_of([waiter("large", BEN, 500), waiter("ann"), waiter("ben", BEN)])
    assert (pop(queue), pop(queue)) == ("large", "ann")
    head = queue.head(0)
    assert head is queue.waiting["ben"]
    queue.hold(head)
    return queue


def test_a_held_head_goes_before_waiters_that_came_later(with_late_held_head: FairQueue) -> None:
    queue, new = with_late_held_head, Caller("new")
    for n, session in enumerate("sst"):
        queue.push(Waiter(f"{n}", Demand("pool", new, COST, session=session)))
    assert [before_ns(queue, queue.waiting[f"{n}"], 0) for n in range(3)] == [100 * MS, 300 * MS, 200 * MS]


def test_a_held_head_of_a_session_goes_before_other_callers() -> None:
    queue = queue_of(Waiter(f"{n}", Demand("pool", BEN, COST, session="st"[n % 2])) for n in range(4))
    queue.push(waiter("ann"))
    assert (pop(queue), pop(queue), pop(queue)) == ("0", "ann", "1")
    head = queue.head(0)
    assert head is queue.waiting["2"]
    queue.hold(head)
    assert ahead_ns(queue, Demand("pool", Caller("new"), COST), 0) == 100 * MS


def test_a_held_head_that_is_larger_than_the_mean_counts_as_it_is() -> None:
    queue = queue_of([waiter("large", BEN, 300), waiter("small", BEN, 60), *(waiter(f"{n}") for n in range(4))])
    waits = [queue.waiting[f"{n}"] for n in range(4)]
    assert [before_ns(queue, each, 0) for each in waits] == [180 * MS, 280 * MS, 560 * MS, 660 * MS]
    head = queue.head(0)
    assert head is queue.waiting["large"]
    queue.hold(head)
    assert [before_ns(queue, each, 0) for each in waits] == [300 * MS, 400 * MS, 560 * MS, 660 * MS]


def test_a_waiter_keeps_its_tag_when_a_held_head_with_a_later_one_is_served(with_late_held_head: FairQueue) -> None:
    queue = with_late_held_head
    for n in range(4):
        queue.push(waiter(f"{n}", Caller("new")))
    assert pop(queue) == "ben"
    for n in range(4):
        queue.push(waiter(f"ann-{n}"))
    assert before_ns(queue, queue.waiting["3"], 0) == 300 * MS


def test_a_caller_that_had_more_than_its_share_waits_for_what_others_have_missed() -> None:
    queue = queue_of([waiter("large", BEN, 500), *(waiter(f"{n}") for n in range(9))])
    assert pop(queue) == "large"
    assert ahead_ns(queue, Demand("pool", BEN, COST), 0) == 600 * MS
    for n in range(40):
        queue.push(waiter(f"caller-{n}", Caller(f"caller-{n}")))
    assert ahead_ns(queue, Demand("pool", BEN, COST), 0) == 41 * 100 * MS, "with many rivals, one request each"


@pytest.mark.parametrize(("others", "counted"), [(31, 31), (32, 33)])
def test_up_to_32_rivals_are_looked_at_one_by_one(others: int, counted: int) -> None:
    """Among them is ben, who had more than his share."""
    queue = queue_of([waiter("large", BEN, 500), waiter("ben", BEN)])
    for n in range(others):
        queue.push(waiter(f"{n}", Caller(f"caller-{n}")))
    assert pop(queue) == "large"
    assert ahead_ns(queue, Demand("pool", Caller("new"), COST), 0) == counted * 100 * MS


def test_many_rivals_get_their_weighted_share() -> None:
    heavy = Caller("heavy", weight=2.0)
    queue = queue_of(waiter(f"{n}-{turn}", Caller(f"caller-{n}")) for n in range(40) for turn in range(5))
    queue.push(waiter("heavy-0", heavy))
    queue.push(waiter("heavy-1", heavy))
    assert ahead_ns(queue, Demand("pool", heavy, COST), 0) == (200 + 200 // 2 * 40 + 40 * 100) * MS


def test_sessions_share_evenly_whatever_the_weight_of_their_caller() -> None:
    heavy = Caller("heavy", weight=3.0)
    queue = queue_of(
        Waiter(f"{n}", Demand("pool", heavy, COST, session=session)) for n, session in enumerate("ssstttttt")
    )
    assert ahead_ns(queue, Demand("pool", heavy, COST, session="s"), 0) == (300 + 400) * MS


def test_of_equal_tags_the_one_that_was_set_first_goes_first() -> None:
    queue = queue_of([waiter("ben-0", BEN), waiter("ann-0"), waiter("ann-1"), waiter("ben-1", BEN)])
    assert pop(queue) == "ben-0"
    assert before_ns(queue, queue.waiting["ann-1"], 0) == 200 * MS
    assert order(queue) == ["ann-0", "ben-1", "ann-1"]


def test_another_session_sends_no_more_than_it_has() -> None:
    queue = queue_of(Waiter(f"{n}", Demand("pool", ANN, COST, session=session)) for n, session in enumerate("aaab"))
    assert ahead_ns(queue, Demand("pool", ANN, COST, session="a"), 0) == 400 * MS


@pytest.mark.parametrize(("held", "other", "first"), [(300, 100, 300), (100, 300, 200)])
def test_a_held_head_goes_before_another_session(held: int, other: int, first: int) -> None:
    """The sessions alternate: one request of about the mean size goes first, or the held head if it is larger."""
    queue = queue_of(Waiter(f"{tokens}", Demand("pool", ANN, Cost(1, tokens), session="a")) for tokens in (held, other))
    new = Demand("pool", ANN, COST, session="b")
    assert ahead_ns(queue, new, 0) == 200 * MS
    head = queue.head(0)
    assert head is not None
    queue.hold(head)
    assert ahead_ns(queue, new, 0) == first * MS


def test_others_send_no_more_than_they_have() -> None:
    queue = queue_of([*(waiter(f"{n}") for n in range(50)), waiter("ben", BEN)])
    assert ahead_ns(queue, Demand("pool", ANN, COST), 0) == (5_000 + 100) * MS


@pytest.mark.parametrize("agents", [("",), ("", "x")])
def test_nothing_of_its_session_goes_before_a_demand_that_continues_it(agents: tuple[str, ...]) -> None:
    queue = FairQueue(rates, never)
    for n in range(4):
        demand = Demand("pool", ANN, COST, session="s", agent=agents[n % len(agents)])
        queue.push(Waiter(f"{n}", demand))
    assert ahead_ns(queue, Demand("pool", ANN, COST, session="s"), 0) > 0
    assert ahead_ns(queue, Demand("pool", ANN, COST, session="s", session_front=True), 0) == 0


def test_requests_that_have_left_do_not_go_before_one_that_waits() -> None:
    queue = queue_of([waiter("b", BEN), *(waiter(f"{n}") for n in range(3))])
    assert before_ns(queue, queue.waiting["2"], 0) == 300 * MS
    queue.remove("0")
    assert before_ns(queue, queue.waiting["1"], 0) == 100 * MS
