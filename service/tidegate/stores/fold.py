"""Folds the steps of all replicas into the pools of a store."""

import logging
from typing import Final, Self

from msgspec import Struct, structs

from tidegate.core.claude.rate_limit_groups import overflow_pool
from tidegate.core.domain.anomaly import AnomalyKind
from tidegate.core.domain.caller import CallerLimits
from tidegate.core.domain.cause import Cause
from tidegate.core.domain.demand import Granted, Refused, Wait
from tidegate.core.domain.events import Anomaly
from tidegate.core.domain.pool_settings import PoolSettings
from tidegate.core.ports.store import Change
from tidegate.stores.pools import Pools
from tidegate.stores.steps import (
    Advance,
    Answer,
    Batch,
    Charge,
    Configure,
    End,
    Folded,
    Learn,
    Leave,
    LimitCallers,
    Rejoin,
    Release,
    Reload,
    Reprice,
    Reserve,
    SetBudgets,
    Spend,
    TurnBudgets,
    Withdraw,
    replica_of,
)
from tidegate.stores.store_state import StoreState

__all__ = ["FOLD_STATE_VERSION", "Fold", "FoldState"]

logger = logging.getLogger("tidegate.store")

FOLD_STATE_VERSION: Final = 1
"""Counts changes after which older checkpoints cannot be read. A new last field with a default is no such change."""

_MOST_REPLICAS: Final = 1_000
"""So many replicas are remembered. The one whose first step is the oldest is forgotten first."""

_LeaseStep = Withdraw | Charge | End | Release | Reprice
_PoolStep = Learn | Advance | Configure | Reload | LimitCallers | SetBudgets | TurnBudgets | Spend | Leave
_SingleStep = _LeaseStep | _PoolStep | Reserve
_Result = Granted | Wait | Refused | bool | None


class FoldState(Struct, frozen=True, array_like=True):
    """The dump of a `Fold`: a checkpoint of the steps before it.

    Attributes:
        version: of this layout.
        store: the pools with their live work.
        configured, otherwise, callers: the settings by configuration.
        drained_ago_ns: how long ago the levels were drained; None: never.
    """

    version: int
    store: StoreState
    configured: dict[str, PoolSettings]
    otherwise: PoolSettings
    callers: dict[str, CallerLimits | None]
    drained_ago_ns: int | None = None


