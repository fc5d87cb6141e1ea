"""The store of the service: in its memory, or shared with other replicas."""

import asyncio
import importlib.util
import logging
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry

from tidegate.cli.process.background import background
from tidegate.core.domain.errors import ConfigurationError, ConfigurationErrors, MissingExtra
from tidegate.core.domain.snapshots import PoolSnapshot
from tidegate.core.ports.clock import Clock
from tidegate.core.ports.store_address import StoreAddress
from tidegate.core.ports.store_status import SharedStatus
from tidegate.engine.admission import Admission
from tidegate.observe.logging.store_log import log_store_changes
from tidegate.observe.metrics.collectors.store_metrics import StoreMetrics
from tidegate.observe.metrics.metrics_observer import MetricsObserver
from tidegate.settings import Settings
from tidegate.stores.memory import MemoryStore
from tidegate.stores.switchable import SwitchableStore

if TYPE_CHECKING:
    from tidegate.stores.valkey.shared_store import SharedStore

__all__ = ["ServiceStore", "check_store", "require_client"]

logger = logging.getLogger("tidegate.store")

_VARIABLE: Final = "TIDEGATE_STORE_URL"
_TIMEOUT_SECONDS: Final = 0.5
"""For each answer of the server. Steps without an answer are sent again."""


class ServiceStore:
    """The store of the service: in memory, or shared with other replicas if the settings have the URL of a server.

    Args:
        settings: the configuration.
        clock: the time of this process.
        registry: where the metrics of a shared store are registered.

    Attributes:
        store: for all parts of the service.
        memory: the pools of this process; None: they are shared.

    Raises:
        MissingExtra: the store is shared, and its client is not installed.
    """

    def __init__(self, settings: Settings, clock: Clock, registry: CollectorRegistry) -> None:
        self._settings = settings
        self._shared: SharedStore | None = None
        self.store: SwitchableStore
        self.memory: MemoryStore | None = None
        address = settings.store_url.address
        pools = settings.named_pool_settings(), settings.messages_pool_settings()
        if address is None:
            self.memory = MemoryStore(clock, *pools)
            self.store = SwitchableStore(self.memory)
            return
        require_client(settings)
        from tidegate.stores.valkey import shared_store, valkey_log  # noqa: PLC0415 - its client is an extra

        metrics = StoreMetrics(registry)
        self._log = valkey_log.ValkeyLog(address, _TIMEOUT_SECONDS)
        self.store = self._shared = shared_store.SharedStore(
            self._log,
            clock,
            *pools,
            without_store=settings.store_replicas if self._may_start_alone else None,
            random=random.random,
            on_latency=metrics.on_latency,
        )
        metrics.watch(self._shared.status)

    @property
    def status(self) -> Callable[[], SharedStatus] | None:
        """Returns the state of the shared store; None: there is none."""
        return None if self._shared is None else self._shared.status

    def counts(self) -> bool:
        """Whether this process exports values that are summed over all replicas: it is alone, or it leads."""
        return self._shared is None or self._shared.status().is_leader

    def snapshots(self, metrics: MetricsObserver) -> Callable[[], tuple[PoolSnapshot, ...]]:
        """Returns the state of all pools for `metrics`. A shared store also has pools that only other replicas use."""
        if self._shared is None:
            return self.store.snapshot_now

        def labelled() -> tuple[PoolSnapshot, ...]:
            pools = self.store.snapshot_now()
            metrics.served(pool.pool for pool in pools if pool.succeeded)
            return pools

        return labelled

    @asynccontextmanager
    async def joined(self, admission: Admission) -> AsyncIterator[None]:
        """Makes this process a replica while the block runs, if the store is shared. At the end its leases end at once.

        Args:
            admission: admits to the store, and has admitted nothing yet.

        Raises:
            ConfigurationError: the server cannot hold the store, or is lost and `store_start` is not `degraded`.
        """
        shared, address = self._shared, self._settings.store_url.address
        if shared is None or address is None:
            yield
            return
        shown = str(self._settings.store_url)
        errors = await _errors(address, shown)
        if errors and not self._may_start_alone:
            raise ConfigurationErrors(errors)
        for error in errors:
            logger.error("starting without the shared store: %s", error)
        admission.replica = shared.replica
        try:
            await self._start(shared, shown)
            async with background(log_store_changes(shown, shared.status)):
                yield
        finally:
            await shared.leave()
            await self._log.close()

    @property
    def _may_start_alone(self) -> bool:
        return self._settings.store_start == "degraded"

    @staticmethod
    async def _start(shared: "SharedStore", shown: str) -> None:
        from tidegate.stores.valkey.shared_log import StoreLost  # noqa: PLC0415 - imported with its client

        try:
            await shared.start()
        except StoreLost as error:
            raise ConfigurationError(_VARIABLE, shown, f"a server that can hold the store ({error})") from None


def check_store(settings: Settings) -> None:
    """Connects to the shared store, if there is one, and checks version, memory policy and permissions.

    Raises:
        MissingExtra: its client is not installed.
        ConfigurationErrors: the server has faults, one error for each.
    """
    require_client(settings)
    address = settings.store_url.address
    if address is not None and (errors := asyncio.run(_errors(address, str(settings.store_url)))):
        raise ConfigurationErrors(errors)


def require_client(settings: Settings) -> None:
    """Checks that the client of a shared store is installed, if the settings ask for one.

    Raises:
        MissingExtra: it is not.
    """
    if settings.store_url.address is not None and importlib.util.find_spec("valkey") is None:
        raise MissingExtra(_VARIABLE, str(settings.store_url), "memory://", extra="valkey")


async def _errors(address: StoreAddress, shown: str) -> list[ConfigurationError]:
    """The faults of the server, as errors of the setting."""
    from tidegate.stores.valkey.server_check import server_faults  # noqa: PLC0415 - its client is an extra

    faults = await server_faults(address)
    return [ConfigurationError(_VARIABLE, shown, f"a server that can hold the store ({fault})") for fault in faults]
