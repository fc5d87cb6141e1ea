"""The queue of a pool: priority classes, fair flows in each, requests that come back, and a held head.

The head is the request that goes next. While its cost does not fit, it is held: nobody who comes later takes its place,
whatever its class, so that a large request is not starved by small ones. Only requests that come back, of its class or
a higher one, still go before it, as long as they do not delay new requests of a class above their own.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Final

from msgspec import structs

from tidegate.core.domain.caller import Caller, Priority
from tidegate.core.domain.demand import Demand
from tidegate.core.domain.dimension import NsPerUnit, service_time_ns
from tidegate.core.domain.nanoseconds import NS_PER_SECOND, to_seconds
from tidegate.core.domain.snapshots import ClassSnapshot
from tidegate.core.queue.class_shares import ClassShares
from tidegate.core.queue.flow import Flow
from tidegate.core.queue.waiter import Waiter

__all__ = ["FairQueue"]

_LEAST_SIZE_NS: Final = 1_000_000
"""Callers and classes take turns also where no limit is known, and nothing costs anything."""
_PRICE_KEPT_NS: Final = NS_PER_SECOND
"""A price that is older is asked anew before admission: answers may have taught much meanwhile."""
_CLASSES: Final = tuple(Priority)


class _Class:
    """The requests of one priority class.

    Attributes:
        rank: 0 goes first.
        flows: requests that are new, fairly shared among callers, sessions and agents.
        refused: requests that the upstream refused with 429, in the order in which they came back.
        failed: requests that failed otherwise, likewise. They go as the retry budget lets them.
    """

    __slots__ = ("failed", "failed_load", "flows", "rank", "refused", "refused_load")

    def __init__(self, rank: int) -> None:
        self.rank = rank
        self.flows = Flow()
        self.refused: dict[str, Waiter] = {}
        self.failed: dict[str, Waiter] = {}
        self.refused_load = [0, 0, 0]
        self.failed_load = [0, 0, 0]

    def returning(self, *, may_retry: bool) -> Waiter | None:
        """The first request that came back and may go."""
        for waiter in self.refused.values():
            if not waiter.skipped:
                return waiter
        if may_retry:
            for waiter in self.failed.values():
                if not waiter.skipped:
                    return waiter
        return None

    def came_back(self) -> Iterator[Waiter]:
        """All requests that came back."""
        return chain(self.refused.values(), self.failed.values())

    def ahead_load(self, *, may_retry: bool) -> list[int]:
        """What requests that came back, and may go, will cost together."""
        if not (self.refused or self.failed):
            return _NOTHING
        failed = self.failed_load if may_retry else _NOTHING
        return [one + other for one, other in zip(self.refused_load, failed, strict=True)]


_NOTHING: Final = [0, 0, 0]


class FairQueue:
    """Waiters in the order in which they will be admitted; O(log flows) to push and take, O(1) to remove.

    Args:
        ns_per_unit: how long the pool takes to refill a unit of each dimension, now.
        retry_wait_ns: how long until a failed request may be repeated, at a moment.

    Attributes:
        waiting: all waiters by lease id; to be read only, as the next two.
        failed: those of them that failed and wait to be repeated, in the order in which they came back.
        skipped: those that their callers' own limits hold back: of each caller's new requests in a class the first, and
            each request that came back.
        tokens: what all new requests will probably cost in tokens.
    """

    __slots__ = (
        "_classes",
        "_held",
        "_ns_per_unit",
        "_retry_wait_ns",
        "_shares",
        "failed",
        "skipped",
        "tokens",
        "waiting",
    )

    def __init__(self, ns_per_unit: Callable[[], NsPerUnit], retry_wait_ns: Callable[[int], int]) -> None:
        self.waiting: dict[str, Waiter] = {}
        self.tokens = 0
        self._ns_per_unit = ns_per_unit
        self._retry_wait_ns = retry_wait_ns
        self._classes = tuple(_Class(rank) for rank in range(len(_CLASSES)))
        self._held: Waiter | None = None
        self._shares = ClassShares()
        self.failed: dict[str, Waiter] = {}
        self.skipped: dict[str, Waiter] = {}

    def __len__(self) -> int:
        return len(self.waiting)

    def push(self, waiter: Waiter) -> bool:
        """Adds a waiter. Returns whether it may be the next: not if an older one of its agent waits."""
        self.waiting[waiter.lease_id] = waiter
        demand = waiter.demand
        home = self._classes[demand.caller.rank]
        if demand.retry:
            self.failed[waiter.lease_id] = home.failed[waiter.lease_id] = waiter
            _add(home.failed_load, demand.cost)
            return True
        if demand.front:
            home.refused[waiter.lease_id] = waiter
            _add(home.refused_load, demand.cost)
            return True
        self.tokens += demand.cost[1] + demand.cost[2]
        return home.flows.push(waiter)

    def head(self, now_ns: int) -> Waiter | None:
        """The request that goes next; None if none waits that may go."""
        if not self.waiting:
            return None
        may_retry = self._may_retry(now_ns)
        if self._held is not None:
            return self._before_held(self._held, may_retry=may_retry) or self._held
        highest = None
        for home in self._classes:
            if not (home.flows.waiting or home.refused or home.failed):
                continue
            first = self._first_of(home, may_retry=may_retry)
            if first is None:
                continue
            if highest is None:
                highest = first
            elif self._shares.is_owed(home.rank, max(self._size_ns(first.demand.cost), _LEAST_SIZE_NS)):
                return first
        return highest

    def somebody_goes_first(self, now_ns: int) -> bool:
        """Whether anybody waits that may go: as `head`, without looking for who that is."""
        if self._held is not None:
            return True
        return any(home.flows.waiting for home in self._classes) or self.head(now_ns) is not None

    def refresh_price(self, waiter: Waiter, now_ns: int) -> None:
        """Has a waiter cost what it is estimated to cost now, if that was estimated long ago."""
        demand = waiter.demand
        if demand.price is None or now_ns - waiter.priced_ns < _PRICE_KEPT_NS:
            return
        waiter.priced_ns = now_ns
        cost = demand.price(now_ns)
        if cost == demand.cost:
            return
        home = self._classes[demand.caller.rank]
        if waiter.flow is not None:
            waiter.flow.reprice(demand.cost, cost)
            self.tokens += cost.tokens - demand.cost.tokens
        else:
            load = home.failed_load if demand.retry else home.refused_load
            _add(load, cost.minus(demand.cost))
        waiter.demand = structs.replace(demand, cost=cost)

    def hold(self, head: Waiter) -> None:
        """Keeps the head where it is until it is taken, leaves, or is skipped."""
        if self._held is None and head.flow is not None:
            self._held = head

    def skip(self, waiter: Waiter) -> None:
        """The caller's own limits hold the waiter back: passes over it, and over its caller's others behind it."""
        self.skipped[waiter.lease_id] = waiter
        waiter.skipped = True
        if waiter is self._held:
            self._held = None
        if waiter.flow is not None:
            self._classes[waiter.demand.caller.rank].flows.detach(waiter.demand.caller.name)

    def readmit(self, waiter: Waiter) -> None:
        """Passes over a skipped waiter, and over its caller's others, no longer."""
        del self.skipped[waiter.lease_id]
        waiter.skipped = False
        if not waiter.comes_back:
            self._classes[waiter.demand.caller.rank].flows.attach(waiter.demand.caller.name)

    def take(self, waiter: Waiter, now_ns: int) -> None:
        """Takes out a waiter that goes; class, caller, session and agent pay for its size as it is known now.

        Its caller has paid for a request that came back when it went first.
        """
        del self.waiting[waiter.lease_id]
        home, takes_ns = self._classes[waiter.demand.caller.rank], self._size_ns(waiter.demand.cost)
        takes_ns = max(takes_ns, _LEAST_SIZE_NS)
        if self.waiting:
            self._share_out(waiter, home, takes_ns, now_ns)
        if waiter is self._held:
            self._held = None
        if waiter.flow is None:
            self._drop_returning(waiter, home)
        else:
            self.tokens -= waiter.demand.cost.tokens
            waiter.flow.serve(waiter, takes_ns)
        self._tidy(home)

    def remove(self, lease_id: str) -> Waiter | None:
        """Takes out a waiter wherever it stands; None if it does not wait."""
        waiter = self.waiting.pop(lease_id, None)
        if waiter is None:
            return None
        home = self._classes[waiter.demand.caller.rank]
        if waiter is self._held:
            self._held = None
        if waiter.flow is None:
            self.skipped.pop(lease_id, None)
            self._drop_returning(waiter, home)
        else:
            self.tokens -= waiter.demand.cost.tokens
            waiter.flow.remove(waiter)
            if waiter.skipped:
                self.readmit(waiter)  # whether the caller's next is held back as well is looked at in its turn
        self._tidy(home)
        return waiter

    def of_caller(self, caller: Caller) -> tuple[int, list[int]]:
        """How many new requests of a caller wait, of all classes, and what they will probably cost together."""
        waiting, load = 0, [0, 0, 0]
        for home in self._classes:
            own, own_load = home.flows.load_of(caller.name)
            waiting += own
            _add(load, own_load)
        return waiting, load

    def ahead_ns(self, demand: Demand, now_ns: int) -> int:
        """About how long the pool needs for all that goes before a new waiter with this demand.

        Of its class what fairness lets go ahead; of higher classes all, but no more than the share of its own class
        leaves them; of lower classes what they are owed meanwhile, or the head that is held.
        """
        may_retry, home = self._may_retry(now_ns), self._classes[demand.caller.rank]
        back = home.ahead_load(may_retry=may_retry)
        if demand.front or demand.retry:
            ahead_ns = self._size_ns(back)
        else:
            held = self._held if self._held is not None and self._held.demand.caller.rank == home.rank else None
            ahead_ns = home.flows.ahead_ns(demand, self._ns_per_unit(), held)
            ahead_ns += self._size_ns(back) if back is not _NOTHING else 0
        if home.flows.waiting == len(self.waiting):
            return ahead_ns
        higher_ns = sum(self._load_ns(other, may_retry=may_retry) for other in self._classes[: home.rank])
        total_ns = ahead_ns + higher_ns
        total_ns += self._owed_ns(home.rank, total_ns, may_retry=may_retry, now_ns=now_ns)
        if not higher_ns:
            return total_ns
        needed_ns = ahead_ns + max(self._size_ns(demand.cost), _LEAST_SIZE_NS)
        age_ns = self._age_ns(home, may_retry=may_retry, now_ns=now_ns)
        return max(ahead_ns, min(total_ns, round(self._shares.earned_after_ns(home.rank, needed_ns, age_ns))))

    def _owed_ns(self, rank: int, meanwhile_ns: int, *, may_retry: bool, now_ns: int) -> int:
        """What lower classes are owed while so much of higher ones is admitted, or the head that is held."""
        held, owed_ns = self._held, 0
        for home in self._classes[rank + 1 :]:
            if not (load_ns := self._load_ns(home, may_retry=may_retry)):
                continue
            if (first := self._first_of(home, may_retry=may_retry)) is None:
                continue
            held_ns = (
                self._size_ns(held.demand.cost) if held is not None and held.demand.caller.rank == home.rank else 0
            )
            earned_ns = self._shares.earned_ns(home.rank, meanwhile_ns, now_ns - first.since_ns)
            goes = earned_ns >= self._size_ns(first.demand.cost)
            owed_ns += max(held_ns, min(round(earned_ns), load_ns) if goes else 0)
        return owed_ns

    def _age_ns(self, home: _Class, *, may_retry: bool, now_ns: int) -> int:
        """How long the next request of a class has waited; 0 if nobody of it waits."""
        first = self._first_of(home, may_retry=may_retry)
        return 0 if first is None else now_ns - first.since_ns

    def snapshot(self, now_ns: int) -> dict[str, ClassSnapshot]:
        """Who waits, by class."""
        snapshots = {}
        since_ns: dict[Priority, int] = {}
        for waiter in self.waiting.values():  # in the order in which they came
            since_ns.setdefault(waiter.demand.caller.priority, waiter.since_ns)
        for priority, home in zip(_CLASSES, self._classes, strict=True):
            back = list(home.came_back())
            flows = [(name, flow) for name, flow in home.flows.callers() if flow.waiting]
            callers = Counter({name: flow.waiting for name, flow in flows})
            callers.update(waiter.demand.caller.name for waiter in back)
            snapshots[str(priority)] = ClassSnapshot(
                waiting=callers.total(),
                tokens=sum(flow.load[1] + flow.load[2] for _, flow in flows) + sum(w.demand.cost.tokens for w in back),
                oldest_seconds=to_seconds(now_ns - since_ns[priority]) if priority in since_ns else None,
                by_caller=dict(callers),
            )
        return snapshots

    def _size_ns(self, cost: Sequence[int]) -> int:
        return service_time_ns(cost, self._ns_per_unit())

    def _may_retry(self, now_ns: int) -> bool:
        return bool(self.failed) and self._retry_wait_ns(now_ns) == 0

    def _before_held(self, held: Waiter, *, may_retry: bool) -> Waiter | None:
        """The request that comes back and goes before the head that is held."""
        rank = held.demand.caller.rank
        for home in self._classes[:rank]:
            back = home.returning(may_retry=may_retry)
            if back is not None or home.flows.waiting:
                return back  # if new ones wait, what comes back to a lower class must not delay them, too
        return self._classes[rank].returning(may_retry=may_retry)

    def _first_of(self, home: _Class, *, may_retry: bool) -> Waiter | None:
        if (home.refused or home.failed) and (back := home.returning(may_retry=may_retry)) is not None:
            return back
        return home.flows.head() if home.flows.waiting else None

    def _load_ns(self, home: _Class, *, may_retry: bool) -> int:
        back = home.ahead_load(may_retry=may_retry)
        if not home.flows.waiting and back is _NOTHING:
            return 0
        return self._size_ns([one + other for one, other in zip(home.flows.load, back, strict=True)])

    def _share_out(self, waiter: Waiter, served: _Class, takes_ns: int, now_ns: int) -> None:
        """Lets the classes that wait earn their shares of what is admitted, and the one that is served spend."""
        if served.flows.waiting > len(self.waiting):
            return  # nobody of another class waits: there is nothing to share
        may_retry = self._may_retry(now_ns)
        for home in self._classes[1:]:
            head = waiter if home is served else self._first_of(home, may_retry=may_retry)
            if head is not None:
                self._shares.earn(home.rank, takes_ns, now_ns - head.since_ns)
        self._shares.spend(served.rank, takes_ns)

    def _drop_returning(self, waiter: Waiter, home: _Class) -> None:
        if waiter.demand.retry:
            del home.failed[waiter.lease_id], self.failed[waiter.lease_id]
            _add(home.failed_load, waiter.demand.cost, -1)
        else:
            del home.refused[waiter.lease_id]
            _add(home.refused_load, waiter.demand.cost, -1)

    def _tidy(self, home: _Class) -> None:
        if not (home.flows.waiting or home.refused or home.failed):
            self._shares.forget(home.rank)
        if not self.waiting:
            self._shares = ClassShares()


def _add(load: list[int], cost: Sequence[int], times: int = 1) -> None:
    for index, units in enumerate(cost):
        load[index] += times * units
