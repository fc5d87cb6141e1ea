"""Leads: folds the log, publishes the results, and writes checkpoints, while this replica holds the lead."""

import asyncio
import contextlib
import logging
import math
import secrets
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, Protocol, TypeVar

from tidegate.core.domain.errors import UnreadableState
from tidegate.core.domain.nanoseconds import to_seconds
from tidegate.core.ports.store import Change
from tidegate.stores.pools import Pools
from tidegate.stores.remote.messages import Message
from tidegate.stores.valkey.log_channel import encode_messages
from tidegate.stores.valkey.log_fold import Appended, Effects, LogFold, encode_appended
from tidegate.stores.valkey.shared_log import START, Checkpoint, EntryId, LostLead, SharedLog, StoreLost
from tidegate.stores.valkey.task_end import end_tasks

__all__ = ["LogLeader"]

T = TypeVar("T")

logger = logging.getLogger("tidegate.store")

_LEAD_SECONDS: Final = 1.5
_KEEP_SECONDS: Final = 0.3
_RETRY_SECONDS: Final = 0.3
_TICK_SECONDS: Final = 0.1
_TICKS_PER_REPORT: Final = 10
_CHECKPOINT_SECONDS: Final = 0.5
_CHECKPOINT_SHARE: Final = 0.05
"""Checkpoints take at most this share of the leader's time. A state with 10,000 waiters takes a tenth of a second."""
_WAIT_SECONDS: Final = 0.5
_INSIST_SECONDS: Final = 0.02


class LocalReplica(Protocol):
    """The replica of the same process."""

    @property
    def replica(self) -> str:
        """The name of the replica."""
        ...

    def new_pools(self) -> Pools:
        """The pools before the first entry, by the configuration of this replica."""
        ...

    def last_seen(self) -> tuple[str, int]:
        """The incarnation of the log by the last report, and the number of its own last step that it knows is folded.

        The incarnation is empty before the first report.
        """
        ...

    def take_facts(self, change: Change) -> None:
        """Reports facts that no replica has caused."""
        ...


class LogLeader:
    """Takes the lead whenever nobody has it, and leads until it is lost.

    Args:
        log: shared by all replicas.
        local: the replica that this leader belongs to.
    """

    def __init__(self, log: SharedLog, local: LocalReplica) -> None:
        self._log = log
        self._local = local
        self._term: _Term | None = None

    @property
    def leads(self) -> bool:
        """Whether this replica leads."""
        return self._term is not None

    @property
    def lag_seconds(self) -> float:
        """The time of the last tick from its append to its fold, in seconds; 0 while this replica does not lead."""
        return 0.0 if self._term is None else self._term.lag_seconds

    async def run(self) -> None:
        """Runs until it is cancelled. Then it gives up the lead, so that another replica takes it at once."""
        while True:
            epoch = secrets.token_urlsafe(9)
            try:
                if await self._log.take_lead(epoch, _LEAD_SECONDS):
                    await self._lead(epoch)
            except StoreLost as error:
                logger.debug("the lead cannot be taken: %s", error)
            except Exception:
                logger.exception("this replica has failed to lead")
                await asyncio.sleep(_LEAD_SECONDS)  # another one may try first
            await asyncio.sleep(_RETRY_SECONDS)

    async def _lead(self, epoch: str) -> None:
        term = self._term = _Term(self._log, epoch, self._local)
        tasks = [asyncio.create_task(each) for each in (term.keep(), term.fold(), term.tick(), term.save())]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                if not isinstance(error := task.exception(), LostLead):
                    raise error or AssertionError("no part of a term returns")
        finally:
            self._term = None
            try:
                await end_tasks(tasks)
            finally:
                with contextlib.suppress(StoreLost):
                    await self._log.give_up_lead(epoch)


