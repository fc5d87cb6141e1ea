"""Random steps of the pools of a store, for tests that compare two runs of the same steps."""

from collections.abc import Callable
from typing import Any, Self

from msgspec import structs

from tidegate.core.domain.caller import Caller, CallerLimits, Priority
from tidegate.core.domain.demand import Demand, Outcome
from tidegate.core.domain.dimension import Cost, Dimension
from tidegate.core.domain.feedback import Failed, Feedback, RateLimited, SpendCapped, Succeeded
from tidegate.core.domain.limit_report import DimensionReport, LimitReport
from tidegate.core.domain.nanoseconds import NS_PER_MINUTE
from tidegate.core.domain.nanoseconds import NS_PER_SECOND as S
from tidegate.core.domain.pool_settings import AdaptiveSettings, LimitSettings, PoolSettings, QueueCaps
from tidegate.stores.fold import Fold, FoldState
from tidegate.stores.steps import (
    Advance,
    Batch,
    Charge,
    Configure,
    End,
    Held,
    Learn,
    Leave,
    LimitCallers,
    Rejoin,
    Release,
    Reload,
    Reprice,
    Reserve,
    Step,
    Withdraw,
)

__all__ = ["ADAPTIVE", "SETTINGS", "Choose", "DrivenFold", "StepSource"]

Choose = Callable[[list[Any]], Any]
"""Chooses one of several values."""

