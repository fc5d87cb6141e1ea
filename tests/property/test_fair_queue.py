"""The fair queue: a state machine against a list, and the fairness that start-time fair queueing promises."""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from msgspec import structs

from support.work_ahead import ahead_ns
from tidegate.core.domain.caller import Caller, Priority
from tidegate.core.domain.demand import Demand
from tidegate.core.domain.dimension import Cost
from tidegate.core.queue.fair_queue import FairQueue
from tidegate.core.queue.flow import Flow, path_of
from tidegate.core.queue.waiter import Waiter

CALLERS = [
    Caller("a", priority=Priority.INTERACTIVE),
    Caller("b", weight=2.0),
    Caller("c", weight=0.5, priority=Priority.BATCH),
    Caller("d", weight=3.0),
]
TOKENS = st.integers(1, 10**4)
NS_PER_TOKEN = 1_000_000
SESSIONS = st.sampled_from(["", "", "s", "t"])
AGENTS = st.sampled_from(["", "", "x", "y"])
WAYS = st.sampled_from(["new", "new", "new", "session_front", "front", "retry"])


def waiter(name: str, caller: Caller, tokens: int, session: str = "", agent: str = "", way: str = "new") -> Waiter:
    demand = Demand("pool", caller, Cost(1, tokens), session=session, agent=agent)
    return Waiter(name, demand if way == "new" else structs.replace(demand, **{way: True}))


def service_time_ns(cost: Sequence[int]) -> int:
    return cost[1] * NS_PER_TOKEN


def pop(queue: FairQueue) -> Waiter:
    head = queue.head(0)
    assert head is not None
    queue.serve(head, 0)
    return head


