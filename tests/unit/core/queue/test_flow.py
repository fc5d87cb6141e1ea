"""A tree of flows by example: levels that come and go, weights, places, and callers that are held back."""

import pytest

from support.queues import ANN, BEN, COST, order, pop, queue_of, waiter
from tidegate.core.domain.caller import Caller
from tidegate.core.domain.demand import Demand
from tidegate.core.domain.dimension import Cost
from tidegate.core.queue.fair_queue import FairQueue
from tidegate.core.queue.flow import Flow
from tidegate.core.queue.waiter import Waiter


def of_session(lease_id: str, session: str, agent: str = "", caller: Caller = ANN, *, front: bool = False) -> Waiter:
    return Waiter(lease_id, Demand("pool", caller, COST, session=session, agent=agent, session_front=front))


def push_all(*waiters: Waiter) -> FairQueue:
    return queue_of(waiters)


def only_child(flow: Flow) -> Flow:
    assert flow.children is not None
    (child,) = flow.children.values()
    return child


def test_a_session_that_comes_later_shares_evenly_with_the_one_that_waits() -> None:
    queue = push_all(*(of_session(f"{session}{number}", session) for session in "st" for number in range(4)))
    caller = only_child(queue._classes[1].flows)
    assert (caller.active, caller._active_weight) == (2, 2.0)
    assert order(queue) == ["s0", "t0", "s1", "t1", "s2", "t2", "s3", "t3"]


def test_sessions_share_evenly_though_the_weight_of_their_caller_has_changed() -> None:
    heavy = Caller("ann", weight=4.0)
    queue = push_all(*(of_session(f"{session}{number}", session) for number in range(2) for session in "st"))
    for number in range(2, 5):
        queue.push(of_session(f"s{number}", "s", caller=heavy))
    assert order(queue) == ["s0", "t0", "s1", "t1", "s2", "s3", "s4"]


def test_the_main_agent_alternates_with_all_subagents_together() -> None:
    queue = push_all(
        of_session("main-0", "s"),
        of_session("main-1", "s"),
        of_session("x-0", "s", "x"),
        of_session("y-0", "s", "y"),
        of_session("x-1", "s", "x"),
        of_session("main-2", "s"),
        of_session("t-0", "t"),
    )
    assert order(queue) == ["main-0", "t-0", "x-0", "main-1", "y-0", "main-2", "x-1"]


def test_a_flow_is_one_level_below_its_parent_wherever_it_was_made() -> None:
    queue = push_all(
        of_session("s", "s"), of_session("t", "t"), of_session("s-x", "s", "x"), of_session("s-y", "s", "y")
    )
    flows = [queue._classes[1].flows]
    for flow in flows:
        children = list((flow.children or {}).values())
        assert {child.depth for child in children} <= {flow.depth + 1}
        flows += children
    assert max(flow.depth for flow in flows) == 4


def test_a_caller_with_two_sessions_keeps_its_weight() -> None:
    heavy = Caller("heavy", weight=3.0)
    queue = push_all(of_session("s", "s", caller=heavy), of_session("t", "t", caller=heavy))
    assert queue._classes[1].flows._active_weight == 3.0


def test_a_session_that_leaves_is_forgotten_while_its_caller_waits() -> None:
    queue = push_all(of_session("s", "s"), of_session("t", "t"))
    queue.remove("s")
    caller = only_child(queue._classes[1].flows)
    assert list(caller.children or {}) == ["t"]


def test_a_caller_of_whose_sessions_none_waits_is_a_single_flow_again() -> None:
    queue = push_all(waiter("b", BEN), of_session("s", "s"), of_session("t", "t"))
    flows = queue._classes[1].flows
    ann = (flows.children or {})["ann"]
    assert ann.children is not None
    queue.remove("s")
    queue.remove("t")
    assert ann.children is None
    assert (flows.active, flows._active_weight) == (1, 1.0)


def test_the_weight_of_those_who_wait_is_exact_again_when_nobody_does() -> None:
    queue = push_all(*(waiter(f"{weight}", Caller(f"{weight}", weight=weight)) for weight in (0.1, 0.2, 0.3)))
    flows = queue._classes[1].flows
    assert flows._active_weight == pytest.approx(0.6)
    queue.remove("0.2")
    assert flows.active == 2
    assert flows._active_weight == pytest.approx(0.4)
    queue.remove("0.1")
    queue.remove("0.3")
    assert (flows.active, flows._active_weight) == (0, 0.0)


