"""The work before a request is exactly what is served before it, where the requests of each rival are of one size.

So the example is one agent of one session, with one rival flow at least at each level, each with a size of its own.
The tags of two flows are never equal, except at the start.
"""

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from support.queues import pop, queue_of
from tidegate.core.domain.caller import Caller
from tidegate.core.domain.demand import Demand
from tidegate.core.domain.dimension import Cost
from tidegate.core.queue.fair_queue import FairQueue
from tidegate.core.queue.waiter import Waiter
from tidegate.core.queue.work_ahead import Work

ANN = Caller("ann", weight=1.31)
OWN = Demand("pool", ANN, Cost(1, 101, 4), session="s", agent="x")
RIVALS = [
    Demand("pool", ANN, Cost(1, 113, 7), session="s", agent="y"),
    Demand("pool", ANN, Cost(1, 73, 10), session="s", agent="z"),
    Demand("pool", ANN, Cost(1, 67, 13), session="s"),
    Demand("pool", ANN, Cost(1, 137, 16), session="t"),
    Demand("pool", Caller("ben", weight=0.77), Cost(1, 91, 19)),
    Demand("pool", Caller("carl", weight=2.39), Cost(1, 151, 22)),
]
NEW = [
    OWN,
    Demand("pool", ANN, Cost(1, 50, 25), session="s", agent="new"),
]
DEMANDS = st.lists(st.sampled_from([OWN, *RIVALS]), max_size=30)


@dataclass(frozen=True)
class Recipe:
    """A queue from which some were served, with or without a held head, and others that came later."""

    before: list[Demand]
    served: int
    holds: bool
    after: list[Demand]

    def queue(self) -> FairQueue:
        queue = queue_of(Waiter(f"{number}", demand) for number, demand in enumerate(self.before))
        for _ in range(min(self.served, len(queue) - 1)):
            pop(queue)
        if self.holds and (head := queue.head(0)) is not None:
            queue.hold(head)
        for number, demand in enumerate(self.after):
            queue.push(Waiter(f"later {number}", demand))
        return queue


def served_before(queue: FairQueue) -> dict[str, Cost]:
    """Takes out all requests. Returns the sum of the costs before each."""
    costs = {lease_id: waiter.demand.cost for lease_id, waiter in queue.waiting.items()}
    before, total = {}, Cost()
    while queue.waiting:
        before[lease_id := pop(queue)] = total
        total = total.plus(costs[lease_id])
    return before


def whole(work: Work) -> Cost:
    return Cost(*map(round, work))


@given(st.builds(Recipe, DEMANDS, st.integers(0, 20), st.booleans(), DEMANDS))
def test_the_work_before_a_request_is_what_is_served_before_it(recipe: Recipe) -> None:
    queue = recipe.queue()
    waiters = [waiter for waiter in queue.waiting.values() if waiter.demand is OWN]
    predicted = {waiter.lease_id: whole(queue.before(waiter, 0)) for waiter in waiters}
    before = served_before(queue)
    assert predicted == {lease_id: before[lease_id] for lease_id in predicted}
    for new in NEW:
        queue = recipe.queue()
        ahead = whole(queue.ahead(new, 0))
        queue.push(Waiter("new", new))
        assert ahead == served_before(queue)["new"]
