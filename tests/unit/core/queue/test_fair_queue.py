"""The fair queue by example: order, weights, front, removal, prediction."""

from collections import Counter
from math import inf

from support.queues import ANN, BEN, COST, MS, never, order, pop, queue_of, rates, waiter
from tidegate.core.domain.caller import Caller, Priority
from tidegate.core.domain.demand import Demand
from tidegate.core.domain.dimension import Cost
from tidegate.core.domain.snapshots import ClassSnapshot
from tidegate.core.queue.fair_queue import FairQueue
from tidegate.core.queue.flow import Flow
from tidegate.core.queue.waiter import Waiter


def test_a_waiter_has_as_long_left_as_it_is_patient() -> None:
    patient = Waiter("a", Demand("pool", ANN, COST, patience_ns=5 * MS), since_ns=2 * MS)
    assert [patient.patience_left_ns(now_ns) for now_ns in (2 * MS, 6 * MS, 8 * MS)] == [5 * MS, MS, -MS]
    assert waiter("b").patience_left_ns(6 * MS) == inf


def test_a_caller_that_comes_back_pays_for_all_that_it_had() -> None:
    """Two requests of 100 make a tag of 200. Ben's third and fourth request of 60 begin at 120 and 180."""
    queue = queue_of([waiter("a1"), *(waiter(f"b{number}", BEN, 60) for number in range(1, 5))])
    assert pop(queue) == "a1"
    queue.push(waiter("a2"))
    assert [pop(queue) for _ in range(3)] == ["b1", "b2", "a2"]
    queue.push(waiter("a3"))
    assert order(queue) == ["b3", "b4", "a3"]


def test_an_empty_queue_has_no_head_and_nothing_to_pop() -> None:
    queue = FairQueue(rates, never)
    assert queue.head(0) is None
    assert Flow().head() is None
    assert queue.remove("nobody") is None


def test_a_lone_caller_is_served_in_order() -> None:
    assert order(queue_of(waiter(f"{n}", tokens=100 - n) for n in range(9))) == list("012345678")


def test_many_requests_of_one_caller_do_not_delay_another() -> None:
    queue = queue_of([waiter(f"ann-{n}") for n in range(5)] + [waiter(f"ben-{n}", BEN) for n in range(2)])
    assert order(queue) == ["ann-0", "ben-0", "ann-1", "ben-1", "ann-2", "ann-3", "ann-4"]


def test_callers_share_by_weight() -> None:
    light, heavy = Caller("light", weight=1.0), Caller("heavy", weight=3.0)
    queue = queue_of(waiter(f"{caller.name}-{n}", caller) for caller in (light, heavy) for n in range(400))
    assert Counter(name.partition("-")[0] for name in order(queue)[:400]) == {"light": 100, "heavy": 300}


def test_callers_share_by_size_not_by_number() -> None:
    queue = queue_of(
        [waiter(f"big-{n}", ANN, 400) for n in range(10)] + [waiter(f"small-{n}", BEN, 100) for n in range(40)]
    )
    assert Counter(name.partition("-")[0] for name in order(queue)[:25]) == {"big": 5, "small": 20}


def test_the_size_counts_that_is_known_on_leaving() -> None:
    sizes = iter([2 * MS])
    queue = FairQueue(lambda: (0.0, next(sizes, MS), 0.0), never)
    for one in [waiter(f"ann-{n}") for n in range(2)] + [waiter(f"ben-{n}", BEN) for n in range(3)]:
        queue.push(one)
    assert order(queue) == ["ann-0", "ben-0", "ben-1", "ann-1", "ben-2"]


def test_callers_share_by_weight_where_nothing_costs_anything() -> None:
    light, heavy = Caller("light", weight=1.0), Caller("heavy", weight=3.0)
    queue = FairQueue(lambda: (0.0, 0.0, 0.0), never)
    for caller in (light, heavy):
        for n in range(40):
            queue.push(waiter(f"{caller.name}-{n}", caller))
    assert Counter(name.partition("-")[0] for name in order(queue)[:40]) == {"light": 10, "heavy": 30}


def test_idling_saves_nothing_up() -> None:
    queue = queue_of(waiter(f"ann-{n}") for n in range(10))
    for _ in range(5):
        pop(queue)
    for n in range(5):
        queue.push(waiter(f"ben-{n}", BEN))
    assert Counter(name.partition("-")[0] for name in order(queue)[:4]) == {"ann": 2, "ben": 2}


def test_push_returns_whether_the_waiter_may_be_the_next() -> None:
    queue = FairQueue(rates, never)
    comers = [waiter("a"), waiter("behind-a"), waiter("b", BEN), waiter("back", front=True)]
    assert [queue.push(one) for one in comers] == [True, False, True, True]


