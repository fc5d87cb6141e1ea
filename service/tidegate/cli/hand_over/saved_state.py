"""The state that survives a restart: saved to the state folder while the service runs, restored when it starts."""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable
from typing import Final

import msgspec
from msgspec import Struct, structs

from tidegate.cli.process.background import background
from tidegate.core.claude.rate_limit_groups import DEFAULT_POOL
from tidegate.core.domain.errors import UnreadableState
from tidegate.core.domain.nanoseconds import NS_PER_SECOND, to_ns
from tidegate.core.domain.state_encoding import decode_state, encode_state
from tidegate.core.pricing.cost_estimator import CostEstimator, CostEstimatorState
from tidegate.engine.admission import Admission
from tidegate.rate_limiter import RateLimitConfig, RateLimiter
from tidegate.stores.memory import MemoryStore
from tidegate.stores.runtime_settings import SetAtRuntime
from tidegate.stores.state_folder import StateFolder, UnreadableStateFile
from tidegate.stores.store_state import StoreState

__all__ = ["SavedState", "StateSaver"]

logger = logging.getLogger("tidegate.state")

_VERSION: Final = 1
"""Counts changes after which older files cannot be read, here or in a state within."""
_EVERY_SECONDS: Final = 2.0
"""After a crash, limits and levels are at most this old. A write takes milliseconds, in a thread."""
_LONG_NS: Final = 10 * 365 * 86_400 * NS_PER_SECOND
"""Ages and remaining times of a state must fit into MessagePack even if the service runs for as long as this."""


class SavedState(Struct, frozen=True, array_like=True):
    """The state that a restart keeps.

    Attributes:
        version: of this layout.
        unix_ns: when it was dumped, by the wall clock.
        is_final: whether nothing was sent after it: the service stopped in order.
        store: pools, callers' accounts, and settings changed at runtime.
        prices: what calls have cost.
        config_before, config: the older limiter's configuration from the file, and the one in effect.
        config_origins: who set the values of `config`, and when. Files of earlier versions have none.
    """

    version: int
    unix_ns: int
    is_final: bool
    store: StoreState
    prices: CostEstimatorState
    config_before: RateLimitConfig
    config: RateLimitConfig
    config_origins: dict[str, SetAtRuntime] = {}


class StateSaver:
    """Restores the state of a service from a folder, and saves it there.

    Args:
        folder: the locked state folder.
        store: the pools; no call was admitted yet. None: they are shared. Then the folder keeps what is not.
        admission: has the estimator of prices.
        limiter: the older limiter.
        wall_ns: the wall clock, in nanoseconds since 1970-01-01 UTC.
    """

    def __init__(
        self,
        folder: StateFolder,
        store: MemoryStore | None,
        admission: Admission,
        limiter: RateLimiter,
        wall_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._folder = folder
        self._store = store
        self._admission = admission
        self._limiter = limiter
        self._wall_ns = wall_ns
        self._is_failing = False
        self._writing: asyncio.Future[None] | None = None
        self._is_paused = False

    def restore(self) -> bool:
        """Continues from the saved state, if there is one. Returns whether it could be read; the log says why not.

        After a crash, use since the last save is unknown. It is assumed to have been as fast as the limits allow:
        levels do not refill for that time.
        """
        try:
            data = self._folder.read()
        except UnreadableStateFile as error:
            logger.warning("%s", error)
            return False
        if data is None:
            return True
        try:
            state = decode_state(data, SavedState, _VERSION)
            self._check(state)
        except UnreadableState as error:
            logger.warning("%s", self._folder.set_aside(str(error)))
            return False
        self._apply(state)
        return True

    def _check(self, state: SavedState) -> None:
        """Restores and dumps parts that are thrown away, so that a state with impossible values is not half applied.

        Raises:
            UnreadableState: a part cannot be restored.
        """
        try:
            store = MemoryStore(self._admission.clock)
            store.restore(state.store, _LONG_NS)
            prices = CostEstimator.restore(state.prices, -_LONG_NS)
            msgspec.msgpack.encode((store.dump(), prices.dump(0)))
        except UnreadableState:
            raise
        except Exception as error:  # a bug of the version that wrote it, or of this one: neither may prevent the start
            raise UnreadableState(f"it has values that cannot be restored: {error!r}") from error

    def take_over(self, data: bytes) -> None:
        """Continues from the state of a process that hands over, with its waiting requests and leases.

        Raises:
            UnreadableState: another version has dumped it.
        """
        self._apply(decode_state(data, SavedState, _VERSION))

    def _apply(self, state: SavedState) -> None:
        age_ns = max(0, self._wall_ns() - state.unix_ns)
        if not state.is_final:
            age_ns = max(0, age_ns - to_ns(_EVERY_SECONDS))
        if self._store is not None:
            self._limiter.restore(state.config_before, state.config, state.config_origins)
            configured = tuple(each for each in state.store.configured if each.pool != DEFAULT_POOL)  # the limiter's
            self._store.restore(structs.replace(state.store, configured=configured), age_ns)
        now_ns = self._admission.clock.monotonic_ns()
        self._admission.estimator = CostEstimator.restore(state.prices, now_ns - age_ns)
        logger.info("restored the state of %d pools, %.0f s old", len(state.store.pools), age_ns / 1e9)

    def dump(self, *, is_final: bool, store: StoreState | None = None) -> bytes:
        """The state as it is now. `store`: that of the pools, if it was dumped before."""
        return encode_state(
            SavedState(
                version=_VERSION,
                unix_ns=self._wall_ns(),
                is_final=is_final,
                store=store or (self._store or MemoryStore(self._admission.clock)).dump(),
                prices=self._admission.estimator.dump(self._admission.clock.monotonic_ns()),
                config_before=self._limiter.initial_config,
                config=self._limiter.config,
                config_origins=dict(self._limiter.set_at_runtime),
            )
        )

    async def pause(self) -> None:
        """Saves nothing any more, not even at the end, until `resume`. Another process may be about to."""
        self._is_paused = True
        if self._writing is not None:
            await self._writing

    def resume(self) -> None:
        """Saves again."""
        self._is_paused = False

    @contextlib.asynccontextmanager
    async def saving(self) -> AsyncIterator[None]:
        """Saves the state every two seconds while the block runs, and once more at its end."""
        try:
            async with background(self._save_repeatedly()):
                yield
        finally:
            if self._writing is not None:
                await self._writing  # it must not replace the final state
            if not self._is_paused:
                self._save(self.dump(is_final=True))

    async def _save_repeatedly(self) -> None:
        while True:
            await asyncio.sleep(_EVERY_SECONDS)
            if self._is_paused:
                continue
            self._writing = asyncio.ensure_future(asyncio.to_thread(self._save, self.dump(is_final=False)))
            await asyncio.shield(self._writing)

    def _save(self, state: bytes) -> None:
        """Writes the state. A full or failing disk is logged once, until a write succeeds again."""
        try:
            self._folder.write(state)
        except OSError as error:
            if not self._is_failing:
                text = "the state cannot be saved in %s, and a restart would forget it: %s"
                logger.error(text, self._folder.path, error.strerror)  # noqa: TRY400
            self._is_failing = True
            return
        if self._is_failing:
            logger.warning("the state is saved again")
        self._is_failing = False
