"""The state that outlives a process: what it saves, and the live work that it hands over to the next process."""

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Self

from tidegate.cli.hand_over.new_process import Predecessor, TakeOverFailed
from tidegate.cli.hand_over.old_process import LOCK, HandOver
from tidegate.cli.hand_over.saved_state import StateSaver
from tidegate.cli.hand_over.shared_hand_over import SharedHandOver
from tidegate.cli.hand_over.store_hand_over import StoreHandOver
from tidegate.core.domain.errors import UnreadableState
from tidegate.engine.admission import Admission
from tidegate.rate_limiter import RateLimiter
from tidegate.stores.memory import MemoryStore
from tidegate.stores.remote.leader import Leader
from tidegate.stores.state_folder import StateFolder
from tidegate.stores.switchable import SwitchableStore

__all__ = ["Continuity"]

logger = logging.getLogger("tidegate.hand_over")


class Continuity:
    """Restores the state when the service starts, or takes it over, and saves it or hands it over later.

    Used in this order: `attach`, `take_over` and `confirm` if there is a predecessor, `handing_over`.

    Args:
        folder: the state folder; locked unless there is a predecessor.
        predecessor: the running process that this one replaces; None: there is none.

    Attributes:
        saver: saves the state. Set by `attach`.
        takes_over: whether there is a predecessor.
    """

    def __init__(self, folder: StateFolder, predecessor: Predecessor | None) -> None:
        self.saver: StateSaver
        self.takes_over = predecessor is not None
        self._folder = folder
        self._predecessor = predecessor
        self._folded: dict[str, int] = {}
        self._leader: Leader | None = None  # None: the pools are shared in a store
        self._store: StoreHandOver | SharedHandOver

    @classmethod
    @contextlib.contextmanager
    def of(cls, path: Path, *, take_over: bool) -> Iterator[Self]:
        """Uses a state folder while the block runs.

        Args:
            path: the folder.
            take_over: whether to look for a predecessor.

        Raises:
            ConfigurationError: the folder cannot be used, or another process uses it and is not taken over from.
        """
        folder = StateFolder(path)
        predecessor = Predecessor.find(path) if take_over else None
        if predecessor is None:
            with folder:
                yield cls(folder, None)
            return
        try:
            yield cls(folder, predecessor)
        finally:
            folder.release()
            predecessor.close()

    async def attach(
        self, store: SwitchableStore, memory: MemoryStore | None, admission: Admission, limiter: RateLimiter
    ) -> bool:
        """Connects the parts of the service. Without a predecessor, restores the saved state.

        Returns whether the state could be read, or there was none to read.

        `memory`: the pools of this process; None: they are shared in a store, and stay there.
        """
        self.saver = StateSaver(self._folder, memory, admission, limiter)
        if memory is None:
            self._store = SharedHandOver(MemoryStore(admission.clock).dump())
        else:
            self._leader = Leader(memory, f"{admission.replica}.leader")
            self._store = StoreHandOver(store, memory, self._leader, admission.replica)
        if self._predecessor is None:
            return self.saver.restore()
        await self.saver.pause()
        return True

    async def take_over(self) -> dict[str, socket.socket]:
        """Takes the state of the predecessor, and returns its listening sockets by name.

        Until `confirm`, the predecessor goes on if this process fails.

        Raises:
            TakeOverFailed: the predecessor does not hand over, or another version has dumped its state.
        """
        if self._predecessor is None:
            return {}
        taking = await self._predecessor.ask()
        with contextlib.closing(taking):
            self._folded = taking.offer.folded
            if (self._leader is None) != (not self._folded):
                raise TakeOverFailed("the running process goes on: only one of the two has a shared store; restart it")
            try:
                self.saver.take_over(taking.offer.state)
            except UnreadableState as error:
                raise TakeOverFailed(f"the running process goes on: {error}") from error
            if (lock := taking.take(LOCK)) is not None:
                self._folder.adopt(lock)
            return {name: socket.socket(fileno=taking.take(name)) for name in tuple(taking.sockets)}

    async def confirm(self) -> None:
        """Serves in place of the predecessor from now on.

        Raises:
            TakeOverFailed: it has given up waiting, and goes on.
        """
        if self._predecessor is not None:
            self._predecessor.confirm()
            self.saver.resume()
            if self._leader is None:
                logger.info("took over; the calls of the replaced process share the store with those of this one")
                return
            await self._predecessor.lead(self._leader, self._folded)
            logger.info("took over the pools and calls of %d processes", len(self._folded))

    @contextlib.asynccontextmanager
    async def handing_over(self, sockets: Mapping[str, socket.socket]) -> AsyncIterator["asyncio.Future[None]"]:
        """Lets another process take over while the block runs. The future has a result once it has."""
        hand_over = HandOver(self._folder, self.saver, self._store, sockets)
        async with hand_over.listening():
            yield hand_over.done

    async def leave(self, wait_seconds: float) -> None:
        """Waits for the processes that have handed over to this one to end, and then ends its connections."""
        if self._leader is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_seconds):
                    await self._leader.until_idle()
        self.stop_leading()
        self._store.close()

    def stop_leading(self) -> None:
        """Ends the connections to the processes that have handed over to this one. Their waiting calls are refused."""
        if self._leader is not None:
            self._leader.close()
