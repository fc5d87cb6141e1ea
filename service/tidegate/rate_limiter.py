"""The older public API: one global limiter of requests, as a thin layer over the pool `default`."""

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict, fields, replace
from typing import Any, Final

from msgspec import structs

from tidegate.core.claude.rate_limit_groups import DEFAULT_POOL
from tidegate.core.domain.caller import DEFAULT_CALLER, Caller
from tidegate.core.domain.demand import Demand
from tidegate.core.domain.dimension import ONE_REQUEST
from tidegate.core.domain.errors import ConfigurationError
from tidegate.core.domain.events import Frozen, RateChanged
from tidegate.core.domain.feedback import RateLimited, Succeeded
from tidegate.core.domain.nanoseconds import to_ns, to_seconds
from tidegate.core.failures.retry_policy import RetryPolicy
from tidegate.core.ports.store import Change
from tidegate.engine.admission import Admission
from tidegate.engine.clock import SystemClock
from tidegate.engine.waiting import Waiting
from tidegate.rate_limit_config import LONGEST_SECONDS, RateLimitConfig, is_number
from tidegate.stores.memory import MemoryStore
from tidegate.stores.runtime_settings import SetAtRuntime, log_runtime_change
from tidegate.stores.switchable import ProcessStore

__all__ = [
    "RateLimitConfig",
    "RateLimiter",
    "get_global_rate_limiter",
    "set_global_rate_limiter",
    "set_global_rate_limiter_config",
]

logger = logging.getLogger("services.dsl_generator.rate_limiter")
"""The name that programs for the older module configure."""

_OLDER_API: Final = "update_config()"
_DEMAND: Final = Demand(DEFAULT_POOL, DEFAULT_CALLER, ONE_REQUEST, settle_at_once=True)