class QueueMachine(RuleBasedStateMachine):
    """Any order of pushes, pops, removals, holds and skips, beside a list of who waits in order of arrival."""

    def __init__(self) -> None:
        super().__init__()
        self.gate_ns = 0
        self.queue = FairQueue(lambda: (0.0, NS_PER_TOKEN, 0.0), lambda _now_ns: self.gate_ns)
        self.waiting: list[Waiter] = []
        self.made = 0
        self.held: Waiter | None = None
        self.over_limit: set[str] = set()

    @rule(caller=st.sampled_from(CALLERS), tokens=TOKENS | st.just(0), session=SESSIONS, agent=AGENTS, way=WAYS)
    def push(self, caller: Caller, tokens: int, session: str, agent: str, way: str) -> None:
        self.made += 1
        one = waiter(f"lease-{self.made}", caller, tokens, session, agent, way)
        self.queue.push(one)
        self.waiting.append(one)

    @rule(gate_ns=st.sampled_from([0, 1]))
    def retries_may_go(self, gate_ns: int) -> None:
        self.gate_ns = gate_ns

    @rule(name=st.sampled_from("abcd"))
    def limit_or_free(self, name: str) -> None:
        """A caller reaches its own limit, or may go again: then those that were passed over are readmitted."""
        self.over_limit ^= {name}
        for one in tuple(self.queue.skipped.values()):
            if one.demand.caller.name not in self.over_limit:
                self.queue.readmit(one)

    def head(self) -> Waiter | None:
        """As a pool looks for it: callers over their own limits are passed over."""
        while (head := self.queue.head(0)) is not None and head.demand.caller.name in self.over_limit:
            self.queue.skip(head)
            self.held = None if head is self.held else self.held
        return head

    def first_of(self, caller: Caller) -> list[Waiter]:
        """Whoever may be the next new request of a caller: the first of each agent, and those in front of a session."""
        own = [one for one in self.waiting if one.demand.caller == caller and not one.is_returned]
        by_agent: dict[tuple[str, str], Waiter] = {}
        for one in own:
            by_agent.setdefault((one.demand.session, one.demand.agent), one)
        return [*by_agent.values(), *(one for one in own if one.demand.session_front)]

    @rule()
    def hold(self) -> None:
        head = self.head()
        if head is not None:
            self.queue.hold(head)
            if self.held is None and not head.is_returned:
                self.held = head

    @rule()
    def pop(self) -> None:
        head = self.head()
        may_go = [
            one
            for one in self.waiting
            if one.demand.caller.name not in self.over_limit and not (one.demand.retry and self.gate_ns)
        ]
        if head is None:
            assert may_go == []
            return
        self.queue.serve(head, 0)
        rank = head.demand.caller.rank
        back = [
            next((one for one in may_go if getattr(one.demand, way) and one.demand.caller.rank == rank), None)
            for way in ("front", "retry")
        ]
        if head is not self.held:
            expected = next((one for one in back if one is not None), None)
            assert head is expected if expected is not None else head in self.first_of(head.demand.caller)
        if head is self.held:
            self.held = None
        self.waiting.remove(head)

    @invariant()
    def who_is_held_is_the_head_unless_somebody_comes_back(self) -> None:
        head = self.head()
        if self.held is not None and head is not self.held:
            assert head is not None
            assert head.is_returned
            assert head.demand.caller.rank <= self.held.demand.caller.rank

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        one = data.draw(st.sampled_from(self.waiting))
        if one is self.held:
            self.held = None
        assert self.queue.remove(one.lease_id) is one
        assert self.queue.remove(one.lease_id) is None
        self.waiting.remove(one)

    @precondition(lambda self: self.waiting)
    @rule(data=st.data(), tokens=TOKENS)
    def reprice(self, data: st.DataObject, tokens: int) -> None:
        one = data.draw(st.sampled_from(self.waiting))
        one.demand = structs.replace(one.demand, price=lambda _now_ns: Cost(1, tokens))
        self.queue.refresh_price(one, 10**10)

    @invariant()
    def counts_are_those_of_the_waiters(self) -> None:
        assert len(self.queue) == len(self.waiting)
        assert len(self.queue.failed) == sum(one.demand.retry for one in self.waiting)
        new = [one for one in self.waiting if not one.is_returned]
        assert self.queue.tokens == sum(one.demand.cost.input_tokens for one in new)
        shown = self.queue.snapshot(0)
        for priority in Priority:
            own = [one for one in self.waiting if one.demand.caller.priority is priority]
            names = [one.demand.caller.name for one in own]
            assert shown[priority].waiting == len(own)
            assert shown[priority].tokens == sum(one.demand.cost.input_tokens for one in own)
            assert shown[priority].by_caller == {name: names.count(name) for name in names}
        for caller in CALLERS:
            mine = [one.demand.cost.input_tokens for one in new if one.demand.caller == caller]
            assert self.queue.load_of(caller) == (len(mine), [len(mine), sum(mine), 0])

    @invariant()
    def what_is_ahead_is_at_least_ones_own_and_at_most_everything(self) -> None:
        self.head()
        everything_ns = sum(service_time_ns(one.demand.cost) for one in self.waiting)
        for caller in CALLERS:
            for session, agent in (("", ""), ("s", ""), ("s", "x"), ("new", "y")):
                if caller.name in self.over_limit:
                    continue
                demand = Demand("pool", caller, Cost(1, 100), session=session, agent=agent)
                own_ns = sum(
                    service_time_ns(one.demand.cost)
                    for one in self.waiting
                    if (one.demand.caller, one.demand.session, one.demand.agent) == (caller, session, agent)
                    and not one.is_returned
                )
                assert own_ns <= ahead_ns(self.queue, demand, 0) <= everything_ns

    @invariant()
    def memory_is_bounded_by_the_waiters(self) -> None:
        for home in self.queue._classes:
            for flow in flows(home.flows):
                assert len(flow._heap) <= 2 * flow.active + 65
                assert len(flow._waiters) <= 2 * flow.waiting + 65
                assert flow.waiting or flow.parent is None or flow.children is None
                assert flow.active == sum(child.waiting > 0 and child.attached for child in children(flow))


def children(flow: Flow) -> Sequence[Flow]:
    return list((flow.children or {}).values())


def flows(flow: Flow) -> Iterator[Flow]:
    yield flow
    for child in children(flow):
        yield from flows(child)


TestQueueMachine = QueueMachine.TestCase
TestQueueMachine.settings = settings(stateful_step_count=60)


