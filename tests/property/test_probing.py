"""A pool whose headers tell its limits has one unanswered probe at a time, and no state ever holds NaN or infinity.

Draws retries, priorities, other settings, 400s and failures among 429s, and upstreams that hide their limits.
"""

from math import isfinite

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from support.state_numbers import floats_in
from tidegate.core.domain.caller import Caller, Priority
from tidegate.core.domain.demand import Demand, Granted, Outcome
from tidegate.core.domain.dimension import Cost, Dimension
from tidegate.core.domain.feedback import Failed, RateLimited
from tidegate.core.domain.limit_report import DimensionReport, LimitReport
from tidegate.core.domain.nanoseconds import NS_PER_SECOND
from tidegate.core.domain.pool_settings import AdaptiveSettings, LimitSettings, PoolSettings
from tidegate.core.pool.pool import Pool

PATIENCE_NS = 2 * NS_PER_SECOND
"""After this time another probe may go: the first may be a long answer."""
CALLERS = st.sampled_from(
    [Caller("a"), Caller("b", priority=Priority.BATCH), Caller("c", priority=Priority.INTERACTIVE)]
)
COSTS = st.builds(Cost, st.just(1), st.sampled_from([1, 500, 30_000]), st.sampled_from([0, 800]))
STEPS_NS = st.integers(1, 3 * NS_PER_SECOND) | st.sampled_from([1, NS_PER_SECOND // 100, 30 * NS_PER_SECOND])
RETRY_AFTER_NS = st.sampled_from([None, 0, NS_PER_SECOND])
SETTINGS = st.sampled_from(
    [
        PoolSettings(),
        PoolSettings({Dimension.REQUESTS: LimitSettings(4_000, 4_000)}),
        PoolSettings({Dimension.INPUT_TOKENS: LimitSettings(60_000, 60_000)}),
        PoolSettings(adaptive=AdaptiveSettings()),
    ]
)


class ProbingMachine(RuleBasedStateMachine):
    """Reserves, answers, refuses and configures in any order; time always moves on a little."""

    def __init__(self) -> None:
        super().__init__()
        self.now_ns = 1_000 * NS_PER_SECOND
        self.made = 0
        self.in_flight: dict[str, int] = {}  # when each was granted
        self.probes: set[str] = set()
        self.is_hidden = False

    @initialize(is_hidden=st.booleans(), configured=SETTINGS)
    def begin(self, *, is_hidden: bool, configured: PoolSettings) -> None:
        self.is_hidden = is_hidden
        self.pool = Pool("p", configured, self.now_ns)
        self.pool.learn(self.report(0), self.now_ns)

    def report(self, sent_ago_ns: int, lease_id: str = "") -> LimitReport:
        if self.is_hidden:
            return LimitReport(sent_ago_ns=sent_ago_ns, lease_id=lease_id)
        reports = DimensionReport(6_000, 6_000), DimensionReport(6_000_000, 6_000_000)
        return LimitReport(*reports, sent_ago_ns=sent_ago_ns, lease_id=lease_id)

    def granted(self, lease_id: str) -> None:
        self.in_flight[lease_id] = self.now_ns
        snapshot = self.pool.snapshot(self.now_ns)
        if not snapshot.probing or snapshot.open_circuits:
            return  # an outage is probed by several, as long as they are not refused at once
        recent = {each for each in self.probes if self.in_flight[each] > self.now_ns - PATIENCE_NS}
        assert self.is_hidden or not recent, "a second probe while one is unanswered"
        self.probes.add(lease_id)

    def move_on(self) -> None:
        for lease_id in self.pool.advance(self.now_ns):
            self.granted(lease_id)
        self.probes &= self.in_flight.keys()
        if not self.pool.snapshot(self.now_ns).probing:
            self.probes.clear()

    def ended(self, lease_id: str) -> int:
        """How long ago a request was sent that is not under way any more; the moment is later than any before."""
        self.now_ns += 1
        self.probes.discard(lease_id)
        return self.now_ns - self.in_flight.pop(lease_id)

    @rule(caller=CALLERS, cost=COSTS, count=st.integers(1, 4), front=st.booleans(), retry=st.booleans())
    def reserve(self, caller: Caller, cost: Cost, count: int, *, front: bool, retry: bool) -> None:
        for _ in range(count):
            self.made += 1
            demand = Demand("p", caller, cost, front=front, retry=retry)
            if isinstance(self.pool.reserve(f"{self.made}", demand, self.now_ns), Granted):
                self.granted(f"{self.made}")
            self.move_on()

    @precondition(lambda self: self.in_flight)
    @rule(data=st.data())
    def answer(self, data: st.DataObject) -> None:
        lease_id = data.draw(st.sampled_from(list(self.in_flight)))
        self.pool.learn(self.report(self.ended(lease_id), lease_id), self.now_ns)
        self.move_on()
        self.pool.end(lease_id, Outcome.SETTLED, Cost(1, 700, 20), self.now_ns)
        self.move_on()

    @precondition(lambda self: self.in_flight)
    @rule(data=st.data(), retry_after_ns=RETRY_AFTER_NS)
    def refuse(self, data: st.DataObject, retry_after_ns: int | None) -> None:
        lease_id = data.draw(st.sampled_from(list(self.in_flight)))
        sent_ago_ns = self.ended(lease_id)
        self.pool.learn(RateLimited(retry_after_ns, sent_ago_ns, lease_id=lease_id), self.now_ns)
        self.move_on()

    @precondition(lambda self: self.in_flight)
    @rule(data=st.data(), outcome=st.sampled_from([Outcome.RELEASED, Outcome.ABANDONED]))
    def end_without_an_answer(self, data: st.DataObject, outcome: Outcome) -> None:
        """A 400, or a caller that hung up."""
        lease_id = data.draw(st.sampled_from(list(self.in_flight)))
        self.ended(lease_id)
        self.pool.end(lease_id, outcome, None, self.now_ns)
        self.move_on()

    @precondition(lambda self: self.in_flight)
    @rule(data=st.data())
    def fail(self, data: st.DataObject) -> None:
        lease_id = data.draw(st.sampled_from(list(self.in_flight)))
        self.pool.learn(Failed(self.ended(lease_id)), self.now_ns)
        self.pool.end(lease_id, Outcome.OVERLOADED, Cost(), self.now_ns)
        self.move_on()

    @rule(configured=SETTINGS)
    def configure(self, configured: PoolSettings) -> None:
        self.pool.configure(configured, self.now_ns)
        self.move_on()

    @rule(step_ns=STEPS_NS)
    def let_time_pass(self, step_ns: int) -> None:
        self.now_ns += step_ns
        self.move_on()

    def teardown(self) -> None:
        """What is not finite stays so: a look at the end finds it. The bounds of a `GrowthBound` begin at infinity."""
        assert not [each for each in floats_in(self.pool) if not isfinite(each[1]) and each[0] != "GrowthBound"]


TestProbingMachine = ProbingMachine.TestCase
TestProbingMachine.settings = settings(stateful_step_count=50)