POOLS = ["p", "p", "q", "default"]
RATES = CallerLimits(requests_per_minute=120.0, input_tokens_per_minute=20_000.0)
CALLERS = [
    Caller("ann"),
    Caller("ben", weight=2.0),
    Caller("cat", priority=Priority.INTERACTIVE),
    Caller("dan", priority=Priority.BATCH, weight=0.5),
    Caller("eve", limits=RATES),
    Caller("fay", priority=Priority.BATCH, limits=CallerLimits(max_concurrent=1)),
    Caller("gil", limits=CallerLimits(output_tokens_per_minute=3_000.0, max_concurrent=2)),
]
COSTS = [Cost(1), Cost(1, 10), Cost(1, 900, 100), Cost(1, 9_000, 800)]
ADAPTIVE = PoolSettings({Dimension.REQUESTS: LimitSettings(120.0, 3.0)}, AdaptiveSettings())
CONFIGURED = PoolSettings(
    {Dimension.REQUESTS: LimitSettings(240.0, 5.0), Dimension.INPUT_TOKENS: LimitSettings(30_000.0, 4_000.0)},
    caps=QueueCaps(requests=30, tokens_per_caller=60_000),
)
SETTINGS = [PoolSettings(), ADAPTIVE, CONFIGURED, PoolSettings(allow_debt=False)]
AGES_NS = [0, S // 10, S, 20 * S]
PASSED_NS = [0, 0, S // 100, S // 4, S, 5 * S, 31 * S, 31 * NS_PER_MINUTE]
KINDS = [
    *[Reserve] * 10, *[End] * 5, *[None] * 4, *[Charge] * 2, *[Advance] * 2, *[Withdraw] * 2, *[Learn] * 2,
    Release, Reprice, Configure, Reload, LimitCallers, Leave, Rejoin,
]  # fmt: skip


class StepSource:
    """Draws steps of two replicas that use each other's pools. `choose` is the only source of chance."""

    def __init__(self, choose: Choose) -> None:
        self._choose = choose
        self._asked: list[tuple[str, str]] = []  # pool and lease id

    def draw(self, wakes: dict[str, int]) -> tuple[int, Step]:
        """A step, and the time that passes before it. `wakes`: when pools want to be advanced."""
        choose = self._choose
        kind, passed_ns, pool = choose(KINDS), choose(PASSED_NS), choose(POOLS)
        if kind is None:
            pool = choose(sorted(wakes) or POOLS)
            return wakes.pop(pool, passed_ns), Advance(pool)
        if kind is Reserve:
            demand, lease_id = self._demand(pool), f"{choose(['a', 'b'])}-{len(self._asked)}"
            self._asked.append((pool, lease_id))
            return passed_ns, Reserve(lease_id, demand)
        if kind in {End, Charge, Withdraw, Release, Reprice}:
            return passed_ns, self._on_lease(kind, *choose(self._asked[-12:] or [("p", "a-0")]))
        if kind is Rejoin:
            return passed_ns, self._rejoin()
        return passed_ns, self._on_pool(kind, pool)

    def _on_lease(self, kind: type, pool: str, lease_id: str) -> Step:
        choose = self._choose
        if kind is End:
            given = tuple(self._feedback(lease_id) for _ in range(choose([0, 1, 2])))
            return End(pool, lease_id, choose(list(Outcome)), choose([None, *COSTS]), given)
        step: Step = kind(pool, lease_id, choose(COSTS)) if kind in {Charge, Reprice} else kind(pool, lease_id)
        return step

    def _rejoin(self) -> Step:
        choose = self._choose
        known = [each for each in self._asked[-8:] if choose([False, True])]
        waiting = [Reserve(lease_id, self._demand(pool)) for pool, lease_id in known[::2]]
        leases = [Held(lease_id, self._demand(pool), choose(COSTS)) for pool, lease_id in known[1::2]]
        return Rejoin(tuple(enumerate(waiting)), tuple(leases))

    def _on_pool(self, kind: type, pool: str) -> Step:
        choose = self._choose
        if kind is Learn:
            return Learn(pool, self._feedback(""))
        if kind is Configure:
            return Configure(pool, choose(SETTINGS))
        if kind is Reload:
            return Reload({"default": ADAPTIVE, "q": choose(SETTINGS)}, choose(SETTINGS))
        if kind is LimitCallers:
            return LimitCallers({"eve": choose([None, RATES, CallerLimits(max_concurrent=1)])})
        return Leave("a") if kind is Leave and choose([False, False, True]) else Advance(pool)

    def _demand(self, pool: str) -> Demand:
        choose = self._choose
        way = choose(["new"] * 6 + ["session_front", "front", "retry"])
        demand = Demand(
            pool,
            choose(CALLERS),
            choose(COSTS),
            choose([None, None, 60 * S, 2 * 60 * NS_PER_MINUTE]),
            settle_at_once=choose([False] * 5 + [True]),
            overdraw_tokens=choose([0, 500]),
            session=choose(["", "", "s", "t"]),
            agent=choose(["", "", "x", "y"]),
        )
        return demand if way == "new" else structs.replace(demand, **{way: True})

    def _feedback(self, lease_id: str) -> Feedback:
        choose = self._choose
        kind = choose(
            ["succeeded"] * 3 + ["reported"] * 4 + ["limited", "limited", "failed", "failed", "none", "capped"]
        )
        if kind == "succeeded":
            return Succeeded(choose(AGES_NS), lease_id)
        if kind == "limited":
            after_ns, grows = choose([None, S, 9 * S]), choose([False, True])
            return RateLimited(after_ns, choose(AGES_NS), acceleration=grows, lease_id=lease_id)
        if kind == "failed":
            return Failed(choose(AGES_NS))
        if kind == "capped":
            return SpendCapped(choose([None, 100 * S]))
        if kind == "none":
            return LimitReport(sent_ago_ns=choose(AGES_NS), lease_id=lease_id)
        tokens = DimensionReport(choose([30_000, 400_000]), choose([0, 9_000, 30_000]), choose([None, 2 * S, 20 * S]))
        requests = DimensionReport(choose([60, 60, 4_000]), choose([0, 5, 50]))
        return LimitReport(requests, choose([None, tokens]), choose([None, tokens]), choose(AGES_NS), lease_id=lease_id)


class DrivenFold:
    """A fold of single steps, each of which returns everything that can be observed.

    Attributes:
        fold: the fold.
        wakes: in how many nanoseconds each pool last wanted to be advanced.
    """

    def __init__(self, fold: Fold) -> None:
        self.fold = fold
        self.wakes: dict[str, int] = {}
        self._numbers = {"a": 0, "b": 0}
        self._asked: list[tuple[str, str]] = []

    def continued(self, state: FoldState, now_ns: int) -> Self:
        """The same, over another fold that continues from this state."""
        copy = type(self)(Fold.restore(state, now_ns))
        copy._numbers, copy._asked = dict(self._numbers), list(self._asked)
        return copy

    def apply(self, step: Step, now_ns: int) -> object:
        """Folds a step."""
        replica = "ab"[len(self._asked) % 2]
        if isinstance(step, Reserve):
            self._asked.append((step.demand.pool, step.lease_id))
        self._numbers[replica] += 1
        folded = self.fold.fold(Batch(replica, self._numbers[replica], (step,)), now_ns)
        self.wakes.update((each.pool, each.next_in_ns) for each in folded.changes if each.next_in_ns is not None)
        pools = self.fold.pools
        left = [pools.wait_left(*each, now_ns) for each in self._asked[-3:]]
        return folded, pools.snapshot(None, now_ns), pools.queues(now_ns), left, pools.take_changes()
