"""The store of one replica, whose pools all replicas share over a log."""

import asyncio
import logging
import random
import secrets
from collections.abc import Callable, Mapping
from typing import Final

from msgspec import structs

from tidegate.core.domain.budget import BudgetWindow, Spender, Spending
from tidegate.core.domain.caller import CallerLimits
from tidegate.core.domain.feedback import Feedback
from tidegate.core.domain.pool_settings import PoolSettings
from tidegate.core.domain.snapshots import PoolSnapshot
from tidegate.core.ports.clock import Clock
from tidegate.core.ports.store import Change
from tidegate.core.ports.store_status import SharedStatus
from tidegate.stores.memory import MemoryStore
from tidegate.stores.pool_configuration import PoolConfiguration
from tidegate.stores.pools import Pools
from tidegate.stores.remote.follower import Follower
from tidegate.stores.remote.messages import Message, Report, SettingsInEffect
from tidegate.stores.runtime_settings import SetAtRuntime
from tidegate.stores.steps import Configure, LimitCallers, Rejoin, Reload, SetBudgets, Step
from tidegate.stores.switchable import SwitchableStore
from tidegate.stores.valkey.alone import AloneLeader
from tidegate.stores.valkey.budget_shares import BudgetShares, as_reported, in_period
from tidegate.stores.valkey.log_channel import LogChannel
from tidegate.stores.valkey.log_leader import LogLeader
from tidegate.stores.valkey.server_watch import ServerWatch
from tidegate.stores.valkey.shared_log import SharedLog, StoreLost
from tidegate.stores.valkey.task_end import end_tasks, is_inside

__all__ = ["SharedStore"]

logger = logging.getLogger("tidegate.store")

_ALONE_SECONDS: Final = 30.0
"""The leader sets the share of a silent replica aside for as long."""
_RETURN_SECONDS: Final = 1.0
"""The replicas return to a server one by one within this time."""
_REPRICE_SECONDS: Final = 1.0
_START_SECONDS: Final = 5.0
_LEAVE_SECONDS: Final = 1.0


