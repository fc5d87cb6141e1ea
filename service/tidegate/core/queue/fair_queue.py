"""The queue of a pool: priority classes, fair flows in each, returned requests, and a held head.

The head is the request that goes next. While its cost does not fit, it is held: no later request takes its place,
whatever its class, so that small requests do not starve a large one. Only returned requests of its class or a higher
one still go before it, as long as they do not delay new requests of a class above their own.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from operator import add
from typing import Final, Self

from msgspec import structs

from tidegate.core.domain.caller import Caller, Priority
from tidegate.core.domain.demand import Demand
from tidegate.core.domain.dimension import Cost, NsPerUnit, service_time_ns
from tidegate.core.domain.nanoseconds import NS_PER_SECOND, to_seconds
from tidegate.core.domain.snapshots import ClassSnapshot
from tidegate.core.queue.arrivals import Arrivals
from tidegate.core.queue.class_queue import NO_LOAD, ClassQueue
from tidegate.core.queue.class_shares import ClassShares, ClassSharesState
from tidegate.core.queue.waiter import Waiter
from tidegate.core.queue.work_ahead import NO_WORK, Work, plus, work_ahead, work_before

__all__ = ["FairQueue"]

_LEAST_SIZE_NS: Final = 1_000_000
"""Callers and classes alternate even where no limit is known and all costs are 0."""
_PRICE_KEPT_NS: Final = NS_PER_SECOND
"""An older price is computed anew before admission, because the estimator may have learned much meanwhile."""
_CLASSES: Final = tuple(Priority)


class FairQueue:
    """Waiters in the order of their admission; O(log flows) to push and serve, O(1) to remove.

    Args:
        ns_per_unit: returns how long the pool takes to refill a unit of each dimension now.
        retry_wait_ns: returns how long, at a time, until a failed request may be retried.

    Attributes:
        waiting: all waiters by lease id. Read only, as are the next two.
        failed: waiters that failed and wait to be retried, in the order of their return.
        skipped: waiters that their callers' own limits hold back: the first new request of each such caller in each
            class, and each returned request.
        tokens: the estimated cost of all new requests in tokens.
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
        self._classes = tuple(ClassQueue(rank) for rank in range(len(_CLASSES)))
        self._held: Waiter | None = None
        self._shares = ClassShares()
        self.failed: dict[str, Waiter] = {}
        self.skipped: dict[str, Waiter] = {}

    def dump(self, now_ns: int) -> ClassSharesState:
        """The time that the classes have earned. The waiters are dumped by `queue_state`."""
        return self._shares.dump(now_ns)

    @classmethod
    def restore(
        cls,
        state: ClassSharesState,
        now_ns: int,
        ns_per_unit: Callable[[], NsPerUnit],
        retry_wait_ns: Callable[[int], int],
    ) -> Self:
        """An empty queue in which each class keeps what it had earned, until the queue is empty again."""
        queue = cls(ns_per_unit, retry_wait_ns)
        queue._shares = ClassShares.restore(state, now_ns)
        return queue

    def __len__(self) -> int:
        return len(self.waiting)

    def push(self, waiter: Waiter) -> bool:
        """Adds a waiter. Returns whether it may be the next: not if an older one of its agent waits."""
        own = self.add(waiter)
        return own.flows.push(waiter) if own is not None else True

    def add(self, waiter: Waiter) -> ClassQueue | None:
        """Adds a waiter, a new request without its flow. Returns the class whose flows it has to join."""
        self.waiting[waiter.lease_id] = waiter
        demand = waiter.demand
        own = self._classes[demand.caller.rank]
        if demand.retry:
            self.failed[waiter.lease_id] = own.failed[waiter.lease_id] = waiter
            _add(own.failed_load, demand.cost)
            return None
        if demand.front:
            own.refused[waiter.lease_id] = waiter
            _add(own.refused_load, demand.cost)
            return None
        self.tokens += demand.cost[1] + demand.cost[2]
        return own

    def head(self, now_ns: int) -> Waiter | None:
        """The request that goes next; None if no waiter may go."""
        if not self.waiting:
            return None
        may_retry = self._may_retry(now_ns)
        if self._held is not None:
            return self._before_held(self._held, may_retry=may_retry) or self._held
        highest = None
        for each in self._classes:
            if not (each.flows.waiting or each.refused or each.failed):
                continue
            first = each.first(may_retry=may_retry)
            if first is None:
                continue
            if highest is None:
                highest = first
            elif self._shares.is_owed(each.rank, max(self.service_time_ns(first.demand.cost), _LEAST_SIZE_NS)):
                return first
        return highest

    def has_head(self, now_ns: int) -> bool:
        """Whether any waiter may go: as `head`, mostly without finding out which."""
        return any(each.flows.waiting for each in self._classes) or self.head(now_ns) is not None

    def refresh_price(self, waiter: Waiter, now_ns: int) -> None:
        """Estimates a waiter's cost anew, if that was done long ago."""
        price = waiter.demand.price
        if price is not None and now_ns - waiter.priced_ns >= _PRICE_KEPT_NS:
            self.reprice(waiter, price(now_ns), now_ns)

    def reprice(self, waiter: Waiter, cost: Cost, now_ns: int) -> None:
        """Replaces a waiter's cost, which was estimated now."""
        demand = waiter.demand
        waiter.priced_ns = now_ns
        if cost == demand.cost:
            return
        own = self._classes[demand.caller.rank]
        if waiter.flow is not None:
            waiter.flow.reprice(demand.cost, cost)
            self.tokens += cost.tokens - demand.cost.tokens
        else:
            load = own.failed_load if demand.retry else own.refused_load
            _add(load, cost.minus(demand.cost))
        waiter.demand = structs.replace(demand, cost=cost)

    def hold(self, head: Waiter) -> None:
        """Keeps the head in its place until it is served, removed or skipped."""
        if self._held is None and head.flow is not None:
            self._held = head

    def skip(self, waiter: Waiter) -> None:
        """Passes over the waiter, and over its caller's others behind it, because of the caller's own limits."""
        self.skipped[waiter.lease_id] = waiter
        waiter.skipped = True
        if waiter is self._held:
            self._held = None
        if waiter.flow is not None:
            self._classes[waiter.demand.caller.rank].flows.detach(waiter.demand.caller.name)

    def readmit(self, waiter: Waiter) -> None:
        """Ends the effect of `skip`."""
        del self.skipped[waiter.lease_id]
        waiter.skipped = False
        if not waiter.is_returned:
            self._classes[waiter.demand.caller.rank].flows.attach(waiter.demand.caller.name)

    def serve(self, waiter: Waiter, now_ns: int) -> None:
        """Takes out a waiter that is admitted. Its class, caller, session and agent pay for its present size.

        For a returned request the caller has paid when the request went first.
        """
        del self.waiting[waiter.lease_id]
        own = self._classes[waiter.demand.caller.rank]
        takes_ns = max(self.service_time_ns(waiter.demand.cost), _LEAST_SIZE_NS)
        if self.waiting:
            self._credit_classes(waiter, own, takes_ns, now_ns)
        if waiter is self._held:
            self._held = None
        if waiter.flow is None:
            self._remove_returned(waiter, own)
        else:
            self.tokens -= waiter.demand.cost.tokens
            waiter.flow.serve(waiter, takes_ns)
        self._forget_credit(own)

    def remove(self, lease_id: str) -> Waiter | None:
        """Takes out a waiter that leaves; None if there is none of this id. Nobody pays for it."""
        waiter = self.waiting.pop(lease_id, None)
        if waiter is None:
            return None
        own = self._classes[waiter.demand.caller.rank]
        if waiter is self._held:
            self._held = None
        if waiter.flow is None:
            self.skipped.pop(lease_id, None)
            self._remove_returned(waiter, own)
        else:
            self.tokens -= waiter.demand.cost.tokens
            waiter.flow.remove(waiter)
            if waiter.skipped:
                self.readmit(waiter)  # whether the caller's next is held back as well is decided when it is the head
        self._forget_credit(own)
        return waiter

    def load_of(self, caller: Caller) -> tuple[int, list[int]]:
        """The number of a caller's new requests that wait in all classes, and their estimated cost."""
        waiting, load = 0, [0, 0, 0]
        for each in self._classes:
            own, own_load = each.flows.load_of(caller.name)
            waiting += own
            _add(load, own_load)
        return waiting, load

    def ahead(self, demand: Demand, now_ns: int, arrivals: Arrivals | None = None) -> Work:
        """The approximate work that goes before a new waiter with this demand, in units of each dimension.

        In its own class, that is the work that fairness lets go ahead. Higher classes add all their work, but no more
        than the share of its own class leaves them. Lower classes add the work that they are owed meanwhile, or the
        held head. `arrivals` says how much more the callers of its class will probably send meanwhile.
        """
        may_retry, own = self._may_retry(now_ns), self._classes[demand.caller.rank]
        returned = own.returned_load(may_retry=may_retry)
        ahead = NO_WORK
        if not (demand.front or demand.retry):
            coming = None if arrivals is None else arrivals.of_class(own.rank).at(now_ns)
            ahead = work_ahead(own.flows, demand, self._ns_per_unit(), self._held_in(own), coming)
        if returned is not NO_LOAD:
            ahead = plus(ahead, returned)
        return self._with_other_classes(own, demand, ahead, may_retry=may_retry, now_ns=now_ns)

    def before(self, waiter: Waiter, now_ns: int, arrivals: Arrivals | None = None) -> Work:
        """The approximate work that goes before one of the waiters, as `ahead`."""
        demand, flow, may_retry = waiter.demand, waiter.flow, self._may_retry(now_ns)
        own = self._classes[demand.caller.rank]
        if waiter is self.head(now_ns):
            return NO_WORK
        if flow is None:
            returned = own.failed if demand.retry else own.refused
            load, share = own.returned_load(may_retry=may_retry), list(returned).index(waiter.lease_id) / len(returned)
            ahead = plus(NO_WORK, load, share)
        else:
            coming = None if arrivals is None else arrivals.of_class(own.rank).at(now_ns)
            ahead = work_before(own.flows, waiter, flow, self._ns_per_unit(), self._held_in(own), coming)
            ahead = plus(ahead, own.returned_load(may_retry=may_retry))
        return self._with_other_classes(own, demand, ahead, may_retry=may_retry, now_ns=now_ns)

    def place(self, before: Work) -> int:
        """The approximate place in the queue of a waiter that this much work goes before; 1 is the first."""
        everything = NO_WORK
        for each in self._classes:
            everything = plus(everything, self._load(each, may_retry=True))
        all_ns = self.service_time_ns(everything)
        share = self.service_time_ns(before) / all_ns if all_ns else 0.0
        return 1 + min(len(self) - 1, round(len(self) * share))

    def _held_in(self, own: ClassQueue) -> Waiter | None:
        held = self._held
        return held if held is not None and held.demand.caller.rank == own.rank else None

    def _with_other_classes(
        self, own: ClassQueue, demand: Demand, ahead: Work, *, may_retry: bool, now_ns: int
    ) -> Work:
        """The work before a demand in all classes, given the work before it in its own class."""
        if own.flows.waiting == len(self.waiting):
            return ahead
        total = ahead
        for other in self._classes[: own.rank]:
            total = plus(total, self._load(other, may_retry=may_retry))
        has_higher = total != ahead
        total = self._with_owed(own.rank, total, may_retry=may_retry, now_ns=now_ns)
        if not has_higher:
            return total
        ahead_ns, total_ns = self.service_time_ns(ahead), self.service_time_ns(total)
        needed_ns = ahead_ns + max(self.service_time_ns(demand.cost), _LEAST_SIZE_NS)
        first = own.first(may_retry=may_retry)
        age_ns = 0 if first is None else now_ns - first.since_ns
        least_ns = max(ahead_ns, self._shares.earned_after_ns(own.rank, needed_ns, age_ns))
        if least_ns >= total_ns:
            return total
        share = (least_ns - ahead_ns) / (total_ns - ahead_ns)  # of what others would send
        return plus(plus(NO_WORK, ahead, 1 - share), total, share)

    def _with_owed(self, rank: int, work: Work, *, may_retry: bool, now_ns: int) -> Work:
        """Adds to `work` what classes below `rank` are owed while it is admitted, or the held head."""
        held, meanwhile_ns, total = self._held, self.service_time_ns(work), work
        for each in self._classes[rank + 1 :]:
            load = self._load(each, may_retry=may_retry)
            load_ns = self.service_time_ns(load)
            if not load_ns or (first := each.first(may_retry=may_retry)) is None:
                continue
            earned_ns = self._shares.earned_ns(each.rank, meanwhile_ns, now_ns - first.since_ns)
            goes = earned_ns >= self.service_time_ns(first.demand.cost)
            owed = plus(NO_WORK, load, min(earned_ns / load_ns, 1.0) if goes else 0.0)
            if held is not None and held.demand.caller.rank == each.rank:
                cost = held.demand.cost
                owed = max(owed, plus(NO_WORK, cost), key=self.service_time_ns)
            total = plus(total, owed)
        return total

    def snapshot(self, now_ns: int) -> dict[str, ClassSnapshot]:
        """The waiters by class."""
        snapshots = {}
        since_ns: dict[Priority, int] = {}
        for waiter in self.waiting.values():  # in the order in which they joined
            since_ns.setdefault(waiter.demand.caller.priority, waiter.since_ns)
        for priority, each in zip(_CLASSES, self._classes, strict=True):
            returned = list(each.returned())
            flows = [(name, flow) for name, flow in each.flows.callers() if flow.waiting]
            callers = Counter({name: flow.waiting for name, flow in flows})
            callers.update(waiter.demand.caller.name for waiter in returned)
            new_tokens = sum(flow.load[1] + flow.load[2] for _, flow in flows)
            snapshots[str(priority)] = ClassSnapshot(
                waiting=callers.total(),
                tokens=new_tokens + sum(waiter.demand.cost.tokens for waiter in returned),
                oldest_seconds=to_seconds(now_ns - since_ns[priority]) if priority in since_ns else None,
                by_caller=dict(callers),
            )
        return snapshots

    def service_time_ns(self, cost: Sequence[float]) -> int:
        """The time that the pool needs for this cost."""
        return service_time_ns(cost, self._ns_per_unit())

    def _may_retry(self, now_ns: int) -> bool:
        return bool(self.failed) and self._retry_wait_ns(now_ns) == 0

    def _before_held(self, held: Waiter, *, may_retry: bool) -> Waiter | None:
        """The returned request that goes before the held head."""
        rank = held.demand.caller.rank
        for each in self._classes[:rank]:
            returned = each.first_returned(may_retry=may_retry)
            if returned is not None or each.flows.waiting:
                return returned  # new requests of this class must not wait for returned ones of a lower class
        return self._classes[rank].first_returned(may_retry=may_retry)

    @staticmethod
    def _load(each: ClassQueue, *, may_retry: bool) -> Sequence[int]:
        """The cost of everything in a class that may go."""
        returned = each.returned_load(may_retry=may_retry)
        if returned is NO_LOAD:
            return each.flows.load
        return list(map(add, each.flows.load, returned))

    def _credit_classes(self, waiter: Waiter, served: ClassQueue, takes_ns: int, now_ns: int) -> None:
        """Lets the waiting classes earn their shares of what is admitted, and the served one spend."""
        if served.flows.waiting > len(self.waiting):
            return  # no other class waits, so there is nothing to share
        may_retry = self._may_retry(now_ns)
        for each in self._classes[1:]:
            head = waiter if each is served else each.first(may_retry=may_retry)
            if head is not None:
                self._shares.earn(each.rank, takes_ns, now_ns - head.since_ns)
        self._shares.spend(served.rank, takes_ns)

    def _remove_returned(self, waiter: Waiter, own: ClassQueue) -> None:
        if waiter.demand.retry:
            del own.failed[waiter.lease_id], self.failed[waiter.lease_id]
            _add(own.failed_load, waiter.demand.cost, -1)
        else:
            del own.refused[waiter.lease_id]
            _add(own.refused_load, waiter.demand.cost, -1)

    def _forget_credit(self, own: ClassQueue) -> None:
        """Only waiting classes keep what they have earned."""
        if not (own.flows.waiting or own.refused or own.failed):
            self._shares.forget(own.rank)
        if not self.waiting:
            self._shares = ClassShares()


def _add(load: list[int], cost: Sequence[int], times: int = 1) -> None:
    for index, units in enumerate(cost):
        load[index] += times * units
