"""A pool without reported limits: its state stays finite, and every step works, whatever answers come."""

from math import isfinite, isnan

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from support.state_numbers import floats_in
from tidegate.core.domain.caller import Caller
from tidegate.core.domain.demand import Demand, Granted, Outcome
from tidegate.core.domain.dimension import Cost
from tidegate.core.domain.feedback import Failed, RateLimited, Succeeded
from tidegate.core.domain.limit_report import LimitReport
from tidegate.core.domain.nanoseconds import NS_PER_SECOND
from tidegate.core.domain.pool_settings import PoolSettings
from tidegate.core.pool.pool import Pool

CALLERS = st.sampled_from([Caller("a"), Caller("b", weight=2.0)])
COSTS = st.builds(Cost, st.just(1), st.sampled_from([0, 1, 500, 30_000]), st.sampled_from([0, 800]))
STEPS_NS = st.integers(0, 2 * NS_PER_SECOND) | st.integers(0, 90 * NS_PER_SECOND)
RETRY_AFTER_NS = st.none() | st.sampled_from([0, 1, NS_PER_SECOND, 12 * NS_PER_SECOND, 300 * NS_PER_SECOND])


class HiddenLimitsMachine(RuleBasedStateMachine):
    """Calls and retries whose answers tell nothing but their status: 200, 400, 429 or 5xx."""

    def __init__(self) -> None:
        super().__init__()
        self.now_ns = 1_000 * NS_PER_SECOND
        self.pool = Pool("p", PoolSettings(), self.now_ns)
        self.made = 0
        self.sent_ns: dict[str, int] = {}

    def settle(self) -> None:
        """Does what a store does after each step."""
        for lease_id in self.pool.advance(self.now_ns):
            self.sent_ns[lease_id] = self.now_ns
        self.pool.next_in_ns(self.now_ns)

    def pick(self, data: st.DataObject) -> tuple[str, int]:
        lease_id = data.draw(st.sampled_from(sorted(self.sent_ns)))
        return lease_id, self.now_ns - self.sent_ns.pop(lease_id)

    @rule(caller=CALLERS, cost=COSTS, count=st.integers(1, 20), retry=st.booleans())
    def reserve(self, caller: Caller, cost: Cost, count: int, *, retry: bool) -> None:
        for _ in range(count):
            self.made += 1
            demand = Demand("p", caller, cost, retry=retry)
            if isinstance(self.pool.reserve(f"lease-{self.made:05}", demand, self.now_ns), Granted):
                self.sent_ns[f"lease-{self.made:05}"] = self.now_ns
        self.settle()

    @precondition(lambda self: self.sent_ns)
    @rule(data=st.data(), input_tokens=st.integers(0, 50_000), output_tokens=st.integers(0, 5_000))
    def answer(self, data: st.DataObject, input_tokens: int, output_tokens: int) -> None:
        lease_id, sent_ago_ns = self.pick(data)
        self.pool.learn(Succeeded(), self.now_ns)
        self.pool.learn(LimitReport(sent_ago_ns=sent_ago_ns, lease_id=lease_id), self.now_ns)
        self.pool.charge(lease_id, Cost(1, input_tokens, output_tokens // 2), self.now_ns)
        self.pool.end(lease_id, Outcome.SETTLED, Cost(1, input_tokens, output_tokens), self.now_ns)
        self.settle()

    @precondition(lambda self: self.sent_ns)
    @rule(share=st.floats(0, 1))
    def answer_400(self, share: float) -> None:
        """To this share of all that are in flight, the newest first."""
        for _ in range(1 + round(share * (len(self.sent_ns) - 1))):
            lease_id, _ = self.sent_ns.popitem()
            self.pool.end(lease_id, Outcome.RELEASED, None, self.now_ns)
        self.settle()

    @precondition(lambda self: self.sent_ns)
    @rule(data=st.data(), retry_after_ns=RETRY_AFTER_NS, pause_ns=st.sampled_from([0, NS_PER_SECOND]))
    def refuse(self, data: st.DataObject, retry_after_ns: int | None, pause_ns: int) -> None:
        lease_id, sent_ago_ns = self.pick(data)
        refusal = RateLimited(retry_after_ns, sent_ago_ns, pause_ns=retry_after_ns or pause_ns, lease_id=lease_id)
        self.pool.learn(refusal, self.now_ns)
        self.settle()
        self.check_numbers()

    @precondition(lambda self: self.sent_ns)
    @rule(data=st.data())
    def fail(self, data: st.DataObject) -> None:
        lease_id, sent_ago_ns = self.pick(data)
        self.pool.learn(Failed(sent_ago_ns), self.now_ns)
        self.pool.end(lease_id, Outcome.OVERLOADED, None, self.now_ns)
        self.settle()

    @rule(step_ns=STEPS_NS, times=st.integers(1, 5))
    def let_time_pass(self, step_ns: int, times: int) -> None:
        for _ in range(times):
            self.now_ns += step_ns
            self.settle()

    def check_numbers(self) -> None:
        for holder, number in floats_in(self.pool):
            assert not isnan(number), holder
            assert isfinite(number) or holder == "GrowthBound", "which has no bound before a refusal for acceleration"

    @invariant()
    def rates_are_above_0(self) -> None:
        for each in self.pool.snapshot(self.now_ns).dimensions:
            assert each.effective_per_minute is None or each.effective_per_minute > 0

    def teardown(self) -> None:
        self.check_numbers()


TestHiddenLimitsMachine = HiddenLimitsMachine.TestCase
TestHiddenLimitsMachine.settings = settings(stateful_step_count=30)