def test_the_front_goes_first_in_the_order_of_coming_back() -> None:
    queue = queue_of([waiter("a"), waiter("f1", BEN, front=True), waiter("b", BEN), waiter("f2", front=True)])
    assert order(queue) == ["f1", "f2", "a", "b"]


def test_coming_back_to_the_front_costs_no_share() -> None:
    queue = queue_of([waiter("back", front=True, tokens=10_000), waiter("a"), waiter("b", BEN)])
    assert order(queue) == ["back", "a", "b"]


def test_a_waiter_that_leaves_is_skipped_at_any_place() -> None:
    queue = queue_of(waiter(f"{n}") for n in range(6))
    for lease_id in ("0", "3", "5"):
        left = queue.remove(lease_id)
        assert left is not None
        assert left.lease_id == lease_id
    assert queue.snapshot(0)["standard"].by_caller == {"ann": 3}
    assert order(queue) == ["1", "2", "4"]


def test_a_mass_leaving_frees_the_memory() -> None:
    queue = queue_of(waiter(f"{n}") for n in range(10_000))
    for n in range(9_999):
        queue.remove(f"{n}")
        (flow,) = (flow for _, flow in queue._classes[1].flows.callers())
        assert len(flow._waiters) <= 2 * len(queue) + 64
    assert order(queue) == ["9999"]


def test_a_mass_leaving_from_the_end_frees_the_memory() -> None:
    queue = queue_of(waiter(f"{n}") for n in range(10_000))
    for n in range(9_999, 0, -1):
        queue.remove(f"{n}")
        (flow,) = (flow for _, flow in queue._classes[1].flows.callers())
        assert len(flow._waiters) <= 2 * len(queue) + 64
    assert order(queue) == ["0"]


def test_callers_who_come_and_go_leave_no_entries_behind() -> None:
    queue = queue_of([waiter("stays")])
    for n in range(10_000):
        queue.push(waiter(f"{n}", BEN))
        assert len(queue._classes[1].flows._heap) <= 2 * 2 + 64
        assert len(queue._classes[1].flows.children or {}) <= 2
        queue.remove(f"{n}")
    assert order(queue) == ["stays"]


def test_of_20000_callers_who_came_and_left_nothing_stays() -> None:
    queue = queue_of(waiter(f"stays-{n}") for n in range(50))
    for n in range(20_000):
        queue.push(waiter(f"{n}", Caller(f"caller-{n}")))
        if n % 2:
            queue.remove(f"{n}")
        elif n % 4:
            queue.remove(f"{n - 2}")
            queue.remove(f"{n}")
    for n in range(0, 20_000, 4):
        queue.remove(f"{n}")
    flows = queue._classes[1].flows
    assert list(flows.children or {}) == ["ann"]
    assert (len(queue), flows.waiting, flows.active) == (50, 50, 1)
    assert len(flows._heap) <= 2 + 64
    assert len(flows._idle) <= 1


def test_callers_who_were_served_and_left_are_forgotten_with_their_debt() -> None:
    queue = queue_of([waiter("stays-0")])
    for n in range(3_000):
        queue.push(waiter(f"{n}", Caller(f"caller-{n}")))
        queue.push(waiter(f"stays-{n + 1}"))
        assert len(queue._classes[1].flows.children or {}) <= 4
        pop(queue)
        pop(queue)


def test_a_caller_that_came_twice_while_in_debt_is_forgotten_once() -> None:
    queue = queue_of([waiter("ben", BEN), *(waiter(f"{n}") for n in range(4))])
    assert pop(queue) == "ben"
    for n in range(2):
        queue.push(waiter(f"left-{n}", BEN))
        queue.remove(f"left-{n}")
    flows = queue._classes[1].flows
    assert set(flows.children or {}) == {"ann", "ben"}
    assert [pop(queue) for _ in range(3)] == ["0", "1", "2"]
    assert (set(flows.children or {}), flows._idle) == ({"ann"}, [])


def test_an_empty_queue_remembers_nobody() -> None:
    queue = queue_of(waiter(f"{n}", Caller(f"caller-{n}"), front=n % 2 == 0) for n in range(100))
    order(queue)
    queue.push(waiter("last"))
    queue.push(waiter("back", front=True))
    queue.remove("back")
    queue.remove("last")
    assert (queue.waiting, queue._held, queue.tokens) == ({}, None, 0)
    for home in queue._classes:
        flows = home.flows
        assert (flows.children, flows._heap, flows._idle, home.refused, home.failed) == ({}, [], [], {}, {})