class RateLimiter:
    """Admits requests at the configured rate, and adapts it to the answers of the upstream.

    Several event loops and threads of one process, and consecutive `asyncio.run()` calls, share the limit. Only
    `acquire_token` needs a running loop.

    Args:
        config: default: `RateLimitConfig()`.
        admission: admits to the store that holds the pool; default: a new one, in memory.
        store: the store of `admission`. Give both or neither.
    """

    def __init__(
        self,
        config: RateLimitConfig | None = None,
        *,
        store: ProcessStore | None = None,
        admission: Admission | None = None,
    ) -> None:
        if (store is None) != (admission is None):
            raise TypeError("store and admission belong together: give both or neither")
        self._config = replace(config or RateLimitConfig())  # a copy: later changes by its owner have no effect
        self._initial_config = self._config
        self._retry_policy = self._config.retry_policy()
        self._set_at_runtime: dict[str, SetAtRuntime] = {}
        clock = admission.clock if admission else SystemClock()
        self._clock = clock
        self._store: ProcessStore = store or MemoryStore(clock)
        self.admission = admission or Admission(self._store, clock)
        self._store.set_initial(DEFAULT_POOL, self._config.pool_settings())
        self._store.watch(self._log_change, leases=False)
        self._followed = self._store.settings_now(DEFAULT_POOL)

    @property
    def config(self) -> RateLimitConfig:
        """The configuration in effect."""
        self._follow_store()
        return self._config

    @property
    def initial_config(self) -> RateLimitConfig:
        """The configuration of the start, or of the last `reload`."""
        return self._initial_config

    def retry_policy(self) -> RetryPolicy:
        """The retry policy of the configuration in effect."""
        self._follow_store()
        return self._retry_policy

    @property
    def set_at_runtime(self) -> Mapping[str, SetAtRuntime]:
        """The author and time of each value that differs from the initial configuration's."""
        self._follow_store()
        return self._set_at_runtime

    def update_config(self, config: RateLimitConfig, *, by: str = _OLDER_API) -> None:
        """Replaces the configuration, also for waiting requests. Keeps their order and the level of the bucket.

        Args:
            config: the new configuration.
            by: who changes it, for the log and for `set_at_runtime`.
        """
        config = replace(config)
        before, after, origin = asdict(self.config), asdict(config), SetAtRuntime(by, self._clock.wall_seconds())
        changed = {name: origin for name, value in after.items() if value != before[name]}
        self._put_in_effect(config, {**self._set_at_runtime, **changed}, by)
        log_runtime_change(DEFAULT_POOL, before, after, by)

    def reloaded(self, config: RateLimitConfig) -> RateLimitConfig:
        """The configuration in effect after `reload`: each value from `update_config` holds until it changes here.

        Raises:
            ConfigurationError: a new value does not fit those that hold.
        """
        names = [each.name for each in fields(config)]
        before = self._initial_config
        changed = {name: getattr(config, name) for name in names if getattr(config, name) != getattr(before, name)}
        return replace(self.config, **changed)

    def reload(self, config: RateLimitConfig) -> None:
        """Replaces the initial configuration. Raises as `reloaded`, and then changes nothing."""
        in_effect = self.reloaded(config)
        self._initial_config = config
        self._store.set_initial(DEFAULT_POOL, config.pool_settings())
        self._put_in_effect(in_effect, self._set_at_runtime)

    def restore(
        self, initial: RateLimitConfig, config: RateLimitConfig, set_at_runtime: Mapping[str, SetAtRuntime]
    ) -> None:
        """Continues with a configuration that was in effect before a restart.

        Each value holds unless the initial configuration has changed there. If the values that hold do not fit the
        changed ones, the present configuration stays.

        Args:
            initial: the initial configuration of that time.
            config: the configuration that was in effect.
            set_at_runtime: who had set its values.
        """
        now, then = asdict(self._initial_config), asdict(initial)
        changed = {name: value for name, value in now.items() if value != then[name]}
        try:
            in_effect = replace(config, **changed)
        except ConfigurationError as error:
            logger.warning("values that were set at runtime do not fit the configuration, and are dropped: %s", error)
            return
        if in_effect != self._config:
            self._put_in_effect(in_effect, set_at_runtime)

    def _put_in_effect(
        self, config: RateLimitConfig, origins: Mapping[str, SetAtRuntime], by: str | None = None
    ) -> None:
        """Replaces the configuration. Keeps the origins of values that are not the initial ones."""
        self._store.configure_now(DEFAULT_POOL, config.pool_settings(), by)
        self._followed = self._store.settings_now(DEFAULT_POOL)
        self._adopt(config, origins)

    def _follow_store(self) -> None:
        """Adopts what another replica has configured, if the store is shared."""
        settings = self._store.settings_now(DEFAULT_POOL)
        if settings is self._followed:
            return
        self._followed = settings
        config = RateLimitConfig.of_pool(settings)
        if config is None or config == self._config:
            return
        origins, author = dict(self._set_at_runtime), self._store.set_at_runtime(DEFAULT_POOL).values()
        before, after = asdict(self._config), asdict(config)
        origins.update((name, origin) for name in after if after[name] != before[name] for origin in author)
        self._adopt(config, origins)

    def _adopt(self, config: RateLimitConfig, origins: Mapping[str, SetAtRuntime]) -> None:
        self._config, self._retry_policy = config, config.retry_policy()
        initial, values = asdict(self._initial_config), asdict(config)
        self._set_at_runtime = {name: origins[name] for name in origins if values[name] != initial[name]}
        logger.debug("configured: %s requests/minute, burst %s", config.requests_per_minute, config.burst_limit)

    async def acquire_token(self) -> float:
        """Waits until one more request may be sent. Returns the wait in seconds. A cancelled wait takes no token."""
        if self.admission.try_admit(_DEMAND):
            return _logged_seconds(0)
        return _logged_seconds((await self.admission.acquire(_DEMAND)).waited_ns)

    async def acquire_for(
        self,
        caller: Caller,
        patience_ns: int | None,
        on_wait: Callable[[Waiting], None] | None = None,
        *,
        session: str = "",
        session_front: bool = False,
    ) -> float:
        """As `acquire_token`, for a caller.

        The caller's own limits are not applied here. The same request passes the pool of its model next, which applies
        them, so that it counts once.

        Args:
            caller: who shares the pool.
            patience_ns: the longest wait; None: without limit.
            on_wait: called if there is a wait.
            session: as in `Demand`.
            session_front: as in `Demand`.

        Raises:
            Refusal: the wait would be, or was, longer than `patience_ns`; nothing was taken.
        """
        demand = structs.replace(
            _DEMAND,
            caller=replace(caller, limits=None),
            patience_ns=patience_ns,
            session=session,
            session_front=session_front,
        )
        if self.admission.try_admit(demand):
            return _logged_seconds(0)
        return _logged_seconds((await self.admission.acquire(demand, on_wait)).waited_ns)

    def record_success(self) -> None:
        """Records a successful response of the upstream. A rate that was cut recovers by one step."""
        self._store.learn_now(DEFAULT_POOL, Succeeded())

    def record_rate_limit(self, retry_after: float | None = None) -> None:
        """Records a 429 of the upstream. Cuts the rate by one step, and admits nothing for `retry_after` seconds.

        Raises:
            ConfigurationError: `retry_after` is not a number of seconds from 0 to 40 days.
        """
        if retry_after is not None and not (is_number(retry_after) and 0 <= retry_after <= LONGEST_SECONDS):
            raise ConfigurationError(
                "retry_after", retry_after, f"None, or a number of seconds, 0 to {LONGEST_SECONDS:,}"
            )
        self._store.learn_now(DEFAULT_POOL, RateLimited(None if retry_after is None else to_ns(retry_after)))

    def get_stats(self) -> dict[str, Any]:
        """The present `current_state`, `configuration` and `adaptive_metrics`, as plain values."""
        (pool,) = self._store.snapshot_now(DEFAULT_POOL)
        requests = pool.dimensions[0]
        return {
            "current_state": {
                "available_tokens": requests.available,
                "requests_per_minute": requests.effective_per_minute,
                "total_requests": pool.granted,
                "successful_requests": pool.succeeded,
                "rate_limited_requests": pool.rate_limited,
                "waiting_requests": pool.waiting,
                "frozen_seconds": pool.frozen_seconds,
            },
            "configuration": asdict(self.config),
            "adaptive_metrics": {
                "adaptive_factor": pool.adaptive_factor,
                "configured_requests_per_minute": requests.configured_per_minute,
                "learning_rate": self._config.learning_rate,
                "success_count": pool.succeeded,
                "rate_limit_count": pool.rate_limited,
                "binding": requests.binding,
            },
        }

    def _log_change(self, change: Change) -> None:
        if change.pool != DEFAULT_POOL or not logger.isEnabledFor(logging.DEBUG):
            return
        for event in change.events:
            if isinstance(event, RateChanged):
                before, after = event.before_per_minute, event.after_per_minute
                logger.debug("rate changed from %.1f to %.1f requests/minute: %s", before, after, event.reason)
            elif isinstance(event, Frozen):
                logger.debug("frozen for %.3f s", to_seconds(event.duration_ns))


def _logged_seconds(waited_ns: int) -> float:
    """Logs a wait, and returns it in seconds."""
    seconds = to_seconds(waited_ns)
    if logger.isEnabledFor(logging.DEBUG):
        logger.debug("acquired a token after %.3f s", seconds)
    return seconds


_global: RateLimiter | None = None
_global_lock = threading.Lock()


def get_global_rate_limiter() -> RateLimiter:
    """The limiter that the whole process shares, created at the first call."""
    global _global  # noqa: PLW0603  # the documented older API is a process-wide limiter
    with _global_lock:
        if _global is None:
            _global = RateLimiter()
        return _global


def set_global_rate_limiter(limiter: RateLimiter) -> None:
    """Replaces the global limiter. For the service, which has a store of its own."""
    global _global  # noqa: PLW0603  # as above
    with _global_lock:
        _global = limiter


def set_global_rate_limiter_config(config: RateLimitConfig) -> None:
    """Configures the global limiter, for present and future callers."""
    get_global_rate_limiter().update_config(config)