class SharedStore(SwitchableStore):
    """Implements `ProcessStore` for one of the processes that share a log. Each of them may become the leader.

    Before `start` it is a store in memory, which admits nothing that counts later: make no calls then. It may be made
    outside of any event loop. After `start` its asynchronous methods belong to the event loop that called it; the
    synchronous ones may be called from any thread.

    While the server is lost, the replica decides alone, by its share of the limits. If others may still have the
    server, it refuses all calls after 30 seconds.

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
        without_store: the number of replicas to assume if the server is lost at the start, which then decides alone for
            as long as it is lost; None: the start fails.
        random: returns numbers from 0 to 1.
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
        without_store: int | None = None,
        random: Callable[[], float] = random.random,
        on_latency: Callable[[float], None] = lambda _seconds: None,
    ) -> None:
        self._unshared = MemoryStore(clock, configured, otherwise)
        super().__init__(self._unshared)
        self.replica = replica or secrets.token_urlsafe(6)
        self._log = log
        self._clock = clock
        self._without_store = without_store
        self._random = random
        self._server = ServerWatch(log, clock, on_latency)
        self._file = PoolConfiguration(configured or {}, otherwise or PoolSettings())
        self._callers: Mapping[str, CallerLimits | None] | None = None
        self._budgets: tuple[BudgetWindow, ...] = ()
        self._settings = self._file
        self._reported_settings: SettingsInEffect | None = None
        self._settings_step = 0  # the number of the last step of this replica that sets something
        self._leader = LogLeader(log, self)
        self._follower: Follower | None = None
        self._channel: LogChannel | None = None
        self._loop: asyncio.AbstractEventLoop
        self._tasks: list[asyncio.Task[None]] = []
        self._report: Report | None = None
        self._reported = asyncio.Event()
        self._reported_ns = clock.monotonic_ns()
        self._alone: AloneLeader | None = None
        self._times_alone = 0
        self._position = Rejoin()  # in the log, while it decides alone

    async def start(self) -> None:
        """Joins the other replicas.

        Raises:
            StoreLost: the server does not answer, and `without_store` is not given.
        """
        self._loop = asyncio.get_running_loop()
        try:
            await self._server.first_ping()
        except StoreLost:
            if self._without_store is None:
                raise
        self._channel = LogChannel(self._log, self.replica, self._receive)
        self._follower = Follower(self.replica, self._channel, self.settings_now)
        self.switch(self._follower)
        self._send_configuration()
        if not self._server.is_up:
            self._go_alone()
        parts = self._channel.run(), self._leader.run(), self._watch(), self._reprice()
        self._tasks = [asyncio.create_task(each) for each in parts]
        if self._alone is not None:
            return
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
        if self._alone is not None:
            self._alone.close()

    async def stop(self) -> None:
        """Ends all tasks. The other replicas notice within seconds, unless this one has left before."""
        tasks, self._tasks = self._tasks, []
        await end_tasks(tasks)

    def status(self) -> SharedStatus:
        """The present state."""
        now_ns, log = self._clock.monotonic_ns(), None if self._report is None else self._report.log
        return SharedStatus(
            is_up=self._server.is_up,
            silent_seconds=self._server.silent_seconds,
            latency_seconds=self._server.latency_seconds,
            is_degraded=self._alone is not None,
            is_refusing=self._follower is not None and self._follower.refuses,
            is_leader=self._leader.leads,
            log_lag_seconds=self._leader.lag_seconds,
            leader_changes=0 if log is None else log.leader_changes,
            replicas=self._count,
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

    def set_budgets(self, windows: tuple[BudgetWindow, ...]) -> None:
        """As `Store.set_budgets`, for all replicas."""
        self._unshared.set_budgets(windows)
        self._budgets = windows
        self._in_loop(self._send_setting, SetBudgets(windows))

    @property
    def has_budgets(self) -> bool:
        """As `Store.has_budgets`: by the configuration of this replica, or the leader's last report."""
        return bool(self._budgets) or bool(self.budgets_now())

    def turn_budgets(self, periods: Mapping[str, tuple[int, int | None]]) -> None:
        """As `Store.turn_budgets`, for all replicas."""
        self._budgets = tuple(in_period(each, periods) for each in self._budgets)
        self._in_loop(self.present.turn_budgets, periods)

    def spend(self, spender: Spender, spending: Spending) -> None:
        """As `Store.spend`."""
        self._in_loop(self.present.spend, spender, spending)

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

    def learn_now(self, pool: str, feedback: Feedback) -> None:
        """As `ProcessStore.learn_now`."""
        self._in_loop(self.present.learn_now, pool, feedback)

    def release(self, pool: str, lease_id: str) -> None:
        """As `Store.release`."""
        self._in_loop(self.present.release, pool, lease_id)

    def settings_now(self, pool: str) -> PoolSettings:
        """As `ProcessStore.settings_now`: what this replica has set last, or the last report says."""
        return self._settings.of(pool)

    def set_at_runtime(self, pool: str) -> dict[str, SetAtRuntime]:
        """As `ProcessStore.set_at_runtime`."""
        return {f"{dimension}_per_minute": origin for dimension, origin in self._settings.origins(pool).items()}

    def snapshot_now(self, pool: str | None = None) -> tuple[PoolSnapshot, ...]:
        """As `ProcessStore.snapshot_now`. A pool that nobody has used yet is shown as it is configured."""
        return super().snapshot_now(pool) or (() if pool is None else self._unshared.snapshot_now(pool))

    def _send_configuration(self) -> None:
        configured, otherwise = self._file.configured
        self._send_setting(Reload(dict(configured), otherwise))
        if self._callers is not None:
            self._send_setting(LimitCallers(dict(self._callers)))
        if self._budgets:
            self._send_setting(SetBudgets(self._budgets))

    def _send_setting(self, step: Step) -> None:
        if self._follower is not None:
            self._settings_step = self._follower.send(step)

    def _follow_settings(self, report: Report) -> None:
        if report.log is None or report.number < self._settings_step:
            return
        reported, before = report.log.settings, self._reported_settings
        if reported == before:
            return
        self._reported_settings = reported
        if (reported.configured, reported.otherwise) != self._file.configured:
            logger.warning(
                "another replica has other limits in its configuration, and they are in effect:"
                " the last start or reload decides"
            )
        settings = PoolConfiguration(reported.configured, reported.otherwise)
        settings.restore(reported.at_runtime)
        self._settings = settings

    # The log.

    def new_pools(self) -> Pools:
        """As `LocalReplica.new_pools`. If the log was lost, what was in effect before stays so."""
        if (known := self._reported_settings) is None:
            pools = Pools(*self._file.configured)
        else:
            pools = Pools(known.configured, known.otherwise)
            pools.settings.restore(known.at_runtime)
        if self._callers is not None:
            pools.limit_callers(self._callers, 0)
        pools.set_budgets(as_reported(self._budgets, () if self._report is None else self._report.budgets), 0)
        return pools

    def last_seen(self) -> tuple[str, int]:
        """As `LocalReplica.last_seen`."""
        log = None if self._report is None else self._report.log
        folded = self._position.folded if self._alone is not None or self._follower is None else self._follower.folded
        return "" if log is None else log.incarnation, folded

    def take_facts(self, change: Change) -> None:
        """As `LocalReplica.take_facts`."""
        if self._follower is not None:
            self._follower.notify(change)

    def _receive(self, message: Message) -> None:
        if isinstance(message, Report) and message.is_newer_than(self._report):
            self._report, self._reported_ns = message, self._clock.monotonic_ns()
            self._follow_settings(message)
            self._reported.set()
        if self._alone is None:
            self._receive_decision(message)

    def _receive_decision(self, message: Message) -> None:
        if self._follower is not None:
            self._follower.receive(message)

    async def _reprice(self) -> None:
        while True:
            await asyncio.sleep(_REPRICE_SECONDS)
            if self._follower is not None:
                self._follower.reprice(self._clock.monotonic_ns())

    # The loss of the server.

    async def _watch(self) -> None:
        while True:
            if self._alone is None:
                await self._server.until(is_up=False)
                self._go_alone()
            await self._until_back()
            self._come_back()

    @property
    def _count(self) -> int:
        """The number of replicas that share the limits, as far as it is known."""
        log = None if self._report is None else self._report.log
        return (self._without_store or 1) if log is None else log.replicas

    def _go_alone(self) -> None:
        follower, channel, report, count = self._follower, self._channel, self._report, self._count
        if follower is None or channel is None:
            return
        channel.pause()
        self._position = follower.position()
        self._times_alone += 1
        pools, left = (None, ()) if report is None else (report.pools, report.budgets)
        name, shares = f"{self.replica}.alone{self._times_alone}", BudgetShares(self._budgets, left, count)
        self._alone = AloneLeader(
            self._clock,
            self._settings,
            self._callers or {},
            pools,
            shares,
            count,
            name,
            self._receive_decision,
            self.take_facts,
        )
        follower.follow(self._alone, Rejoin())

    async def _until_back(self) -> None:
        others_may_have_it = self._report is not None and self._count > 1
        timer = self._loop.call_later(_ALONE_SECONDS, self._refuse) if others_may_have_it else None
        try:
            while True:
                await self._server.until(is_up=True)
                await asyncio.sleep(self._random() * _RETURN_SECONDS)
                if await self._server.ping():
                    return
        finally:
            if timer is not None:
                timer.cancel()

    def _refuse(self) -> None:
        if self._follower is not None:
            self._follower.refuse()

    def _come_back(self) -> None:
        follower, channel, alone = self._follower, self._channel, self._alone
        if follower is None or channel is None or alone is None:
            return
        follower.flush()  # so that `alone` has all steps of this turn as well
        before = structs.replace(self._position, serial=channel.serial, steps=alone.steps, alone=alone.used)
        alone.close()
        self._alone = None
        channel.resume()
        follower.follow(channel, before)

    def _in_loop(self, function: Callable[..., None], *arguments: object) -> None:
        """Calls the function in the event loop of `start`, in the order of these calls."""
        if self._follower is None or is_inside(self._loop):
            function(*arguments)
        else:
            self._loop.call_soon_threadsafe(function, *arguments)
