"""A pool under any sequence of steps, beside a model: the invariants of the limiter."""

from typing import NamedTuple

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tidegate.core.domain.caller import Caller, CallerLimits, Priority
from tidegate.core.domain.cause import Cause
from tidegate.core.domain.demand import Demand, Granted, Outcome, Refused, Wait
from tidegate.core.domain.dimension import MICRO, Cost, Dimension
from tidegate.core.domain.feedback import Failed, RateLimited, Succeeded
from tidegate.core.domain.nanoseconds import NS_PER_MINUTE, NS_PER_SECOND
from tidegate.core.domain.pool_settings import AdaptiveSettings, LimitSettings, PoolSettings, QueueCaps
from tidegate.core.pool.pool import Pool

CALLERS = st.sampled_from(
    [
        Caller("a"),
        Caller("b", weight=2.0, priority=Priority.INTERACTIVE),
        Caller("c", weight=0.5, priority=Priority.BATCH),
        Caller("d", limits=CallerLimits(requests_per_minute=20, max_concurrent=2)),
    ]
)
COSTS = st.builds(Cost, st.integers(0, 3), st.sampled_from([0, 1, 500, 5_000, 30_000]), st.just(0))
PATIENCE_NS = st.none() | st.integers(0, 60 * NS_PER_SECOND)
STEPS_NS = st.integers(0, 20 * NS_PER_SECOND) | st.sampled_from([1, 3 * NS_PER_SECOND])
RATES = (20, 60_000)
CAPACITIES = (5, 10_000)
MOST_WAITING = 8


class Entry(NamedTuple):
    """What happened to the buckets: a grant's cost, or what was given back (negative); and whether it was a grant."""

    at_ns: int
    cost: Cost
    is_grant: bool


def pool_settings(share: float = 1.0) -> PoolSettings:
    return PoolSettings(
        {
            Dimension.REQUESTS: LimitSettings(RATES[0] * share, CAPACITIES[0]),
            Dimension.INPUT_TOKENS: LimitSettings(RATES[1] * share, CAPACITIES[1]),
        },
        AdaptiveSettings(),
        caps=QueueCaps(MOST_WAITING),
    )


