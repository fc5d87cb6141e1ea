"""The head's reserved start is kept, and nothing idles that would not postpone it, whatever happens."""

import copy

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tidegate.core.caller import Caller, Priority
from tidegate.core.clock import NS_PER_SECOND
from tidegate.core.dimension import Cost, Dimension
from tidegate.core.pool import Pool
from tidegate.core.queue import Waiter
from tidegate.core.store import AdaptiveSettings, Demand, Granted, LimitSettings, Outcome, PoolSettings

CALLERS = [
    Caller("a"),
    Caller("b", weight=3.0),
    Caller("c", priority=Priority.INTERACTIVE),
    Caller("d", weight=0.5, priority=Priority.BATCH),
    Caller("e", priority=Priority.BATCH),
]
COSTS = st.builds(
    Cost,
    st.sampled_from([0, 1, 1, 3]),
    st.sampled_from([0, 0, 1, 700, 9_000, 25_000]),
    st.sampled_from([0, 0, 40, 1_500, 6_000]),
)
LIMITS = {
    Dimension.REQUESTS: LimitSettings(37, 4),
    Dimension.INPUT_TOKENS: LimitSettings(70_001, 11_003),
    Dimension.OUTPUT_TOKENS: LimitSettings(12_007, 2_003),
}
WOKEN_LATE_NS = NS_PER_SECOND // 250
"""Those who would be admitted within such a time are admitted together."""


class ReservedStartMachine(RuleBasedStateMachine):
    """Reserves, withdrawals, leases that end as they were estimated, and time; beside the start of each head."""

    def __init__(self) -> None:
        super().__init__()
        self.now_ns = 0
        self.pool = Pool("p", PoolSettings(LIMITS, AdaptiveSettings()), 0)
        self.made = 0
        self.held: list[str] = []
        self.starts_ns: dict[str, int] = {}  # of each that was the head, when it would start at the latest

    def admitted(self, lease_ids: tuple[str, ...]) -> None:
        for lease_id in lease_ids:
            self.held.append(lease_id)
            assert self.now_ns <= self.starts_ns.pop(lease_id, self.now_ns) + WOKEN_LATE_NS, "postponed"
        self.look()

    def look(self) -> None:
        """Notes when the head will start."""
        head = self.pool._queue.head()
        if head is not None:
            start_ns = self.now_ns + self.pool._quota.level_wait_ns(head.demand.cost, self.now_ns)
            known_ns = self.starts_ns.get(head.lease_id)
            assert known_ns is None or start_ns <= known_ns, "postponed"
            self.starts_ns[head.lease_id] = start_ns

    @rule(caller=st.sampled_from(CALLERS), cost=COSTS)
    def reserve(self, caller: Caller, cost: Cost) -> None:
        self.made += 1
        lease_id = f"lease-{self.made}"
        if isinstance(self.pool.reserve(lease_id, Demand("p", caller, cost), self.now_ns), Granted):
            self.admitted((lease_id,))
        self.look()

    @precondition(lambda self: self.pool._queue.waiting)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        lease_id = data.draw(st.sampled_from(sorted(self.pool._queue.waiting)))
        self.pool.withdraw(lease_id, self.now_ns)
        self.starts_ns.pop(lease_id, None)
        self.admitted(self.pool.advance(self.now_ns))

    @precondition(lambda self: self.held)
    @rule(data=st.data(), outcome=st.sampled_from([Outcome.SETTLED, Outcome.RELEASED]))
    def end(self, data: st.DataObject, outcome: Outcome) -> None:
        lease_id = data.draw(st.sampled_from(self.held))
        self.held.remove(lease_id)
        assert self.pool.end(lease_id, outcome, None, self.now_ns)
        self.admitted(self.pool.advance(self.now_ns))

    @rule(step_ns=st.integers(0, 5 * NS_PER_SECOND))
    def some_time_passes(self, step_ns: int) -> None:
        """No longer than until somebody is to be looked at again, as the engine does it."""
        next_in_ns = self.pool.next_in_ns(self.now_ns)
        self.now_ns += step_ns if next_in_ns is None else min(step_ns, next_in_ns)
        self.admitted(self.pool.advance(self.now_ns))

    @precondition(lambda self: self.pool._queue.waiting)
    @rule()
    def the_next_is_due(self) -> None:
        next_in_ns = self.pool.next_in_ns(self.now_ns)
        assert next_in_ns is not None
        self.now_ns += next_in_ns
        granted = self.pool.advance(self.now_ns)
        assert granted, "looked at for nothing"
        self.admitted(granted)

    @invariant()
    def nothing_idles_that_postpones_nobody(self) -> None:
        pool = copy.deepcopy(self.pool)
        pool.advance(self.now_ns)
        head = pool._queue.head()
        if head is None:
            return
        starts_in_ns = pool._quota.level_wait_ns(head.demand.cost, self.now_ns)
        assert starts_in_ns > 0, "the head fits, but still waits"
        for waiter in self.firsts(pool):
            if waiter.demand.caller == head.demand.caller or not pool._quota.fits(waiter.demand.cost, self.now_ns):
                continue
            quota = copy.deepcopy(pool._quota)
            quota.take(waiter.demand.cost, self.now_ns)
            assert quota.level_wait_ns(head.demand.cost, self.now_ns) > starts_in_ns, f"{waiter.demand} might go"

    @staticmethod
    def firsts(pool: Pool) -> list[Waiter]:
        """The first of each caller."""
        first: dict[Caller, Waiter] = {}
        for waiter in pool._queue.waiting.values():
            first.setdefault(waiter.demand.caller, waiter)
        return list(first.values())


TestReservedStartMachine = ReservedStartMachine.TestCase
TestReservedStartMachine.settings = settings(stateful_step_count=40)
