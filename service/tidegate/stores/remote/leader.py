"""Serves followers over the store of this process."""

import asyncio
import threading
from collections.abc import Callable, Mapping
from itertools import count
from types import MappingProxyType
from typing import Final, Protocol

from tidegate.core.domain.budget import BudgetSnapshot, Spender
from tidegate.core.domain.nanoseconds import to_seconds
from tidegate.core.domain.snapshots import PoolSnapshot, QueueSnapshot, WaitLeft
from tidegate.core.ports.store import Change
from tidegate.stores.remote.messages import Ask, Channel, Message, Report, Results, Steps, Told
from tidegate.stores.steps import Answer, Batch, Folded, Leave, part_of, replica_of

__all__ = ["Leader", "LeaderStore", "Session", "Upstream"]

_REPORT_SECONDS: Final = 1.0
_NOBODY: Final[Mapping[str, int]] = MappingProxyType({})


class LeaderStore(Protocol):
    """The part of `MemoryStore` that a leader uses."""

    def fold(self, batch: Batch) -> Folded:
        """Applies the steps of a replica, and reports the changes to those who watch."""
        ...

    def watch(self, listener: Callable[[Change], None], *, leases: bool = True) -> Callable[[], None]:
        """As `Store.watch`."""
        ...

    def advance(self, pool: str) -> None:
        """As `Store.advance`."""
        ...

    def snapshot_now(self, pool: str | None = None) -> tuple[PoolSnapshot, ...]:
        """As `Store.snapshot`."""
        ...

    async def queues(self) -> tuple[QueueSnapshot, ...]:
        """As `Store.queues`."""
        ...

    async def wait_left(self, pool: str, lease_id: str) -> WaitLeft | None:
        """As `Store.wait_left`."""
        ...

    def budgets_now(self, spender: Spender | None = None) -> tuple[BudgetSnapshot, ...]:
        """As `Store.budgets_now`."""
        ...


class Upstream(Channel, Protocol):
    """The way to another leader, for the messages of the followers of this one."""

    def leave(self, replica: str) -> None:
        """A follower has gone."""
        ...


class _Outbox:
    """Results for one replica that were not sent yet."""

    __slots__ = ("answers", "changes", "folded", "is_due", "replica", "serial", "session")

    def __init__(self, replica: str, session: "Session") -> None:
        self.replica = replica
        self.session = session
        self.answers: list[Answer] = []
        self.changes: list[Change] = []
        self.folded = 0
        self.serial = 0
        self.is_due = False

    def send(self) -> None:
        """Sends the results, the answers before the changes."""
        self.is_due = False
        self.serial += 1
        answers, changes = tuple(self.answers), tuple(self.changes)
        self.answers.clear()
        self.changes.clear()
        self.session.channel.send(Results(self.replica, self.serial, self.folded, answers, changes))


class Session:
    """The channel to one follower, and to the followers behind it."""

    __slots__ = ("_leader", "channel")

    def __init__(self, leader: "Leader", channel: Channel) -> None:
        self._leader = leader
        self.channel = channel

    def receive(self, message: Message) -> None:
        """Takes in a message of the follower."""
        self._leader.receive(self, message)

    def lost(self) -> None:
        """Ends the waits and leases of the follower, as abandoned, because no message arrives any more."""
        self._leader.disconnect(self)


