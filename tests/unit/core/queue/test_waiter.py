"""A request that waits."""

import math

from msgspec import structs

from support.queues import ANN, COST
from tidegate.core.domain.demand import Demand
from tidegate.core.queue.waiter import Waiter

DEMAND = Demand("pool", ANN, COST)


def test_nothing_is_predicted_of_a_new_waiter_and_it_has_no_place() -> None:
    waiter = Waiter("a", DEMAND, 7)
    assert (waiter.formula_ns, waiter.alone_ns, waiter.basis) == (0, 0, 0)
    assert (waiter.number, waiter.flow, waiter.skipped) == (0, None, False)
    assert (waiter.since_ns, waiter.priced_ns) == (7, 7)


def test_patience_is_counted_from_the_time_at_which_it_joined() -> None:
    assert Waiter("a", DEMAND, 7).patience_left_ns(9) == math.inf
    assert Waiter("a", structs.replace(DEMAND, patience_ns=5), 7).patience_left_ns(9) == 3
