"""Leads: folds the log, publishes the results, and writes checkpoints, while this replica holds the lead."""

import asyncio
import contextlib
import logging
import math
import secrets
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, TypeVar

from tidegate.core.domain.nanoseconds import to_seconds
from tidegate.stores.pools import Pools
from tidegate.stores.remote.messages import Message
from tidegate.stores.valkey.log_channel import encode_messages
from tidegate.stores.valkey.log_fold import Appended, Effects, LogFold, encode_appended
from tidegate.stores.valkey.shared_log import START, Checkpoint, EntryId, LostLead, SharedLog, StoreLost

__all__ = ["LogLeader"]

T = TypeVar("T")

logger = logging.getLogger("tidegate.store")

_LEAD_SECONDS: Final = 1.5
_KEEP_SECONDS: Final = 0.3
_RETRY_SECONDS: Final = 0.3
_TICK_SECONDS: Final = 0.1
_TICKS_PER_REPORT: Final = 10
_CHECKPOINT_SECONDS: Final = 0.5
_WAIT_SECONDS: Final = 0.5
_INSIST_SECONDS: Final = 0.02


class LogLeader:
    """Takes the lead whenever nobody has it, and leads until it is lost.

    Args:
        log: shared by all replicas.
        new_pools: makes the pools before the first entry, by the configuration of this replica.

    """

    def __init__(self, log: SharedLog, new_pools: Callable[[], Pools]) -> None:
        self._log = log
        self._new_pools = new_pools
        self._term: _Term | None = None

    @property
    def leads(self) -> bool:
        """Whether this replica leads."""
        return self._term is not None

    @property
    def lag_seconds(self) -> float:
        """How long the last tick took from its append to its fold; 0 while this replica does not lead."""
        return 0.0 if self._term is None else self._term.lag_seconds

    async def run(self) -> None:
        """Runs until it is cancelled. Then it gives up the lead, so that another replica takes it at once."""
        while True:
            epoch = secrets.token_urlsafe(9)
            with contextlib.suppress(StoreLost):
                if await self._log.take_lead(epoch, _LEAD_SECONDS):
                    await self._lead(epoch)
            await asyncio.sleep(_RETRY_SECONDS)

    async def _lead(self, epoch: str) -> None:
        term = self._term = _Term(self._log, epoch, self._new_pools)
        tasks = [asyncio.create_task(each) for each in (term.keep(), term.fold(), term.tick(), term.save())]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                if not isinstance(error := task.exception(), LostLead):
                    raise error or AssertionError("no part of a term returns")
        finally:
            self._term = None
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            with contextlib.suppress(StoreLost):
                await self._log.give_up_lead(epoch)


class _Term:
    """One time of leading. The coroutines run side by side and never return; `LostLead` from one ends the term.

    While the server cannot be reached, each tries again, until another replica may have taken the lead.

    Attributes:
        lag_seconds: as `LogLeader.lag_seconds`.
    """

    def __init__(self, log: SharedLog, epoch: str, new_pools: Callable[[], Pools]) -> None:
        self._log = log
        self._epoch = epoch
        self._name = f"leader:{epoch}"
        self._new_pools = new_pools
        self._fold: LogFold | None = None
        self._folded: EntryId = START
        self.lag_seconds = 0.0
        self._ticked: dict[EntryId, float] = {}  # ticks not folded yet: when they were appended
        self._loop = asyncio.get_running_loop()
        self._lead_until = self._loop.time() + _LEAD_SECONDS
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

    async def fold(self) -> None:
        """Continues from the checkpoint, folds the entries after it, and publishes what they cause."""
        checkpoint = await self._insist(self._log.load)
        if checkpoint is None:
            self._fold = LogFold(self._new_pools(), secrets.token_urlsafe(9))
        else:
            self._folded = checkpoint.folded
            self._fold = LogFold.restore(checkpoint.state)
        self._ready.set()
        while True:
            entries = await self._insist(partial(self._log.read, self._folded, _WAIT_SECONDS))
            messages: dict[str, list[Message]] = {}
            for entry in entries:
                self._take_effects(self._fold.apply(entry), messages)
                self._folded = entry.id
                if (ticked_at := self._ticked.pop(entry.id, None)) is not None:
                    self.lag_seconds = self._loop.time() - ticked_at
            if messages:
                encoded = {replica: encode_messages(each) for replica, each in messages.items()}
                await self._insist(partial(self._log.publish, self._epoch, encoded))

    def _take_effects(self, effects: Effects, messages: dict[str, list[Message]]) -> None:
        for replica, each in effects.messages.items():
            messages.setdefault(replica, []).extend(each)
        for next_in_ns in effects.next_in_ns.values():
            at = self._loop.time() + to_seconds(next_in_ns)
            if at < self._advance_at:
                self._advance_at = at
                self._advance_sooner.set()

    async def tick(self) -> None:
        """Appends ticks: ten per second, and one when the next waiter may fit."""
        await self._ready.wait()
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
        saved = self._folded
        while True:
            await asyncio.sleep(_CHECKPOINT_SECONDS)
            if self._fold is not None and self._folded != saved:
                saved = self._folded
                checkpoint = Checkpoint(self._fold.incarnation, saved, self._fold.dump())
                await self._insist(partial(self._log.save, self._epoch, checkpoint))

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