class Leader:
    """Folds the steps of followers into a store, and sends them the results.

    The results for a replica of one turn of the event loop go together. While followers are connected, each pool with
    waiting requests has a timer here, because followers have none.

    A process that hands its own pools over keeps its followers. From then on it passes their messages on (`forward`).

    All methods belong to the event loop that it was made in. Changes of the store may come from any thread.

    Args:
        store: has the pools.
        name: unique over all time. The departures of replicas are its steps.
    """

    def __init__(self, store: LeaderStore, name: str) -> None:
        self._store = store
        self._name = name
        self._departures = count(1)
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._outboxes: dict[str, _Outbox] = {}
        self._timers: dict[str, tuple[float, asyncio.Handle]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._reporting: asyncio.TimerHandle | None = None
        self._stop_watching: Callable[[], None] | None = None
        self._upstream: Upstream | None = None
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def folded(self) -> dict[str, int]:
        """The replicas of all connected followers, each with the number of its last step."""
        return {replica: outbox.folded for replica, outbox in self._outboxes.items()}

    def connect(self, channel: Channel, folded: Mapping[str, int] = _NOBODY) -> Session:
        """A follower has connected.

        Args:
            channel: to the follower.
            folded: the replicas behind it that may have waiting requests and leases in the store, each with the number
                of its last step.
        """
        session = Session(self, channel)
        for replica, number in folded.items():
            self._open(replica, session).folded = number
        return session

    async def until_idle(self) -> None:
        """Returns once no follower is connected."""
        await self._idle.wait()

    def forward(self, upstream: Upstream | None) -> None:
        """Passes all messages on to another leader, whose results come by `deliver`. None: folds them here again."""
        self._upstream = upstream
        if upstream is not None:
            self._stop_serving()
        elif self._outboxes:
            self._serve()

    def deliver(self, message: Message) -> None:
        """Passes a message of the other leader to the follower that it is for."""
        if (outbox := self._outboxes.get(message.replica)) is not None:
            outbox.session.channel.send(message)

    def close(self) -> None:
        """Ends all channels, because there is no store any more."""
        for session in {outbox.session for outbox in self._outboxes.values()}:
            session.channel.close()

    def receive(self, session: Session, message: Message) -> None:
        """Takes in a message of a follower."""
        outbox = self._outboxes.get(message.replica) or self._open(message.replica, session)
        if self._upstream is not None:
            self._upstream.send(message)
        elif isinstance(message, Steps):
            folded = self._store.fold(message.batch)
            outbox.answers.extend(folded.answers)
            outbox.folded = folded.number
            self._send_soon(outbox)
        elif isinstance(message, Ask):
            task = self._loop.create_task(self._reply(session, message))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def receive_again(self, message: Message) -> None:
        """Takes in a message that `forward` had passed on in vain."""
        if (outbox := self._outboxes.get(message.replica)) is not None:
            self.receive(outbox.session, message)

    def disconnect(self, session: Session) -> None:
        """A channel has ended: the replicas behind it are gone."""
        for replica in [name for name, outbox in self._outboxes.items() if outbox.session is session]:
            del self._outboxes[replica]
            if self._upstream is not None:
                self._upstream.leave(replica)
            else:
                self._store.fold(Batch(self._name, next(self._departures), (Leave(replica),)))
        if not self._outboxes:
            self._stop_serving()
            self._idle.set()

    def _open(self, replica: str, session: Session) -> _Outbox:
        outbox = self._outboxes[replica] = _Outbox(replica, session)
        self._idle.clear()
        if self._upstream is None and self._stop_watching is None:
            self._serve()
        return outbox

    def _serve(self) -> None:
        self._stop_watching = self._store.watch(self._on_change, leases=False)
        self._reporting = self._loop.call_later(_REPORT_SECONDS, self._start_report)
        for pool in self._store.snapshot_now():
            if pool.waiting:
                self._store.advance(pool.pool)  # reports when the next request may fit

    def _stop_serving(self) -> None:
        if self._stop_watching is not None:
            self._stop_watching()
            self._stop_watching = None
        for _, timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        if self._reporting is not None:
            self._reporting.cancel()
            self._reporting = None

    # Changes of the store.

    def _on_change(self, change: Change) -> None:
        if threading.get_ident() == self._thread:
            self._take_change(change)
        else:
            self._loop.call_soon_threadsafe(self._take_change, change)

    def _take_change(self, change: Change) -> None:
        if change.next_in_ns is not None and self._stop_watching is not None:
            self._set_timer(change.pool, to_seconds(change.next_in_ns))
        lease_ids = (*change.granted, *(lease_id for lease_id, _ in change.refused))
        for replica in dict.fromkeys(map(replica_of, lease_ids)):
            outbox, part = self._outboxes.get(replica), part_of(change, replica)
            if outbox is not None and part is not None:
                outbox.changes.append(part)
                self._send_soon(outbox)

    def _send_soon(self, outbox: _Outbox) -> None:
        if not outbox.is_due:
            outbox.is_due = True
            self._loop.call_soon(outbox.send)

    def _set_timer(self, pool: str, in_seconds: float) -> None:
        """Advances the pool after that time. An earlier timer stays: it does no harm, and is set again then."""
        when, timer = self._loop.time() + in_seconds, self._timers.get(pool)
        if timer is not None:
            if timer[0] <= when:
                return
            timer[1].cancel()
        # The time is kept beside the handle, because uvloop's handle lacks it when the delay rounds to 0.
        self._timers[pool] = when, self._loop.call_at(when, self._advance, pool)

    def _advance(self, pool: str) -> None:
        del self._timers[pool]
        self._store.advance(pool)

    # What followers read.

    async def _reply(self, session: Session, ask: Ask) -> None:
        left = await self._store.wait_left(ask.pool, ask.lease_id)
        session.channel.send(Told(ask.replica, ask.lease_id, left))

    def _start_report(self) -> None:
        self._reporting = self._loop.call_later(_REPORT_SECONDS, self._start_report)
        task = self._loop.create_task(self._report())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _report(self) -> None:
        pools, queues = self._store.snapshot_now(), await self._store.queues()
        budgets = self._store.budgets_now()
        for outbox in self._outboxes.values():
            report = Report(outbox.replica, outbox.serial, pools, queues, outbox.folded, budgets=budgets)
            outbox.session.channel.send(report)
