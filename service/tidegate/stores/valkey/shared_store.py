"""The store of one replica, whose pools all replicas share over a log."""

import asyncio
import logging
import secrets
from collections.abc import Callable, Mapping
from typing import Final

from tidegate.core.domain.caller import CallerLimits
from tidegate.core.domain.pool_settings import PoolSettings
from tidegate.core.domain.snapshots import PoolSnapshot
from tidegate.core.ports.clock import Clock
from tidegate.core.ports.store import Change
from tidegate.core.ports.store_status import SharedStatus
from tidegate.stores.memory import MemoryStore
from tidegate.stores.pool_configuration import PoolConfiguration
from tidegate.stores.pools import Pools
from tidegate.stores.remote.follower import Follower
from tidegate.stores.remote.messages import Message, Report
from tidegate.stores.runtime_settings import SetAtRuntime
from tidegate.stores.steps import Configure, LimitCallers, Reload, Step
from tidegate.stores.switchable import SwitchableStore
from tidegate.stores.valkey.log_channel import LogChannel
from tidegate.stores.valkey.log_leader import LogLeader
from tidegate.stores.valkey.shared_log import SharedLog, StoreLost

__all__ = ["SharedStore"]

logger = logging.getLogger("tidegate.store")

_PING_SECONDS: Final = 0.2
_LOST_SECONDS: Final = 0.25
_START_SECONDS: Final = 5.0
_LEAVE_SECONDS: Final = 1.0