@given(
    weights=st.lists(st.sampled_from([0.25, 0.5, 1.0, 2.0, 4.0]), min_size=2, max_size=5),
    sizes=st.lists(TOKENS, min_size=20, max_size=40),
    pops=st.integers(1, 40),
)
def test_backlogged_callers_share_by_weight(weights: list[float], sizes: list[int], pops: int) -> None:
    # Theorem 1 of Goyal, Vin and Cheng: normalised service of two backlogged flows differs by less than one largest
    # request of each.
    callers = [Caller(f"caller-{number}", weight=weight) for number, weight in enumerate(weights)]
    queue = FairQueue(lambda: (0.0, NS_PER_TOKEN, 0.0), lambda _now_ns: 1)
    for number, tokens in enumerate(sizes):
        for caller in callers:
            queue.push(waiter(f"{caller.name}-{number}", caller, tokens))
    served = dict.fromkeys(callers, 0.0)
    left = dict.fromkeys(callers, len(sizes))
    for _ in range(pops):
        popped = pop(queue)
        caller = popped.demand.caller
        served[caller] += popped.demand.cost.input_tokens / caller.weight
        left[caller] -= 1
        if not left[caller]:
            break
        for one in callers:
            for other in callers:
                largest = max(sizes) / one.weight + max(sizes) / other.weight
                assert served[one] - served[other] <= largest * (1 + 1e-9)


@given(
    crowd=st.integers(1, 6),
    backlog=st.integers(1, 5),
    sizes=st.lists(TOKENS, min_size=50, max_size=50),
    weights=st.lists(st.sampled_from([0.5, 1.0, 8.0]), min_size=6, max_size=6),
    served_before=st.integers(0, 20),
)
def test_a_newcomer_waits_for_at_most_one_request_of_each_other_caller(
    crowd: int, backlog: int, sizes: list[int], weights: list[float], served_before: int
) -> None:
    queue = FairQueue(lambda: (0.0, NS_PER_TOKEN, 0.0), lambda _now_ns: 1)
    tokens = iter(sizes * 10)
    others = [Caller(f"other-{number}", weight=weights[number]) for number in range(crowd)]
    names = iter(range(10**6))

    def push(caller: Caller) -> None:
        queue.push(waiter(f"lease-{next(names)}", caller, next(tokens)))

    for _ in range(backlog):
        for caller in others:
            push(caller)
    for _ in range(served_before):
        push(pop(queue).demand.caller)
    push(Caller("newcomer", weight=0.5))
    before = []
    while (popped := pop(queue)).demand.caller.name != "newcomer":
        before.append(popped.demand.caller.name)
        push(popped.demand.caller)
    assert len(set(before)) == len(before)


HIERARCHIES = st.dictionaries(
    st.sampled_from(["a", "b", "c"]),
    st.dictionaries(
        st.sampled_from(["", "s", "t", "u"]),
        st.sets(st.sampled_from(["", "x", "y", "z"]), min_size=1, max_size=4),
        min_size=1,
        max_size=3,
    ),
    min_size=1,
    max_size=3,
)
WEIGHTS = {"a": 1.0, "b": 0.25, "c": 0.5}


def backlogged(hierarchy: dict[str, dict[str, set[str]]], sizes: list[int]) -> FairQueue:
    """A queue in which every agent has as many requests."""
    queue = FairQueue(lambda: (0.0, NS_PER_TOKEN, 0.0), lambda _now_ns: 0)
    for number, tokens in enumerate(sizes):
        for name, sessions in sorted(hierarchy.items()):
            for session, agents in sorted(sessions.items()):
                for agent in sorted(agents):
                    lease_id = f"{name}-{session}-{agent}-{number}"
                    queue.push(waiter(lease_id, Caller(name, weight=WEIGHTS[name]), tokens, session, agent))
    return queue


