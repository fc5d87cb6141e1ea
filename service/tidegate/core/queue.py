"""The queue of a pool: priority classes, fair lines of callers in each, a front for who comes back, a held head.

The head is the one that goes next. While it does not fit, it is held: nobody who comes later takes its place, whatever
its class, so that a big request has a reserved start. Others may go before it, if that does not postpone it.
"""

from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from msgspec import structs

from tidegate.core.caller import Caller, Priority
from tidegate.core.class_shares import GUARANTEED, ClassShares
from tidegate.core.clock import NS_PER_SECOND, to_seconds
from tidegate.core.dimension import Cost
from tidegate.core.fair_lines import COMPACT_ABOVE, FairLines, Line, Waiter
from tidegate.core.fit_index import FitIndex
from tidegate.core.store import ClassSnapshot

__all__ = ["FairQueue", "Filler", "Waiter"]

_LEAST_SIZE_NS: Final = 1_000_000
"""Callers and classes take turns also where no limit is known, and nothing costs anything."""
_PRICE_KEPT_NS: Final = NS_PER_SECOND
"""A price that is older is asked anew before admission: answers may have taught much meanwhile."""
_CLASSES: Final = tuple(Priority)
_FRONT: Final = Caller("")
_MOST: Final = Cost(10**18, 10**18, 10**18)


class Filler(NamedTuple):
    """Who may go before the head, and after how long."""

    waiter: Waiter
    wait_ns: int


