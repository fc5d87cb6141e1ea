"""A shared log in memory, on virtual time, with the faults of a network and of a server."""

import asyncio
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import TypeVar

from support.virtual_time import VirtualClock
from tidegate.stores.valkey.shared_log import (
    START,
    Checkpoint,
    Entry,
    EntryId,
    LostLead,
    Message,
    StoreLost,
    first_kept,
)

T = TypeVar("T", Entry, Message)

_LOG = ""
"""The name of the log among the streams; all others are mailboxes, by replica."""


@dataclass
class LogServer:
    """What a Valkey server holds for one prefix."""

    clock: VirtualClock
    entries: list[Entry] = field(default_factory=list)
    mailboxes: dict[str, list[Message]] = field(default_factory=dict)
    checkpoint: Checkpoint | None = None
    lead: tuple[str, int] | None = None
    """Epoch, and when it ends by the clock."""
    last: EntryId = START
    is_down: bool = False
    clock_behind_ms: int = 0
    silent: list[tuple[float, float]] = field(default_factory=list)
    """Times at which it is down as well: since when, and until when, in the clock's seconds."""
    history: list[Entry] = field(default_factory=list)
    """All entries that were ever appended, also those that were trimmed or lost."""
    _new: dict[str, asyncio.Event] = field(default_factory=dict)
    """By stream that somebody waits for."""

    def next_id(self, after: EntryId) -> EntryId:
        unix_ms = round(self.clock.wall_seconds() * 1_000) - self.clock_behind_ms
        return EntryId(unix_ms, 0) if unix_ms > after.unix_ms else EntryId(after.unix_ms, after.number + 1)

    def leads(self, epoch: str) -> bool:
        return self.lead is not None and self.lead[0] == epoch and self.lead[1] > self.clock.monotonic_ns()

    @property
    def answers(self) -> bool:
        now_s = self.clock.elapsed_s
        return not self.is_down and not any(since <= now_s < until for since, until in self.silent)

    def wake(self, stream: str) -> None:
        if (new := self._new.pop(stream, None)) is not None:
            new.set()

    async def something_new(self, stream: str, wait_seconds: float) -> None:
        new = self._new.setdefault(stream, asyncio.Event())
        try:
            async with asyncio.timeout(wait_seconds):
                await new.wait()
        except TimeoutError:
            return

    def lose_everything(self) -> None:
        """As `FLUSHALL`."""
        self.entries, self.mailboxes, self.checkpoint, self.lead, self.last = [], {}, None, None, START

    def copied(self) -> "LogServer":
        """A replica of the server, as it is now."""
        mailboxes = {name: list(each) for name, each in self.mailboxes.items()}
        return LogServer(self.clock, list(self.entries), mailboxes, self.checkpoint, self.lead, self.last)

    def fail_over(self, replica: "LogServer") -> None:
        """Everything that was written since the copy was made is lost."""
        self.entries, self.mailboxes, self.checkpoint = replica.entries, replica.mailboxes, replica.checkpoint
        self.lead, self.last = replica.lead, replica.last


