"""However the others behave: every class gets its share, and nobody starves."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from support.hypothesis_settings import share_of_examples
from tidegate.core.domain.caller import Caller, Priority
from tidegate.core.domain.demand import Demand
from tidegate.core.domain.dimension import Cost
from tidegate.core.queue.class_shares import GUARANTEED
from tidegate.core.queue.fair_queue import FairQueue
from tidegate.core.queue.waiter import Waiter

MOST_TOKENS = 50
CALLERS = [
    Caller(f"{priority}-{weight}", weight=weight, priority=priority)
    for priority in Priority
    for weight in (0.5, 1.0, 4.0)
]
NS_PER_TOKEN = 10_000_000
ARRIVALS = st.lists(st.tuples(st.sampled_from(CALLERS), st.integers(1, MOST_TOKENS)), min_size=150, max_size=400)


def service_time_ns(cost: Sequence[int]) -> int:
    return cost[1] * NS_PER_TOKEN


def run(queue: FairQueue, arrivals: list[tuple[Caller, int]], until: Waiter | None = None) -> list[Waiter]:
    """One is admitted and one comes, in turn: who was admitted, up to a certain one."""
    taken: list[Waiter] = []
    for number, (caller, tokens) in enumerate(arrivals):
        queue.push(Waiter(f"later-{number}", Demand("p", caller, Cost(1, tokens))))
        head = queue.head(0)
        assert head is not None
        queue.serve(head, 0)
        taken.append(head)
        if head is until:
            break
    return taken


@share_of_examples(0.5)
@given(arrivals=ARRIVALS, others=ARRIVALS, priority=st.sampled_from(Priority), weight=st.sampled_from([0.5, 1.0, 4.0]))
def test_a_class_that_waits_gets_its_share_less_one_request(
    arrivals: list[tuple[Caller, int]], others: list[tuple[Caller, int]], priority: Priority, weight: float
) -> None:
    queue = FairQueue(lambda: (0.0, NS_PER_TOKEN, 0.0), lambda _now_ns: 1)
    waiting = Caller(f"{priority}-{weight}", weight=weight, priority=priority)
    for number in range(len(arrivals)):
        queue.push(Waiter(f"own-{number}", Demand("p", waiting, Cost(1, MOST_TOKENS))))
    for number, (caller, tokens) in enumerate(others):
        queue.push(Waiter(f"early-{number}", Demand("p", caller, Cost(1, tokens))))
    everything = own = 0
    for waiter in run(queue, arrivals):
        tokens = waiter.demand.cost.input_tokens
        everything += tokens
        own += tokens if waiter.demand.caller.priority is priority else 0
        # Each lower class may be owed one request besides when this one is.
        assert own >= GUARANTEED[waiting.rank] * everything - 3 * MOST_TOKENS


@given(
    arrivals=ARRIVALS,
    early=st.lists(st.tuples(st.sampled_from(CALLERS), st.integers(1, MOST_TOKENS)), max_size=40),
    caller=st.sampled_from(CALLERS),
)
def test_nobody_waits_for_more_than_its_share_bounds(
    arrivals: list[tuple[Caller, int]], early: list[tuple[Caller, int]], caller: Caller
) -> None:
    queue = FairQueue(lambda: (0.0, NS_PER_TOKEN, 0.0), lambda _now_ns: 1)
    for number, (other, tokens) in enumerate(early):
        queue.push(Waiter(f"early-{number}", Demand("p", other, Cost(1, tokens))))
    mine = Waiter("mine", Demand("p", caller, Cost(1, MOST_TOKENS)))
    queue.push(mine)
    own = sum(tokens for other, tokens in early if other == caller) + MOST_TOKENS
    rivals = [other for other in CALLERS if other.priority is caller.priority and other != caller]
    in_class = own + sum(own * other.weight / caller.weight + 2 * MOST_TOKENS for other in rivals)
    bound = (in_class + MOST_TOKENS) / GUARANTEED[caller.rank] + 3 * MOST_TOKENS
    taken = run(queue, arrivals, until=mine)
    before = sum(waiter.demand.cost.input_tokens for waiter in taken if waiter is not mine)
    assert before <= bound


LOWER = [caller for caller in CALLERS if caller.priority is not Priority.INTERACTIVE]
SIZES = st.integers(MOST_TOKENS // 2, MOST_TOKENS)


@given(
    before=st.lists(st.tuples(st.sampled_from(LOWER), SIZES), min_size=1, max_size=20),
    later=st.lists(
        st.tuples(st.sampled_from(LOWER), SIZES, st.sampled_from(["new", "front", "retry"])), min_size=20, max_size=20
    ),
    share_served=st.floats(0.0, 0.9),
    tokens=st.integers(1, MOST_TOKENS),
)
def test_what_comes_back_to_lower_classes_delays_a_higher_one_by_one_request_of_each_at_most(
    before: list[tuple[Caller, int]],
    later: list[tuple[Caller, int, str]],
    share_served: float,
    tokens: int,
) -> None:
    # One that is held, and what its class has earned, which is less than its largest request.
    queue = FairQueue(lambda: (0.0, NS_PER_TOKEN, 0.0), lambda _now_ns: 0)

    def push(lease_id: str, caller: Caller, tokens: int, way: str) -> None:
        demand = Demand("p", caller, Cost(1, tokens))
        queue.push(Waiter(lease_id, demand if way == "new" else structs.replace(demand, **{way: True})))

    def go() -> Waiter:
        head = queue.head(0)
        assert head is not None
        queue.serve(head, 0)
        return head

    for number, (caller, size) in enumerate(before):
        push(f"before-{number}", caller, size, "new")
    for _ in range(int(share_served * len(before))):
        go()
    head = queue.head(0)
    assert head is not None
    queue.hold(head)
    push("person", CALLERS[0], tokens, "new")
    delays = [0, 0, 0]
    for number, step in enumerate(later):
        push(f"later-{number}", *step)
        went = go()
        if went.lease_id == "person":
            break
        delays[went.demand.caller.rank] += went.demand.cost.input_tokens
    assert max(delays) <= 2 * MOST_TOKENS