class SharedStore(SwitchableStore):
    """Implements `ProcessStore` for one of the processes that share a log. Each of them may become the leader.

    Before `start` it is a store in memory, which admits nothing that counts later: make no calls then. It may be made
    outside of any event loop. After `start` its asynchronous methods belong to the event loop that called it; the
    synchronous ones may be called from any thread.

    Example:
        store = SharedStore(ValkeyLog(address, 0.25), clock, configured)
        admission = Admission(store, clock)
        admission.replica = store.replica
        await store.start()
        ...
        await store.leave()

    Args:
        log: shared by all replicas.
        clock: the time of this process.
        configured: settings by name of pool, as of `MemoryStore`.
        otherwise: settings of every other pool.
        replica: name of this process, unique over all time. All its lease ids begin with it.
        on_latency: called with the time in seconds that each ping of the server took.

    Attributes:
        replica: as above.
    """

    def __init__(
        self,
        log: SharedLog,
        clock: Clock,
        configured: Mapping[str, PoolSettings] | None = None,
        otherwise: PoolSettings | None = None,
        *,
        replica: str | None = None,
        on_latency: Callable[[float], None] = lambda _seconds: None,
    ) -> None:
        self._unshared = MemoryStore(clock, configured, otherwise)
        super().__init__(self._unshared)
        self.replica = replica or secrets.token_urlsafe(6)
        self._log = log
        self._clock = clock
        self._on_latency = on_latency
        self._file = PoolConfiguration(configured or {}, otherwise or PoolSettings())
        self._callers: Mapping[str, CallerLimits | None] = {}
        self._settings = self._file
        self._settings_step = 0  # the number of the last step of this replica that sets something
        self._leader = LogLeader(log, self)
        self._follower: Follower | None = None
        self._channel: LogChannel | None = None
        self._loop: asyncio.AbstractEventLoop
        self._tasks: list[asyncio.Task[None]] = []
        self._report: Report | None = None
        self._reported = asyncio.Event()
        self._reported_ns = self._answered_ns = clock.monotonic_ns()
        self._latency_seconds = 0.0
        self._is_up = False

    async def start(self) -> None:
        """Joins the other replicas.

        Raises:
            StoreLost: the server does not answer.
        """
        await self._log.last()
        self._loop = asyncio.get_running_loop()
        self._is_up, self._answered_ns = True, self._clock.monotonic_ns()
        self._channel = LogChannel(self._log, self.replica, self._receive)
        self._follower = Follower(self.replica, self._channel, self._settings_of)
        self.switch(self._follower)
        self._send_configuration()
        self._tasks = [asyncio.create_task(each) for each in (self._channel.run(), self._leader.run(), self._ping())]
        try:
            async with asyncio.timeout(_START_SECONDS):
                await self._reported.wait()
        except TimeoutError:
            await self.stop()
            raise StoreLost("no replica has taken the lead") from None

    async def leave(self) -> None:
        """Leaves the other replicas, if `start` has returned. Open leases of this replica end as abandoned."""
        if self._follower is None or self._channel is None:
            return
        self._follower.leave(self.replica)
        self._follower.flush()
        self._channel.close()
        await asyncio.wait(self._tasks[:1], timeout=_LEAVE_SECONDS)
        await self.stop()
        self._follower.lost()

    async def stop(self) -> None:
        """Ends all tasks. The other replicas notice within seconds, unless this one has left before."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def status(self) -> SharedStatus:
        """The present state."""
        now_ns, log = self._clock.monotonic_ns(), None if self._report is None else self._report.log
        return SharedStatus(
            is_up=self._is_up,
            silent_seconds=(now_ns - self._answered_ns) / 1e9,
            latency_seconds=self._latency_seconds,
            is_degraded=False,
            is_refusing=False,
            is_leader=self._leader.leads,
            log_lag_seconds=self._leader.lag_seconds,
            leader_changes=0 if log is None else log.leader_changes,
            replicas=1 if log is None else log.replicas,
            snapshot_age_seconds=None if log is None else (now_ns - self._reported_ns) / 1e9,
        )

    # Settings: each replica's configuration and changes apply to all. The last one wins.

    def set_initial(self, pool: str, settings: PoolSettings) -> None:
        """As `ProcessStore.set_initial`, for all replicas."""
        self._unshared.set_initial(pool, settings)
        self._file.set_initial(pool, settings)
        self._in_loop(self._send_configuration)

    def reload(self, configured: Mapping[str, PoolSettings], otherwise: PoolSettings) -> None:
        """As `ProcessStore.reload`, for all replicas."""
        self._unshared.reload(configured, otherwise)
        self._file = PoolConfiguration(configured, otherwise)
        self._in_loop(self._send_configuration)

    def limit_callers(self, limits: Mapping[str, CallerLimits | None]) -> None:
        """As `ProcessStore.limit_callers`, for all replicas."""
        self._unshared.limit_callers(limits)
        self._callers = limits
        self._in_loop(self._send_configuration)

    async def configure(self, pool: str, settings: PoolSettings, by: str | None = None) -> None:
        """As `Store.configure`, for all replicas."""
        self.configure_now(pool, settings, by)

    def configure_now(self, pool: str, settings: PoolSettings, by: str | None = None) -> None:
        """As `configure`."""
        if self._follower is None:
            self._unshared.configure_now(pool, settings, by)
        origin = None if by is None else SetAtRuntime(by, self._clock.wall_seconds())
        self._settings.set_at_runtime(pool, settings, origin)
        self._in_loop(self._send_setting, Configure(pool, settings, origin))

    def settings_now(self, pool: str) -> PoolSettings:
        """As `ProcessStore.settings_now`: what this replica has set last, or the last report says."""
        return self._settings.of(pool)

    def set_at_runtime(self, pool: str) -> dict[str, SetAtRuntime]:
        """As `ProcessStore.set_at_runtime`."""
        return {f"{dimension}_per_minute": origin for dimension, origin in self._settings.origins(pool).items()}

    def snapshot_now(self, pool: str | None = None) -> tuple[PoolSnapshot, ...]:
        """As `ProcessStore.snapshot_now`. A pool that nobody has used yet is shown as it is configured."""
        return super().snapshot_now(pool) or (() if pool is None else self._unshared.snapshot_now(pool))

    def _settings_of(self, pool: str) -> PoolSettings:
        return self._settings.of(pool)

    def _send_configuration(self) -> None:
        configured, otherwise = self._file.configured
        self._send_setting(Reload(dict(configured), otherwise))
        self._send_setting(LimitCallers(dict(self._callers)))

    def _send_setting(self, step: Step) -> None:
        if self._follower is not None:
            self._settings_step = self._follower.send(step)

    def _follow_settings(self, report: Report) -> None:
        if report.log is None or report.number < self._settings_step:
            return
        reported = report.log.settings
        settings = PoolConfiguration(reported.configured, reported.otherwise)
        settings.restore(reported.at_runtime)
        self._settings = settings

    # The log.

    def new_pools(self) -> Pools:
        """As `LocalReplica.new_pools`."""
        configured, otherwise = self._file.configured
        pools = Pools(configured, otherwise)
        pools.limit_callers(self._callers, 0)
        return pools

    def last_seen(self) -> tuple[str, int]:
        """As `LocalReplica.last_seen`."""
        log = None if self._report is None else self._report.log
        return "" if log is None else log.incarnation, 0 if self._follower is None else self._follower.folded

    def take_facts(self, change: Change) -> None:
        """As `LocalReplica.take_facts`."""
        if self._follower is not None:
            self._follower.notify(change)

    def _receive(self, message: Message) -> None:
        if isinstance(message, Report):
            self._report, self._reported_ns = message, self._clock.monotonic_ns()
            self._follow_settings(message)
            self._reported.set()
        if self._follower is not None:
            self._follower.receive(message)

    async def _ping(self) -> None:
        while True:
            asked_ns = self._clock.monotonic_ns()
            try:
                async with asyncio.timeout(_LOST_SECONDS):
                    await self._log.last()
            except (StoreLost, TimeoutError):
                self._is_up = False
            else:
                self._is_up, self._answered_ns = True, self._clock.monotonic_ns()
                self._latency_seconds = (self._answered_ns - asked_ns) / 1e9
                self._on_latency(self._latency_seconds)
            await asyncio.sleep(_PING_SECONDS)

    def _in_loop(self, function: Callable[..., None], *arguments: object) -> None:
        """Calls the function in the event loop of `start`, in the order of these calls. Before `start`: not at all."""
        if self._follower is None:
            return
        if _runs(self._loop):
            function(*arguments)
        else:
            self._loop.call_soon_threadsafe(function, *arguments)


def _runs(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether the calling thread is inside this event loop."""
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False