class _Term:
    """One time of leading. The coroutines run side by side and never return; `LostLead` from one ends the term.

    While the server cannot be reached, each tries again, until another replica may have taken the lead.

    Attributes:
        lag_seconds: as `LogLeader.lag_seconds`.
    """

    def __init__(self, log: SharedLog, epoch: str, local: LocalReplica) -> None:
        self._log = log
        self._epoch = epoch
        self._name = f"leader:{epoch}"
        self._local = local
        self._fold: LogFold | None = None
        self._folded: EntryId = START
        self.lag_seconds = 0.0
        self._ticked: dict[EntryId, float] = {}  # ticks not folded yet: when they were appended
        self._loop = asyncio.get_running_loop()
        self._lead_until = self._loop.time() + _LEAD_SECONDS
        self._first_tick_at = self._loop.time()
        self._ready = asyncio.Event()
        self._advance_at = math.inf
        """When the next waiter may fit, by the event loop's time."""
        self._advance_sooner = asyncio.Event()

    async def keep(self) -> None:
        """Prolongs the lead."""
        while True:
            await asyncio.sleep(_KEEP_SECONDS)
            asked_at = self._loop.time()
            await self._insist(partial(self._log.keep_lead, self._epoch, _LEAD_SECONDS))
            self._lead_until = asked_at + _LEAD_SECONDS
            folded = self._folded
            last = await self._insist(self._log.last)
            if last < folded:  # the server has lost the end, and new entries may have earlier ids
                self._folded = last

    async def fold(self) -> None:
        """Continues from the checkpoint, folds the entries after it, and publishes what they cause."""
        fold = self._fold = await self._restored()
        last = await self._insist(self._log.last)
        while True:
            if self._folded >= last and not self._ready.is_set():
                incarnation, number = self._local.last_seen()
                if incarnation == fold.incarnation and number > fold.folded(self._local.replica):
                    self._note_loss(fold, "the end of the log is lost")
                self._ready.set()
            entries = await self._insist(partial(self._log.read, self._folded, _WAIT_SECONDS))
            messages: dict[str, list[Message]] = {}
            for entry in entries:
                self._take_effects(fold.apply(entry), messages)
                self._folded = entry.id
                if (ticked_at := self._ticked.pop(entry.id, None)) is not None:
                    self.lag_seconds = self._loop.time() - ticked_at
            if messages:
                encoded = {replica: encode_messages(each) for replica, each in messages.items()}
                await self._insist(partial(self._log.publish, self._epoch, encoded))

    async def _restored(self) -> LogFold:
        """The state of the last checkpoint, or a new one if there is none that can be read."""
        checkpoint, incarnation = await self._insist(self._log.load), self._local.last_seen()[0]
        if checkpoint is not None:
            self._folded = checkpoint.folded
            try:
                fold = LogFold.restore(checkpoint.state)
            except UnreadableState as error:
                logger.warning("the checkpoint of the shared store cannot be read: %s", error)
                incarnation = checkpoint.incarnation
            else:
                return fold
        fold = LogFold(self._local.new_pools(), secrets.token_urlsafe(9))
        if incarnation:
            self._note_loss(fold, "the log is lost")
        await self._save(fold)  # so that whoever follows soon knows that this log is not lost
        return fold

    def _note_loss(self, fold: LogFold, text: str) -> None:
        """Empties all levels, because nobody knows how much was used.

        Time passes for them only after all replicas could state what they have.
        """
        logger.error("%s: the shared limits begin again with nothing available", text)
        fold.drain()
        self._first_tick_at = self._loop.time() + _LEAD_SECONDS

    def _take_effects(self, effects: Effects, messages: dict[str, list[Message]]) -> None:
        for replica, each in effects.messages.items():
            messages.setdefault(replica, []).extend(each)
        for facts in effects.facts if self._ready.is_set() else ():  # the former leader has reported those before
            self._local.take_facts(facts)
        for next_in_ns in effects.next_in_ns.values():
            at = self._loop.time() + to_seconds(next_in_ns)
            if at < self._advance_at:
                self._advance_at = at
                self._advance_sooner.set()

    async def tick(self) -> None:
        """Appends ticks: ten per second, and one when the next waiter may fit."""
        await self._ready.wait()
        await asyncio.sleep(self._first_tick_at - self._loop.time())
        next_tick, ticks = self._loop.time(), 0
        while True:
            if is_regular := self._loop.time() >= next_tick:
                next_tick, ticks = self._loop.time() + _TICK_SECONDS, ticks + 1
            self._advance_at = math.inf
            self._advance_sooner.clear()
            tick = Appended(self._name, tick=True, report=is_regular and ticks % _TICKS_PER_REPORT == 1)
            ticked_at = self._loop.time()
            entry = await self._insist(partial(self._log.append, encode_appended(tick)))
            if entry > self._folded:
                self._ticked[entry] = ticked_at
            else:
                self.lag_seconds = self._loop.time() - ticked_at
            while (left := min(next_tick, self._advance_at) - self._loop.time()) > 0:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(left):
                        await self._advance_sooner.wait()
                self._advance_sooner.clear()

    async def save(self) -> None:
        """Writes checkpoints."""
        await self._ready.wait()
        saved, took_seconds = self._folded, 0.0
        while True:
            await asyncio.sleep(max(_CHECKPOINT_SECONDS, took_seconds / _CHECKPOINT_SHARE))
            if self._fold is not None and self._folded != saved:
                saved = self._folded
                took_seconds = await self._save(self._fold)

    async def _save(self, fold: LogFold) -> float:
        """Writes a checkpoint. Returns how long it kept the event loop busy."""
        began_at = self._loop.time()
        checkpoint = Checkpoint(fold.incarnation, self._folded, fold.dump())
        took_seconds = self._loop.time() - began_at
        await self._insist(partial(self._log.save, self._epoch, checkpoint))
        return took_seconds

    async def _insist(self, command: Callable[[], Awaitable[T]]) -> T:
        """The answer to a command, which is repeated while the server cannot be reached.

        Raises:
            LostLead: another replica may have taken the lead by now.
        """
        while True:
            try:
                return await command()
            except StoreLost as error:
                logger.debug("the leader tries again: %s", error)
            if self._loop.time() >= self._lead_until:
                raise LostLead
            await asyncio.sleep(_INSIST_SECONDS)