class FairQueue:
    """Waiters in the order in which they will be admitted; O(log callers) to push and take, O(1) to remove.

    `size_ns` says how long the pool needs to refill a cost.

    Attributes:
        waiting: who waits, by lease id; to be read only.
    """

    def __init__(self, size_ns: Callable[[Sequence[int]], int]) -> None:
        self.waiting: dict[str, Waiter] = {}
        self._size_ns = size_ns
        self._homes = tuple(FairLines(rank) for rank in range(len(_CLASSES)))
        self._front = Line(self._homes[0], _FRONT, -1)
        self._held: Line | None = None
        self._shares = ClassShares()
        self._lines: list[Line] = []
        self._moved: set[Line] = set()  # lines whose head the index does not know yet
        self._index = FitIndex()
        self._least = _MOST  # in each dimension, of all who came since the queue was empty

    def __len__(self) -> int:
        return len(self.waiting)

    def push(self, waiter: Waiter) -> bool:
        """Adds a waiter behind its caller's others of its class, or ahead of all if its demand says `front`.

        Returns whether it may be the next, or go before the next: not if another of its caller stands before it.
        """
        self.waiting[waiter.lease_id] = waiter
        demand = waiter.demand
        if demand.front:
            waiter.line = self._front
            self._front.waiters.append(waiter)
            return True
        home = self._homes[demand.caller.rank]
        line = home.by_caller.get(demand.caller.name)
        if line is None:
            line = home.by_caller[demand.caller.name] = Line(home, demand.caller, len(self._lines))
            self._lines.append(line)
        cost, least = demand.cost, self._least
        if cost[0] < least[0] or cost[1] < least[1] or cost[2] < least[2]:
            self._least = Cost(*map(min, cost, least))
        if home.push(waiter, line):
            self._moved.add(line)
            return True
        return False

    def head(self) -> Waiter | None:
        """Who goes next; None if nobody waits."""
        if self._front.waiters and (waiter := self._front.head()) is not None:
            return waiter
        line = self._held or self._first_line()
        return None if line is None else line.head()

    def refresh_price(self, waiter: Waiter, now_ns: int) -> None:
        """Has a waiter cost what it is estimated to cost now, if that was estimated long ago."""
        demand = waiter.demand
        if demand.price is None or now_ns - waiter.priced_ns < _PRICE_KEPT_NS:
            return
        waiter.priced_ns = now_ns
        cost = demand.price(now_ns)
        if cost == demand.cost:
            return
        waiter.demand = structs.replace(demand, cost=cost)
        line = waiter.line
        if line is not None and line is not self._front:
            line.home.reprice(line, demand.cost, cost)
            self._moved.add(line)
            self._least = Cost(*map(min, cost, self._least))

    def hold(self, head: Waiter) -> None:
        """Keeps the head where it is until it is taken or leaves; only those at the front still go before it."""
        line = head.line
        if self._held is None and line is not None and line is not self._front:
            self._held = line
            line.home.hold(line)
            self._moved.add(line)

    @property
    def has_other_lines(self) -> bool:
        """Whether anybody may stand in another line than the head: within a line nobody overtakes."""
        return len(self._lines) > 1 or bool(self._front.waiters)

    def filler(self, wait_ns: Callable[[Cost], int | None]) -> Filler | None:
        """Who may go before the head, and soonest: the first of a line, by class and turn where several may at once.

        `wait_ns` says after how long a cost may be admitted, None if it may not go before the head at all.
        """
        if wait_ns(self._least) is None:
            return None
        for line in self._moved:
            waiter = None if line is self._held else line.head()
            if waiter is None:
                self._index.remove(line.number)
            else:
                self._index.set(line.number, waiter.demand.cost, (line.home.rank, line.start_ns))
        self._moved.clear()
        found = self._index.soonest(wait_ns)
        if found is None:
            return None
        filling = self._lines[found[0]].head()
        return None if filling is None else Filler(filling, found[1])

    def take(self, waiter: Waiter, now_ns: int, *, fills_in: bool = False) -> None:
        """Takes out the head, or who fills in before it; class and caller pay for its size as it is known now."""
        del self.waiting[waiter.lease_id]
        line, front = waiter.line, self._front
        if line is None or line is front:
            waiter.line = None  # what comes back to the front was paid for
        else:
            home, size_ns = line.home, max(self._size_ns(waiter.demand.cost), _LEAST_SIZE_NS)
            in_turn = not fills_in or line is home.first()
            if line is self._held:
                self._held = None
            if home.waiting <= len(self.waiting):  # else nobody else waits: there is nothing to share
                self._share_out(waiter, home, size_ns, now_ns)
            home.serve(waiter, line, size_ns, in_turn=in_turn)
            self._moved.add(line)
            if not home.waiting:
                self._shares.forget(home.rank)
        if front.waiters or not self.waiting:
            self._tidy()

    def remove(self, lease_id: str) -> Waiter | None:
        """Takes out a waiter wherever it stands; None if it does not wait."""
        waiter = self.waiting.pop(lease_id, None)
        if waiter is None:
            return None
        line = waiter.line
        if line is None or line is self._front:
            waiter.line = None
        else:
            was_head = line.head() is waiter
            line.home.leave(waiter, line)
            if was_head:
                self._moved.add(line)
                if line is self._held:
                    self._held = None
                    line.home.let_go(line)
            if not line.home.waiting:
                self._shares.forget(line.home.rank)
        if self._front.waiters or not self.waiting:
            self._tidy()
        return waiter

    def of_caller(self, caller: Caller) -> tuple[int, int]:
        """How many requests of a caller wait, of all classes, and the tokens that they will probably cost."""
        lines = [line for home in self._homes if (line := home.by_caller.get(caller.name)) is not None]
        return sum(line.waiting for line in lines), sum(_tokens(line.load) for line in lines)

    @property
    def tokens(self) -> int:
        """Tokens that all who wait will probably cost."""
        return sum(_tokens(home.load) for home in self._homes)

    def ahead_ns(self, caller: Caller, cost: Cost) -> int:
        """About how long the pool needs for all that goes before a new waiter of this caller and cost.

        Of its class what fairness lets go ahead; of higher classes all, but no more than the share of its own class
        leaves them meanwhile; of lower classes what they are owed meanwhile, or the head that is held.
        """
        home = self._homes[caller.rank]
        ahead_ns = home.ahead_ns(caller, self._size_ns)
        if home.waiting == len(self.waiting):
            return ahead_ns
        share = GUARANTEED[home.rank]
        higher_ns = sum(self._size_ns(other.load) for other in self._homes[: home.rank])
        ahead_ns += min(higher_ns, round((ahead_ns + self._size_ns(cost)) * (1 - share) / share))
        lower_ns = 0
        for other in self._homes[home.rank + 1 :]:
            if other.waiting:
                held = self._held.head() if self._held is not None and self._held.home is other else None
                held_ns = 0 if held is None else self._size_ns(held.demand.cost)
                owed_ns = round(ahead_ns * GUARANTEED[other.rank])
                lower_ns += max(held_ns, min(owed_ns, self._size_ns(other.load)))
        return ahead_ns + lower_ns

    def snapshot(self, now_ns: int) -> dict[str, ClassSnapshot]:
        """Who waits, by class."""
        fronts = [waiter for waiter in self._front.waiters if waiter.line is not None]
        snapshots = {}
        for priority, home in zip(_CLASSES, self._homes, strict=True):
            own = [waiter for waiter in fronts if waiter.demand.caller.priority is priority]
            heads = [head for line in home.by_caller.values() if (head := line.head()) is not None]
            callers = Counter({name: line.waiting for name, line in home.by_caller.items() if line.waiting})
            callers.update(waiter.demand.caller.name for waiter in own)
            since_ns = min((waiter.since_ns for waiter in (*own, *heads)), default=None)
            snapshots[str(priority)] = ClassSnapshot(
                waiting=home.waiting + len(own),
                tokens=_tokens(home.load) + sum(waiter.demand.cost.tokens for waiter in own),
                oldest_seconds=None if since_ns is None else to_seconds(now_ns - since_ns),
                by_caller=dict(callers),
            )
        return snapshots

    def _first_line(self) -> Line | None:
        """The first of the highest class that waits, unless a lower class is owed its share."""
        highest = None
        for home in self._homes:
            if home.waiting:
                line = home.first()
                if highest is None:
                    highest = line
                elif self._is_owed(home, line.head()):
                    return line
        return highest

    def _is_owed(self, home: FairLines, head: Waiter | None) -> bool:
        return head is not None and self._shares.is_owed(
            home.rank, max(self._size_ns(head.demand.cost), _LEAST_SIZE_NS)
        )

    def _share_out(self, waiter: Waiter, served: FairLines, size_ns: int, now_ns: int) -> None:
        """Lets the classes that wait earn their shares of what is admitted, and the one that is served spend."""
        for home in self._homes[1:]:
            head = waiter if home is served else self._next_of(home)
            if head is not None:
                self._shares.earn(home.rank, size_ns, now_ns - head.since_ns)
        self._shares.spend(served.rank, size_ns)

    def _next_of(self, home: FairLines) -> Waiter | None:
        """Who goes next of a class."""
        if not home.waiting:
            return None
        held = self._held
        return (held if held is not None and held.home is home else home.first()).head()

    def _tidy(self) -> None:
        if not self.waiting:
            # Old tags mean nothing any more, and callers who left must not be remembered for ever.
            for home in self._homes:
                home.clear()
            self._front.waiters.clear()
            self._held = None
            self._shares = ClassShares()
            self._lines.clear()
            self._moved.clear()
            self._index.clear()
            self._least = _MOST
        elif len(self._front.waiters) > 2 * len(self.waiting) + COMPACT_ABOVE:
            self._front.waiters = deque(waiter for waiter in self._front.waiters if waiter.line is not None)


def _tokens(load: Sequence[int]) -> int:
    return load[1] + load[2]