class Fold:
    """Applies each step once, in the order of its replica, whatever is sent twice or gets lost.

    The same batches at the same times lead to the same pools and results in every process.

    Attributes:
        pools: the pools. Other steps may be made on them directly.
    """

    def __init__(self, pools: Pools) -> None:
        self.pools = pools
        self._folded: dict[str, int] = {}  # by replica: the number of its last step

    def dump(self, now_ns: int) -> FoldState:
        """All that the fold of the steps so far has led to, for `restore`.

        `take_changes` of the pools first: changes are no part of it.
        """
        configured, otherwise = self.pools.settings.configured
        return FoldState(
            FOLD_STATE_VERSION,
            self.dump_store(now_ns, work=True),
            dict(configured),
            otherwise,
            dict(self.pools.callers_limits),
            None if (drained_ns := self.pools.drained_ns) is None else now_ns - drained_ns,
        )

    @classmethod
    def restore(cls, state: FoldState, now_ns: int, kind: type[Pools] = Pools) -> Self:
        """A fold that continues exactly from `state`, over new pools of this kind.

        Raises:
            UnreadableState: another version has dumped a pool.
        """
        pools = kind(state.configured, state.otherwise)
        pools.limit_callers(state.callers, now_ns)
        fold = cls(pools)
        fold.restore_store(state.store, now_ns)
        if state.drained_ago_ns is not None:
            pools.drained_ns = now_ns - state.drained_ago_ns
        return fold

    def dump_store(self, now_ns: int, *, work: bool) -> StoreState:
        """As `Pools.dump`; the work includes the number of the last step of each replica."""
        state = self.pools.dump(now_ns, work=work)
        if state.work is None:
            return state
        return structs.replace(state, work=structs.replace(state.work, folded=dict(self._folded)))

    def restore_store(self, state: StoreState, now_ns: int) -> None:
        """As `Pools.restore`. With the work of a dump, the steps of all replicas continue after those folded then."""
        self.pools.restore(state, now_ns)
        if state.work is not None:
            self._folded = dict(state.work.folded)

    def folded(self, replica: str) -> int:
        """The number of the last step of a replica; 0: it is unknown."""
        return self._folded.get(replica, 0)

    def forget(self, replica: str, now_ns: int) -> None:
        """A replica has died: ends its waits and leases. If it lives after all, it notices, and rejoins."""
        self._folded.pop(replica, None)
        self._apply(Leave(replica), now_ns)

    def fold(self, batch: Batch, now_ns: int) -> Folded:
        """Applies the steps of a batch that were not applied before. None of them, if steps before it are missing."""
        last = self._folded.get(batch.replica, 0)
        if batch.number > last + 1 and not (batch.steps and isinstance(batch.steps[0], Rejoin)):
            return Folded(last)
        answers: list[Answer] = []
        faults: list[Change] = []
        for number, step in enumerate(batch.steps, batch.number):
            if isinstance(step, Rejoin):
                if number > last:
                    self._apply_rejoin(batch.replica, step, now_ns, faults)
                answers += (Answer(asked, self._repeated(reserve, now_ns)) for asked, reserve in step.waiting)
                continue
            result = self._repeated(step, now_ns) if number <= last else self._try(step, now_ns, faults)
            if isinstance(step, Reserve | Withdraw | End):
                answers.append(Answer(number, result))
        last = max(last, batch.number + len(batch.steps) - 1)
        self._folded[batch.replica] = last
        if len(self._folded) > _MOST_REPLICAS:
            del self._folded[next(iter(self._folded))]
        return Folded(last, tuple(answers), (*self.pools.take_changes(), *faults))

    def _try(self, step: _SingleStep, now_ns: int, faults: list[Change]) -> _Result:
        """Applies a step. One that fails would fail again, at every replica that leads: it is skipped instead."""
        try:
            return self._apply(step, now_ns)
        except Exception:
            logger.exception("a step is skipped, which cannot be applied: %s", type(step).__name__)
            faults.append(Change("", events=(Anomaly("", AnomalyKind.STEP),)))
            return Refused(Cause.STORE_UNAVAILABLE)

    def _apply(self, step: _SingleStep, now_ns: int) -> _Result:
        if isinstance(step, Reserve):
            demand = step.demand
            name = self.pools.pool_for(demand.pool, now_ns)
            return self.pools.reserve(step.lease_id, structs.replace(demand, pool=name), now_ns)
        if isinstance(step, Withdraw | Charge | End | Release | Reprice):
            return self._apply_to_lease(step, self._pool_of(step.pool, step.lease_id, now_ns), now_ns)
        self._apply_to_pools(step, now_ns)
        return None

    def _apply_rejoin(self, replica: str, rejoin: Rejoin, now_ns: int, faults: list[Change]) -> None:
        for step in rejoin.steps:
            self._try(step, now_ns, faults)
        pools = self.pools
        kept = {reserve.lease_id for _, reserve in rejoin.waiting} | {held.lease_id for held in rejoin.leases}
        pools.abandon(lambda lease_id: replica_of(lease_id) == replica and lease_id not in kept, now_ns)
        for held in rejoin.leases:
            pool = self._pool_of(held.demand.pool, held.lease_id, now_ns)
            pools.hold(held.lease_id, structs.replace(held.demand, pool=pool), held.known, now_ns)
        for _, reserve in rejoin.waiting:
            if not pools.holds(self._pool_of(reserve.demand.pool, reserve.lease_id, now_ns), reserve.lease_id):
                self._try(reserve, now_ns, faults)

    def _apply_to_lease(self, step: _LeaseStep, pool: str, now_ns: int) -> _Result:
        pools, lease_id = self.pools, step.lease_id
        match step:
            case Withdraw():
                return pools.withdraw(pool, lease_id, now_ns)
            case Charge():
                pools.charge(pool, lease_id, step.known, step.spent, now_ns)
            case End():
                has_ended = pools.end(pool, lease_id, step.outcome, step.used, step.feedback, step.spent, now_ns)
                if not has_ended and step.spender is not None and step.spent is not None:
                    pools.spend(step.spender, step.spent, now_ns)
                return has_ended
            case Release():
                pools.release(pool, lease_id, now_ns)
            case Reprice():
                pools.reprice(pool, lease_id, step.cost, now_ns)
        return None

    def _apply_to_pools(self, step: _PoolStep, now_ns: int) -> None:
        pools = self.pools
        match step:
            case Learn(pool, feedback):
                pools.learn(pools.pool_for(pool, now_ns), feedback, now_ns)
            case Advance(pool):
                pools.advance(pools.pool_for(pool, now_ns), now_ns)
            case Configure(pool, settings, origin):
                pools.configure(pool, settings, origin, now_ns)
            case Reload(configured, otherwise):
                pools.reload(configured, otherwise, now_ns)
            case LimitCallers(limits):
                pools.limit_callers(limits, now_ns)
            case SetBudgets(windows):
                pools.set_budgets(windows, now_ns)
            case TurnBudgets(periods):
                pools.turn_budgets(periods, now_ns)
            case Spend(spender, spending):
                pools.spend(spender, spending, now_ns)
            case Leave(replica):
                pools.abandon(lambda lease_id: replica_of(lease_id) == replica, now_ns)

    def _repeated(self, step: _SingleStep, now_ns: int) -> _Result:
        """The answer to a step that was applied before."""
        if isinstance(step, Reserve):
            name, lease_id = step.demand.pool, step.lease_id
        elif isinstance(step, Withdraw):
            name, lease_id = step.pool, step.lease_id
        else:
            return False
        standing = self.pools.standing(self._pool_of(name, lease_id, now_ns), lease_id, now_ns)
        if standing is None:
            return Refused(Cause.STORE_UNAVAILABLE)
        return None if isinstance(step, Withdraw) else standing

    def _pool_of(self, name: str, lease_id: str, now_ns: int) -> str:
        """The pool that a lease or waiter is in: its own, or the overflow pool if its own did not exist then."""
        pools, overflow = self.pools, overflow_pool(name)
        if not pools.holds(name, lease_id) and pools.holds(overflow, lease_id):
            return overflow
        return pools.pool_for(name, now_ns)
