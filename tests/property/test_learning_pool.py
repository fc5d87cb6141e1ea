"""A pool that learns, under any answers, true or not: it never spins, never stalls, keeps configured limits.

Each step is done as a store does it: the step itself, then `advance`, then `next_in_ns`.
"""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tidegate.core.domain.caller import Caller, Priority
from tidegate.core.domain.demand import Demand, Granted, Outcome
from tidegate.core.domain.dimension import MICRO, Cost, Dimension
from tidegate.core.domain.feedback import Failed, Feedback, RateLimited
from tidegate.core.domain.limit_report import DimensionReport, LimitReport
from tidegate.core.domain.nanoseconds import NS_PER_MINUTE, NS_PER_SECOND
from tidegate.core.domain.pool_settings import LimitSettings, PoolSettings
from tidegate.core.pool.pool import Pool

CALLERS = st.sampled_from([Caller("a"), Caller("b", weight=2.0), Caller("c", priority=Priority.BATCH)])
COSTS = st.builds(Cost, st.integers(0, 2), st.sampled_from([0, 1, 500, 30_000]), st.sampled_from([0, 800]))
STEPS_NS = st.integers(0, 20 * NS_PER_SECOND) | st.sampled_from([1, NS_PER_SECOND, 90 * NS_PER_SECOND])
AGES_NS = st.integers(0, 3 * NS_PER_SECOND)
FULL_IN_NS = st.none() | st.integers(0, 60 * NS_PER_SECOND)
REQUESTS = st.none() | st.builds(DimensionReport, st.sampled_from([50, 4_000]), st.integers(0, 50), FULL_IN_NS)
TOKENS = st.none() | st.builds(
    DimensionReport, st.sampled_from([8_000, 400_000]), st.none() | st.integers(0, 400_000), FULL_IN_NS
)
FEEDBACK = (
    st.builds(LimitReport, REQUESTS, TOKENS, TOKENS, AGES_NS, st.booleans())
    | st.builds(RateLimited, st.sampled_from([None, NS_PER_SECOND]), AGES_NS, st.booleans())
    | st.builds(Failed, AGES_NS)
)
CONFIGURED = LimitSettings(per_minute=20, capacity=5)
"""Less than any upstream here allows: then it is kept to the letter."""
LEAST_STEP_NS = NS_PER_SECOND // 100
"""Waking up more often than this, on average, is spinning."""
LONGEST_WAIT_NS = 150 * NS_PER_SECOND
"""Two minutes are what a slope looks back, and the rest is for the freeze; only then is a silence surely broken."""


