"""Decides for one replica alone, by its share of the limits, while the shared store is lost."""

import asyncio
import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final

from msgspec import structs

from tidegate.core.domain.caller import CallerLimits
from tidegate.core.domain.cause import Cause
from tidegate.core.domain.dimension import Cost
from tidegate.core.domain.feedback import SpendCapped, Succeeded
from tidegate.core.domain.nanoseconds import to_ns
from tidegate.core.domain.snapshots import PoolSnapshot
from tidegate.core.ports.clock import Clock
from tidegate.core.ports.store import Change
from tidegate.stores.memory import MemoryStore
from tidegate.stores.pool_configuration import PoolConfiguration
from tidegate.stores.remote.leader import Leader
from tidegate.stores.remote.messages import Message, Steps
from tidegate.stores.steps import (
    Configure,
    End,
    LastingStep,
    LimitCallers,
    Rejoin,
    Release,
    Reload,
    Reserve,
    SetBudgets,
    Spend,
    Step,
    TurnBudgets,
)
from tidegate.stores.valkey.budget_shares import BudgetShares
from tidegate.stores.valkey.shares import callers_share, pool_share, step_share

__all__ = ["AloneLeader"]

_MOST_STEPS: Final = 20_000
"""So many steps are kept for the log. The oldest are dropped first; their leases then end as abandoned there."""


class AloneLeader:
    """Implements `Channel` to a leader within this process, over pools that have this replica's share.

    The share is one of `count` equal parts: of each limit that is configured or was learned, and of what was available.
    A pool whose limits nobody knew learns them as usual. The rest of each budget is divided as well. So are callers'
    own limits; how much of them was used is not known, so they begin with the full burst of the share.

    Args:
        clock: the time of this process.
        settings: of all pools.
        callers: callers' own limits by name, where they were changed.
        pools: the last snapshots of the shared pools; None: there are none, and nothing is available at first.
        budgets: the share in what budgets have left.
        count: of replicas that share the limits.
        name: unique over all time.
        receive: called with each message for the replica.
        take_facts: called with changes that have nothing but events.
    """

    def __init__(
        self,
        clock: Clock,
        settings: PoolConfiguration,
        callers: Mapping[str, CallerLimits | None],
        pools: Sequence[PoolSnapshot] | None,
        budgets: BudgetShares,
        count: int,
        name: str,
        receive: Callable[[Message], None],
        take_facts: Callable[[Change], None],
    ) -> None:
        known = {pool.pool: pool for pool in pools or ()}
        configured, otherwise = settings.configured
        names = dict.fromkeys((*configured, *known))
        shares = {name: pool_share(settings.of(name), known.get(name), count) for name in names}
        self._store = MemoryStore(clock, shares, pool_share(otherwise, None, count))
        self._store.limit_callers(callers_share(callers, count))
        self._available = {name: self._begin(pool, count) for name, pool in known.items()}
        if pools is None:
            self._store.drain()
        self._stop_watching = self._store.watch(partial(_pass_facts, take_facts))
        self._leader = Leader(self._store, name)
        self._receiver = _Receiver(receive)
        self._session = self._leader.connect(self._receiver)
        self._loop = asyncio.get_running_loop()
        self._count = count
        self._budgets = budgets
        self._steps: deque[LastingStep] = deque(maxlen=_MOST_STEPS)
        self._noted = 0  # the number of the last step noted

    @property
    def used(self) -> dict[str, Cost]:
        """The amount that is no longer available, by pool, compared with the beginning."""
        used = {}
        for pool in self._store.snapshot_now():
            if (before := self._available.get(pool.pool)) is not None:
                now = _levels(pool)
                used[pool.pool] = Cost(*(max(0, math.ceil(was - is_)) for was, is_ in zip(before, now, strict=True)))
        return used

    @property
    def steps(self) -> tuple[LastingStep, ...]:
        """The steps of the replica that the shared log has to know as well."""
        return tuple(self._steps)

    def send(self, message: Message) -> None:
        """As `Channel.send`."""
        if isinstance(message, Steps):
            batch = message.batch
            for number, step in enumerate(batch.steps, batch.number):
                self._note(number, step)
            shared = tuple(self._budgets.in_step(step_share(step, self._count)) for step in batch.steps)
            message = Steps(structs.replace(batch, steps=shared))
        self._loop.call_soon(self._session.receive, message)

    def close(self) -> None:
        """Ends the channel. No message is received any more."""
        self._receiver.close()
        self._stop_watching()
        self._session.lost()

    def _note(self, number: int, step: Step) -> None:
        if number <= self._noted:
            return  # it is sent again
        self._noted = number
        if isinstance(step, Rejoin):  # the log has not learned yet what was used when the server was lost before
            for name, cost in (step.alone or {}).items():
                self._store.use_elsewhere(name, cost)
            for _, waiting in step.waiting:
                self._budgets.reserve(waiting)
        for each in step.steps if isinstance(step, Rejoin) else (step,):
            if isinstance(each, Reserve):
                self._budgets.reserve(each)
            elif isinstance(each, End):
                self._steps.append(self._budgets.end(structs.replace(each, feedback=())))  # it is too old by then
            elif isinstance(each, Release | Configure | Reload | LimitCallers | SetBudgets | TurnBudgets | Spend):
                self._steps.append(each)

    def _begin(self, pool: PoolSnapshot, count: int) -> tuple[float, ...]:
        """Brings a pool into the state of a snapshot. Returns what is available then."""
        name = pool.pool
        if pool.succeeded and not pool.probing:
            self._store.learn_now(name, Succeeded(sent_ago_ns=0))  # it need not be probed
        if (seconds := pool.open_circuits.get(Cause.SPEND_CAP)) is not None:
            self._store.learn_now(name, SpendCapped(to_ns(seconds)))
        self._store.advance(name)
        (full,) = self._store.snapshot_now(name)
        shares = tuple(level / count for level in _levels(pool))
        rates = (each.effective_per_minute or 0.0 for each in full.dimensions)
        frozen = tuple(rate / 60 * pool.frozen_seconds for rate in rates)
        taken = (
            max(0, math.ceil(now - share + wait))
            for now, share, wait in zip(_levels(full), shares, frozen, strict=True)
        )
        self._store.use_elsewhere(name, Cost(*taken))
        return shares


class _Receiver:
    """The channel to the replica."""

    def __init__(self, receive: Callable[[Message], None]) -> None:
        self._receive = receive
        self._loop = asyncio.get_running_loop()
        self._is_closed = False

    def send(self, message: Message) -> None:
        """As `Channel.send`."""
        self._loop.call_soon(self._pass_on, message)

    def close(self) -> None:
        """Closes the channel. No message is passed on any more."""
        self._is_closed = True

    def _pass_on(self, message: Message) -> None:
        if not self._is_closed:
            self._receive(message)


def _pass_facts(take_facts: Callable[[Change], None], change: Change) -> None:
    """Passes on the events of a change. The session brings its grants and refusals."""
    if change.events:
        take_facts(Change(change.pool, events=change.events))


def _levels(pool: PoolSnapshot) -> tuple[float, ...]:
    return tuple(each.available or 0.0 for each in pool.dimensions)