class PoolMachine(RuleBasedStateMachine):
    """Reserves, leaves, ends, freezes, gives feedback, configures and lets time pass, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.now_ns = 0
        self.pool = Pool("p", pool_settings(), 0)
        self.frozen_until_ns = 0
        self.made = 0
        self.demands: dict[str, Demand] = {}
        self.waiting: list[str] = []
        self.held: list[str] = []
        self.ended: list[str] = []
        self.log: list[Entry] = []

    def levels(self) -> list[float | None]:
        return [dimension.available for dimension in self.pool.snapshot(self.now_ns).dimensions]

    def grant(self, lease_id: str) -> None:
        assert self.now_ns >= self.frozen_until_ns, "granted while frozen"
        self.log.append(Entry(self.now_ns, self.demands[lease_id].cost, is_grant=True))
        self.held.append(lease_id)

    @rule(caller=CALLERS, cost=COSTS, patience_ns=PATIENCE_NS, front=st.booleans(), at_once=st.booleans())
    def reserve(self, caller: Caller, cost: Cost, patience_ns: int | None, *, front: bool, at_once: bool) -> None:
        self.ask(Demand("p", caller, cost, patience_ns, front=front, settle_at_once=at_once))

    @rule(caller=CALLERS, cost=COSTS, patience_ns=PATIENCE_NS)
    def repeat(self, caller: Caller, cost: Cost, patience_ns: int | None) -> None:
        self.ask(Demand("p", caller, cost, patience_ns, retry=True))

    def ask(self, demand: Demand) -> None:
        self.made += 1
        lease_id = f"lease-{self.made}"
        self.demands[lease_id] = demand
        before = self.levels()
        result = self.pool.reserve(lease_id, demand, self.now_ns)
        if isinstance(result, Granted):
            others = [self.demands[one] for one in self.waiting]
            assert all(one.retry or one.caller.limits is not None for one in others) or demand.retry, "overtook"
            assert all(one.caller != demand.caller for one in others) or demand.retry or demand.caller.limits is None
            self.grant(lease_id)
            return
        assert self.levels() == before
        if isinstance(result, Wait):
            is_estimate = demand.cost.input_tokens > 0
            patience_ns = demand.patience_ns
            assert is_estimate or demand.retry or patience_ns is None or result.predicted_ns <= patience_ns
            self.waiting.append(lease_id)
        else:
            assert not demand.retry, "a retry is never refused for its wait"
            assert result.cause is not Cause.QUEUE_FULL or len(self.waiting) >= MOST_WAITING
            assert result.cause is not Cause.CALLER_LIMIT or demand.caller.limits is not None
            self.check_refusal(result)

    def check_refusal(self, result: Refused) -> None:
        assert result.cause in {Cause.DEADLINE, Cause.QUEUE_FULL, Cause.CALLER_LIMIT, Cause.UPSTREAM_OUTAGE}
        assert result.retry_after_ns is not None
        assert result.retry_after_ns >= 0

    @precondition(lambda self: self.demands)
    @rule(data=st.data())
    def withdraw(self, data: st.DataObject) -> None:
        lease_id = data.draw(st.sampled_from(sorted(self.demands)))
        before = self.levels()
        left = self.pool.withdraw(lease_id, self.now_ns)
        assert (left is not None) == (lease_id in self.waiting)
        assert self.levels() == before
        if lease_id in self.waiting:
            self.waiting.remove(lease_id)

    @precondition(lambda self: self.held)
    @rule(data=st.data(), outcome=st.sampled_from(Outcome), used=st.none() | COSTS)
    def end(self, data: st.DataObject, outcome: Outcome, used: Cost | None) -> None:
        lease_id = data.draw(st.sampled_from(self.held))
        reserved = self.demands[lease_id].cost
        if outcome in {Outcome.RELEASED, Outcome.THROTTLED}:
            final = Cost()
        elif used is None:
            final = Cost(reserved.requests) if outcome is Outcome.OVERLOADED else reserved
        else:
            final = used
        assert self.pool.end(lease_id, outcome, used, self.now_ns)
        self.log.append(Entry(self.now_ns, final.minus(reserved), is_grant=False))
        self.held.remove(lease_id)
        self.ended.append(lease_id)

    @precondition(lambda self: self.ended)
    @rule(data=st.data(), outcome=st.sampled_from(Outcome))
    def end_again(self, data: st.DataObject, outcome: Outcome) -> None:
        before = self.levels()
        assert not self.pool.end(data.draw(st.sampled_from(self.ended)), outcome, Cost(9, 9), self.now_ns)
        assert self.levels() == before

    @rule(
        feedback=st.sampled_from([Succeeded(), Succeeded(0), RateLimited(), Failed(0)])
        | st.builds(RateLimited, STEPS_NS)
    )
    def learn(self, feedback: Succeeded | RateLimited | Failed) -> None:
        before = self.levels()
        self.pool.learn(feedback, self.now_ns)
        assert self.levels() == before
        if isinstance(feedback, RateLimited) and feedback.retry_after_ns:
            self.frozen_until_ns = max(self.frozen_until_ns, self.now_ns + feedback.retry_after_ns)

    @rule(share=st.sampled_from([0.1, 0.5, 1.0]))
    def configure(self, share: float) -> None:
        before, waiting = self.levels(), self.pool.snapshot(self.now_ns).classes
        self.pool.configure(pool_settings(share), self.now_ns)
        assert self.levels() == before
        assert self.pool.snapshot(self.now_ns).classes == waiting

    @rule(step_ns=STEPS_NS)
    def advance(self, step_ns: int) -> None:
        self.now_ns += step_ns
        for lease_id in self.pool.advance(self.now_ns):
            self.grant(lease_id)
            self.waiting.remove(lease_id)
        next_in_ns = self.pool.next_in_ns(self.now_ns)
        at_once = [one for one in self.waiting if self.demands[one].caller.limits is None]
        assert next_in_ns is not None or not at_once
        assert next_in_ns is None or self.waiting
        assert next_in_ns != 0, "nothing was granted, and nothing is to be looked at again at once"

    @invariant()
    def bookkeeping_agrees_and_is_bounded(self) -> None:
        snapshot = self.pool.snapshot(self.now_ns)
        assert snapshot.waiting == len(self.waiting)
        assert snapshot.in_flight == len(self.held)
        assert snapshot.granted == sum(entry.is_grant for entry in self.log)
        assert len(self.waiting) <= MOST_WAITING + sum(
            self.demands[one].front or self.demands[one].retry for one in self.waiting
        )

    @invariant()
    def the_factor_stays_in_its_range(self) -> None:
        assert 0.1 <= self.pool.snapshot(self.now_ns).adaptive_factor <= 1.0

    def teardown(self) -> None:
        for index in range(len(RATES)):
            for first, entry in enumerate(self.log):
                if entry.is_grant:
                    self.check_windows_from(first, index)

    def check_windows_from(self, first: int, index: int) -> None:
        """Reserved ≤ capacity + refill + what was given back, and one oversized request on a full bucket."""
        start_ns = self.log[first].at_ns
        net = 0
        for entry in self.log[first:]:
            cost = entry.cost[index]
            net += cost if entry.is_grant else min(0, cost)
            if entry.is_grant and cost:
                oversized = max(0, cost - CAPACITIES[index])
                refill_micro_ns = RATES[index] * MICRO * (entry.at_ns - start_ns)
                assert (net - oversized - CAPACITIES[index]) * MICRO * NS_PER_MINUTE <= refill_micro_ns


TestPoolMachine = PoolMachine.TestCase
TestPoolMachine.settings = settings(stateful_step_count=60)