class LearningPoolMachine(RuleBasedStateMachine):
    """Reserves, leaves, ends, gives feedback and lets time pass, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.now_ns = 1_000 * NS_PER_SECOND
        self.made = 0
        self.waiting: list[str] = []
        self.held: list[str] = []
        self.requests_of: dict[str, int] = {}
        self.charges: list[tuple[int, int]] = []  # when, and how many requests more or fewer
        self.is_configured = False

    @initialize(is_configured=st.booleans())
    def begin(self, *, is_configured: bool) -> None:
        self.is_configured = is_configured
        limits = {Dimension.REQUESTS: CONFIGURED} if is_configured else {}
        self.pool = Pool("p", PoolSettings(limits), self.now_ns)

    def granted(self, lease_id: str) -> None:
        self.held.append(lease_id)
        self.charges.append((self.now_ns, self.requests_of[lease_id]))

    def settle(self) -> None:
        """What a store does after each step."""
        for lease_id in self.pool.advance(self.now_ns):
            self.waiting.remove(lease_id)
            self.granted(lease_id)
        next_in_ns = self.pool.next_in_ns(self.now_ns)
        assert (next_in_ns is None) == (not self.waiting)
        assert next_in_ns is None or next_in_ns > 0, "the head does not fit, but is looked at again at once"

    @rule(caller=CALLERS, cost=COSTS, front=st.booleans(), retry=st.booleans())
    def reserve(self, caller: Caller, cost: Cost, *, front: bool, retry: bool) -> None:
        self.made += 1
        lease_id = f"lease-{self.made}"
        self.requests_of[lease_id] = cost.requests
        result = self.pool.reserve(lease_id, Demand("p", caller, cost, front=front, retry=retry), self.now_ns)
        if isinstance(result, Granted):
            assert retry or not self.waiting, "overtook who waits"
            self.granted(lease_id)
        else:
            self.waiting.append(lease_id)
            self.settle()

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def withdraw(self, data: st.DataObject) -> None:
        lease_id = data.draw(st.sampled_from(self.waiting))
        left = self.pool.withdraw(lease_id, self.now_ns)
        assert left is not None
        assert left.retry_after_ns is not None
        assert left.retry_after_ns >= 0
        self.waiting.remove(lease_id)
        self.settle()

    def end(self, lease_id: str, outcome: Outcome) -> None:
        assert self.pool.end(lease_id, outcome, None, self.now_ns)
        self.held.remove(lease_id)
        if outcome in {Outcome.RELEASED, Outcome.THROTTLED}:
            self.charges.append((self.now_ns, -self.requests_of[lease_id]))
        self.settle()

    @precondition(lambda self: self.held)
    @rule(data=st.data(), outcome=st.sampled_from(Outcome))
    def end_one(self, data: st.DataObject, outcome: Outcome) -> None:
        self.end(data.draw(st.sampled_from(self.held)), outcome)

    @precondition(lambda self: self.held)
    @rule(data=st.data(), tokens=st.integers(0, 2_000))
    def charge(self, data: st.DataObject, tokens: int) -> None:
        self.pool.charge(data.draw(st.sampled_from(self.held)), Cost(0, 0, tokens), self.now_ns)
        self.settle()

    @rule(feedback=FEEDBACK)
    def learn(self, feedback: Feedback) -> None:
        self.pool.learn(feedback, self.now_ns)
        self.settle()

    @precondition(lambda self: not self.is_configured)
    @rule(limits=st.sampled_from([{}, {Dimension.INPUT_TOKENS: LimitSettings(60_000, 10_000)}]))
    def configure(self, limits: dict[Dimension, LimitSettings]) -> None:
        self.pool.configure(PoolSettings(limits), self.now_ns)
        self.settle()

    @rule(step_ns=STEPS_NS)
    def let_time_pass(self, step_ns: int) -> None:
        self.now_ns += step_ns
        self.settle()

    def look_again_when_told_to(self, duration_ns: int) -> bool:
        """For that long, or until somebody is granted. Returns whether anybody was."""
        end_ns, granted = self.now_ns + duration_ns, len(self.charges)
        for _ in range(duration_ns // LEAST_STEP_NS):
            self.now_ns += self.pool.next_in_ns(self.now_ns) or 0
            self.settle()
            if len(self.charges) > granted:
                return True
            if self.now_ns >= end_ns:
                return False
        raise AssertionError("spins")

    @precondition(lambda self: self.waiting)
    @rule()
    def do_nothing_but_what_timers_ask_for(self) -> None:
        self.look_again_when_told_to(NS_PER_SECOND)

    @invariant()
    def bookkeeping_agrees(self) -> None:
        snapshot = self.pool.snapshot(self.now_ns)
        assert (snapshot.waiting, snapshot.in_flight) == (len(self.waiting), len(self.held))
        assert snapshot.adaptive_factor == 1.0

    @invariant()
    def a_configured_limit_is_kept(self) -> None:
        """Charged in any stretch that ends now ≤ capacity + refill; a request on a full bucket may be larger."""
        net = 0
        for at_ns, requests in reversed(self.charges if self.is_configured else []):
            net += requests
            refill_micro_ns = round(CONFIGURED.per_minute) * MICRO * (self.now_ns - at_ns)
            assert (net - CONFIGURED.capacity) * MICRO * NS_PER_MINUTE <= refill_micro_ns

    def teardown(self) -> None:
        """Once everything in flight has ended, everybody who waits is admitted: nobody waits for ever."""
        while self.held or self.waiting:
            while self.held:
                self.end(self.held[0], Outcome.SETTLED)
            assert not self.waiting or self.held or self.look_again_when_told_to(LONGEST_WAIT_NS), "stalls"


TestLearningPoolMachine = LearningPoolMachine.TestCase
TestLearningPoolMachine.settings = settings(stateful_step_count=50)