@dataclass
class MemoryLog:
    """Implements `SharedLog`. One replica's connection to the server.

    Attributes:
        latency_seconds: of each direction, at least.
        jitter_seconds: how much more it is at most.
        repeated: probability that an entry is appended twice.
        lost_before, lost_after: probability that a command is lost before, or its answer after it had effect.
        is_cut: whether the connection is cut; commands then time out.
        is_mute: whether appends are lost, and nothing else.
        timeout_seconds: after which a command without an answer fails.
    """

    server: LogServer
    random: Random = field(default_factory=lambda: Random(0))  # noqa: S311
    latency_seconds: float = 0.0
    jitter_seconds: float = 0.0
    repeated: float = 0.0
    lost_before: float = 0.0
    lost_after: float = 0.0
    is_cut: bool = False
    is_mute: bool = False
    timeout_seconds: float = 0.25
    _runs: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self._runs.set()

    def pause(self, seconds: float) -> None:
        """As SIGSTOP of the process, and SIGCONT later: it sends and receives nothing meanwhile."""
        self._runs.clear()
        asyncio.get_running_loop().call_later(seconds, self._runs.set)

    def cut(self, seconds: float) -> None:
        """Cuts the connection for a time."""
        self.is_cut = True
        asyncio.get_running_loop().call_later(seconds, self._mend)

    def _mend(self) -> None:
        self.is_cut = False

    def _latency(self) -> float:
        return self.latency_seconds + self.jitter_seconds * self.random.random()

    async def _arrive(self) -> None:
        await self._runs.wait()
        await asyncio.sleep(self._latency())
        if self.is_cut or not self.server.answers or self.random.random() < self.lost_before:
            await asyncio.sleep(self.timeout_seconds)
            raise StoreLost("no answer")

    async def _return(self) -> None:
        await asyncio.sleep(self._latency())
        if self.is_cut or not self.server.answers or self.random.random() < self.lost_after:
            await asyncio.sleep(self.timeout_seconds)
            raise StoreLost("no answer")
        await self._runs.wait()

    async def ping(self) -> None:
        await self._arrive()
        await self._return()

    async def append(self, payload: bytes) -> EntryId:
        await self._arrive()
        if self.is_mute:
            await asyncio.sleep(self.timeout_seconds)
            raise StoreLost("no answer")
        server = self.server
        for _ in range(2 if self.random.random() < self.repeated else 1):
            server.last = server.next_id(server.last)
            server.entries.append(Entry(server.last, payload))
            server.history.append(server.entries[-1])
        server.wake(_LOG)
        appended = server.last
        await self._return()
        return appended

    async def read(self, after: EntryId, wait_seconds: float) -> Sequence[Entry]:
        await self._arrive()
        found = await self._found(_LOG, lambda: _after(self.server.entries, after), wait_seconds)
        await self._return()
        return found

    async def receive(self, replica: str, after: EntryId, wait_seconds: float) -> Sequence[Message]:
        await self._arrive()
        found = await self._found(replica, lambda: _after(self.server.mailboxes.get(replica, []), after), wait_seconds)
        await self._return()
        return found

    async def _found(self, stream: str, look: Callable[[], list[T]], wait_seconds: float) -> list[T]:
        deadline_ns = self.server.clock.monotonic_ns() + round(wait_seconds * 1e9)
        while not (found := look()):
            left = (deadline_ns - self.server.clock.monotonic_ns()) / 1e9
            if left <= 0:
                return []
            await self.server.something_new(stream, left)
        return found

    async def take_lead(self, epoch: str, seconds: float) -> bool:
        await self._arrive()
        server = self.server
        is_free = server.lead is None or server.lead[1] <= server.clock.monotonic_ns()
        if is_free:
            server.lead = epoch, server.clock.monotonic_ns() + round(seconds * 1e9)
        await self._return()
        return is_free

    async def keep_lead(self, epoch: str, seconds: float) -> None:
        await self._arrive()
        server = self.server
        has_lead = server.leads(epoch)
        if has_lead:
            server.lead = epoch, server.clock.monotonic_ns() + round(seconds * 1e9)
        await self._return()
        self._require(has_lead=has_lead)

    async def give_up_lead(self, epoch: str) -> None:
        await self._arrive()
        if self.server.leads(epoch):
            self.server.lead = None
        await self._return()

    async def publish(self, epoch: str, messages: Mapping[str, bytes]) -> None:
        await self._arrive()
        server = self.server
        has_lead = server.leads(epoch)
        if has_lead:
            for replica, payload in messages.items():
                mailbox = server.mailboxes.setdefault(replica, [])
                name = server.next_id(mailbox[-1].id if mailbox else START)
                mailbox.append(Message(name, epoch, payload))
                server.wake(replica)
        await self._return()
        self._require(has_lead=has_lead)

    async def save(self, epoch: str, checkpoint: Checkpoint) -> None:
        await self._arrive()
        server = self.server
        has_lead = server.leads(epoch)
        if has_lead:
            server.checkpoint = checkpoint
            server.entries = [each for each in server.entries if each.id >= first_kept(checkpoint.folded)]
        await self._return()
        self._require(has_lead=has_lead)

    async def load(self) -> Checkpoint | None:
        await self._arrive()
        checkpoint = self.server.checkpoint
        await self._return()
        return checkpoint

    async def last(self) -> EntryId:
        await self._arrive()
        last = self.server.last
        await self._return()
        return last

    @staticmethod
    def _require(*, has_lead: bool) -> None:
        if not has_lead:
            raise LostLead


def _after(stream: list[T], after: EntryId) -> list[T]:
    return stream[bisect_right(stream, after, key=lambda each: each.id) :]
