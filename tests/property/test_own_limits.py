"""Callers' own limits over several pools: everybody who may go is woken, and nothing is left behind."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from msgspec import structs

from support.virtual_time import VirtualClock
from tidegate.core.domain.caller import Caller, CallerLimits, Priority
from tidegate.core.domain.demand import Demand, Granted, Outcome, Wait
from tidegate.core.domain.dimension import Cost, Dimension
from tidegate.core.domain.feedback import RateLimited, Succeeded
from tidegate.core.domain.nanoseconds import NS_PER_SECOND as S
from tidegate.core.domain.pool_settings import AdaptiveSettings, LimitSettings, PoolSettings
from tidegate.core.ports.store import Change
from tidegate.stores.memory import MemoryStore

LIMITS = (
    None,
    CallerLimits(requests_per_minute=6),
    CallerLimits(max_concurrent=1),
    CallerLimits(input_tokens_per_minute=600, max_concurrent=2),
)
NAMES = st.sampled_from("abcd")
POOLS = st.sampled_from("pq")
WAYS = st.sampled_from(["new", "new", "new", "session_front", "front", "retry"])
TOKENS = st.sampled_from([0, 10, 500, 3_000])
PATIENCE_NS = st.none() | st.sampled_from([5 * S, 60 * S])
TOGETHER_NS = S // 100
"""Some that would go one after the other within so little go together."""


def pool_settings(share: float = 1.0) -> PoolSettings:
    limits = {
        Dimension.REQUESTS: LimitSettings(60 * share, 5),
        Dimension.INPUT_TOKENS: LimitSettings(6_000 * share, 1_000),
    }
    return PoolSettings(limits, AdaptiveSettings())


class StoreMachine(RuleBasedStateMachine):
    """Reserves, leaves, ends, configures and lets time pass. Timers are set as `engine.waiters` sets them."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = VirtualClock()
        self.store = MemoryStore(self.clock, {"p": pool_settings(), "q": pool_settings()})
        self.store.watch(self.on_change)
        self.limits = dict(zip("abcd", LIMITS, strict=True))
        self.waiting: dict[str, Demand] = {}
        self.held: dict[str, Demand] = {}
        self.timers: dict[str, int] = {}
        self.made = 0

    @property
    def now_ns(self) -> int:
        return self.clock.monotonic_ns()

    def on_change(self, change: Change) -> None:
        for lease_id in change.granted:
            self.held[lease_id] = self.waiting.pop(lease_id)
        if change.next_in_ns is not None and self.waits_in(change.pool):
            when_ns = self.now_ns + change.next_in_ns
            self.timers[change.pool] = min(when_ns, self.timers.get(change.pool, when_ns))

    def waits_in(self, pool: str) -> bool:
        return any(demand.pool == pool for demand in self.waiting.values())

    @rule(name=NAMES, pool=POOLS, tokens=TOKENS, way=WAYS, patience_ns=PATIENCE_NS, data=st.data())
    def reserve(
        self, name: str, pool: str, tokens: int, way: str, patience_ns: int | None, data: st.DataObject
    ) -> None:
        priority = data.draw(st.sampled_from([Priority.STANDARD, Priority.BATCH]))
        agent = data.draw(st.sampled_from(["", "x", "y"]))
        caller = Caller(name, priority=priority, limits=self.limits[name])
        demand = Demand(pool, caller, Cost(1, tokens), patience_ns, session="s", agent=agent)
        demand = demand if way == "new" else structs.replace(demand, **{way: True})
        self.made += 1
        lease_id = f"lease-{self.made}"
        if data.draw(st.booleans()) and self.store.try_admit(lease_id, demand):
            self.held[lease_id] = demand
            return
        self.waiting[lease_id] = demand  # it may be granted before the store has answered
        result = self.store.reserve_now(lease_id, demand)
        if not isinstance(result, Wait):
            del self.waiting[lease_id]
            if isinstance(result, Granted):
                self.held[lease_id] = demand
        elif self.waits_in(pool) and pool not in self.timers:
            self.store.advance(pool)  # as who begins to wait in a loop without a timer

    @precondition(lambda self: self.held)
    @rule(data=st.data(), outcome=st.sampled_from(Outcome), used=st.none() | st.builds(Cost, st.just(1), TOKENS))
    def end(self, data: st.DataObject, outcome: Outcome, used: Cost | None) -> None:
        lease_id = data.draw(st.sampled_from(sorted(self.held)))
        feedback = (Succeeded(0, lease_id),) if outcome is Outcome.SETTLED else ()
        self.store.end_now(self.held.pop(lease_id).pool, lease_id, outcome, used, feedback)

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        lease_id = data.draw(st.sampled_from(sorted(self.waiting)))
        pool = self.waiting.pop(lease_id).pool
        assert self.store.withdraw_now(pool, lease_id) is not None
        self.forget_timer(pool)

    @rule(pool=POOLS, share=st.sampled_from([0.5, 1.0, 4.0]))
    def configure(self, pool: str, share: float) -> None:
        self.store.configure_now(pool, pool_settings(share))

    @rule(pool=POOLS)
    def freeze(self, pool: str) -> None:
        self.store.learn_now(pool, RateLimited(2 * S))

    @rule(name=NAMES, limits=st.sampled_from(LIMITS))
    def give_other_limits(self, name: str, limits: CallerLimits | None) -> None:
        self.limits[name] = limits

    @rule(step_s=st.sampled_from([0.1, 1.0, 7.0, 30.0]))
    def pass_time(self, step_s: float) -> None:
        until_ns = self.now_ns + round(step_s * S)
        while self.timers and min(self.timers.values()) <= until_ns:
            self.fire()
        self.clock.advance(max(0, until_ns - self.now_ns) / S)

    @rule()
    def find_forgotten_leases(self) -> None:
        for _ in range(2):
            self.clock.advance(1_800.001)
            for pool in sorted(self.timers):
                del self.timers[pool]
                self.store.advance(pool)
        for snapshot in self.store.snapshot_now():
            own = {name for name, demand in self.held.items() if demand.pool == snapshot.pool}
            known = set(self.store._pools._pools[snapshot.pool]._book.leases)
            for lease_id in own - known:
                del self.held[lease_id]

    def fire(self) -> None:
        """Time passes until the first timer."""
        pool = min(self.timers, key=lambda name: (self.timers[name], name))
        when_ns, before = self.timers.pop(pool), len(self.waiting)
        self.clock.advance(max(0, when_ns - self.now_ns) / S)
        self.store.advance(pool)
        self.forget_timer(pool)
        again_ns = self.timers.get(pool)
        assert again_ns is None or again_ns > self.now_ns or len(self.waiting) < before, "a look for nothing"

    def forget_timer(self, pool: str) -> None:
        if not self.waits_in(pool):
            self.timers.pop(pool, None)

    @invariant()
    def nobody_who_may_go_is_forgotten(self) -> None:
        assert self.store._pools._accounts.freed == {}
        for name, pool in self.store._pools._pools.items():
            next_in_ns = pool.next_in_ns(self.now_ns)
            if next_in_ns is not None:
                assert self.timers[name] <= self.now_ns + next_in_ns + TOGETHER_NS

    @invariant()
    def accounts_count_the_leases(self) -> None:
        leases = [lease for pool in self.store._pools._pools.values() for lease in pool._book.leases.values()]
        assert len(leases) == len(self.held)
        for account in self.store._pools._accounts._by_name.values():
            assert account.in_flight == sum(lease.account is account for lease in leases)

    def teardown(self) -> None:
        """Calls end, and everybody goes. Then nothing is left of them."""
        steps = 0
        while self.waiting or self.held:
            for lease_id in sorted(self.held):
                self.store.end_now(self.held.pop(lease_id).pool, lease_id, Outcome.SETTLED)
            if self.waiting and not self.held:
                self.fire()
            steps += 1
            assert steps < 10_000, f"{self.waiting} never go"
        for pool in self.store._pools._pools.values():
            queue = pool._queue
            assert (queue.waiting, queue.skipped, queue.failed, queue.tokens) == ({}, {}, {}, 0)
            for home in queue._classes:
                flows = home.flows
                assert (flows.waiting, flows.load, flows.active, flows._detached) == (0, [0, 0, 0], 0, 0)
                assert (flows.children, home.refused_load, home.failed_load) == ({}, [0, 0, 0], [0, 0, 0])


TestStoreMachine = StoreMachine.TestCase
TestStoreMachine.settings = settings(stateful_step_count=40)
