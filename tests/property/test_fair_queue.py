"""The fair queue: a state machine against a list, and the fairness that start-time fair queueing promises."""

from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tidegate.core.caller import Caller, Priority
from tidegate.core.dimension import Cost
from tidegate.core.queue import FairQueue, Waiter
from tidegate.core.store import Demand

CALLERS = [
    Caller("a", priority=Priority.INTERACTIVE),
    Caller("b", weight=2.0),
    Caller("c", weight=0.5, priority=Priority.BATCH),
    Caller("d", weight=3.0),
]
TOKENS = st.integers(1, 10**4)
NS_PER_TOKEN = 1_000_000


def waiter(name: str, caller: Caller, tokens: int, *, front: bool = False) -> Waiter:
    return Waiter(name, Demand("pool", caller, Cost(1, tokens), front=front))


def size_ns(cost: Sequence[int]) -> int:
    return cost[1] * NS_PER_TOKEN


def pop(queue: FairQueue) -> Waiter:
    head = queue.head()
    assert head is not None
    queue.take(head, 0)
    return head


class QueueMachine(RuleBasedStateMachine):
    """Any order of pushes, pops and removals, beside a list of who waits in order of arrival."""

    def __init__(self) -> None:
        super().__init__()
        self.queue = FairQueue(size_ns)
        self.waiting: list[Waiter] = []
        self.made = 0
        self.held: Waiter | None = None

    @rule(caller=st.sampled_from(CALLERS), tokens=TOKENS | st.just(0), front=st.booleans())
    def push(self, caller: Caller, tokens: int, *, front: bool) -> None:
        self.made += 1
        one = waiter(f"lease-{self.made}", caller, tokens, front=front)
        self.queue.push(one)
        self.waiting.append(one)

    @precondition(lambda self: self.waiting)
    @rule()
    def hold(self) -> None:
        head = self.queue.head()
        assert head is not None
        self.queue.hold(head)
        if self.held is None and not head.demand.front:
            self.held = head

    @precondition(lambda self: self.waiting)
    @rule(most_tokens=st.integers(0, 10**4))
    def fill(self, most_tokens: int) -> None:
        """The first of a line goes before the head: whichever costs least, if that is little enough."""
        head = self.queue.head()
        assert head is not None
        self.queue.hold(head)
        if self.held is None and not head.demand.front:
            self.held = head
        filler = self.queue.filler(lambda cost: cost.input_tokens if cost.input_tokens <= most_tokens else None)
        seconds = {
            next(one for one in self.waiting if one.demand.caller == caller and not one.demand.front)
            for caller in {one.demand.caller for one in self.waiting if not one.demand.front}
        } - {self.held}
        fitting = [one.demand.cost.input_tokens for one in seconds if one.demand.cost.input_tokens <= most_tokens]
        if filler is None:
            assert fitting == []
        else:
            assert filler.waiter in seconds
            assert filler.wait_ns == filler.waiter.demand.cost.input_tokens == min(fitting)
            self.queue.take(filler.waiter, 0)
            self.waiting.remove(filler.waiter)

    @invariant()
    def who_is_held_is_the_head_unless_somebody_comes_back(self) -> None:
        fronts = [one for one in self.waiting if one.demand.front]
        if self.held is not None:
            assert self.queue.head() is (fronts[0] if fronts else self.held)

    @precondition(lambda self: self.waiting)
    @rule()
    def pop(self) -> None:
        popped = pop(self.queue)
        if popped is self.held:
            self.held = None
        fronts = [one for one in self.waiting if one.demand.front]
        own = [one for one in self.waiting if one.demand.caller == popped.demand.caller and not one.demand.front]
        assert popped is (fronts[0] if fronts else own[0])
        self.waiting.remove(popped)

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        one = data.draw(st.sampled_from(self.waiting))
        if one is self.held:
            self.held = None
        assert self.queue.remove(one.lease_id) is one
        assert self.queue.remove(one.lease_id) is None
        self.waiting.remove(one)

    @invariant()
    def counts_are_those_of_the_waiters(self) -> None:
        assert len(self.queue) == len(self.waiting)
        shown = self.queue.snapshot(0)
        for priority in Priority:
            own = [one for one in self.waiting if one.demand.caller.priority is priority]
            names = [one.demand.caller.name for one in own]
            assert shown[priority].waiting == len(own)
            assert shown[priority].tokens == sum(one.demand.cost.input_tokens for one in own)
            assert shown[priority].by_caller == {name: names.count(name) for name in names}

    @invariant()
    def what_is_ahead_is_at_least_ones_own_and_at_most_everything(self) -> None:
        lined_up = [one for one in self.waiting if not one.demand.front]
        everything_ns = sum(size_ns(one.demand.cost) for one in lined_up)
        for caller in CALLERS:
            own_ns = sum(size_ns(one.demand.cost) for one in lined_up if one.demand.caller == caller)
            assert own_ns <= self.queue.ahead_ns(caller, Cost(1, 100)) <= everything_ns

    @invariant()
    def the_head_waits(self) -> None:
        head = self.queue.head()
        assert (head in self.waiting) if self.waiting else (head is None)

    @invariant()
    def memory_is_bounded_by_the_waiters(self) -> None:
        lines = self.queue._lines
        assert len(lines) <= len(CALLERS)
        assert sum(len(home._heap) for home in self.queue._homes) <= 2 * len(self.waiting) + 3 * 65
        assert sum(len(line.waiters) for line in lines) <= 2 * len(self.waiting) + 65 * len(lines)


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
    queue = FairQueue(size_ns)
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
    queue = FairQueue(size_ns)
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