def test_a_caller_that_was_served_as_the_last_leaves_nothing() -> None:
    queue = queue_of([waiter("a"), waiter("b", BEN)])
    assert order(queue) == ["a", "b"]
    flows = queue._classes[1].flows
    assert (flows.children, flows._heap, flows._idle, flows._virtual_ns) == ({}, [], [], 0.0)


def test_callers_who_leave_without_service_are_not_remembered() -> None:
    queue = queue_of([waiter("stays")])
    for number in range(10):
        queue.push(waiter(f"{number}", BEN))
        queue.remove(f"{number}")
    assert queue._classes[1].flows._idle == []


def test_the_cost_of_a_request_of_a_session_counts_for_its_caller_and_class() -> None:
    queue = push_all(of_session("s", "s"), of_session("t", "t"))
    queue.reprice(queue.waiting["s"], Cost(1, 300, 7), 0)
    assert queue.load_of(ANN) == (2, [2, 400, 7])
    assert queue._classes[1].flows.load == [2, 400, 7]
    assert queue.tokens == 407


class TestSessionFront:
    """A request that continues a session goes to the front of it."""

    def test_before_all_that_wait(self) -> None:
        queue = push_all(*(of_session(f"{number}", "s") for number in range(3)))
        for name in ("next", "next but one"):
            queue.push(of_session(name, "s", front=True))
        assert order(queue) == ["next but one", "next", "0", "1", "2"]

    @pytest.mark.parametrize(
        ("left", "shares"), [([], [0, 1 / 3, 2 / 3]), (["0"], [0, 1 / 2]), (["0", "1"], [0])], ids=str
    )
    def test_has_the_place_before_the_first(self, left: list[str], shares: list[float]) -> None:
        queue = push_all(of_session("0", "s"), of_session("1", "s"), waiter("b", BEN))
        for lease_id in left:
            queue.remove(lease_id)
        queue.push(of_session("next", "s", front=True))
        waiting = [queue.waiting[name] for name in ("next", "0", "1") if name not in left]
        assert [one.flow and one.flow.share_before(one) for one in waiting] == shares


class TestHeldBack:
    """Callers that are over their own limits are detached."""

    def test_whether_a_further_request_may_be_their_next_is_known_all_the_same(self) -> None:
        queue = push_all(of_session("s0", "s"), waiter("b", BEN))
        queue.skip(queue.waiting["s0"])
        assert queue.push(of_session("s1", "s")) is False
        assert queue.push(of_session("s2", "s", front=True)) is True

    def test_each_of_them_counts_until_it_is_back(self) -> None:
        queue = push_all(waiter("a"), waiter("b", BEN), waiter("c", Caller("carl")))
        flows = queue._classes[1].flows
        for name in "ab":
            queue.skip(queue.waiting[name])
        queue.readmit(queue.waiting["a"])
        assert (flows._detached, flows.active, flows.waiting) == (1, 2, 2)

    def test_a_mass_leaving_of_such_a_caller_frees_the_memory(self) -> None:
        queue = push_all(*(waiter(f"{number}") for number in range(300)))
        queue.skip(queue.waiting["0"])
        for number in range(1, 300):
            queue.remove(f"{number}")
        flow = queue.waiting["0"].flow
        assert flow is not None
        assert len(flow._waiters) <= 2 + 64

    def test_one_that_divides_meanwhile_takes_no_part(self) -> None:
        queue = push_all(of_session("s", "s"), waiter("b", BEN))
        queue.skip(queue.waiting["s"])
        queue.push(of_session("t", "t"))
        assert queue._classes[1].flows.active == 1
        assert pop(queue) == "b"
        assert queue.head(0) is None


def test_a_caller_with_a_weight_of_its_own_counts_with_that_from_its_first_request_on() -> None:
    flows = Flow()
    flows.push(waiter("a", Caller("heavy", weight=4.0)))
    assert flows._active_weight == 4.0
