"""The wait that is predicted, beside the wait that follows."""

from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from tidegate.core.domain.caller import Caller, Priority
from tidegate.core.domain.cause import Cause
from tidegate.core.domain.demand import Demand, Refused, Wait
from tidegate.core.domain.dimension import Cost, Dimension
from tidegate.core.domain.nanoseconds import NS_PER_SECOND as S
from tidegate.core.domain.pool_settings import AdaptiveSettings, LimitSettings, PoolSettings
from tidegate.core.pool.pool import Pool

CALLERS = st.sampled_from(
    [
        Caller(f"{name}-{priority}", weight=weight, priority=priority)
        for name, weight in (("a", 1.0), ("b", 3.0))
        for priority in Priority
    ]
)
SESSIONS = st.sampled_from([("", ""), ("s", ""), ("s", "x"), ("s", "y"), ("t", "")])
MOST_TOKENS = 100
PER_SECOND = 100
"""So the largest request takes a second. A prediction may miss one that is held, and one that is begun."""
WAYS = st.sampled_from(["new"] * 5 + ["front", "retry"])
REQUESTS = st.tuples(CALLERS, SESSIONS, st.integers(20, MOST_TOKENS), WAYS)


def demand_of(request: tuple[Caller, tuple[str, str], int, str]) -> Demand:
    caller, (session, agent), tokens, way = request
    demand = Demand("p", caller, Cost(tokens), session=session, agent=agent)
    return demand if way == "new" else structs.replace(demand, **{way: True})


@given(
    backlog=st.lists(REQUESTS, min_size=1, max_size=60),
    mine=REQUESTS.map(lambda request: (*request[:3], "new")),
    started_s=st.integers(0, 20),
    patience=st.floats(0.0, 0.99),
)
def test_the_wait_predicted_in_a_refusal_is_within_a_factor_of_two_of_what_follows(
    backlog: list[tuple[Caller, tuple[str, str], int, str]],
    mine: tuple[Caller, tuple[str, str], int, str],
    started_s: int,
    patience: float,
) -> None:
    limits = {Dimension.REQUESTS: LimitSettings(60 * PER_SECOND, MOST_TOKENS)}
    pool = Pool("p", PoolSettings(limits, AdaptiveSettings()), 0)
    pool.reserve("all", Demand("p", Caller("all"), Cost(MOST_TOKENS)), 0)
    for number, request in enumerate(backlog):
        pool.reserve(f"{number}", demand_of(request), 0)
    now_ns = 0
    for _ in range(started_s):
        now_ns += S
        pool.advance(now_ns)
    demand = demand_of(mine)
    waits = pool.reserve("mine", demand, now_ns)
    if not isinstance(waits, Wait) or not waits.predicted_ns:
        return
    pool.withdraw("mine", now_ns)
    patience_ns = int(patience * waits.predicted_ns)
    refused = pool.reserve("mine", structs.replace(demand, patience_ns=patience_ns), now_ns)
    assert isinstance(refused, Refused)
    assert refused.cause is Cause.DEADLINE
    assert refused.retry_after_ns == waits.predicted_ns - patience_ns
    pool.reserve("mine", demand, now_ns)
    came_ns = now_ns
    while "mine" not in pool.advance(now_ns):
        next_in_ns = pool.next_in_ns(now_ns)
        assert next_in_ns
        now_ns += next_in_ns
    waited_ns, held_ns = now_ns - came_ns, 2 * S * MOST_TOKENS // PER_SECOND
    assert waited_ns <= 2 * waits.predicted_ns + held_ns
    assert waits.predicted_ns <= 2 * waited_ns + held_ns