def test_a_price_is_of_the_time_at_which_it_is_refreshed() -> None:
    queue = queue_of([Waiter("a", Demand("pool", ANN, COST, price=lambda now_ns: Cost(1, now_ns // MS)))])
    queue.refresh_price(queue.waiting["a"], 5_000 * MS)
    assert (queue.tokens, queue.waiting["a"].priced_ns) == (5_000, 5_000 * MS)


def test_a_wait_that_was_left_costs_no_share() -> None:
    queue = queue_of([waiter(f"ben-{n}", BEN) for n in range(5)] + [waiter(f"left-{n}") for n in range(4)])
    for n in range(4):
        queue.remove(f"left-{n}")
    queue.push(waiter("ann"))
    assert order(queue)[:2] == ["ben-0", "ann"]


def test_a_waiter_moves_up_when_an_earlier_one_of_its_caller_leaves() -> None:
    queue = queue_of([waiter(f"ben-{n}", BEN) for n in range(5)] + [waiter(f"ann-{n}") for n in range(4)])
    for n in range(3):
        queue.remove(f"ann-{n}")
    assert order(queue)[:2] == ["ben-0", "ann-3"]


def test_a_line_that_emptied_and_filled_again_is_served_once_per_turn() -> None:
    queue = queue_of([waiter("left"), *(waiter(f"ben-{n}", BEN) for n in range(3))])
    queue.remove("left")
    for n in range(3):
        queue.push(waiter(f"ann-{n}"))
    assert order(queue) == ["ben-0", "ann-0", "ben-1", "ann-1", "ben-2", "ann-2"]


def test_one_who_left_the_front_is_skipped() -> None:
    queue = queue_of([waiter("f1", front=True), waiter("f2", front=True), waiter("a")])
    queue.remove("f1")
    assert order(queue) == ["f2", "a"]


def test_a_snapshot_shows_who_waits_by_class() -> None:
    batch = Caller("night", priority=Priority.BATCH)
    queue = queue_of([waiter("a"), waiter("b"), waiter("c", batch), waiter("d", BEN, front=True)])
    assert queue.snapshot(5_000 * MS) == {
        "interactive": ClassSnapshot(0, 0, None, {}),
        "standard": ClassSnapshot(3, 300, 5, {"ann": 2, "ben": 1}),
        "batch": ClassSnapshot(1, 100, 5, {"night": 1}),
    }
    queue.push(Waiter("e", Demand("pool", Caller("late", priority=Priority.INTERACTIVE), COST), since_ns=3_000 * MS))
    assert queue.snapshot(5_000 * MS)["interactive"].oldest_seconds == 2
    for lease_id in ("b", "d", "e"):
        queue.remove(lease_id)
    assert pop(queue) == "a"
    assert queue.snapshot(0)["standard"] == ClassSnapshot(0, 0, None, {})


def test_the_oldest_of_a_class_need_not_be_the_next_of_its_caller() -> None:
    queue = FairQueue(rates, never)
    for n, (session, front) in enumerate([("s", False), ("s", False), ("t", False), ("s", True)]):
        demand = Demand("pool", ANN, COST, session=session, session_front=front)
        queue.push(Waiter(f"{n}", demand, since_ns=n * 1_000 * MS))
    assert pop(queue) == "3"
    assert queue.snapshot(5_000 * MS)["standard"].oldest_seconds == 5
    assert pop(queue) == "2"
    assert queue.snapshot(5_000 * MS)["standard"].oldest_seconds == 5
    queue.remove("0")
    assert queue.snapshot(5_000 * MS)["standard"].oldest_seconds == 4


class TestDetached:
    """Callers over their own limits."""

    def test_a_caller_that_waited_out_of_the_queue_is_not_behind_those_who_came_later(self) -> None:
        queue = queue_of(waiter(f"{caller.name}-{n}", caller) for n in range(20) for caller in (ANN, BEN))
        for _ in range(20):
            pop(queue)
        queue.push(waiter("zoe-0", Caller("zoe")))
        first = queue.waiting["ann-10"]
        queue.skip(first)
        for lease_id in [name for name in queue.waiting if not name.startswith("ann")]:
            queue.remove(lease_id)
        for n in range(20):
            queue.push(waiter(f"new-{n}", Caller("new")))
        queue.readmit(first)
        assert "ann-10" in [pop(queue) for _ in range(2)]

    def test_twice_or_without_requests_it_makes_no_difference(self) -> None:
        queue = queue_of(waiter(f"{caller.name}-{n}", caller) for n in range(2) for caller in (ANN, BEN))
        flows = queue._classes[1].flows
        for name in ("nobody", "ben"):
            for _ in range(2):
                flows.detach(name)
        assert (flows.waiting, flows.active) == (2, 1)
        for name in ("nobody", "ben"):
            for _ in range(2):
                flows.attach(name)
        assert (flows.waiting, flows.active) == (4, 2)
        assert [pop(queue) for _ in range(2)] == ["ann-0", "ben-0"]
        queue.remove("ben-1")
        flows.detach("ben")
        flows.attach("ben")
        assert (flows.waiting, flows.active, flows._detached) == (1, 1, 0)

    def test_nothing_stays_of_a_caller_that_leaves_as_the_last(self) -> None:
        queue = queue_of([waiter("a")])
        queue.skip(queue.waiting["a"])
        assert queue.head(0) is None
        queue.remove("a")
        assert queue._classes[1].flows.children == {}

    def test_what_a_held_back_request_now_costs_counts_when_its_caller_is_back(self) -> None:
        queue = queue_of([waiter("a"), waiter("b", BEN)])
        flows, held_back = queue._classes[1].flows, queue.waiting["a"]
        queue.skip(held_back)
        queue.reprice(held_back, Cost(1, 300), 0)
        assert (queue.load_of(ANN), flows.load) == ((1, [1, 300, 0]), [1, 100, 0])
        queue.readmit(held_back)
        assert flows.load == [2, 400, 0]

    def test_a_further_session_of_a_caller_that_is_held_back_waits_with_it(self) -> None:
        queue = queue_of([waiter("b", BEN)])
        for session in ("s", "s", "t"):
            queue.push(Waiter(f"{session}-{len(queue)}", Demand("pool", ANN, COST, session=session)))
            queue.skip(queue.waiting["s-1"])
        assert order_of_those_who_may_go(queue) == ["b"]
        queue.readmit(queue.waiting["s-1"])
        assert order(queue) == ["s-1", "t-3", "s-2"]


def order_of_those_who_may_go(queue: FairQueue) -> list[str]:
    taken = []
    while queue.head(0) is not None:
        taken.append(pop(queue))
    return taken


def test_a_demand_that_continues_a_session_goes_first_in_it_whatever_its_agents_wait_for() -> None:
    queue = FairQueue(rates, never)
    for agent in ("", "x", ""):
        queue.push(Waiter(f"{agent or 'main'}-{len(queue)}", Demand("pool", ANN, COST, session="s", agent=agent)))
    assert queue.push(Waiter("next", Demand("pool", ANN, COST, session="s", session_front=True)))
    assert order(queue) == ["next", "main-0", "x-1", "main-2"]


def test_a_demand_that_continues_a_session_goes_first_though_the_first_has_left() -> None:
    queue = FairQueue(rates, never)
    for number in range(3):
        queue.push(Waiter(f"{number}", Demand("pool", ANN, COST, session="s")))
    queue.remove("0")
    queue.push(Waiter("next", Demand("pool", ANN, COST, session="s", session_front=True)))
    assert order(queue) == ["next", "1", "2"]


def test_the_waiters_of_a_caller_count_in_all_classes() -> None:
    nightly = Caller("ann", priority=Priority.BATCH)
    queue = queue_of([waiter("a"), waiter("b", nightly, 50), waiter("c", BEN)])
    assert queue.load_of(ANN) == queue.load_of(nightly) == (2, [2, 150, 0])
    assert queue.load_of(Caller("nobody")) == (0, [0, 0, 0])
    assert queue.tokens == 250
    queue.remove("a")
    assert queue.load_of(ANN) == (1, [1, 50, 0])
    assert queue.tokens == 150


class TestAChangedWeight:
    def test_counts_for_what_comes_after_while_what_waits_keeps_its_place(self) -> None:
        queue = queue_of([waiter("a1"), waiter("b1", BEN), waiter("b2", BEN), waiter("a2")])
        heavy = Caller("ann", weight=4.0)
        for number in range(3, 6):
            queue.push(waiter(f"a{number}", heavy))
        assert order(queue) == ["a1", "b1", "a2", "a3", "a4", "b2", "a5"]

    def test_counts_in_predictions(self) -> None:
        flows = Flow()
        for one in (waiter("a1"), waiter("b1", BEN), waiter("a2", Caller("ann", weight=4.0))):
            flows.push(one)
        assert flows._active_weight == 5.0

    def test_of_a_caller_that_is_held_back_counts_when_it_is_back(self) -> None:
        flows = Flow()
        flows.push(waiter("a1"))
        flows.detach("ann")
        flows.push(waiter("a2", Caller("ann", weight=4.0)))
        assert flows._active_weight == 0.0
        flows.attach("ann")
        assert flows._active_weight == 4.0