@given(hierarchy=HIERARCHIES, sizes=st.lists(TOKENS, min_size=8, max_size=12))
def test_at_every_level_siblings_that_wait_share_within_one_request_of_their_weight(
    hierarchy: dict[str, dict[str, set[str]]], sizes: list[int]
) -> None:
    queue = backlogged(hierarchy, sizes)
    served: Counter[tuple[str, ...]] = Counter()
    left: Counter[tuple[str, ...]] = Counter()
    for one in queue.waiting.values():
        for depth in range(1, 5):
            left[path_of(one.demand)[:depth]] += 1
    everybody = list(left)
    while len(queue):
        popped = pop(queue)
        for depth in range(1, 5):
            prefix = path_of(popped.demand)[:depth]
            weight = WEIGHTS[prefix[0]] if depth == 1 else 1.0
            served[prefix] += round(popped.demand.cost.input_tokens / weight)
            left[prefix] -= 1
        if not all(left.values()):
            break  # from now on somebody has less to send than its share
        for path, sibling in pairwise(sorted(everybody)):
            if path[:-1] == sibling[:-1]:
                weights = [WEIGHTS[each[0]] if len(each) == 1 else 1.0 for each in (path, sibling)]
                most = sum(max(sizes) / weight for weight in weights)
                assert abs(served[path] - served[sibling]) <= most * (1 + 1e-9)


@given(hierarchy=HIERARCHIES, requests=st.integers(1, 12), tokens=TOKENS)
def test_invented_sessions_and_agents_gain_a_caller_nothing(
    hierarchy: dict[str, dict[str, set[str]]], requests: int, tokens: int
) -> None:
    split, plain = (
        backlogged(hierarchy, [tokens] * requests),
        FairQueue(lambda: (0.0, NS_PER_TOKEN, 0.0), lambda _now_ns: 0),
    )
    for one in split.waiting.values():
        plain.push(Waiter(one.lease_id, structs.replace(one.demand, session="", agent="")))
    for _ in range(len(plain)):
        assert pop(split).demand.caller == pop(plain).demand.caller


@given(hierarchy=HIERARCHIES, sizes=st.lists(TOKENS, min_size=1, max_size=12))
def test_everybody_is_served_and_each_agent_in_its_order(
    hierarchy: dict[str, dict[str, set[str]]], sizes: list[int]
) -> None:
    queue = backlogged(hierarchy, sizes)
    order = [pop(queue) for _ in range(len(queue))]
    by_agent: dict[tuple[str, ...], list[int]] = {}
    for one in order:
        by_agent.setdefault(path_of(one.demand), []).append(int(one.lease_id.rpartition("-")[2]))
    assert all(numbers == list(range(len(sizes))) for numbers in by_agent.values())
    assert len(order) == len(sizes) * sum(
        len(agents) for sessions in hierarchy.values() for agents in sessions.values()
    )


@given(crowd=st.integers(0, 90), agents=st.integers(1, 90), served_before=st.integers(0, 40))
def test_a_main_turn_waits_for_at_most_one_request_of_its_subagents(
    crowd: int, agents: int, served_before: int
) -> None:
    queue = FairQueue(lambda: (0.0, NS_PER_TOKEN, 0.0), lambda _now_ns: 0)
    caller = Caller("a")
    for number in range(crowd):
        queue.push(waiter(f"sub-{number}", caller, 100, "s", f"agent-{number % agents}"))
    for _ in range(min(served_before, crowd)):
        pop(queue)
    queue.push(waiter("main", caller, 100, "s"))
    assert "main" in [pop(queue).lease_id for _ in range(min(2, len(queue)))]


@given(sessions=st.lists(st.integers(0, 3_000), min_size=1, max_size=200))
def test_sessions_that_are_over_are_forgotten(sessions: list[int]) -> None:
    queue = FairQueue(lambda: (0.0, NS_PER_TOKEN, 0.0), lambda _now_ns: 0)
    queue.push(waiter("stays-0", Caller("a"), 10, "stays"))
    queue.push(waiter("stays-1", Caller("a"), 10, "stays"))
    for number, session in enumerate(sessions):
        queue.push(waiter(f"{number}", Caller("a"), 10, f"{session}"))
        if number % 3:
            queue.remove(f"{number}")
    while len(queue) > 1:
        pop(queue)
    (caller,) = children(queue._classes[1].flows)
    assert len(children(caller)) <= 2 + len(caller._idle)
